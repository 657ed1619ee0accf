/* members.c: see members.h. */
#include "members.h"

#include <signal.h>
#include <string.h>

#include "clock.h"
#include "fail.h"

static double team_deadline(const caps_team *t)
{
    return t->timeout > 0 ? caps_clock_seconds() + t->timeout * (t->compared ? 1 : CAPS_TEAM_FIRST)
                          : 0;
}

/* Nobody waits any more; to end what they are at all have as much time again. With the lock. */
static void team_abort(caps_team *t)
{
    if (!t->aborted)
        t->anew = caps_clock_seconds();
    t->aborted = true;
    if (t->ranks)
        caps_ranks_sum_abort(t->ranks);
    pthread_cond_broadcast(&t->changed);
}

/* Those that are not here after all that time have failed. */
static void team_give_up(caps_team *t)
{
    team_abort(t);
    for (size_t i = 0; i < t->n; i++)
        if (!t->members[i].arrived && !t->members[i].abroad)
            t->members[i].stuck = true;
}

/* Waits for a change. The time of *until does not run while a member waits for other ranks, whose
 * courier knows whether they are there. It may have begun anew since *until was reckoned. */
static void team_wait_long(caps_team *t, double *until)
{
    bool abroad = false;
    if (caps_clock_wait(&t->changed, &t->lock, *until))
        return;
    for (size_t i = 0; i < t->n; i++)
        abroad = abroad || t->members[i].abroad;
    const double now = caps_clock_seconds();
    const double left = team_deadline(t), renewed = abroad ? left : t->anew + left - now;
    if (renewed > now) {
        *until = renewed;
    } else {
        team_give_up(t);
        *until = left; /* for the others, who end what they are at */
    }
}

void caps_member_leave(caps_member *m)
{
    pthread_mutex_lock(&m->team->lock);
    m->abroad = true;
    pthread_mutex_unlock(&m->team->lock);
}

void caps_member_return(caps_member *m, double began)
{
    pthread_mutex_lock(&m->team->lock);
    m->abroad = false;
    m->team->anew = caps_clock_seconds();
    pthread_mutex_unlock(&m->team->lock);
    m->work.waiting_seconds += caps_clock_seconds() - began;
}

bool caps_member_meet(caps_member *m)
{
    caps_team *t = m->team;
    const double began = caps_clock_seconds();
    pthread_mutex_lock(&t->lock);
    const uint64_t meeting = t->meetings;
    double until = team_deadline(t);
    m->arrived = true;
    if (++t->met == t->n) {
        t->met = 0;
        t->meetings++;
        for (size_t i = 0; i < t->n; i++)
            t->members[i].arrived = false;
        pthread_cond_broadcast(&t->changed);
    }
    while (t->meetings == meeting && !t->aborted)
        team_wait_long(t, &until);
    const bool all = t->meetings != meeting; /* who failed after it was here */
    m->arrived = m->arrived && all;          /* else it has its own device to wait for */
    pthread_mutex_unlock(&t->lock);
    m->work.waiting_seconds += caps_clock_seconds() - began;
    return all;
}

static void member_do(caps_member *m, caps_member_job *job)
{
    const double began = caps_clock_seconds(), waited = m->work.waiting_seconds;
    m->error = (caps_error){0};
    m->status = job(m, &m->error);
    m->work.busy_seconds += caps_clock_seconds() - began - (m->work.waiting_seconds - waited);
    pthread_mutex_lock(&m->team->lock);
    m->jobs++;
    m->arrived = true;
    if (m->status != CAPS_OK)
        team_abort(m->team);
    pthread_cond_broadcast(&m->team->changed);
    pthread_mutex_unlock(&m->team->lock);
}

static void *member_run(void *context)
{
    caps_member *m = context;
    caps_team *t = m->team;
    for (;;) {
        pthread_mutex_lock(&t->lock);
        while (t->jobs == m->jobs && !t->stops)
            pthread_cond_wait(&t->changed, &t->lock);
        caps_member_job *job = t->job;
        const bool stops = t->stops;
        pthread_mutex_unlock(&t->lock);
        if (stops)
            return NULL;
        member_do(m, job);
    }
}

/* The first member whose own failure ended the job, of those that were left; n: none. */
static size_t team_failed(const caps_team *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (i != t->lost &&
            (t->members[i].stuck ||
                (t->members[i].status != CAPS_OK && t->members[i].status != CAPS_ERR_INTERRUPTED)))
            return i;
    return t->n;
}

/* What a member met with is that another rank has failed, which says why. */
static bool is_of_rank(const caps_team *t, const caps_error *error)
{
    caps_error of_rank = {0};
    return caps_ranks_check(t->ranks, &of_rank) != CAPS_OK && error->message[0] &&
           strcmp(error->message, of_rank.message) == 0;
}

caps_status caps_team_do(caps_team *t, caps_member_job *job, caps_error *err)
{
    pthread_mutex_lock(&t->lock);
    t->job = job;
    t->jobs++;
    t->aborted = false;
    t->met = 0;
    for (size_t i = 0; i < t->n; i++)
        t->members[i].arrived = false;
    pthread_cond_broadcast(&t->changed);
    double until = team_deadline(t);
    for (size_t i = 0; i < t->n; i++)
        while (t->members[i].jobs != t->jobs && !t->members[i].stuck)
            team_wait_long(t, &until);
    pthread_mutex_unlock(&t->lock);
    const size_t failed = team_failed(t);
    bool done = true;
    for (size_t i = 0; i < t->n; i++)
        done = done && t->members[i].status == CAPS_OK;
    if (failed == t->n || is_of_rank(t, &t->members[failed].error))
        return done ? CAPS_OK : caps_ranks_check(t->ranks, err);
    t->lost = failed;
    const caps_member *m = &t->members[failed];
    const caps_device_info *d = caps_runtime_device(m->rt);
    if (m->stuck)
        return caps_fail(
            err, CAPS_ERR_OPENCL, "device %s (%s): no answer for %g s", d->id, d->name, t->timeout);
    if (err)
        *err = m->error;
    return caps_fail_prefix(err, m->status, "device %s (%s)", d->id, d->name);
}

caps_status caps_member_left(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_INTERRUPTED, "another device has failed"); /* which says why */
}

/* With all signals blocked: Ctrl-C is for the thread that trains. */
caps_status caps_members_start(caps_team *t, caps_error *err)
{
    sigset_t all, before;
    int code = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; !caps_team_is_alone(t) && i < t->n && code == 0; i++) {
        code = pthread_create(&t->members[i].thread, NULL, member_run, &t->members[i]);
        t->members[i].started = code == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? CAPS_OK
                     : caps_fail(err, CAPS_ERR_MEMORY,
                           "cannot start a thread for each of %zu devices", t->n);
}

bool caps_members_stop(caps_team *t)
{
    bool all = true;
    pthread_mutex_lock(&t->lock);
    t->stops = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 0; i < t->n; i++) {
        caps_member *m = &t->members[i];
        all = all && !m->stuck;
        if (m->started && !m->stuck)
            pthread_join(m->thread, NULL);
    }
    return all;
}
