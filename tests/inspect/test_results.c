/* test_results.c: labels that are matched, which images are worth a look, ensembles: on results
 * that are made up. */
#include <math.h>

#include <capscl/inspect.h>

#include "support.h"

static caps_model_spec *spec_with(size_t labels)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    test_ok(caps_model_spec_load(&spec, labels > 1 ? "multimnist" : "mnist", &err));
    test_ok(caps_model_spec_set_classes(spec, 3, &err));
    return spec;
}

START_TEST(matched_labels)
{
    static const struct {
        int32_t labels[2], truth[2], matched[2];
        size_t count, wrong;
    } rows[] = {
        {{4}, {4}, {4}, 1, 0},
        {{4}, {5}, {4}, 1, 1},
        {{1, 2}, {1, 2}, {1, 2}, 2, 0},
        {{2, 1}, {1, 2}, {1, 2}, 2, 0},
        {{2, 3}, {1, 2}, {3, 2}, 2, 1}, /* what was found stands where its label does */
        {{3, 1}, {1, 2}, {1, 3}, 2, 1},
        {{3, 4}, {1, 2}, {3, 4}, 2, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int32_t labels[2] = {rows[i].labels[0], rows[i].labels[1]};
        ck_assert_uint_eq(caps_labels_match(labels, rows[i].truth, rows[i].count), rows[i].wrong);
        ck_assert_mem_eq(labels, rows[i].matched, rows[i].count * sizeof *labels);
    }
}
END_TEST

/* Image i of one label. */
static void set_single(
    caps_image_results *r, size_t i, int32_t label, int32_t truth, float a, float b, float c)
{
    const float lengths[] = {a, b, c};
    caps_image_results_set(r, &(caps_evaluated){i, &label, &truth, label == truth, lengths, NAN});
}

START_TEST(images_worth_a_look)
{
    caps_error err = {0};
    caps_model_spec *spec = spec_with(1);
    caps_image_results r;
    test_ok(caps_image_results_init(&r, 6, spec, &err));
    set_single(&r, 0, 0, 0, 0.9f, 0.2f, 0.1f);
    set_single(&r, 1, 1, 0, 0.3f, 0.8f, 0.1f); /* worse by 0.5 */
    set_single(&r, 2, 0, 0, 0.95f, 0.2f, 0.1f);
    set_single(&r, 3, 2, 1, 0.1f, 0.1f, 0.9f); /* by 0.8 */
    set_single(&r, 4, 0, 2, 0.7f, 0.1f, 0.2f); /* by 0.5 too, and later */
    set_single(&r, 5, 1, 1, 0.2f, 0.6f, 0.5f);
    size_t worst[6], best;
    ck_assert_uint_eq(caps_image_results_worst(&r, worst, 6), 3);
    ck_assert(worst[0] == 3 && worst[1] == 1 && worst[2] == 4);
    ck_assert_uint_eq(caps_image_results_worst(&r, worst, 2), 2);
    ck_assert(worst[0] == 3 && worst[1] == 1);
    ck_assert_uint_eq(caps_image_results_worst(&r, worst, 0), 0);
    ck_assert(caps_image_results_best(&r, 0, &best) && best == 2);
    ck_assert(caps_image_results_best(&r, 1, &best) && best == 5);
    ck_assert(!caps_image_results_best(&r, 2, &best)); /* none is right */
    ck_assert_float_eq_tol(caps_image_results_mistake(&r, 3), 0.8f, 1e-6f);
    ck_assert_float_eq(caps_image_results_mistake(&r, 0), 0);
    ck_assert_float_eq(caps_image_results_sureness(&r, 5), 0.6f);
    ck_assert(caps_image_results_is_right(&r, 0) && !caps_image_results_is_right(&r, 1));
    caps_image_results_release(&r);
    caps_model_spec_free(spec);
}
END_TEST

START_TEST(pairs_worth_a_look)
{
    caps_error err = {0};
    caps_model_spec *spec = spec_with(2);
    caps_image_results r;
    test_ok(caps_image_results_init(&r, 2, spec, &err));
    const int32_t truth[] = {0, 1}, right[] = {0, 1}, wrong[] = {0, 2};
    const float sure[] = {0.9f, 0.7f, 0.1f}, unsure[] = {0.9f, 0.3f, 0.5f};
    caps_image_results_set(&r, &(caps_evaluated){0, right, truth, true, sure, NAN});
    caps_image_results_set(&r, &(caps_evaluated){1, wrong, truth, false, unsure, NAN});
    ck_assert(caps_image_results_is_right(&r, 0) && !caps_image_results_is_right(&r, 1));
    ck_assert_float_eq(caps_image_results_sureness(&r, 0), 0.7f); /* the less sure of the two */
    ck_assert_float_eq_tol(caps_image_results_mistake(&r, 1), 0.2f, 1e-6f);
    size_t worst[2];
    ck_assert_uint_eq(caps_image_results_worst(&r, worst, 2), 1);
    ck_assert_uint_eq(worst[0], 1);
    caps_image_results_release(&r);
    caps_model_spec_free(spec);
}
END_TEST

/* ---- ensembles ------------------------------------------------------------------------------ */

static void see_mean(void *user, const caps_evaluated *image)
{
    float *mean = user;
    for (size_t j = 0; j < 3; j++)
        mean[image->index * 3 + j] = image->lengths[j];
    ck_assert(isnan(image->sse));
}

static void add(caps_ensemble *e, size_t i, const int32_t *truth, const float *lengths)
{
    const int32_t unused[] = {0, 1};
    caps_ensemble_add(e, &(caps_evaluated){i, unused, truth, false, lengths, NAN});
}

/* The class of the greatest mean, which neither model may have given. */
START_TEST(mean_of_two_models)
{
    static const float lengths[2][2][3] = {
        {{0.6f, 0.5f, 0.1f}, {0.9f, 0.2f, 0.1f}}, {{0.1f, 0.5f, 0.6f}, {0.1f, 0.2f, 0.3f}}};
    static const int32_t truth[] = {1, 1};
    caps_error err = {0};
    caps_model_spec *spec = spec_with(1);
    caps_ensemble *e = NULL;
    caps_evaluation result;
    float mean[6];
    test_ok(caps_ensemble_create(&e, 2, spec, &err));
    ck_assert_int_eq(caps_ensemble_evaluate(e, NULL, NULL, &result, &err), CAPS_ERR_ARGUMENT);
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 0; i < 2; i++) {
            if (m == 1 && i == 1) /* an image is missing */
                ck_assert_int_eq(
                    caps_ensemble_evaluate(e, NULL, NULL, &result, &err), CAPS_ERR_ARGUMENT);
            add(e, i, &truth[i], lengths[m][i]);
        }
    test_ok(caps_ensemble_evaluate(e, see_mean, mean, &result, &err));
    ck_assert_uint_eq(result.n, 2);
    ck_assert_uint_eq(result.errors, 1);
    ck_assert_double_eq(result.error_percent, 50);
    ck_assert(isnan(result.class_loss) && isnan(result.reconstruction_sse));
    const uint64_t confusion[] = {0, 0, 0, 1, 1, 0, 0, 0, 0};
    ck_assert_mem_eq(result.confusion, confusion, sizeof confusion);
    const float means[] = {0.35f, 0.5f, 0.35f, 0.5f, 0.2f, 0.2f};
    for (size_t i = 0; i < 6; i++)
        ck_assert_float_eq_tol(mean[i], means[i], 1e-6f);
    caps_evaluation_release(&result);
    caps_ensemble_free(e);
    caps_model_spec_free(spec);
}
END_TEST

START_TEST(ensemble_of_pairs)
{
    static const int32_t truth[2][2] = {{0, 2}, {1, 0}};
    static const float lengths[2][3] = {{0.9f, 0.1f, 0.8f}, {0.2f, 0.9f, 0.7f}};
    caps_error err = {0};
    caps_model_spec *spec = spec_with(2);
    caps_ensemble *e = NULL;
    caps_evaluation result;
    test_ok(caps_ensemble_create(&e, 2, spec, &err));
    for (size_t i = 0; i < 2; i++)
        add(e, i, truth[i], lengths[i]);
    test_ok(caps_ensemble_evaluate(e, NULL, NULL, &result, &err));
    ck_assert_uint_eq(result.errors, 1); /* the second: 1 is found, 0 is not */
    ck_assert_uint_eq(result.label_errors, 1);
    ck_assert_double_eq(result.label_error_percent, 25);
    ck_assert_uint_eq(result.confusion[0 * 3 + 2], 1); /* 2 in the place of 0 */
    caps_evaluation_release(&result);
    caps_ensemble_free(e);
    caps_ensemble_free(NULL);
    caps_model_spec_free(spec);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("results");
    TCase *tc = tcase_create("results");
    tcase_add_test(tc, matched_labels);
    tcase_add_test(tc, images_worth_a_look);
    tcase_add_test(tc, pairs_worth_a_look);
    tcase_add_test(tc, mean_of_two_models);
    tcase_add_test(tc, ensemble_of_pairs);
    suite_add_tcase(s, tc);
    return s;
}
