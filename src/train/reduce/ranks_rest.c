/* ranks_rest.c: how long the courier rests, and what wakes it. */
#include "ranks_state.h"

#include <time.h>

#include "clock.h"

void caps_ranks_wake(caps_ranks *r)
{
    if (r->bell)
        caps_bell_ring(r->bell, true);
    else
        pthread_cond_signal(&r->work);
}

/* Nanoseconds until it looks again. A device of the processor needs the core that looking takes,
 * but where a thread waits the devices mostly do too. A message rarely comes alone. */
enum { IDLE = 5000000, BESIDE = 1000000, SOON = 400000, LEAST = 20000, MOST = 1000000 };
#define LIVELY 2e-3 /* seconds after a message */
/* Where who waits is rung; but a long message may come in parts, of which nobody hears. */
enum { RUNG_BESIDE = 2000000, RUNG_LEAST = 50000 };

static long pause_of(const caps_ranks *r)
{
    const double since = caps_clock_seconds() - r->progress;
    if (r->outstanding == 0)
        return IDLE;
    if (r->waiting == 0)
        return r->rung ? RUNG_BESIDE : since < LIVELY ? SOON : BESIDE;
    const double waits = since * 1e9 / (r->rung ? 4 : 16), least = r->rung ? RUNG_LEAST : LEAST;
    return (long)(waits < least ? least : waits > MOST ? MOST : waits);
}

/* Until it is rung for (since `seen`), or it is time to look. */
static void rest_on_bell(caps_ranks *r, uint32_t seen)
{
    pthread_mutex_lock(&r->lock);
    const long pause = pause_of(r);
    const bool rests = !r->first && !r->quits, waits = r->waiting > 0;
    pthread_mutex_unlock(&r->lock);
    if (rests)
        caps_bell_wait(r->bell, seen, pause, waits);
}

void caps_ranks_rest(caps_ranks *r, uint32_t seen)
{
    struct timespec at;
    if (r->bell) {
        rest_on_bell(r, seen);
        return;
    }
    pthread_mutex_lock(&r->lock);
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += pause_of(r);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    if (!r->first && !r->quits)
        pthread_cond_timedwait(&r->work, &r->lock, &at);
    pthread_mutex_unlock(&r->lock);
}
