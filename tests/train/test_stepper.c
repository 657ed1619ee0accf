/* The pipeline of training steps: their order, what they leave, and the reduction of gradients. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_support.h"
#include "stepper.h"

enum { B = 8 };

/* Steps in flight are taken in order, each with its own numbers. */
START_TEST(steps_are_taken_in_order)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    caps_stepper s;
    caps_step_result r;
    float *images;
    int32_t labels[B];
    const caps_images all = random_batch(1, B, &images, labels);
    caps_images some = all;
    some.b = 3;
    caps_stepper_init(&s, m, CAPS_OPTIMIZER_ADAM, 1, 5);
    ck_assert_uint_eq(caps_stepper_enqueued(&s), 4);
    test_ok(caps_stepper_enqueue(&s, &all, 0.5e-3, &err));
    ck_assert(!caps_stepper_is_full(&s));
    test_ok(caps_stepper_enqueue(&s, &some, 1e-3, &err));
    ck_assert(caps_stepper_is_full(&s));
    ck_assert_uint_eq(caps_stepper_enqueued(&s), 6);
    ck_assert_uint_eq(s.in_flight, 2);
    test_ok(caps_stepper_take(&s, &r, &err));
    ck_assert_uint_eq(r.step, 5);
    ck_assert_uint_eq(r.images, B);
    ck_assert(r.lr == 0.5e-3 && r.finite && r.totals.class_loss > 0 && r.totals.errors <= B);
    test_ok(caps_stepper_enqueue(&s, &all, 1e-3, &err));
    test_ok(caps_stepper_take(&s, &r, &err));
    ck_assert_uint_eq(r.step, 6);
    ck_assert_uint_eq(r.images, 3);
    ck_assert(r.lr == 1e-3 && r.totals.errors <= 3);
    test_ok(caps_stepper_settle(&s, &err));
    ck_assert_uint_eq(s.in_flight, 0);
    ck_assert_uint_eq(caps_stepper_enqueued(&s), 7);

    /* What is not finite is a result, not a failure. */
    images[3] = INFINITY;
    test_ok(caps_stepper_enqueue(&s, &all, 1e-3, &err));
    test_ok(caps_stepper_take(&s, &r, &err));
    ck_assert_uint_eq(r.step, 8);
    ck_assert(!r.finite);
    ck_assert_str_eq(r.where, "input");
    free(images);
    caps_model_free(m);
}
END_TEST

/* Ahead or one after the other: the same bits. */
START_TEST(running_ahead_changes_nothing)
{
    caps_error err = {0};
    float *result[2], *images[3];
    int32_t labels[3][B];
    caps_images batches[3];
    for (size_t i = 0; i < 3; i++)
        batches[i] = random_batch(i, B - i, &images[i], labels[i]);
    for (int ahead = 0; ahead < 2; ahead++) {
        caps_model *m = make(families[_i], &train8);
        caps_stepper s;
        caps_step_result r;
        caps_stepper_init(&s, m, CAPS_OPTIMIZER_ADAM, 1, 1);
        for (size_t i = 0; i < 3; i++) {
            test_ok(caps_stepper_enqueue(&s, &batches[i], 1e-3, &err));
            if (!ahead || caps_stepper_is_full(&s))
                test_ok(caps_stepper_take(&s, &r, &err));
        }
        test_ok(caps_stepper_settle(&s, &err));
        result[ahead] = parameters_of(m);
        if (ahead)
            ck_assert(memcmp(result[0], result[1], caps_model_flat_count(m) * sizeof(float)) == 0);
        caps_model_free(m);
    }
    for (size_t i = 0; i < 3; i++)
        free(images[i]);
    free(result[0]);
    free(result[1]);
}
END_TEST

/* ---- reduction ------------------------------------------------------------------------------ */

/* A second model stands for another device: it computes the gradients of the other part of the
 * batch, and both are summed, weighted by their images. */
typedef struct other_part {
    caps_model *m;
    caps_images images;
    size_t own; /* images of the first model */
    size_t calls;
    caps_status fails; /* CAPS_OK: it does not */
} other_part;

static caps_status reduce(void *user, caps_model *m, caps_error *out)
{
    caps_error err = {0};
    other_part *o = user;
    const size_t n = caps_model_flat_count(m), all = o->own + o->images.b;
    o->calls++;
    if (o->fails != CAPS_OK) {
        if (out) {
            out->status = o->fails;
            snprintf(out->message, sizeof out->message, "the other device is gone");
        }
        return o->fails;
    }
    float *mine = malloc(n * sizeof *mine), *theirs = malloc(n * sizeof *theirs);
    test_ok(caps_model_gradients(o->m, &o->images, &err));
    test_ok(caps_model_get_gradients(o->m, theirs, &err));
    test_ok(caps_model_get_gradients(m, mine, &err));
    for (size_t i = 0; i < n; i++)
        mine[i] = (mine[i] * (float)o->own + theirs[i] * (float)o->images.b) / (float)all;
    for (size_t p = 0; p < caps_model_parameter_count(m); p++) {
        const caps_parameter *q = caps_model_parameter(m, p);
        test_ok(caps_tensor_upload(caps_model_get_runtime(m), &q->gradient, mine + q->first, &err));
    }
    free(mine);
    free(theirs);
    return CAPS_OK;
}

/* Parts of 5 and 3 images, reduced, give the step of all 8. */
START_TEST(reduced_gradients_are_those_of_the_whole_batch)
{
    caps_error err = {0};
    float *images;
    int32_t labels[B];
    const caps_images all = random_batch(2, B, &images, labels);
    caps_images first = all;
    caps_model *whole = make(families[_i], &train8), *part = make(families[_i], &train8);
    other_part other = {.m = make(families[_i], &train8), .own = 5};
    caps_stepper s;
    first.b = 5;
    other.images = (caps_images){3, images + 5 * PIXELS, labels + 5, NULL};

    caps_stepper_init(&s, whole, CAPS_OPTIMIZER_SGD, 1, 1);
    test_ok(caps_stepper_enqueue(&s, &all, 0.5, &err));
    test_ok(caps_stepper_settle(&s, &err));
    caps_stepper_init(&s, part, CAPS_OPTIMIZER_SGD, 1, 1);
    s.reduce = reduce;
    s.reduce_user = &other;
    test_ok(caps_stepper_enqueue(&s, &first, 0.5, &err));
    test_ok(caps_stepper_settle(&s, &err));
    ck_assert_uint_eq(other.calls, 1);

    float *need = parameters_of(whole), *have = parameters_of(part), *other_weights;
    double difference = 0, moved = 0;
    other_weights = parameters_of(other.m); /* as they were */
    for (size_t i = 0; i < caps_model_flat_count(whole); i++) {
        difference = fmax(difference, fabs((double)need[i] - (double)have[i]));
        moved = fmax(moved, fabs((double)need[i] - (double)other_weights[i]));
    }
    ck_assert(moved > 1e-3);
    /* Sums of floats in another order. */
    ck_assert_msg(difference <= 1e-5 * moved, "%g of %g", difference, moved);
    free(need);
    free(have);
    free(other_weights);
    free(images);
    caps_model_free(whole);
    caps_model_free(part);
    caps_model_free(other.m);
}
END_TEST

/* Its error is the step's, and no parameter has moved. */
START_TEST(a_reduction_that_fails_ends_the_step)
{
    caps_error err = {0};
    float *images;
    int32_t labels[B];
    const caps_images all = random_batch(2, B, &images, labels);
    caps_model *m = make(families[_i], &train8);
    other_part other = {.fails = CAPS_ERR_OPENCL};
    caps_stepper s;
    float *before = parameters_of(m);
    caps_stepper_init(&s, m, CAPS_OPTIMIZER_SGD, 1, 1);
    s.reduce = reduce;
    s.reduce_user = &other;
    ck_assert_int_eq(caps_stepper_enqueue(&s, &all, 0.5, &err), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "the other device is gone");
    ck_assert_uint_eq(s.in_flight, 0);
    ck_assert_uint_eq(caps_stepper_enqueued(&s), 0);
    float *after = parameters_of(m);
    ck_assert(memcmp(before, after, caps_model_flat_count(m) * sizeof *after) == 0);
    free(before);
    free(after);
    free(images);
    caps_model_free(m);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("stepper");
    TCase *tc = families_case(s, "stepper");
    families_add(tc, steps_are_taken_in_order);
    families_add(tc, running_ahead_changes_nothing);
    families_add(tc, reduced_gradients_are_those_of_the_whole_batch);
    families_add(tc, a_reduction_that_fails_ends_the_step);
    return s;
}
