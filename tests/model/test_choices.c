/* test_choices.c: what is recorded when a model is planned is what its full batches run. */
#include <jansson.h>
#include <stdio.h>

#include "choice.h"
#include "model_support.h"

/* All kinds of choices: convolutions as columns (in chunks, the last one smaller) and by other
 * algorithms, routing, products of a decoder. */
static const struct {
    const char *algorithms, *conv;
    size_t conv_workspace_bytes, batch;
    bool training;
} cases[] = {
    {"gemm=auto", "im2col", 0, 8, true}, {"gemm=direct", "im2col", 3 * 4 * (6 + 32) * 48, 8, true},
    {"gemm=direct,routing=stored", "primary=im2col,conv1=auto", 0, 7, true},
    {"routing=fused", "auto", 0, 8, true}, {"gemm=auto", "im2col", 0, 5, false},
    {"gemm=packed", "im2col", 0, 8, true},
    {"gemm=clblast", "im2col", 0, 8, true}, /* and CLBlast's parameters */
};

static caps_runtime *choices_runtime(int family, const char *algorithms)
{
    caps_error err = {0};
    caps_runtime *shared = test_runtime(), *rt = NULL;
    const caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options),
        .kernels = family ? "gpu" : "cpu", .algorithms = algorithms};
    test_ok(caps_runtime_create_from(&rt, caps_runtime_context(shared),
        caps_runtime_device(shared)->handle, caps_runtime_queue(shared), &options, &err));
    return rt;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Every product, convolution and routing has a record before it runs, and no other algorithm then.
 * */
START_TEST(a_plan_records_what_runs)
{
    const int family = _i % FAMILIES;
    const size_t n = (size_t)_i / FAMILIES;
    if (family && strstr(cases[n].algorithms, "packed"))
        return; /* its kernels are of the CPU family */
    if (test_small() && strstr(cases[n].algorithms, "clblast"))
        return; /* it takes minutes in a simulator */
    caps_error err = {0};
    caps_runtime *rt = choices_runtime(family, cases[n].algorithms);
    const caps_model_options options = {CAPS_OPTIONS(caps_model_options),
        .max_batch = cases[n].batch, .training = cases[n].training,
        .reconstruct = !cases[n].training, .conv_workspace_bytes = cases[n].conv_workspace_bytes,
        .conv = cases[n].conv};
    const caps_choice *list;
    caps_model_memory memory;
    OWNED_SPEC(spec) = spec_of(SPEC);
    test_ok(caps_model_forecast(rt, spec, &options, &memory, &err));
    ck_assert_uint_eq(caps_tuning_choices(rt, &list), 0);
    caps_model *m = NULL;
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    const size_t planned = caps_tuning_choices(rt, &list);
    size_t products = 0, convolutions = 0, routings = 0;
    for (size_t i = 0; i < planned; i++) {
        products += begins(list[i].key, "gemm ");
        convolutions += begins(list[i].key, "conv ");
        routings += begins(list[i].key, "routing ");
        if (begins(list[i].key, "gemm ") && strcmp(cases[n].algorithms, "gemm=direct") == 0)
            ck_assert(list[i].requested && strcmp(list[i].algorithm, "direct") == 0);
    }
    ck_assert_uint_eq(convolutions, 2);
    ck_assert_uint_eq(routings, 1);
    ck_assert_uint_ge(products, cases[n].training ? 6 : 2);
    char *before = caps_choices_format(rt);
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    set_batch(m, cases[n].batch, true);
    test_ok(caps_model_forward(m, cases[n].training ? CAPS_MASK_LABEL : CAPS_MASK_LONGEST, &err));
    if (cases[n].training)
        test_ok(caps_model_backward(m, &err));
    test_ok(caps_runtime_finish(rt, &err));
    char *after = caps_choices_format(rt);
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(caps_tuning_choices(rt, &list), planned);
    free(before);
    free(after);
    caps_model_free(m);
    caps_runtime_free(rt);
}
END_TEST

/* And nothing is recorded that does not run: the plan's products are those of the profile. A
 * smaller batch adds its own. */
START_TEST(nothing_else_is_recorded)
{
    caps_error err = {0};
    caps_runtime *rt = choices_runtime(_i, "gemm=direct");
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = 8, .training = true, .conv = "im2col"};
    /* im2col: forward, dw and, of the second, dx; two linear layers of the decoder: all three */
    static const char *const keys[] = {"conv 8x2x11x9 6x4x4 s1 p0 training", "gemm 6x384x32 nn",
        "gemm 6x32x384 nt", "conv 8x6x8x6 12x3x3 s2 p0 training dx", "gemm 12x48x54 nn",
        "gemm 12x54x48 nt", "gemm 54x48x12 tn", "routing 8x18x5x7x4 r3", "gemm 8x10x35 nt",
        "gemm 10x35x8 tn", "gemm 8x35x10 nn", "gemm 8x198x10 nt", "gemm 198x10x8 tn",
        "gemm 8x10x198 nn"};
    enum { KEYS = sizeof keys / sizeof *keys };
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_model *m = NULL;
    const caps_choice *list;
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    const size_t n = caps_tuning_choices(rt, &list);
    for (size_t i = 0; i < n && i < KEYS; i++)
        ck_assert_str_eq(list[i].key, keys[i]);
    ck_assert_uint_eq(n, KEYS);
    char *text = caps_choices_format(rt);
    json_t *object = json_loads(text, 0, NULL);
    ck_assert_uint_eq(json_object_size(object), KEYS);
    ck_assert_str_eq(json_string_value(json_object_get(object, keys[0])), "im2col");
    ck_assert_str_eq(json_string_value(json_object_get(object, "gemm 10x35x8 tn")), "direct");
    json_decref(object);
    free(text);
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    set_batch(m, 3, true);
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    test_ok(caps_model_backward(m, &err));
    ck_assert_uint_gt(caps_tuning_choices(rt, &list), KEYS);
    caps_model_free(m);
    caps_runtime_free(rt);
}
END_TEST

/* Micro-batches: only the plan that fits leaves records. */
START_TEST(plans_that_are_given_up_leave_none)
{
    caps_error err = {0};
    caps_runtime *rt = choices_runtime(_i, "gemm=direct");
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 8,
        .training = true, .conv = "im2col", .accumulate = true};
    caps_model_memory memory;
    test_ok(caps_model_forecast(rt, spec, &options, &memory, &err));
    options.memory_limit_bytes = memory.total - 4096;
    caps_model *m = NULL;
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    const size_t micro = caps_model_get_micro_batch(m);
    ck_assert_uint_lt(micro, 8);
    const caps_choice *list;
    char routing[64];
    snprintf(routing, sizeof routing, "routing %zux18x5x7x4 r3", micro);
    const size_t n = caps_tuning_choices(rt, &list);
    size_t routings = 0;
    for (size_t i = 0; i < n; i++) {
        routings += begins(list[i].key, "routing ");
        ck_assert(!begins(list[i].key, "routing ") || strcmp(list[i].key, routing) == 0);
    }
    ck_assert_uint_eq(routings, 1);
    caps_model_free(m);
    caps_runtime_free(rt);
}
END_TEST

/* Names of layers are valid one by one; a run records them all together. */
START_TEST(names_that_are_too_long_together)
{
    caps_error err = {0};
    char json[8192];
    int n = snprintf(json, sizeof json, "{\"input\": [1, 9, 9], \"classes\": 2, \"layers\": [");
    for (int i = 0; i < 40; i++)
        n += snprintf(json + n, sizeof json - (size_t)n,
            "{\"kind\": \"conv\", \"name\": \"a_convolution_with_a_long_name_%02d\", "
            "\"channels\": 1, \"kernel\": 1}, ",
            i);
    snprintf(json + n, sizeof json - (size_t)n,
        "{\"kind\": \"linear\", \"out\": 2, \"activation\": \"none\"}]}");
    OWNED_SPEC(spec) = spec_of(json);
    const caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 1};
    caps_model_memory memory;
    ck_assert_int_eq(
        caps_model_forecast(test_runtime(), spec, &options, &memory, &err), CAPS_ERR_SPEC);
    ck_assert_msg(strstr(err.message, "the names of the convolutions up to it") &&
                      strstr(err.message, "more than 1023 bytes, need shorter names"),
        "%s", err.message);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("choices");
    TCase *t = tcase_create("choices");
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(
        t, a_plan_records_what_runs, 0, FAMILIES * (int)(sizeof cases / sizeof *cases));
    tcase_add_loop_test(t, nothing_else_is_recorded, 0, FAMILIES);
    tcase_add_loop_test(t, plans_that_are_given_up_leave_none, 0, FAMILIES);
    tcase_add_test(t, names_that_are_too_long_together);
    suite_add_tcase(s, t);
    return s;
}
