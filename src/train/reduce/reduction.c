/* reduction.c: the gradients of a step, summed over the members of a team.
 *
 *     device k     piece i is there --- wait --.
 *     member k     its part of piece i:  sum over the members --> member 0's --> all members'
 *     device k     .-- give back --- piece i
 *
 * Between the arrows all members meet. Of several ranks the members' sum of a piece is given to the
 * courier (ranks.h), and what comes back is the sum over all. */
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "members.h"

caps_status caps_member_ready(void *user, size_t first, size_t count, caps_error *err)
{
    caps_member *m = user;
    (void)count; /* the layers behind it are enqueued already */
    return caps_exchange_take(&m->exchange, first, err);
}

enum { BLOCK = 2048 }; /* floats that stay in the first cache while they are summed */

/* Elements [at, at + length) of the piece at hand, summed over the members in their order, into
 * `to`. The gradients of members without images are not of this step. */
static void block_sum(const caps_team *t, float *to, size_t at, size_t length)
{
    float sum[BLOCK];
    bool any = false;
    for (size_t k = 0; k < t->n; k++) {
        const float *restrict from = t->hosts[k] + at;
        if (caps_team_images(t, t->before + k, t->total) == 0)
            continue;
        if (any)
            for (size_t i = 0; i < length; i++)
                sum[i] += from[i];
        else
            memcpy(sum, from, length * sizeof *sum);
        any = true;
    }
    memcpy(to + at, sum, length * sizeof *sum);
}

/* And from there back to all. */
static void block_spread(const caps_team *t, size_t at, size_t length)
{
    for (size_t k = 1; k < t->n; k++)
        memcpy(t->hosts[k] + at, t->hosts[0] + at, length * sizeof(float));
}

/* This member's part of the piece at hand, into `to`, or into all. */
static void part_sum(const caps_member *m, float *to, size_t count)
{
    const caps_team *t = m->team;
    const size_t each = (count / t->n + 15) / 16 * 16;
    const size_t begin = each * m->index < count ? each * m->index : count;
    const size_t end = m->index + 1 == t->n || begin + each > count ? count : begin + each;
    for (size_t at = begin, length; at < end; at += length) {
        length = end - at < BLOCK ? end - at : BLOCK;
        block_sum(t, to ? to : t->hosts[0], at, length);
        if (!to)
            block_spread(t, at, length);
    }
}

/* Every piece is summed once all members have it. */
static caps_status reduce_here(caps_member *m, caps_error *err)
{
    caps_exchange *x = &m->exchange;
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < x->count; i++) {
        CAPS_TRY(caps_exchange_wait(x, i, err));
        m->team->hosts[m->index] = x->pieces[i].host;
        if (!caps_member_meet(m))
            CAPS_TRY(caps_member_left(err));
        part_sum(m, NULL, x->pieces[i].count);
        if (!caps_member_meet(m))
            CAPS_TRY(caps_member_left(err));
        CAPS_TRY(caps_exchange_give(x, i, err));
    }
done:
    return status;
}

/* ---- over ranks ----------------------------------------------------------------------------- */

/* Where the sum over the ranks comes: in place, or, of several members, beside them. */
static float *sum_place(const caps_member *m, const caps_piece *p)
{
    return m->team->sums ? m->team->sums + p->first : p->host;
}

/* The piece is here: once the members' sum is made it goes to the other ranks. */
static caps_status piece_put(caps_member *m, size_t i, caps_error *err)
{
    const caps_piece *p = &m->exchange.pieces[i];
    caps_status status;
    CAPS_TRY(caps_exchange_wait(&m->exchange, i, err));
    if (m->team->sums) {
        m->team->hosts[m->index] = p->host;
        if (!caps_member_meet(m))
            CAPS_TRY(caps_member_left(err));
        part_sum(m, sum_place(m, p), p->count);
        if (!caps_member_meet(m))
            CAPS_TRY(caps_member_left(err));
    }
    if (m->index == 0)
        caps_ranks_sum_put(m->team->ranks, i, sum_place(m, p));
done:
    return status;
}

/* The sum over all ranks goes back to the device. */
static caps_status piece_get(caps_member *m, size_t i, caps_error *err)
{
    const caps_piece *p = &m->exchange.pieces[i];
    if (m->team->sums)
        memcpy(p->host, sum_place(m, p), p->count * sizeof *p->host);
    return caps_exchange_give(&m->exchange, i, err);
}

/* A piece goes on its way as soon as it is here; those that have come back are given back
 * meanwhile. */
static caps_status reduce_ranks(caps_member *m, caps_error *err)
{
    caps_ranks *ranks = m->team->ranks;
    const size_t n = m->exchange.count;
    caps_status status = CAPS_OK;
    size_t back = 0;
    for (size_t i = 0; i < n; i++) {
        CAPS_TRY(piece_put(m, i, err));
        for (; back < i && caps_ranks_sum_is_done(ranks, back); back++)
            CAPS_TRY(piece_get(m, back, err));
    }
    for (; back < n; back++) {
        const double began = caps_clock_seconds();
        caps_member_leave(m);
        const bool done = caps_ranks_sum_wait(ranks, back);
        caps_member_return(m, began);
        if (!done)
            CAPS_TRY(caps_member_left(err));
        CAPS_TRY(piece_get(m, back, err));
    }
done:
    return status;
}

/* Between gradients and optimizer. */
caps_status caps_member_reduce(void *user, caps_model *model, caps_error *err)
{
    caps_member *m = user;
    caps_exchange *x = &m->exchange;
    caps_status status;
    (void)model;
    CAPS_TRY(caps_exchange_take(x, 0, err)); /* a member without images has not taken them */
    CAPS_TRY(m->team->ranks ? reduce_ranks(m, err) : reduce_here(m, err));
    CAPS_TRY(caps_exchange_end(x, err));
    if (!caps_member_meet(m)) /* all take the step, or nobody does */
        CAPS_TRY(caps_member_left(err));
done:
    if (status != CAPS_OK)
        caps_exchange_drop(x);
    return status;
}
