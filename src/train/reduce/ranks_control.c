/* ranks_control.c: who is there, signs of life, and how ranks part. See ranks.h. */
#include "ranks_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"

#define BEAT     0.5  /* seconds between signs of life */
#define LOOK     0.05 /* between looks at processes */
#define HEAR     5e-3 /* between looks for what others say */
#define PATIENCE 3.0  /* for ranks that are to leave */

/* ---- who is there -------------------------------------------------------------------------- */

/* What ranks know of each other. */
typedef struct card {
    char host[CAPS_HOST_BYTES];
    int64_t pid;
    char
        born[32]; /* that process's start, so that another of the same number is not taken for it */
} card;

/* Field 22 of /proc/PID/stat; "": it cannot be seen. */
static void process_born(char born[32], int64_t pid)
{
    char path[64], text[1024];
    born[0] = 0;
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name before it may have blanks */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at)
        snprintf(born, 32, "%.*s", (int)strcspn(at + 1, " "), at + 1);
}

caps_status caps_ranks_meet(caps_ranks *r, caps_error *err)
{
    const size_t n = (size_t)r->place.count;
    card mine = {.pid = getpid()};
    caps_status status = CAPS_OK;
    card *all = calloc(n, sizeof *all);
    if (!all)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu ranks", n);
    memcpy(mine.host, r->place.host, sizeof mine.host);
    process_born(mine.born, mine.pid);
    CAPS_TRY(caps_ranks_gather(r, &mine, all, sizeof mine, err));
    CAPS_TRY(caps_ranks_share(r, all, n * sizeof *all, err));
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        char born[32];
        memcpy(r->peers[i].host, all[i].host, sizeof all[i].host);
        r->peers[i].host[CAPS_HOST_BYTES - 1] = 0;
        process_born(born, all[i].pid);
        if (strcmp(all[i].host, mine.host) == 0 && born[0] && strcmp(born, all[i].born) == 0)
            r->peers[i].pid = (pid_t)all[i].pid;
    }
    pthread_mutex_unlock(&r->lock);
done:
    free(all);
    return status;
}

/* ---- messages ------------------------------------------------------------------------------- */

void caps_ranks_say(
    caps_ranks *r, caps_control_kind kind, int to, caps_status status, const char *text)
{
    caps_control c = {.kind = (int32_t)kind, .status = (int32_t)status};
    snprintf(c.text, sizeof c.text, "%s", text);
    const size_t bytes = sizeof c - sizeof c.text + strlen(c.text) + 1;
    caps_op *op = caps_op_make(CAPS_OP_SEND, &c, bytes, to, CAPS_TAG_CONTROL);
    if (op) /* else the others wait for it, and take this rank for lost */
        caps_ranks_submit(r, op);
}

/* To all others. */
static void say_all(caps_ranks *r, caps_control_kind kind, caps_status status)
{
    for (int i = 1; i < r->place.count; i++)
        caps_ranks_say(r, kind, i, status, "");
}

static void on_bye(caps_ranks *r, int from, const caps_control *c)
{
    if (c->status != CAPS_OK)
        caps_ranks_fail(r, from, (caps_status)c->status, false, "%s", c->text);
    pthread_mutex_lock(&r->lock);
    r->peers[from].ended = true;
    r->away++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_over(caps_ranks *r, const caps_control *c)
{
    pthread_mutex_lock(&r->lock);
    r->over = true;
    r->result = (caps_status)c->status;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_request(caps_ranks *r)
{
    pthread_mutex_lock(&r->lock);
    r->stop_requested = true;
    pthread_mutex_unlock(&r->lock);
}

void caps_ranks_hear(caps_ranks *r, double now)
{
    if (now < r->next_hearing)
        return;
    r->next_hearing = now + HEAR;
    for (;;) {
        caps_control c = {0};
        int from;
        if (!r->link->take(&c, sizeof c, CAPS_TAG_CONTROL, &from)) {
            caps_ranks_fail(r, r->place.rank, CAPS_ERR_RANK, true, "%s", r->link->text());
            return;
        }
        if (from < 0)
            return;
        c.text[sizeof c.text - 1] = 0;
        r->peers[from].heard = caps_clock_seconds();
        if (c.kind == CAPS_CONTROL_REQUEST)
            on_request(r);
        else if (c.kind == CAPS_CONTROL_BYE && r->place.rank == 0 && !r->peers[from].ended)
            on_bye(r, from, &c);
        else if (c.kind == CAPS_CONTROL_LEAVE)
            caps_ranks_fail(r, 0, CAPS_ERR_INTERRUPTED, false, "has ended the run");
        else if (c.kind == CAPS_CONTROL_OVER)
            on_over(r, &c);
    }
}

/* ---- signs of life -------------------------------------------------------------------------- */

/* Rank 0 watches all, the others watch rank 0. */
static int watched_end(const caps_ranks *r)
{
    return r->place.rank == 0 ? r->place.count : 1;
}

static void look_at_processes(caps_ranks *r)
{
    for (int i = 0; i < watched_end(r); i++) {
        const caps_peer *p = &r->peers[i];
        if (i != r->place.rank && p->pid > 0 && !p->ended && kill(p->pid, 0) != 0 && errno == ESRCH)
            caps_ranks_fail(r, i, CAPS_ERR_RANK, true, "its process has ended");
    }
}

static void look_for_silence(caps_ranks *r, double now, double silence)
{
    for (int i = 0; i < watched_end(r); i++)
        if (i != r->place.rank && !r->peers[i].ended && now - r->peers[i].heard > silence)
            caps_ranks_fail(
                r, i, CAPS_ERR_RANK, true, "nothing was heard of it for %.3g s", silence);
}

/* This process itself was stopped, or had no core: what it did not hear says nothing. */
static void forgive(caps_ranks *r, double now)
{
    const bool slept = r->last_turn > 0 && now - r->last_turn > 2 * BEAT;
    for (int i = 0; slept && i < r->place.count; i++)
        r->peers[i].heard = now;
    r->last_turn = now;
}

void caps_ranks_tell(caps_ranks *r, double now)
{
    forgive(r, now);
    pthread_mutex_lock(&r->lock);
    const bool over = r->over, request = r->requests_stop && !r->sent_request;
    const bool beats = now >= r->next_beat, looks = now >= r->next_look;
    const double silence = r->silence;
    r->sent_request = r->sent_request || request;
    pthread_mutex_unlock(&r->lock);
    if (request && r->place.rank == 0)
        on_request(r);
    else if (request)
        caps_ranks_say(r, CAPS_CONTROL_REQUEST, 0, CAPS_OK, "");
    if (over)
        return;
    if (looks) {
        r->next_look = now + LOOK;
        look_at_processes(r);
        look_for_silence(r, now, silence);
    }
    if (!beats)
        return;
    r->next_beat = now + BEAT;
    if (r->place.rank == 0)
        say_all(r, CAPS_CONTROL_BEAT, CAPS_OK);
    else
        caps_ranks_say(r, CAPS_CONTROL_BEAT, 0, CAPS_OK, "");
}

void caps_ranks_request_stop(caps_ranks *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->requests_stop = true;
    pthread_mutex_unlock(&r->lock);
}

bool caps_ranks_stop_requested(caps_ranks *r)
{
    if (!r)
        return false;
    pthread_mutex_lock(&r->lock);
    const bool requested = r->stop_requested;
    pthread_mutex_unlock(&r->lock);
    return requested;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Are those away that can be? With the lock. */
static bool all_away(const caps_ranks *r)
{
    const size_t lost =
        r->failed && r->lost && r->failed_rank > 0 && !r->peers[r->failed_rank].ended;
    return r->away + lost >= (size_t)r->place.count - 1;
}

/* Rank 0 waits for the others: as long as it takes where all is well, else not for long. */
static caps_status end_all(caps_ranks *r, caps_status status, caps_error *err)
{
    bool ending = false;
    double until = 0;
    pthread_mutex_lock(&r->lock);
    while (!all_away(r)) {
        if (!ending && (status != CAPS_OK || r->failed)) {
            ending = true;
            until = caps_clock_seconds() + PATIENCE;
            pthread_mutex_unlock(&r->lock);
            say_all(r, CAPS_CONTROL_LEAVE, CAPS_OK);
            pthread_mutex_lock(&r->lock);
        } else if (!ending) {
            pthread_cond_wait(&r->changed, &r->lock);
        } else if (!caps_ranks_wait_until(r, until)) {
            r->failed = r->lost = true; /* whoever has not left is not waited for */
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (status == CAPS_OK)
        status = caps_ranks_check(r, err);
    say_all(r, CAPS_CONTROL_OVER, status);
    pthread_mutex_lock(&r->lock);
    r->over = true;
    r->result = status;
    pthread_mutex_unlock(&r->lock);
    return status;
}

caps_status caps_ranks_end(caps_ranks *r, caps_status status, caps_error *err)
{
    if (!r)
        return status;
    if (r->place.rank == 0)
        return end_all(r, status, err);
    pthread_mutex_lock(&r->lock);
    const bool follows = r->failed && r->failed_rank != r->place.rank; /* because of another */
    pthread_mutex_unlock(&r->lock);
    caps_ranks_say(r, CAPS_CONTROL_BYE, 0, follows ? CAPS_OK : status, err ? err->message : "");
    pthread_mutex_lock(&r->lock);
    while (!r->over && !(r->failed && r->lost))
        pthread_cond_wait(&r->changed, &r->lock);
    const bool over = r->over;
    const caps_status result = r->result;
    pthread_mutex_unlock(&r->lock);
    /* Where rank 0 is lost, or the link is, rank 1 says so. */
    const caps_status lost = over ? CAPS_OK : caps_ranks_check(r, err);
    if (err && (over || r->place.rank > 1))
        err->message[0] = 0;
    return over ? result : lost;
}
