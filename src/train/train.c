/* train.c: the loop of a run: steps, epochs, and the end.
 *
 * The result depends on the settings, the data and the device alone: every step is a function of
 * the parameters, the moments and its number, so a state that holds these is a place to go on from.
 *
 * The host runs ahead of the device by a step (stepper.h). Before anything is decided from the
 * numbers (saving, an epoch's end) no step is in flight. The first files of a new run are written
 * while its first step is.
 *
 * What closes an epoch (evaluation, its line in the log) can be called off and is then the first
 * thing that the resumed run does; the model's file is written before the state that says it is
 * final. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "clock.h"
#include "fail.h"
#include "options.h"
#include "schedule.h"
#include "trace.h"
#include "trainer.h"

static bool is_stopped(const caps_trainer *t)
{
    return t->control->stop && *t->control->stop;
}

/* Not before something was done: runs that are resumed under a limit get to their end. */
static bool is_out_of_time(const caps_trainer *t)
{
    double limit = t->control->time_limit_seconds;
    return limit > 0 && t->steps_here + caps_team_in_flight(t->team) > 0 &&
           caps_clock_seconds() - t->began >= limit;
}

/* The epoch or the run ends with step `step`. */
static bool is_end(const caps_trainer *t, uint64_t step)
{
    return (step > 0 && step % t->steps_per_epoch == 0) || step >= t->last_step;
}

/* ---- the end of an epoch -------------------------------------------------------------------- */

static bool evaluation_is_off(void *user, size_t done, size_t total)
{
    const caps_trainer *t = user;
    (void)done;
    (void)total;
    return is_stopped(t) || is_out_of_time(t);
}

static caps_status evaluate_on(caps_trainer *t, const caps_dataset *ds, double *percent,
    double *label_percent, double *balanced_percent, caps_error *err)
{
    caps_evaluation result = {0};
    const caps_evaluate_options options = {CAPS_OPTIONS(caps_evaluate_options),
        .progress = {evaluation_is_off, t}, .others = caps_team_others(t->team),
        .others_count = caps_team_count(t->team) - 1};
    caps_status status = caps_evaluate(t->model, ds, &options, &result, err);
    if (status == CAPS_OK) {
        *percent = result.error_percent;
        *label_percent = result.label_error_percent;
        *balanced_percent = caps_evaluation_balanced_percent(&result);
        t->has_evaluated = true;
        for (size_t j = 0; j < result.classes; j++)
            caps_evaluation_class(&result, j, &t->evaluated[j], &t->evaluated[result.classes + j]);
    }
    caps_evaluation_release(&result);
    return status;
}

/* Where images are held out to choose by, the test split is evaluated once, at the end. */
static caps_status evaluate_epoch(caps_trainer *t, caps_error *err)
{
    caps_state *s = &t->state;
    const bool validates = t->validation.n > 0;
    caps_status status = CAPS_OK;
    caps_trainer_report(t, CAPS_TRAIN_EVALUATING);
    if (validates)
        CAPS_TRY(evaluate_on(t, &t->validation, &s->validation_error_percent,
            &s->validation_label_error_percent, &s->validation_balanced_error_percent, err));
    if (t->test.n > 0 && (!validates || s->step >= t->last_step))
        CAPS_TRY(evaluate_on(t, &t->test, &s->test_error_percent, &s->test_label_error_percent,
            &s->test_balanced_error_percent, err));
done:
    s->peak_device_bytes = caps_runtime_peak_bytes(t->rt);
    return status;
}

/* Evaluates where it is due, logs, saves. CAPS_ERR_INTERRUPTED: called off, nothing was logged. */
static caps_status close_epoch(caps_trainer *t, caps_error *err)
{
    const uint64_t every = t->config.eval_every;
    caps_status status = CAPS_OK;
    caps_train_metrics m = caps_trainer_metrics(t);
    if (t->state.step >= t->last_step || (every > 0 && m.epoch % every == 0))
        CAPS_TRY(evaluate_epoch(t, err));
    m = caps_trainer_metrics(t);
    CAPS_TRY(caps_trainer_append(t, CAPS_METRICS_EPOCH, &m, err));
    t->state.ended = true;
    caps_trainer_report(t, CAPS_TRAIN_EPOCH);
    CAPS_TRY(caps_trainer_save(t, true, err));
done:
    return status;
}

/* ---- the loop ------------------------------------------------------------------------------- */

static caps_status open_run(caps_trainer *t, caps_error *err)
{
    caps_trace_begin(t->rt, "open the run");
    caps_status status = caps_trainer_open(t, err);
    caps_trace_end(t->rt);
    if (status == CAPS_OK)
        caps_trainer_report(t, CAPS_TRAIN_STARTED);
    return status;
}

/* Steps to the end of the epoch or of the run, or until something asks to stop; none is left in
 * flight. */
static caps_status run_steps(caps_trainer *t, caps_error *err)
{
    const uint64_t every = t->config.save_every;
    caps_status status = CAPS_OK;
    do {
        CAPS_TRY(caps_trainer_step(t, err));
        if (!t->opened)
            CAPS_TRY(open_run(t, err));
        caps_trainer_report_progress(t);
        const uint64_t step = caps_team_enqueued(t->team);
        if (is_end(t, step) || is_stopped(t) || is_out_of_time(t))
            break;
        if (every > 0 && step % every == 0) {
            CAPS_TRY(caps_trainer_settle(t, err));
            CAPS_TRY(caps_trainer_save(t, false, err));
        }
    } while (true);
    CAPS_TRY(caps_trainer_settle(t, err));
done:
    return status;
}

static caps_status run_to_end(caps_trainer *t, caps_train_end *end, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (t->control->resume) /* a new run is opened behind its first step */
        CAPS_TRY(open_run(t, err));
    for (;;) {
        if (caps_trainer_is_finished(t)) {
            *end = CAPS_TRAIN_FINISHED;
            return CAPS_OK;
        }
        if (t->opened && (is_stopped(t) || is_out_of_time(t)))
            break;
        if (t->state.ended || !is_end(t, t->state.step)) {
            CAPS_TRY(run_steps(t, err));
            continue;
        }
        caps_error inner = {0};
        status = close_epoch(t, &inner);
        if (status == CAPS_ERR_INTERRUPTED)
            break;
        if (status != CAPS_OK && err)
            *err = inner;
        CAPS_TRY(status);
    }
    *end = is_stopped(t) ? CAPS_TRAIN_STOPPED : CAPS_TRAIN_TIME_LIMIT;
    /* An epoch that was closed has saved already. */
    status = CAPS_OK;
    if (!t->state.ended)
        CAPS_TRY(caps_trainer_save(t, true, err));
done:
    return status;
}

/* ---- devices that fail ---------------------------------------------------------------------- */

void caps_trainer_rescue(caps_trainer *t, caps_error *err)
{
    caps_error inner = {0};
    const size_t survivor = caps_team_survivor(t->team);
    t->rt = caps_team_runtime(t->team, survivor);
    t->model = caps_team_model(t->team, survivor);
    if (!t->opened)
        return;
    if (caps_trainer_settle(t, &inner) == CAPS_OK && caps_trainer_save(t, true, &inner) == CAPS_OK)
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
    else if (is_stopped(t))
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped before the training began; %s is as it was", c->out));
    else
        CAPS_TRY(run_to_end(t, end, err));
    *m = caps_trainer_metrics(t);
done:
    if (status != CAPS_OK && t->team && caps_team_lost(t->team) < caps_team_count(t->team))
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
        const bool goes_on =
            status != CAPS_OK && lost < crew->n && c->keep_going && (t.rescued || !t.opened);
        if (!goes_on) {
            caps_trainer_release(&t);
            if (status != CAPS_OK && err)
                *err = inner;
            return status;
        }
        caps_trainer_note(&t, "%s", inner.message);
        memcpy(config->devices, t.config.devices, sizeof config->devices);
        memcpy(config->conv_request, t.config.conv_request, sizeof config->conv_request);
        memcpy(config->conv, t.config.conv, sizeof config->conv);
        c->resume = c->resume || t.opened;
        remove_device(crew, lost, config->split);
        caps_trainer_release(&t);
    }
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
    crew.rts = calloc(crew.n, sizeof(caps_runtime *));
    crew.slots = calloc(crew.n, sizeof *crew.slots);
    if (!crew.rts || !crew.slots)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", crew.n));
    for (size_t i = 0; i < crew.n; i++) {
        crew.rts[i] = i == 0 ? rt : c.others[i - 1];
        crew.slots[i] = i;
    }
    CAPS_TRY(run_on_what_is_left(&crew, &own, &c, end, m, err));
done:
    free(crew.rts);
    free(crew.slots);
    caps_train_config_release(&own);
    return status;
}
