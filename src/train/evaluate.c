/* evaluate.c: errors, losses and confusion of a model on a data set. The results of one batch are
 * counted while the device computes the next. */
#include "evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "batcher.h"
#include "clock.h"
#include "fail.h"
#include "step.h"
#include "trace.h"

caps_status caps_data_check(const caps_dataset *ds, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    caps_status status = caps_dataset_check_labels(ds, info->labels, err);
    if (status != CAPS_OK)
        return status;
    return caps_dataset_check(
        ds, info->input[0], info->input[1], info->input[2], info->classes, err);
}

/* A batch and its results in host memory. */
typedef struct readings {
    const caps_batch *batch;  /* NULL: none is on its way */
    cl_event event;           /* the last of them has come */
    float *lengths;           /* [batch, J] */
    int32_t *best;            /* [batch, L] */
    float *margin_loss, *sse; /* [batch], [batch * L] */
    float *images;            /* [batch, C*H*W]: what the device was given instead of the batch's */
} readings;

static caps_status readings_init(
    readings *r, size_t batch, size_t classes, size_t labels, caps_error *err)
{
    r->lengths = malloc(batch * classes * sizeof *r->lengths);
    r->best = malloc(batch * labels * sizeof *r->best);
    r->margin_loss = malloc(batch * sizeof *r->margin_loss);
    r->sse = malloc(batch * labels * sizeof *r->sse);
    return r->lengths && r->best && r->margin_loss && r->sse
               ? CAPS_OK
               : caps_fail(
                     err, CAPS_ERR_MEMORY, "evaluate: out of memory for batches of %zu", batch);
}

static void readings_release(readings *r)
{
    if (r->event)
        clReleaseEvent(r->event);
    free(r->lengths);
    free(r->best);
    free(r->margin_loss);
    free(r->sse);
    free(r->images);
}

/* Enqueues a batch and the reading of its results. */
static caps_status give_batch(caps_model *m, const caps_batch *batch, readings *r, caps_error *err)
{
    caps_status status;
    const caps_images images = {
        batch->n, r->images ? r->images : batch->images, batch->labels, batch->targets};
    const size_t rows = batch->n * batch->labels_per_image;
    CAPS_TRY(caps_model_enqueue_batch(m, &images, err));
    CAPS_TRY(caps_model_forward(m, CAPS_MASK_LONGEST, err));
    const caps_tensor lengths = caps_model_output(m, "lengths");
    const caps_tensor best = caps_model_output(m, "best");
    const caps_tensor sse = caps_model_output(m, "sse");
    const caps_tensor loss = caps_model_output(m, "class_loss");
    CAPS_TRY(caps_model_read(m, &lengths, r->lengths, NULL, err));
    CAPS_TRY(caps_model_read(m, &best, r->best, NULL, err));
    if (sse.buffer)
        CAPS_TRY(caps_model_read(m, &sse, r->sse, NULL, err));
    else
        for (size_t i = 0; i < rows; i++)
            r->sse[i] = NAN;
    CAPS_TRY(caps_model_read(m, &loss, r->margin_loss, &r->event, err));
    cl_int code = clFlush(caps_runtime_queue(caps_model_get_runtime(m)));
    if (code != CL_SUCCESS)
        CAPS_TRY(caps_fail_cl(err, code, "flushing the queue"));
    r->batch = batch;
done:
    return status;
}

/* Puts those of the L answers that are right where the true label stands, the others in their order
 * into the places left; returns how many are not right. */
static size_t match(int32_t *label, const int32_t *true_label, size_t labels)
{
    int32_t found[CAPS_MAX_LABELS];
    bool used[CAPS_MAX_LABELS] = {0}, filled[CAPS_MAX_LABELS] = {0};
    size_t wrong = labels;
    for (size_t t = 0; t < labels; t++)
        for (size_t k = 0; k < labels && !filled[t]; k++)
            if (!used[k] && label[k] == true_label[t]) {
                used[k] = filled[t] = true;
                found[t] = label[k];
                wrong--;
            }
    for (size_t t = 0, k = 0; t < labels; t++) {
        if (filled[t])
            continue;
        while (used[k])
            k++;
        found[t] = label[k++];
    }
    memcpy(label, found, labels * sizeof *label);
    return wrong;
}

/* Sums in double, image by image: the result does not depend on the batch's size. */
static caps_status take_batch(caps_runtime *rt, caps_evaluation *result, readings *r,
    const caps_evaluate_options *options, caps_error *err)
{
    const caps_batch *batch = r->batch;
    if (!batch)
        return CAPS_OK;
    caps_trace_begin(rt, "wait for a batch");
    cl_int code = clWaitForEvents(1, &r->event);
    caps_trace_end(rt);
    clReleaseEvent(r->event);
    r->event = NULL;
    r->batch = NULL;
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "evaluate: waiting for a batch");
    const size_t labels = result->labels;
    for (size_t i = 0; i < batch->n; i++) {
        int32_t *label = r->best + i * labels;
        const int32_t *true_label = batch->labels + i * labels;
        const size_t wrong = match(label, true_label, labels);
        double sse = 0;
        for (size_t t = 0; t < labels; t++) {
            sse += (double)r->sse[i * labels + t];
            result->confusion[(size_t)true_label[t] * result->classes + (size_t)label[t]]++;
        }
        result->errors += wrong > 0;
        result->label_errors += wrong;
        result->class_loss += (double)r->margin_loss[i];
        result->reconstruction_sse += sse;
        if (options->each)
            options->each(
                options->each_user, &(caps_evaluated){result->n, label, true_label, wrong == 0,
                                        r->lengths + i * result->classes, sse});
        result->n++;
    }
    return CAPS_OK;
}

caps_status caps_evaluate_with(caps_model *m, const caps_dataset *ds, caps_evaluation *result,
    const caps_evaluate_options *o, caps_error *err)
{
    const caps_model_info *spec = caps_model_get_info(m);
    const double began = caps_clock_seconds();
    caps_runtime *rt = caps_model_get_runtime(m);
    caps_batcher *batcher = NULL;
    readings r[CAPS_BATCHES_HELD] = {0};
    caps_status status;
    *result = (caps_evaluation){.classes = spec->classes, .labels = spec->labels};
    caps_trace_begin(rt, "evaluate");
    CAPS_TRY(caps_data_check(ds, caps_model_get_spec(m), err));
    size_t most = caps_model_get_micro_batch(m);
    if (most > ds->n)
        most = ds->n;
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++) {
        CAPS_TRY(readings_init(&r[i], most, spec->classes, spec->labels, err));
        if (!o->change)
            continue;
        r[i].images = malloc(most * spec->pixels * sizeof *r[i].images);
        if (!r[i].images)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "evaluate: out of memory for images"));
    }
    result->confusion = calloc(spec->classes * spec->classes, sizeof *result->confusion);
    if (!result->confusion)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu classes", spec->classes));
    const caps_batcher_options options = {.batch = most, .augment = CAPS_AUGMENT_NONE};
    CAPS_TRY(caps_batcher_create(&batcher, ds, &options, err));

    size_t given = 0, turn = 0;
    for (; given < ds->n; turn = (turn + 1) % CAPS_BATCHES_HELD) {
        if (o->stop && o->stop(o->stop_user))
            CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
                "evaluate: stopped after %zu of %zu images", result->n, ds->n));
        caps_trace_begin(rt, "make batch");
        const caps_batch *batch = caps_batcher_next(batcher);
        caps_trace_end(rt);
        if (o->change) {
            caps_trace_begin(rt, "change batch");
            status = o->change(o->change_user, batch, given, r[turn].images, err);
            caps_trace_end(rt);
            CAPS_TRY(status);
        }
        caps_trace_begin(rt, "enqueue batch");
        status = give_batch(m, batch, &r[turn], err);
        caps_trace_end(rt);
        CAPS_TRY(status);
        given += batch->n;
        CAPS_TRY(take_batch(rt, result, &r[(turn + 1) % CAPS_BATCHES_HELD], o, err));
    }
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++, turn = (turn + 1) % CAPS_BATCHES_HELD)
        CAPS_TRY(take_batch(rt, result, &r[turn], o, err));
    const double n = (double)result->n;
    result->error_percent = 100 * (double)result->errors / n;
    result->label_error_percent = 100 * (double)result->label_errors / (n * (double)result->labels);
    result->class_loss /= n;
    result->reconstruction_sse /= n;
    result->seconds = caps_clock_seconds() - began;
done:
    if (batcher && status != CAPS_OK) /* the device may still read batches and write results */
        (void)caps_runtime_finish(rt, NULL);
    caps_batcher_free(batcher);
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++)
        readings_release(&r[i]);
    caps_trace_end(rt);
    if (status != CAPS_OK)
        caps_evaluation_release(result);
    return status;
}

caps_status caps_evaluate(caps_model *m, const caps_dataset *ds, caps_evaluation *result,
    caps_evaluate_each *each, void *user, caps_error *err)
{
    return caps_evaluate_with(
        m, ds, result, &(caps_evaluate_options){.each = each, .each_user = user}, err);
}

void caps_evaluation_release(caps_evaluation *result)
{
    free(result->confusion);
    *result = (caps_evaluation){0};
}
