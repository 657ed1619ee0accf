/* evaluate.c: errors, losses and confusion of a model on a data set. The results of one batch are
 * counted while the device computes the next. Models on several devices take turns. */
#include <math.h>
#include <pthread.h>
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
    size_t first;            /* its first image */
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

typedef struct evaluation evaluation;

/* A model on its device, and the batches that it computes: index, index + lanes, ... */
typedef struct lane {
    evaluation *e;
    size_t index;
    caps_model *model;
    caps_runtime *rt;
    void *change_user;
    readings readings[CAPS_BATCHES_HELD]; /* of the batch that is given to the device and of the
                                             one before */
    pthread_t thread;
    bool started;
    caps_status status;
    caps_error error;
} lane;

/* An evaluation under way. */
struct evaluation {
    const caps_dataset *ds;
    caps_evaluate_options options;
    caps_evaluation *result;
    lane *lanes; /* [count] */
    size_t count, batch;

    /* Of several lanes: what they leave, in the order of the images. */
    readings all;         /* [n, ...] */
    int32_t *true_labels; /* [n, L] */
    bool *done;           /* [batches] */
    pthread_mutex_t lock; /* guards done, the lanes' status and: */
    pthread_cond_t changed;
    bool has_lock, has_changed, stopped;
};

/* ---- a batch on its device ------------------------------------------------------------------ */

/* Enqueues a batch and the reading of its results. */
static caps_status enqueue_batch(lane *a, const caps_batch *batch, readings *r, caps_error *err)
{
    caps_model *m = a->model;
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
    cl_int code = clFlush(caps_runtime_queue(a->rt));
    if (code != CL_SUCCESS)
        CAPS_TRY(caps_fail_cl(err, code, "flushing the queue"));
    r->batch = batch;
done:
    return status;
}

/* Makes the next batch, changes it where that is requested, and gives it to the device. */
static caps_status start_batch(
    lane *a, caps_batcher *batcher, size_t first, readings *r, caps_error *err)
{
    const caps_evaluate_options *o = &a->e->options;
    caps_status status = CAPS_OK;
    caps_trace_begin(a->rt, "make batch");
    const caps_batch *batch = caps_batcher_next(batcher);
    caps_trace_end(a->rt);
    if (o->change) {
        const caps_images given = {batch->n, batch->images, batch->labels, batch->targets};
        caps_trace_begin(a->rt, "change batch");
        status = o->change(a->change_user, &given, first, r->changed, err);
        caps_trace_end(a->rt);
        CAPS_TRY(status);
    }
    caps_trace_begin(a->rt, "enqueue batch");
    status = enqueue_batch(a, batch, r, err);
    caps_trace_end(a->rt);
    r->first = first;
done:
    return status;
}

/* ---- counting ------------------------------------------------------------------------------- */

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

/* Image i of the readings. Sums are in double, image by image: the result does not depend on the
 * batch's size. */
static void count_image(evaluation *e, const int32_t *true_labels, readings *r, size_t i)
{
    caps_evaluation *result = e->result;
    const size_t labels = result->labels;
    int32_t *label = r->best + i * labels;
    const int32_t *true_label = true_labels + i * labels;
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

/* A batch of one of several lanes waits for those before it. */
static void retain_batch(evaluation *e, const readings *r)
{
    const size_t n = r->batch->n, at = r->first, j = e->result->classes, l = e->result->labels;
    memcpy(e->all.lengths + at * j, r->lengths, n * j * sizeof *r->lengths);
    memcpy(e->all.best + at * l, r->best, n * l * sizeof *r->best);
    memcpy(e->all.class_loss + at, r->class_loss, n * sizeof *r->class_loss);
    memcpy(e->all.sse + at * l, r->sse, n * l * sizeof *r->sse);
    memcpy(e->true_labels + at * l, r->batch->labels, n * l * sizeof *e->true_labels);
    pthread_mutex_lock(&e->lock);
    e->done[at / e->batch] = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

/* Waits for a batch that was started, if there is one, and counts it. */
static caps_status finish_batch(lane *a, readings *r, caps_error *err)
{
    const caps_batch *batch = r->batch;
    if (!batch)
        return CAPS_OK;
    caps_trace_begin(a->rt, "wait for a batch");
    cl_int code = clWaitForEvents(1, &r->event);
    caps_trace_end(a->rt);
    clReleaseEvent(r->event);
    r->event = NULL;
    if (code == CL_SUCCESS && a->e->count > 1)
        retain_batch(a->e, r);
    for (size_t i = 0; code == CL_SUCCESS && a->e->count == 1 && i < batch->n; i++)
        count_image(a->e, batch->labels, r, i);
    r->batch = NULL;
    return code == CL_SUCCESS ? CAPS_OK : caps_fail_cl(err, code, "evaluate: waiting for a batch");
}

static caps_status evaluation_stopped(const evaluation *e, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_INTERRUPTED, "evaluate: stopped after %zu of %zu images",
        e->result->n, e->ds->n);
}

static bool is_stopped(evaluation *e)
{
    const caps_inspect_progress *p = &e->options.progress;
    if (e->count == 1)
        return p->stop && p->stop(p->user, e->result->n, e->ds->n);
    pthread_mutex_lock(&e->lock);
    const bool stopped = e->stopped;
    pthread_mutex_unlock(&e->lock);
    return stopped;
}

/* The batches of a lane: one is counted while the device computes the next. */
static caps_status run_batches(lane *a, caps_error *err)
{
    evaluation *e = a->e;
    caps_pinned pinned = {.rt = a->rt};
    caps_batcher_options options = {.batch = e->batch,
        .augment = CAPS_AUGMENT_NONE,
        .first_batch = a->index,
        .every = e->count};
    if (caps_pinned_helps(a->rt))
        options.memory = (caps_batch_memory){&pinned, caps_pinned_take, caps_pinned_give};
    caps_batcher *batcher = NULL;
    caps_status status = CAPS_OK;
    size_t turn = 0;
    if (a->index * e->batch >= e->ds->n)
        return CAPS_OK;
    CAPS_TRY(caps_batcher_create(&batcher, e->ds, &options, err));
    for (size_t first = a->index * e->batch; first < e->ds->n; first += e->count * e->batch) {
        if (is_stopped(e))
            CAPS_TRY(evaluation_stopped(e, err));
        CAPS_TRY(start_batch(a, batcher, first, &a->readings[turn], err));
        turn = (turn + 1) % CAPS_BATCHES_HELD;
        CAPS_TRY(finish_batch(a, &a->readings[turn], err));
    }
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++, turn = (turn + 1) % CAPS_BATCHES_HELD)
        CAPS_TRY(finish_batch(a, &a->readings[turn], err));
done:
    if (batcher && status != CAPS_OK) /* the device may still read batches and write results */
        (void)caps_runtime_finish(a->rt, NULL);
    caps_batcher_free(batcher);
    return status;
}

/* ---- several lanes -------------------------------------------------------------------------- */

static void *lane_run(void *context)
{
    lane *a = context;
    caps_error error = {0};
    const caps_status status = run_batches(a, &error);
    pthread_mutex_lock(&a->e->lock);
    a->status = status;
    a->error = error;
    a->e->stopped = a->e->stopped || status != CAPS_OK;
    pthread_cond_broadcast(&a->e->changed);
    pthread_mutex_unlock(&a->e->lock);
    return NULL;
}

/* Waits for batch `b`; false: it will not come. */
static bool wait_for_batch(evaluation *e, size_t b)
{
    pthread_mutex_lock(&e->lock);
    while (!e->done[b] && !e->stopped)
        pthread_cond_wait(&e->changed, &e->lock);
    const bool done = e->done[b];
    pthread_mutex_unlock(&e->lock);
    return done;
}

static void stop_lanes(evaluation *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopped = true;
    pthread_mutex_unlock(&e->lock);
}

/* Batches are counted in their order, as the lanes leave them. */
static caps_status count_lanes(evaluation *e, caps_error *err)
{
    const caps_inspect_progress *p = &e->options.progress;
    const size_t n = e->ds->n;
    for (size_t first = 0; first < n; first += e->batch) {
        if (p->stop && p->stop(p->user, e->result->n, n)) {
            stop_lanes(e);
            return evaluation_stopped(e, err);
        }
        if (!wait_for_batch(e, first / e->batch))
            return CAPS_OK; /* a lane's error says why */
        for (size_t i = first; i < n && i < first + e->batch; i++)
            count_image(e, e->true_labels, &e->all, i);
    }
    return CAPS_OK;
}

static caps_status run_lanes(evaluation *e, caps_error *err)
{
    const size_t n = e->ds->n, batches = (n + e->batch - 1) / e->batch;
    caps_status status;
    e->true_labels = malloc(n * e->result->labels * sizeof *e->true_labels);
    e->done = calloc(batches, sizeof *e->done);
    e->has_lock = pthread_mutex_init(&e->lock, NULL) == 0;
    e->has_changed = pthread_cond_init(&e->changed, NULL) == 0;
    if (!e->true_labels || !e->done || !e->has_lock || !e->has_changed)
        return caps_fail(err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu images", n);
    CAPS_TRY(readings_init(&e->all, n, caps_model_get_info(e->lanes[0].model), false, err));
    for (size_t k = 0; k < e->count && status == CAPS_OK; k++) {
        lane *a = &e->lanes[k];
        a->started = pthread_create(&a->thread, NULL, lane_run, a) == 0;
        if (!a->started)
            status = caps_fail(err, CAPS_ERR_MEMORY,
                "evaluate: cannot start a thread for each of %zu devices", e->count);
    }
    if (status == CAPS_OK)
        status = count_lanes(e, err);
    else
        stop_lanes(e);
    for (size_t k = 0; k < e->count; k++)
        if (e->lanes[k].started)
            pthread_join(e->lanes[k].thread, NULL);
    for (size_t k = 0; k < e->count && status == CAPS_OK; k++)
        if (e->lanes[k].status != CAPS_OK) {
            status = e->lanes[k].status;
            if (err)
                *err = e->lanes[k].error;
        }
done:
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* A lane for each model; a batch that each of them takes. */
static caps_status make_lanes(evaluation *e, caps_model *m, caps_error *err)
{
    const caps_evaluate_options *o = &e->options;
    const caps_model_info *info = caps_model_get_info(m);
    caps_status status = CAPS_OK;
    e->count = 1 + o->others_count;
    e->batch = e->ds->n;
    e->lanes = calloc(e->count, sizeof *e->lanes);
    if (!e->lanes)
        return caps_fail(err, CAPS_ERR_MEMORY, "evaluate: out of memory");
    for (size_t k = 0; k < e->count; k++) {
        lane *a = &e->lanes[k];
        a->e = e;
        a->index = k;
        a->model = k == 0 ? m : o->others[k - 1];
        a->rt = caps_model_get_runtime(a->model);
        a->change_user =
            k == 0 || !o->others_change_users ? o->change_user : o->others_change_users[k - 1];
        const size_t batch = caps_model_get_micro_batch(a->model);
        e->batch = batch < e->batch ? batch : e->batch;
    }
    for (size_t k = 0; k < e->count; k++)
        for (size_t i = 0; i < CAPS_BATCHES_HELD; i++)
            CAPS_TRY(
                readings_init(&e->lanes[k].readings[i], e->batch, info, o->change != NULL, err));
done:
    return status;
}

static void evaluation_end(evaluation *e)
{
    for (size_t k = 0; e->lanes && k < e->count; k++)
        for (size_t i = 0; i < CAPS_BATCHES_HELD; i++)
            readings_release(&e->lanes[k].readings[i]);
    readings_release(&e->all);
    if (e->has_changed)
        pthread_cond_destroy(&e->changed);
    if (e->has_lock)
        pthread_mutex_destroy(&e->lock);
    free(e->true_labels);
    free(e->done);
    free(e->lanes);
}

caps_status caps_evaluate(caps_model *m, const caps_dataset *ds,
    const caps_evaluate_options *options, caps_evaluation *result, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(m);
    const double began = caps_clock_seconds();
    caps_runtime *rt = caps_model_get_runtime(m);
    evaluation e = {.ds = ds, .result = result};
    caps_status status;
    *result = (caps_evaluation){.classes = info->classes, .labels = info->labels};
    caps_trace_begin(rt, "evaluate");
    CAPS_TRY(caps_options_read(&e.options, sizeof e.options, options, options ? options->size : 0,
        "caps_evaluate_options", err));
    CAPS_TRY(caps_data_check(ds, caps_model_get_spec(m), err));
    CAPS_TRY(make_lanes(&e, m, err));
    result->confusion = calloc(info->classes * info->classes, sizeof *result->confusion);
    if (!result->confusion)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu classes", info->classes));
    CAPS_TRY(e.count > 1 ? run_lanes(&e, err) : run_batches(&e.lanes[0], err));
    const double n = (double)result->n;
    result->error_percent = 100 * (double)result->errors / n;
    result->label_error_percent = 100 * (double)result->label_errors / (n * (double)result->labels);
    result->class_loss /= n;
    result->reconstruction_sse /= n;
    result->seconds = caps_clock_seconds() - began;
done:
    evaluation_end(&e);
    caps_trace_end(rt);
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
