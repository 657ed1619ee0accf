/* evaluate.c: errors, losses and confusion of a model on a data set. */
#include "evaluate.h"

#include <math.h>
#include <stdlib.h>

#include "batcher.h"
#include "clock.h"
#include "fail.h"

/* A batch's results in host memory. */
typedef struct readings {
    float *lengths; /* [batch, J] */
    int32_t *best;  /* [batch] */
    float *margin_loss, *sse;
} readings;

static caps_status readings_init(readings *r, size_t batch, size_t classes, caps_error *err)
{
    r->lengths = malloc(batch * classes * sizeof *r->lengths);
    r->best = malloc(batch * sizeof *r->best);
    r->margin_loss = malloc(batch * sizeof *r->margin_loss);
    r->sse = malloc(batch * sizeof *r->sse);
    return r->lengths && r->best && r->margin_loss && r->sse
               ? CAPS_OK
               : caps_fail(
                     err, CAPS_ERR_MEMORY, "evaluate: out of memory for batches of %zu", batch);
}

static void readings_release(readings *r)
{
    free(r->lengths);
    free(r->best);
    free(r->margin_loss);
    free(r->sse);
}

static caps_status read_batch(caps_model *m, const caps_batch *batch, readings *r, caps_error *err)
{
    caps_runtime *rt = caps_model_get_runtime(m);
    caps_status status;
    CAPS_TRY(caps_model_set_batch(m, batch->n, batch->images, batch->labels, err));
    CAPS_TRY(caps_model_forward(m, CAPS_MASK_LONGEST, err));
    const caps_model_outputs out = caps_model_get_outputs(m);
    CAPS_TRY(caps_tensor_download(rt, &out.lengths, r->lengths, err));
    CAPS_TRY(caps_tensor_download(rt, &out.best, r->best, err));
    CAPS_TRY(caps_tensor_download(rt, &out.margin_loss, r->margin_loss, err));
    for (size_t i = 0; i < batch->n; i++)
        r->sse[i] = NAN;
    if (out.sse.buffer)
        CAPS_TRY(caps_tensor_download(rt, &out.sse, r->sse, err));
done:
    return status;
}

/* Sums in double, image by image: the result does not depend on the batch's size. */
static void count_batch(caps_evaluation *result, const caps_batch *batch, const readings *r,
    caps_evaluate_each *each, void *user)
{
    for (size_t i = 0; i < batch->n; i++) {
        int label = r->best[i], true_label = batch->labels[i];
        result->errors += label != true_label;
        result->margin_loss += (double)r->margin_loss[i];
        result->reconstruction_sse += (double)r->sse[i];
        result->confusion[(size_t)true_label * result->classes + (size_t)label]++;
        if (each)
            each(user, result->n, label, true_label, r->lengths + i * result->classes,
                (double)r->sse[i]);
        result->n++;
    }
}

caps_status caps_evaluate_until(caps_model *m, const caps_dataset *ds, caps_evaluation *result,
    caps_evaluate_each *each, void *each_user, caps_evaluate_stop *stop, void *stop_user,
    caps_error *err)
{
    const caps_model_spec *spec = caps_model_get_spec(m);
    const double began = caps_clock_seconds();
    caps_batcher *batcher = NULL;
    readings r = {0};
    caps_model_totals totals;
    bool totals_kept = false;
    caps_status status;
    *result = (caps_evaluation){.classes = spec->classes};
    CAPS_TRY(
        caps_dataset_check(ds, spec->input[0], spec->input[1], spec->input[2], spec->classes, err));
    size_t most = caps_model_get_max_batch(m);
    if (most > ds->n)
        most = ds->n;
    CAPS_TRY(readings_init(&r, most, spec->classes, err));
    result->confusion = calloc(spec->classes * spec->classes, sizeof *result->confusion);
    if (!result->confusion)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu classes", spec->classes));
    const caps_batcher_options options = {.batch = most, .augment = CAPS_AUGMENT_NONE};
    CAPS_TRY(caps_batcher_create(&batcher, ds, &options, err));

    /* The forward adds to the model's running totals: whoever trains it finds them as they were. */
    CAPS_TRY(caps_model_get_totals(m, &totals, err));
    totals_kept = true;
    while (result->n < ds->n) {
        if (stop && stop(stop_user))
            CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
                "evaluate: stopped after %zu of %zu images", result->n, ds->n));
        const caps_batch *batch = caps_batcher_next(batcher);
        CAPS_TRY(read_batch(m, batch, &r, err));
        count_batch(result, batch, &r, each, each_user);
    }
    const double n = (double)result->n;
    result->error_percent = 100 * (double)result->errors / n;
    result->margin_loss /= n;
    result->reconstruction_sse /= n;
    result->seconds = caps_clock_seconds() - began;
done:
    if (totals_kept) {
        caps_status restored = caps_model_set_totals(m, &totals, status == CAPS_OK ? err : NULL);
        if (status == CAPS_OK)
            status = restored;
    }
    caps_batcher_free(batcher);
    readings_release(&r);
    if (status != CAPS_OK)
        caps_evaluation_release(result);
    return status;
}

caps_status caps_evaluate(caps_model *m, const caps_dataset *ds, caps_evaluation *result,
    caps_evaluate_each *each, void *user, caps_error *err)
{
    return caps_evaluate_until(m, ds, result, each, user, NULL, NULL, err);
}

void caps_evaluation_release(caps_evaluation *result)
{
    free(result->confusion);
    *result = (caps_evaluation){0};
}
