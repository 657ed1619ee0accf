/* team_ranks.c: what a team does together with those of other ranks, but for the sums. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "members.h"
#include "shares.h"

caps_status caps_team_join(caps_team *t, const caps_team_options *o, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(t->ranks);
    caps_status status = CAPS_OK;
    if (!t->ranks)
        return CAPS_OK;
    const caps_exchange *x = &t->members[0].exchange;
    const size_t elements = caps_model_trained_count(t->members[0].model);
    size_t *counts = calloc(x->count, sizeof *counts);
    t->firsts = malloc((ranks + 1) * sizeof *t->firsts);
    t->takes_part = calloc(ranks, sizeof *t->takes_part);
    if (t->n > 1)
        t->sums = malloc(elements * sizeof *t->sums);
    if (!counts || !t->firsts || !t->takes_part || (t->n > 1 && !t->sums))
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", t->all));
    memcpy(t->firsts, o->firsts, (ranks + 1) * sizeof *t->firsts);
    for (size_t i = 0; i < x->count; i++)
        counts[i] = x->pieces[i].count;
    CAPS_TRY(caps_ranks_sum_init(t->ranks, counts, x->count, o->reduce, err));
    t->may_shard = caps_team_may_shard(t, o->reduce);
done:
    free(counts);
    return status;
}

void caps_team_part_ways(caps_team *t)
{
    caps_ranks_sum_release(t->ranks);
    free(t->firsts);
    free(t->takes_part);
    free(t->sums);
    free(t->received);
    free(t->moments[0]);
    free(t->moments[1]);
}

bool caps_team_is_busy(const caps_team *t)
{
    return caps_ranks_is_busy(t->ranks);
}

void caps_team_part(void *team, size_t total, size_t *first, size_t *count)
{
    const caps_team *t = team;
    size_t at, images;
    caps_share_get(first, count, t->weights, t->all, t->before, total);
    for (size_t i = 1; i < t->n; i++) {
        caps_share_get(&at, &images, t->weights, t->all, t->before + i, total);
        *count += images;
    }
}

void caps_team_announce(caps_team *t)
{
    for (int k = 0; t->ranks && k < caps_ranks_count(t->ranks); k++) {
        t->takes_part[k] = false;
        for (size_t i = t->firsts[k]; i < t->firsts[k + 1]; i++)
            t->takes_part[k] = t->takes_part[k] || caps_team_images(t, i, t->total) > 0;
    }
    if (t->ranks)
        caps_ranks_sum_begin(t->ranks, t->takes_part);
}

/* ---- parameters ----------------------------------------------------------------------------- */

/* Rank 0's array becomes that of all ranks: *array is rank 0's own, or `received`. */
static caps_status share_array(
    caps_team *t, const float **array, float *received, size_t elements, caps_error *err)
{
    const size_t bytes = elements * sizeof **array;
    if (caps_ranks_rank(t->ranks) == 0)
        return caps_ranks_share(t->ranks, (void *)*array, bytes, err);
    *array = received;
    return caps_ranks_share(t->ranks, received, bytes, err);
}

/* Of all members, or of those behind the lead. */
static caps_status set_all(caps_team *t, const caps_model_view *values, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = caps_ranks_rank(t->ranks) == 0 ? 1 : 0; i < t->n; i++) {
        caps_model *m = t->members[i].model;
        CAPS_TRY(caps_model_set_parameters(m, values->parameters, err));
        if (values->moments[0])
            CAPS_TRY(caps_model_set_moments(m, values->moments[0], values->moments[1], err));
        if (values->average)
            CAPS_TRY(caps_model_set_average(m, values->average, err));
    }
done:
    return status;
}

caps_status caps_team_spread(caps_team *t, caps_error *err)
{
    const bool leads = caps_ranks_rank(t->ranks) == 0;
    const size_t all = caps_model_flat_count(t->members[0].model);
    const size_t trained = caps_model_trained_count(t->members[0].model);
    caps_model_view view = {0}, values;
    caps_status status;
    const float **const arrays[] = {
        &values.parameters, &values.moments[0], &values.moments[1], &values.average};
    const size_t elements[] = {all, trained, trained, all};
    enum { ARRAYS = sizeof arrays / sizeof arrays[0] };
    float *received[ARRAYS] = {0};
    if (caps_team_is_alone(t))
        return CAPS_OK;
    CAPS_TRY(caps_model_map(t->members[0].model, &view, err));
    values = view;
    for (size_t i = 0; i < ARRAYS; i++) {
        if (!*arrays[i])
            continue;
        if (!leads && !(received[i] = malloc(elements[i] * sizeof(float))))
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the state"));
        CAPS_TRY(share_array(t, arrays[i], received[i], elements[i], err));
    }
    if (!leads)
        CAPS_TRY(caps_model_unmap(t->members[0].model, &view, err));
    CAPS_TRY(set_all(t, &values, err));
    if (leads)
        CAPS_TRY(caps_model_unmap(t->members[0].model, &view, err));
done:
    if (status != CAPS_OK && view.parameters)
        caps_model_unmap(t->members[0].model, &view, NULL);
    for (size_t i = 0; i < ARRAYS; i++)
        free(received[i]);
    return status;
}

/* All members of this rank have the lead's own parameters, or will have. */
caps_status caps_team_compare_ranks(caps_team *t, bool *sent, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(t->ranks);
    caps_status status = CAPS_OK;
    if (!t->ranks)
        return CAPS_OK;
    struct {
        uint64_t hash, may_shard;
    } mine = {t->members[0].hash, t->may_shard}, *all = calloc(ranks, sizeof *all);
    bool shards = true;
    if (!all)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
    CAPS_TRY(caps_ranks_gather(t->ranks, &mine, all, sizeof mine, err));
    CAPS_TRY(caps_ranks_share(t->ranks, all, ranks * sizeof *all, err));
    for (size_t k = 0; k < ranks; k++) {
        t->strays = t->strays || all[k].hash != all[0].hash;
        shards = shards && all[k].may_shard;
    }
    t->stray = t->stray || mine.hash != all[0].hash;
    *sent = *sent || t->strays;
    if (shards) /* by devices of one kind alone: others round otherwise */
        caps_team_shard(t, !t->strays);
    CAPS_TRY(caps_team_send_ranks(t, err));
done:
    free(all);
    return status;
}

caps_status caps_team_send_ranks(caps_team *t, caps_error *err)
{
    const bool leads = caps_ranks_rank(t->ranks) == 0;
    const size_t elements = caps_model_flat_count(t->members[0].model);
    const float *parameters = NULL;
    caps_model_view view = {0};
    caps_status status = CAPS_OK;
    if (!t->strays)
        return CAPS_OK;
    if (!leads && !t->received && !(t->received = malloc(elements * sizeof(float))))
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the state"));
    if (leads) {
        CAPS_TRY(caps_model_map(t->members[0].model, &view, err));
        parameters = view.parameters;
    }
    CAPS_TRY(share_array(t, &parameters, t->received, elements, err));
    if (t->stray)
        CAPS_TRY(set_all(t, &(caps_model_view){.parameters = parameters}, err));
done:
    if (leads && view.parameters) {
        const caps_status unmapped =
            caps_model_unmap(t->members[0].model, &view, status == CAPS_OK ? err : NULL);
        status = status == CAPS_OK ? unmapped : status;
    }
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

/* As it travels. */
typedef struct result {
    uint64_t images;
    double class_loss, sse, errors;
    int32_t finite;
    char where[CAPS_WHERE];
} result;

caps_status caps_team_gather(caps_team *t, caps_step_result *r, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(t->ranks);
    caps_status status = CAPS_OK;
    if (!t->ranks)
        return CAPS_OK;
    result mine = {r->images, r->totals.class_loss, r->totals.sse, r->totals.errors, r->finite, ""};
    memcpy(mine.where, r->where, sizeof mine.where);
    result *all = calloc(ranks, sizeof *all);
    if (!all)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
    CAPS_TRY(caps_ranks_gather(t->ranks, &mine, all, sizeof mine, err));
    for (size_t k = 1; caps_ranks_rank(t->ranks) == 0 && k < ranks; k++) {
        caps_step_result other = {.images = all[k].images,
            .totals = {.class_loss = all[k].class_loss, .sse = all[k].sse, .errors = all[k].errors},
            .finite = all[k].finite};
        memcpy(other.where, all[k].where, sizeof other.where - 1);
        caps_team_add_result(r, &other);
    }
done:
    free(all);
    return status;
}
