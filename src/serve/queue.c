/* queue.c: see queue.h. */
#include "queue.h"

#include <string.h>

#include "fail.h"

enum { QUICK, SLOW };

static int speed_of(const caps_job *job)
{
    return job->request.task >= CAPS_TASK_SWEEP ? SLOW : QUICK;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static caps_job **list_of(caps_queue *q, int speed)
{
    return speed == SLOW ? &q->slow : &q->quick;
}

static void append(caps_queue *q, caps_job *job)
{
    caps_job **end = list_of(q, speed_of(job));
    while (*end)
        end = &(*end)->next;
    job->next = NULL;
    *end = job;
    q->count++;
}

/* The oldest, which now runs; NULL: none waits. */
static caps_job *take(caps_queue *q, int speed)
{
    caps_job **list = list_of(q, speed), *job = *list;
    if (job) {
        *list = job->next;
        q->count--;
        q->running[speed] = job;
    }
    return job;
}

/* Is `a` of the same kind as `b`, so that only the newer of them counts? */
static bool is_rival(const caps_job *a, const caps_job *b)
{
    return b->request.stream[0] && a->request.task == b->request.task &&
           a->request.model == b->request.model &&
           strcmp(a->request.stream, b->request.stream) == 0;
}

static bool is_behind(const caps_job *a, const caps_job *b)
{
    return a->request.sequence >= 0 && a->request.sequence < b->request.sequence;
}

/* Is there one that is newer by its number? */
static bool is_late(caps_queue *q, const caps_job *job)
{
    const int speed = speed_of(job);
    const caps_job *running = q->running[speed];
    if (running && is_rival(running, job) && is_behind(job, running))
        return true;
    for (const caps_job *other = *list_of(q, speed); other; other = other->next)
        if (is_rival(other, job) && is_behind(job, other))
            return true;
    return false;
}

/* Takes out what `job` replaces: a list. */
static caps_job *take_rivals(caps_queue *q, const caps_job *job)
{
    caps_job *rivals = NULL, **at = list_of(q, speed_of(job));
    while (*at) {
        caps_job *other = *at;
        if (is_rival(other, job)) {
            *at = other->next;
            other->next = rivals;
            rivals = other;
            q->count--;
        } else {
            at = &other->next;
        }
    }
    if (q->running[SLOW] && is_rival(q->running[SLOW], job))
        q->running[SLOW]->superseded = true;
    return rivals;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

void caps_job_release(caps_job *job)
{
    caps_request_release(&job->request);
    caps_textbuf_release(&job->answer);
}

static void drop(caps_job *job, bool superseded)
{
    job->superseded = superseded;
    job->status = caps_fail(
        &job->error, CAPS_ERR_INTERRUPTED, "%s", superseded ? "superseded" : "the server ends");
    job->release(job->user);
}

static void drop_all(caps_job *jobs, bool superseded)
{
    while (jobs) {
        caps_job *next = jobs->next;
        drop(jobs, superseded);
        jobs = next;
    }
}

/* The job's own result, once it no longer counts as running. */
static void finish(caps_queue *q, caps_job *job)
{
    pthread_mutex_lock(&q->lock);
    q->running[speed_of(job)] = NULL;
    pthread_mutex_unlock(&q->lock);
    if (job->status == CAPS_ERR_INTERRUPTED)
        drop(job, job->superseded);
    else
        job->release(job->user);
}

/* Between two batches of a slow job: those that are quick. True: it stops. */
static bool between_batches(void *user, size_t done, size_t total)
{
    caps_queue *q = user;
    (void)done, (void)total;
    pthread_mutex_lock(&q->lock);
    bool stops = q->stopped || q->running[SLOW]->superseded;
    caps_job *job = stops ? NULL : take(q, QUICK);
    pthread_mutex_unlock(&q->lock);
    while (job) {
        job->status =
            caps_explorer_answer(q->explorer, &job->answer, &job->request, NULL, &job->error);
        finish(q, job);
        pthread_mutex_lock(&q->lock);
        stops = q->stopped || q->running[SLOW]->superseded;
        job = stops ? NULL : take(q, QUICK);
        pthread_mutex_unlock(&q->lock);
    }
    return stops;
}

static void *queue_run(void *user)
{
    caps_queue *q = user;
    const caps_inspect_progress between = {between_batches, q};
    pthread_mutex_lock(&q->lock);
    while (!q->stopped) {
        caps_job *job = take(q, QUICK);
        if (!job)
            job = take(q, SLOW);
        if (!job) {
            pthread_cond_wait(&q->changed, &q->lock);
            continue;
        }
        pthread_mutex_unlock(&q->lock);
        job->status = caps_explorer_answer(q->explorer, &job->answer, &job->request,
            speed_of(job) == SLOW ? &between : NULL, &job->error);
        finish(q, job);
        pthread_mutex_lock(&q->lock);
    }
    caps_job *quick = q->quick, *slow = q->slow;
    q->quick = q->slow = NULL;
    q->count = 0;
    pthread_mutex_unlock(&q->lock);
    drop_all(quick, false);
    drop_all(slow, false);
    return NULL;
}

/* ---- the queue ------------------------------------------------------------------------------ */

caps_status caps_queue_init(caps_queue *q, caps_explorer *e, caps_error *err)
{
    *q = (caps_queue){.explorer = e};
    q->has_lock = pthread_mutex_init(&q->lock, NULL) == 0;
    q->has_changed = pthread_cond_init(&q->changed, NULL) == 0;
    if (q->has_lock && q->has_changed)
        q->has_thread = pthread_create(&q->thread, NULL, queue_run, q) == 0;
    if (q->has_thread)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_MEMORY, "serve: cannot start a thread");
}

caps_queued caps_queue_push(caps_queue *q, caps_job *job)
{
    caps_job *rivals = NULL;
    caps_queued queued = CAPS_QUEUED;
    pthread_mutex_lock(&q->lock);
    if (q->stopped) {
        queued = CAPS_QUEUE_ENDED;
    } else if (is_late(q, job)) {
        queued = CAPS_QUEUE_SUPERSEDED;
    } else {
        rivals = take_rivals(q, job);
        if (q->count >= CAPS_QUEUE_MOST)
            queued = CAPS_QUEUE_FULL;
    }
    if (queued == CAPS_QUEUED) {
        job->hold(job->user);
        append(q, job);
        pthread_cond_signal(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    drop_all(rivals, true);
    return queued;
}

void caps_queue_end(caps_queue *q)
{
    if (!q->has_thread)
        return;
    pthread_mutex_lock(&q->lock);
    q->stopped = true;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    q->has_thread = false;
}

void caps_queue_release(caps_queue *q)
{
    caps_queue_end(q);
    if (q->has_changed)
        pthread_cond_destroy(&q->changed);
    if (q->has_lock)
        pthread_mutex_destroy(&q->lock);
    *q = (caps_queue){0};
}
