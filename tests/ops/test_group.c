/* test_group.c: channels regrouped as capsules, and back. */
#include "families.h"
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
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
