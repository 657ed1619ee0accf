/* lanes.c: see lanes.h. */
#include "lanes.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "pinned.h"
#include "step.h"
#include "trace.h"

static caps_status readings_init(
    caps_readings *r, size_t batch, const caps_model_info *info, bool changed, caps_error *err)
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

static void readings_release(caps_readings *r)
{
    if (r->event)
        clReleaseEvent(r->event);
    free(r->lengths);
    free(r->best);
    free(r->class_loss);
    free(r->sse);
    free(r->changed);
}

typedef struct lanes lanes;

/* A model on its device, and the batches that it computes: index, index + lanes, ... */
typedef struct lane {
    lanes *e;
    size_t index;
    caps_model *model;
    caps_runtime *rt;
    void *change_user;
    caps_readings
        readings[CAPS_BATCHES_HELD]; /* of the batch that is given to the device and of the
                                             one before */
    caps_batcher *batcher;
    pthread_t thread;
    bool started, over;
    bool stuck; /* it does not answer: its thread is left to itself, with what it uses */
    bool busy;  /* whether the device is done with its batches is not known */
    caps_status status;
    caps_error error;
} lane;

/* All of them. */
struct lanes {
    caps_lanes_job job;
    caps_evaluate_options options;
    size_t classes, labels; /* J, L */
    lane *lanes;            /* [count] */
    size_t count, batch;
    size_t counted; /* images */

    /* Of several lanes: what they leave, in the order of the images. */
    caps_readings all;    /* [n, ...] */
    int32_t *true_labels; /* [n, L] */
    bool *done;           /* [batches] */
    pthread_mutex_t lock; /* guards done, stopped, and what the lanes' threads leave */
    pthread_cond_t changed;
    bool has_lock, has_changed, stopped;
};

/* ---- a batch on its device ------------------------------------------------------------------ */

/* Enqueues a batch and the reading of its results. */
static caps_status enqueue_batch(
    lane *a, const caps_batch *batch, caps_readings *r, caps_error *err)
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
static caps_status start_batch(lane *a, size_t first, caps_readings *r, caps_error *err)
{
    const caps_evaluate_options *o = &a->e->options;
    caps_status status = CAPS_OK;
    caps_trace_begin(a->rt, "make batch");
    const caps_batch *batch = caps_batcher_next(a->batcher);
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

/* ---- batches one after the other ------------------------------------------------------------- */

/* A batch of one of several lanes waits for those before it. */
static void retain_batch(lanes *e, const caps_readings *r)
{
    const size_t n = r->batch->n, at = r->first, j = e->classes, l = e->labels;
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

static void count_one(lanes *e, const int32_t *true_labels, caps_readings *r, size_t i)
{
    e->job.count(e->job.user, true_labels, r, i);
    e->counted++;
}

/* Waits for a batch that was started, if there is one, and counts it. */
static caps_status finish_batch(lane *a, caps_readings *r, caps_error *err)
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
        count_one(a->e, batch->labels, r, i);
    r->batch = NULL;
    return code == CL_SUCCESS ? CAPS_OK : caps_fail_cl(err, code, "evaluate: waiting for a batch");
}

static caps_status lanes_stopped(const lanes *e, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_INTERRUPTED, "evaluate: stopped after %zu of %zu images",
        e->counted, e->job.ds->n);
}

static bool is_stopped(lanes *e)
{
    const caps_inspect_progress *p = &e->options.progress;
    if (e->count == 1)
        return p->stop && p->stop(p->user, e->counted, e->job.ds->n);
    pthread_mutex_lock(&e->lock);
    const bool stopped = e->stopped;
    pthread_mutex_unlock(&e->lock);
    return stopped;
}

static bool is_stuck(lane *a)
{
    if (a->e->count == 1)
        return false;
    pthread_mutex_lock(&a->e->lock);
    const bool stuck = a->stuck;
    pthread_mutex_unlock(&a->e->lock);
    return stuck;
}

/* The batches of a lane: one is counted while the device computes the next. */
static caps_status run_batches(lane *a, caps_error *err)
{
    lanes *e = a->e;
    caps_pinned pinned = {.rt = a->rt};
    caps_batcher_options options = {.batch = e->batch,
        .augment = CAPS_AUGMENT_NONE,
        .first_batch = a->index,
        .every = e->count};
    if (caps_pinned_helps(a->rt))
        options.memory = (caps_batch_memory){&pinned, caps_pinned_take, caps_pinned_give};
    caps_status status = CAPS_OK;
    size_t turn = 0;
    if (a->index * e->batch >= e->job.ds->n)
        return CAPS_OK;
    CAPS_TRY(caps_batcher_create(&a->batcher, e->job.ds, &options, err));
    for (size_t first = a->index * e->batch; first < e->job.ds->n; first += e->count * e->batch) {
        if (is_stopped(e))
            CAPS_TRY(lanes_stopped(e, err));
        CAPS_TRY(start_batch(a, first, &a->readings[turn], err));
        turn = (turn + 1) % CAPS_BATCHES_HELD;
        CAPS_TRY(finish_batch(a, &a->readings[turn], err));
    }
    for (size_t i = 0; i < CAPS_BATCHES_HELD; i++, turn = (turn + 1) % CAPS_BATCHES_HELD)
        CAPS_TRY(finish_batch(a, &a->readings[turn], err));
done:
    if (a->batcher && status != CAPS_OK) /* the device may still read batches and write results */
        a->busy = caps_runtime_finish(a->rt, NULL) != CAPS_OK && e->count > 1;
    if (!is_stuck(a) && !a->busy)
        caps_batcher_free(a->batcher);
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
    a->over = true;
    a->e->stopped = a->e->stopped || status != CAPS_OK;
    pthread_cond_broadcast(&a->e->changed);
    pthread_mutex_unlock(&a->e->lock);
    return NULL;
}

static double lanes_deadline(const lanes *e)
{
    return e->options.timeout_seconds > 0 ? caps_clock_seconds() + e->options.timeout_seconds : 0;
}

/* Waits for batch `b`; false: it will not come. */
static bool wait_for_batch(lanes *e, size_t b)
{
    pthread_mutex_lock(&e->lock);
    const double until = lanes_deadline(e);
    while (!e->done[b] && !e->stopped)
        if (!caps_clock_wait(&e->changed, &e->lock, until))
            e->stopped = e->lanes[b % e->count].stuck = true;
    const bool done = e->done[b];
    pthread_mutex_unlock(&e->lock);
    return done;
}

/* Waits until all threads are over but those that do not answer. */
static void end_lanes(lanes *e)
{
    pthread_mutex_lock(&e->lock);
    const double until = lanes_deadline(e);
    for (size_t k = 0; k < e->count; k++)
        while (e->lanes[k].started && !e->lanes[k].over && !e->lanes[k].stuck)
            if (!caps_clock_wait(&e->changed, &e->lock, until))
                e->lanes[k].stuck = true;
    pthread_mutex_unlock(&e->lock);
    for (size_t k = 0; k < e->count; k++)
        if (!e->lanes[k].stuck && e->lanes[k].started)
            pthread_join(e->lanes[k].thread, NULL);
    for (size_t k = 0; k < e->count; k++)
        if (e->lanes[k].stuck || e->lanes[k].busy)
            caps_batcher_stop(e->lanes[k].batcher); /* which reads the data set */
}

static void stop_lanes(lanes *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopped = true;
    pthread_mutex_unlock(&e->lock);
}

/* The first lane that failed by itself gives the error. */
static caps_status lanes_status(const lanes *e, caps_error *err)
{
    caps_evaluate_failure *failure = e->options.failure;
    size_t k = 0;
    while (k < e->count && !e->lanes[k].stuck &&
           (e->lanes[k].status == CAPS_OK || e->lanes[k].status == CAPS_ERR_INTERRUPTED))
        k++;
    if (k == e->count)
        return CAPS_OK;
    const lane *a = &e->lanes[k];
    const caps_device_info *d = caps_runtime_device(a->rt);
    if (failure && (a->stuck || a->status != CAPS_ERR_MEMORY))
        *failure = (caps_evaluate_failure){true, k, a->stuck};
    if (a->stuck)
        return caps_fail(err, CAPS_ERR_OPENCL, "device %s (%s): no answer for %g s", d->id, d->name,
            e->options.timeout_seconds);
    if (err)
        *err = a->error;
    return caps_fail_prefix(err, a->status, "device %s (%s)", d->id, d->name);
}

/* Batches are counted in their order, as the lanes leave them. */
static caps_status count_lanes(lanes *e, caps_error *err)
{
    const caps_inspect_progress *p = &e->options.progress;
    const size_t n = e->job.ds->n;
    for (size_t first = 0; first < n; first += e->batch) {
        if (p->stop && p->stop(p->user, e->counted, n)) {
            stop_lanes(e);
            return lanes_stopped(e, err);
        }
        if (!wait_for_batch(e, first / e->batch))
            return CAPS_OK; /* a lane's error says why */
        for (size_t i = first; i < n && i < first + e->batch; i++)
            count_one(e, e->true_labels, &e->all, i);
    }
    return CAPS_OK;
}

static caps_status run_lanes(lanes *e, caps_error *err)
{
    const size_t n = e->job.ds->n, batches = (n + e->batch - 1) / e->batch;
    caps_status status;
    e->true_labels = malloc(n * e->labels * sizeof *e->true_labels);
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
    end_lanes(e);
    const caps_status failed = lanes_status(e, status == CAPS_OK ? err : NULL);
    status = status == CAPS_OK ? failed : status;
done:
    return status;
}

/* A lane for each model; a batch that each of them takes. */
static caps_status make_lanes(lanes *e, caps_error *err)
{
    const caps_evaluate_options *o = &e->options;
    const caps_model_info *info = caps_model_get_info(e->job.model);
    caps_status status = CAPS_OK;
    e->count = 1 + o->others_count;
    e->batch = e->job.ds->n;
    e->lanes = calloc(e->count, sizeof *e->lanes);
    if (!e->lanes)
        return caps_fail(err, CAPS_ERR_MEMORY, "evaluate: out of memory");
    for (size_t k = 0; k < e->count; k++) {
        lane *a = &e->lanes[k];
        a->e = e;
        a->index = k;
        a->model = k == 0 ? e->job.model : o->others[k - 1];
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

/* What a device may still use is not freed. */
static void lanes_free(lanes *e)
{
    bool used = false;
    for (size_t k = 0; e->lanes && k < e->count; k++)
        used = used || e->lanes[k].stuck || e->lanes[k].busy;
    if (used)
        return;
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
    free(e);
}

caps_status caps_lanes_run(const caps_lanes_job *job, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(job->model);
    caps_status status;
    lanes *e =
        malloc(sizeof *e); /* a thread that does not answer needs it longer than the caller */
    if (!e)
        return caps_fail(err, CAPS_ERR_MEMORY, "evaluate: out of memory");
    *e = (lanes){
        .job = *job, .options = *job->options, .classes = info->classes, .labels = info->labels};
    CAPS_TRY(make_lanes(e, err));
    CAPS_TRY(e->count > 1 ? run_lanes(e, err) : run_batches(&e->lanes[0], err));
done:
    lanes_free(e);
    return status;
}
