/* sharded.c: an optimizer of which each rank has a part.
 *
 *     device     ... backward | update piece 0, 1, ... (the own slices) |         | next forward
 *     member         put 0, 1, ...     sums of the own slices      show 0, 1, ...
 *     courier          parts to their owners, sums             parameters: to all, of all
 *
 * As many bytes travel as without: the updated parameters in place of the sums. Each rank updates
 * only the slices that it owns, with its own part of the moments, and so the bits are those of the
 * whole optimizer. The moments of other slices are stale; caps_team_collect brings rank 0's up to
 * date. The last parameters may come while the caller is at other things: the next step, or taking
 * this one's results, waits for them. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "members.h"

bool caps_team_may_shard(const caps_team *t, caps_reduce reduce)
{
    return t->ranks && caps_ranks_count(t->ranks) > 1 &&
           t->all == (size_t)caps_ranks_count(t->ranks) && reduce == CAPS_REDUCE_EXACT &&
           t->members[0].exchange.mapped;
}

bool caps_team_is_sharded(const caps_team *t)
{
    return t->sharded;
}

void caps_team_shard(caps_team *t, bool sharded)
{
    t->sharded = sharded;
    t->members[0].stepper.update = sharded ? caps_member_update : NULL;
    caps_ranks_sum_shard(t->ranks, sharded);
}

/* ---- a step --------------------------------------------------------------------------------- */

/* Waits for other ranks. */
static caps_status wait_abroad(
    caps_member *m, size_t i, bool (*wait)(caps_ranks *r, size_t i), caps_error *err)
{
    const double began = caps_clock_seconds();
    caps_member_leave(m);
    const bool done = wait(m->team->ranks, i);
    caps_member_return(m, began);
    return done ? CAPS_OK : caps_member_left(err);
}

/* The own slice of piece i is summed: its parameters are updated, and on their way to the host. */
static caps_status piece_update(caps_member *m, size_t i, float lr, uint64_t step, caps_error *err)
{
    const caps_ranks *ranks = m->team->ranks;
    caps_exchange *x = &m->exchange;
    size_t first;
    const size_t count = caps_ranks_sum_slice(ranks, i, caps_ranks_rank(ranks), &first);
    caps_status status;
    CAPS_TRY(caps_exchange_give(x, i, err));
    CAPS_TRY(caps_exchange_join(x, i, err));
    if (count > 0)
        CAPS_TRY(
            caps_stepper_optimize(&m->stepper, lr, step, x->pieces[i].first + first, count, err));
    CAPS_TRY(caps_exchange_show(x, i, err));
done:
    return status;
}

/* Pieces before `end` go to the other ranks as soon as they are updated. */
static caps_status show_updated(caps_member *m, size_t *shown, size_t end, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (; *shown < end; ++*shown) {
        CAPS_TRY(caps_exchange_look(&m->exchange, *shown, err));
        caps_ranks_sum_show(m->team->ranks, *shown, m->exchange.pieces[*shown].values);
    }
done:
    return status;
}

static caps_status update_pieces(caps_member *m, float lr, uint64_t step, caps_error *err)
{
    caps_ranks *ranks = m->team->ranks;
    caps_exchange *x = &m->exchange;
    caps_status status = CAPS_OK;
    size_t updated = 0, shown = 0;
    for (size_t i = 0; i < x->count; i++) {
        CAPS_TRY(caps_exchange_wait(x, i, err));
        caps_ranks_sum_put(ranks, i, x->pieces[i].host);
        for (; updated < i && caps_ranks_sum_own_is_done(ranks, updated); updated++)
            CAPS_TRY(piece_update(m, updated, lr, step, err));
    }
    for (; updated < x->count; updated++) {
        if (!caps_ranks_sum_own_is_done(ranks, updated)) {
            CAPS_TRY(show_updated(m, &shown, updated, err));
            CAPS_TRY(wait_abroad(m, updated, caps_ranks_sum_wait_own, err));
        }
        CAPS_TRY(piece_update(m, updated, lr, step, err));
    }
    CAPS_TRY(show_updated(m, &shown, x->count, err));
done:
    return status;
}

caps_status caps_member_update(
    void *user, caps_model *model, float lr, uint64_t step, caps_error *err)
{
    caps_member *m = user;
    caps_status status;
    (void)model;
    CAPS_TRY(caps_exchange_take(&m->exchange, 0, err)); /* a member without images has not */
    CAPS_TRY(update_pieces(m, lr, step, err));
    m->unfinished = true;
    if (m->stepper.ema > 0) /* which goes by all parameters */
        CAPS_TRY(caps_member_finish(m, err));
done:
    if (status != CAPS_OK)
        caps_exchange_drop(&m->exchange);
    return status;
}

caps_status caps_member_finish(caps_member *m, caps_error *err)
{
    caps_exchange *x = &m->exchange;
    caps_status status = CAPS_OK;
    if (!m->unfinished)
        return CAPS_OK;
    for (size_t i = 0; i < x->count; i++)
        if (!caps_ranks_sum_is_done(m->team->ranks, i))
            CAPS_TRY(wait_abroad(m, i, caps_ranks_sum_wait, err));
    CAPS_TRY(caps_exchange_hide(x, err));
    caps_model_parameters_changed(m->model);
    m->unfinished = false;
done:
    return status;
}

/* ---- moments -------------------------------------------------------------------------------- */

static caps_status member_get_moments(caps_member *m, caps_error *err)
{
    return caps_model_get_moments(m->model, m->team->moments[0], m->team->moments[1], err);
}

static caps_status member_set_moments(caps_member *m, caps_error *err)
{
    return caps_model_set_moments(m->model, m->team->moments[0], m->team->moments[1], err);
}

/* Of piece i: each rank's own slice, of both moments one behind the other, to rank 0. */
static caps_status collect_piece(
    caps_team *t, size_t i, float *mine, size_t *firsts, caps_error *err)
{
    const caps_piece *p = &t->members[0].exchange.pieces[i];
    size_t first;
    const size_t own = caps_ranks_sum_slice(t->ranks, i, caps_ranks_rank(t->ranks), &first);
    float *all = NULL;
    caps_status status;
    for (size_t k = 0; k < 2; k++)
        memcpy(mine + k * own, t->moments[k] + p->first + first, own * sizeof *mine);
    CAPS_TRY(caps_ranks_collect(t->ranks, mine, 2 * own, sizeof *mine, (void **)&all, firsts, err));
    for (int r = 1; all && r < caps_ranks_count(t->ranks); r++) {
        const size_t count = caps_ranks_sum_slice(t->ranks, i, r, &first);
        for (size_t k = 0; k < 2; k++)
            memcpy(
                t->moments[k] + p->first + first, all + firsts[r] + k * count, count * sizeof *all);
    }
done:
    free(all);
    return status;
}

caps_status caps_team_collect(caps_team *t, caps_error *err)
{
    const size_t elements = caps_model_trained_count(t->members[0].model);
    const size_t ranks = (size_t)caps_ranks_count(t->ranks);
    caps_status status = CAPS_OK;
    const caps_exchange *x = &t->members[0].exchange;
    float *mine = NULL;
    size_t *firsts = NULL, most = 0; /* of a piece */
    if (!t->stale)
        return CAPS_OK;
    for (size_t i = 0; i < x->count; i++)
        most = x->pieces[i].count > most ? x->pieces[i].count : most;
    for (size_t k = 0; k < 2; k++)
        if (!t->moments[k])
            t->moments[k] = malloc(elements * sizeof(float));
    mine = malloc(2 * most * sizeof *mine);
    firsts = malloc((ranks + 1) * sizeof *firsts);
    if (!t->moments[0] || !t->moments[1] || !mine || !firsts)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the state"));
    CAPS_TRY(caps_team_do(t, member_get_moments, err));
    for (size_t i = 0; i < x->count; i++)
        CAPS_TRY(collect_piece(t, i, mine, firsts, err));
    if (caps_ranks_rank(t->ranks) == 0)
        CAPS_TRY(caps_team_do(t, member_set_moments, err));
    t->stale = false;
    for (size_t k = 0; k < 2; k++) { /* after a failure a device may still write there */
        free(t->moments[k]);
        t->moments[k] = NULL;
    }
done:
    free(mine);
    free(firsts);
    return status;
}
