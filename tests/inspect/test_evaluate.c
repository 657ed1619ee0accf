/* test_evaluate.c: evaluations with callbacks, on changed images, and what a data set must be for a
 * network. tests/train/test_train.c has evaluations of what was trained. */
#include <math.h>
#include <stdio.h>

#include <capscl/inspect.h>

#include "../cli/cli_support.h"
#include "model_support.h"

/* Of SPEC. BATCH does not divide IMAGES. */
enum { IMAGES = 23, BATCH = 5 };

static const char *const CNN =
    "{\"kind\":\"cnn\",\"input\":[2,11,9],\"classes\":5,\"conv\":[{\"channels\":4,\"kernel\":3,"
    "\"stride\":2,\"padding\":1}],\"hidden\":[6],\"dropout\":0.5}";

/* A data set in memory, of noise. */
typedef struct data {
    caps_dataset set;
    uint8_t images[IMAGES * PIXELS], labels[IMAGES];
    char path[8];
} data;

static void make_data(data *d)
{
    uint32_t noise = 1;
    *d = (data){.path = "noise"};
    for (size_t i = 0; i < IMAGES * PIXELS; i++) {
        noise = noise * 1664525u + 1013904223u;
        d->images[i] = (uint8_t)(noise >> 24);
    }
    for (size_t i = 0; i < IMAGES; i++)
        d->labels[i] = (uint8_t)(i * 3 % CLASSES);
    d->set = (caps_dataset){.path = d->path,
        .split = CAPS_SPLIT_TEST,
        .n = IMAGES,
        .channels = 2,
        .height = 11,
        .width = 9,
        .classes = CLASSES,
        .labels_per_image = 1,
        .images = d->images,
        .labels = d->labels};
}

static caps_model *make_of(caps_runtime *rt, const char *json, size_t batch, uint64_t seed)
{
    caps_error err = {0};
    caps_model *m = NULL;
    OWNED_SPEC(spec) = spec_of(json);
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = batch, .reconstruct = true};
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, seed, &err));
    return m;
}

/* What an evaluation called. */
typedef struct watch {
    caps_image_results results;
    double sse;
    size_t images, changed, fail_at, batches, stop_at;
} watch;

static void on_image(void *user, const caps_evaluated *image)
{
    watch *w = user;
    ck_assert_uint_eq(image->index, w->images++);
    ck_assert(image->right == (*image->label == *image->true_label));
    caps_image_results_set(&w->results, image);
    w->sse += image->sse;
}

static void keep_image(void *user, const caps_evaluated *image)
{
    caps_image_results_set(user, image);
}

/* Dark becomes light. */
static caps_status invert(
    void *user, const caps_images *batch, size_t first, float *changed, caps_error *err)
{
    watch *w = user;
    ck_assert_uint_eq(first, w->changed);
    w->changed += batch->b;
    for (size_t i = 0; i < batch->b * PIXELS; i++)
        changed[i] = 1 - batch->images[i];
    if (w->fail_at && w->changed >= w->fail_at) {
        snprintf(err->message, sizeof err->message, "no more");
        return CAPS_ERR_IO;
    }
    return CAPS_OK;
}

static bool on_batch(void *user, size_t done, size_t total)
{
    watch *w = user;
    ck_assert_uint_eq(total, IMAGES);
    ck_assert_uint_eq(done, w->images); /* what was counted before this batch */
    return ++w->batches == w->stop_at;
}

static caps_evaluate_options options_of(watch *w, bool change)
{
    return (caps_evaluate_options){CAPS_OPTIONS(caps_evaluate_options), .each = on_image,
        .each_user = w, .change = change ? invert : NULL, .change_user = w,
        .progress = {on_batch, w}};
}

/* Every image's result is that of a prediction; sums and confusion are those of the images; batches
 * of another size give the same. */
static void check_network(caps_runtime *rt, const char *json)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    float *images = calloc(IMAGES * PIXELS, sizeof *images);
    for (size_t i = 0; i < IMAGES; i++)
        caps_dataset_image(&d.set, i, CAPS_AUGMENT_NONE, 0, 0, images + i * PIXELS);
    double loss[2], sse[2];
    for (int k = 0; k < 2; k++) {
        caps_model *m = make_of(rt, json, k ? IMAGES : BATCH, 3);
        const bool decoder = caps_model_get_info(m)->has_decoder;
        caps_evaluation e;
        caps_predictions p;
        watch w = {0};
        test_ok(caps_image_results_init(&w.results, IMAGES, caps_model_get_spec(m), &err));
        const caps_evaluate_options options = options_of(&w, false);
        test_ok(caps_evaluate(m, &d.set, &options, &e, &err));
        test_ok(caps_predict(m, images, IMAGES, 0, NULL, &p, &err));
        ck_assert_uint_eq(w.images, IMAGES);
        ck_assert_uint_eq(w.batches, k ? 1 : 5);
        ck_assert_mem_eq(p.labels, w.results.labels, IMAGES * sizeof *p.labels);
        size_t errors = 0;
        uint64_t confusion[CLASSES * CLASSES] = {0};
        for (size_t i = 0; i < IMAGES; i++) {
            errors += p.labels[i] != d.labels[i];
            confusion[d.labels[i] * CLASSES + p.labels[i]]++;
            for (size_t j = 0; j < CLASSES; j++)
                ck_assert_double_eq_tol((double)p.lengths[i * CLASSES + j],
                    (double)w.results.lengths[i * CLASSES + j], 1e-6);
        }
        ck_assert_uint_eq(e.n, IMAGES);
        ck_assert_uint_eq(e.errors, errors);
        ck_assert_uint_eq(e.label_errors, errors);
        ck_assert_mem_eq(e.confusion, confusion, sizeof confusion);
        ck_assert_double_eq(e.error_percent, 100.0 * (double)errors / IMAGES);
        ck_assert(decoder ? fabs(e.reconstruction_sse - w.sse / IMAGES) < 1e-6
                          : isnan(e.reconstruction_sse));
        ck_assert_double_gt(e.class_loss, 0);
        loss[k] = e.class_loss;
        sse[k] = decoder ? e.reconstruction_sse : 0;
        caps_image_results_release(&w.results);
        caps_predictions_release(&p);
        caps_evaluation_release(&e);
        caps_model_free(m);
    }
    ck_assert_double_eq_tol(loss[0], loss[1], 1e-6 * loss[0]);
    ck_assert_double_eq_tol(sse[0], sse[1], 1e-5 * sse[0] + 1e-9);
    free(images);
}

START_TEST(every_image)
{
    check_network(families[_i], SPEC);
    check_network(families[_i], CNN);
}
END_TEST

/* Images that are changed on their way are those of a data set that is changed. */
START_TEST(changed_images)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    caps_model *m = make_of(families[_i], SPEC, BATCH, 3);
    const caps_model_spec *spec = caps_model_get_spec(m);
    caps_evaluation changed, inverted;
    watch w = {0}, v = {0};
    test_ok(caps_image_results_init(&w.results, IMAGES, spec, &err));
    test_ok(caps_image_results_init(&v.results, IMAGES, spec, &err));
    caps_evaluate_options options = options_of(&w, true);
    test_ok(caps_evaluate(m, &d.set, &options, &changed, &err));
    ck_assert_uint_eq(w.changed, IMAGES);
    for (size_t i = 0; i < IMAGES * PIXELS; i++)
        d.images[i] = (uint8_t)(255 - d.images[i]);
    options = options_of(&v, false);
    test_ok(caps_evaluate(m, &d.set, &options, &inverted, &err));
    for (size_t i = 0; i < IMAGES * CLASSES; i++)
        ck_assert_double_eq_tol((double)w.results.lengths[i], (double)v.results.lengths[i], 1e-5);
    ck_assert_double_eq_tol(changed.class_loss, inverted.class_loss, 1e-5);
    caps_evaluation_release(&changed);
    caps_evaluation_release(&inverted);

    /* A failure ends it, and nothing is left to release. */
    w.images = w.changed = w.batches = 0;
    w.fail_at = 2 * BATCH;
    options = options_of(&w, true);
    ck_assert_int_eq(caps_evaluate(m, &d.set, &options, &changed, &err), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, "no more");
    ck_assert_ptr_null(changed.confusion);
    caps_image_results_release(&w.results);
    caps_image_results_release(&v.results);
    caps_model_free(m);
}
END_TEST

START_TEST(stopped_and_misused)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    caps_model *m = make_of(families[_i], SPEC, BATCH, 3);
    caps_evaluation e;
    watch w = {.stop_at = 3};
    test_ok(caps_image_results_init(&w.results, IMAGES, caps_model_get_spec(m), &err));
    caps_evaluate_options options = options_of(&w, false);
    ck_assert_int_eq(caps_evaluate(m, &d.set, &options, &e, &err), CAPS_ERR_INTERRUPTED);
    ck_assert_msg(strstr(err.message, "of 23 images") != NULL, "%s", err.message);
    ck_assert_ptr_null(e.confusion);
    options = (caps_evaluate_options){.each = on_image};
    ck_assert_int_eq(caps_evaluate(m, &d.set, &options, &e, &err), CAPS_ERR_ARGUMENT);
    d.labels[7] = CLASSES;
    ck_assert_int_eq(caps_evaluate(m, &d.set, NULL, &e, &err), CAPS_ERR_FORMAT);
    d.set.width = 8;
    ck_assert_int_eq(caps_evaluate(m, &d.set, NULL, &e, &err), CAPS_ERR_MISMATCH);
    caps_image_results_release(&w.results);
    caps_model_free(m);
}
END_TEST

/* Pairs: both labels count, and the decoder runs for both. */
START_TEST(several_labels)
{
    caps_error err = {0};
    char *directory = test_directory(), path[512];
    cli_write_split(directory, "train", 30, 1, 12, 12, 4);
    cli_write_split(directory, "t10k", 17, 1, 12, 12, 4);
    caps_model *m = make_of(families[_i], TINY_PAIRS, BATCH, 3);
    caps_dataset pairs = {0};
    caps_evaluation e;
    caps_image_results r;
    snprintf(path, sizeof path, "multi:%s", directory);
    const caps_dataset_options of_test = {
        CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST};
    test_ok(caps_data_open(&pairs, path, &of_test, caps_model_get_spec(m), &err));
    test_ok(caps_image_results_init(&r, pairs.n, caps_model_get_spec(m), &err));
    const caps_evaluate_options options = {
        CAPS_OPTIONS(caps_evaluate_options), .each = keep_image, .each_user = &r};
    test_ok(caps_evaluate(m, &pairs, &options, &e, &err));
    size_t errors = 0, label_errors = 0;
    uint64_t all = 0, found = 0;
    for (size_t i = 0; i < pairs.n; i++) {
        size_t wrong = 0;
        for (size_t t = 0; t < 2; t++)
            wrong += r.labels[2 * i + t] != r.true_labels[2 * i + t];
        label_errors += wrong;
        errors += wrong > 0;
        ck_assert(caps_image_results_is_right(&r, i) == (wrong == 0));
    }
    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 4; b++) {
            all += e.confusion[a * 4 + b];
            found += a == b ? e.confusion[a * 4 + b] : 0;
        }
    ck_assert_uint_eq(e.n, 17);
    ck_assert_uint_eq(e.errors, errors);
    ck_assert_uint_eq(e.label_errors, label_errors);
    ck_assert_uint_eq(all, 2 * 17);
    ck_assert_uint_eq(all - found, label_errors);
    ck_assert_double_gt(e.reconstruction_sse, 0);
    const size_t found_errors = e.errors;
    caps_evaluation_release(&e);
    caps_image_results_release(&r);

    /* The same without the decoder, whose targets the data gives in vain. */
    caps_model *bare = NULL;
    const caps_model_options without = {CAPS_OPTIONS(caps_model_options), .max_batch = BATCH};
    test_ok(caps_model_create(&bare, families[_i], caps_model_get_spec(m), &without, &err));
    test_ok(caps_model_initialise(bare, CAPS_INITIALISER_SCALED, 3, &err));
    test_ok(caps_evaluate(bare, &pairs, NULL, &e, &err));
    ck_assert_uint_eq(e.errors, found_errors);
    ck_assert(isnan(e.reconstruction_sse));
    caps_evaluation_release(&e);
    caps_model_free(bare);
    caps_dataset_release(&pairs);
    caps_model_free(m);
    free(directory);
}
END_TEST

/* ---- robustness ----------------------------------------------------------------------------- */

static bool stop_at_40(void *user, const caps_robustness_progress *p)
{
    size_t *calls = user;
    ck_assert_uint_eq(p->total, IMAGES);
    ck_assert_uint_le(p->errors, p->done);
    ck_assert_uint_eq(p->evaluation * IMAGES + p->done, ++*calls);
    return *calls == 40;
}

/* Two models at three severities: 0 is the plain evaluation; every cell is that of an evaluation.
 * */
START_TEST(transformed_images)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    caps_model *models[2] = {
        make_of(families[_i], SPEC, BATCH, 3), make_of(families[_i], CNN, 7, 4)};
    const double levels[] = {0, 20, 90};
    caps_robustness_cell cells[6];
    caps_robustness_options options = {
        CAPS_OPTIONS(caps_robustness_options), .transform = CAPS_TRANSFORM_ROTATE, .seed = 1};
    test_ok(caps_robustness(models, 2, &d.set, levels, 3, &options, cells, &err));
    for (size_t m = 0; m < 2; m++) {
        caps_evaluation e;
        test_ok(caps_evaluate(models[m], &d.set, NULL, &e, &err));
        ck_assert_uint_eq(cells[m].errors, e.errors);
        for (size_t i = 0; i < 3; i++) {
            ck_assert_uint_eq(cells[2 * i + m].n, IMAGES);
            ck_assert_uint_eq(cells[2 * i + m].labels, 1);
            ck_assert_uint_eq(cells[2 * i + m].unchanged, 0);
        }
        caps_evaluation_release(&e);
    }
    size_t calls = 0;
    options.progress = stop_at_40;
    options.user = &calls;
    ck_assert_int_eq(
        caps_robustness(models, 2, &d.set, levels, 3, &options, cells, &err), CAPS_ERR_INTERRUPTED);
    ck_assert_int_eq(caps_robustness(models, 2, &d.set, levels, 3, NULL, cells, &err), CAPS_OK);
    caps_model_free(models[0]);
    caps_model_free(models[1]);
}
END_TEST

/* Epsilon 0 changes no image; a strong attack leads to more errors. */
START_TEST(attacked_images)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    caps_model *m = make_of(families[_i], SPEC, BATCH, 3);
    const caps_dataset *set = &d.set;
    const double levels[] = {0, 0.3};
    caps_robustness_cell cells[2];
    caps_evaluation e;
    /* Labels that the model gives, so that there is something to lose. */
    caps_image_results r;
    test_ok(caps_image_results_init(&r, IMAGES, caps_model_get_spec(m), &err));
    const caps_evaluate_options each = {
        CAPS_OPTIONS(caps_evaluate_options), .each = keep_image, .each_user = &r};
    test_ok(caps_evaluate(m, set, &each, &e, &err));
    caps_evaluation_release(&e);
    for (size_t i = 0; i < IMAGES; i++)
        d.labels[i] = (uint8_t)r.labels[i];
    const caps_robustness_options options = {CAPS_OPTIONS(caps_robustness_options), .attacks = true,
        .attack = CAPS_ATTACK_BIM, .steps = 3};
    test_ok(caps_robustness(&m, 1, set, levels, 2, &options, cells, &err));
    ck_assert_uint_eq(cells[0].unchanged, IMAGES);
    ck_assert_uint_eq(cells[0].errors, 0);
    ck_assert_uint_lt(cells[1].unchanged, IMAGES);
    ck_assert_uint_gt(cells[1].errors, IMAGES / 2);
    caps_image_results_release(&r);
    caps_model_free(m);
}
END_TEST

/* ---- data for a network --------------------------------------------------------------------- */

START_TEST(data_for_a_network)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    OWNED_SPEC(spec) = spec_of(SPEC);
    OWNED_SPEC(other) = spec_of(CNN);
    OWNED_SPEC(pairs) = spec_of(TINY_PAIRS);
    char *names[] = {"a", "b", "c", "d", "e"}, *others[] = {"a", "b", "x", "d", "e"};
    ck_assert(caps_data_is_shared(spec, other));
    ck_assert(!caps_data_is_shared(spec, pairs));
    test_ok(caps_data_fit(&d.set, spec, &err)); /* neither has names */
    d.set.class_names = names;
    test_ok(caps_data_fit(&d.set, spec, &err)); /* only the data */
    test_ok(caps_class_names_set(spec, names, CLASSES, &err));
    test_ok(caps_data_fit(&d.set, spec, &err));
    d.set.class_names = others;
    ck_assert_int_eq(caps_data_fit(&d.set, spec, &err), CAPS_ERR_MISMATCH);
    ck_assert_str_eq(err.message, "noise: class 2 is 'x', of the model 'c'");
    d.set.class_names = NULL;
    d.set.width = 8;
    ck_assert_int_eq(caps_data_fit(&d.set, spec, &err), CAPS_ERR_MISMATCH);
    /* A network whose source is that size sees it centred on black. */
    test_ok(caps_model_spec_set_input(
        spec, (const size_t[]){2, 11, 9}, (const size_t[]){2, 11, 8}, &err));
    test_ok(caps_data_fit(&d.set, spec, &err));
    ck_assert_uint_eq(d.set.view[1], 9);
    ck_assert(!caps_data_is_shared(spec, other));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("evaluate");
    TCase *tc = families_case(s, "evaluate");
    families_add(tc, every_image);
    families_add(tc, changed_images);
    families_add(tc, stopped_and_misused);
    families_add(tc, several_labels);
    families_add(tc, transformed_images);
    families_add(tc, attacked_images);
    TCase *host = tcase_create("data");
    tcase_add_test(host, data_for_a_network);
    suite_add_tcase(s, host);
    return s;
}
