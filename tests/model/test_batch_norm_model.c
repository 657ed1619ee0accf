/* test_batch_norm_model.c: batch normalisation in a network: what it goes by in training and otherwise, its
 * running statistics, which are no parameters, and what is refused for their sake. */
#include <math.h>
#include <stdio.h>

#include "model_support.h"
#include "step.h"

/* The first layer gives the image back, so that what is normalised is known. */
#define NORMED                                                                                     \
    "{\"input\":[2,5,3],\"classes\":4,\"layers\":["                                                \
    "{\"kind\":\"conv\",\"name\":\"conv1\",\"channels\":2,\"kernel\":1,\"activation\":\"none\","   \
    "\"norm\":\"batch\"},"                                                                         \
    "{\"kind\":\"linear\",\"name\":\"fc1\",\"out\":4,\"activation\":\"none\"}]}"

enum { B = 7, C = 2, S = 15, COUNT = B * C * S };

/* Positions of conv1's tensors. */
enum { WEIGHT, BIAS, NORM_WEIGHT, NORM_BIAS, RUNNING_MEAN, RUNNING_VAR, FC_WEIGHT, FC_BIAS };

static caps_model *make_normed(caps_runtime *rt, const caps_model_options *options)
{
    caps_error err = {0};
    caps_model *m = NULL;
    OWNED_SPEC(spec) = spec_of(NORMED);
    test_ok(caps_model_create(&m, rt, spec, options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    float *flat = parameters_of(m);
    float *w = flat + caps_model_parameter(m, WEIGHT)->first;
    w[0] = w[3] = 1;
    w[1] = w[2] = 0;
    float *scale = flat + caps_model_parameter(m, NORM_WEIGHT)->first;
    scale[0] = 1.5f;
    scale[1] = -0.5f;
    flat[caps_model_parameter(m, NORM_BIAS)->first] = 0.25f;
    test_ok(caps_model_set_parameters(m, flat, &err));
    free(flat);
    return m;
}

static float *statistics_of(caps_model *m)
{
    const caps_model_info *info = caps_model_get_info(m);
    float *flat = parameters_of(m), *last = malloc(info->statistics * sizeof *last);
    memcpy(last, flat + info->parameters, info->statistics * sizeof *last);
    free(flat);
    return last;
}

static const int32_t labels[B] = {0, 1, 2, 3, 2, 1, 0};

static void step(caps_model *m, const float *images)
{
    caps_error err = {0};
    test_ok(caps_model_gradients(m, &(caps_images){B, images, labels, NULL}, &err));
}

/* x, normalised by these, as conv1 gives it. */
static void expect_normed(caps_model *m, const float *x, const double *mean, const double *var)
{
    double *need = test_zeros(COUNT);
    for (size_t e = 0; e < COUNT; e++) {
        const size_t c = e / S % C;
        need[e] =
            ((double)x[e] - mean[c]) / sqrt(var[c] + 1e-3) * (c ? -0.5 : 1.5) + (c ? 0 : 0.25);
    }
    expect_output(m, "conv1", need, 2e-6, "conv1");
    free(need);
}

static void moments_of(const float *x, double *mean, double *var)
{
    memset(mean, 0, C * sizeof *mean);
    memset(var, 0, C * sizeof *var);
    for (size_t e = 0; e < COUNT; e++)
        mean[e / S % C] += (double)x[e] / (B * S);
    for (size_t e = 0; e < COUNT; e++)
        var[e / S % C] += pow((double)x[e] - mean[e / S % C], 2) / (B * S);
}

START_TEST(by_the_batch_in_training_and_by_running_statistics_otherwise)
{
    caps_error err = {0};
    caps_model *m = make_normed(families[_i], &train8);
    double running[2][C] = {{0, 0}, {1, 1}}, mean[C], var[C];
    for (int n = 0; n < 3; n++) {
        float *x = floats(COUNT, 20 + (uint64_t)n, -n, 2);
        const caps_images batch = {B, x, labels, NULL};
        moments_of(x, mean, var);
        step(m, x);
        expect_normed(m, x, mean, var);
        for (size_t c = 0; c < C; c++) {
            running[0][c] = 0.99 * running[0][c] + 0.01 * mean[c];
            running[1][c] = 0.99 * running[1][c] + 0.01 * var[c];
        }
        float *have = statistics_of(m);
        for (size_t c = 0; c < 2 * C; c++)
            ck_assert_double_eq_tol((double)have[c], running[c / C][c % C], 1e-6);
        test_ok(caps_model_set_batch(m, &batch, &err));
        test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
        expect_normed(m, x, running[0], running[1]);
        /* A forward alone moves nothing. */
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        expect_normed(m, x, mean, var);
        float *again = statistics_of(m);
        ck_assert(memcmp(have, again, 2 * C * sizeof *have) == 0);
        free(have);
        free(again);
        free(x);
    }
    caps_model_free(m);
}
END_TEST

/* Where the gradient of the image is wanted, and without training. */
START_TEST(other_models_go_by_running_statistics)
{
    static const double mean[] = {0.5, -0.25}, var[] = {0.75, 2};
    for (int training = 0; training < 2; training++) {
        caps_error err = {0};
        caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 8};
        options.training = options.input_gradient = training;
        caps_model *m = make_normed(families[_i], &options);
        float *flat = parameters_of(m), *x = floats(COUNT, 31, -1, 2);
        const size_t first = caps_model_get_info(m)->parameters;
        for (size_t c = 0; c < C; c++) {
            flat[first + c] = (float)mean[c];
            flat[first + C + c] = (float)var[c];
        }
        test_ok(caps_model_set_parameters(m, flat, &err));
        test_ok(caps_model_set_batch(m, &(caps_images){B, x, labels, NULL}, &err));
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        expect_normed(m, x, mean, var);
        if (training)
            test_ok(caps_model_backward(m, &err));
        float *have = statistics_of(m);
        ck_assert(memcmp(have, flat + first, 2 * C * sizeof *have) == 0);
        free(have);
        free(flat);
        free(x);
        caps_model_free(m);
    }
}
END_TEST

START_TEST(they_are_no_parameters)
{
    caps_error err = {0};
    caps_model *m = make_normed(families[_i], &train8);
    const caps_model_info *info = caps_model_get_info(m);
    ck_assert_uint_eq(info->parameters, 4 + 2 + 2 + 2 + 4 * 30 + 4);
    ck_assert_uint_eq(info->statistics, 4);
    ck_assert_uint_eq(caps_model_trained_count(m), info->parameters);
    ck_assert_uint_eq(caps_model_flat_count(m), info->parameters + 4);
    ck_assert_ptr_null(caps_model_parameter(m, RUNNING_VAR)->gradient.buffer);
    float *x = floats(COUNT, 5, 0, 1);
    step(m, x);
    float *before = statistics_of(m), *all = parameters_of(m);
    test_ok(caps_model_adam(m, 0.1f, 1, &err));
    test_ok(caps_model_sgd(m, 0.1f, &err));
    float *after = statistics_of(m), *moved = parameters_of(m);
    ck_assert(memcmp(before, after, 4 * sizeof *before) == 0);
    for (size_t i = 0; i < 8; i++) { /* everything else moves */
        const caps_parameter *p = caps_model_parameter(m, i);
        const bool same = memcmp(all + p->first, moved + p->first, p->count * sizeof *all) == 0;
        if (i != BIAS) /* its gradient is rounding: normalisation takes it away again */
            ck_assert_msg(same == (i == RUNNING_MEAN || i == RUNNING_VAR), "%s", p->name);
    }
    caps_model_free(m);
    free(x);
    free(before);
    free(after);
    free(all);
    free(moved);
}
END_TEST

START_TEST(first_values)
{
    caps_error err = {0};
    for (int i = 0; i < 2; i++) {
        caps_model *m = make_normed(families[_i], &train8);
        test_ok(caps_model_initialise(
            m, i ? CAPS_INITIALISER_AUTHORS : CAPS_INITIALISER_SCALED, 1, &err));
        float *flat = parameters_of(m);
        static const double need[] = {
            [NORM_WEIGHT] = 1, [NORM_BIAS] = 0, [RUNNING_MEAN] = 0, [RUNNING_VAR] = 1};
        for (size_t p = NORM_WEIGHT; p <= RUNNING_VAR; p++)
            for (size_t c = 0; c < C; c++)
                ck_assert_double_eq((double)flat[caps_model_parameter(m, p)->first + c], need[p]);
        free(flat);
        caps_model_free(m);
    }
}
END_TEST

START_TEST(a_checkpoint_has_them_with_the_same_bits)
{
    caps_error err = {0};
    char *directory = test_directory(), path[1024];
    snprintf(path, sizeof path, "%s/normed.safetensors", directory);
    caps_model *m = make_normed(families[_i], &train8);
    caps_checkpoint c = {0};
    float *x = floats(COUNT, 5, 0, 1);
    step(m, x);
    float *flat = parameters_of(m);
    test_ok(caps_model_save(m, path, &err));
    test_ok(caps_checkpoint_load(&c, path, NULL, &err));
    ck_assert_uint_eq(c.count, caps_model_flat_count(m));
    ck_assert(memcmp(c.parameters, flat, c.count * sizeof *flat) == 0);
    caps_checkpoint_release(&c);
    /* A variance below 0 has no root. */
    flat[caps_model_parameter(m, RUNNING_VAR)->first + 1] = -1;
    test_ok(caps_model_set_parameters(m, flat, &err));
    test_ok(caps_model_save(m, path, &err));
    ck_assert_int_eq(caps_checkpoint_load(&c, path, NULL, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(
        strstr(err.message, "tensor conv1.norm.running_var: element 1 is -1, need >= 0"));
    caps_model_free(m);
    free(x);
    free(flat);
    free(directory);
}
END_TEST

START_TEST(parts_of_a_batch_are_refused)
{
    caps_error err = {0};
    caps_model *m = NULL;
    caps_model_options options = train8;
    OWNED_SPEC(spec) = spec_of(NORMED);
    options.accumulate = true;
    options.micro_batch = 3;
    ck_assert_int_eq(caps_model_create(&m, families[_i], spec, &options, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message,
        "conv1: normalises by the statistics of the whole batch, but 3 of 8 images are to go at "
        "once: need a smaller batch, or no micro-batches");
    options.micro_batch = 0;
    options.memory_limit_bytes = 5000;
    ck_assert_int_eq(
        caps_model_create(&m, families[_i], spec, &options, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message,
        "conv1: normalises by the statistics of the whole batch, which does not fit, need a "
        "smaller batch: the model with "));
    /* There is none to wait for where gradients of images are wanted. */
    options.memory_limit_bytes = 0;
    options.micro_batch = 3;
    options.input_gradient = true;
    test_ok(caps_model_create(&m, families[_i], spec, &options, &err));
    caps_model_free(m);
}
END_TEST

START_TEST(a_multiplier_for_them_is_refused)
{
    caps_error err = {0};
    caps_model *m = NULL;
    caps_model_options options = train8;
    OWNED_SPEC(spec) = spec_of(NORMED);
    options.lr_multipliers = "conv1.norm.running_mean=2";
    ck_assert_int_eq(caps_model_create(&m, families[_i], spec, &options, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "the network has no 'conv1.norm.running_mean'"));
    options.lr_multipliers = "conv1.norm=2,fc1=0"; /* parts of the flat buffers around them */
    test_ok(caps_model_create(&m, families[_i], spec, &options, &err));
    caps_model_free(m);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("batch normalisation in models");
    TCase *tc = families_case(s, "batch_norm_model");
    families_add(tc, by_the_batch_in_training_and_by_running_statistics_otherwise);
    families_add(tc, other_models_go_by_running_statistics);
    families_add(tc, they_are_no_parameters);
    families_add(tc, first_values);
    families_add(tc, a_checkpoint_has_them_with_the_same_bits);
    families_add(tc, parts_of_a_batch_are_refused);
    families_add(tc, a_multiplier_for_them_is_refused);
    return s;
}
