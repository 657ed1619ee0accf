/* test_commands.c: how many commands a training step gives the device, GPU family: each one costs a
 * GPU some microseconds, whatever it computes. tests/checks/offline counts them on GPUs that are not
 * here. */
#include <jansson.h>
#include <stdio.h>

#include "file.h"
#include "stepper.h"
#include "support.h"

enum { MOST = 50, B = 100, IMAGE = 28 * 28, STEPS = 2 };

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
    float *images = calloc((size_t)B * (IMAGE + 1), sizeof *images); /* and labels */
    const caps_images all = {B, images, (void *)(images + (size_t)B * IMAGE), NULL};
    caps_stepper s;
    caps_stepper_init(&s, m, CAPS_OPTIMIZER_ADAM, 1, 1);
    for (size_t step = 0; step < STEPS; step++)
        test_ok(caps_stepper_enqueue(&s, &all, 1e-3, &err));
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

START_TEST(a_step_has_few_commands)
{
    static char names[8192];
    if (test_small()) /* a simulator: a step of this network takes hours */
        return;
    char *directory = test_directory(), *path = trace_steps(directory);
    const size_t n = commands_of_a_step(path, names, sizeof names);

    ck_assert_msg(n > 20 && n <= MOST, "%zu commands, need at most %d:\n%s", n, MOST, names);
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
