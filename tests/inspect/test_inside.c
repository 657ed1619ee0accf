/* test_inside.c: what a model shows of its inside: couplings of every iteration, and the decoder on
 * capsules of the caller's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_support.h"
#include "ref.h"

/* Every sample, input capsule and iteration shares out exactly one vote; the first one equally; the
 * last one is `couplings`. */
START_TEST(couplings_of_every_iteration)
{
    caps_error err = {0};
    const caps_routing_algorithm algorithms[] = {CAPS_ROUTING_STORED, CAPS_ROUTING_FUSED};
    for (int v = 0; v < 2; v++) {
        caps_model *m = make(families[_i], &(caps_model_options){CAPS_OPTIONS(caps_model_options),
                                               .max_batch = 8, .routing_algorithm = algorithms[v]});
        set_batch(m, 3, false);
        test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
        const caps_tensor t = caps_model_output(m, "couplings.iterations");
        const size_t expected[] = {3, 3, 18, CLASSES};
        ck_assert_int_eq(t.ndim, 4);
        for (int d = 0; d < 4; d++)
            ck_assert_uint_eq(t.shape[d], expected[d]);
        double *all = test_download(&t), *last = output_of(m, "couplings");
        const size_t each = 3 * 18 * CLASSES;
        bool moved = false;
        for (size_t row = 0; row < 3 * 3 * 18; row++) {
            double sum = 0;
            for (size_t j = 0; j < CLASSES; j++) {
                sum += all[row * CLASSES + j];
                if (row < 3 * 18)
                    ck_assert_double_eq_tol(all[row * CLASSES + j], 1.0 / CLASSES, 1e-7);
            }
            ck_assert_double_eq_tol(sum, 1, 1e-5);
        }
        for (size_t i = 0; i < each; i++) {
            ck_assert_double_eq(all[2 * each + i], last[i]);
            moved = moved || fabs(all[each + i] - last[i]) > 1e-6;
        }
        ck_assert(moved);
        free(all);
        free(last);
        caps_model_free(m);
    }
}
END_TEST

/* Votes and routing of the primary capsules that it tells, in double, make its class capsules. */
START_TEST(primary_capsules)
{
    enum { B = 3, I = 18, K = 4, D = 7, R = 3 };
    caps_error err = {0};
    caps_model *m =
        make(families[_i], &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 8});
    set_batch(m, B, false);
    ck_assert_ptr_null(caps_model_output(m, "inputs").buffer);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    const caps_tensor primary = caps_model_output(m, "inputs");
    const size_t expected[] = {B, I, K};
    ck_assert_int_eq(primary.ndim, 3);
    for (int d = 0; d < 3; d++)
        ck_assert_uint_eq(primary.shape[d], expected[d]);

    float *flat = calloc(caps_model_flat_count(m), sizeof *flat);
    double *w = calloc(I * CLASSES * D * K, sizeof *w);
    double *votes = calloc(B * I * CLASSES * D, sizeof *votes);
    double *couplings = calloc(R * B * I * CLASSES, sizeof *couplings);
    double *s = calloc(R * B * CLASSES * D, sizeof *s), *v = calloc(R * B * CLASSES * D, sizeof *v);
    double *capsules = calloc(B * CLASSES * D, sizeof *capsules);
    double *u = test_download(&primary);
    test_ok(caps_model_get_parameters(m, flat, &err));
    bool found = false;
    for (size_t p = 0; p < caps_model_parameter_count(m); p++) {
        const caps_parameter *of = caps_model_parameter(m, p);
        if (strcmp(of->name, "class_caps.weight") != 0)
            continue;
        found = true;
        ck_assert_uint_eq(of->count, I * CLASSES * D * K);
        for (size_t e = 0; e < of->count; e++)
            w[e] = (double)flat[of->first + e];
    }
    ck_assert(found);
    caps_ref_votes_forward(votes, u, w, B, I, CLASSES, D, K);
    caps_ref_routing_forward(capsules, couplings, s, v, votes, NULL, false, false, B, I, CLASSES, D,
        R); /* the bias is 0 */
    expect_output(m, "capsules", capsules, 1e-5, "class capsules of the primary ones");
    free(flat);
    free(w);
    free(votes);
    free(couplings);
    free(s);
    free(v);
    free(capsules);
    free(u);
    caps_model_free(m);
}
END_TEST

/* Of the capsules that the forward masked it makes the forward's reconstruction, of others another;
 * batches may be smaller. */
START_TEST(decoder_alone)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &(caps_model_options){CAPS_OPTIONS(caps_model_options),
                                           .max_batch = 8, .reconstruct = true});
    enum { N = 5, ROW = CLASSES * 7 };
    set_batch(m, N, false);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    double *capsules = output_of(m, "capsules");
    double *expected = output_of(m, "reconstruction");
    int32_t best[N];
    test_ok(download_output(m, "best", best, &err));
    float *masked = calloc(N * ROW, sizeof *masked);
    for (size_t i = 0; i < N; i++)
        for (size_t d = 0; d < 7; d++) {
            const size_t at = i * ROW + (size_t)best[i] * 7 + d;
            masked[at] = (float)capsules[at];
        }

    test_ok(caps_model_decode(m, masked, N, &err));
    ck_assert_uint_eq(caps_model_output(m, "reconstruction").shape[0], N);
    ck_assert_uint_eq(caps_model_output(m, "reconstruction").shape[1], PIXELS);
    ck_assert_ptr_null(caps_model_output(m, "lengths").buffer);
    ck_assert_ptr_null(caps_model_output(m, "capsules").buffer);
    ck_assert_ptr_null(caps_model_output(m, "couplings.iterations").buffer);
    expect_output(m, "reconstruction", expected, 1e-6, "decoded");

    /* The second sample alone; then with its capsules changed. */
    test_ok(caps_model_decode(m, masked + ROW, 1, &err));
    ck_assert_uint_eq(caps_model_output(m, "reconstruction").shape[0], 1);
    expect_output(m, "reconstruction", expected + PIXELS, 1e-6, "decoded alone");
    for (size_t d = 0; d < 7; d++)
        masked[ROW + (size_t)best[1] * 7 + d] += 1.0f;
    test_ok(caps_model_decode(m, masked + ROW, 1, &err));
    double *other = output_of(m, "reconstruction");
    ck_assert_double_gt(test_relative_error(other, expected + PIXELS, PIXELS), 1e-3);

    /* A forward needs images again, and is then as it was. */
    ck_assert_int_eq(caps_model_forward(m, CAPS_MASK_LONGEST, &err), CAPS_ERR_ARGUMENT);
    set_batch(m, N, false);
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    expect_output(m, "reconstruction", expected, 1e-6, "forward after decode");
    free(other);
    free(masked);
    free(capsules);
    free(expected);
    caps_model_free(m);
}
END_TEST

START_TEST(decoder_misuse_is_refused)
{
    caps_runtime *rt = families[_i];
    float *capsules = calloc(9 * CLASSES * 7, sizeof *capsules);
    caps_model *m = make(rt, &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 8,
                                 .reconstruct = true});
    test_refused(caps_model_decode(m, capsules, 0, err), "model: decode of 0 images, need 1 to 8");
    test_refused(caps_model_decode(m, capsules, 9, err), "model: decode of 9 images, need 1 to 8");
    ck_assert_ptr_null(caps_model_output(m, "reconstruction").buffer);
    caps_model_free(m);

    m = make(rt, &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 8});
    test_refused(caps_model_decode(m, capsules, 1, err),
        "model: decode, but it was made without its decoder");
    caps_model_free(m);

    caps_error e = {0};
    OWNED_SPEC(spec) = spec_of(SPEC);
    ck_assert_int_eq(caps_model_spec_remove_decoder(spec, &e), CAPS_OK);
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = 2, .reconstruct = true};
    caps_status status = caps_model_create(&m, rt, spec, &options, &e);
    ck_assert_msg(status == CAPS_OK, "%s", e.message);
    test_refused(caps_model_decode(m, capsules, 1, err), "model: decode, but it has no decoder");
    caps_model_free(m);
    free(capsules);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("inside");
    TCase *tc = families_case(s, "inside");
    families_add(tc, couplings_of_every_iteration);
    families_add(tc, primary_capsules);
    families_add(tc, decoder_alone);
    families_add(tc, decoder_misuse_is_refused);
    return s;
}
