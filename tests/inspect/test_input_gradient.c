/* The gradient of the loss in the images, against central differences; and attacks by it. */
#include <math.h>
#include <stdio.h>

#include <capscl/inspect.h>

#include "model_support.h"

/* Both kinds; strides, padding and channels in what the input's gradient goes through. */
static const char *const specs[] = {
    "{\"input\":[2,9,8],\"classes\":3,\"conv1\":{\"channels\":4,\"kernel\":3,\"stride\":1},"
    "\"primary\":{\"types\":2,\"dim\":4,\"kernel\":3,\"stride\":2},"
    "\"class_caps\":{\"dim\":4,\"iterations\":2,\"routing_grad\":\"full\"},"
    "\"decoder\":{\"hidden\":[6]}}",
    "{\"kind\":\"cnn\",\"input\":[2,9,8],\"classes\":3,\"conv\":[{\"channels\":4,\"kernel\":3,"
    "\"stride\":2,\"padding\":1},{\"channels\":4,\"kernel\":3,\"stride\":1,\"padding\":1}],"
    "\"hidden\":[6],\"dropout\":0.5}",
};

enum { SPECS = 2, B = 3, IMAGE = 2 * 9 * 8 };

static const int32_t labels[B] = {0, 2, 1};

static caps_model *make_spec(caps_runtime *rt, int spec, const char *conv)
{
    caps_error err = {0};
    caps_model *m = NULL;
    OWNED_SPEC(s) = spec_of(specs[spec]);
    caps_model_options options = caps_attack_model_options(B);
    options.conv = conv;
    test_ok(caps_model_create(&m, rt, s, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    return m;
}

static void forward(caps_model *m, const float *images)
{
    caps_error err = {0};
    test_ok(caps_model_set_batch(m, &(caps_images){B, images, labels, NULL}, &err));
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
}

/* The mean class loss of the batch. */
static double loss(const double *x, void *context)
{
    caps_error err = {0};
    caps_model *m = context;
    float images[B * IMAGE], losses[B];
    for (size_t i = 0; i < B * IMAGE; i++)
        images[i] = (float)x[i];
    forward(m, images);
    test_ok(download_output(m, "class_loss", losses, &err));
    double sum = 0;
    for (size_t i = 0; i < B; i++)
        sum += (double)losses[i] / B;
    return sum;
}

static void input_gradient(caps_model *m, const float *images, float *gradient)
{
    caps_error err = {0};
    forward(m, images);
    test_ok(caps_model_backward(m, &err));
    const caps_tensor dx = caps_model_input_gradient(m);
    ck_assert_int_eq(dx.ndim, 4);
    ck_assert_uint_eq(dx.shape[0], B);
    ck_assert_uint_eq(caps_tensor_count(&dx), B * IMAGE);
    test_ok(caps_tensor_download(caps_model_get_runtime(m), &dx, gradient, &err));
}

START_TEST(equals_central_differences)
{
    const size_t n = test_small() ? 6 : B * IMAGE;
    for (int s = 0; s < SPECS; s++) {
        caps_model *m = make_spec(families[_i], s, NULL);
        float *images = floats(B * IMAGE, 5, 0, 1), gradient[B * IMAGE];
        double x[B * IMAGE], wide[B * IMAGE];
        input_gradient(m, images, gradient);
        for (size_t i = 0; i < B * IMAGE; i++) {
            x[i] = (double)images[i];
            wide[i] = (double)gradient[i];
        }
        double most = 0, tried = 0; /* the largest of all gradients, and of those tried */
        for (size_t i = 0; i < B * IMAGE; i++) {
            most = fmax(most, fabs(wide[i]));
            tried = i < n ? most : tried;
        }
        ck_assert_double_gt(most, 1e-3);
        /* float32 forwards: their differences have three digits, less at the edges of ReLU. */
        const double step = s ? 5e-4 : 2e-3;
        const double off = test_finite_difference(loss, m, x, wide, n, step) * tried / most;
        ck_assert_msg(off < 0.02, "%s: off by %g", s ? "cnn" : "capsnet", off);
        free(images);
        caps_model_free(m);
    }
}
END_TEST

/* Whichever algorithm the first layer has; and parameters' gradients are those of a model that
 * does not ask for its input's. */
START_TEST(does_not_depend_on_the_algorithm)
{
    static const char *const algorithms[] = {"im2col", "toom-cook"};
    caps_error err = {0};
    for (int s = 0; s < SPECS; s++) {
        float *images = floats(B * IMAGE, 5, 0, 1);
        double first[B * IMAGE];
        for (int a = 0; a < 2; a++) {
            char conv[64];
            snprintf(conv, sizeof conv, "conv1=%s", algorithms[a]);
            if (a == 1 && caps_runtime_family(families[_i]) != CAPS_FAMILY_CPU)
                break; /* the Toom-Cook kernels are the CPU family's */
            caps_model *m = make_spec(families[_i], s, conv);
            float gradient[B * IMAGE];
            double wide[B * IMAGE];
            input_gradient(m, images, gradient);
            for (size_t i = 0; i < B * IMAGE; i++)
                (a ? wide : first)[i] = (double)gradient[i];
            if (a)
                ck_assert_double_lt(test_relative_error(wide, first, B * IMAGE), 1e-4);
            caps_model_free(m);
        }
        caps_model *with = make_spec(families[_i], s, NULL), *without = NULL;
        OWNED_SPEC(spec) = spec_of(specs[s]);
        caps_loss class_loss = CAPS_LOSS_DEFAULT;
        class_loss.reconstruction_weight = 0;
        const caps_model_options plain = {CAPS_OPTIONS(caps_model_options), .max_batch = B,
            .training = true, .loss = &class_loss};
        test_ok(caps_model_create(&without, families[_i], spec, &plain, &err));
        test_ok(caps_model_initialise(without, CAPS_INITIALISER_SCALED, 3, &err));
        forward(with, images);
        test_ok(caps_model_backward(with, &err));
        forward(without, images);
        test_ok(caps_model_backward(without, &err));
        ck_assert_ptr_null(caps_model_input_gradient(without).buffer);
        float *a = gradients(with), *b = gradients(without);
        double off = 0, all = 0;
        for (size_t i = 0; i < caps_model_flat_count(with); i++) {
            off += pow((double)a[i] - (double)b[i], 2);
            all += pow((double)b[i], 2);
        }
        ck_assert_double_gt(all, 0);
        ck_assert_double_lt(sqrt(off / all), 1e-4);
        free(a);
        free(b);
        caps_model_free(with);
        caps_model_free(without);
        free(images);
    }
}
END_TEST

/* FGSM moves every pixel with a gradient by epsilon up the loss; BIM stays within epsilon and finds
 * at least as much loss; both stay in 0..1, and 0 leaves the images as they are. */
START_TEST(attacks)
{
    const float epsilon = 0.05f;
    caps_error err = {0};
    for (int s = 0; s < SPECS; s++) {
        caps_model *m = make_spec(families[_i], s, NULL);
        float *x = floats(B * IMAGE, 6, 0, 1), *out = floats(B * IMAGE, 1, 0, 1);
        float gradient[B * IMAGE];
        double wide[B * IMAGE], found[2], before;
        const caps_images images = {B, x, labels, NULL};
        input_gradient(m, x, gradient);
        for (size_t i = 0; i < B * IMAGE; i++)
            wide[i] = (double)x[i];
        before = loss(wide, m);
        for (int kind = 0; kind < CAPS_ATTACK_COUNT; kind++) {
            test_ok(caps_attack_apply(m, kind, 0, 4, &images, out, &err));
            ck_assert_mem_eq(out, x, B * IMAGE * sizeof *x);
            test_ok(caps_attack_apply(m, kind, (double)epsilon, 4, &images, out, &err));
            for (size_t i = 0; i < B * IMAGE; i++) {
                ck_assert(out[i] >= 0 && out[i] <= 1);
                ck_assert(out[i] <= x[i] + epsilon && out[i] >= x[i] - epsilon);
                if (kind == CAPS_ATTACK_FGSM) {
                    const float sign = gradient[i] > 0 ? 1 : gradient[i] < 0 ? -1 : 0;
                    ck_assert(out[i] == fmaxf(0, fminf(1, x[i] + epsilon * sign)));
                }
                wide[i] = (double)out[i];
            }
            found[kind] = loss(wide, m);
        }
        ck_assert_msg(found[0] > before + 0.001, "fgsm: %g after %g", found[0], before);
        ck_assert_msg(found[1] > found[0] - 0.001, "bim: %g, fgsm: %g", found[1], found[0]);
        free(x);
        free(out);
        caps_model_free(m);
    }
}
END_TEST

START_TEST(a_model_without_it_is_refused)
{
    const float x[2 * PIXELS] = {0.5f};
    float out[2 * PIXELS];
    const int32_t of[2] = {0, 1};
    const caps_images images = {2, x, of, NULL};
    caps_model *m = make(families[_i], &train8);
    test_refused(caps_attack_apply(m, CAPS_ATTACK_FGSM, 0.1, 1, &images, out, err),
        "attack: the model was made without input_gradient");
    caps_model_free(m);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("input_gradient");
    TCase *tc = families_case(s, "input gradient");
    families_add(tc, equals_central_differences);
    families_add(tc, does_not_depend_on_the_algorithm);
    families_add(tc, attacks);
    families_add(tc, a_model_without_it_is_refused);
    return s;
}
