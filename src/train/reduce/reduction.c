/* reduction.c: the gradients of a step, summed over the members of a team.
 *
 *     device k     piece i is there --- wait --.
 *     member k     its part of piece i:  sum over the members --> member 0's --> all members'
 *     device k     .-- give back --- piece i
 *
 * Between the arrows all members meet. */
#include <string.h>

#include "fail.h"
#include "members.h"
#include "shares.h"

caps_status caps_member_ready(void *user, size_t first, size_t count, caps_error *err)
{
    caps_member *m = user;
    (void)count; /* the layers behind it are enqueued already */
    return caps_exchange_take(&m->exchange, first, err);
}

enum { BLOCK = 2048 }; /* floats that stay in the first cache while they are summed */

/* Elements [at, at + length) of the piece at hand, summed over the members in their order, into the
 * first member's. The gradients of members without images are not of this step. */
static void block_sum(const caps_team *t, size_t at, size_t length)
{
    float sum[BLOCK];
    bool any = false;
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
    memcpy(t->hosts[0] + at, sum, length * sizeof *sum);
}

/* And from there back to all. */
static void block_spread(const caps_team *t, size_t at, size_t length)
{
    for (size_t k = 1; k < t->n; k++)
        memcpy(t->hosts[k] + at, t->hosts[0] + at, length * sizeof(float));
}

/* This member's part of the piece at hand. Whatever else is to be added to the sum of this
 * process's members is added between the two. */
static void part_sum(const caps_member *m, size_t count)
{
    const caps_team *t = m->team;
    const size_t each = (count / t->n + 15) / 16 * 16;
    const size_t begin = each * m->index < count ? each * m->index : count;
    const size_t end = m->index + 1 == t->n || begin + each > count ? count : begin + each;
    for (size_t at = begin, length; at < end; at += length) {
        length = end - at < BLOCK ? end - at : BLOCK;
        block_sum(t, at, length);
        block_spread(t, at, length);
    }
}

/* Between gradients and optimizer: every piece is summed once all members have it. */
caps_status caps_member_reduce(void *user, caps_model *model, caps_error *err)
{
    caps_member *m = user;
    caps_exchange *x = &m->exchange;
    caps_status status;
    (void)model;
    CAPS_TRY(caps_exchange_take(x, 0, err)); /* a member without images has not taken them */
    for (size_t i = 0; i < x->count; i++) {
        CAPS_TRY(caps_exchange_wait(x, i, err));
        m->team->hosts[m->index] = x->pieces[i].host;
        if (!caps_member_meet(m))
            CAPS_TRY(caps_member_left(err));
        part_sum(m, x->pieces[i].count);
        if (!caps_member_meet(m))
            CAPS_TRY(caps_member_left(err));
        CAPS_TRY(caps_exchange_give(x, i, err));
    }
    CAPS_TRY(caps_exchange_end(x, err));
    if (!caps_member_meet(m)) /* all take the step, or nobody does */
        CAPS_TRY(caps_member_left(err));
done:
    if (status != CAPS_OK)
        caps_exchange_drop(x);
    return status;
}
