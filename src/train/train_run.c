/* train_run.c: a training on the devices that it is given, and on those that are left of them.
 *
 * A run that a device has left, or whose shares change, is resumed in place: its state is saved,
 * and is what the run on other devices or in other shares goes on from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance.h"
#include "choice.h"
#include "clock.h"
#include "fail.h"
#include "options.h"
#include "shares.h"
#include "trace.h"
#include "trainer.h"

/* ---- devices that fail ---------------------------------------------------------------------- */

/* Nor does another device than the one that was lost answer: nothing can be read or computed. */
static bool is_stuck(const caps_trainer *t)
{
    for (size_t i = 0; i < caps_team_count(t->team); i++)
        if (i != caps_team_lost(t->team) && caps_team_is_stuck(t->team, i))
            return true;
    return false;
}

void caps_trainer_rescue(caps_trainer *t, caps_error *err)
{
    caps_error inner = {0};
    const size_t used = strlen(err->message);
    const size_t survivor = caps_team_survivor(t->team);
    if (!t->leads)
        return;
    if (survivor > 0) /* it keeps the choices that it has */
        t->choices_before = caps_choices_count(caps_team_runtime(t->team, survivor));
    t->rt = caps_team_runtime(t->team, survivor);
    t->model = caps_team_model(t->team, survivor);
    if (!t->opened) {
        if (t->control->keep_going && !is_stuck(t) && caps_team_count(t->team) > 1)
            snprintf(err->message + used, sizeof err->message - used,
                "; the others go on without it from the start");
        return;
    }
    /* Of one device alone, which failed, nothing can be read any more. */
    if (survivor != caps_team_lost(t->team) && !is_stuck(t) &&
        caps_trainer_settle(t, &inner) == CAPS_OK && caps_trainer_save(t, true, &inner) == CAPS_OK)
        t->rescued = true;
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

static caps_status run_on(caps_trainer *t, caps_crew *crew, const caps_train_config *config,
    const caps_train_control *c, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    caps_status status;
    caps_trace_begin(crew->rts[0], "set up");
    status = caps_trainer_init(t, crew, config, c, err);
    caps_trace_end(crew->rts[0]);
    CAPS_TRY(status);
    if (caps_trainer_is_finished(t))
        *end = CAPS_TRAIN_WAS_FINISHED;
    else if (!t->again && t->control->stop && *t->control->stop)
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped before the training began; %s is as it was", c->out));
    else
        CAPS_TRY(caps_trainer_run(t, end, err));
    *m = caps_trainer_metrics(t);
done:
    if (status != CAPS_OK && t->team && is_left(t))
        caps_trainer_rescue(t, err);
    if (t->team && caps_team_count(t->team) > 1) /* one that does not answer is known by now */
        (void)caps_team_finish(t->team);
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

static void remove_device(caps_crew *crew, size_t which, caps_train_config *config)
{
    crew->n--;
    for (size_t i = which; i < crew->n; i++) {
        crew->rts[i] = crew->rts[i + 1];
        crew->slots[i] = crew->slots[i + 1];
    }
    remove_share(config->split, which);
    if (crew->n == 1)
        config->split[0] = 0;
    if (which == 0) { /* its algorithms are not those of the next one */
        memcpy(config->conv, config->conv_request, sizeof config->conv);
        config->routing[0] = 0;
    }
}

/* What the trainer knows of the run, for the one that goes on with it. */
static void keep_run(
    caps_crew *crew, caps_train_config *config, caps_train_control *c, caps_trainer *t)
{
    caps_batcher_stop(t->batcher); /* which reads the data */
    crew->data = t->data;
    t->data = (caps_train_data){0};
    memcpy(config->split, t->config.split, sizeof config->split);
    memcpy(config->devices, t->config.devices, sizeof config->devices);
    memcpy(config->conv_request, t->config.conv_request, sizeof config->conv_request);
    memcpy(config->conv, t->config.conv, sizeof config->conv);
    memcpy(config->routing, t->config.routing, sizeof config->routing);
    config->micro_batch = 0; /* that of other shares */
    if (!t->opened)
        return;
    c->resume = crew->again = true;
    crew->resumed_from_step = t->resumed_from_step;
    crew->seconds_before = t->seconds_before;
}

/* Runs to the end: in other shares, on fewer and fewer devices where it is to keep going. */
static caps_status run_to_the_end(caps_crew *crew, caps_train_config *config, caps_train_control *c,
    caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    for (;;) {
        caps_trainer t = {0};
        caps_error inner = {0};
        const caps_status status = run_on(&t, crew, config, c, end, m, &inner);
        const size_t lost = t.team ? caps_team_lost(t.team) : crew->n;
        const bool left = status != CAPS_OK && lost < crew->n && c->keep_going &&
                          (t.rescued || !t.opened) && !is_stuck(&t);
        if (!left && (status != CAPS_OK || !t.rebalanced)) {
            caps_trainer_release(&t);
            if (status != CAPS_OK && err)
                *err = inner;
            return status;
        }
        if (left)
            caps_trainer_note(&t, "%s", inner.message);
        keep_run(crew, config, c, &t);
        if (left)
            remove_device(crew, lost, config);
        caps_trainer_release(&t);
    }
}

/* ---- shares --------------------------------------------------------------------------------- */

static void log_line(const caps_train_control *c, const char *text)
{
    if (c->event)
        c->event(c->user, CAPS_TRAIN_LOG, NULL, text);
}

/* As the devices' speed is, where that is known or to be measured; else equal. */
static caps_status choose_shares(
    const caps_crew *crew, caps_train_config *config, const caps_train_control *c, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(crew->ranks);
    const char *reason = "as the devices' speed is now";
    bool known = true;
    char *split = NULL, text[1200];
    caps_status status = CAPS_OK;
    double *speeds = malloc(crew->n * sizeof *speeds), *all = NULL;
    size_t *firsts = malloc((ranks + 1) * sizeof *firsts);
    if (!speeds || !firsts)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", crew->n));
    if (config->split_auto)
        CAPS_TRY(caps_balance_measure(speeds, crew->rts, crew->n, config, err));
    else
        caps_balance_tuned(speeds, crew->rts, crew->n, config);
    CAPS_TRY(caps_ranks_collect(
        crew->ranks, speeds, crew->n, sizeof *speeds, (void **)&all, firsts, err));
    for (size_t i = 0; all && i < firsts[ranks]; i++)
        known = known && all[i] > 0;
    if (!config->split_auto)
        reason = known ? "as 'capscl tune' measured" : "equal";
    if (all)
        CAPS_TRY(caps_balance_format(&split, known ? all : NULL, firsts[ranks], err));
    snprintf(config->split, sizeof config->split, "%s", split ? split : "");
    CAPS_TRY(caps_ranks_share(crew->ranks, config->split, sizeof config->split, err));
    if (all) {
        snprintf(text, sizeof text, "shares: %.1000s, %s", config->split, reason);
        log_line(c, text);
    }
done:
    free(split);
    free(speeds);
    free(all);
    free(firsts);
    return status;
}

/* The shares of a run that goes on are those of other devices. Of ranks only their number is
 * recorded, and how many shares there are. */
static bool has_other_devices(const caps_crew *crew, const caps_train_config *config,
    size_t members, const caps_train_control *c)
{
    char text[1200], devices[sizeof config->devices];
    uint32_t *weights = NULL;
    if (!crew->ranks && config->ranks == 0) {
        caps_crew_list(devices, sizeof devices, crew);
        return strcmp(config->devices, devices) != 0;
    }
    const bool fits = caps_shares_read(&weights, config->split, members, NULL) == CAPS_OK;
    free(weights);
    if (!fits && c->event) {
        snprintf(text, sizeof text, "shares %.1000s were those of %llu ranks, need %zu others",
            config->split, (unsigned long long)(config->ranks ? config->ranks : 1), members);
        c->event(c->user, CAPS_TRAIN_NOTE, NULL, text);
    }
    return !fits;
}

/* Shares to begin with. A run that goes on has its own, but not where its devices are others. */
static caps_status begin_shares(
    const caps_crew *crew, caps_train_config *config, const caps_train_control *c, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(crew->ranks);
    uint32_t *weights = NULL;
    caps_status status;
    size_t *firsts = malloc((ranks + 1) * sizeof *firsts);
    if (!firsts)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", crew->n);
    CAPS_TRY(caps_ranks_collect(crew->ranks, NULL, crew->n, 0, NULL, firsts, err));
    const size_t members = firsts[ranks];
    if (c->resume && c->split)
        snprintf(config->split, sizeof config->split, "%s", c->split);
    else if (c->resume && has_other_devices(crew, config, members, c))
        config->split[0] = 0;
    CAPS_TRY(members > 1 && !config->split[0]
                 ? choose_shares(crew, config, c, err)
                 : caps_shares_read(&weights, config->split, members, err));
done:
    free(weights);
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
    CAPS_TRY(begin_shares(&crew, &own, &c, err));
    CAPS_TRY(run_to_the_end(&crew, &own, &c, end, m, err));
done:
    caps_train_data_release(&crew.data);
    free(crew.rts);
    free(crew.slots);
    caps_train_config_release(&own);
    return status;
}
