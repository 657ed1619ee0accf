/* trainer.c: steps, epochs, saving, and the end of a run.
 *
 * The result depends on the settings, the data and the device alone: every step is a function of
 * the parameters, the moments and its number, so a state that holds these is a place to go on from.
 * The host runs ahead of the device by a step: while one step is computed the next is enqueued, and
 * the results of the one before are taken. Before anything is decided from the numbers (saving, an
 * epoch's end) no step is in flight.
 * What closes an epoch (evaluation, its line in the log) can be called off and is then the first
 * thing that the resumed run does; the model's file is written before the state that says it is
 * final. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <capscl/inspect.h>

#include "clock.h"
#include "fail.h"
#include "schedule.h"
#include "trace.h"
#include "trainer.h"

/* ---- numbers -------------------------------------------------------------------------------- */

static double seconds_left(const caps_trainer *t)
{
    const caps_state *s = &t->state;
    if (s->step >= t->last_step)
        return 0;
    double images_per_step = (double)t->train.n / (double)t->steps_per_epoch;
    double left = (double)(t->last_step - s->step) * images_per_step / s->images_per_second;
    double limit = t->control->time_limit_seconds;
    if (limit > 0) {
        double until = t->began + limit - caps_clock_seconds();
        left = fmin(left, fmax(until, 0)); /* fmin: the other one where `left` is NaN */
    }
    return left;
}

caps_train_metrics caps_trainer_metrics(const caps_trainer *t)
{
    const caps_state *s = &t->state;
    const double n = s->images_done > 0 ? (double)s->images_done : NAN;
    const double seconds = caps_clock_seconds() - t->began;
    caps_train_metrics m = {
        .epoch = caps_schedule_epoch(s->step, t->steps_per_epoch),
        .step = s->step,
        .margin_loss = s->totals.margin_loss / n,
        .reconstruction_sse = t->config->spec.has_decoder ? s->totals.sse / n : NAN,
        .train_error_percent = 100 * s->totals.errors / n,
        .test_error_percent = s->test_error_percent,
        .validation_error_percent = s->validation_error_percent,
        .test_label_error_percent = s->test_label_error_percent,
        .validation_label_error_percent = s->validation_label_error_percent,
        .labels = t->config->spec.labels,
        .test_images = t->test.n,
        .validation_images = t->validation.n,
        .rate = s->rate,
        .images_per_second = s->images_per_second,
        .seconds = seconds,
        .total_seconds = t->seconds_before + seconds,
        .seconds_left = seconds_left(t),
        .images_done = s->images_done,
        .images_total = t->train.n,
        .peak_device_bytes = s->peak_device_bytes,
        .resumed_from_step = t->resumed_from_step,
    };
    const caps_loss *loss = &t->config->loss;
    m.loss = loss->margin_scale * m.margin_loss + loss->reconstruction_weight * s->totals.sse / n;
    return m;
}

void caps_trainer_tell(caps_trainer *t, caps_train_event event)
{
    if (!t->control->event)
        return;
    caps_train_metrics m = caps_trainer_metrics(t);
    t->control->event(t->control->user, event, &m, NULL);
}

void caps_trainer_note(caps_trainer *t, const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (!t->control->event)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    t->control->event(t->control->user, CAPS_TRAIN_NOTE, NULL, text);
}

/* Steps that the device was given. */
static uint64_t steps_given(const caps_trainer *t)
{
    return t->state.step + t->in_flight;
}

/* The step that the device was given last; the sums are those of the steps that came back. */
static void tell_progress(caps_trainer *t)
{
    if (!t->control->event)
        return;
    caps_train_metrics m = caps_trainer_metrics(t);
    m.step = steps_given(t);
    m.epoch = caps_schedule_epoch(m.step, t->steps_per_epoch);
    t->control->event(t->control->user, CAPS_TRAIN_PROGRESS, &m, NULL);
}

static bool is_stopped(const caps_trainer *t)
{
    return t->control->stop && *t->control->stop;
}

/* Not before something was done: runs that are resumed under a limit get to their end. */
static bool is_out_of_time(const caps_trainer *t)
{
    double limit = t->control->time_limit_seconds;
    return limit > 0 && t->steps_here + t->in_flight > 0 &&
           caps_clock_seconds() - t->began >= limit;
}

/* ---- a step --------------------------------------------------------------------------------- */

static caps_status not_finite(
    const caps_trainer *t, uint64_t step, const char *name, double rate, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_NOT_FINITE,
        "step %llu: %s is not finite (rate %g; last saved step %llu)", (unsigned long long)step,
        name, rate, (unsigned long long)t->saved_step);
}

/* Speed is that of the epoch's steps. The first step of a process also builds kernels: it counts
 * only as long as there is no other. */
static void count_time(caps_trainer *t, uint64_t images, double seconds)
{
    if (t->steps_here++ == 0) {
        t->first_images = images;
        t->first_seconds = seconds;
    } else {
        t->epoch_images += images;
        t->epoch_seconds += seconds;
    }
    if (t->epoch_images > 0 && t->epoch_seconds > 0)
        t->state.images_per_second = (double)t->epoch_images / t->epoch_seconds;
    else if (t->first_seconds > 0)
        t->state.images_per_second = (double)t->first_images / t->first_seconds;
}

static void begin_epoch(caps_trainer *t)
{
    t->state.totals = (caps_model_totals){0};
    t->state.images_done = 0;
    t->epoch_images = 0;
    t->epoch_seconds = 0;
}

static caps_status log_line(
    caps_trainer *t, caps_metrics_type type, const caps_train_metrics *m, caps_error *err)
{
    caps_trace_begin(t->rt, "log");
    caps_status status = caps_metrics_append(&t->log, type, m, err);
    caps_trace_end(t->rt);
    return status;
}

/* Takes the results of the oldest step in flight. */
static caps_status take_step(caps_trainer *t, caps_error *err)
{
    caps_state *s = &t->state;
    const uint64_t step = s->step + 1;
    const caps_flight *flight = &t->flights[step % CAPS_STEPS_AT_ONCE];
    caps_step_report report;
    caps_status status;
    CAPS_TRY(caps_step_wait(t->model, step % CAPS_STEPS_AT_ONCE, &report, err));
    t->in_flight--;
    /* The steps behind it were computed from what is not finite: nobody looks at them. */
    if (!report.finite)
        CAPS_TRY(not_finite(t, step, report.where, flight->rate, err));
    s->totals.margin_loss += report.totals.margin_loss;
    s->totals.sse += report.totals.sse;
    s->totals.errors += report.totals.errors;
    s->images_done += flight->images;
    s->step = step;
    s->rate = flight->rate;
    s->ended = false;
    caps_state_forget_errors(s);
    s->peak_device_bytes = caps_runtime_peak_bytes(t->rt);
    const double now = caps_clock_seconds();
    count_time(t, flight->images, now - t->lap);
    t->lap = now;
    if (step % CAPS_METRICS_STEPS == 0) {
        caps_train_metrics m = caps_trainer_metrics(t);
        CAPS_TRY(log_line(t, CAPS_METRICS_STEP, &m, err));
    }
done:
    return status;
}

caps_status caps_trainer_settle(caps_trainer *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    while (t->in_flight > 0 && status == CAPS_OK)
        status = take_step(t, err);
    return status;
}

/* Gives the device step number `step`. */
static caps_status enqueue_step(
    caps_trainer *t, const caps_batch *batch, double rate, uint64_t step, caps_error *err)
{
    caps_model *m = t->model;
    caps_status status;
    caps_trace_begin(t->rt, "enqueue step");
    /* The device sums in float: one step at a time, so that the sums do not depend on where a run
     * was stopped, nor lose digits over an epoch. */
    CAPS_TRY(caps_step_begin(m, err));
    caps_model_set_step(m, t->config->seed, step);
    CAPS_TRY(caps_model_gradients_of(
        m, &(caps_images){batch->n, batch->images, batch->labels, batch->targets}, err));
    CAPS_TRY(t->config->optimizer == CAPS_OPTIMIZER_ADAM
                 ? caps_model_adam(m, (float)rate, step, err)
                 : caps_model_sgd(m, (float)rate, err));
    CAPS_TRY(caps_step_end(m, step % CAPS_STEPS_AT_ONCE, err));
done:
    caps_trace_end(t->rt);
    return status;
}

caps_status caps_trainer_step(caps_trainer *t, caps_error *err)
{
    const uint64_t before = steps_given(t), step = before + 1;
    const double rate = caps_train_rate(t->config, before, t->steps_per_epoch);
    caps_status status;
    if (before % t->steps_per_epoch == 0) /* what was in flight was settled at the epoch's end */
        begin_epoch(t);
    if (t->in_flight == 0)
        t->lap = caps_clock_seconds();
    caps_trace_begin(t->rt, "make batch");
    const caps_batch *batch = caps_batcher_next(t->batcher);
    caps_trace_end(t->rt);
    CAPS_TRY(enqueue_step(t, batch, rate, step, err));
    t->flights[step % CAPS_STEPS_AT_ONCE] = (caps_flight){batch->n, rate};
    t->in_flight++;
    if (t->in_flight == CAPS_STEPS_AT_ONCE)
        CAPS_TRY(take_step(t, err));
done:
    return status;
}

/* ---- saving --------------------------------------------------------------------------------- */

caps_status caps_trainer_save(caps_trainer *t, bool model, caps_error *err)
{
    caps_status status;
    caps_error inner = {0};
    caps_trace_begin(t->rt, "save");
    status = caps_state_take(&t->state, t->model, &inner);
    if (status == CAPS_ERR_NOT_FINITE)
        CAPS_TRY(not_finite(t, t->state.step, inner.message, t->state.rate, err));
    if (status != CAPS_OK) {
        if (err)
            *err = inner;
        goto done;
    }
    CAPS_TRY(caps_metrics_sync(&t->log, err));
    t->state.seconds = caps_trainer_metrics(t).total_seconds;
    if (model)
        CAPS_TRY(caps_model_save(t->model, t->model_path, err));
    CAPS_TRY(caps_state_save(&t->state, t->state_path, t->model, t->config, t->config_text, err));
    CAPS_TRY(caps_state_give_back(&t->state, t->model, err));
    t->saved_step = t->state.step;
    caps_trainer_tell(t, CAPS_TRAIN_SAVED);
done:
    caps_state_give_back(&t->state, t->model, NULL);
    caps_trace_end(t->rt);
    return status;
}

/* ---- epochs --------------------------------------------------------------------------------- */

/* The epoch or the run ends with step `step`. */
static bool is_end(const caps_trainer *t, uint64_t step)
{
    return (step > 0 && step % t->steps_per_epoch == 0) || step >= t->last_step;
}

static bool evaluation_is_off(void *user, size_t done, size_t total)
{
    (void)done;
    (void)total;
    const caps_trainer *t = user;
    return is_stopped(t) || is_out_of_time(t);
}

static caps_status evaluate_on(caps_trainer *t, const caps_dataset *ds, double *percent,
    double *label_percent, caps_error *err)
{
    caps_evaluation result = {0};
    const caps_evaluate_options options = {
        CAPS_OPTIONS(caps_evaluate_options), .progress = {evaluation_is_off, t}};
    caps_status status = caps_evaluate(t->model, ds, &options, &result, err);
    if (status == CAPS_OK) {
        *percent = result.error_percent;
        *label_percent = result.label_error_percent;
    }
    caps_evaluation_release(&result);
    return status;
}

/* Where images are kept to choose by, the test split is looked at once, at the end. */
static caps_status evaluate(caps_trainer *t, caps_error *err)
{
    caps_state *s = &t->state;
    const bool validates = t->validation.n > 0;
    caps_status status = CAPS_OK;
    caps_trainer_tell(t, CAPS_TRAIN_EVALUATING);
    if (validates)
        CAPS_TRY(evaluate_on(t, &t->validation, &s->validation_error_percent,
            &s->validation_label_error_percent, err));
    if (t->test.n > 0 && (!validates || s->step >= t->last_step))
        CAPS_TRY(
            evaluate_on(t, &t->test, &s->test_error_percent, &s->test_label_error_percent, err));
done:
    s->peak_device_bytes = caps_runtime_peak_bytes(t->rt);
    return status;
}

/* Evaluates where it is due, logs, saves. CAPS_ERR_INTERRUPTED: called off, nothing was logged. */
static caps_status close_epoch(caps_trainer *t, caps_error *err)
{
    const uint64_t every = t->config->eval_every;
    caps_status status = CAPS_OK;
    caps_train_metrics m = caps_trainer_metrics(t);
    if (t->state.step >= t->last_step || (every > 0 && m.epoch % every == 0))
        CAPS_TRY(evaluate(t, err));
    m = caps_trainer_metrics(t);
    CAPS_TRY(log_line(t, CAPS_METRICS_EPOCH, &m, err));
    t->state.ended = true;
    caps_trainer_tell(t, CAPS_TRAIN_EPOCH);
    CAPS_TRY(caps_trainer_save(t, true, err));
done:
    return status;
}

/* Steps to the end of the epoch or of the run, or until something asks to stop; none is left in
 * flight. */
static caps_status run_steps(caps_trainer *t, caps_error *err)
{
    const uint64_t every = t->config->save_every;
    caps_status status = CAPS_OK;
    do {
        if (!t->ahead) /* a new run's first step is on its way already */
            CAPS_TRY(caps_trainer_step(t, err));
        t->ahead = false;
        tell_progress(t);
        if (is_end(t, steps_given(t)) || is_stopped(t) || is_out_of_time(t))
            break;
        if (every > 0 && steps_given(t) % every == 0) {
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
    for (;;) {
        if (caps_trainer_is_finished(t)) {
            *end = CAPS_TRAIN_FINISHED;
            return CAPS_OK;
        }
        if (!t->ahead && (is_stopped(t) || is_out_of_time(t)))
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

caps_status caps_train_run(caps_runtime *rt, const caps_train_config *config,
    const caps_train_control *control, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    caps_trainer t;
    caps_status status;
    *m = (caps_train_metrics){0};
    caps_trace_begin(rt, "set up");
    status = caps_trainer_init(&t, rt, config, control, err);
    caps_trace_end(rt);
    CAPS_TRY(status);
    if (caps_trainer_is_finished(&t)) {
        *end = CAPS_TRAIN_WAS_FINISHED;
    } else if (is_stopped(&t)) {
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped before the training began; %s is as it was", control->out));
    } else {
        caps_trace_begin(rt, "open the run");
        status = caps_trainer_open(&t, err);
        caps_trace_end(rt);
        CAPS_TRY(status);
        caps_trainer_tell(&t, CAPS_TRAIN_STARTED);
        CAPS_TRY(run_to_end(&t, end, err));
    }
    *m = caps_trainer_metrics(&t);
done:
    caps_trainer_release(&t);
    return status;
}
