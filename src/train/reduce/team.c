/* team.c: see team.h. */
#include "team.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "exchange.h"
#include "fail.h"
#include "file.h"
#include "shares.h"

typedef struct member member;
typedef caps_status member_job(member *m, caps_error *err);

struct member {
    caps_team *team;
    size_t index;
    caps_runtime *rt;
    caps_model *model; /* its own */
    caps_stepper stepper;
    caps_exchange exchange;
    pthread_t thread;
    bool started;
    uint64_t jobs; /* that it has ended */
    caps_status status;
    caps_error error; /* of the last job */
    bool arrived;     /* at the meeting point, or its job is done */
    bool stuck;       /* it does not answer: its thread is left to itself */
    caps_step_result result;
    caps_member_work work;
    bool differs;  /* it is sent the lead's parameters */
    uint64_t hash; /* of its parameters */
};

struct caps_team {
    size_t n;
    member *members;     /* [n] */
    uint32_t *weights;   /* [n] */
    caps_model **models; /* [n]: the members' */
    size_t pixels, labels;
    caps_optimizer optimizer;
    bool compared;  /* after the first step, whose times do not count */
    size_t lost;    /* n: no member */
    uint64_t taken; /* the last step whose results the caller has; of several members */
    double timeout;

    /* The job at hand, the same for all. */
    const caps_images *images;
    double lr;
    float **hosts; /* [n]: a piece, where each member has it */
    const float *sent;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool has_lock, has_changed;
    member_job *job;
    uint64_t jobs; /* that were begun */
    bool stops;    /* the threads end */
    size_t met;    /* members at the meeting point */
    uint64_t meetings;
    bool aborted; /* a member has failed: nobody waits for it */
};

/* ---- threads -------------------------------------------------------------------------------- */

/* Waits for a change; false: none came until `until` on caps_clock_seconds (0: for ever). */
static bool team_wait(caps_team *t, double until)
{
    if (until <= 0)
        return pthread_cond_wait(&t->changed, &t->lock) == 0;
    struct timespec at;
    const double left = until - caps_clock_seconds();
    if (left <= 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += (time_t)left;
    at.tv_nsec += (long)((left - floor(left)) * 1e9);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&t->changed, &t->lock, &at);
    return true;
}

static double team_deadline(const caps_team *t)
{
    return t->timeout > 0 ? caps_clock_seconds() + t->timeout * (t->compared ? 1 : CAPS_TEAM_FIRST)
                          : 0;
}

/* Those that are not here after all that time have failed. */
static void team_give_up(caps_team *t)
{
    t->aborted = true;
    for (size_t i = 0; i < t->n; i++)
        t->members[i].stuck = !t->members[i].arrived;
    pthread_cond_broadcast(&t->changed);
}

/* Waits until all members are here; false: one of them has failed. */
static bool team_meet(member *m)
{
    caps_team *t = m->team;
    const double began = caps_clock_seconds();
    pthread_mutex_lock(&t->lock);
    const uint64_t meeting = t->meetings;
    const double until = team_deadline(t);
    m->arrived = true;
    if (++t->met == t->n) {
        t->met = 0;
        t->meetings++;
        for (size_t i = 0; i < t->n; i++)
            t->members[i].arrived = false;
        pthread_cond_broadcast(&t->changed);
    }
    while (t->meetings == meeting && !t->aborted)
        if (!team_wait(t, until))
            team_give_up(t);
    const bool all = t->meetings != meeting; /* who failed after it was here */
    pthread_mutex_unlock(&t->lock);
    m->work.waiting_seconds += caps_clock_seconds() - began;
    return all;
}

static void member_do(member *m, member_job *job)
{
    const double began = caps_clock_seconds(), waited = m->work.waiting_seconds;
    m->error = (caps_error){0};
    m->status = job(m, &m->error);
    m->work.busy_seconds += caps_clock_seconds() - began - (m->work.waiting_seconds - waited);
    pthread_mutex_lock(&m->team->lock);
    m->jobs++;
    m->arrived = true;
    if (m->status != CAPS_OK)
        m->team->aborted = true;
    pthread_cond_broadcast(&m->team->changed);
    pthread_mutex_unlock(&m->team->lock);
}

static void *member_run(void *context)
{
    member *m = context;
    caps_team *t = m->team;
    for (;;) {
        pthread_mutex_lock(&t->lock);
        while (t->jobs == m->jobs && !t->stops)
            pthread_cond_wait(&t->changed, &t->lock);
        member_job *job = t->job;
        const bool stops = t->stops;
        pthread_mutex_unlock(&t->lock);
        if (stops)
            return NULL;
        member_do(m, job);
    }
}

/* The first member whose own failure ended the job; n: none. */
static size_t team_failed(const caps_team *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->members[i].stuck ||
            (t->members[i].status != CAPS_OK && t->members[i].status != CAPS_ERR_INTERRUPTED))
            return i;
    return t->n;
}

/* All members do it at the same time. */
static caps_status team_do(caps_team *t, member_job *job, caps_error *err)
{
    pthread_mutex_lock(&t->lock);
    t->job = job;
    t->jobs++;
    t->aborted = false;
    t->met = 0;
    for (size_t i = 0; i < t->n; i++)
        t->members[i].arrived = false;
    pthread_cond_broadcast(&t->changed);
    const double until = team_deadline(t);
    for (size_t i = 0; i < t->n; i++)
        while (t->members[i].jobs != t->jobs && !t->members[i].stuck)
            if (!team_wait(t, until))
                team_give_up(t);
    pthread_mutex_unlock(&t->lock);
    const size_t failed = team_failed(t);
    if (failed == t->n)
        return CAPS_OK;
    t->lost = failed;
    const member *m = &t->members[failed];
    const caps_device_info *d = caps_runtime_device(m->rt);
    if (m->stuck)
        return caps_fail(
            err, CAPS_ERR_OPENCL, "device %s (%s): no answer for %g s", d->id, d->name, t->timeout);
    if (err)
        *err = m->error;
    return caps_fail_prefix(err, m->status, "device %s (%s)", d->id, d->name);
}

/* A job whose meeting failed: the member that failed says why. */
static caps_status member_left(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_INTERRUPTED, "another device has failed");
}

/* With all signals blocked: Ctrl-C is for the thread that trains. */
static caps_status team_start(caps_team *t, caps_error *err)
{
    sigset_t all, before;
    int code = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; t->n > 1 && i < t->n && code == 0; i++) {
        code = pthread_create(&t->members[i].thread, NULL, member_run, &t->members[i]);
        t->members[i].started = code == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? CAPS_OK
                     : caps_fail(err, CAPS_ERR_MEMORY,
                           "cannot start a thread for each of %zu devices", t->n);
}

/* ---- a step --------------------------------------------------------------------------------- */

static caps_status member_ready(void *user, size_t first, size_t count, caps_error *err)
{
    member *m = user;
    (void)count; /* the layers behind it are enqueued already */
    return caps_exchange_take(&m->exchange, first, err);
}

static void share_of(const member *m, size_t *first, size_t *count)
{
    caps_share_get(first, count, m->team->weights, m->team->n, m->index, m->team->images->b);
}

enum { BLOCK = 2048 }; /* floats that stay in the first cache while they are summed */

/* This member's part of a piece: summed over the members in their order, and put back into all. The
 * gradients of members without images are not of this step. */
static void sum_part(const member *m, size_t count)
{
    const caps_team *t = m->team;
    const size_t each = (count / t->n + 15) / 16 * 16;
    const size_t begin = each * m->index < count ? each * m->index : count;
    const size_t end = m->index + 1 == t->n || begin + each > count ? count : begin + each;
    float sum[BLOCK];
    for (size_t at = begin, length; at < end; at += length) {
        bool any = false;
        length = end - at < BLOCK ? end - at : BLOCK;
        for (size_t k = 0; k < t->n; k++) {
            size_t first, images;
            caps_share_get(&first, &images, t->weights, t->n, k, t->images->b);
            const float *restrict from = t->hosts[k] + at;
            if (images == 0)
                continue;
            if (any)
                for (size_t i = 0; i < length; i++)
                    sum[i] += from[i];
            else
                memcpy(sum, from, length * sizeof *sum);
            any = true;
        }
        for (size_t k = 0; k < t->n; k++)
            memcpy(t->hosts[k] + at, sum, length * sizeof *sum);
    }
}

/* Between gradients and optimizer: every piece is summed once all members have it. */
static caps_status member_reduce(void *user, caps_model *model, caps_error *err)
{
    member *m = user;
    caps_exchange *x = &m->exchange;
    caps_status status;
    (void)model;
    CAPS_TRY(caps_exchange_take(x, 0, err)); /* a member without images has not taken them */
    for (size_t i = 0; i < x->count; i++) {
        CAPS_TRY(caps_exchange_wait(x, i, err));
        m->team->hosts[m->index] = x->pieces[i].host;
        if (!team_meet(m))
            CAPS_TRY(member_left(err));
        sum_part(m, x->pieces[i].count);
        if (!team_meet(m))
            CAPS_TRY(member_left(err));
        CAPS_TRY(caps_exchange_give(x, i, err));
    }
    CAPS_TRY(caps_exchange_end(x, err));
    if (!team_meet(m)) /* all take the step, or nobody does */
        CAPS_TRY(member_left(err));
done:
    if (status != CAPS_OK)
        caps_exchange_drop(x);
    return status;
}

/* The lead's parameters, where a member's own are not the same. */
static caps_status member_send(member *m, caps_error *err)
{
    caps_team *t = m->team;
    caps_model_view view = {0};
    caps_status status = CAPS_OK;
    if (m->index == 0) {
        CAPS_TRY(caps_model_map(m->model, &view, err));
        t->sent = view.parameters;
    }
    if (!team_meet(m))
        CAPS_TRY(member_left(err));
    if (m->differs)
        CAPS_TRY(caps_model_set_parameters(m->model, t->sent, err));
    if (!team_meet(m))
        CAPS_TRY(member_left(err));
done:
    if (m->index == 0 && view.parameters) {
        const caps_status unmapped =
            caps_model_unmap(m->model, &view, status == CAPS_OK ? err : NULL);
        status = status == CAPS_OK ? unmapped : status;
    }
    return status;
}

static bool team_differs(const caps_team *t)
{
    bool differs = false;
    for (size_t i = 0; i < t->n; i++)
        differs = differs || t->members[i].differs;
    return differs;
}

static caps_status member_enqueue(member *m, caps_error *err)
{
    const caps_team *t = m->team;
    const caps_images *all = t->images;
    caps_status status;
    size_t first, count;
    share_of(m, &first, &count);
    const caps_images own = {count, all->images + first * t->pixels,
        all->labels + first * t->labels,
        all->targets ? all->targets + first * t->labels * t->pixels : NULL};
    m->stepper.first = first;
    m->stepper.total = all->b;
    CAPS_TRY(caps_stepper_enqueue(&m->stepper, &own, t->lr, err));
    if (team_differs(t))
        CAPS_TRY(member_send(m, err));
    m->work.images += count;
    m->work.timed_images += t->compared ? count : 0;
done:
    return status;
}

static caps_status member_take(member *m, caps_error *err)
{
    return caps_stepper_take(&m->stepper, &m->result, err);
}

static caps_status team_enqueue_alone(
    caps_team *t, const caps_images *images, double lr, caps_error *err)
{
    member *m = &t->members[0];
    caps_status status = caps_stepper_enqueue(&m->stepper, images, lr, err);
    m->work.images += status == CAPS_OK ? images->b : 0;
    return status;
}

static void forget_times(caps_team *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->members[i].work.busy_seconds = t->members[i].work.waiting_seconds = 0;
}

caps_status caps_team_enqueue(caps_team *t, const caps_images *images, double lr, caps_error *err)
{
    caps_status status;
    if (t->n == 1)
        return team_enqueue_alone(t, images, lr, err);
    t->images = images;
    t->lr = lr;
    CAPS_TRY(team_do(t, member_enqueue, err));
    if (!t->compared) {
        bool sent;
        t->compared = true;
        CAPS_TRY(caps_team_compare(t, &sent, err));
        forget_times(t);
    }
done:
    return status;
}

/* A member's results are added to those of the members before it. */
static void add_result(caps_step_result *sum, const caps_step_result *r)
{
    sum->images += r->images;
    sum->totals.class_loss += r->totals.class_loss;
    sum->totals.sse += r->totals.sse;
    sum->totals.errors += r->totals.errors;
    if (sum->finite && !r->finite) {
        sum->finite = false;
        memcpy(sum->where, r->where, sizeof sum->where);
    }
}

/* Where a member was lost the others' steps are taken one by one. */
static caps_status take_left(caps_team *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < t->n; i++)
        if (i != t->lost && t->members[i].stepper.taken == t->taken)
            CAPS_TRY(member_take(&t->members[i], err));
done:
    return status;
}

/* What a lost member's images would have added is what the others' did on average. */
static void count_lost(const caps_team *t, caps_step_result *sum)
{
    const size_t images = caps_stepper_images(&t->members[t->lost].stepper, sum->step);
    const double scale = (double)(sum->images + images) / (double)sum->images;
    sum->images += images;
    sum->totals.class_loss *= scale;
    sum->totals.sse *= scale;
    sum->totals.errors *= scale;
}

caps_status caps_team_take(caps_team *t, caps_step_result *result, caps_error *err)
{
    caps_status status;
    if (t->n == 1)
        return caps_stepper_take(&t->members[0].stepper, result, err);
    CAPS_TRY(t->lost < t->n ? take_left(t, err) : team_do(t, member_take, err));
    const size_t first = caps_team_survivor(t);
    t->taken++;
    *result = t->members[first].result;
    for (size_t i = first + 1; i < t->n; i++)
        if (i != t->lost && t->members[i].result.step == result->step)
            add_result(result, &t->members[i].result);
    if (t->lost < t->n)
        count_lost(t, result);
done:
    return status;
}

size_t caps_team_lost(const caps_team *t)
{
    return t->lost;
}

void caps_team_lose(caps_team *t, size_t i)
{
    if (t->n > 1 && t->lost == t->n)
        t->lost = i;
}

bool caps_team_is_stuck(const caps_team *t, size_t i)
{
    return t->members[i].stuck;
}

size_t caps_team_survivor(const caps_team *t)
{
    return t->lost == 0 && t->n > 1 ? 1 : 0;
}

uint64_t caps_team_enqueued(const caps_team *t)
{
    return caps_stepper_enqueued(&t->members[caps_team_survivor(t)].stepper);
}

size_t caps_team_in_flight(const caps_team *t)
{
    return t->n == 1 ? t->members[0].stepper.in_flight : (size_t)(caps_team_enqueued(t) - t->taken);
}

bool caps_team_is_full(const caps_team *t)
{
    return caps_team_in_flight(t) == CAPS_STEPS_AT_ONCE;
}

/* ---- the same parameters -------------------------------------------------------------------- */

static caps_status member_hash(member *m, caps_error *err)
{
    caps_model_view view;
    caps_status status;
    CAPS_TRY(caps_model_map(m->model, &view, err));
    m->hash = caps_hash(CAPS_HASH_START, view.parameters,
        caps_model_flat_count(m->model) * sizeof *view.parameters);
    CAPS_TRY(caps_model_unmap(m->model, &view, err));
done:
    return status;
}

caps_status caps_team_compare(caps_team *t, bool *sent, caps_error *err)
{
    caps_status status = CAPS_OK;
    bool more = false;
    *sent = false;
    if (t->n == 1)
        return CAPS_OK;
    CAPS_TRY(team_do(t, member_hash, err));
    for (size_t i = 1; i < t->n; i++) {
        member *m = &t->members[i];
        more = more || (!m->differs && m->hash != t->members[0].hash);
        m->differs = m->differs || m->hash != t->members[0].hash;
        *sent = *sent || m->differs;
    }
    if (more)
        CAPS_TRY(team_do(t, member_send, err));
done:
    return status;
}

static caps_status team_spread(caps_team *t, caps_error *err)
{
    caps_model_view view = {0};
    caps_status status = CAPS_OK;
    if (t->n == 1)
        return CAPS_OK;
    CAPS_TRY(caps_model_map(t->members[0].model, &view, err));
    for (size_t i = 1; i < t->n; i++) {
        caps_model *m = t->members[i].model;
        CAPS_TRY(caps_model_set_parameters(m, view.parameters, err));
        if (view.moments[0])
            CAPS_TRY(caps_model_set_moments(m, view.moments[0], view.moments[1], err));
    }
    CAPS_TRY(caps_model_unmap(t->members[0].model, &view, err));
done:
    if (status != CAPS_OK)
        caps_model_unmap(t->members[0].model, &view, NULL);
    return status;
}

caps_status caps_team_begin(caps_team *t, uint64_t seed, uint64_t step, caps_error *err)
{
    for (size_t i = 0; i < t->n; i++) {
        member *m = &t->members[i];
        caps_stepper_init(&m->stepper, m->model, t->optimizer, seed, step);
        if (t->n > 1) {
            m->stepper.reduce = member_reduce;
            m->stepper.ready = member_ready;
            m->stepper.reduce_user = m;
        }
    }
    t->compared = false;
    t->taken = step - 1;
    return team_spread(t, err);
}

/* ---- the team ------------------------------------------------------------------------------- */

static caps_status member_init(member *m, const caps_team_options *o, caps_error *err)
{
    caps_team *t = m->team;
    caps_status status;
    size_t first;
    caps_share_get(&first, &m->work.share, t->weights, t->n, m->index, o->batch);
    CAPS_TRY(caps_model_create(&m->model, m->rt, o->spec, &o->models[m->index], err));
    if (t->n > 1)
        CAPS_TRY(caps_exchange_init(&m->exchange, m->model, o->piece, err));
done:
    return status;
}

caps_status caps_team_create(caps_team **out, caps_runtime *const *rts, size_t n,
    const caps_team_options *options, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(options->spec);
    caps_status status = CAPS_OK;
    *out = NULL;
    caps_team *t = calloc(1, sizeof *t);
    if (t) {
        t->n = t->lost = n;
        t->timeout = options->timeout_seconds;
        t->members = calloc(n, sizeof *t->members);
        t->weights = malloc(n * sizeof *t->weights);
        t->hosts = calloc(n, sizeof *t->hosts);
        t->models = calloc(n, sizeof(caps_model *));
    }
    if (!t || !t->members || !t->weights || !t->hosts || !t->models)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    memcpy(t->weights, options->weights, n * sizeof *t->weights);
    t->pixels = info->pixels;
    t->labels = info->labels;
    t->optimizer = options->optimizer;
    t->has_lock = pthread_mutex_init(&t->lock, NULL) == 0;
    t->has_changed = pthread_cond_init(&t->changed, NULL) == 0;
    if (!t->has_lock || !t->has_changed)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    for (size_t i = 0; i < n; i++) {
        member *m = &t->members[i];
        m->team = t;
        m->index = i;
        m->rt = rts[i];
        status = member_init(m, options, err);
        if (status != CAPS_OK && n > 1)
            caps_fail_prefix(err, status, "device %s", caps_runtime_device(rts[i])->id);
        CAPS_TRY(status);
    }
    for (size_t i = 0; i < n; i++)
        t->models[i] = t->members[i].model;
    CAPS_TRY(team_start(t, err));
    *out = t;
    t = NULL;
done:
    caps_team_free(t);
    return status;
}

void caps_team_free(caps_team *t)
{
    if (!t)
        return;
    if (t->has_lock && t->has_changed) {
        pthread_mutex_lock(&t->lock);
        t->stops = true;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
    }
    bool stuck = false;
    for (size_t i = 0; t->members && i < t->n; i++) {
        member *m = &t->members[i];
        stuck = stuck || m->stuck;
        if (m->started && !m->stuck)
            pthread_join(m->thread, NULL);
    }
    if (stuck) /* its thread may come back yet */
        return;
    for (size_t i = 0; t->members && i < t->n; i++) {
        caps_exchange_release(&t->members[i].exchange);
        caps_model_free(t->members[i].model);
    }
    if (t->has_changed)
        pthread_cond_destroy(&t->changed);
    if (t->has_lock)
        pthread_mutex_destroy(&t->lock);
    free(t->models);
    free(t->hosts);
    free(t->weights);
    free(t->members);
    free(t);
}

size_t caps_team_count(const caps_team *t)
{
    return t->n;
}

caps_runtime *caps_team_runtime(const caps_team *t, size_t i)
{
    return t->members[i].rt;
}

caps_model *caps_team_model(const caps_team *t, size_t i)
{
    return t->members[i].model;
}

caps_model *const *caps_team_others(const caps_team *t)
{
    return t->models + 1;
}

caps_member_work caps_team_work(const caps_team *t, size_t i)
{
    return t->members[i].work;
}
