/* ranks.c: the courier, and how ranks begin. See ranks.h. */
#include "ranks_state.h"

#include <stdarg.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "clock.h"
#include "fail.h"
#include "file.h"

#define LAST_WORDS 1.0  /* seconds for what is still to be sent */
#define GOOD_BYE   10.0 /* for ending the links */

/* ---- tasks of the courier ------------------------------------------------------------------- */

caps_op *caps_op_make(caps_op_kind kind, const void *data, size_t bytes, int peer, int tag)
{
    caps_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    *op = (caps_op){.kind = kind, .bytes = bytes, .peer = peer, .tag = tag, .done = caps_op_free};
    op->data = malloc(bytes ? bytes : 1);
    if (!op->data) {
        free(op);
        return NULL;
    }
    if (data)
        memcpy(op->data, data, bytes);
    return op;
}

void caps_op_free(caps_ranks *r, caps_op *op)
{
    (void)r;
    if (!op->borrowed)
        free(op->data);
    free(op);
}

void caps_ranks_submit(caps_ranks *r, caps_op *op)
{
    pthread_mutex_lock(&r->lock);
    op->next = NULL;
    *r->last = op;
    r->last = &op->next;
    caps_ranks_wake(r);
    pthread_mutex_unlock(&r->lock);
}

static void link_failed(caps_ranks *r)
{
    pthread_mutex_lock(&r->lock);
    r->broken = true;
    pthread_mutex_unlock(&r->lock);
    caps_ranks_fail(r, r->place.rank, CAPS_ERR_RANK, true, "%s", r->link->text());
}

static void op_done(caps_ranks *r, caps_op *op)
{
    size_t *pending = op->pending;
    const bool borrowed = op->borrowed;
    op->done(r, op); /* which may begin others: they count before this one does not */
    if (!pending && !borrowed)
        return;
    pthread_mutex_lock(&r->lock);
    r->borrowed -= borrowed;
    if (pending)
        --*pending;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

enum { LONG = 1 << 18 }; /* bytes of a message that is worth a turn of a rank that computes */

static void note_peer(caps_peer *p, bool is_long)
{
    p->rings = true;
    p->urgent = p->urgent || is_long;
}

/* A message was begun or is done: its other end may have something to do. */
static void note_peers(caps_ranks *r, const caps_op *op)
{
    const bool sum = op->kind == CAPS_OP_SUM;
    for (int i = sum ? 0 : op->peer; i < (sum ? r->place.count : op->peer + 1); i++)
        note_peer(&r->peers[i], !sum && op->bytes >= LONG);
}

void caps_ranks_start(caps_ranks *r, caps_op *op)
{
    const caps_link *l = r->link;
    bool begun = true;
    if (op->borrowed) {
        pthread_mutex_lock(&r->lock);
        r->borrowed++;
        pthread_mutex_unlock(&r->lock);
    }
    switch (op->kind) {
    case CAPS_OP_SEND:
        begun = l->start_send(op->data, op->bytes, op->peer, op->tag, op);
        break;
    case CAPS_OP_RECEIVE:
        begun = l->start_receive(op->data, op->bytes, op->peer, op->tag, op);
        break;
    case CAPS_OP_SUM:
        begun = l->start_sum(op->data, op->bytes, op);
        break;
    case CAPS_OP_CALL:
        op_done(r, op);
        return;
    }
    note_peers(r, op);
    if (begun)
        r->outstanding++;
    else
        link_failed(r);
}

static void op_end(caps_ranks *r, caps_op *op)
{
    r->outstanding--;
    note_peers(r, op);
    if (op->kind == CAPS_OP_RECEIVE)
        r->peers[op->peer].heard = caps_clock_seconds();
    op_done(r, op);
}

static caps_op *take_submitted(caps_ranks *r)
{
    pthread_mutex_lock(&r->lock);
    caps_op *first = r->first;
    r->first = NULL;
    r->last = &r->first;
    pthread_mutex_unlock(&r->lock);
    return first;
}

static void ring_peers(caps_ranks *r)
{
    for (int i = 0; i < r->place.count; i++) {
        caps_peer *p = &r->peers[i];
        if (p->rings && p->bell && i != r->place.rank)
            caps_bell_ring(p->bell, p->urgent);
        p->rings = p->urgent = false;
    }
}

static void courier_turn(caps_ranks *r)
{
    void **done;
    size_t n;
    for (caps_op *op = take_submitted(r), *next; op; op = next) {
        next = op->next;
        r->progress = caps_clock_seconds();
        caps_ranks_start(r, op);
    }
    if (r->broken)
        return;
    if (!r->link->poll(&done, &n)) {
        link_failed(r);
        return;
    }
    if (n > 0)
        r->progress = caps_clock_seconds();
    caps_op
        *ended[64]; /* `done` is gone with the next poll, which op_end may not need: it starts */
    for (size_t at = 0; at < n; at += 64) {
        const size_t some = n - at < 64 ? n - at : 64;
        memcpy(ended, done + at, some * sizeof *ended);
        for (size_t i = 0; i < some; i++)
            op_end(r, ended[i]);
    }
    const double now = caps_clock_seconds();
    caps_ranks_hear(r, now);
    caps_ranks_tell(r, now);
    ring_peers(r);
}

static void courier_begin(caps_ranks *r)
{
#ifdef PR_SET_TIMERSLACK
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL); /* short rests are as short as they say */
#endif
    const bool works = r->link->begin(&r->place);
    if (works)
        r->peers = calloc((size_t)r->place.count, sizeof *r->peers);
    bool rung = works && caps_bell_works() && r->link->bell;
    const bool has = rung;
    for (int i = 0; r->peers && i < r->place.count; i++) {
        r->peers[i].heard = caps_clock_seconds();
        r->peers[i].bell = has ? r->link->bell(i) : NULL;
        rung = rung && r->peers[i].bell;
    }
    pthread_mutex_lock(&r->lock);
    r->rung = rung && r->peers;
    r->bell = has && r->peers ? r->peers[r->place.rank].bell : NULL;
    r->began = true;
    r->broken = !works || !r->peers;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* The last words are sent, then all ranks end their links together. */
static void courier_end(caps_ranks *r, bool works)
{
    const double until = caps_clock_seconds() + LAST_WORDS;
    while (works && (r->first || r->outstanding > 0) && caps_clock_seconds() < until) {
        const struct timespec pause = {0, 1000000};
        courier_turn(r);
        nanosleep(&pause, NULL);
    }
    if (works)
        r->link->end();
    pthread_mutex_lock(&r->lock);
    r->gone = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void *courier_run(void *context)
{
    caps_ranks *r = context;
    courier_begin(r);
    for (;;) {
        pthread_mutex_lock(&r->lock);
        const bool quits = r->quits, works = !r->broken;
        const int stops = r->stops;
        pthread_mutex_unlock(&r->lock);
        if (stops >= 0)
            r->link->stop(stops);
        if (quits) {
            courier_end(r, works);
            return NULL;
        }
        const uint32_t seen = r->bell ? caps_bell_read(r->bell) : 0;
        if (r->peers)
            courier_turn(r);
        caps_ranks_rest(r, seen);
    }
}

/* ---- failure -------------------------------------------------------------------------------- */

void caps_ranks_fail(
    caps_ranks *r, int rank, caps_status status, bool lost, const char *format, ...)
{
    va_list arguments;
    pthread_mutex_lock(&r->lock);
    if (!r->failed) {
        va_start(arguments, format);
        vsnprintf(r->failed_text, sizeof r->failed_text, format, arguments);
        va_end(arguments);
        r->failed = true;
        r->lost = lost;
        r->failed_rank = rank;
        r->failed_status = status;
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

caps_status caps_ranks_check(caps_ranks *r, caps_error *err)
{
    char text[CAPS_ERROR_MESSAGE_BYTES];
    if (!r)
        return CAPS_OK;
    pthread_mutex_lock(&r->lock);
    const bool failed = r->failed;
    const int rank = r->failed_rank;
    const caps_status status = r->failed_status;
    memcpy(text, r->failed_text, sizeof text);
    pthread_mutex_unlock(&r->lock);
    if (!failed)
        return CAPS_OK;
    return caps_fail(err, status, "rank %d (%.64s): %s", rank, caps_ranks_host(r, rank), text);
}

bool caps_ranks_wait(caps_ranks *r, size_t *pending)
{
    pthread_mutex_lock(&r->lock);
    r->waiting++;
    caps_ranks_wake(r);
    while (*pending > 0 && !r->failed)
        pthread_cond_wait(&r->changed, &r->lock);
    r->waiting--;
    const bool done = *pending == 0;
    pthread_mutex_unlock(&r->lock);
    return done;
}

bool caps_ranks_wait_until(caps_ranks *r, double until)
{
    struct timespec at;
    const double left = until - caps_clock_seconds();
    if (left <= 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)left;
    at.tv_nsec += (long)((left - (double)(time_t)left) * 1e9);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&r->changed, &r->lock, &at);
    return true;
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static bool make_conditions(caps_ranks *r)
{
    pthread_condattr_t clock;
    if (pthread_condattr_init(&clock) != 0)
        return false;
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    r->has_lock = pthread_mutex_init(&r->lock, NULL) == 0;
    r->has_changed = pthread_cond_init(&r->changed, &clock) == 0;
    r->has_work = pthread_cond_init(&r->work, &clock) == 0;
    pthread_condattr_destroy(&clock);
    return r->has_lock && r->has_changed && r->has_work;
}

static void ranks_drop(caps_ranks *r)
{
    if (r->has_work)
        pthread_cond_destroy(&r->work);
    if (r->has_changed)
        pthread_cond_destroy(&r->changed);
    if (r->has_lock)
        pthread_mutex_destroy(&r->lock);
    free(r->peers);
    free(r);
}

caps_status caps_ranks_begin(
    caps_ranks **out, const caps_link *link, double silence, caps_error *err)
{
    caps_status status = CAPS_OK;
    sigset_t all, before;
    *out = NULL;
    caps_ranks *r = calloc(1, sizeof *r);
    if (!r)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for ranks");
    *r = (caps_ranks){.link = link,
        .silence = silence > 0 ? silence : CAPS_RANKS_SILENCE,
        .stops = -1,
        .last = NULL,
        .failed_rank = -1};
    r->last = &r->first;
    if (!make_conditions(r)) {
        ranks_drop(r);
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for ranks");
    }
    sigfillset(&all); /* Ctrl-C is for the thread that trains */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r->has_courier = pthread_create(&r->courier, NULL, courier_run, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!r->has_courier) {
        ranks_drop(r);
        return caps_fail(err, CAPS_ERR_MEMORY, "cannot start a thread for messages between ranks");
    }
    pthread_mutex_lock(&r->lock);
    const double limit = silence > 0 ? fmax(silence, CAPS_RANKS_SILENCE) : CAPS_RANKS_BEGIN;
    const double until = caps_clock_seconds() + limit;
    while (!r->began && caps_ranks_wait_until(r, until))
        continue;
    const bool began = r->began;
    pthread_mutex_unlock(&r->lock);
    if (!began) /* its courier is within the link, and stays there */
        return caps_fail(
            err, CAPS_ERR_RANK, "the ranks have not found each other within %g s", limit);
    if (r->broken)
        CAPS_TRY(caps_fail(err, CAPS_ERR_RANK, "%s",
            r->peers || !*link->text() ? "out of memory for ranks" : link->text()));
    /* Where another rank has failed already, the next call says so, and the end is that of all. */
    caps_error inner = {0};
    if (caps_ranks_meet(r, &inner) != CAPS_OK)
        caps_ranks_fail(r, r->place.rank, inner.status, false, "%s", inner.message);
    *out = r;
    r = NULL;
done:
    if (r) {
        pthread_mutex_lock(&r->lock);
        r->quits = r->broken = true;
        caps_ranks_wake(r);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->courier, NULL);
        ranks_drop(r);
    }
    return status;
}

bool caps_ranks_free(caps_ranks *r)
{
    if (!r)
        return true;
    pthread_mutex_lock(&r->lock);
    const bool peace = r->over && !r->broken && !(r->failed && r->lost);
    if (peace)
        r->quits = true;
    caps_ranks_wake(r);
    const double until = caps_clock_seconds() + GOOD_BYE;
    while (peace && !r->gone && caps_ranks_wait_until(r, until))
        continue;
    const bool gone = r->gone;
    pthread_mutex_unlock(&r->lock);
    if (!gone)
        return false;
    pthread_join(r->courier, NULL);
    ranks_drop(r);
    return true;
}

void caps_ranks_stop(caps_ranks *r, int code)
{
    /* Rank 0 has the last word, or rank 1 where rank 0 is lost: who stops all ends them too. */
    const struct timespec turn = {r->place.rank > 1, r->place.rank == 1 ? 500000000 : 0};
    const struct timespec patience = {2, 0};
    nanosleep(&turn, NULL);
    pthread_mutex_lock(&r->lock);
    r->stops = code;
    caps_ranks_wake(r);
    pthread_mutex_unlock(&r->lock);
    nanosleep(&patience, NULL);
}

int caps_ranks_rank(const caps_ranks *r)
{
    return r ? r->place.rank : 0;
}

int caps_ranks_count(const caps_ranks *r)
{
    return r ? r->place.count : 1;
}

const caps_place *caps_ranks_place(const caps_ranks *r)
{
    return &r->place;
}

const char *caps_ranks_host(const caps_ranks *r, int rank)
{
    return rank >= 0 && rank < r->place.count && r->peers[rank].host[0] ? r->peers[rank].host
                                                                        : r->place.host;
}
