/* evaluate.c: errors, losses and confusion of a model on a data set. The results of one batch are
 * counted while the device computes the next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "batcher.h"
#include "clock.h"
#include "fail.h"
#include "options.h"
#include "pinned.h"
#include "step.h"
#include "trace.h"

/* A batch and its results in host memory. */
typedef struct readings {
    const caps_batch *batch; /* NULL: none is on its way */
    cl_event event;          /* the last of them has come */
    float *lengths;          /* [batch, J] */
    int32_t *best;           /* [batch, L] */
    float *class_loss, *sse; /* [batch], [batch * L] */
    float *changed; /* [batch, C*H*W]: what the device gets in place of the batch's images */
} readings;

static caps_status readings_init(
    readings *r, size_t batch, const caps_model_info *info, bool changed, caps_error *err)
{
    r->lengths = malloc(batch * info->classes * sizeof *r->lengths);
    r->best = malloc(batch * info->labels * sizeof *r->best);
    r->class_loss = malloc(batch * sizeof *r->class_loss);
    r->sse = malloc(batch * info->labels * sizeof *r->sse);
    if (changed)
        r->changed = malloc(batch * info->pixels * sizeof *r->changed);
    return r->lengths && r->best && r->class_loss && r->sse && (r->changed || !changed)
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
    free(r->class_loss);
    free(r->sse);
    free(r->changed);
}

/* An evaluation under way. */
typedef struct evaluation {
    caps_model *model;
    caps_runtime *rt;
    const caps_dataset *ds;
    caps_evaluate_options options;
    caps_evaluation *result;
    readings readings[CAPS_BATCHES_HELD]; /* of the batch that is given to the device and of the
                                             one before */
} evaluation;

/* Enqueues a batch and the reading of its results. */
static caps_status enqueue_batch(
    evaluation *e, const caps_batch *batch, readings *r, caps_error *err)
{
    caps_model *m = e->model;
    caps_status status;
    const caps_images images = {
        batch->n, r->changed ? r->changed : batch->images, batch->labels, batch->targets};
    const size_t rows = batch->n * batch->labels_per_image;
    caps_tensor out;
    CAPS_TRY(caps_model_enqueue_batch(m, &images, err));
    CAPS_TRY(caps_model_forward(m, CAPS_MASK_LONGEST, err));
    out = caps_model_output(m, "lengths");
    CAPS_TRY(caps_model_read(m, &out, r->lengths, NULL, err));
    out = caps_model_output(m, "best");
    CAPS_TRY(caps_model_read(m, &out, r->best, NULL, err));
    out = caps_model_output(m, "sse");
    if (out.buffer)
        CAPS_TRY(caps_model_read(m, &out, r->sse, NULL, err));
    else
        for (size_t i = 0; i < rows; i++)
            r->sse[i] = NAN;
    out = caps_model_output(m, "class_loss");
    CAPS_TRY(caps_model_read(m, &out, r->class_loss, &r->event, err));
    cl_int code = clFlush(caps_runtime_queue(e->rt));
    if (code != CL_SUCCESS)
        CAPS_TRY(caps_fail_cl(err, code, "flushing the queue"));
    r->batch = batch;
done:
    return status;
}

/* Makes the next batch, changes it where that is requested, and gives it to the device. */
static caps_status start_batch(evaluation *e, caps_batcher *batcher, size_t first, readings *r,
    size_t *images, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_trace_begin(e->rt, "make batch");
    const caps_batch *batch = caps_batcher_next(batcher);
    caps_trace_end(e->rt);
    if (e->options.change) {
        const caps_images given = {batch->n, batch->images, batch->labels, batch->targets};
        caps_trace_begin(e->rt, "change batch");
        status = e->options.change(e->options.change_user, &given, first, r->changed, err);
        caps_trace_end(e->rt);
        CAPS_TRY(status);
    }
    caps_trace_begin(e->rt, "enqueue batch");
    status = enqueue_batch(e, batch, r, err);
    caps_trace_end(e->rt);
    *images = batch->n;
done:
    return status;
}

size_t caps_labels_match(int32_t *labels, const int32_t *true_labels, size_t count)
{
    int32_t found[CAPS_MAX_LABELS];
    bool used[CAPS_MAX_LABELS] = {0}, filled[CAPS_MAX_LABELS] = {0};
    size_t wrong = count;
    for (size_t t = 0; t < count; t++)
        for (size_t k = 0; k < count && !filled[t]; k++)
            if (!used[k] && labels[k] == true_labels[t]) {
                used[k] = filled[t] = true;
                found[t] = labels[k];
                wrong--;
            }
    for (size_t t = 0, k = 0; t < count; t++) {
        if (filled[t])
            continue;
        while (used[k])
            k++;
        found[t] = labels[k++];
    }
    memcpy(labels, found, count * sizeof *labels);
    return wrong;
}

/* Image i of a batch. Sums are in double, image by image: the result does not depend on the batch's
 * size. */
static void count_image(evaluation *e, const caps_batch *batch, readings *r, size_t i)
{
    caps_evaluation *result = e->result;
    const size_t labels = result->labels;
    int32_t *label = r->best + i * labels;
    const int32_t *true_label = batch->labels + i * labels;
    const size_t wrong = caps_labels_match(label, true_label, labels);
    double sse = 0;
    for (size_t t = 0; t < labels; t++) {
        sse += (double)r->sse[i * labels + t];
        result->confusion[(size_t)true_label[t] * result->classes + (size_t)label[t]]++;
    }
    result->errors += wrong > 0;
    result->label_errors += wrong;
    result->class_loss += (double)r->class_loss[i];
    result->reconstruction_sse += sse;
    if (e->options.each)
        e->options.each(
            e->options.each_user, &(caps_evaluated){result->n, label, true_label, wrong == 0,
                                      r->lengths + i * result->classes, sse});
    result->n++;
}

/* Waits for a batch that was started, if there is one, and counts it. */
static caps_status finish_batch(evaluation *e, readings *r, caps_error *err)
{
    const caps_batch *batch = r->batch;
    if (!batch)
        return CAPS_OK;
    caps_trace_begin(e->rt, "wait for a batch");
    cl_int code = clWaitForEvents(1, &r->event);
    caps_trace_end(e->rt);
    clReleaseEvent(r->event);
    r->event = NULL;
    r->batch = NULL;
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "evaluate: waiting for a batch");
    for (size_t i = 0; i < batch->n; i++)
        count_image(e, batch, r, i);
    return CAPS_OK;
}

/* All batches: one is counted while the device computes the next. */
static caps_status run_batches(evaluation *e, size_t batch, caps_error *err)
{
    caps_pinned pinned = {.rt = e->rt};
    caps_batcher_options options = {.batch = batch, .augment = CAPS_AUGMENT_NONE};
    if (caps_pinned_helps(e->rt))
        options.memory = (caps_batch_memory){&pinned, caps_pinned_take, caps_pinned_give};
    const caps_inspect_progress *p = &e->options.progress;
    const size_t all = e->ds->n;
    caps_batcher *batcher = NULL;
    caps_status status;
    size_t turn = 0, images = 0;
    CAPS_TRY(caps_batcher_create(&batcher, e->ds, &options, err));
    for (size_t first = 0; first < all; first += images, turn = (turn + 1) % CAPS_BATCHES_HELD) {
        if (p->stop && p->stop(p->user, e->result->n, all))
            CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
                "evaluate: stopped after %zu of %zu images", e->result->n, all));
        CAPS_TRY(start_batch(e, batcher, first, &e->readings[turn], &images, err));
        CAPS_TRY(finish_batch(e, &e->readings[(turn + 1) % CAPS_BATCHES_HELD], err));
    }
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++, turn = (turn + 1) % CAPS_BATCHES_HELD)
        CAPS_TRY(finish_batch(e, &e->readings[turn], err));
done:
    if (batcher && status != CAPS_OK) /* the device may still read batches and write results */
        (void)caps_runtime_finish(e->rt, NULL);
    caps_batcher_free(batcher);
    return status;
}

caps_status caps_evaluate(caps_model *m, const caps_dataset *ds,
    const caps_evaluate_options *options, caps_evaluation *result, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(m);
    const double began = caps_clock_seconds();
    evaluation e = {.model = m, .rt = caps_model_get_runtime(m), .ds = ds, .result = result};
    caps_status status;
    *result = (caps_evaluation){.classes = info->classes, .labels = info->labels};
    caps_trace_begin(e.rt, "evaluate");
    CAPS_TRY(caps_options_read(&e.options, sizeof e.options, options, options ? options->size : 0,
        "caps_evaluate_options", err));
    CAPS_TRY(caps_data_check(ds, caps_model_get_spec(m), err));
    size_t batch = caps_model_get_micro_batch(m);
    if (batch > ds->n)
        batch = ds->n;
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++)
        CAPS_TRY(readings_init(&e.readings[i], batch, info, e.options.change != NULL, err));
    result->confusion = calloc(info->classes * info->classes, sizeof *result->confusion);
    if (!result->confusion)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu classes", info->classes));
    CAPS_TRY(run_batches(&e, batch, err));
    const double n = (double)result->n;
    result->error_percent = 100 * (double)result->errors / n;
    result->label_error_percent = 100 * (double)result->label_errors / (n * (double)result->labels);
    result->class_loss /= n;
    result->reconstruction_sse /= n;
    result->seconds = caps_clock_seconds() - began;
done:
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++)
        readings_release(&e.readings[i]);
    caps_trace_end(e.rt);
    if (status != CAPS_OK)
        caps_evaluation_release(result);
    return status;
}

void caps_evaluation_class(
    const caps_evaluation *result, size_t j, uint64_t *images, uint64_t *errors)
{
    const uint64_t *row = result->confusion + j * result->classes;
    *images = 0;
    for (size_t k = 0; k < result->classes; k++)
        *images += row[k];
    *errors = *images - row[j];
}

double caps_evaluation_balanced_percent(const caps_evaluation *result)
{
    double sum = 0;
    size_t present = 0;
    for (size_t j = 0; j < result->classes; j++) {
        uint64_t images, errors;
        caps_evaluation_class(result, j, &images, &errors);
        if (images == 0)
            continue;
        sum += 100 * (double)errors / (double)images;
        present++;
    }
    return present > 0 ? sum / (double)present : NAN;
}

void caps_evaluation_release(caps_evaluation *result)
{
    free(result->confusion);
    *result = (caps_evaluation){0};
}
