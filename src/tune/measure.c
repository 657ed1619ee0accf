/* measure.c: the algorithms of one choice against each other. */
#include "tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"

enum { MOST_ROUNDS = 25, LEAST_ROUNDS = 3 };
#define ROUND_SECONDS 2e-3 /* of one algorithm at least: the queue's latency is some 1e-5 */
#define HOPELESS      3    /* times the best: nothing that noise does */
#define BETTER        0.98 /* of the time of what is in force: less is noise */

typedef struct measuring {
    const caps_tune *t;
    const caps_tune_kind *kind;
    void *state;
    double deadline; /* of this choice */
    double end;      /* of everything */
    double once[CAPS_TUNE_ALGORITHMS];
    double times[CAPS_TUNE_ALGORITHMS][MOST_ROUNDS];
    size_t rounds[CAPS_TUNE_ALGORITHMS], inner[CAPS_TUNE_ALGORITHMS];
} measuring;

static bool measure_is_stopped(const measuring *m)
{
    return m->t->is_stopped && m->t->is_stopped(m->t->user);
}

static bool measure_is_over(const measuring *m)
{
    return measure_is_stopped(m) || caps_clock_seconds() >= m->deadline;
}

static caps_status measure_once(
    measuring *m, const char *algorithm, size_t inner, double *seconds, caps_error *err)
{
    caps_status status = CAPS_OK;
    const double start = caps_clock_seconds();
    for (size_t i = 0; i < inner; i++)
        CAPS_TRY(m->kind->run(m->state, algorithm, err));
    CAPS_TRY(caps_runtime_finish(m->t->rt, err));
    *seconds = (caps_clock_seconds() - start) / (double)inner;
done:
    return status;
}

/* Kernels are built here, and their time is found roughly. */
static caps_status measure_warm_up(
    measuring *m, const caps_tune_result *r, size_t a, caps_error *err)
{
    caps_status status;
    double once = 0;
    CAPS_TRY(measure_once(m, r->algorithms[a], 1, &once, err));
    CAPS_TRY(measure_once(m, r->algorithms[a], 1, &once, err));
    m->once[a] = once;
    m->inner[a] = once < ROUND_SECONDS ? (size_t)(ROUND_SECONDS / (once > 1e-6 ? once : 1e-6)) : 1;
done:
    return status;
}

static caps_status measure_round(measuring *m, const caps_tune_result *r, size_t a, caps_error *err)
{
    return measure_once(m, r->algorithms[a], m->inner[a], &m->times[a][m->rounds[a]++], err);
}

static int measure_ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool measure_goes_on(const measuring *m, size_t round)
{
    return !measure_is_stopped(m) && round < MOST_ROUNDS &&
           (round == 0 || !measure_is_over(m) ||
               (round < LEAST_ROUNDS && caps_clock_seconds() < m->end));
}

/* What is so much slower than the best is not measured again: its one run is its result. */
static void measure_drop_hopeless(measuring *m, const caps_tune_result *r)
{
    double least = INFINITY;
    for (size_t a = 0; a < r->count; a++)
        if (m->inner[a] > 0 && m->once[a] < least)
            least = m->once[a];
    for (size_t a = 0; a < r->count; a++)
        if (m->inner[a] > 0 && m->once[a] > HOPELESS * least) {
            m->times[a][m->rounds[a]++] = m->once[a];
            m->inner[a] = 0;
        }
}

/* The algorithms in turns, or one after the other; medians into *r. What there was no time for
 * stays NaN. */
static caps_status measure_all(measuring *m, caps_tune_result *r, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (m->kind->builds) {
        const double end = m->deadline;
        for (size_t a = 0; a < r->count && !measure_is_stopped(m); a++) {
            const double now = caps_clock_seconds();
            if (a > 0 && now >= end)
                break;
            m->deadline = now + (end - now) / (double)(r->count - a);
            CAPS_TRY(measure_warm_up(m, r, a, err));
            for (size_t i = 0; measure_goes_on(m, i); i++)
                CAPS_TRY(measure_round(m, r, a, err));
        }
    } else {
        for (size_t a = 0; a < r->count && !measure_is_stopped(m); a++)
            CAPS_TRY(measure_warm_up(m, r, a, err));
        measure_drop_hopeless(m, r);
        for (size_t i = 0; measure_goes_on(m, i); i++)
            for (size_t a = 0; a < r->count; a++)
                if (m->inner[a] > 0)
                    CAPS_TRY(measure_round(m, r, a, err));
    }
    for (size_t a = 0; a < r->count; a++) {
        const size_t n = m->rounds[a];
        qsort(m->times[a], n, sizeof(double), measure_ascending);
        r->seconds[a] = n ? (m->times[a][(n - 1) / 2] + m->times[a][n / 2]) / 2 : (double)NAN;
    }
done:
    return status;
}

/* The fastest; what is in force stays unless another is clearly better. False: nothing follows. */
static bool measure_choose(caps_tune_result *r)
{
    size_t measured = 0, current = r->count;
    for (size_t a = 0; a < r->count; a++) {
        if (isnan(r->seconds[a]))
            continue;
        if (measured++ == 0 || r->seconds[a] < r->seconds[r->best])
            r->best = a;
        if (strcmp(r->algorithms[a], r->choice->algorithm) == 0)
            current = a;
    }
    if (current < r->count && r->seconds[r->best] > BETTER * r->seconds[current])
        r->best = current;
    /* Where some were left out for want of time, the best of the others is better than a rule only
     * if what is in force was among them. */
    return measured == r->count || (measured > 1 && current < r->count);
}

caps_status caps_tune_measure_choice(const caps_tune *t, const caps_tune_kind *kind,
    double deadline, double end, caps_tune_result *result, bool *chosen, caps_error *err)
{
    const caps_choice *choice = result->choice;
    caps_status status;
    static measuring m;
    m = (measuring){.t = t, .kind = kind, .deadline = deadline, .end = end};
    *chosen = false;
    result->count = kind->algorithms(t->rt, choice, result->algorithms);
    if (result->count < 2) /* nothing to choose from */
        return CAPS_OK;
    CAPS_TRY(kind->open(&m.state, t->rt, choice, err));
    CAPS_TRY(measure_all(&m, result, err));
    *chosen = measure_choose(result);
    if (kind->builds) /* what comes later is measured with it, or with what was in force */
        CAPS_TRY(kind->run(
            m.state, *chosen ? result->algorithms[result->best] : choice->algorithm, err));
done:
    if (m.state)
        kind->close(m.state);
    return status;
}
