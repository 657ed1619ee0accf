/* test_group.c: channels regrouped as capsules, and back; with squash in between. */
#include "families.h"
#include "group.h"
#include "ref.h"

typedef struct shape {
    size_t b, t, k, h, w;
} shape;

/* Edges of the blocks of 8 and 16, and the paper's primary capsules last. */
static const shape shapes[] = {
    {1, 1, 1, 1, 1},
    {2, 3, 5, 4, 3},
    {1, 2, 9, 3, 3},
    {2, 1, 17, 5, 7},
    {3, 2, 8, 4, 4},
    {2, 32, 8, 6, 6},
};

START_TEST(reference_is_a_permutation_and_its_inverse)
{
    const size_t n = 2 * 3 * 5 * 12;
    double *z = test_random(n, 1, -1, 1), *u = test_zeros(n), *back = test_zeros(n);
    caps_ref_group_forward(u, z, 2, 3, 5, 12);
    /* b 1, type 2, dimension 3, place 7 */
    ck_assert(u[((1 * 3 + 2) * 12 + 7) * 5 + 3] == z[((1 * 3 + 2) * 5 + 3) * 12 + 7]);
    caps_ref_group_backward(back, u, 2, 3, 5, 12);
    for (size_t i = 0; i < n; i++)
        ck_assert(back[i] == z[i]);
    free(z);
    free(u);
    free(back);
}
END_TEST

START_TEST(device_moves_every_value_to_its_place)
{
    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        const shape *x = &shapes[n];
        caps_error err = {0};
        size_t area = x->h * x->w, count = x->b * x->t * x->k * area;
        if (test_small() && count > 1000)
            continue;
        double *z = test_random(count, 2 + n, -1, 1), *u = test_zeros(count);
        caps_ref_group_forward(u, z, x->b, x->t, x->k, area);
        caps_tensor tz = test_tensor(z, 4, (size_t[]){x->b, x->t * x->k, x->h, x->w});
        caps_tensor tu = test_tensor(NULL, 3, (size_t[]){x->b, x->t * area, x->k});
        caps_tensor back = test_tensor(NULL, 4, tz.shape);
        test_ok(caps_group_forward(families[_i], &tu, &tz, &err));
        test_expect_exactly(&tu, u, "u");
        test_ok(caps_group_backward(families[_i], &back, &tu, &err));
        test_expect_exactly(&back, z, "dz");
        test_tensor_release(&tz);
        test_tensor_release(&tu);
        test_tensor_release(&back);
        free(z);
        free(u);
    }
}
END_TEST

enum { GPU = 1 };

/* v and dz as the reference has them step by step; some capsules are zero, the first ones have
 * squares that leave float's range at either end. */
START_TEST(squashed_on_the_way)
{
    const bool exponential = _i == 1;
    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        const shape *x = &shapes[n];
        caps_error err = {0};
        const size_t area = x->h * x->w, count = x->b * x->t * x->k * area;
        const float factor = n % 2 ? 1.0f / 3.0f : 1;
        if (test_small() && count > 1000)
            continue;
        double *z = test_random(count, 2 + n, -1, 1), *u = test_zeros(count),
               *v = test_zeros(count);
        double *dv = test_random(count, 7 + n, -1, 1), *du = test_zeros(count);
        double *dz = test_zeros(count);
        for (size_t k = 0; k < x->k && area > 8; k++) {
            z[k * area] = 0;
            z[k * area + 1] = (float)(z[k * area + 1] * 1e-25);
            z[k * area + 2] = (float)(z[k * area + 2] * 1e25);
        }
        caps_ref_group_forward(u, z, x->b, x->t, x->k, area);
        for (size_t i = 0; i < count; i++)
            u[i] *= (double)factor;
        caps_ref_squash_forward(v, u, exponential, count / x->k, x->k);
        caps_ref_squash_backward(du, dv, u, exponential, count / x->k, x->k);
        for (size_t i = 0; i < count; i++)
            du[i] *= (double)factor;
        caps_ref_group_backward(dz, du, x->b, x->t, x->k, area);
        caps_tensor tz = test_tensor(z, 4, (size_t[]){x->b, x->t * x->k, x->h, x->w});
        caps_tensor tv = test_tensor(NULL, 3, (size_t[]){x->b, x->t * area, x->k});
        caps_tensor tdv = test_tensor(dv, 3, tv.shape), tdz = test_tensor(NULL, 4, tz.shape);
        const caps_squash squash = exponential ? CAPS_SQUASH_EXP : CAPS_SQUASH_PAPER;
        test_ok(caps_group_squash_forward(families[GPU], &tv, &tz, factor, squash, &err));
        test_expect(&tv, v, 1e-6, "v");
        test_ok(caps_group_squash_backward(families[GPU], &tdz, &tdv, &tz, factor, squash, &err));
        test_expect(&tdz, dz, 2e-6, "dz");
        caps_tensor *const all[] = {&tz, &tv, &tdv, &tdz};
        double *const owned[] = {z, u, v, dv, du, dz};
        for (size_t i = 0; i < 4; i++)
            test_tensor_release(all[i]);
        for (size_t i = 0; i < 6; i++)
            free(owned[i]);
    }
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_tensor z = test_tensor(NULL, 4, (size_t[]){2, 6, 3, 4});
    caps_tensor u = test_tensor(NULL, 3, (size_t[]){2, 24, 4});
    caps_tensor w = test_tensor(NULL, 3, (size_t[]){2, 24, 2});
    caps_tensor flat = test_tensor(NULL, 2, (size_t[]){2, 72});
    test_refused(caps_group_forward(families[_i], &u, &z, err),
        "group: z has 6 channels, need a multiple of the capsule dimension 4");
    test_refused(caps_group_backward(families[_i], &z, &w, err),
        "group: du is float32 [2, 24, 2], need float32 [2, 36, 2]");
    test_refused(caps_group_forward(families[_i], &u, &flat, err),
        "group: z is float32 [2, 72], need float32 [B, T*K, H, W]");
    test_refused(caps_group_squash_forward(families[_i], &u, &z, 1, CAPS_SQUASH_PAPER, err),
        "group: z has 6 channels, need a multiple of the capsule dimension 4");
    test_tensor_release(&z);
    test_tensor_release(&u);
    test_tensor_release(&w);
    test_tensor_release(&flat);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("group");
    TCase *tc = families_case(s, "group");
    tcase_add_test(tc, reference_is_a_permutation_and_its_inverse);
    families_add(tc, device_moves_every_value_to_its_place);
    tcase_add_loop_test(tc, squashed_on_the_way, 0, 2);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
