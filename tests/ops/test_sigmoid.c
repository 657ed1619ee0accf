/* test_sigmoid.c: sigmoid and binary cross entropy. */
#include <math.h>

#include "families.h"
#include "ref.h"

static const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 2}, {2, 17, 3}, {7, 2, 1}, {131, 11, 2}};

#define SHAPES (sizeof shapes / sizeof shapes[0])

typedef struct problem {
    size_t b, j, l;
    const int32_t *labels;
} problem;

static double mean_entropy(const double *z, void *context)
{
    const problem *p = context;
    double *loss = test_zeros(p->b), sum = 0;
    caps_ref_binary_cross_entropy_forward(loss, z, p->labels, p->b, p->j, p->l);
    for (size_t b = 0; b < p->b; b++)
        sum += loss[b] / (double)p->b;
    free(loss);
    return sum;
}

/* Of every class, one that is none, and one that comes twice. */
static int32_t *make_labels(size_t b, size_t j, size_t l)
{
    int32_t *labels = calloc(b * l, sizeof *labels);
    for (size_t i = 0; i < b * l; i++)
        labels[i] = (int32_t)((3 * i + 1) % j);
    if (b > 2)
        labels[l] = -1;
    if (b > 2 && l > 1)
        labels[2 * l + 1] = labels[2 * l];
    return labels;
}

START_TEST(reference_gradient_by_finite_differences)
{
    const problem p = {4, 5, 2, make_labels(4, 5, 2)};
    double *z = test_random(20, 3, -3, 3), *dz = test_zeros(20);
    caps_ref_binary_cross_entropy_backward(dz, z, p.labels, 0.25, 4, 5, 2);
    ck_assert_double_lt(test_finite_difference(mean_entropy, (void *)&p, z, dz, 20, 1e-5), 1e-7);
    free((void *)p.labels);
    free(z);
    free(dz);
}
END_TEST

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const size_t b = shapes[n][0], j = shapes[n][1], l = shapes[n][2];
        caps_error err = {0};
        double *z = test_random(b * j, n, -20, 20), *p = test_zeros(b * j), *loss = test_zeros(b);
        double *dz = test_zeros(b * j);
        int32_t *labels = make_labels(b, j, l);
        const float scale = 1.0f / (float)b;
        caps_ref_sigmoid_forward(p, z, b * j);
        caps_ref_binary_cross_entropy_forward(loss, z, labels, b, j, l);
        caps_ref_binary_cross_entropy_backward(dz, z, labels, (double)scale, b, j, l);
        caps_tensor tz = test_tensor(z, 2, shapes[n]), tp = test_tensor(NULL, 2, shapes[n]);
        caps_tensor tloss = test_tensor(NULL, 1, &b);
        caps_tensor tl = test_tensor_i32(labels, l > 1 ? 2 : 1, (size_t[]){b, l});
        caps_tensor tdz = test_tensor(NULL, 2, shapes[n]);
        test_ok(caps_sigmoid_forward(families[_i], &tp, &tz, &err));
        test_expect(&tp, p, 2e-6, "p");
        test_ok(caps_binary_cross_entropy_forward(families[_i], &tloss, &tz, &tl, &err));
        test_expect(&tloss, loss, 1e-6, "loss");
        test_ok(caps_binary_cross_entropy_backward(families[_i], &tdz, &tz, &tl, scale, &err));
        test_expect(&tdz, dz, 2e-6, "dz");
        test_tensor_release(&tz);
        test_tensor_release(&tp);
        test_tensor_release(&tloss);
        test_tensor_release(&tl);
        test_tensor_release(&tdz);
        free(z);
        free(p);
        free(loss);
        free(dz);
        free(labels);
    }
}
END_TEST

/* Logits of any size: no overflow, and what is no number shows. */
START_TEST(logits_of_any_size)
{
    const double z[] = {1000, 0, -1000, NAN, 1, 2, -1e30, -1e30, 1e30};
    caps_error err = {0};
    caps_tensor tz = test_tensor(z, 2, (size_t[]){3, 3}), loss = test_tensor(NULL, 1, tz.shape);
    caps_tensor p = test_tensor(NULL, 2, tz.shape);
    caps_tensor labels = test_tensor_i32((int32_t[]){2, 1, 2}, 1, tz.shape);
    test_ok(caps_binary_cross_entropy_forward(families[_i], &loss, &tz, &labels, &err));
    test_ok(caps_sigmoid_forward(families[_i], &p, &tz, &err));
    double *have = test_download(&loss), *chances = test_download(&p);
    ck_assert_double_eq_tol(have[0], 2000 + log(2), 1e-3);
    ck_assert(isnan(have[1]));
    ck_assert(have[2] == 0);
    ck_assert(chances[0] == 1 && chances[1] == 0.5 && chances[2] == 0 && isnan(chances[3]));
    ck_assert(chances[6] == 0 && chances[8] == 1);
    free(have);
    free(chances);
    test_tensor_release(&tz);
    test_tensor_release(&p);
    test_tensor_release(&loss);
    test_tensor_release(&labels);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_tensor z = test_tensor(NULL, 2, (size_t[]){2, 3}), b = test_tensor(NULL, 1, (size_t[]){2});
    caps_tensor i3 = test_tensor_i32(NULL, 1, (size_t[]){3});
    caps_tensor i22 = test_tensor_i32(NULL, 2, (size_t[]){2, 2});
    test_refused(
        caps_sigmoid_forward(rt, &b, &z, err), "sigmoid: p is float32 [2], need float32 [2, 3]");
    test_refused(caps_binary_cross_entropy_forward(rt, &b, &z, &i3, err),
        "binary_cross_entropy: labels is int32 [3], need int32 [2]");
    test_refused(caps_binary_cross_entropy_forward(rt, &z, &z, &i22, err),
        "binary_cross_entropy: loss is float32 [2, 3], need float32 [2]");
    test_refused(caps_binary_cross_entropy_backward(rt, &b, &z, &i22, 1, err),
        "binary_cross_entropy: dz is float32 [2], need float32 [2, 3]");
    test_tensor_release(&z);
    test_tensor_release(&b);
    test_tensor_release(&i3);
    test_tensor_release(&i22);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("sigmoid");
    TCase *tc = families_case(s, "sigmoid");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, logits_of_any_size);
    families_add(tc, wrong_arguments_are_refused);
    return s;
}
