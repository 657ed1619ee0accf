/* test_commands.c: how many commands a training step gives the device, GPU family: each one costs a
 * GPU some microseconds, whatever it computes. */
#include <jansson.h>
#include <stdio.h>

#include "file.h"
#include "gemm_tiles.h"
#include "runtime_state.h"
#include "stepper.h"
#include "support.h"

enum { MOST = 50, MOST_SUMS = 7, B = 100, IMAGE = 28 * 28, STEPS = 2 };

/* Two steps of the paper's network, traced; the file's path, freed with free(). */
static char *trace_steps(char *directory)
{
    caps_error err = {0};
    char *path = caps_path_join(directory, "trace.json");
    caps_runtime *rt = NULL;
    caps_model *m = NULL;
    caps_model_spec *spec = NULL;
    const caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .kernels = "gpu", .trace = path};
    const caps_model_options training = {
        CAPS_OPTIONS(caps_model_options), .max_batch = B, .training = true, .adam = true};
    test_ok(caps_runtime_create(&rt, caps_runtime_device(test_runtime())->id, &options, &err));
    test_ok(caps_model_spec_load(&spec, "mnist", &err));
    test_ok(caps_model_create(&m, rt, spec, &training, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 1, &err));
    float *images = calloc((size_t)B * IMAGE, sizeof *images);
    int32_t labels[B] = {0};
    caps_stepper s;
    caps_stepper_init(&s, m, CAPS_OPTIMIZER_ADAM, 1, 1);
    for (size_t step = 0; step < STEPS; step++)
        test_ok(caps_stepper_enqueue(&s, &(caps_images){B, images, labels, NULL}, 1e-3, &err));
    test_ok(caps_stepper_settle(&s, &err));
    free(images);
    caps_model_free(m);
    caps_model_spec_free(spec);
    caps_runtime_free(rt);
    return path;
}

/* Commands behind the first step's reading of its record, with the second's. Their names, a line
 * each, into `names`. */
static size_t commands_of_a_step(const char *path, char *names, size_t bytes)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    ck_assert_msg(root != NULL, "%s (line %d)", error.text, error.line);
    size_t i, n = 0, steps = 0, used = 0;
    const json_t *e, *events = json_object_get(root, "traceEvents");
    const char *reading = "download";
    json_array_foreach(events, i, e)
    {
        const char *phase = json_string_value(json_object_get(e, "ph"));
        const char *name = json_string_value(json_object_get(e, "name"));
        if (strcmp(phase, "X") != 0 || json_integer_value(json_object_get(e, "tid")) != 2)
            continue;
        if (steps == 1) {
            n++;
            used += (size_t)snprintf(names + used, bytes - used, "%s\n", name);
        }
        steps += strcmp(name, reading) == 0;
    }
    ck_assert_uint_eq(steps, STEPS);
    json_decref(root);
    return n;
}

/* ---- devices that cut k into parts ---------------------------------------------------------- */

static const caps_device_info gpus[] = {
    {.vendor = "NVIDIA Corporation", .compute_units = 132},
    {.vendor = "NVIDIA Corporation", .compute_units = 24},
    {.vendor = "Advanced Micro Devices, Inc.", .compute_units = 48},
    {.vendor = "Advanced Micro Devices, Inc.", .compute_units = 104},
    {.vendor = "Intel(R) Corporation", .compute_units = 512},
};

/* Launches that add the parts of the decoder's products: forward, dw and dx of [out, in] at batch
 * B; and those of conv1's weights. */
static size_t sums_of_parts(const caps_device_info *gpu)
{
    static const size_t layers[][2] = {{512, 160}, {1024, 512}, {784, 1024}};
    caps_runtime rt = {.device = *gpu,
        .family = CAPS_FAMILY_GPU,
        .max_group = 1024,
        .tuning = test_runtime()->tuning};
    size_t n = 1;
    rt.device.type = CAPS_DEVICE_GPU;
    rt.device.local_mem_bytes = 48 << 10;
    for (size_t i = 0; i < 3; i++) {
        const size_t out = layers[i][0], in = layers[i][1];
        const caps_gemm_shape same = {.alpha = 1, .count = 1};
        caps_gemm_shape shapes[3] = {same, same, same};
        shapes[0].trans_b = shapes[1].trans_a = true;
        shapes[0].m = shapes[1].k = shapes[2].m = B;
        shapes[0].n = shapes[1].m = shapes[2].k = out;
        shapes[0].k = shapes[1].n = shapes[2].n = in;
        for (size_t s = 0; s < 3; s++) {
            caps_gemm_shape *shape = &shapes[s];
            caps_gemm_cut cut;
            caps_error err = {0};
            shape->lda = shape->trans_a ? shape->m : shape->k;
            shape->ldb = shape->trans_b ? shape->k : shape->n;
            shape->ldc = shape->n;
            test_ok(caps_gemm_cut_choose(&cut, &rt, shape, false, &err));
            n += caps_gemm_tiled_partial(&cut, shape) > 0;
        }
    }
    return n;
}

START_TEST(a_step_has_few_commands)
{
    static char names[8192];
    if (test_small()) /* a simulator: a step of this network takes hours */
        return;
    char *directory = test_directory(), *path = trace_steps(directory);
    const size_t n = commands_of_a_step(path, names, sizeof names);

    ck_assert_msg(n > 20 && n <= MOST, "%zu commands, need at most %d:\n%s", n, MOST, names);
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++) {
        const size_t sums = sums_of_parts(&gpus[i]);
        ck_assert_msg(sums <= MOST_SUMS, "%s with %u units: %zu sums of parts, need at most %d",
            gpus[i].vendor, gpus[i].compute_units, sums, MOST_SUMS);
    }
    free(path);
    free(directory);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("commands of a step");
    TCase *tc = tcase_create("commands");
    tcase_set_timeout(tc, 0);
    tcase_add_test(tc, a_step_has_few_commands);
    suite_add_tcase(s, tc);
    return s;
}
