/* test_predict.c: predictions in batches against single forwards and references in double; the
 * decoder. */
#include <math.h>
#include <stdio.h>

#include <capscl/inspect.h>

#include "model_support.h"
#include "ref.h"

/* Of SPEC. BATCH does not divide N. */
enum { N = 11, BATCH = 4, I = 18, K = 4, D = 7, R = 3, ROW = CLASSES * D };

static const char *const CNN =
    "{\"kind\":\"cnn\",\"input\":[2,11,9],\"classes\":5,\"conv\":[{\"channels\":4,\"kernel\":3,"
    "\"stride\":2,\"padding\":1}],\"hidden\":[6],\"dropout\":0.5}";
static const char *const PAIRS =
    "{\"input\":[1,13,12],\"classes\":4,\"labels\":2,\"conv1\":{\"channels\":5,\"kernel\":3,"
    "\"stride\":2},\"primary\":{\"types\":2,\"dim\":4,\"kernel\":3,\"stride\":2},"
    "\"class_caps\":{\"dim\":6,\"iterations\":2},\"decoder\":{\"hidden\":[9]}}";

enum {
    ALL = CAPS_PREDICT_CAPSULES | CAPS_PREDICT_RECONSTRUCTION | CAPS_PREDICT_COUPLINGS |
          CAPS_PREDICT_INPUT_LENGTHS | CAPS_PREDICT_ITERATIONS
};

static caps_model *make_of(caps_runtime *rt, const char *json, size_t batch, bool reconstruct)
{
    caps_error err = {0};
    caps_model *m = NULL;
    OWNED_SPEC(spec) = spec_of(json);
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = batch, .reconstruct = reconstruct};
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    return m;
}

/* |a - b| of n values stays below the tolerance. */
static void expect_near(
    const float *have, const double *need, size_t n, double tolerance, const char *what)
{
    size_t i = 0;
    while (i < n && fabs((double)have[i] - need[i]) < tolerance)
        i++;
    ck_assert_msg(i == n, "%s: element %zu is %.9g, not %.9g", what, i, i < n ? (double)have[i] : 0,
        i < n ? need[i] : 0);
}

static void expect_same_output(const caps_model *m, const char *name, const float *have, size_t n)
{
    double *need = output_of(m, name);
    expect_near(have, need, n, 1e-5, name);
    free(need);
}

static void expect_refused(caps_status status, const caps_error *err, const char *message)
{
    ck_assert_int_eq(status, CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err->message, message);
}

/* The class capsules' weights and bias in double. */
static void read_weights(caps_model *m, double *w, double *bias)
{
    caps_error err = {0};
    float *flat = calloc(caps_model_flat_count(m), sizeof *flat);
    test_ok(caps_model_get_parameters(m, flat, &err));
    for (size_t p = 0; p < caps_model_parameter_count(m); p++) {
        const caps_parameter *of = caps_model_parameter(m, p);
        double *to = strcmp(of->name, "class_caps.weight") == 0 ? w
                     : strcmp(of->name, "class_caps.bias") == 0 ? bias
                                                                : NULL;
        for (size_t e = 0; to && e < of->count; e++)
            to[e] = (double)flat[of->first + e];
    }
    free(flat);
}

/* Image i alone: every result is that of the batches; couplings and lengths as in double. */
static void check_image(caps_model *m, const float *images, const caps_predictions *p, size_t i,
    const double *w, const double *bias)
{
    static double votes[I * CLASSES * D], couplings[R * I * CLASSES], capsules[ROW];
    static double s[R * ROW], v[R * ROW], lengths[I];
    caps_error err = {0};
    int32_t best;
    const caps_images one = {1, images + i * PIXELS, NULL, NULL};
    test_ok(caps_model_set_batch(m, &one, &err));
    test_ok(caps_model_forward(m, CAPS_MASK_LONGEST, &err));
    test_ok(download_output(m, "best", &best, &err));
    ck_assert_int_eq(p->labels[i], best);
    expect_same_output(m, "lengths", p->lengths + i * CLASSES, CLASSES);
    expect_same_output(m, "capsules", p->capsules + i * ROW, ROW);
    expect_same_output(m, "reconstruction", p->reconstruction + i * PIXELS, PIXELS);
    expect_same_output(
        m, "couplings.iterations", p->couplings + i * R * I * CLASSES, R * I * CLASSES);
    double *u = output_of(m, "inputs");
    for (size_t c = 0; c < I; c++) {
        double sum = 0;
        for (size_t k = 0; k < K; k++)
            sum += u[c * K + k] * u[c * K + k];
        lengths[c] = sqrt(sum);
    }
    expect_near(p->input_lengths + i * I, lengths, I, 1e-6, "lengths of the inputs");
    caps_ref_votes_forward(votes, u, w, 1, I, CLASSES, D, K);
    caps_ref_routing_forward(
        capsules, couplings, s, v, votes, bias, false, false, 1, I, CLASSES, D, R);
    expect_near(p->couplings + i * R * I * CLASSES, couplings, R * I * CLASSES, 1e-5,
        "couplings in double");
    for (size_t row = 0; row < R * CLASSES; row++) {
        double sum = 0;
        for (size_t d = 0; d < D; d++)
            sum += v[row * D + d] * v[row * D + d];
        ck_assert_double_eq_tol(
            (double)p->iteration_lengths[i * R * CLASSES + row], sqrt(sum), 1e-5);
    }
    free(u);
}

START_TEST(batches_equal_single_images)
{
    static double w[I * CLASSES * D * K], bias[ROW];
    caps_error err = {0};
    caps_model *m = make_of(families[_i], SPEC, BATCH, true);
    float *images = floats(N * PIXELS, 5, 0, 1);
    caps_predictions p;
    test_ok(caps_predict(m, images, N, ALL, NULL, &p, &err));
    ck_assert_uint_eq(p.n, N);
    ck_assert_uint_eq(p.labels_per_image, 1);
    ck_assert_uint_eq(p.classes, CLASSES);
    ck_assert_uint_eq(p.dim, D);
    ck_assert_uint_eq(p.inputs, I);
    ck_assert_uint_eq(p.iterations, R);
    ck_assert_uint_eq(p.pixels, PIXELS);
    read_weights(m, w, bias);
    const size_t step = test_small() ? 5 : 1; /* of each batch one, at least */
    for (size_t i = 0; i < N; i += step)
        check_image(m, images, &p, i, w, bias);
    caps_predictions_release(&p);
    free(images);
    caps_model_free(m);
}
END_TEST

/* What was not requested, and what there is not, is NULL. */
START_TEST(missing_results_are_null)
{
    caps_error err = {0};
    float *images = floats(3 * PIXELS, 5, 0, 1);
    caps_predictions p;
    caps_model *m = make_of(families[_i], SPEC, BATCH, true);
    test_ok(caps_predict(m, images, 3, 0, NULL, &p, &err));
    ck_assert(p.labels && p.lengths);
    ck_assert(!p.capsules && !p.reconstruction && !p.couplings && !p.input_lengths);
    ck_assert_ptr_null(p.iteration_lengths);
    caps_predictions_release(&p);
    test_ok(caps_predict(m, images, 0, ALL, NULL, &p, &err));
    ck_assert_uint_eq(p.n, 0);
    caps_predictions_release(&p);
    caps_model_free(m);

    m = make_of(families[_i], SPEC, BATCH, false); /* without its decoder */
    test_ok(caps_predict(m, images, 3, ALL, NULL, &p, &err));
    ck_assert(p.capsules && p.couplings && p.input_lengths && !p.reconstruction);
    caps_predictions_release(&p);
    expect_refused(caps_decode(m, images, NULL, 1, images, NULL, &err), &err,
        "model: decode, but it was made without its decoder");
    caps_model_free(m);

    m = make_of(families[_i], CNN, 2, true);
    test_ok(caps_predict(m, images, 3, ALL, NULL, &p, &err));
    ck_assert(!p.capsules && !p.reconstruction && !p.couplings && !p.input_lengths);
    ck_assert_ptr_null(p.iteration_lengths);
    ck_assert_uint_eq(p.dim, 0);
    for (size_t i = 0; i < 3; i++) {
        double sum = 0;
        for (size_t j = 0; j < CLASSES; j++) {
            sum += (double)p.lengths[i * CLASSES + j];
            ck_assert(p.lengths[i * CLASSES + j] <= p.lengths[i * CLASSES + (size_t)p.labels[i]]);
        }
        ck_assert_double_eq_tol(sum, 1, 1e-5); /* probabilities */
    }
    caps_predictions_release(&p);
    caps_model_free(m);
    free(images);
}
END_TEST

typedef struct calls {
    size_t count, last, total;
    size_t stop_at; /* the call that is answered with "stop" */
} calls;

static bool count_call(void *user, size_t done, size_t total)
{
    calls *c = user;
    c->last = done;
    c->total = total;
    return ++c->count == c->stop_at;
}

START_TEST(progress_and_stop)
{
    caps_error err = {0};
    caps_model *m = make_of(families[_i], SPEC, BATCH, true);
    float *images = floats(N * PIXELS, 5, 0, 1), *out = calloc(N * PIXELS, sizeof *out);
    float *capsules = floats(N * ROW, 6, -1, 1);
    caps_predictions p;
    calls c = {0};
    const caps_inspect_progress progress = {count_call, &c};
    test_ok(caps_predict(m, images, N, 0, &progress, &p, &err));
    ck_assert_uint_eq(c.count, 3);
    ck_assert_uint_eq(c.last, 8);
    ck_assert_uint_eq(c.total, N);
    caps_predictions_release(&p);

    c = (calls){.stop_at = 2};
    ck_assert_int_eq(caps_predict(m, images, N, ALL, &progress, &p, &err), CAPS_ERR_INTERRUPTED);
    ck_assert_str_eq(err.message, "predict: stopped after 4 of 11 images");
    ck_assert(!p.labels && !p.capsules);
    c = (calls){.stop_at = 1};
    ck_assert_int_eq(caps_decode(m, capsules, NULL, N, out, &progress, &err), CAPS_ERR_INTERRUPTED);
    ck_assert_str_eq(err.message, "decode: stopped after 0 of 11 images");
    free(capsules);
    free(images);
    free(out);
    caps_model_free(m);
}
END_TEST

/* The decoder on the predicted class's capsule gives the prediction's reconstruction, whether the
 * others are set to zero by the call or by the caller. */
START_TEST(decoded_capsules)
{
    caps_error err = {0};
    caps_model *m = make_of(families[_i], SPEC, BATCH, true);
    float *images = floats(N * PIXELS, 5, 0, 1), *out = calloc(N * PIXELS, sizeof *out);
    float *masked = calloc(N * ROW, sizeof *masked);
    double *need = calloc(N * PIXELS, sizeof *need);
    caps_predictions p;
    test_ok(caps_predict(m, images, N, ALL, NULL, &p, &err));
    for (size_t i = 0; i < N * PIXELS; i++)
        need[i] = (double)p.reconstruction[i];
    for (size_t i = 0; i < N; i++) {
        const size_t at = i * ROW + (size_t)p.labels[i] * D;
        memcpy(masked + at, p.capsules + at, D * sizeof *masked);
    }
    test_ok(caps_decode(m, p.capsules, p.labels, N, out, NULL, &err));
    expect_near(out, need, N * PIXELS, 1e-6, "masked by the call");
    memset(out, 0, N * PIXELS * sizeof *out);
    test_ok(caps_decode(m, masked, NULL, N, out, NULL, &err));
    expect_near(out, need, N * PIXELS, 1e-6, "masked by the caller");
    test_ok(caps_decode(m, p.capsules, NULL, N, out, NULL, &err)); /* all of them: another image */
    double most = 0;
    for (size_t i = 0; i < N * PIXELS; i++)
        most = fmax(most, fabs((double)out[i] - need[i]));
    ck_assert_double_gt(most, 1e-4);

    int32_t classes[] = {0, CLASSES};
    expect_refused(caps_decode(m, p.capsules, classes, 2, out, NULL, &err), &err,
        "decode: class 5, need 0 to 4");
    classes[0] = -1;
    expect_refused(caps_decode(m, p.capsules, classes, 1, out, NULL, &err), &err,
        "decode: class -1, need 0 to 4");
    caps_predictions_release(&p);
    free(images);
    free(out);
    free(masked);
    free(need);
    caps_model_free(m);
}
END_TEST

/* Of two labels an image has two reconstructions, each of its label's capsule. */
START_TEST(several_labels)
{
    enum { COUNT = 5, SIZE = 13 * 12 };
    caps_error err = {0};
    caps_model *m = make_of(families[_i], PAIRS, 2, true);
    float *images = floats(COUNT * SIZE, 5, 0, 1), *out = calloc(COUNT * SIZE, sizeof *out);
    caps_predictions p;
    test_ok(caps_predict(m, images, COUNT, ALL, NULL, &p, &err));
    ck_assert_uint_eq(p.labels_per_image, 2);
    for (size_t t = 0; t < 2; t++) {
        int32_t classes[COUNT];
        for (size_t i = 0; i < COUNT; i++)
            classes[i] = p.labels[2 * i + t];
        test_ok(caps_decode(m, p.capsules, classes, COUNT, out, NULL, &err));
        for (size_t i = 0; i < COUNT; i++)
            for (size_t e = 0; e < SIZE; e++)
                ck_assert_double_eq_tol((double)out[i * SIZE + e],
                    (double)p.reconstruction[(2 * i + t) * SIZE + e], 1e-6);
    }
    for (size_t i = 0; i < COUNT; i++) { /* the two longest, the longer first */
        const float *lengths = p.lengths + i * 4;
        const int32_t *labels = p.labels + 2 * i;
        ck_assert_int_ne(labels[0], labels[1]);
        ck_assert(lengths[labels[0]] >= lengths[labels[1]]);
        for (int32_t j = 0; j < 4; j++)
            ck_assert(j == labels[0] || lengths[j] <= lengths[labels[1]]);
    }
    caps_predictions_release(&p);
    free(images);
    free(out);
    caps_model_free(m);
}
END_TEST

/* A smaller batch where memory is short; none where not even one image fits. */
START_TEST(models_that_fit)
{
    caps_error err = {0};
    caps_model *m = NULL;
    caps_model_memory memory;
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 64};
    test_ok(caps_model_create_fitting(&m, families[_i], spec, &options, &err));
    ck_assert_uint_eq(caps_model_get_max_batch(m), 64);
    caps_model_free(m);
    options.max_batch = 16;
    test_ok(caps_model_forecast(families[_i], spec, &options, &memory, &err));
    options.memory_limit_bytes = memory.total;
    options.max_batch = 64;
    test_ok(caps_model_create_fitting(&m, families[_i], spec, &options, &err));
    ck_assert_uint_eq(caps_model_get_max_batch(m), 16);
    caps_model_free(m);
    options.memory_limit_bytes = 1;
    ck_assert_int_eq(
        caps_model_create_fitting(&m, families[_i], spec, &options, &err), CAPS_ERR_DEVICE_MEMORY);
    options.size = 0;
    ck_assert_int_eq(
        caps_model_create_fitting(&m, families[_i], spec, &options, &err), CAPS_ERR_ARGUMENT);
}
END_TEST

/* A checkpoint as a model: the same predictions, with the loss that it was trained with. */
START_TEST(opened_checkpoints)
{
    caps_error err = {0};
    caps_model *m = make_of(families[_i], SPEC, BATCH, true), *opened = NULL;
    char *directory = test_directory();
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    test_ok(caps_model_save(m, path, &err));
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = 3, .reconstruct = true};
    test_ok(caps_model_open(&opened, families[_i], path, &options,
        &(caps_open_options){CAPS_OPTIONS(caps_open_options), .fitting = true}, &err));
    float *images = floats(N * PIXELS, 5, 0, 1);
    caps_predictions a, b;
    test_ok(caps_predict(m, images, N, ALL, NULL, &a, &err));
    test_ok(caps_predict(opened, images, N, ALL, NULL, &b, &err));
    ck_assert_mem_eq(a.labels, b.labels, N * sizeof *a.labels);
    for (size_t i = 0; i < N * ROW; i++)
        ck_assert_double_eq_tol((double)a.capsules[i], (double)b.capsules[i], 1e-6);
    caps_predictions_release(&a);
    caps_predictions_release(&b);
    caps_model_free(opened);
    ck_assert_int_eq(
        caps_model_open(&opened, families[_i], directory, &options,
            &(caps_open_options){CAPS_OPTIONS(caps_open_options), .fitting = true}, &err),
        CAPS_ERR_FORMAT);
    ck_assert_ptr_null(opened);
    free(images);
    free(directory);
    caps_model_free(m);
}
END_TEST

/* Of matrix capsules, and of routing that has one iteration. Images do not fill the vectors of
 * sixteen that the CPU computes with. */
START_TEST(lengths_of_every_iteration)
{
    enum { IMAGES = 37, MOST = 18, J = 4 };
    static const struct {
        const char *routing;
        size_t iterations;
    } rows[] = {{"{\"kind\":\"matrix_primary\",\"types\":2},{\"kind\":\"matrix_caps\","
                 "\"capsules\":4,\"routing\":{\"kind\":\"em\",\"lambda\":0.5}}",
                    3},
        {"{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
         "{\"kind\":\"caps\",\"capsules\":4,\"dim\":5,\"routing\":{\"kind\":\"attention\"}}",
            1}};
    caps_error err = {0};
    char json[512];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        snprintf(json, sizeof json, "{\"input\":[1,7,8],\"classes\":4,\"layers\":[%s]}",
            rows[r].routing);
        caps_model *m = make_of(families[_i], json, MOST, false);
        float *flat = parameters_of(m);
        draw_matrices(m, flat, 1);
        test_ok(caps_model_set_parameters(m, flat, &err));
        free(flat);
        float *images = floats(IMAGES * 56, 5, 0, 1);
        caps_predictions p;
        test_ok(caps_predict(m, images, IMAGES, CAPS_PREDICT_ITERATIONS, NULL, &p, &err));
        ck_assert_uint_eq(p.iterations, rows[r].iterations);
        bool moved = false;
        for (size_t i = 0; i < IMAGES * J; i++) {
            const float *of_image = p.iteration_lengths + i / J * p.iterations * J;
            const double first = (double)of_image[i % J];
            const double last = (double)of_image[(p.iterations - 1) * J + i % J];
            ck_assert_double_eq_tol(last, (double)p.lengths[i], 1e-6);
            moved = moved || fabs(first - last) > 1e-4;
        }
        ck_assert(moved == (p.iterations > 1));
        caps_predictions_release(&p);
        free(images);
        caps_model_free(m);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("predict");
    TCase *tc = families_case(s, "predict");
    families_add(tc, batches_equal_single_images);
    families_add(tc, missing_results_are_null);
    families_add(tc, lengths_of_every_iteration);
    families_add(tc, progress_and_stop);
    families_add(tc, decoded_capsules);
    families_add(tc, several_labels);
    families_add(tc, models_that_fit);
    families_add(tc, opened_checkpoints);
    return s;
}
