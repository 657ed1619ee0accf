/* test_losses_at_once.c: what a training step does in one kernel has the bits of the operations one
 * by one, which test_losses.c compares with the reference. */
#include "families.h"
#include "losses.h"

enum { GPU = 1 };

typedef struct shape {
    size_t b, j, d, l;
} shape;

/* Fewer and more capsules, and elements, than a work-group has items; several labels. */
static const shape shapes[] = {{1, 1, 1, 1}, {3, 4, 5, 1}, {7, 2, 1, 2}, {5, 10, 16, 1},
    {2, 19, 33, 3}, {9, 6, 4, 2}, {2, 131, 3, 1}};

#define SHAPES (sizeof shapes / sizeof shapes[0])

/* One of them is no class, and some samples have a label twice. */
static caps_tensor labels_of(const shape *x)
{
    int32_t labels[64];
    const size_t n = x->b * x->l;
    for (size_t i = 0; i < n; i++)
        labels[i] = (int32_t)((i / x->l + i % x->l * (i % 5 != 0) + 1) % x->j);
    if (n > 2)
        labels[1] = (int32_t)x->j;
    return test_tensor_i32(labels, x->l > 1 ? 2 : 1, (size_t[]){x->b, x->l});
}

static caps_tensor integers(const shape *x)
{
    return test_tensor_i32(NULL, x->l > 1 ? 2 : 1, (size_t[]){x->b, x->l});
}

static void expect_same(const caps_tensor *have, const caps_tensor *need, const char *what)
{
    uint32_t *a = test_bits(families[GPU], have), *b = test_bits(families[GPU], need);
    ck_assert_msg(memcmp(a, b, caps_tensor_bytes(need)) == 0, "%s differs", what);
    free(a);
    free(b);
}

/* ---- margin loss ---------------------------------------------------------------------------- */

typedef struct tensors {
    caps_tensor lengths, best, matched, loss, masked, dv, sums;
} tensors;

static tensors tensors_make(const shape *x)
{
    const size_t lengths[] = {x->b, x->j}, masked[] = {x->b * x->l, x->j * x->d};
    return (tensors){test_tensor(NULL, 2, lengths), integers(x), integers(x),
        test_tensor(NULL, 1, &x->b), test_tensor(NULL, 2, masked),
        test_tensor(NULL, 3, (size_t[]){x->b, x->j, x->d}),
        test_tensor((const double[]){1, 2, 3}, 1, (size_t[]){3})};
}

static void tensors_release(tensors *t)
{
    caps_tensor *const all[] = {
        &t->lengths, &t->best, &t->matched, &t->loss, &t->masked, &t->dv, &t->sums};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        test_tensor_release(all[i]);
}

static void run_one_by_one(const tensors *t, const caps_tensor *v, const caps_tensor *labels,
    const caps_tensor *chosen, const caps_tensor *dmasked, const caps_tensor *sse)
{
    caps_runtime *rt = families[GPU];
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    caps_error err = {0};
    test_ok(caps_lengths_forward(rt, &t->lengths, v, &err));
    test_ok(caps_argmax(rt, &t->best, &t->lengths, &err));
    test_ok(caps_match(rt, &t->matched, &t->best, labels, &err));
    test_ok(caps_margin_forward(rt, &t->loss, &t->lengths, labels, &margin, &err));
    test_ok(caps_mask_forward(rt, &t->masked, v, chosen, &err));
    test_ok(caps_margin_backward(rt, &t->dv, v, &t->lengths, labels, &margin, 0.25f, &err));
    test_ok(caps_mask_backward(rt, &t->dv, dmasked, chosen, &err));
    test_ok(caps_totals_add(rt, &t->sums, &t->loss, sse, &t->best, labels, &err));
}

/* by 0: masked by what was matched, 1: by labels. */
START_TEST(a_kernel_each_way_has_the_bits_of_seven)
{
    const bool by_labels = _i == 1;
    caps_runtime *rt = families[GPU];
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    for (size_t n = 0; n < SHAPES; n++) {
        const shape *x = &shapes[n];
        caps_error err = {0};
        double *values = test_random(x->b * x->j * x->d, n, -0.4, 0.4);
        double *gradients = test_random(x->b * x->l * x->j * x->d, n + 9, -1, 1);
        for (size_t d = 0; d < x->d; d++) /* a length of zero */
            values[d] = 0;
        caps_tensor v = test_tensor(values, 3, (size_t[]){x->b, x->j, x->d});
        caps_tensor labels = labels_of(x);
        tensors need = tensors_make(x), have = tensors_make(x);
        caps_tensor dmasked = test_tensor(gradients, 2, need.masked.shape);
        caps_tensor sse = test_tensor(gradients, 1, need.masked.shape);
        run_one_by_one(&need, &v, &labels, by_labels ? &labels : &need.matched, &dmasked, &sse);
        const caps_totals totals = {have.sums, false, have.loss, sse, have.best, labels};
        const caps_margin_scores scores = {&have.lengths, &have.best, &have.matched, &have.loss,
            &have.masked, &v, &labels, by_labels};
        test_ok(caps_margin_scores_run(rt, &scores, &margin, &err));
        test_ok(caps_margin_gradient(rt, &have.dv, &v, &have.lengths, &labels, &dmasked,
            by_labels ? &labels : &have.matched, &margin, 0.25f, &totals, &err));
        expect_same(&have.lengths, &need.lengths, "lengths");
        expect_same(&have.best, &need.best, "best");
        expect_same(&have.matched, &need.matched, "matched");
        expect_same(&have.loss, &need.loss, "loss");
        expect_same(&have.masked, &need.masked, "masked");
        expect_same(&have.dv, &need.dv, "dv");
        expect_same(&have.sums, &need.sums, "totals");
        tensors_release(&need);
        tensors_release(&have);
        test_tensor_release(&v);
        test_tensor_release(&labels);
        test_tensor_release(&dmasked);
        test_tensor_release(&sse);
        free(values);
        free(gradients);
    }
}
END_TEST

/* Inference: no labels, the capsules of the best; and the gradient of the loss alone. */
START_TEST(what_is_not_wanted_is_left_out)
{
    caps_runtime *rt = families[GPU];
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    const shape *x = &shapes[5];
    caps_error err = {0};
    double *values = test_random(x->b * x->j * x->d, 1, -0.4, 0.4);
    caps_tensor v = test_tensor(values, 3, (size_t[]){x->b, x->j, x->d}), labels = labels_of(x);
    tensors need = tensors_make(x), have = tensors_make(x);
    test_ok(caps_lengths_forward(rt, &need.lengths, &v, &err));
    test_ok(caps_argmax(rt, &need.best, &need.lengths, &err));
    test_ok(caps_mask_forward(rt, &need.masked, &v, &need.best, &err));
    test_ok(caps_margin_backward(rt, &need.dv, &v, &need.lengths, &labels, &margin, 1, &err));
    const caps_margin_scores scores = {
        .lengths = &have.lengths, .best = &have.best, .masked = &have.masked, .v = &v};
    test_ok(caps_margin_scores_run(rt, &scores, &margin, &err));
    test_ok(caps_margin_gradient(
        rt, &have.dv, &v, &have.lengths, &labels, NULL, NULL, &margin, 1, NULL, &err));
    expect_same(&have.lengths, &need.lengths, "lengths");
    expect_same(&have.best, &need.best, "best");
    expect_same(&have.masked, &need.masked, "masked");
    expect_same(&have.dv, &need.dv, "dv");
    tensors_release(&need);
    tensors_release(&have);
    test_tensor_release(&v);
    test_tensor_release(&labels);
    free(values);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_runtime *rt = families[GPU];
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    const shape *x = &shapes[1];
    caps_tensor v = test_tensor(NULL, 3, (size_t[]){x->b, x->j, x->d}), labels = labels_of(x);
    tensors t = tensors_make(x);
    const caps_margin_scores bad = {.lengths = &t.loss, .best = &t.best, .v = &v};
    const caps_margin_scores none = {
        .lengths = &t.lengths, .best = &t.best, .loss = &t.loss, .v = &v};
    caps_error inner = {0};
    const caps_totals no_record = {v, true, t.loss, {0}, labels, labels};
    test_refused(caps_totals_enqueue(rt, &no_record, err),
        "totals: record is float32 [3, 4, 5], need int32 [5]");
    test_refused(caps_margin_scores_run(rt, &bad, &margin, err),
        "margin: lengths is float32 [3], need float32 [3, 4]");
    ck_assert_int_eq(caps_margin_scores_run(rt, &none, &margin, &inner), CAPS_ERR_ARGUMENT);
    test_refused(caps_margin_gradient(
                     rt, &t.dv, &v, &t.lengths, &labels, &t.loss, &labels, &margin, 1, NULL, err),
        "margin: dmasked is float32 [3], need float32 [3, 20]");
    tensors_release(&t);
    test_tensor_release(&v);
    test_tensor_release(&labels);
}
END_TEST

/* ---- squared error, totals ------------------------------------------------------------------ */

START_TEST(squared_error_comes_with_its_gradient)
{
    static const size_t sizes[][2] = {{1, 1}, {3, 17}, {2, 300}, {4, 784}};
    caps_runtime *rt = families[GPU];
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        caps_error err = {0};
        const size_t count = sizes[n][0] * sizes[n][1];
        double *a = test_random(count, n, 0, 1), *b = test_random(count, n + 9, 0, 1);
        caps_tensor y = test_tensor(a, 2, sizes[n]), x = test_tensor(b, 2, sizes[n]);
        caps_tensor sse[] = {test_tensor(NULL, 1, sizes[n]), test_tensor(NULL, 1, sizes[n])};
        caps_tensor dy[] = {test_tensor(NULL, 2, sizes[n]), test_tensor(NULL, 2, sizes[n])};
        test_ok(caps_sse_forward(rt, &sse[0], &y, &x, &err));
        test_ok(caps_sse_backward(rt, &dy[0], &y, &x, 0.0005f, &err));
        test_ok(caps_sse_gradient(rt, &sse[1], &dy[1], &y, &x, 0.0005f, &err));
        expect_same(&sse[1], &sse[0], "sse");
        expect_same(&dy[1], &dy[0], "dy");
        for (size_t i = 0; i < 2; i++) {
            test_tensor_release(&sse[i]);
            test_tensor_release(&dy[i]);
        }
        test_tensor_release(&y);
        test_tensor_release(&x);
        free(a);
        free(b);
    }
}
END_TEST

/* A new record is written, whatever lay there, and added to after that. */
START_TEST(a_record_begins_with_totals)
{
    caps_runtime *rt = families[_i];
    const size_t five = 5, n = 200;
    caps_error err = {0};
    double *values = test_random(n, 1, 0, 1);
    int32_t zeros[200] = {0}, words[5];
    caps_tensor record = test_tensor_i32((const int32_t[]){-1, -1, 77, 5, 9}, 1, &five);
    caps_tensor totals = test_tensor((const double[]){0, 0, 0}, 1, (size_t[]){3});
    caps_tensor loss = test_tensor(values, 1, &n), best = test_tensor_i32(zeros, 1, &n);
    zeros[3] = 2;
    caps_tensor labels = test_tensor_i32(zeros, 1, &n);
    const caps_totals begin = {record, true, loss, loss, best, labels};
    test_ok(caps_totals_enqueue(rt, &begin, &err));
    test_ok(caps_totals_add(rt, &totals, &loss, &loss, &best, &labels, &err));
    test_ok(caps_tensor_download(rt, &record, words, &err));
    uint32_t *need = test_bits(rt, &totals);
    ck_assert(memcmp(words, need, 3 * sizeof *need) == 0);
    ck_assert_int_eq(words[3], 0);
    ck_assert_int_eq(words[4], 0);
    free(need);
    test_tensor_release(&record);
    test_tensor_release(&totals);
    test_tensor_release(&loss);
    test_tensor_release(&best);
    test_tensor_release(&labels);
    free(values);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("losses at once");
    TCase *tc = families_case(s, "losses at once");
    tcase_add_loop_test(tc, a_kernel_each_way_has_the_bits_of_seven, 0, 2);
    tcase_add_test(tc, what_is_not_wanted_is_left_out);
    tcase_add_test(tc, wrong_shapes_are_refused);
    tcase_add_test(tc, squared_error_comes_with_its_gradient);
    families_add(tc, a_record_begins_with_totals);
    return s;
}
