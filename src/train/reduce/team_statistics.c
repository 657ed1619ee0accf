/* team_statistics.c: statistics of a batch whose images several members have: each layer that
 * normalises gathers the numbers of all members of all ranks, and puts them together itself.
 *
 *     member k    own numbers -> pool[k]  --- meet ---  (ranks: rank 0's pool is that of all)  --- meet
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "members.h"

caps_status caps_team_pool_init(caps_team *t, const caps_model_spec *spec, caps_error *err)
{
    const size_t most = (size_t)caps_model_spec_info(spec)->statistics;
    if (most == 0 || caps_team_is_alone(t))
        return CAPS_OK;
    t->pool = malloc(t->all * most * sizeof *t->pool);
    t->images_of = calloc(t->all, sizeof *t->images_of);
    if (!t->pool || !t->images_of)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", t->all);
    for (size_t i = 0; i < t->n; i++)
        t->members[i].share =
            (caps_batch_share){caps_member_gather, &t->members[i], t->images_of, t->all, 0};
    return CAPS_OK;
}

void caps_team_pool_release(caps_team *t)
{
    free(t->pool);
    free(t->images_of);
}

void caps_team_pool_announce(caps_team *t)
{
    for (size_t k = 0; t->pool && k < t->all; k++)
        t->images_of[k] = caps_team_images(t, k, t->total);
    for (size_t i = 0; i < t->n; i++)
        t->members[i].share.total = t->total;
}

/* `bytes` of each member of this rank become those of all members of all ranks, on all ranks. */
static caps_status gather_ranks(caps_team *t, size_t bytes, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(t->ranks);
    size_t most = 0; /* members of a rank */
    char *pool = (char *)t->pool, *mine = NULL, *all = NULL;
    caps_status status = CAPS_OK;
    for (size_t r = 0; r < ranks; r++)
        if (t->firsts[r + 1] - t->firsts[r] > most)
            most = t->firsts[r + 1] - t->firsts[r];
    mine = calloc(most, bytes);
    all = malloc(ranks * most * bytes);
    if (!mine || !all)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
    memcpy(mine, pool + t->before * bytes, t->n * bytes);
    for (size_t at = 0, some; at < most * bytes; at += some) { /* in messages that are allowed */
        some = most * bytes - at < CAPS_GATHER_MOST ? most * bytes - at : CAPS_GATHER_MOST;
        char *part = malloc(ranks * some);
        if (!part)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
        status = caps_ranks_gather(t->ranks, mine + at, part, some, err);
        for (size_t r = 0; r < ranks && status == CAPS_OK; r++)
            memcpy(all + r * most * bytes + at, part + r * some, some);
        free(part);
        CAPS_TRY(status);
    }
    for (size_t r = 0; caps_ranks_rank(t->ranks) == 0 && r < ranks; r++)
        memcpy(pool + t->firsts[r] * bytes, all + r * most * bytes,
            (t->firsts[r + 1] - t->firsts[r]) * bytes);
    CAPS_TRY(caps_ranks_share(t->ranks, pool, t->all * bytes, err));
done:
    free(mine);
    free(all);
    return status;
}

caps_status caps_member_gather(
    void *user, const float *own, size_t n, const float **all, caps_error *err)
{
    caps_member *m = user;
    caps_team *t = m->team;
    caps_status status = CAPS_OK;
    if (!caps_member_meet(m)) /* nobody reads the numbers of the layer before any more */
        CAPS_TRY(caps_member_left(err));
    memcpy(t->pool + (t->before + m->index) * n, own, n * sizeof *own);
    if (!caps_member_meet(m))
        CAPS_TRY(caps_member_left(err));
    if (t->ranks && m->index == 0) {
        const double began = caps_clock_seconds();
        caps_member_leave(m);
        status = gather_ranks(t, n * sizeof *own, err);
        caps_member_return(m, began);
        CAPS_TRY(status);
    }
    if (t->ranks && !caps_member_meet(m))
        CAPS_TRY(caps_member_left(err));
    *all = t->pool;
done:
    return status;
}
