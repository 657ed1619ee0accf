/* predict.c: what a model makes of images, and its decoder of capsules. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"
#include "step.h"

/* ---- batches -------------------------------------------------------------------------------- */

static caps_status check_stop(const caps_inspect_progress *progress, const char *what, size_t done,
    size_t total, caps_error *err)
{
    if (progress && progress->stop && progress->stop(progress->user, done, total))
        return caps_fail(
            err, CAPS_ERR_INTERRUPTED, "%s: stopped after %zu of %zu images", what, done, total);
    return CAPS_OK;
}

/* An output of the last forward. */
static caps_status download(caps_model *m, const char *name, void *host, caps_error *err)
{
    const caps_tensor t = caps_model_output(m, name);
    return caps_tensor_download(caps_model_get_runtime(m), &t, host, err);
}

/* The device has [r, b, I, J]; an image's own are [r, I, J]. */
static caps_status download_couplings(caps_model *m, float *out, caps_error *err)
{
    const caps_tensor t = caps_model_output(
        m, caps_model_get_info(m)->matrix ? "assignment.iterations" : "couplings.iterations");
    const size_t r = t.shape[0], b = t.shape[1], each = t.shape[2] * t.shape[3];
    float *host = malloc(r * b * each * sizeof *host);
    if (!host)
        return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for couplings");
    caps_status status = caps_tensor_download(caps_model_get_runtime(m), &t, host, err);
    for (size_t i = 0; status == CAPS_OK && i < b; i++)
        for (size_t k = 0; k < r; k++)
            memcpy(out + (i * r + k) * each, host + (k * b + i) * each, each * sizeof *host);
    free(host);
    return status;
}

/* Lengths of the capsules [b, I, K] that the class capsules read; of matrix capsules, their
 * activations. */
static caps_status download_input_lengths(caps_model *m, float *out, caps_error *err)
{
    if (caps_model_get_info(m)->matrix)
        return download(m, "inputs.activation", out, err);
    const caps_tensor t = caps_model_output(m, "inputs");
    const size_t rows = t.shape[0] * t.shape[1], k = t.shape[2];
    float *host = malloc(rows * k * sizeof *host);
    if (!host)
        return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for capsules");
    caps_status status = caps_tensor_download(caps_model_get_runtime(m), &t, host, err);
    for (size_t row = 0; status == CAPS_OK && row < rows; row++) {
        double sum = 0;
        for (size_t e = row * k; e < (row + 1) * k; e++)
            sum += (double)host[e] * (double)host[e];
        out[row] = (float)sqrt(sum);
    }
    free(host);
    return status;
}

/* Of [r, b, J, D] the lengths, or of [r, b, J] the values; an image's own are [r, J]. Of routing
 * that has one iteration and no record of it they are those of the capsules. */
static caps_status download_iteration_lengths(caps_model *m, float *out, caps_error *err)
{
    const bool matrix = caps_model_get_info(m)->matrix;
    caps_tensor t = caps_model_output(m, matrix ? "activation.iterations" : "capsules.iterations");
    if (!t.buffer)
        return download(m, "lengths", out, err);
    const size_t r = t.shape[0], b = t.shape[1], j = t.shape[2], d = matrix ? 1 : t.shape[3];
    float *host = malloc(r * b * j * d * sizeof *host);
    if (!host)
        return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for capsules");
    caps_status status = caps_tensor_download(caps_model_get_runtime(m), &t, host, err);
    for (size_t row = 0; status == CAPS_OK && row < r * b * j; row++) {
        const size_t iteration = row / (b * j), image = row / j % b;
        double sum = 0;
        for (size_t e = row * d; e < (row + 1) * d; e++)
            sum += (double)host[e] * (double)host[e];
        out[(image * r + iteration) * j + row % j] = (float)sqrt(sum);
    }
    free(host);
    return status;
}

/* ---- predictions ---------------------------------------------------------------------------- */

void caps_predictions_release(caps_predictions *p)
{
    free(p->labels);
    free(p->lengths);
    free(p->capsules);
    free(p->reconstruction);
    free(p->couplings);
    free(p->input_lengths);
    free(p->iteration_lengths);
    *p = (caps_predictions){0};
}

/* Zeroed; at least one element, so that NULL is out of memory. */
static bool allocate(float **array, size_t count)
{
    *array = calloc(count + 1, sizeof **array);
    return *array != NULL;
}

static caps_status predictions_init(
    caps_predictions *p, size_t n, unsigned what, const caps_model_info *info, caps_error *err)
{
    *p = (caps_predictions){.n = n,
        .labels_per_image = info->labels,
        .classes = info->classes,
        .dim = info->dim,
        .inputs = info->inputs,
        .iterations = info->iterations,
        .pixels = info->pixels};
    p->labels = calloc(n * info->labels + 1, sizeof *p->labels);
    bool whole = p->labels && allocate(&p->lengths, n * info->classes);
    if (info->dim && what & CAPS_PREDICT_CAPSULES)
        whole = whole && allocate(&p->capsules, n * info->classes * info->dim);
    if (info->has_decoder && what & CAPS_PREDICT_RECONSTRUCTION)
        whole = whole && allocate(&p->reconstruction, n * info->labels * info->pixels);
    if (info->iterations && what & CAPS_PREDICT_COUPLINGS)
        whole =
            whole && allocate(&p->couplings, n * info->iterations * info->inputs * info->classes);
    if (info->inputs && what & CAPS_PREDICT_INPUT_LENGTHS)
        whole = whole && allocate(&p->input_lengths, n * info->inputs);
    if (info->iterations && what & CAPS_PREDICT_ITERATIONS)
        whole = whole && allocate(&p->iteration_lengths, n * info->iterations * info->classes);
    if (whole)
        return CAPS_OK;
    caps_predictions_release(p);
    return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", n);
}

/* Images first..first+n-1: one batch. */
static caps_status predict_batch(caps_model *m, const float *images, size_t first, size_t n,
    caps_predictions *p, caps_error *err)
{
    const caps_images batch = {n, images + first * p->pixels, NULL, NULL};
    const size_t capsule = p->classes * p->dim, image = p->labels_per_image * p->pixels;
    const size_t links = p->iterations * p->inputs * p->classes;
    caps_status status;
    CAPS_TRY(caps_model_set_batch(m, &batch, err));
    CAPS_TRY(caps_model_forward(m, CAPS_MASK_LONGEST, err));
    CAPS_TRY(download(m, "best", p->labels + first * p->labels_per_image, err));
    CAPS_TRY(download(m, "lengths", p->lengths + first * p->classes, err));
    if (p->capsules)
        CAPS_TRY(download(m, "capsules", p->capsules + first * capsule, err));
    if (p->reconstruction)
        CAPS_TRY(download(m, "reconstruction", p->reconstruction + first * image, err));
    if (p->couplings)
        CAPS_TRY(download_couplings(m, p->couplings + first * links, err));
    if (p->input_lengths)
        CAPS_TRY(download_input_lengths(m, p->input_lengths + first * p->inputs, err));
    if (p->iteration_lengths)
        CAPS_TRY(download_iteration_lengths(
            m, p->iteration_lengths + first * p->iterations * p->classes, err));
done:
    return status;
}

/* One of several models, and the batches that it takes: index, index + count, ... */
typedef struct predictor {
    caps_model *model;
    const float *images;
    size_t index, count, batch;
    caps_predictions *out;
    const caps_inspect_progress *progress; /* of the first alone */
    atomic_bool *stops;                    /* one of them has failed */
    pthread_t thread;
    bool started;
    caps_status status;
    caps_error error;
} predictor;

static caps_status predict_batches(predictor *p, caps_error *err)
{
    const size_t n = p->out->n;
    caps_status status = CAPS_OK;
    for (size_t first = p->index * p->batch; first < n; first += p->count * p->batch) {
        const size_t b = n - first < p->batch ? n - first : p->batch;
        if (atomic_load(p->stops))
            break;
        CAPS_TRY(check_stop(p->progress, "predict", first, n, err));
        CAPS_TRY(predict_batch(p->model, p->images, first, b, p->out, err));
    }
done:
    if (status != CAPS_OK)
        atomic_store(p->stops, true);
    return status;
}

static void *predictor_run(void *context)
{
    predictor *p = context;
    p->status = predict_batches(p, &p->error);
    return NULL;
}

caps_status caps_predict_by(caps_model *const *models, size_t count, const float *images, size_t n,
    unsigned what, const caps_inspect_progress *progress, caps_predictions *out, caps_error *err)
{
    atomic_bool stops = false;
    caps_status status;
    predictor *all = NULL;
    size_t batch = SIZE_MAX;
    for (size_t k = 0; k < count; k++)
        batch = caps_model_get_micro_batch(models[k]) < batch
                    ? caps_model_get_micro_batch(models[k])
                    : batch;
    CAPS_TRY(predictions_init(out, n, what, caps_model_get_info(models[0]), err));
    if (!caps_model_decodes(models[0])) {
        free(out->reconstruction);
        out->reconstruction = NULL;
    }
    all = calloc(count, sizeof *all);
    if (!all)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", n));
    for (size_t k = 0; k < count; k++) {
        predictor *p = &all[k];
        *p = (predictor){.model = models[k],
            .images = images,
            .index = k,
            .count = count,
            .batch = batch,
            .out = out,
            .progress = k == 0 ? progress : NULL,
            .stops = &stops};
        p->started = k > 0 && pthread_create(&p->thread, NULL, predictor_run, p) == 0;
    }
    for (size_t k = 0; k < count; k++)
        if (!all[k].started) /* the first; others where there is no thread for them */
            predictor_run(&all[k]);
    for (size_t k = 0; k < count; k++)
        if (all[k].started)
            pthread_join(all[k].thread, NULL);
    for (size_t k = 0; k < count && status == CAPS_OK; k++)
        if (all[k].status != CAPS_OK) {
            status = all[k].status;
            if (err)
                *err = all[k].error;
        }
done:
    free(all);
    if (status != CAPS_OK)
        caps_predictions_release(out);
    return status;
}

caps_status caps_predict(caps_model *m, const float *images, size_t n, unsigned what,
    const caps_inspect_progress *progress, caps_predictions *out, caps_error *err)
{
    return caps_predict_by(&m, 1, images, n, what, progress, out, err);
}

/* ---- the decoder ---------------------------------------------------------------------------- */

/* Rows [n, J, D] of which only the capsule of one class is left. */
static caps_status mask_capsules(float **out, const float *capsules, const int32_t *classes,
    size_t n, const caps_model_info *info, caps_error *err)
{
    const size_t dim = info->dim, row = info->classes * dim;
    for (size_t i = 0; i < n; i++)
        if (classes[i] < 0 || (size_t)classes[i] >= info->classes)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "decode: class %d, need 0 to %zu",
                (int)classes[i], info->classes - 1);
    *out = calloc(n * row + 1, sizeof **out);
    if (!*out)
        return caps_fail(err, CAPS_ERR_MEMORY, "decode: out of memory for %zu images", n);
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * row + (size_t)classes[i] * dim;
        memcpy(*out + at, capsules + at, dim * sizeof **out);
    }
    return CAPS_OK;
}

caps_status caps_decode(caps_model *m, const float *capsules, const int32_t *classes, size_t n,
    float *images, const caps_inspect_progress *progress, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(m);
    const size_t most = caps_model_get_micro_batch(m), row = info->classes * info->dim;
    caps_status status = CAPS_OK;
    float *masked = NULL;
    if (classes)
        CAPS_TRY(mask_capsules(&masked, capsules, classes, n, info, err));
    const float *seen = classes ? masked : capsules;
    for (size_t first = 0; first < n; first += most) {
        const size_t b = n - first < most ? n - first : most;
        CAPS_TRY(check_stop(progress, "decode", first, n, err));
        CAPS_TRY(caps_model_decode(m, seen + first * row, b, err));
        CAPS_TRY(download(m, "reconstruction", images + first * info->pixels, err));
    }
done:
    free(masked);
    return status;
}
