/* Weights of the classes in a model's loss: the loss of an image and all gradients that come from
 * it, by the weight of its class; nothing of the reconstruction. In both kernel families. */
#include <math.h>
#include <stdio.h>

#include "model_support.h"

static const char *const specs[] = {
    SPEC,
    "{\"input\":[2,11,9],\"classes\":5,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":4,\"kernel\":4},"
    "{\"kind\":\"linear\",\"out\":5,\"activation\":\"none\"}]}",
};

static caps_model *make_weighted(
    caps_runtime *rt, const char *json, const float *weights, size_t micro)
{
    caps_error err = {0};
    caps_loss loss = CAPS_LOSS_DEFAULT;
    loss.reconstruction_weight = 0; /* the class loss alone, whatever the decoder gives */
    caps_model_options options = train8;
    options.class_weights = weights;
    options.loss = &loss;
    options.accumulate = micro > 0;
    options.micro_batch = micro;
    caps_model *m = NULL;
    OWNED_SPEC(spec) = spec_of(json);
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    return m;
}

/* The gradients of images `first` to `first + b - 1`, and the sum of their class losses. */
static float *gradients_of(caps_model *m, size_t first, size_t b, double *loss)
{
    static const int32_t labels[] = {1, 0, 4, 1, 3, 0};
    caps_error err = {0};
    caps_model_totals totals;
    float *images = floats(6 * PIXELS, 5, 0, 1);
    test_ok(caps_model_clear_totals(m, &err));
    test_ok(caps_model_gradients(
        m, &(caps_images){b, images + first * PIXELS, labels + first, NULL}, &err));
    test_ok(caps_model_add_totals(m, &err));
    test_ok(caps_model_get_totals(m, &totals, &err));
    *loss = totals.class_loss;
    free(images);
    return gradients(m);
}

static void expect_near(const float *have, const float *need, size_t n, const char *what)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += pow((double)have[i] - (double)need[i], 2);
        norm += pow((double)need[i], 2);
    }
    ck_assert_msg(norm > 0, "%s: nothing to compare", what);
    ck_assert_msg(
        sqrt(difference / norm) < 1e-5, "%s: differs by %g", what, sqrt(difference / norm));
}

/* The gradient of a batch is the sum of those of its images by themselves, each by its weight. */
START_TEST(an_image_counts_by_the_weight_of_its_class)
{
    static const float weights[CLASSES] = {0.5f, 3, 1, 0, 2};
    static const double of[] = {3, 0.5, 2, 3, 0, 0.5}; /* of the six images */
    for (size_t s = 0; s < 2; s++) {
        caps_model *plain = make_weighted(families[_i], specs[s], NULL, 0);
        const size_t n = caps_model_flat_count(plain);
        float *need = calloc(n, sizeof *need);
        double need_loss = 0, loss;
        for (size_t i = 0; i < 6; i++) {
            float *one = gradients_of(plain, i, 1, &loss);
            need_loss += of[i] * loss;
            for (size_t e = 0; e < n; e++)
                need[e] += (float)(of[i] / 6) * one[e];
            free(one);
        }
        for (size_t micro = 0; micro <= 2; micro += 2) {
            caps_model *m = make_weighted(families[_i], specs[s], weights, micro);
            float *have = gradients_of(m, 0, 6, &loss);
            expect_near(have, need, n, micro ? "in micro-batches" : "at once");
            if (micro == 0) /* else the totals are those of the last micro-batch */
                ck_assert_double_eq_tol(loss, need_loss, 1e-5 * need_loss);
            free(have);
            caps_model_free(m);
        }
        free(need);
        caps_model_free(plain);
    }
}
END_TEST

START_TEST(weights_of_one_change_no_bit)
{
    static const float ones[CLASSES] = {1, 1, 1, 1, 1};
    for (size_t s = 0; s < 2; s++) {
        caps_model *plain = make_weighted(families[_i], specs[s], NULL, 0);
        caps_model *m = make_weighted(families[_i], specs[s], ones, 0);
        double need_loss, loss;
        float *need = gradients_of(plain, 0, 6, &need_loss), *have = gradients_of(m, 0, 6, &loss);
        ck_assert_mem_eq(have, need, caps_model_flat_count(m) * sizeof *have);
        ck_assert(memcmp(&loss, &need_loss, sizeof loss) == 0);
        free(need);
        free(have);
        caps_model_free(plain);
        caps_model_free(m);
    }
}
END_TEST

START_TEST(wrong_weights_are_refused)
{
    static const float wrong[][CLASSES] = {{1, 1, -0.5f, 1, 1}, {1, 1, 1, 1, NAN}};
    static const char *const messages[] = {
        "model: the weight of class 2 is -0.5, need a number from 0 on",
        "model: the weight of class 4 is nan, need a number from 0 on"};
    OWNED_SPEC(spec) = spec_of(SPEC);
    for (size_t i = 0; i < 2; i++) {
        caps_model_options options = train8;
        caps_model *m = NULL;
        options.class_weights = wrong[i];
        test_refused(caps_model_create(&m, families[_i], spec, &options, err), messages[i]);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("class weights of a model");
    TCase *tc = families_case(s, "class weights");
    families_add(tc, an_image_counts_by_the_weight_of_its_class);
    families_add(tc, weights_of_one_change_no_bit);
    families_add(tc, wrong_weights_are_refused);
    return s;
}
