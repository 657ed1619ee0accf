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

#include "balance.h"
#include "clock.h"
#include "fail.h"
#include "schedule.h"
#include "trace.h"
#include "trainer.h"

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
    bool late;
    return caps_trainer_wants_end(t, &late) || late ||
           caps_ranks_check(t->ranks, NULL) != CAPS_OK; /* one is lost */
}

static caps_status evaluate_set(
    caps_trainer *t, const caps_dataset *ds, caps_evaluation *result, caps_error *err)
{
    caps_evaluate_failure failure = {0};
    const caps_evaluate_options options = {CAPS_OPTIONS(caps_evaluate_options),
        .progress = {evaluation_is_off, t}, .others = caps_team_others(t->team),
        .others_count = caps_team_count(t->team) - 1, .timeout_seconds = t->timeout,
        .failure = &failure};
    const caps_status status = caps_evaluate(t->model, ds, &options, result, err);
    if (failure.failed)
        caps_team_lose(t->team, failure.model, failure.stuck);
    return status;
}

static caps_status evaluate_on(caps_trainer *t, const caps_dataset *ds, double *percent,
    double *label_percent, double *balanced_percent, caps_error *err)
{
    caps_evaluation result = {0};
    caps_status status = evaluate_set(t, ds, &result, err);
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

/* Parameters and average change places, on all devices that are left. */
static caps_status swap_average(caps_trainer *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < caps_team_count(t->team); i++) {
        if (caps_team_count(t->team) > 1 && i == caps_team_lost(t->team))
            continue;
        const caps_status one =
            caps_model_swap_average(caps_team_model(t->team, i), status == CAPS_OK ? err : NULL);
        if (one != CAPS_OK)
            caps_team_lose(t->team, i, false);
        status = status == CAPS_OK ? one : status;
    }
    return status;
}

static caps_status evaluate_average(
    caps_trainer *t, const caps_dataset *ds, double *percent, caps_error *err)
{
    caps_evaluation result = {0};
    caps_status status;
    if (t->config.ema <= 0)
        return CAPS_OK;
    status = swap_average(t, err);
    if (status == CAPS_OK)
        status = evaluate_set(t, ds, &result, err);
    if (status == CAPS_OK)
        *percent = result.error_percent;
    const caps_status back = swap_average(t, status == CAPS_OK ? err : NULL);
    status = status == CAPS_OK ? back : status;
    caps_evaluation_release(&result);
    return status;
}

/* Where images are held out to choose by, the test split is evaluated once, at the end. */
static caps_status evaluate_epoch(caps_trainer *t, caps_error *err)
{
    caps_state *s = &t->state;
    const bool validates = t->data.validation.n > 0;
    caps_status status = CAPS_OK;
    caps_trainer_report(t, CAPS_TRAIN_EVALUATING);
    if (validates) {
        CAPS_TRY(evaluate_average(t, &t->data.validation, &s->ema_validation_error_percent, err));
        CAPS_TRY(evaluate_on(t, &t->data.validation, &s->validation_error_percent,
            &s->validation_label_error_percent, &s->validation_balanced_error_percent, err));
    }
    if (t->data.test.n > 0 && (!validates || s->step >= t->last_step)) {
        CAPS_TRY(evaluate_average(t, &t->data.test, &s->ema_test_error_percent, err));
        CAPS_TRY(evaluate_on(t, &t->data.test, &s->test_error_percent, &s->test_label_error_percent,
            &s->test_balanced_error_percent, err));
    }
done:
    s->peak_device_bytes = caps_runtime_peak_bytes(t->rt);
    return status;
}

/* Evaluates where it is due, logs, saves. CAPS_ERR_INTERRUPTED: called off, nothing was logged. */
static caps_status close_here(caps_trainer *t, caps_error *err)
{
    const uint64_t every = t->config.eval_every;
    caps_status status = CAPS_OK;
    caps_train_metrics m = caps_trainer_metrics(t);
    if (t->state.step >= t->last_step || (every > 0 && m.epoch % every == 0))
        CAPS_TRY(evaluate_epoch(t, err));
    m = caps_trainer_metrics(t);
    m.devices = t->epoch_devices;
    m.device_count = t->epoch_device_count;
    CAPS_TRY(caps_trainer_append(t, CAPS_METRICS_EPOCH, &m, err));
    t->state.ended = true;
    caps_trainer_report(t, CAPS_TRAIN_EPOCH);
    CAPS_TRY(caps_trainer_save(t, true, err));
done:
    return status;
}

/* Rank 0 does it, while the others wait. */
static caps_status close_epoch(caps_trainer *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (caps_trainer_members(t) > 1)
        CAPS_TRY(caps_trainer_gather_epoch(t, err));
    CAPS_TRY(caps_team_collect(t->team, err)); /* rank 0 saves */
    status = t->leads ? close_here(t, err) : CAPS_OK;
    const bool called_off = status == CAPS_ERR_INTERRUPTED;
    if (!called_off)
        CAPS_TRY(status);
    CAPS_TRY(caps_ranks_check(t->ranks, err));
    CAPS_TRY(caps_trainer_share_verdict(t, called_off, err));
    if (called_off || t->verdict.called_off)
        return CAPS_ERR_INTERRUPTED;
    CAPS_TRY(caps_trainer_share_state(t, err));
done:
    return status;
}

/* After an epoch, where the shares follow the devices' speed: other shares, where they help. */
static caps_status balance(caps_trainer *t, caps_error *err)
{
    const size_t n = caps_trainer_members(t);
    caps_status status = CAPS_OK;
    char *split = NULL;
    double *speeds = NULL;
    if (!t->config.split_auto || n == 1 || caps_trainer_is_finished(t))
        return CAPS_OK;
    speeds = malloc(n * sizeof *speeds);
    if (!speeds)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", n);
    CAPS_TRY(caps_trainer_gather_speeds(t, speeds, err));
    for (size_t i = 0; i < n; i++)
        if (speeds[i] <= 0) /* too few steps to know, or it is rank 0 that decides */
            goto done;
    if (!caps_balance_helps(t->config.split, speeds, n, t->config.batch))
        goto done;
    CAPS_TRY(caps_balance_format(&split, speeds, n, err));
    caps_trainer_note(
        t, "shares %s become %s, as the devices' speed was in this epoch", t->config.split, split);
    snprintf(t->config.split, sizeof t->config.split, "%s", split);
    t->rebalanced = true;
done:
    free(split);
    free(speeds);
    return status;
}

static caps_status balance_all(caps_trainer *t, caps_error *err)
{
    char split[sizeof t->config.split];
    caps_status status;
    memcpy(split, t->config.split, sizeof split);
    CAPS_TRY(balance(t, err));
    if (t->config.split_auto)
        CAPS_TRY(caps_ranks_share(t->ranks, t->config.split, sizeof t->config.split, err));
    t->rebalanced = strcmp(split, t->config.split) != 0;
done:
    return status;
}

/* ---- the loop ------------------------------------------------------------------------------- */

static caps_status open_run(caps_trainer *t, caps_error *err)
{
    caps_trace_begin(t->rt, "open the run");
    caps_status status = caps_trainer_open(t, err);
    caps_trace_end(t->rt);
    if (status == CAPS_OK && !t->again)
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
        if (is_end(t, step) || caps_trainer_is_stopped(t) || caps_trainer_is_out_of_time(t))
            break;
        if ((every > 0 && step % every == 0) || t->verdict.saves) {
            CAPS_TRY(caps_trainer_settle(t, err));
            CAPS_TRY(caps_trainer_save(t, false, err));
        }
    } while (true);
    CAPS_TRY(caps_trainer_settle(t, err));
done:
    return status;
}

caps_status caps_trainer_run(caps_trainer *t, caps_train_end *end, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (t->control->resume) /* a new run is opened behind its first step */
        CAPS_TRY(open_run(t, err));
    for (;;) {
        if (caps_trainer_is_finished(t)) {
            *end = CAPS_TRAIN_FINISHED;
            return CAPS_OK;
        }
        if (t->opened && (caps_trainer_is_stopped(t) || caps_trainer_is_out_of_time(t)))
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
        CAPS_TRY(balance_all(t, err));
        if (t->rebalanced)
            return CAPS_OK;
    }
    *end = caps_trainer_is_stopped(t) ? CAPS_TRAIN_STOPPED : CAPS_TRAIN_TIME_LIMIT;
    /* An epoch that was closed has saved already. */
    status = CAPS_OK;
    if (!t->state.ended)
        CAPS_TRY(caps_trainer_save(t, true, err));
done:
    return status;
}
