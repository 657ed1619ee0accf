/* Models: memory, first values, batches of different sizes, misuse, checkpoints, what is not
 * finite. */
#include <math.h>
#include <stdio.h>

#include "model_support.h"
#include "step.h"
#include "file.h"
#include "loss.h"
#include "safetensors.h"

START_TEST(parameters_are_the_contract)
{
    static const char *const names[] = {"conv1.weight", "conv1.bias", "primary.weight",
        "primary.bias", "class_caps.weight", "class_caps.bias", "decoder.fc1.weight",
        "decoder.fc1.bias", "decoder.fc2.weight", "decoder.fc2.bias"};
    static const size_t shapes[][4] = {{6, 2, 4, 4}, {6}, {12, 6, 3, 3}, {12}, {3 * 3 * 2, 5, 7, 4},
        {5, 7}, {10, 35}, {10}, {PIXELS, 10}, {PIXELS}};
    caps_model *m = make(families[_i], &train8);
    size_t at = 0;
    ck_assert_uint_eq(caps_model_parameter_count(m), 10);
    ck_assert_ptr_null(caps_model_parameter(m, 10));
    for (size_t i = 0; i < 10; i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        ck_assert_str_eq(p->name, names[i]);
        size_t count = 1;
        for (int d = 0; d < p->ndim; d++) {
            ck_assert_uint_eq(p->shape[d], shapes[i][d]);
            count *= p->shape[d];
        }
        ck_assert(p->ndim == 4 || shapes[i][p->ndim] == 0);
        ck_assert_uint_eq(p->count, count);
        ck_assert_uint_eq(p->first, at);
        at += count;
    }
    ck_assert_uint_eq(caps_model_flat_count(m), at);
    ck_assert_uint_eq(caps_model_get_info(m)->parameters, at);
    ck_assert_uint_eq(caps_model_get_max_batch(m), 8);
    ck_assert_ptr_eq(caps_model_get_runtime(m), families[_i]);
    caps_model_free(m);
}
END_TEST

/* What is forecast is what is taken, and steps take no more. */
START_TEST(memory_is_as_forecast)
{
    caps_runtime *rt = families[_i];
    caps_error err = {0};
    const caps_model_options all[] = {train8, {CAPS_OPTIONS(caps_model_options), .max_batch = 3},
        {CAPS_OPTIONS(caps_model_options), .max_batch = 3, .reconstruct = true},
        {CAPS_OPTIONS(caps_model_options), .max_batch = 8, .training = true,
            .conv_workspace_bytes = 1}};
    uint64_t totals[4];
    for (size_t i = 0; i < 4; i++) {
        caps_model_memory memory;
        caps_model *m = NULL;
        OWNED_SPEC(spec) = spec_of(SPEC);
        const uint64_t before = caps_runtime_bytes(rt);
        test_ok(caps_model_forecast(rt, spec, &all[i], &memory, &err));
        ck_assert_uint_eq(caps_runtime_bytes(rt), before);
        ck_assert_uint_eq(memory.total, memory.parameters + memory.gradients + memory.moments +
                                            memory.activations + memory.workspace);
        test_ok(caps_model_create(&m, rt, spec, &all[i], &err));
        const uint64_t taken = caps_runtime_bytes(rt) - before;
        ck_assert_uint_le(taken, memory.total);
        /* Scratch of products is the runtime's, and stays for the next model. */
        ck_assert_uint_ge(taken, memory.total - memory.workspace);
        ck_assert_int_eq(memory.moments > 0, all[i].adam);
        ck_assert_int_eq(memory.gradients > 1000, all[i].training);
        totals[i] = memory.total;
        const uint64_t made = caps_runtime_bytes(rt);
        for (size_t b = 1; b <= all[i].max_batch; b += 2) {
            set_batch(m, b, true);
            test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
            if (all[i].training)
                test_ok(caps_model_backward(m, &err));
        }
        ck_assert_uint_eq(caps_runtime_bytes(rt), made);
        caps_model_free(m);
    }
    ck_assert_uint_lt(totals[1], totals[2]);
    ck_assert_uint_lt(totals[3], totals[0]);
}
END_TEST

/* What the device gives is what was said, within a tenth: real networks, each on a runtime of its
 * own, so that nothing is there before. */
START_TEST(forecast_is_what_is_allocated)
{
    static const struct {
        const char *arch;
        caps_model_options options;
    } cases[] = {
        {"small",
            {CAPS_OPTIONS(caps_model_options), .max_batch = 100, .training = true, .adam = true}},
        {"small",
            {CAPS_OPTIONS(caps_model_options), .max_batch = 1, .training = true, .adam = true}},
        {"small", {CAPS_OPTIONS(caps_model_options), .max_batch = 64}},
        {"small", {CAPS_OPTIONS(caps_model_options), .max_batch = 100, .training = true,
                      .adam = true, .accumulate = true, .memory_limit_bytes = (uint64_t)80 << 20}},
        {"mnist", {CAPS_OPTIONS(caps_model_options), .max_batch = 5, .training = true}},
        {"mnist", {CAPS_OPTIONS(caps_model_options), .max_batch = 2, .reconstruct = true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        caps_error err = {0};
        OWNED_SPEC(spec) = NULL;
        caps_model_memory memory;
        caps_model *m = NULL;
        caps_runtime *rt = NULL;
        caps_runtime_options options = {
            CAPS_OPTIONS(caps_runtime_options), .kernels = _i ? "gpu" : "cpu"};
        if (test_small() && strcmp(cases[i].arch, "small") != 0)
            continue;
        test_ok(caps_model_spec_load(&spec, cases[i].arch, &err));
        test_ok(caps_runtime_create_from(&rt, caps_runtime_context(families[_i]),
            caps_runtime_device(families[_i])->handle, caps_runtime_queue(families[_i]), &options,
            &err));
        test_ok(caps_model_forecast(rt, spec, &cases[i].options, &memory, &err));
        test_ok(caps_model_create(&m, rt, spec, &cases[i].options, &err));
        ck_assert_uint_eq(memory.micro_batch, caps_model_get_micro_batch(m));
        if (cases[i].options.training && !test_small()) { /* a step takes no more */
            const size_t b = cases[i].options.max_batch, n = caps_model_get_info(m)->pixels;
            float *images = calloc(b * n, sizeof *images);
            int32_t *labels = calloc(b, sizeof *labels);
            test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 1, &err));
            test_ok(caps_model_gradients(m, &(caps_images){b, images, labels, NULL}, &err));
            test_ok(caps_model_sgd(m, 0.1f, &err));
            test_ok(caps_runtime_finish(rt, &err));
            free(images);
            free(labels);
        }
        const double peak = (double)caps_runtime_peak_bytes(rt), said = (double)memory.total;
        ck_assert_msg(peak <= 1.1 * said && peak >= 0.9 * said,
            "case %zu: forecast %.0f, took %.0f", i, said, peak);
        if (cases[i].options.memory_limit_bytes)
            ck_assert_double_le(peak, (double)cases[i].options.memory_limit_bytes);
        caps_model_free(m);
        caps_runtime_free(rt);
    }
}
END_TEST

/* ---- parts of a batch ----------------------------------------------------------------------- */

static caps_model_memory forecast(caps_runtime *rt, const caps_model_options *options)
{
    caps_error err = {0};
    caps_model_memory memory;
    OWNED_SPEC(spec) = spec_of(SPEC);
    test_ok(caps_model_forecast(rt, spec, options, &memory, &err));
    return memory;
}

START_TEST(the_limit_gives_the_parts)
{
    caps_runtime *rt = families[_i];
    caps_error err = {0};
    caps_model *m = NULL;
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_model_options o = {CAPS_OPTIONS(caps_model_options), .max_batch = 100, .training = true,
        .adam = true, .accumulate = true};
    const caps_model_memory all = forecast(rt, &o);
    ck_assert_uint_eq(all.micro_batch, 100);
    o.memory_limit_bytes = all.total;
    ck_assert_uint_eq(forecast(rt, &o).micro_batch, 100);
    /* The less there is, the smaller the parts; none takes more than there is, and the fewest
     * parts that fit are taken. */
    size_t last = 100;
    bool parts[101] = {0};
    for (uint64_t limit = all.total - 1;; limit -= limit / 50) {
        caps_model_memory memory;
        o.memory_limit_bytes = limit;
        if (caps_model_forecast(rt, spec, &o, &memory, &err) != CAPS_OK)
            break;
        ck_assert_uint_le(memory.total, limit);
        ck_assert_uint_le(memory.micro_batch, last);
        last = memory.micro_batch;
        const size_t n = (100 + last - 1) / last;
        parts[n] = true;
        ck_assert_uint_eq(last, (100 + n - 1) / n);
        if (n > 1) {
            caps_model_options fewer = {CAPS_OPTIONS(caps_model_options), .max_batch = 100,
                .training = true, .adam = true, .accumulate = true,
                .micro_batch = (100 + n - 2) / (n - 1)};
            ck_assert(n == 2 || forecast(rt, &fewer).total > limit);
        }
    }
    ck_assert(parts[2] && parts[3] && last == 1);
    ck_assert_int_eq(err.status, CAPS_ERR_DEVICE_MEMORY);
    ck_assert_msg(strstr(err.message, "the model with one image at a time needs ") &&
                      strstr(err.message, " MiB of device memory, the limit is "),
        "%s", err.message);
    const uint64_t before = caps_runtime_bytes(rt);
    ck_assert_int_eq(caps_model_create(&m, rt, spec, &o, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_ptr_null(m);
    /* Nobody asked for parts: a limit refuses. */
    o.accumulate = false;
    o.memory_limit_bytes = all.total - 1;
    ck_assert_int_eq(caps_model_create(&m, rt, spec, &o, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_msg(strstr(err.message, "batches of 100 needs "), "%s", err.message);
    ck_assert_uint_eq(caps_runtime_bytes(rt), before);
    /* A number of images is a limit too, and no more than that. */
    o = (caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 10, .training = true,
        .accumulate = true, .micro_batch = 4};
    ck_assert_uint_eq(forecast(rt, &o).micro_batch, 4);
    o.micro_batch = 9;
    ck_assert_uint_eq(forecast(rt, &o).micro_batch, 5);
    o.micro_batch = 11;
    ck_assert_uint_eq(forecast(rt, &o).micro_batch, 10);
}
END_TEST

START_TEST(parts_add_up_to_the_batch)
{
    enum { B = 8 };
    caps_error err = {0};
    int32_t labels[B];
    float *images = floats(B * PIXELS, 5, 0, 1);
    for (size_t i = 0; i < B; i++)
        labels[i] = (int32_t)(i % CLASSES);
    caps_model *whole = make(families[_i], &train8);
    const size_t n = caps_model_flat_count(whole);
    for (size_t b = 1; b <= B; b += b == 1 ? 4 : 3) { /* 1, 5, 8 */
        caps_model_totals expected, totals;
        test_ok(caps_model_clear_totals(whole, &err));
        test_ok(caps_model_accumulate(
            whole, &(caps_images){b, images, labels, NULL}, true, NULL, &err));
        test_ok(caps_model_get_totals(whole, &expected, &err));
        float *have = gradients(whole);
        double *a = malloc(n * sizeof *a), *c = malloc(n * sizeof *c);
        for (size_t i = 0; i < n; i++)
            a[i] = (double)have[i];
        free(have);
        for (size_t micro = 1; micro < B; micro++) {
            caps_model_options o = train8;
            o.accumulate = true;
            o.micro_batch = micro;
            caps_model *m = make(families[_i], &o);
            test_ok(caps_model_accumulate(
                m, &(caps_images){b, images, labels, NULL}, true, NULL, &err));
            test_ok(caps_model_get_totals(m, &totals, &err));
            have = gradients(m);
            for (size_t i = 0; i < n; i++)
                c[i] = (double)have[i];
            ck_assert_double_lt(test_relative_error(c, a, n), 1e-6);
            ck_assert_double_eq_tol(
                totals.class_loss, expected.class_loss, 1e-6 * expected.class_loss);
            ck_assert_double_eq_tol(totals.sse, expected.sse, 1e-6 * expected.sse);
            ck_assert(totals.errors == expected.errors);
            /* The views are where they were, and one part is a batch as any. */
            ck_assert(caps_model_parameter(m, 0)->gradient.buffer ==
                          caps_model_parameter(m, 1)->gradient.buffer &&
                      caps_model_parameter(m, 1)->gradient.offset ==
                          caps_model_parameter(m, 0)->gradient.offset +
                              caps_model_parameter(m, 1)->first);
            ck_assert_int_eq(
                caps_model_set_batch(m,
                    &(caps_images){caps_model_get_micro_batch(m) + 1, images, labels, NULL}, &err),
                CAPS_ERR_ARGUMENT);
            ck_assert_int_eq(
                caps_model_gradients(m, &(caps_images){B + 1, images, labels, NULL}, &err),
                CAPS_ERR_ARGUMENT);
            free(have);
            caps_model_free(m);
        }
        free(a);
        free(c);
    }
    caps_model_free(whole);
    free(images);
}
END_TEST

START_TEST(too_large_is_refused_before_anything)
{
    caps_runtime *rt = families[_i];
    caps_error err = {0};
    caps_model *m = NULL;
    const uint64_t before = caps_runtime_bytes(rt);
    OWNED_SPEC(spec) = spec_of(SPEC);
    char *large_text = caps_model_spec_format(spec), *at = strstr(large_text, "[10]");
    ck_assert_ptr_nonnull(at);
    char large_json[1024];
    snprintf(large_json, sizeof large_json, "%.*s[2000000000]%s", (int)(at - large_text),
        large_text, at + 4);
    free(large_text);
    OWNED_SPEC(large) = spec_of(large_json);
    ck_assert_int_eq(caps_model_create(&m, rt, large, &train8, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message, "batches of 8 needs "));
    ck_assert_ptr_nonnull(strstr(err.message, " MiB of device memory, device "));
    ck_assert_ptr_null(m);
    const caps_model_options many = {
        CAPS_OPTIONS(caps_model_options), .max_batch = 2000000000, .training = true};
    ck_assert_int_eq(caps_model_create(&m, rt, spec, &many, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_ptr_null(m);
    const caps_model_options none = {CAPS_OPTIONS(caps_model_options), .max_batch = 0};
    ck_assert_int_eq(caps_model_create(&m, rt, spec, &none, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(
        caps_model_spec_set(spec, "primary_caps", "kernel", "99", NULL, &err), CAPS_ERR_SPEC);
    ck_assert_uint_eq(caps_runtime_bytes(rt), before);
}
END_TEST

START_TEST(first_values_come_from_the_seed)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    const size_t n = caps_model_flat_count(m);
    float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
    test_ok(caps_model_get_parameters(m, a, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 4, &err));
    test_ok(caps_model_get_parameters(m, b, &err));
    ck_assert_mem_ne(a, b, n * sizeof *a);
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    test_ok(caps_model_get_parameters(m, b, &err));
    ck_assert_mem_eq(a, b, n * sizeof *a);
    /* Spread as docs/numerics.md says, within five standard errors; biases zero. */
    const double expected[] = {sqrt(2.0 / 32), 0, sqrt(2.0 / (54 + 108)), 0,
        sqrt(2.0 / (18 * 4 + 35)), 0, sqrt(2.0 / 35), 0, sqrt(2.0 / (10 + PIXELS)), 0};
    for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        double sum = 0, square = 0;
        for (size_t e = 0; e < p->count; e++) {
            sum += (double)a[p->first + e];
            square += (double)a[p->first + e] * (double)a[p->first + e];
        }
        const double count = (double)p->count, sigma = sqrt(square / count);
        ck_assert_msg(fabs(sigma - expected[i]) <= 5 * expected[i] / sqrt(2 * count), "%s: %g, %g",
            p->name, sigma, expected[i]);
        ck_assert_double_le(fabs(sum / count), 5 * expected[i] / sqrt(count));
    }
    free(a);
    free(b);
    caps_model_free(m);
}
END_TEST

/* Images do not see each other: a batch of 3 gives what the first 3 of a batch of 8 give. */
START_TEST(smaller_batches)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    double *of8[3], *of3[3];
    for (int pass = 0; pass < 2; pass++) {
        double **of = pass == 0 ? of8 : of3;
        set_batch(m, pass == 0 ? 8 : 3, true);
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        ck_assert_uint_eq(caps_model_output(m, "lengths").shape[0], pass == 0 ? 8 : 3);
        of[0] = output_of(m, "lengths");
        of[1] = output_of(m, "reconstruction");
        of[2] = output_of(m, "couplings");
    }
    const size_t counts[] = {3 * CLASSES, 3 * PIXELS, 3 * 18 * CLASSES};
    for (int i = 0; i < 3; i++) {
        ck_assert_double_le(test_relative_error(of3[i], of8[i], counts[i]), 1e-6);
        free(of3[i]);
        free(of8[i]);
    }
    caps_model_free(m);
}
END_TEST

/* The gradients of a step are a function of its batch alone, to the bit. */
START_TEST(gradients_repeat)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    float *first = NULL;
    for (int round = 0; round < 3; round++) {
        if (round == 1) { /* something else in between */
            set_batch(m, 5, true);
            test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
            test_ok(caps_model_backward(m, &err));
            continue;
        }
        set_batch(m, 7, true);
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        test_ok(caps_model_backward(m, &err));
        float *now = gradients(m);
        if (first)
            ck_assert_mem_eq(first, now, caps_model_flat_count(m) * sizeof *now);
        else
            first = now, now = NULL;
        free(now);
    }
    free(first);
    caps_model_free(m);
}
END_TEST

/* Totals grow where they are asked to, by the labelled batch of the last forward; a forward by
 * itself changes none. */
START_TEST(totals_add_up)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    caps_model_totals one, two;
    ck_assert_int_eq(caps_model_add_totals(m, &err), CAPS_ERR_ARGUMENT);
    set_batch(m, 6, true);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    test_ok(caps_model_get_totals(m, &one, &err));
    ck_assert(one.class_loss == 0 && one.sse == 0 && one.errors == 0);
    test_ok(caps_model_add_totals(m, &err));
    test_ok(caps_model_get_totals(m, &one, &err));
    ck_assert_double_gt(one.class_loss, 0);
    ck_assert_double_gt(one.sse, 0);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    test_ok(caps_model_add_totals(m, &err));
    test_ok(caps_model_get_totals(m, &two, &err));
    ck_assert_double_eq_tol(two.sse, 2 * one.sse, 1e-5 * two.sse);
    ck_assert(two.errors == 2 * one.errors);
    test_ok(caps_model_clear_totals(m, &err));
    test_ok(caps_model_get_totals(m, &two, &err));
    ck_assert(two.class_loss == 0 && two.sse == 0 && two.errors == 0);
    /* Without labels there is nothing to add. */
    set_batch(m, 6, false);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    ck_assert_int_eq(caps_model_add_totals(m, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_null(caps_model_output(m, "sse").buffer);
    ck_assert_ptr_null(caps_model_output(m, "class_loss").buffer);
    ck_assert_ptr_nonnull(caps_model_output(m, "reconstruction").buffer);
    caps_model_free(m);
}
END_TEST

START_TEST(misuse_is_refused)
{
    caps_runtime *rt = families[_i];
    caps_error err = {0};
    float image[PIXELS] = {0}, *flat = calloc(100000, sizeof *flat);
    caps_model *m = make(rt, &train8);
    ck_assert_int_eq(caps_model_forward(m, CAPS_MASK_LONGEST, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_null(caps_model_output(m, "lengths").buffer);
    ck_assert_int_eq(caps_model_backward(m, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(
        caps_model_set_batch(m, &(caps_images){0, image, NULL, NULL}, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(
        caps_model_set_batch(m, &(caps_images){9, image, NULL, NULL}, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "model: a batch of 9 images, need 1 to 8");
    test_ok(caps_model_set_batch(m, &(caps_images){1, image, NULL, NULL}, &err));
    ck_assert_int_eq(caps_model_forward(m, CAPS_MASK_LABEL, &err), CAPS_ERR_ARGUMENT);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    ck_assert_int_eq(caps_model_backward(m, &err), CAPS_ERR_ARGUMENT); /* no labels */
    caps_model_free(m);

    m = make(rt, &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 2});
    set_batch(m, 2, true);
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    ck_assert_ptr_null(caps_model_output(m, "reconstruction").buffer);
    ck_assert_int_eq(caps_model_backward(m, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_model_get_gradients(m, flat, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_model_adam(m, 0.1f, 1, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_model_sgd(m, 0.1f, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_model_get_moments(m, flat, flat, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_model_set_moments(m, flat, flat, &err), CAPS_ERR_ARGUMENT);
    caps_model_free(m);
    free(flat);
}
END_TEST

START_TEST(checkpoints)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    const size_t n = caps_model_flat_count(m);
    char *directory = test_directory(), *path = caps_path_join(directory, "m.safetensors");
    float *flat = malloc(n * sizeof *flat);
    caps_checkpoint c;
    test_ok(caps_model_save(m, path, &err));
    test_ok(caps_model_get_parameters(m, flat, &err));
    test_ok(caps_checkpoint_load(&c, path, NULL, &err));
    ck_assert(c.has_spec && caps_model_spec_equal(c.spec, caps_model_get_spec(m)));
    ck_assert_uint_eq(c.count, n);
    ck_assert_mem_eq(c.parameters, flat, n * sizeof *flat);
    caps_checkpoint_release(&c);
    OWNED_SPEC(other) = NULL;
    test_ok(caps_model_spec_copy(&other, caps_model_get_spec(m), &err));
    test_ok(caps_model_spec_set(other, "caps", "routing.iterations", "2", NULL, &err));
    ck_assert_int_eq(caps_checkpoint_load(&c, path, other, &err), CAPS_ERR_MISMATCH);
    char expected[512];
    snprintf(expected, sizeof expected, "%s: class_caps.iterations is 3, need 2", path);
    ck_assert_str_eq(err.message, expected);
    ck_assert_ptr_null(c.parameters);

    ck_assert(caps_loss_equal(caps_model_get_loss(m), &CAPS_LOSS_DEFAULT));
    flat[n / 2] = NAN;
    test_ok(caps_model_set_parameters(m, flat, &err));
    test_ok(caps_model_save(m, path, &err));
    ck_assert_int_eq(caps_checkpoint_load(&c, path, NULL, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "is not finite"));
    ck_assert_int_eq(caps_model_save(m, "/nonexistent/m.safetensors", &err), CAPS_ERR_IO);
    free(flat);
    free(path);
    free(directory);
    caps_model_free(m);
}
END_TEST

/* The loss is in the file where it is another than the default; a damaged one is refused. */
START_TEST(a_loss_is_kept)
{
    static const char *const bad[] = {"{", "[]", "{}",
        "{\"margin_positive\":0.7,\"margin_negative\":0.2,\"margin_down\":0.5,\"margin_scale\":1}",
        "{\"margin_positive\":-1,\"margin_negative\":0.2,\"margin_down\":0.5,\"margin_scale\":1,"
        "\"reconstruction_weight\":0}",
        "{\"margin_positive\":\"0.7\",\"margin_negative\":0.2,\"margin_down\":0.5,"
        "\"margin_scale\":1,\"reconstruction_weight\":0}",
        "{\"margin_positive\":0.7,\"margin_negative\":0.2,\"margin_down\":0.5,\"margin_scale\":1,"
        "\"reconstruction_weight\":0,\"focus\":2}"};
    const caps_loss loss = {
        {0.7f, 0.2f, 0.35f}, 1.0 / 7, 0.392 / 144, CAPS_CLASS_LOSS_MARGIN, 0.9f};
    caps_error err = {0};
    caps_safetensors st;
    caps_checkpoint c;
    char *directory = test_directory(), *path = caps_path_join(directory, "m.safetensors");
    caps_model *m =
        make(families[0], &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 2});
    test_ok(caps_model_save(m, path, &err));
    test_ok(caps_safetensors_load(&st, path, &err));
    ck_assert_uint_eq(st.metadata_count, 2);
    caps_safetensors_release(&st);
    test_ok(caps_checkpoint_load(&c, path, NULL, &err));
    ck_assert(caps_loss_equal(&c.loss, &CAPS_LOSS_DEFAULT));
    caps_checkpoint_release(&c);
    caps_model_free(m);

    m = make(families[0],
        &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 2, .loss = &loss});
    test_ok(caps_model_save(m, path, &err));
    test_ok(caps_checkpoint_load(&c, path, NULL, &err));
    ck_assert(caps_loss_equal(&c.loss, &loss));
    ck_assert(c.loss.margin_scale == loss.margin_scale);
    ck_assert(c.loss.reconstruction_weight == loss.reconstruction_weight);
    caps_checkpoint_release(&c);

    test_ok(caps_safetensors_load(&st, path, &err));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const caps_st_pair pairs[] = {
            {"capscl.spec", caps_safetensors_get_metadata(&st, "capscl.spec")},
            {"capscl.loss", bad[i]}};
        char *other = caps_path_join(directory, "bad.safetensors");
        test_ok(caps_safetensors_save(other, st.tensors, st.count, pairs, 2, &err));
        ck_assert_int_eq(caps_checkpoint_load(&c, other, NULL, &err), CAPS_ERR_FORMAT);
        ck_assert_msg(strstr(err.message, other) == err.message, "%s", err.message);
        free(other);
    }
    caps_safetensors_release(&st);
    caps_model_free(m);
    free(path);
    free(directory);
}
END_TEST

/* A value that is not finite is found where it came up first. */
START_TEST(the_first_value_that_is_not_finite_is_named)
{
    static const struct {
        const char *parameter, *layer;
    } cases[] = {{"conv1.weight", "conv1"}, {"primary.bias", "primary"},
        {"class_caps.weight", "class_caps"}, {"decoder.fc2.bias", "decoder.fc2"}};
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    const size_t n = caps_model_flat_count(m);
    float *good = malloc(n * sizeof *good);
    char name[64];
    bool finite = false;
    test_ok(caps_model_get_parameters(m, good, &err));
    for (size_t i = 0; i < 4; i++) {
        size_t p = 0;
        while (strcmp(caps_model_parameter(m, p)->name, cases[i].parameter) != 0)
            p++;
        float *bad = malloc(n * sizeof *bad);
        memcpy(bad, good, n * sizeof *bad);
        bad[caps_model_parameter(m, p)->first] = NAN;
        test_ok(caps_model_set_parameters(m, bad, &err));
        set_batch(m, 4, true);
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        test_ok(caps_model_backward(m, &err));
        test_ok(caps_model_first_not_finite(m, name, sizeof name, &err));
        ck_assert_str_eq(name, cases[i].layer);
        test_ok(caps_model_sgd(m, 0.1f, &err));
        test_ok(caps_model_check_finite(m, &finite, &err));
        ck_assert(!finite);
        test_ok(caps_model_check_finite(m, &finite, &err)); /* said once */
        ck_assert(finite);
        free(bad);
    }
    test_ok(caps_model_set_parameters(m, good, &err));
    set_batch(m, 4, true);
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    test_ok(caps_model_backward(m, &err));
    test_ok(caps_model_adam(m, 0.1f, 1, &err));
    test_ok(caps_model_check_finite(m, &finite, &err));
    ck_assert(finite);
    test_ok(caps_model_first_not_finite(m, name, sizeof name, &err));
    ck_assert_str_eq(name, "nothing");
    /* A parameter that no layer has met yet. */
    good[3] = INFINITY;
    test_ok(caps_model_set_parameters(m, good, &err));
    test_ok(caps_model_first_not_finite(m, name, sizeof name, &err));
    ck_assert_str_eq(name, "conv1.weight");
    free(good);
    caps_model_free(m);
}
END_TEST

/* Outputs, bits and all, of two forwards between which the parameters change: what was kept of the
 * old ones is gone, and what is kept changes nothing. */
START_TEST(kept_transforms_are_true)
{
    caps_error err = {0};
    caps_runtime *rt = families[CAPS_FAMILY_CPU];
    float have[4][8 * CLASSES];
    caps_model *m = make(rt, &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 8,
                                 .conv = "conv1=toom-cook,primary=toom-cook"});
    ck_assert_str_eq(caps_model_get_conv(m), "conv1=toom-cook,primary=toom-cook");
    const size_t n = caps_model_flat_count(m);
    float *other = floats(n, 77, -0.1, 0.1), *first = malloc(n * sizeof *first);
    test_ok(caps_model_get_parameters(m, first, &err));
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            test_ok(caps_model_set_parameters(m, other, &err));
        if (i == 3) { /* behind the model's back, told afterwards */
            for (size_t p = 0; p < caps_model_parameter_count(m); p++) {
                const caps_parameter *parameter = caps_model_parameter(m, p);
                test_ok(caps_tensor_upload(rt, &parameter->value, first + parameter->first, &err));
            }
            caps_model_parameters_changed(m);
        }
        set_batch(m, i == 1 ? 5 : 8, false);
        test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
        const caps_tensor lengths = caps_model_output(m, "lengths");
        test_ok(caps_tensor_download(rt, &lengths, have[i], &err));
    }
    ck_assert_mem_ne(have[0], have[2], sizeof have[0]);
    ck_assert_mem_eq(have[0], have[3], sizeof have[0]);
    caps_model_free(m);
    free(other);
    free(first);
}
END_TEST

/* The gradients are the same within rounding whatever the algorithms are. */
START_TEST(algorithms_agree_on_gradients)
{
    static const char *const wishes[] = {
        "im2col", "conv1=direct", "spectral", "conv1=direct,primary=spectral"};
    caps_error err = {0};
    float *all[4];
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        caps_model_options options = train8;
        options.conv = wishes[i];
        caps_model *m = make(families[CAPS_FAMILY_CPU], &options);
        set_batch(m, 8, true);
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        test_ok(caps_model_backward(m, &err));
        all[i] = gradients(m);
        n = caps_model_flat_count(m);
        /* Once more, with nothing left in the workspace from the forward. */
        test_ok(caps_model_backward(m, &err));
        float *again = gradients(m);
        ck_assert_mem_eq(all[i], again, n * sizeof *again);
        free(again);
        caps_model_free(m);
    }
    double scale = 0;
    for (size_t e = 0; e < n; e++)
        scale = fmax(scale, fabs((double)all[0][e]));
    for (int i = 1; i < 4; i++)
        for (size_t e = 0; e < n; e++)
            ck_assert_double_eq_tol(all[i][e], all[0][e], 2e-5 * scale);
    for (int i = 0; i < 4; i++)
        free(all[i]);
}
END_TEST

/* Parameters after one step of Adam, or of sgd, at `rate`. */
static float *stepped(caps_runtime *rt, const char *factors, float rate, bool adam)
{
    caps_error err = {0};
    caps_model_options options = train8;
    options.lr_multipliers = factors;
    caps_model *m = make(rt, &options);
    float *w = malloc(caps_model_flat_count(m) * sizeof *w);
    set_batch(m, 8, true);
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    test_ok(caps_model_backward(m, &err));
    test_ok(adam ? caps_model_adam(m, rate, 1, &err) : caps_model_sgd(m, rate, &err));
    test_ok(caps_model_get_parameters(m, w, &err));
    caps_model_free(m);
    return w;
}

/* Every parameter is, bits and all, what the factor times the rate makes of it where all have that
 * one. */
START_TEST(rates_differ_by_layer)
{
    static const struct {
        const char *factors, *of; /* by parameter: 1, h 0.5, q 0.25 of the rate, 0 */
    } cases[] = {{NULL, "1111111111"}, {"primary=0.25", "11qq111111"},
        {"decoder.fc1=.5,decoder=2.5e-1,conv1.bias=0", "101111hhqq"},
        {"class_caps.weight=0,class_caps=5E-1,primary.bias=0.25,primary=1", "111q0h1111"},
        {"conv1=0.25,primary=0.25,class_caps=0.25,decoder=0.25", "qqqqqqqqqq"}};
    static const char letters[] = "1hq0";
    static const float rates[] = {0.125f, 0.125f / 2, 0.125f / 4, 0};
    for (int adam = 0; adam < 2; adam++) {
        float *all[4];
        for (size_t r = 0; r < 4; r++)
            all[r] = stepped(families[_i], NULL, rates[r], adam);
        caps_model *m = make(families[_i], &train8);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            float *have = stepped(families[_i], cases[i].factors, rates[0], adam);
            for (size_t k = 0; k < caps_model_parameter_count(m); k++) {
                const caps_parameter *p = caps_model_parameter(m, k);
                const size_t want = (size_t)(strchr(letters, cases[i].of[k]) - letters);
                for (size_t r = 0; r < 4; r++) {
                    const bool same =
                        memcmp(have + p->first, all[r] + p->first, p->count * sizeof *have) == 0;
                    ck_assert_msg(same == (r == want), "%s: %s", cases[i].factors, p->name);
                }
            }
            free(have);
        }
        for (size_t r = 0; r < 4; r++)
            free(all[r]);
        caps_model_free(m);
    }
}
END_TEST

START_TEST(wrong_lr_multipliers)
{
    static const struct {
        const char *factors, *message;
    } cases[] = {
        {"primary",
            "learning-rate multipliers: 'primary' is not LAYER=X with a factor X, 0 or more"},
        {"primary=", "'primary=' is not LAYER=X"},
        {"conv1=1,primary=-0.5", "'primary=-0.5' is not"},
        {"primary=0.5x", "'primary=0.5x' is not"},
        {"primary=0x1", "'primary=0x1' is not"},
        {"primary=nan", "'primary=nan' is not"},
        {"primary=1e99", "'primary=1e99' is not"},
        {"primary=1=2", "'primary=1=2' is not"},
        {",primary=1", "'' is not LAYER=X"},
        {"=1", "the network has no '', need one of conv1, primary, class_caps, decoder, or of"},
        {"prim=0.5", "the network has no 'prim'"},
        {"primary=1,decoder.fc=0.5", "the network has no 'decoder.fc'"},
        {"primary.weights=1", "the network has no 'primary.weights'"},
    };
    OWNED_SPEC(spec) = spec_of(SPEC);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        caps_error err = {0};
        caps_model_options options = train8;
        caps_model *m = NULL;
        options.lr_multipliers = cases[i].factors;
        ck_assert_int_eq(caps_model_create(&m, families[CAPS_FAMILY_CPU], spec, &options, &err),
            CAPS_ERR_ARGUMENT);
        ck_assert_ptr_null(m);
        ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s", err.message);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("model");
    TCase *tc = families_case(s, "model");
    families_add(tc, parameters_are_the_contract);
    families_add(tc, memory_is_as_forecast);
    families_add(tc, forecast_is_what_is_allocated);
    families_add(tc, the_limit_gives_the_parts);
    families_add(tc, parts_add_up_to_the_batch);
    families_add(tc, too_large_is_refused_before_anything);
    families_add(tc, first_values_come_from_the_seed);
    families_add(tc, smaller_batches);
    families_add(tc, gradients_repeat);
    families_add(tc, totals_add_up);
    families_add(tc, misuse_is_refused);
    families_add(tc, rates_differ_by_layer);
    tcase_add_test(tc, wrong_lr_multipliers);
    families_add(tc, checkpoints);
    tcase_add_test(tc, a_loss_is_kept);
    families_add(tc, the_first_value_that_is_not_finite_is_named);
    tcase_add_test(tc, kept_transforms_are_true);
    tcase_add_test(tc, algorithms_agree_on_gradients);
    return s;
}
