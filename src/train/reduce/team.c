/* team.c: see team.h. A team's making, its members' parameters, and what it knows of them. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "members.h"
#include "shares.h"

/* ---- the same parameters -------------------------------------------------------------------- */

caps_status caps_member_send(caps_member *m, caps_error *err)
{
    caps_team *t = m->team;
    caps_model_view view = {0};
    caps_status status = CAPS_OK;
    if (m->index == 0) {
        CAPS_TRY(caps_model_map(m->model, &view, err));
        t->sent = view.parameters;
    }
    if (!caps_member_meet(m))
        CAPS_TRY(caps_member_left(err));
    if (m->differs)
        CAPS_TRY(caps_model_set_parameters(m->model, t->sent, err));
    if (!caps_member_meet(m))
        CAPS_TRY(caps_member_left(err));
done:
    if (m->index == 0 && view.parameters) {
        const caps_status unmapped =
            caps_model_unmap(m->model, &view, status == CAPS_OK ? err : NULL);
        status = status == CAPS_OK ? unmapped : status;
    }
    return status;
}

static caps_status member_hash(caps_member *m, caps_error *err)
{
    caps_model_view view;
    caps_status status;
    CAPS_TRY(caps_model_map(m->model, &view, err));
    m->hash = caps_hash(CAPS_HASH_START, view.parameters,
        caps_model_flat_count(m->model) * sizeof *view.parameters);
    CAPS_TRY(caps_model_unmap(m->model, &view, err));
done:
    return status;
}

caps_status caps_team_compare(caps_team *t, bool *sent, caps_error *err)
{
    caps_status status = CAPS_OK;
    bool more = false;
    *sent = false;
    if (caps_team_is_alone(t))
        return CAPS_OK;
    CAPS_TRY(caps_team_do(t, member_hash, err));
    for (size_t i = 1; i < t->n; i++) {
        caps_member *m = &t->members[i];
        more = more || (!m->differs && m->hash != t->members[0].hash);
        m->differs = m->differs || m->hash != t->members[0].hash;
        *sent = *sent || m->differs;
    }
    if (more)
        CAPS_TRY(caps_team_do(t, caps_member_send, err));
    CAPS_TRY(caps_team_compare_ranks(t, sent, err));
done:
    return status;
}

caps_status caps_team_begin(caps_team *t, uint64_t seed, uint64_t step, caps_error *err)
{
    for (size_t i = 0; i < t->n; i++) {
        caps_member *m = &t->members[i];
        caps_stepper_init(&m->stepper, m->model, t->optimizer, seed, step);
        m->stepper.ema = t->ema;
        if (!caps_team_is_alone(t)) {
            m->stepper.reduce = caps_member_reduce;
            m->stepper.ready = caps_member_ready;
            m->stepper.reduce_user = m;
            m->stepper.share = t->pool ? &m->share : NULL;
        }
    }
    t->compared = t->stale = false;
    t->taken = step - 1;
    if (t->may_shard)
        caps_team_shard(t, false);
    return caps_team_spread(t, err);
}

/* ---- the team ------------------------------------------------------------------------------- */

static caps_status member_init(caps_member *m, const caps_team_options *o, caps_error *err)
{
    caps_team *t = m->team;
    caps_status status;
    size_t first;
    caps_share_get(&first, &m->work.share, t->weights, t->all, t->before + m->index, o->batch);
    CAPS_TRY(caps_model_create(&m->model, m->rt, o->spec, &o->models[m->index], err));
    if (!caps_team_is_alone(t))
        CAPS_TRY(caps_exchange_init(&m->exchange, m->model, o->piece, err));
done:
    return status;
}

caps_status caps_team_create(caps_team **out, caps_runtime *const *rts, size_t n,
    const caps_team_options *options, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(options->spec);
    caps_status status = CAPS_OK;
    *out = NULL;
    caps_team *t = calloc(1, sizeof *t);
    if (t) {
        const int rank = caps_ranks_rank(options->ranks), ranks = caps_ranks_count(options->ranks);
        t->n = t->lost = n;
        t->ranks = options->ranks;
        t->before = t->ranks ? options->firsts[rank] : 0;
        t->all = t->ranks ? options->firsts[ranks] : n;
        t->timeout = options->timeout_seconds;
        t->members = calloc(n, sizeof *t->members);
        t->weights = malloc(t->all * sizeof *t->weights);
        t->hosts = calloc(n, sizeof *t->hosts);
        t->models = calloc(n, sizeof(caps_model *));
    }
    if (!t || !t->members || !t->weights || !t->hosts || !t->models)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    memcpy(t->weights, options->weights, t->all * sizeof *t->weights);
    t->pixels = info->pixels;
    t->labels = info->labels;
    t->optimizer = options->optimizer;
    t->ema = options->ema;
    t->has_lock = pthread_mutex_init(&t->lock, NULL) == 0;
    t->has_changed = pthread_cond_init(&t->changed, NULL) == 0;
    if (!t->has_lock || !t->has_changed)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    for (size_t i = 0; i < n; i++) {
        caps_member *m = &t->members[i];
        m->team = t;
        m->index = i;
        m->rt = rts[i];
        status = member_init(m, options, err);
        if (status != CAPS_OK && !caps_team_is_alone(t))
            caps_fail_prefix(err, status, "device %s", caps_runtime_device(rts[i])->id);
        CAPS_TRY(status);
    }
    for (size_t i = 0; i < n; i++)
        t->models[i] = t->members[i].model;
    CAPS_TRY(caps_team_join(t, options, err));
    CAPS_TRY(caps_team_pool_init(t, options->spec, err));
    t->has_threads = !caps_team_is_alone(t);
    CAPS_TRY(caps_members_start(t, err));
    *out = t;
    t = NULL;
done:
    caps_team_free(t);
    return status;
}

void caps_team_free(caps_team *t)
{
    if (!t)
        return;
    const bool all = !t->has_threads || caps_members_stop(t);
    for (size_t i = 0; t->members && i < t->n; i++) {
        if (t->members[i].stuck || t->members[i].busy)
            continue;
        caps_exchange_release(&t->members[i].exchange);
        caps_model_free(t->members[i].model);
    }
    if (!all || caps_team_is_busy(t)) /* what is not free yet is what may come back still uses */
        return;
    caps_team_part_ways(t);
    caps_team_pool_release(t);
    if (t->has_changed)
        pthread_cond_destroy(&t->changed);
    if (t->has_lock)
        pthread_mutex_destroy(&t->lock);
    free(t->models);
    free(t->hosts);
    free(t->weights);
    free(t->members);
    free(t);
}

size_t caps_team_images(const caps_team *t, size_t which, size_t total)
{
    size_t first, count;
    caps_share_get(&first, &count, t->weights, t->all, which, total);
    return count;
}

size_t caps_team_count(const caps_team *t)
{
    return t->n;
}

caps_runtime *caps_team_runtime(const caps_team *t, size_t i)
{
    return t->members[i].rt;
}

caps_model *caps_team_model(const caps_team *t, size_t i)
{
    return t->members[i].model;
}

caps_model *const *caps_team_others(const caps_team *t)
{
    return t->models + 1;
}

caps_member_work caps_team_work(const caps_team *t, size_t i)
{
    return t->members[i].work;
}

size_t caps_team_lost(const caps_team *t)
{
    return t->lost;
}

void caps_team_lose(caps_team *t, size_t i, bool stuck)
{
    if (caps_team_is_alone(t) || t->lost < t->n)
        return;
    t->lost = i;
    t->members[i].stuck = stuck;
}

static caps_status member_finish(caps_member *m, caps_error *err)
{
    return caps_runtime_finish(m->rt, err);
}

bool caps_team_finish(caps_team *t)
{
    const size_t lost = t->lost;
    bool all = true;
    if (caps_team_is_alone(t)) {
        (void)caps_runtime_finish(t->members[0].rt, NULL);
        return true;
    }
    (void)caps_team_do(t, member_finish, NULL);
    t->lost = lost < t->n ? lost : t->lost;
    for (size_t i = 0; i < t->n; i++) {
        caps_member *m = &t->members[i];
        m->busy = m->busy || m->status != CAPS_OK;
        all = all && !m->stuck && !m->busy;
    }
    return all && !caps_team_is_busy(t);
}

static caps_status member_call(caps_member *m, caps_error *err)
{
    const caps_team *t = m->team;
    return m->index == t->callee ? t->call(t->call_user, m->model, err) : CAPS_OK;
}

caps_status caps_team_call(
    caps_team *t, size_t member, caps_team_function *call, void *user, caps_error *err)
{
    if (caps_team_is_alone(t))
        return call(user, t->members[0].model, err);
    t->callee = member;
    t->call = call;
    t->call_user = user;
    return caps_team_do(t, member_call, err);
}

bool caps_team_is_stuck(const caps_team *t, size_t i)
{
    return t->members[i].stuck;
}

size_t caps_team_survivor(const caps_team *t)
{
    return t->lost == 0 && t->n > 1 ? 1 : 0;
}

uint64_t caps_team_enqueued(const caps_team *t)
{
    return caps_stepper_enqueued(&t->members[caps_team_survivor(t)].stepper);
}

size_t caps_team_in_flight(const caps_team *t)
{
    return caps_team_is_alone(t) ? t->members[0].stepper.in_flight
                                 : (size_t)(caps_team_enqueued(t) - t->taken);
}

bool caps_team_is_full(const caps_team *t)
{
    return caps_team_in_flight(t) == CAPS_STEPS_AT_ONCE;
}
