/* Several devices that compute a training's steps together. Runtimes of their own on one device
 * stand for devices. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_support.h"
#include "shares.h"
#include "team.h"

enum { B = 8, MOST = 3 };

/* ---- shares --------------------------------------------------------------------------------- */

START_TEST(shares_lie_side_by_side)
{
    static const uint32_t weights[] = {3, 1, 1000, 7};
    for (size_t n = 1; n <= 4; n++) {
        size_t most[4] = {0};
        for (size_t images = 0; images < 300; images++) {
            size_t end = 0;
            for (size_t k = 0; k < n; k++) {
                size_t first, count;
                caps_share_get(&first, &count, weights, n, k, images);
                ck_assert_uint_eq(first, end);
                end += count;
                most[k] = count > most[k] ? count : most[k];
            }
            ck_assert_uint_eq(end, images);
        }
        for (size_t k = 0; k < n; k++)
            ck_assert_uint_eq(caps_share_most(weights, n, k, 299), most[k]);
    }
    static const uint32_t halves[] = {1, 1};
    ck_assert_uint_eq(caps_share_most(halves, 2, 0, 100), 50);
    ck_assert_uint_eq(caps_share_most(halves, 2, 1, 100), 50);
}
END_TEST

START_TEST(splits_are_read)
{
    caps_error err = {0};
    uint32_t *weights;
    test_ok(caps_shares_read(&weights, "60:40:1000000", 3, &err));
    ck_assert(weights[0] == 60 && weights[1] == 40 && weights[2] == 1000000);
    free(weights);
    test_ok(caps_shares_read(&weights, "", 2, &err));
    ck_assert(weights[0] == 1 && weights[1] == 1);
    free(weights);
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"60:40:1", "split 60:40:1: 3 shares, need one for each of 2 devices"},
        {"60", "split 60: 1 shares, need one for each of 2 devices"},
        {"0:1", "split 0:1: need whole numbers of 1 to 1000000 with colons between them, as 60:40"},
        {"1:", "split 1:: need whole numbers of 1 to 1000000 with colons between them, as 60:40"},
        {"1:-1", "split 1:-1: need whole numbers of 1 to 1000000 with colons between them, as "
                 "60:40"},
        {"1:1000001", "split 1:1000001: need whole numbers of 1 to 1000000 with colons between "
                      "them, as 60:40"},
        {"1.5:1", "split 1.5:1: need whole numbers of 1 to 1000000 with colons between them, as "
                  "60:40"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(caps_shares_read(&weights, wrong[i].text, 2, &err), CAPS_ERR_ARGUMENT);
        ck_assert_str_eq(err.message, wrong[i].message);
        ck_assert_ptr_null(weights);
    }
}
END_TEST

/* ---- steps ---------------------------------------------------------------------------------- */

typedef struct crew {
    caps_runtime *rts[MOST];
    caps_team *team;
    size_t n;
} crew;

/* mixed: the second device runs kernels of the other family. */
static crew crew_make(int family, size_t n, const uint32_t *weights, caps_optimizer optimizer,
    size_t micro, bool mixed)
{
    caps_error err = {0};
    crew c = {.n = n};
    caps_model_options options[MOST];
    OWNED_SPEC(spec) = spec_of(SPEC);
    for (size_t i = 0; i < n; i++) {
        const bool gpu = (family == CAPS_FAMILY_GPU) != (mixed && i == 1);
        const caps_runtime_options o = {
            CAPS_OPTIONS(caps_runtime_options), .kernels = gpu ? "gpu" : "cpu"};
        test_ok(caps_runtime_create(&c.rts[i], caps_runtime_device(test_runtime())->id, &o, &err));
        options[i] = train8;
        options[i].adam = optimizer == CAPS_OPTIMIZER_ADAM;
        options[i].max_batch = caps_share_most(weights, n, i, B);
        options[i].micro_batch = micro;
        options[i].accumulate = true;
    }
    const caps_team_options o = {.spec = spec,
        .models = options,
        .weights = weights,
        .batch = B,
        .optimizer = optimizer,
        .timeout_seconds = 300,
        .piece = 1000};
    test_ok(caps_team_create(&c.team, c.rts, n, &o, &err));
    ck_assert(caps_model_flat_count(caps_team_model(c.team, 0)) > 3 * o.piece);
    test_ok(caps_model_initialise(caps_team_model(c.team, 0), CAPS_INITIALISER_SCALED, 3, &err));
    test_ok(caps_team_begin(c.team, 1, 1, &err));
    return c;
}

static void crew_free(crew *c)
{
    caps_team_free(c->team);
    for (size_t i = 0; i < c->n; i++)
        caps_runtime_free(c->rts[i]);
}

/* Three steps, the last of a partial batch: parameters of member `which`, and the last result. */
static float *three_steps(const crew *c, size_t which, double lr, caps_step_result *r)
{
    caps_error err = {0};
    static const size_t sizes[] = {B, B, 1};
    for (size_t i = 0; i < 3; i++) {
        float *images;
        int32_t labels[B];
        const caps_images batch = random_batch(i, sizes[i], &images, labels);
        test_ok(caps_team_enqueue(c->team, &batch, batch.b, lr, &err));
        ck_assert_uint_eq(caps_team_in_flight(c->team), 1);
        test_ok(caps_team_take(c->team, r, &err));
        ck_assert_uint_eq(r->step, i + 1);
        ck_assert_uint_eq(r->images, sizes[i]);
        ck_assert(r->finite);
        free(images);
    }
    return parameters_of(caps_team_model(c->team, which));
}

static const uint32_t even[] = {1, 1, 1}, uneven[] = {5, 2, 1};

/* Whatever the shares, members and micro-batches, the step is that of one device, up to the order
 * of sums; a share may be empty (the last batch has one image). */
START_TEST(a_step_is_that_of_one_device)
{
    caps_error err = {0};
    crew one = crew_make(_i, 1, even, CAPS_OPTIMIZER_SGD, 0, false);
    caps_step_result need, have;
    float *expected = three_steps(&one, 0, 0.5, &need);
    const size_t n = caps_model_flat_count(caps_team_model(one.team, 0));
    static const struct {
        size_t members, micro;
        const uint32_t *weights;
        bool mixed;
    } cases[] = {{2, 0, even, false}, {2, 0, uneven, false}, {3, 0, uneven, false},
        {2, 3, uneven, false}, {2, 0, even, true}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        crew c = crew_make(_i, cases[k].members, cases[k].weights, CAPS_OPTIMIZER_SGD,
            cases[k].micro, cases[k].mixed);
        for (size_t which = 0; which < c.n; which++) {
            if (which > 0) { /* from the start again */
                test_ok(caps_model_initialise(
                    caps_team_model(c.team, 0), CAPS_INITIALISER_SCALED, 3, &err));
                test_ok(caps_team_begin(c.team, 1, 1, &err));
            }
            float *got = three_steps(&c, which, 0.5, &have);
            double difference = 0, most = 0;
            for (size_t i = 0; i < n; i++) {
                difference = fmax(difference, fabs((double)got[i] - (double)expected[i]));
                most = fmax(most, fabs((double)expected[i]));
            }
            ck_assert_msg(difference <= 1e-5 * most, "case %zu member %zu: %g of %g", k, which,
                difference, most);
            ck_assert(fabs(have.totals.class_loss - need.totals.class_loss) <=
                      1e-5 * need.totals.class_loss);
            ck_assert(have.totals.errors == need.totals.errors);
            free(got);
        }
        crew_free(&c);
    }
    free(expected);
    crew_free(&one);
}
END_TEST

/* The same shares: the same bits; and all members have the same parameters. */
START_TEST(the_same_shares_give_the_same_bits)
{
    caps_error err = {0};
    float *first = NULL;
    for (int run = 0; run < 2; run++) {
        crew c = crew_make(_i, 3, uneven, CAPS_OPTIMIZER_ADAM, 0, false);
        const size_t bytes = caps_model_flat_count(caps_team_model(c.team, 0)) * sizeof(float);
        caps_step_result r;
        bool sent = true;
        float *got = three_steps(&c, 0, 1e-3, &r);
        for (size_t i = 1; i < c.n; i++) {
            float *other = parameters_of(caps_team_model(c.team, i));
            ck_assert(memcmp(got, other, bytes) == 0);
            free(other);
        }
        test_ok(caps_team_compare(c.team, &sent, &err));
        ck_assert(!sent);
        if (first)
            ck_assert(memcmp(got, first, bytes) == 0);
        free(first);
        first = got;
        crew_free(&c);
    }
    free(first);
}
END_TEST

/* A member whose parameters are not the lead's gets them, from then on after every step. */
START_TEST(members_that_differ_are_sent_the_parameters)
{
    caps_error err = {0};
    crew c = crew_make(_i, 2, even, CAPS_OPTIMIZER_ADAM, 0, false);
    caps_step_result r;
    bool sent = true;
    free(three_steps(&c, 0, 1e-3, &r));
    test_ok(caps_team_compare(c.team, &sent, &err));
    ck_assert(!sent);
    test_ok(caps_model_initialise(caps_team_model(c.team, 1), CAPS_INITIALISER_SCALED, 4, &err));
    test_ok(caps_team_compare(c.team, &sent, &err));
    ck_assert(sent);
    for (int step = 0; step < 2; step++) {
        float *lead = parameters_of(caps_team_model(c.team, 0));
        float *other = parameters_of(caps_team_model(c.team, 1)), *images;
        const size_t bytes = caps_model_flat_count(caps_team_model(c.team, 0)) * sizeof(float);
        int32_t labels[B];
        ck_assert(memcmp(lead, other, bytes) == 0);
        const caps_images batch = random_batch(9, B, &images, labels);
        test_ok(caps_team_enqueue(c.team, &batch, batch.b, 1e-3, &err));
        test_ok(caps_team_take(c.team, &r, &err));
        free(lead);
        free(other);
        free(images);
    }
    crew_free(&c);
}
END_TEST

/* What each did adds up. */
START_TEST(work_is_counted)
{
    crew c = crew_make(_i, 2, uneven, CAPS_OPTIMIZER_SGD, 0, false);
    caps_step_result r;
    free(three_steps(&c, 0, 0.1, &r));
    const caps_member_work a = caps_team_work(c.team, 0), b = caps_team_work(c.team, 1);
    ck_assert_uint_eq(a.images + b.images, 2 * B + 1);
    ck_assert_uint_eq(a.share, 6);
    ck_assert_uint_eq(b.share, 2);
    ck_assert(a.busy_seconds > 0 && b.busy_seconds > 0);
    ck_assert(a.waiting_seconds >= 0 && b.waiting_seconds >= 0);
    ck_assert_uint_eq(caps_team_lost(c.team), 2);
    ck_assert_uint_eq(caps_team_survivor(c.team), 0);
    crew_free(&c);
}
END_TEST

/* What is not finite on one device is the step's. */
START_TEST(values_that_are_not_finite_are_found_on_any_device)
{
    caps_error err = {0};
    crew c = crew_make(_i, 2, even, CAPS_OPTIMIZER_SGD, 0, false);
    caps_step_result r;
    float *images;
    int32_t labels[B];
    const caps_images batch = random_batch(1, B, &images, labels);
    images[(B - 1) * PIXELS] = NAN;
    test_ok(caps_team_enqueue(c.team, &batch, batch.b, 0.1, &err));
    test_ok(caps_team_take(c.team, &r, &err));
    ck_assert(!r.finite);
    free(images);
    crew_free(&c);
}
END_TEST

/* ---- the order of gradients ----------------------------------------------------------------- */

typedef struct order {
    size_t next; /* elements from here on are there */
    bool descends;
} order;

static caps_status note_order(void *user, size_t first, size_t count, caps_error *err)
{
    order *o = user;
    (void)err;
    o->descends = o->descends && first + count == o->next;
    o->next = first;
    return CAPS_OK;
}

/* Pieces are sent in the belief that the backward pass goes through the flat gradient from its end
 * to its beginning. */
START_TEST(gradients_come_from_the_last_to_the_first)
{
    caps_error err = {0};
    for (size_t i = 0; caps_model_spec_builtin(i); i++) {
        caps_model_spec *spec;
        caps_model *m;
        test_ok(caps_model_spec_load(&spec, caps_model_spec_builtin(i), &err));
        const caps_model_info *info = caps_model_spec_info(spec);
        const caps_model_options options = {
            CAPS_OPTIONS(caps_model_options), .max_batch = 1, .training = true};
        test_ok(caps_model_create(&m, families[_i], spec, &options, &err));
        test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
        float *images = floats(info->pixels, 1, 0, 1);
        float *targets = floats(info->labels * info->pixels, 1, 0, 1);
        int32_t labels[4] = {0, 1};
        order o = {caps_model_trained_count(m), true};
        const caps_joint joint = {0, 2, note_order, &o, NULL};
        test_ok(caps_model_accumulate(
            m, &(caps_images){1, images, labels, targets}, true, &joint, &err));
        ck_assert_msg(o.descends && o.next == 0, "%s", caps_model_spec_builtin(i));
        clFinish(caps_runtime_queue(families[_i])); /* it reads the images until then */
        free(images);
        free(targets);
        caps_model_free(m);
        caps_model_spec_free(spec);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("team");
    TCase *shares = tcase_create("shares");
    tcase_add_test(shares, shares_lie_side_by_side);
    tcase_add_test(shares, splits_are_read);
    suite_add_tcase(s, shares);
    TCase *tc = families_case(s, "team");
    families_add(tc, a_step_is_that_of_one_device);
    families_add(tc, the_same_shares_give_the_same_bits);
    families_add(tc, members_that_differ_are_sent_the_parameters);
    families_add(tc, work_is_counted);
    families_add(tc, values_that_are_not_finite_are_found_on_any_device);
    families_add(tc, gradients_come_from_the_last_to_the_first);
    return s;
}
