/* trainer.c: a step of a run, its numbers, and what the caller hears of them. */
#include "trainer.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "schedule.h"
#include "text.h"
#include "trace.h"

/* ---- numbers -------------------------------------------------------------------------------- */

static double seconds_left(const caps_trainer *t)
{
    const caps_state *s = &t->state;
    if (s->step >= t->last_step)
        return 0;
    double images_per_step = (double)t->data.train.n / (double)t->steps_per_epoch;
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
    const caps_model_info *info = caps_model_spec_info(t->config.spec);
    const double n = s->images_done > 0 ? (double)s->images_done : NAN;
    const double seconds = caps_clock_seconds() - t->began;
    caps_train_metrics m = {
        .epoch = caps_schedule_epoch(s->step, t->steps_per_epoch),
        .step = s->step,
        .class_loss = s->totals.class_loss / n,
        .reconstruction_sse = info->has_decoder ? s->totals.sse / n : NAN,
        .train_error_percent = 100 * s->totals.errors / n,
        .test_error_percent = s->test_error_percent,
        .validation_error_percent = s->validation_error_percent,
        .test_label_error_percent = s->test_label_error_percent,
        .validation_label_error_percent = s->validation_label_error_percent,
        .labels = info->labels,
        .test_images = t->data.test.n,
        .validation_images = t->data.validation.n,
        .lr = s->lr,
        .images_per_second = s->images_per_second,
        .seconds = seconds,
        .total_seconds = t->seconds_before + seconds,
        .seconds_left = seconds_left(t),
        .images_done = s->images_done,
        .images_total = t->data.train.n,
        .peak_device_bytes = s->peak_device_bytes,
        .resumed_from_step = t->resumed_from_step,
        .test_balanced_error_percent = s->test_balanced_error_percent,
        .validation_balanced_error_percent = s->validation_balanced_error_percent,
        .classes = info->classes,
        .classes_uneven = t->classes_uneven,
        .averages = t->config.ema > 0,
        .ema_test_error_percent = s->ema_test_error_percent,
        .ema_validation_error_percent = s->ema_validation_error_percent,
    };
    const caps_loss *loss = &t->config.loss;
    m.loss = loss->margin_scale * m.class_loss + loss->reconstruction_weight * s->totals.sse / n;
    return m;
}

caps_member_work caps_trainer_epoch_work(const caps_trainer *t, size_t i)
{
    const caps_member_work *before = &t->epoch_before[i];
    caps_member_work work = caps_team_work(t->team, i);
    work.images -= before->images;
    work.timed_images -= before->timed_images;
    work.busy_seconds -= before->busy_seconds;
    work.waiting_seconds -= before->waiting_seconds;
    return work;
}

void caps_trainer_count_devices(const caps_trainer *t)
{
    for (size_t i = 0; t->control->devices && t->team && i < caps_team_count(t->team); i++) {
        const caps_member_work work = caps_team_work(t->team, i);
        caps_train_device *d = &t->control->devices[t->slots[i]];
        *d = t->before[i];
        d->images += work.images;
        d->busy_seconds += work.busy_seconds;
        d->waiting_seconds += work.waiting_seconds;
        d->share = work.share;
        d->failed = caps_team_lost(t->team) == i;
        d->stuck = caps_team_is_stuck(t->team, i) || caps_team_is_busy(t->team);
    }
}

void caps_trainer_report(caps_trainer *t, caps_train_event event)
{
    if (!t->control->event)
        return;
    caps_train_metrics m = caps_trainer_metrics(t);
    caps_trainer_count_devices(t);
    if (event == CAPS_TRAIN_EPOCH && t->has_evaluated) {
        m.class_images = t->evaluated;
        m.class_errors = t->evaluated + m.classes;
    }
    if (event == CAPS_TRAIN_EPOCH) {
        m.devices = t->epoch_devices;
        m.device_count = t->epoch_device_count;
    }
    t->control->event(t->control->user, event, &m, NULL);
}

void caps_trainer_report_progress(caps_trainer *t)
{
    if (!t->control->event)
        return;
    caps_train_metrics m = caps_trainer_metrics(t);
    m.step = caps_team_enqueued(t->team);
    m.epoch = caps_schedule_epoch(m.step, t->steps_per_epoch);
    t->control->event(t->control->user, CAPS_TRAIN_PROGRESS, &m, NULL);
}

static void report_line(
    caps_trainer *t, caps_train_event event, const char *format, va_list arguments)
{
    char text[2048];
    if (!t->control->event)
        return;
    vsnprintf(text, sizeof text, format, arguments);
    t->control->event(t->control->user, event, NULL, text);
}

void caps_trainer_log(caps_trainer *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(t, CAPS_TRAIN_LOG, format, arguments);
    va_end(arguments);
}

void caps_trainer_note(caps_trainer *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(t, CAPS_TRAIN_NOTE, format, arguments);
    va_end(arguments);
}

static void note_line(void *user, const char *line)
{
    caps_trainer_note(user, "%s", line);
}

void caps_trainer_note_lines(caps_trainer *t, const char *lines)
{
    caps_text_each_line(lines, note_line, t);
}

/* ---- a step --------------------------------------------------------------------------------- */

caps_status caps_trainer_not_finite(
    const caps_trainer *t, uint64_t step, const char *name, double lr, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_NOT_FINITE,
        "step %llu: %s is not finite (learning rate %g; last saved step %llu)",
        (unsigned long long)step, name, lr, (unsigned long long)t->saved_step);
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
    assert(caps_team_in_flight(t->team) == 1); /* those of the epoch before were settled */
    t->state.totals = (caps_model_totals){0};
    t->state.images_done = 0;
    t->epoch_images = 0;
    t->epoch_seconds = 0;
}

/* Takes the results of the oldest step in flight. */
static caps_status take_step(caps_trainer *t, caps_error *err)
{
    caps_state *s = &t->state;
    caps_step_result r;
    caps_status status;
    CAPS_TRY(caps_team_take(t->team, &r, err));
    assert(r.step == s->step + 1);
    /* The steps behind it were computed from what is not finite: nobody takes them. */
    if (!r.finite && t->leads)
        CAPS_TRY(caps_trainer_not_finite(t, r.step, r.where, r.lr, err));
    s->totals.class_loss += r.totals.class_loss;
    s->totals.sse += r.totals.sse;
    s->totals.errors += r.totals.errors;
    s->images_done += r.images;
    s->step = r.step;
    s->lr = r.lr;
    s->ended = false;
    caps_state_forget_errors(s);
    t->has_evaluated = false;
    s->peak_device_bytes = caps_runtime_peak_bytes(t->rt);
    char text[1024];
    if (caps_watch_step(&t->watch, &r, text, sizeof text))
        caps_trainer_note(t, "%s", text);
    const double now = caps_clock_seconds();
    count_time(t, r.images, now - t->lap);
    t->lap = now;
    if (t->leads && r.step % CAPS_METRICS_STEPS == 0) {
        caps_train_metrics m = caps_trainer_metrics(t);
        CAPS_TRY(caps_trainer_append(t, CAPS_METRICS_STEP, &m, err));
    }
done:
    return status;
}

caps_status caps_trainer_settle(caps_trainer *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    while (caps_team_in_flight(t->team) > 0 && status == CAPS_OK)
        status = take_step(t, err);
    return status;
}

/* Of the step that is enqueued next. */
static void set_spread_margin(caps_trainer *t, uint64_t step)
{
    const double margin = caps_spread_margin(&t->config, step, t->last_step);
    for (size_t i = 0; i < caps_team_count(t->team); i++)
        caps_model_set_spread_margin(caps_team_model(t->team, i), (float)margin);
}

caps_status caps_trainer_step(caps_trainer *t, caps_error *err)
{
    const uint64_t before = caps_team_enqueued(t->team);
    const double lr = caps_learning_rate(&t->config, before, t->steps_per_epoch);
    caps_status status;
    if (caps_team_in_flight(t->team) == 0)
        t->lap = caps_clock_seconds();
    caps_trace_begin(t->rt, "make batch");
    const caps_batch *batch = caps_batcher_next(t->batcher);
    caps_trace_end(t->rt);
    const caps_images images = {batch->n, batch->images, batch->labels, batch->targets};
    if (t->leads)
        CAPS_TRY(caps_trainer_share_verdict(t, false, err));
    for (size_t i = 0; before % t->steps_per_epoch == 0 && i < caps_team_count(t->team); i++)
        t->epoch_before[i] = caps_team_work(t->team, i);
    set_spread_margin(t, before);
    status = caps_team_enqueue(t->team, &images, batch->total, lr, err);
    /* Not before: where a device fails here, what is saved stands at the end of the epoch before. */
    if (before % t->steps_per_epoch == 0 && caps_team_enqueued(t->team) > before)
        begin_epoch(t);
    CAPS_TRY(status);
    if (!t->tells_sent && caps_team_sends(t->team)) {
        t->tells_sent = true;
        caps_trainer_log(
            t, "parameters: sent to the devices whose own bits differ, after each step");
    }
    if (!t->leads)
        CAPS_TRY(caps_trainer_share_verdict(t, false, err));
    if (caps_team_is_full(t->team))
        CAPS_TRY(take_step(t, err));
done:
    return status;
}
