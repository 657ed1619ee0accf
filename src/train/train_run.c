/* train_run.c: a training on the devices that it is given, and on those that are left of them.
 *
 * A run that a device has left, or whose shares change, is resumed in place: its state is saved,
 * and is what the run on other devices or in other shares goes on from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance.h"
#include "clock.h"
#include "fail.h"
#include "options.h"
#include "trace.h"
#include "trainer.h"

/* ---- devices that fail ---------------------------------------------------------------------- */

void caps_trainer_rescue(caps_trainer *t, caps_error *err)
{
    caps_error inner = {0};
    const size_t survivor = caps_team_survivor(t->team);
    if (!t->leads)
        return;
    t->rt = caps_team_runtime(t->team, survivor);
    t->model = caps_team_model(t->team, survivor);
    if (!t->opened)
        return;
    /* Of one device alone, which failed, nothing can be read any more. */
    if (survivor != caps_team_lost(t->team) && caps_trainer_settle(t, &inner) == CAPS_OK &&
        caps_trainer_save(t, true, &inner) == CAPS_OK)
        t->rescued = true;
    const size_t used = strlen(err->message);
    const unsigned long long step = t->saved_step;
    if (t->rescued && t->control->keep_going)
        snprintf(err->message + used, sizeof err->message - used,
            "; the others go on without it from step %llu", step);
    else
        snprintf(err->message + used, sizeof err->message - used,
            "; saved at step %llu; go on with: capscl train --resume --out %s", step,
            t->control->out);
}

/* By a device, or by another rank. */
static bool is_left(const caps_trainer *t)
{
    return caps_team_lost(t->team) < caps_team_count(t->team) ||
           caps_ranks_check(t->ranks, NULL) != CAPS_OK;
}

static caps_status run_on(caps_trainer *t, const caps_crew *crew, const caps_train_config *config,
    const caps_train_control *c, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    caps_status status;
    caps_trace_begin(crew->rts[0], "set up");
    status = caps_trainer_init(t, crew, config, c, err);
    caps_trace_end(crew->rts[0]);
    CAPS_TRY(status);
    if (caps_trainer_is_finished(t))
        *end = CAPS_TRAIN_WAS_FINISHED;
    else if ((t->control->stop && *t->control->stop))
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped before the training began; %s is as it was", c->out));
    else
        CAPS_TRY(caps_trainer_run(t, end, err));
    *m = caps_trainer_metrics(t);
done:
    if (status != CAPS_OK && t->team && is_left(t))
        caps_trainer_rescue(t, err);
    if (t->team)
        caps_trainer_count_devices(t);
    return status;
}

/* "60:40:20" without the share of one device. */
static void remove_share(char *split, size_t which)
{
    char *at = split;
    for (size_t i = 0; i < which && at; i++) {
        at = strchr(at, ':');
        at = at ? at + 1 : NULL;
    }
    if (!at || !*split)
        return;
    char *rest = strchr(at, ':');
    if (rest)
        memmove(at, rest + 1, strlen(rest));
    else if (at > split)
        at[-1] = 0;
}

static void remove_device(caps_crew *crew, size_t which, char *split)
{
    crew->n--;
    for (size_t i = which; i < crew->n; i++) {
        crew->rts[i] = crew->rts[i + 1];
        crew->slots[i] = crew->slots[i + 1];
    }
    remove_share(split, which);
}

/* Runs to the end, on fewer and fewer devices where it is to keep going. */
static caps_status run_on_what_is_left(caps_crew *crew, caps_train_config *config,
    caps_train_control *c, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    caps_status status;
    for (;;) {
        caps_trainer t = {0};
        caps_error inner = {0};
        status = run_on(&t, crew, config, c, end, m, &inner);
        const size_t lost = t.team ? caps_team_lost(t.team) : crew->n;
        const bool goes_on = status == CAPS_OK
                                 ? t.rebalanced
                                 : lost < crew->n && c->keep_going && (t.rescued || !t.opened);
        if (!goes_on) {
            caps_trainer_release(&t);
            if (status != CAPS_OK && err)
                *err = inner;
            return status;
        }
        if (status != CAPS_OK)
            caps_trainer_note(&t, "%s", inner.message);
        memcpy(config->split, t.config.split, sizeof config->split);
        memcpy(config->devices, t.config.devices, sizeof config->devices);
        memcpy(config->conv_request, t.config.conv_request, sizeof config->conv_request);
        memcpy(config->conv, t.config.conv, sizeof config->conv);
        c->resume = c->resume || t.opened;
        if (lost < crew->n)
            remove_device(crew, lost, config->split);
        caps_trainer_release(&t);
    }
}

/* Shares to begin with. */
static caps_status measure_shares(
    const caps_crew *crew, caps_train_config *config, const caps_train_control *c, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(crew->ranks);
    char *split = NULL, text[1200];
    caps_status status = CAPS_OK;
    double *speeds = malloc(crew->n * sizeof *speeds), *all = NULL;
    size_t *firsts = malloc((ranks + 1) * sizeof *firsts);
    if (!speeds || !firsts)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", crew->n));
    CAPS_TRY(caps_balance_measure(speeds, crew->rts, crew->n, config, err));
    CAPS_TRY(caps_ranks_collect(
        crew->ranks, speeds, crew->n, sizeof *speeds, (void **)&all, firsts, err));
    if (all)
        CAPS_TRY(caps_balance_format(&split, all, firsts[ranks], err));
    snprintf(config->split, sizeof config->split, "%s", split ? split : "");
    CAPS_TRY(caps_ranks_share(crew->ranks, config->split, sizeof config->split, err));
    snprintf(text, sizeof text, "shares: %.1000s, as the devices' speed is now", config->split);
    if (c->event)
        c->event(c->user, CAPS_TRAIN_LOG, NULL, text);
done:
    free(split);
    free(speeds);
    free(all);
    free(firsts);
    return status;
}

caps_status caps_train_run(caps_runtime *rt, const caps_train_config *config,
    const caps_train_control *control, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    caps_train_control c;
    caps_train_config own = {CAPS_OPTIONS(caps_train_config)};
    caps_crew crew = {0};
    caps_status status;
    *m = (caps_train_metrics){0};
    CAPS_TRY(caps_options_read(&c, sizeof c, control, control->size, "caps_train_control", err));
    CAPS_TRY(caps_train_config_copy(&own, config, err));
    crew.n = 1 + c.others_count;
    crew.ranks = c.ranks;
    crew.began = caps_clock_seconds();
    crew.rts = calloc(crew.n, sizeof(caps_runtime *));
    crew.slots = calloc(crew.n, sizeof *crew.slots);
    if (!crew.rts || !crew.slots)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", crew.n));
    for (size_t i = 0; i < crew.n; i++) {
        crew.rts[i] = i == 0 ? rt : c.others[i - 1];
        crew.slots[i] = i;
    }
    if (own.split_auto && !own.split[0] && (crew.n > 1 || crew.ranks))
        CAPS_TRY(measure_shares(&crew, &own, &c, err));
    CAPS_TRY(run_on_what_is_left(&crew, &own, &c, end, m, err));
done:
    free(crew.rts);
    free(crew.slots);
    caps_train_config_release(&own);
    return status;
}
