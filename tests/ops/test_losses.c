/* test_losses.c: lengths, margin loss, argmax, mask, squared error, totals. */
#include <math.h>

#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t b, j, d, l;
} shape;

static const shape shapes[] = {{1, 1, 1, 1}, {3, 4, 5, 1}, {7, 2, 1, 2}, {5, 10, 16, 1},
    {131, 3, 7, 2}, {2, 19, 33, 3}, {9, 6, 4, 2}};

#define SHAPES (sizeof shapes / sizeof shapes[0])

/* Labels of every class, and two that are none. */
static int32_t *make_labels(const shape *x)
{
    const size_t n = x->b * x->l;
    int32_t *labels = calloc(n, sizeof *labels);
    ck_assert_ptr_nonnull(labels);
    for (size_t i = 0; i < n; i++) /* with L > 1 the labels of some samples are the same */
        labels[i] = (int32_t)((i / x->l + i % x->l * (i % 5 != 0) + 1) % x->j);
    if (n > 2) {
        labels[1] = -1;
        labels[2] = (int32_t)x->j;
    }
    return labels;
}

static caps_tensor labels_tensor(const shape *x, const int32_t *labels)
{
    return test_tensor_i32(labels, x->l > 1 ? 2 : 1, (size_t[]){x->b, x->l});
}

/* Capsules whose lengths lie on both sides of both margins; the second is zero. */
static double *make_capsules(const shape *x, uint64_t seed)
{
    size_t count = x->b * x->j * x->d;
    double *v = test_random(count, seed, -1, 1), *size = test_random(x->b * x->j, seed + 1, 0, 1.1);
    for (size_t row = 0; row < x->b * x->j; row++) {
        double length = 0;
        caps_ref_lengths_forward(&length, v + row * x->d, 1, 1, x->d);
        for (size_t d = 0; d < x->d; d++)
            v[row * x->d + d] = row == 1 ? 0 : (float)(v[row * x->d + d] * size[row] / length);
    }
    free(size);
    return v;
}

/* ---- finite differences of the reference ----------------------------------------------------- */

typedef struct problem {
    shape x;
    const int32_t *labels;
    const double *target;
} problem;

static double margin_loss(const double *v, void *context)
{
    const problem *p = context;
    const shape *x = &p->x;
    double *lengths = test_zeros(x->b * x->j), *loss = test_zeros(x->b), sum = 0;
    caps_ref_lengths_forward(lengths, v, x->b, x->j, x->d);
    caps_ref_margin_forward(loss, lengths, p->labels, 0.9, 0.1, 0.5, x->b, x->j, x->l);
    for (size_t b = 0; b < x->b; b++)
        sum += loss[b] / (double)x->b;
    free(lengths);
    free(loss);
    return sum;
}

static double squared_error(const double *y, void *context)
{
    const problem *p = context;
    const shape *x = &p->x;
    double *sse = test_zeros(x->b), sum = 0;
    caps_ref_sse_forward(sse, y, p->target, x->b, x->j * x->d);
    for (size_t b = 0; b < x->b; b++)
        sum += 0.0005 * sse[b];
    free(sse);
    return sum;
}

START_TEST(reference_gradients_by_finite_differences)
{
    const shape x = shapes[1];
    size_t count = x.b * x.j * x.d;
    double *v = make_capsules(&x, 1), *dv = test_zeros(count), *lengths = test_zeros(x.b * x.j);
    for (size_t d = 0; d < x.d; d++)
        v[x.d + d] = 0.3; /* a length of zero has no derivative; see the device's test */
    int32_t *labels = make_labels(&x);
    problem p = {x, labels, NULL};
    caps_ref_lengths_forward(lengths, v, x.b, x.j, x.d);
    caps_ref_margin_backward(
        dv, v, lengths, labels, 0.9, 0.1, 0.5, 1.0 / (double)x.b, x.b, x.j, x.d, x.l);
    ck_assert_double_lt(test_finite_difference(margin_loss, &p, v, dv, count, 1e-6), 1e-6);
    double *target = test_random(count, 5, 0, 1);
    p.target = target;
    caps_ref_sse_backward(dv, v, target, 0.0005, x.b, x.j * x.d);
    ck_assert_double_lt(test_finite_difference(squared_error, &p, v, dv, count, 1e-4), 1e-7);
    free(target);
    free(labels);
    free(lengths);
    free(v);
    free(dv);
}
END_TEST

/* mask backward is the transpose of mask forward: <masked(v), g> = <v, backward(g)> */
START_TEST(reference_mask_is_its_own_transpose)
{
    const shape x = shapes[3];
    size_t count = x.b * x.j * x.d;
    double *v = make_capsules(&x, 1), *g = test_random(count, 2, -1, 1), a = 0, b = 0;
    double *masked = test_zeros(count), *back = test_zeros(count);
    int32_t *chosen = make_labels(&x);
    caps_ref_mask_forward(masked, v, chosen, x.b, x.j, x.d, x.l);
    caps_ref_mask_backward(back, g, chosen, x.b, x.j, x.d, x.l);
    for (size_t n = 0; n < count; n++) {
        a += masked[n] * g[n];
        b += v[n] * back[n];
    }
    ck_assert_double_eq_tol(a, b, 1e-12);
    ck_assert(a != 0);
    free(v);
    free(g);
    free(masked);
    free(back);
    free(chosen);
}
END_TEST

/* ---- device ---------------------------------------------------------------------------------- */

START_TEST(lengths_and_margin_loss_agree_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const shape *x = &shapes[n];
        caps_runtime *rt = families[_i];
        caps_error err = {0};
        caps_margin margin = CAPS_MARGIN_DEFAULT;
        size_t count = x->b * x->j * x->d;
        double *v = make_capsules(x, n), *dv = test_zeros(count);
        double *lengths = test_zeros(x->b * x->j), *loss = test_zeros(x->b);
        int32_t *labels = make_labels(x);
        double scale = (double)(1.0f / (float)x->b);
        caps_ref_lengths_forward(lengths, v, x->b, x->j, x->d);
        caps_ref_margin_forward(loss, lengths, labels, 0.9, 0.1, 0.5, x->b, x->j, x->l);
        caps_ref_margin_backward(
            dv, v, lengths, labels, 0.9, 0.1, 0.5, scale, x->b, x->j, x->d, x->l);
        caps_tensor tv = test_tensor(v, 3, (size_t[]){x->b, x->j, x->d});
        caps_tensor tlengths = test_tensor(NULL, 2, tv.shape),
                    tloss = test_tensor(NULL, 1, tv.shape);
        caps_tensor tdv = test_tensor(NULL, 3, tv.shape), tlabels = labels_tensor(x, labels);
        test_ok(caps_lengths_forward(rt, &tlengths, &tv, &err));
        test_expect(&tlengths, lengths, 1e-6, "lengths");
        test_ok(caps_margin_forward(rt, &tloss, &tlengths, &tlabels, &margin, &err));
        test_expect(&tloss, loss, 2e-6, "loss");
        test_ok(
            caps_margin_backward(rt, &tdv, &tv, &tlengths, &tlabels, &margin, (float)scale, &err));
        /* 0.9f - length loses a digit where the length is near; so does length - 0.1f. */
        test_expect(&tdv, dv, 5e-6, "dv");
        double *have = test_download(&tdv);
        for (size_t d = x->d; d < 2 * x->d && d < count; d++)
            ck_assert(have[d] == 0); /* the capsule of length 0 */
        free(have);
        test_tensor_release(&tv);
        test_tensor_release(&tlengths);
        test_tensor_release(&tloss);
        test_tensor_release(&tdv);
        test_tensor_release(&tlabels);
        free(v);
        free(dv);
        free(lengths);
        free(loss);
        free(labels);
    }
}
END_TEST

START_TEST(lengths_of_any_size)
{
    const double v[] = {3e30, 4e30, 3e-30, 4e-30, 0, 0, NAN, 1, 3e18, -4e18, 0, INFINITY};
    const double need[] = {5e30, 5e-30, 0, 0, 5e18, 0};
    caps_error err = {0};
    caps_tensor tv = test_tensor(v, 3, (size_t[]){2, 3, 2}), t = test_tensor(NULL, 2, tv.shape);
    test_ok(caps_lengths_forward(families[_i], &t, &tv, &err));
    double *have = test_download(&t);
    for (size_t n = 0; n < 5; n++)
        if (n != 3)
            ck_assert_double_le(fabs(have[n] - need[n]), 1e-6 * need[n]);
    ck_assert(isnan(have[3]) && isinf(have[5]));
    free(have);
    test_tensor_release(&tv);
    test_tensor_release(&t);
}
END_TEST

START_TEST(a_length_that_is_not_a_number_shows_in_the_loss)
{
    const double lengths[] = {0.5, 0.5, NAN, 0.5, 0.5, NAN};
    caps_error err = {0};
    caps_margin margin = CAPS_MARGIN_DEFAULT;
    caps_tensor t = test_tensor(lengths, 2, (size_t[]){3, 2}), loss = test_tensor(NULL, 1, t.shape);
    caps_tensor labels = test_tensor_i32((int32_t[]){0, 0, 0}, 1, t.shape);
    test_ok(caps_margin_forward(families[_i], &loss, &t, &labels, &margin, &err));
    double *have = test_download(&loss);
    ck_assert_double_eq_tol(have[0], 0.16 + 0.5 * 0.16, 1e-6);
    ck_assert(isnan(have[1]) && isnan(have[2]));
    free(have);
    test_tensor_release(&t);
    test_tensor_release(&loss);
    test_tensor_release(&labels);
}
END_TEST

START_TEST(argmax_is_the_first_of_the_greatest)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const shape *x = &shapes[n];
        caps_error err = {0};
        double *lengths = test_random(x->b * x->j, n, 0, 1);
        for (size_t i = 0; i < x->b * x->j; i++)
            lengths[i] = floor(lengths[i] * 4) / 4; /* many ties */
        const size_t count = x->b * x->l;
        int32_t *need = calloc(count, sizeof *need), *have = calloc(count, sizeof *have);
        int32_t *labels = make_labels(x), *matched = calloc(count, sizeof *matched);
        caps_ref_argmax(need, lengths, x->b, x->j, x->l);
        caps_tensor t = test_tensor(lengths, 2, (size_t[]){x->b, x->j});
        caps_tensor best = labels_tensor(x, NULL), tmatched = labels_tensor(x, NULL);
        caps_tensor tlabels = labels_tensor(x, labels);
        test_ok(caps_argmax(families[_i], &best, &t, &err));
        test_ok(caps_tensor_download(families[_i], &best, have, &err));
        ck_assert(memcmp(need, have, count * sizeof *need) == 0);
        test_ok(caps_match(families[_i], &tmatched, &best, &tlabels, &err));
        test_ok(caps_tensor_download(families[_i], &tmatched, have, &err));
        caps_ref_match(matched, need, labels, x->b, x->l);
        ck_assert(memcmp(matched, have, count * sizeof *need) == 0);
        test_tensor_release(&tmatched);
        test_tensor_release(&tlabels);
        free(labels);
        free(matched);
        test_tensor_release(&t);
        test_tensor_release(&best);
        free(need);
        free(have);
        free(lengths);
    }
}
END_TEST

START_TEST(mask_agrees_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const shape *x = &shapes[n];
        caps_error err = {0};
        size_t count = x->b * x->j * x->d, flat[] = {x->b * x->l, x->j * x->d};
        double *v = test_random(count, n, -1, 1), *masked = test_zeros(count * x->l);
        double *dmasked = test_random(count * x->l, n + 9, -1, 1),
               *dv = test_random(count, n + 19, -1, 1);
        int32_t *chosen = make_labels(x);
        caps_tensor tv = test_tensor(v, 3, (size_t[]){x->b, x->j, x->d});
        caps_tensor tdv = test_tensor(dv, 3, tv.shape), tmasked = test_tensor(NULL, 2, flat);
        caps_tensor tg = test_tensor(dmasked, 2, flat), tchosen = labels_tensor(x, chosen);
        caps_ref_mask_forward(masked, v, chosen, x->b, x->j, x->d, x->l);
        caps_ref_mask_backward(dv, dmasked, chosen, x->b, x->j, x->d, x->l);
        test_ok(caps_mask_forward(families[_i], &tmasked, &tv, &tchosen, &err));
        test_expect_exactly(&tmasked, masked, "masked");
        test_ok(caps_mask_backward(families[_i], &tdv, &tg, &tchosen, &err));
        test_expect(&tdv, dv, 1e-7 * (double)x->l, "dv"); /* a rounding for each label */
        test_tensor_release(&tv);
        test_tensor_release(&tdv);
        test_tensor_release(&tmasked);
        test_tensor_release(&tg);
        test_tensor_release(&tchosen);
        free(v);
        free(masked);
        free(dmasked);
        free(dv);
        free(chosen);
    }
}
END_TEST

START_TEST(squared_error_agrees_with_the_reference)
{
    static const size_t sizes[][2] = {{1, 1}, {3, 17}, {2, 129}, {1, 300}, {4, 784}, {7, 3072}};
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        caps_error err = {0};
        size_t b = sizes[n][0], p = sizes[n][1];
        if (test_small() && b * p > 1000)
            continue;
        double *y = test_random(b * p, n, 0, 1), *x = test_random(b * p, n + 9, 0, 1);
        double *sse = test_zeros(b), *dy = test_zeros(b * p);
        float scale = 0.0005f / (float)b;
        caps_ref_sse_forward(sse, y, x, b, p);
        caps_ref_sse_backward(dy, y, x, (double)scale, b, p);
        caps_tensor ty = test_tensor(y, 2, sizes[n]), tx = test_tensor(x, 2, sizes[n]);
        caps_tensor tsse = test_tensor(NULL, 1, sizes[n]), tdy = test_tensor(NULL, 2, sizes[n]);
        test_ok(caps_sse_forward(families[_i], &tsse, &ty, &tx, &err));
        test_expect(&tsse, sse, 1e-6, "sse");
        test_ok(caps_sse_backward(families[_i], &tdy, &ty, &tx, scale, &err));
        test_expect(&tdy, dy, 1e-6, "dy");
        test_tensor_release(&ty);
        test_tensor_release(&tx);
        test_tensor_release(&tsse);
        test_tensor_release(&tdy);
        free(y);
        free(x);
        free(sse);
        free(dy);
    }
}
END_TEST

/* Several batches, one larger than a work-group, one without reconstruction. */
START_TEST(totals_accumulate_over_batches)
{
    static const size_t batches[] = {5, 300, 1, 128}, per_image[] = {1, 2, 1, 3};
    caps_runtime *rt = families[_i];
    caps_error err = {0};
    double need[3] = {0};
    const double start[] = {0.5, 2, 7};
    caps_tensor totals = test_tensor(start, 1, (size_t[]){3});
    memcpy(need, start, sizeof need);
    for (size_t n = 0; n < 4; n++) {
        const size_t b = batches[n], l = per_image[n], rows = b * l;
        const shape x = {b, 0, 0, l};
        bool has_sse = n != 2;
        double *margin = test_random(b, n, 0, 1), *sse = test_random(rows, n + 9, 0, 60);
        int32_t *best = calloc(rows, sizeof *best), *labels = calloc(rows, sizeof *labels);
        for (size_t i = 0; i < b; i++) {
            bool wrong = false;
            for (size_t t = 0; t < l; t++) {
                best[i * l + t] = (int32_t)((i + t) % 7);
                labels[i * l + t] = (int32_t)((i + l - 1 - t) % 5); /* the other way round */
                need[1] += has_sse ? sse[i * l + t] : 0;
            }
            for (size_t t = 0; t < l; t++) {
                bool found = false;
                for (size_t k = 0; k < l; k++)
                    found = found || best[i * l + k] == labels[i * l + t];
                wrong = wrong || !found;
            }
            need[0] += margin[i];
            need[2] += wrong;
        }
        caps_tensor tm = test_tensor(margin, 1, &b), ts = test_tensor(sse, 1, &rows);
        caps_tensor tb = labels_tensor(&x, best), tl = labels_tensor(&x, labels);
        test_ok(caps_totals_add(rt, &totals, &tm, has_sse ? &ts : NULL, &tb, &tl, &err));
        test_tensor_release(&tm);
        test_tensor_release(&ts);
        test_tensor_release(&tb);
        test_tensor_release(&tl);
        free(margin);
        free(sse);
        free(best);
        free(labels);
    }
    double *have = test_download(&totals);
    ck_assert_double_eq_tol(have[0], need[0], 1e-5 * need[0]);
    ck_assert_double_eq_tol(have[1], need[1], 1e-5 * need[1]);
    ck_assert(have[2] == need[2]);
    free(have);
    test_tensor_release(&totals);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_margin margin = CAPS_MARGIN_DEFAULT;
    caps_tensor v = test_tensor(NULL, 3, (size_t[]){2, 3, 4}),
                l = test_tensor(NULL, 2, (size_t[]){2, 3});
    caps_tensor b = test_tensor(NULL, 1, (size_t[]){2}),
                i = test_tensor_i32(NULL, 1, (size_t[]){2});
    caps_tensor i3 = test_tensor_i32(NULL, 1, (size_t[]){3});
    test_refused(caps_lengths_forward(rt, &v, &v, err),
        "lengths: lengths is float32 [2, 3, 4], need float32 [2, 3]");
    test_refused(caps_margin_forward(rt, &b, &l, &b, &margin, err),
        "margin: labels is float32 [2], need int32 [2]");
    test_refused(caps_margin_backward(rt, &v, &v, &b, &i, &margin, 1, err),
        "margin: lengths is float32 [2], need float32 [2, 3]");
    test_refused(caps_argmax(rt, &i3, &l, err), "argmax: best is int32 [3], need int32 [2]");
    test_refused(caps_mask_forward(rt, &l, &v, &i, err),
        "mask: masked is float32 [2, 3], need float32 [2, 12]");
    test_refused(caps_mask_backward(rt, &v, &l, &i, err),
        "mask: dmasked is float32 [2, 3], need float32 [2, 12]");
    test_refused(
        caps_sse_forward(rt, &l, &l, &l, err), "sse: sse is float32 [2, 3], need float32 [2]");
    test_refused(
        caps_sse_backward(rt, &l, &l, &b, 1, err), "sse: x is float32 [2], need float32 [2, 3]");
    test_refused(caps_totals_add(rt, &b, &b, NULL, &i, &i, err),
        "totals: totals is float32 [2], need float32 [3]");
    test_tensor_release(&v);
    test_tensor_release(&l);
    test_tensor_release(&b);
    test_tensor_release(&i);
    test_tensor_release(&i3);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("losses");
    TCase *tc = families_case(s, "losses");
    tcase_add_test(tc, reference_gradients_by_finite_differences);
    tcase_add_test(tc, reference_mask_is_its_own_transpose);
    families_add(tc, lengths_and_margin_loss_agree_with_the_reference);
    families_add(tc, lengths_of_any_size);
    families_add(tc, a_length_that_is_not_a_number_shows_in_the_loss);
    families_add(tc, argmax_is_the_first_of_the_greatest);
    families_add(tc, mask_agrees_with_the_reference);
    families_add(tc, squared_error_agrees_with_the_reference);
    families_add(tc, totals_accumulate_over_batches);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
