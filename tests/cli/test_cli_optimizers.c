/* Ten steps of Adam and of SGD through the program, from --init, against the same in float64 by an
 * autograd framework (tests/vectors/make_optimizers.py). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "safetensors.h"
#include "support.h"

/* A big-endian 32-bit word, as IDX headers have them. */
static void put_word(unsigned char *at, size_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void write_idx(const char *directory, const char *name, const caps_st_tensor *t)
{
    caps_error err = {0};
    int images = t->ndim == 4;
    size_t header = images ? 16 : 8;
    unsigned char *data = calloc(1, header + t->bytes);
    ck_assert_ptr_nonnull(data);
    put_word(data, images ? 0x803 : 0x801);
    put_word(data + 4, t->shape[0]);
    if (images) {
        put_word(data + 8, t->shape[2]);
        put_word(data + 12, t->shape[3]);
    }
    memcpy(data + header, t->data, t->bytes);
    char *path = caps_path_join(directory, name);
    test_ok(caps_file_write(path, data, header + t->bytes, &err));
    free(path);
    free(data);
}

/* Trains ten steps and compares with the tensors "<kind>.<parameter>". The distance is measured
 * against how far the reference moved from the start, which is much stricter than against the
 * weights. */
static void check_steps(const char *kind, const char *rate)
{
    caps_error err = {0};
    caps_safetensors golden = {0};
    test_ok(caps_safetensors_load(
        &golden, TEST_SOURCE_DIR "/tests/vectors/optimizers.safetensors", &err));
    char *directory = test_directory();
    const char *image_names[] = {"train-images-idx3-ubyte", "t10k-images-idx3-ubyte"};
    const char *label_names[] = {"train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"};
    for (int i = 0; i < 2; i++) {
        write_idx(directory, image_names[i], caps_safetensors_get(&golden, "images"));
        write_idx(directory, label_names[i], caps_safetensors_get(&golden, "labels"));
    }

    caps_st_tensor start[32];
    size_t count = 0;
    for (size_t i = 0; i < golden.count; i++)
        if (strncmp(golden.tensors[i].name, "init.", 5) == 0) {
            start[count] = golden.tensors[i];
            start[count++].name += 5;
        }
    ck_assert_uint_eq(count, 11);
    char *init = caps_path_join(directory, "init.safetensors");
    char *out = caps_path_join(directory, "run");
    char *model = caps_path_join(out, "model.safetensors");
    const caps_st_pair spec = {
        "capscl.spec", caps_safetensors_get_metadata(&golden, "capscl.spec")};
    ck_assert_ptr_nonnull(spec.value);
    test_ok(caps_safetensors_save(init, start, count, &spec, 1, &err));

    char *argv[] = {TEST_PROGRAM, "train", "--data", directory, "--init", init, "--out", out,
        "--batch", "3", "--max-steps", "10", "--no-shuffle", "--augment", "none", "--optimizer",
        (char *)kind, "--lr", (char *)rate, "--quiet", NULL};
    test_process p = test_run(argv, NULL);
    ck_assert_msg(p.exit_code == 0, "exit %d: %s", p.exit_code, p.err);
    test_process_release(&p);

    caps_safetensors result = {0};
    test_ok(caps_safetensors_load(&result, model, &err));
    double difference = 0, moved = 0;
    for (size_t i = 0; i < count; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s.%s", kind, start[i].name);
        const caps_st_tensor *want = caps_safetensors_get(&golden, name);
        const caps_st_tensor *have = caps_safetensors_get(&result, start[i].name);
        ck_assert_ptr_nonnull(want);
        ck_assert_ptr_nonnull(have);
        ck_assert_uint_eq(want->bytes, 2 * have->bytes);
        double d2 = 0, m2 = 0, rounding2 = 0;
        for (size_t k = 0; k < have->bytes / 4; k++) {
            float before, after;
            double expected;
            memcpy(&before, (const char *)start[i].data + 4 * k, 4);
            memcpy(&after, (const char *)have->data + 4 * k, 4);
            memcpy(&expected, (const char *)want->data + 8 * k, 8);
            d2 += ((double)after - expected) * ((double)after - expected);
            m2 += (expected - (double)before) * (expected - (double)before);
            /* Half a unit in the last place at each of ten steps, added up at random. */
            double half = fabs((double)nextafterf(before, INFINITY) - (double)before) / 2;
            rounding2 += 10 * half * half;
        }
        /* Each tensor by itself within 1e-3 of its own way, all together within 1e-4
         * (docs/numerics.md). A weight that moves by little more than its float32 spacing (the
         * decoder's under sgd) cannot do better than the rounding of every step. */
        ck_assert_msg(sqrt(d2) <= 1e-3 * sqrt(m2) + sqrt(rounding2), "%s: off by %g of the way",
            name, sqrt(d2 / m2));
        difference += d2;
        moved += m2;
    }
    fprintf(stderr, "%s: ten steps, off by %.2g of the way\n", kind, sqrt(difference / moved));
    ck_assert(moved > 0);
    ck_assert_msg(sqrt(difference / moved) <= 1e-4, "%s: off by %g of the way", kind,
        sqrt(difference / moved));

    caps_safetensors_release(&result);
    caps_safetensors_release(&golden);
    free(model);
    free(out);
    free(init);
    free(directory);
}

START_TEST(adam_follows_float64)
{
    check_steps("adam", "1e-3");
}
END_TEST

START_TEST(sgd_follows_float64)
{
    check_steps("sgd", "0.25");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("optimizers through the program");
    TCase *t = tcase_create("ten steps");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, adam_follows_float64);
    tcase_add_test(t, sgd_follows_float64);
    suite_add_tcase(s, t);
    return s;
}
