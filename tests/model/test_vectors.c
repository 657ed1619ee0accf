/* The whole network, forward and backward, against golden vectors: inputs, parameters, and the
 * float64 outputs, losses and gradients that an autograd framework gives for them. In both kernel
 * families. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>

#include <jansson.h>

#include "../ops/families.h"
#include "safetensors.h"
#include "step.h"

/* docs/numerics.md */
#define FORWARD  1e-5
#define GRADIENT 1e-4
/* Routing by EM: an autograd framework in float32 is itself off by up to 1.2e-4. */
#define EM_GRADIENT 5e-4

enum { MOST_FILES = 32, OWN_FILES = 13 };
static char *files[MOST_FILES];
static size_t file_count;

static double *to_double(const caps_st_tensor *t, size_t *n)
{
    const bool wide = strcmp(t->dtype, "F64") == 0;
    *n = t->bytes / (wide ? 8 : 4);
    double *values = malloc(*n * sizeof *values);
    for (size_t i = 0; i < *n; i++) {
        float narrow;
        if (wide) {
            memcpy(&values[i], (const char *)t->data + 8 * i, 8);
        } else {
            memcpy(&narrow, (const char *)t->data + 4 * i, 4);
            values[i] = (double)narrow;
        }
    }
    return values;
}

static void expect(const caps_safetensors *st, const char *file, const char *name,
    const double *have, size_t n, double tolerance)
{
    const caps_st_tensor *t = caps_safetensors_get(st, name);
    ck_assert_msg(t != NULL, "%s: no %s", file, name);
    size_t count;
    double *need = to_double(t, &count);
    ck_assert_msg(count == n, "%s: %s has %zu elements, not %zu", file, name, count, n);
    double error = test_relative_error(have, need, n);
    ck_assert_msg(error <= tolerance, "%s: %s: relative error %.3g, need <= %.3g", file, name,
        error, tolerance);
    free(need);
}

static void expect_tensor(const caps_safetensors *st, const char *file, const char *name,
    const caps_tensor *t, double tolerance)
{
    double *have = test_download(t);
    expect(st, file, name, have, caps_tensor_count(t), tolerance);
    free(have);
}

static caps_model_spec *spec_of(const caps_safetensors *st, const char *file)
{
    caps_error err = {0};
    caps_model_spec *spec;
    const char *text = caps_safetensors_get_metadata(st, "capscl.spec");
    const char *mode = caps_safetensors_get_metadata(st, "routing_grad");
    ck_assert_msg(text != NULL, "%s: no spec", file);
    test_ok(caps_model_spec_parse(&spec, text, file, &err));
    if (mode)
        test_ok(caps_model_spec_set(spec, "caps", "routing.grad",
            strcmp(mode, "last") == 0 ? "\"last\"" : "\"full\"", NULL, &err));
    return spec;
}

/* Every buffer of the model begins as NaN, so that an element which is read before it is written
 * shows in the results. */
static void fill_with_nan(caps_model *m, caps_runtime *rt)
{
    caps_error err = {0};
    cl_mem done = NULL;
    for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        const cl_mem buffers[] = {p->value.buffer, p->gradient.buffer};
        for (size_t k = 0; k < 2; k++) {
            if (buffers[k] == done || !buffers[k])
                continue;
            done = buffers[k];
            size_t bytes = 0;
            ck_assert_int_eq(
                clGetMemObjectInfo(done, CL_MEM_SIZE, sizeof bytes, &bytes, NULL), CL_SUCCESS);
            const size_t n = bytes / sizeof(float);
            const caps_tensor all = caps_tensor_wrap(done, 0, CAPS_F32, 1, &n);
            float *values = malloc(n * sizeof *values);
            for (size_t e = 0; e < n; e++)
                values[e] = NAN;
            test_ok(caps_tensor_upload(rt, &all, values, &err));
            free(values);
        }
    }
    test_ok(caps_model_clear_totals(m, &err));
}

static void set_parameters(caps_model *m, const caps_safetensors *st)
{
    caps_error err = {0};
    float *flat = malloc(caps_model_flat_count(m) * sizeof *flat);
    for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        const caps_st_tensor *t = caps_safetensors_get(st, p->name);
        ck_assert_msg(t && t->bytes == p->count * sizeof *flat, "%s", p->name);
        memcpy(flat + p->first, t->data, t->bytes);
    }
    test_ok(caps_model_set_parameters(m, flat, &err));
    free(flat);
}

/* The loss of the file, which is the default where it names none. */
static caps_loss loss_of(const caps_safetensors *st)
{
    const char *text = caps_safetensors_get_metadata(st, "capscl.loss");
    caps_loss loss = CAPS_LOSS_DEFAULT;
    const char *name = caps_safetensors_get_metadata(st, "loss");
    const char *margin = caps_safetensors_get_metadata(st, "spread_margin");
    if (name && margin && strcmp(name, "spread") == 0) {
        loss.class_loss = CAPS_CLASS_LOSS_SPREAD;
        loss.spread_margin = strtof(margin, NULL);
    } else if (name && strcmp(name, "margin") == 0) {
        loss.class_loss = CAPS_CLASS_LOSS_MARGIN;
    }
    if (!text)
        return loss;
    json_t *value = json_loads(text, 0, NULL);
    double positive, negative, down;
    ck_assert_int_eq(json_unpack(value, "{s:F, s:F, s:F, s:F, s:F}", "margin_positive", &positive,
                         "margin_negative", &negative, "margin_down", &down, "margin_scale",
                         &loss.margin_scale, "reconstruction_weight", &loss.reconstruction_weight),
        0);
    loss.margin = (caps_margin){(float)positive, (float)negative, (float)down};
    json_decref(value);
    return loss;
}

static float *copy_of(const caps_st_tensor *t)
{
    float *values = t ? malloc(t->bytes) : NULL;
    if (t)
        memcpy(values, t->data, t->bytes);
    return values;
}

/* The batch of the file, as set_images takes it. */
typedef struct batch {
    float *images, *targets;
    int32_t *labels;
    caps_images all;
} batch;

static batch read_batch(const caps_safetensors *st)
{
    const caps_st_tensor *y = caps_safetensors_get(st, "labels");
    const size_t count = y->bytes / sizeof(int64_t);
    batch b = {.images = copy_of(caps_safetensors_get(st, "input")),
        .targets = copy_of(caps_safetensors_get(st, "targets")),
        .labels = malloc(count * sizeof *b.labels)};
    for (size_t i = 0; i < count; i++) {
        int64_t wide;
        memcpy(&wide, (const char *)y->data + i * sizeof wide, sizeof wide);
        b.labels[i] = (int32_t)wide;
    }
    b.all = (caps_images){y->shape[0], b.images, b.labels, b.targets};
    return b;
}

static void batch_release(batch *b)
{
    free(b->images);
    free(b->targets);
    free(b->labels);
}

/* The file's own names, which differ by age: the first that it has of each row. */
static void expect_outputs(const caps_model *m, const caps_safetensors *st, const char *file)
{
    static const struct {
        const char *output, *names[2];
    } rows[] = {{"lengths", {"out.lengths", "out.activations"}},
        {"capsules", {"out.class_caps", "out.capsules"}},
        {"couplings", {"out.couplings", "out.couplings"}},
        {"assignment", {"out.assignment", "out.assignment"}},
        {"reconstruction", {"out.reconstruction", "out.reconstruction"}}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const caps_tensor t = caps_model_output(m, rows[i].output);
        const char *name = rows[i].names[!caps_safetensors_get(st, rows[i].names[0])];
        if (t.buffer)
            expect_tensor(st, file, name, &t, FORWARD);
        else
            ck_assert_msg(!caps_safetensors_get(st, name), "%s: no %s", file, rows[i].output);
    }
}

static void expect_losses(caps_model *m, const caps_safetensors *st, const char *file, size_t b)
{
    const caps_loss loss = loss_of(st);
    caps_error err = {0};
    caps_model_totals totals;
    test_ok(caps_model_get_totals(m, &totals, &err));
    const double margin = totals.class_loss / (double)b, sse = totals.sse / (double)b;
    const double total = loss.margin_scale * margin + loss.reconstruction_weight * sse;
    expect(st, file, caps_safetensors_get(st, "loss.margin") ? "loss.margin" : "loss.class",
        &margin, 1, FORWARD);
    if (caps_model_get_info(m)->has_decoder)
        expect(st, file, "loss.sse", &sse, 1, FORWARD);
    expect(st, file, "loss.total", &total, 1, FORWARD);
}

static void expect_gradients(caps_model *m, const caps_safetensors *st, const char *file)
{
    for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        char name[64];
        snprintf(name, sizeof name, "grad.%s", p->name);
        if (!p->gradient.buffer && !caps_safetensors_get(st, name)) /* a running statistic */
            continue;
        expect_tensor(
            st, file, name, &p->gradient, strstr(file, "net_matrix") ? EM_GRADIENT : GRADIENT);
    }
}

/* max_batch larger than the batch, and a workspace that may hold one image only, must not matter.
 */
static void check_file(caps_runtime *rt, const char *file, size_t spare, size_t workspace_bytes,
    caps_routing_algorithm variant, const char *conv)
{
    caps_error err = {0};
    caps_safetensors st;
    caps_model *m = NULL;
    test_ok(caps_safetensors_load(&st, file, &err));
    caps_model_spec *spec = spec_of(&st, file);
    const caps_loss loss = loss_of(&st);
    batch given = read_batch(&st);
    const size_t b = given.all.b;
    const caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = b + spare,
        .loss = &loss, .training = true, .conv_workspace_bytes = workspace_bytes,
        .routing_algorithm = variant, .conv = conv};
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    fill_with_nan(m, rt);
    set_parameters(m, &st);
    test_ok(caps_model_set_batch(m, &given.all, &err));
    batch_release(&given);
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    test_ok(caps_model_add_totals(m, &err));

    expect_outputs(m, &st, file);
    expect_losses(m, &st, file, b);

    test_ok(caps_model_backward(m, &err));
    expect_gradients(m, &st, file);
    caps_model_spec_free(spec);
    caps_model_free(m);
    caps_safetensors_release(&st);
}

/* The batch in micro-batches of at most `most` images, whose gradients are added up. */
static void check_parts(caps_runtime *rt, const char *file, size_t most)
{
    if (strstr(file,
            "net_attention")) /* its batch goes whole, or not at all: test_batch_norm_model.c */
        return;
    caps_error err = {0};
    caps_safetensors st;
    caps_model *m = NULL;
    test_ok(caps_safetensors_load(&st, file, &err));
    caps_model_spec *spec = spec_of(&st, file);
    const caps_loss loss = loss_of(&st);
    batch given = read_batch(&st);
    const size_t b = given.all.b;
    const caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = b,
        .training = true, .accumulate = true, .micro_batch = most, .loss = &loss};
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    ck_assert_uint_le(caps_model_get_micro_batch(m), most);
    set_parameters(m, &st);
    for (int twice = 0; twice < 2; twice++) { /* what the first time left is not added to */
        test_ok(caps_model_clear_totals(m, &err));
        test_ok(caps_model_accumulate(m, &given.all, true, NULL, &err));
        expect_losses(m, &st, file, b);
        expect_gradients(m, &st, file);
    }
    batch_release(&given);
    caps_model_spec_free(spec);
    caps_model_free(m);
    caps_safetensors_release(&st);
}

/* Simulators take minutes for the larger networks; what two of them hold is in smaller ones too. */
static bool too_large(const char *file)
{
    static const char *const large[] = {"mnist_geometry", "gray_r3_lastgrad", "color_r1"};
    bool is_large = false;
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        is_large = is_large || strstr(file, large[i]) != NULL;
    return test_small() && is_large;
}

START_TEST(forward_and_gradients)
{
    for (size_t i = 0; i < file_count; i++)
        if (!too_large(files[i])) {
            /* The variants by themselves have tests of their own under the simulator. */
            if (!test_small() || i % 2 == 0)
                check_file(families[_i], files[i], 0, 0, CAPS_ROUTING_STORED, NULL);
            if (!test_small() || i % 2 == 1)
                check_file(families[_i], files[i], 0, 0, CAPS_ROUTING_FUSED, NULL);
        }
}
END_TEST

START_TEST(in_chunks_and_with_room_to_spare)
{
    check_file(families[_i], files[0], 3, 1, CAPS_ROUTING_STORED, NULL);
    if (!test_small())
        check_file(families[_i], files[0], 3, 1, CAPS_ROUTING_FUSED, NULL);
}
END_TEST

/* The convolutions of the GPU family, with room for all images and for one at a time. */
START_TEST(by_algorithm)
{
    static const char *const algorithms[] = {"toom-cook", "implicit", "im2col"};
    for (size_t i = 0; i < (test_small() ? 1 : file_count); i++)
        for (size_t bytes = 0; bytes < 2; bytes++)
            check_file(
                families[CAPS_FAMILY_GPU], files[i], 1, bytes, CAPS_ROUTING_AUTO, algorithms[_i]);
}
END_TEST

START_TEST(in_parts)
{
    for (size_t i = 0; i < (test_small() ? 1 : file_count); i++)
        for (size_t most = 1; most <= (test_small() ? 1 : 2); most++)
            check_parts(families[_i], files[i], most);
}
END_TEST

static void add_folder(const char *folder, const char *const *only)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) && file_count < MOST_FILES) {
        size_t length = strlen(entry->d_name), k = 0;
        if (length < 12 || strcmp(entry->d_name + length - 12, ".safetensors") != 0)
            continue;
        while (only && only[k] && strcmp(only[k], entry->d_name) != 0)
            k++;
        if (only && !only[k])
            continue;
        char *path = malloc(strlen(folder) + length + 2);
        sprintf(path, "%s/%s", folder, entry->d_name);
        files[file_count++] = path;
    }
    if (dir)
        closedir(dir);
}

Suite *suite(void)
{
    static const char *const own[] = {"gray_r3.safetensors", "gray_r3_lastgrad.safetensors",
        "color_r1.safetensors", "authors.safetensors", "keras.safetensors", "leaky_net.safetensors",
        "pairs.safetensors", "cnn.safetensors", "cnn_pairs.safetensors", "net_stack.safetensors",
        "net_matrix.safetensors", "net_matrix_deep.safetensors", "net_attention.safetensors", NULL};
    add_folder(TEST_SOURCE_DIR "/tests/vectors", own);
    const size_t ours = file_count;
    if (ours != OWN_FILES) {
        fprintf(stderr, "%s/tests/vectors: %zu of %d golden vectors\n", TEST_SOURCE_DIR, ours,
            OWN_FILES);
        exit(1);
    }
    add_folder(TEST_SOURCE_DIR "/../shared/vectors", NULL);
    if (file_count == ours)
        printf("SKIPPED: the larger golden vectors: no folder ../shared/vectors\n");
    Suite *s = suite_create("vectors");
    TCase *tc = families_case(s, "vectors");
    families_add(tc, forward_and_gradients);
    families_add(tc, in_chunks_and_with_room_to_spare);
    tcase_add_loop_test(tc, by_algorithm, 0, 3);
    families_add(tc, in_parts);
    return s;
}
