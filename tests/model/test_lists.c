/* Networks as lists of layers, of every kind and in orders that no shorthand has: the gradient of
 * every parameter, and of the images, against central differences of the loss. In both kernel
 * families. */
#include <math.h>
#include <stdio.h>

#include "model_support.h"

/* Relative to the slope along the gradient: rounding of a loss in float, and the third derivative.
 * */
#define TOLERANCE 5e-3

/* A gradient below this may take a longer step. The loss of a network of matrix capsules, 2.7, is
 * rounded by up to 1e-6, which is 2e-4 of a slope over the usual step; low.beta_a of the second one
 * has a slope of 2e-3, whose measurement comes to 1e-5 of what the gradient says as the step grows,
 * in both families. (The operation itself: the same shapes are in tests/ops/test_em.c, in double.) */
#define GENTLE 0.05

enum { BATCH = 3, MOST_PIXELS = 3 * 12 * 12, NORMED = 5 };

static const char *const lists[] = {
    "{\"input\":[2,11,9],\"classes\":5,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":6,\"kernel\":4},"
    "{\"kind\":\"primary_caps\",\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2,\"squash\":\"exp\"}"
    ","
    "{\"kind\":\"caps\",\"capsules\":5,\"dim\":7,\"bias\":true,\"squash\":\"exp\","
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":3}}],\"decoder\":{\"hidden\":[11]}}",

    /* Three layers of capsules, each routed in its own way, and no decoder. */
    "{\"input\":[1,10,12],\"classes\":4,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":5,\"kernel\":3,\"stride\":2,\"padding\":1},"
    "{\"kind\":\"primary_caps\",\"types\":2,\"dim\":5,\"kernel\":2,\"stride\":1,\"average\":true},"
    "{\"kind\":\"caps\",\"name\":\"low\",\"capsules\":9,\"dim\":3,\"squash\":\"exp\","
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":1}},"
    "{\"kind\":\"caps\",\"name\":\"high\",\"capsules\":7,\"dim\":6,\"bias\":true,"
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":2,\"leaky\":true}},"
    "{\"kind\":\"caps\",\"capsules\":4,\"dim\":8,"
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":4}}],\"decoder\":null}",

    /* Convolutions without an activation, at the edges and across them. */
    "{\"input\":[3,9,8],\"classes\":3,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":4,\"kernel\":5,\"padding\":2,\"activation\":\"none\"},"
    "{\"kind\":\"conv\",\"channels\":7,\"kernel\":3,\"padding\":1},"
    "{\"kind\":\"conv\",\"channels\":6,\"kernel\":3,\"stride\":2,\"activation\":\"none\"},"
    "{\"kind\":\"primary_caps\",\"types\":1,\"dim\":6,\"kernel\":2,\"stride\":1},"
    "{\"kind\":\"caps\",\"capsules\":3,\"dim\":5,"
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":2}}],\"decoder\":{\"hidden\":[9,13]}}",

    /* No convolution at all, dropout first, every activation. */
    "{\"input\":[2,5,7],\"classes\":6,\"layers\":["
    "{\"kind\":\"dropout\",\"rate\":0.25},"
    "{\"kind\":\"linear\",\"out\":17,\"activation\":\"sigmoid\"},"
    "{\"kind\":\"linear\",\"out\":11,\"activation\":\"none\"},"
    "{\"kind\":\"linear\",\"out\":19},"
    "{\"kind\":\"linear\",\"out\":6,\"activation\":\"none\"}]}",

    "{\"input\":[1,12,12],\"classes\":10,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":8,\"kernel\":3},{\"kind\":\"dropout\",\"rate\":0.5},"
    "{\"kind\":\"conv\",\"channels\":3,\"kernel\":4,\"stride\":3,\"activation\":\"none\"},"
    "{\"kind\":\"linear\",\"out\":13},"
    "{\"kind\":\"linear\",\"out\":10,\"activation\":\"none\"}]}",

    /* Matrix capsules: windows that overlap, that leave an edge out, and a single child; both
     * gradients; a decoder of poses. */
    "{\"input\":[2,12,11],\"classes\":3,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":5,\"kernel\":3,\"stride\":2},"
    "{\"kind\":\"matrix_primary\",\"types\":2},"
    "{\"kind\":\"matrix_conv\",\"types\":3,\"kernel\":3,\"stride\":1,"
    "\"routing\":{\"kind\":\"em\",\"iterations\":2,\"variance_floor\":0.05}},"
    "{\"kind\":\"matrix_conv\",\"types\":4,\"kernel\":2,\"stride\":2,"
    "\"routing\":{\"kind\":\"em\",\"iterations\":1,\"lambda\":0.3,\"variance_floor\":0.05}},"
    "{\"kind\":\"matrix_caps\",\"capsules\":3,"
    "\"routing\":{\"kind\":\"em\",\"lambda\":0.5,\"cost_scale\":0.2,\"variance_floor\":0.05}}],"
    "\"decoder\":{\"hidden\":[7]}}",

    /* Straight from the images, a layer of matrix_caps below the classes, no coordinates. */
    "{\"input\":[3,4,5],\"classes\":4,\"layers\":["
    "{\"kind\":\"matrix_primary\",\"types\":3},"
    "{\"kind\":\"matrix_caps\",\"name\":\"low\",\"capsules\":5,"
    "\"routing\":{\"kind\":\"em\",\"iterations\":2,\"lambda\":0.2,\"variance_floor\":0.05}},"
    "{\"kind\":\"matrix_caps\",\"capsules\":4,\"coordinates\":false,"
    "\"routing\":{\"kind\":\"em\",\"lambda\":0.5,\"variance_floor\":0.05}}]}",
    /* Normalised, pooled in windows that overlap, depthwise, attention. */
    "{\"input\":[2,12,11],\"classes\":4,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":5,\"kernel\":3,\"norm\":\"batch\"},"
    "{\"kind\":\"max_pool\",\"kernel\":3,\"stride\":2},"
    "{\"kind\":\"conv\",\"channels\":6,\"kernel\":3,\"padding\":1,\"activation\":\"none\","
    "\"norm\":\"batch\"},"
    "{\"kind\":\"primary_caps\",\"dim\":3,\"kernel\":2,\"stride\":1,\"depthwise\":true,"
    "\"squash\":\"exp\"},"
    "{\"kind\":\"caps\",\"capsules\":4,\"dim\":5,\"squash\":\"exp\","
    "\"routing\":{\"kind\":\"attention\"}}],\"decoder\":{\"hidden\":[9]}}",

    /* Pooled first; attention under dynamic routing. */
    "{\"input\":[3,10,9],\"classes\":3,\"layers\":["
    "{\"kind\":\"max_pool\",\"kernel\":2},"
    "{\"kind\":\"primary_caps\",\"types\":2,\"dim\":4,\"kernel\":2,\"stride\":2},"
    "{\"kind\":\"caps\",\"capsules\":7,\"dim\":3,\"routing\":{\"kind\":\"attention\"}},"
    "{\"kind\":\"caps\",\"capsules\":3,\"dim\":6,"
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":2}}],\"decoder\":null}",

    /* Max-min above and below. */
    "{\"input\":[2,9,10],\"classes\":4,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":5,\"kernel\":3,\"stride\":2},"
    "{\"kind\":\"primary_caps\",\"types\":3,\"dim\":4,\"kernel\":2,\"stride\":1},"
    "{\"kind\":\"caps\",\"capsules\":6,\"dim\":5,"
    "\"routing\":{\"kind\":\"max_min\",\"iterations\":2}},"
    "{\"kind\":\"caps\",\"capsules\":4,\"dim\":7,\"bias\":true,"
    "\"routing\":{\"kind\":\"max_min\",\"iterations\":3}}],\"decoder\":{\"hidden\":[9]}}",

    /* Self-routing above and below. */
    "{\"input\":[1,10,9],\"classes\":5,\"layers\":["
    "{\"kind\":\"conv\",\"channels\":4,\"kernel\":3,\"stride\":2},"
    "{\"kind\":\"primary_caps\",\"types\":3,\"dim\":4,\"kernel\":2,\"stride\":1},"
    "{\"kind\":\"caps\",\"capsules\":7,\"dim\":3,\"routing\":{\"kind\":\"self\"}},"
    "{\"kind\":\"caps\",\"capsules\":5,\"dim\":6,\"routing\":{\"kind\":\"self\"}}],"
    "\"decoder\":{\"hidden\":[9]}}",
};
enum { LISTS = sizeof lists / sizeof *lists };

static float images[BATCH * MOST_PIXELS];
static int32_t labels[BATCH];

/* The mean over the batch of what is minimised. The draws of dropout are those of one step. */
static double loss_of(caps_model *m)
{
    caps_error err = {0};
    const caps_loss *loss = caps_model_get_loss(m);
    test_ok(caps_model_set_batch(m, &(caps_images){BATCH, images, labels, NULL}, &err));
    caps_model_set_step(m, 7, 1);
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    const bool decodes = caps_model_output(m, "sse").buffer != NULL;
    double *class_loss = output_of(m, "class_loss"), total = 0;
    double *sse = decodes ? output_of(m, "sse") : NULL;
    for (size_t i = 0; i < BATCH; i++)
        total += class_loss[i] + (decodes ? loss->reconstruction_weight * sse[i] : 0);
    free(class_loss);
    free(sse);
    return total / BATCH;
}

/* values[0..n) moves by h along a unit direction: half the gradient's own, which alone would not
 * see what is missing across it, and half a random one. The loss must move as the gradient says. */
static void check_slope(caps_model *m, const char *what, const float *flat, float *values, size_t n,
    const float *gradient, uint64_t seed)
{
    caps_error err = {0};
    double length = 0, random_length = 0, slope = 0, loss[2];
    double *direction = test_random(n, seed, -1, 1);
    float *kept = malloc(n * sizeof *kept);
    memcpy(kept, values, n * sizeof *kept);
    for (size_t i = 0; i < n; i++) {
        length += (double)gradient[i] * (double)gradient[i];
        random_length += direction[i] * direction[i];
    }
    ck_assert_msg(length > 1e-12, "%s: no gradient", what);
    for (size_t i = 0; i < n; i++) {
        direction[i] =
            0.5 * direction[i] / sqrt(random_length) + 0.5 * (double)gradient[i] / sqrt(length);
        slope += direction[i] * (double)gradient[i];
    }
    /* A gentle slope may be lost in rounding by a short step, or bend within a long one: one of them
     * has to agree. */
    const size_t steps = length < GENTLE * GENTLE ? 2 : 1;
    double measured = 0;
    bool agrees = false;
    for (size_t s = 0; s < steps && !agrees; s++) {
        const double h = s ? 1.6e-2 : 2e-3;
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < n; i++)
                values[i] = (float)((double)kept[i] + (side ? h : -h) * direction[i]);
            test_ok(caps_model_set_parameters(m, flat, &err));
            loss[side] = loss_of(m);
        }
        measured = (loss[1] - loss[0]) / (2 * h);
        agrees = fabs(measured - slope) <= TOLERANCE * sqrt(length) + 2e-4;
    }
    memcpy(values, kept, n * sizeof *kept);
    test_ok(caps_model_set_parameters(m, flat, &err));
    ck_assert_msg(
        agrees, "%s: the loss moves by %.6g, its gradient says %.6g", what, measured, slope);
    free(direction);
    free(kept);
}

/* by_batch: normalisation by the batch's statistics, with no gradient of the images. */
static void check_list(caps_runtime *rt, size_t l, bool by_batch)
{
    caps_error err = {0};
    caps_model *m;
    OWNED_SPEC(spec) = spec_of(lists[l]);
    caps_model_options options = train8;
    options.input_gradient = !by_batch;
    options.reconstruct = true;
    options.max_batch = BATCH;
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 11 + l, &err));
    const caps_model_info *info = caps_model_get_info(m);
    const size_t pixels = info->pixels;
    double *random = test_random(BATCH * pixels, 29 + l, 0, 1);
    for (size_t i = 0; i < BATCH * pixels; i++)
        images[i] = (float)random[i];
    for (size_t i = 0; i < BATCH; i++)
        labels[i] = (int32_t)((2 * i + l) % info->classes);
    free(random);

    /* Larger than the first values of a training, so that capsules of a deep network are long
         * enough for a slope that float arithmetic can see. */
    float *flat = malloc(caps_model_flat_count(m) * sizeof *flat);
    test_ok(caps_model_get_parameters(m, flat, &err));
    for (size_t i = 0; i < caps_model_flat_count(m); i++)
        flat[i] *= 2;
    draw_matrices(m, flat, 1.7);
    test_ok(caps_model_set_parameters(m, flat, &err));
    loss_of(m);
    test_ok(caps_model_backward(m, &err));
    float *gradient = gradients(m);
    const caps_tensor t = caps_model_input_gradient(m);
    double *wide = by_batch ? test_zeros(1) : test_download(&t);
    float *dx = malloc(BATCH * pixels * sizeof *dx);
    for (size_t i = 0; !by_batch && i < BATCH * pixels; i++)
        dx[i] = (float)wide[i];
    free(wide);
    /* Backward has moved the running statistics. */
    test_ok(caps_model_set_parameters(m, flat, &err));

    for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        char what[96];
        snprintf(what, sizeof what, "network %zu: %s", l, p->name);
        /* The batch's own statistics take the bias away again. */
        if (!p->gradient.buffer || (by_batch && strcmp(p->name, "conv2.bias") == 0))
            continue;
        check_slope(m, what, flat, flat + p->first, p->count, gradient + p->first, i);
    }
    char what[96];
    snprintf(what, sizeof what, "network %zu: images", l);
    if (!by_batch)
        check_slope(m, what, flat, images, BATCH * pixels, dx, 99);
    free(flat);
    free(dx);
    free(gradient);
    caps_model_free(m);
}

START_TEST(gradients_are_the_slopes_of_the_loss)
{
    for (size_t l = 0; l < LISTS; l++)
        check_list(families[_i], l, false);
}
END_TEST

START_TEST(gradients_go_through_the_statistics_of_a_batch)
{
    check_list(families[_i], NORMED, true);
}
END_TEST

/* A list that is written and read back is the same network. */
START_TEST(matrices_begin_near_the_identity)
{
    caps_error err = {0};
    size_t seen = 0;
    for (size_t l = 0; l < LISTS; l++) {
        caps_model *m;
        OWNED_SPEC(spec) = spec_of(lists[l]);
        caps_model_options options = train8;
        options.max_batch = BATCH;
        test_ok(caps_model_create(&m, families[_i], spec, &options, &err));
        for (int authors = 0; authors < 2; authors++) {
            test_ok(caps_model_initialise(
                m, authors ? CAPS_INITIALISER_AUTHORS : CAPS_INITIALISER_SCALED, 5, &err));
            float *flat = malloc(caps_model_flat_count(m) * sizeof *flat);
            test_ok(caps_model_get_parameters(m, flat, &err));
            for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
                const caps_parameter *p = caps_model_parameter(m, i);
                double square = 0;
                for (size_t e = 0; is_of_poses(m, i) && e < p->count; e++) {
                    const double off =
                        (double)flat[p->first + e] - (e / 4 % 4 == e % 4 ? 1.0 : 0.0);
                    ck_assert_double_lt(fabs(off), 0.06);
                    square += off * off;
                }
                if (is_of_poses(m, i)) {
                    /* Cut at two standard deviations a normal distribution is narrower. */
                    const double sigma = sqrt(square / (double)p->count);
                    const double want = authors ? 0.0088 : 0.01;
                    ck_assert_double_le(fabs(sigma - want), 5 * want / sqrt(2 * (double)p->count));
                    seen++;
                }
            }
            free(flat);
        }
        caps_model_free(m);
    }
    ck_assert_uint_ge(seen, 10);
}
END_TEST

START_TEST(lists_go_through_text)
{
    for (size_t l = 0; l < LISTS; l++) {
        OWNED_SPEC(spec) = spec_of(lists[l]);
        char *text = caps_model_spec_format(spec);
        OWNED_SPEC(read) = spec_of(text);
        char *again = caps_model_spec_format(read);
        ck_assert_str_eq(text, again);
        ck_assert(caps_model_spec_equal(spec, read));
        free(text);
        free(again);
    }
}
END_TEST

static void expect_layer(const caps_model_spec *spec, size_t i, const char *kind, int ndim,
    const size_t *shape, size_t field, size_t step, ptrdiff_t begin)
{
    caps_layer_info layer;
    ck_assert(caps_model_spec_layer(spec, i, &layer));
    ck_assert_str_eq(layer.kind, kind);
    ck_assert_msg(
        layer.ndim == ndim && layer.field == field && layer.step == step && layer.begin == begin,
        "layer %zu: %d, %zu, %zu, %td", i, layer.ndim, layer.field, layer.step, layer.begin);
    for (int d = 0; d < ndim; d++)
        ck_assert_uint_eq(layer.shape[d], shape[d]);
    ck_assert(layer.name[0] && layer.text[0]);
}

/* Shapes, routing, and what a place sees of the image, through padding, pooling and strides. */
START_TEST(layers_say_what_they_are)
{
    OWNED_SPEC(spec) =
        spec_of("{\"input\":[3,20,24],\"classes\":4,\"layers\":["
                "{\"kind\":\"conv\",\"channels\":5,\"kernel\":5,\"padding\":2},"
                "{\"kind\":\"max_pool\",\"kernel\":2},"
                "{\"kind\":\"dropout\",\"rate\":0.5},"
                "{\"kind\":\"conv\",\"channels\":6,\"kernel\":3,\"stride\":2},"
                "{\"kind\":\"primary_caps\",\"types\":2,\"dim\":4,\"kernel\":2,\"stride\":1},"
                "{\"kind\":\"caps\",\"capsules\":7,\"dim\":3,\"routing\":{\"kind\":\"self\"}},"
                "{\"kind\":\"caps\",\"capsules\":4,\"dim\":6,"
                "\"routing\":{\"kind\":\"max_min\",\"iterations\":2}}]}");
    caps_layer_info layer;
    expect_layer(spec, 0, "conv", 3, (size_t[]){5, 20, 24}, 5, 1, -2);
    expect_layer(spec, 1, "max_pool", 3, (size_t[]){5, 10, 12}, 6, 2, -2);
    expect_layer(spec, 2, "dropout", 3, (size_t[]){5, 10, 12}, 6, 2, -2);
    expect_layer(spec, 3, "conv", 3, (size_t[]){6, 4, 5}, 10, 4, -2);
    expect_layer(spec, 4, "primary_caps", 2, (size_t[]){24, 4}, 14, 4, -2);
    expect_layer(spec, 5, "caps", 2, (size_t[]){7, 3}, 0, 0, 0);
    expect_layer(spec, 6, "caps", 2, (size_t[]){4, 6}, 0, 0, 0);
    expect_layer(spec, 7, "decoder", 0, NULL, 0, 0, 0);
    ck_assert(!caps_model_spec_layer(spec, 8, &layer));
    ck_assert(caps_model_spec_layer(spec, 4, &layer) && !layer.routing);
    ck_assert(layer.grid[0] == 2 && layer.grid[1] == 3 && layer.grid[2] == 4);
    ck_assert(caps_model_spec_layer(spec, 5, &layer) && layer.iterations == 1);
    ck_assert_str_eq(layer.routing, "self");
    ck_assert(caps_model_spec_layer(spec, 6, &layer) && layer.iterations == 2);
    ck_assert_str_eq(layer.routing, "max_min");
    /* Of every built-in network the class capsules' routing is that of its info. */
    for (size_t b = 0; caps_model_spec_builtin(b); b++) {
        caps_error err = {0};
        caps_model_spec *builtin = NULL;
        size_t iterations = 0;
        test_ok(caps_model_spec_load(&builtin, caps_model_spec_builtin(b), &err));
        for (size_t i = 0; caps_model_spec_layer(builtin, i, &layer); i++)
            iterations = layer.routing ? layer.iterations : iterations;
        ck_assert_uint_eq(iterations, caps_model_spec_info(builtin)->iterations);
        caps_model_spec_free(builtin);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("lists");
    TCase *tc = families_case(s, "lists");
    families_add(tc, gradients_are_the_slopes_of_the_loss);
    families_add(tc, gradients_go_through_the_statistics_of_a_batch);
    families_add(tc, matrices_begin_near_the_identity);
    tcase_add_test(tc, lists_go_through_text);
    tcase_add_test(tc, layers_say_what_they_are);
    return s;
}
