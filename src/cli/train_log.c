/* train_log.c: what `train` logs as it goes on, and the results that it prints. */
#include <math.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "eval_report.h"
#include "json.h"
#include "progress.h"
#include "textbuf.h"
#include "train_extras.h"
#include "warmup_process.h"

/* ---- the network ---------------------------------------------------------------------------- */

void caps_train_show_model(const caps_train_config *config)
{
    const caps_model_info *info = caps_model_spec_info(config->spec);
    const char *name, *text;
    caps_cli_log("model: %s, input %zux%zux%zu, %llu parameters", config->arch, info->input[0],
        info->input[1], info->input[2], (unsigned long long)info->parameters);
    for (size_t i = 0; caps_model_spec_describe(config->spec, i, &name, &text); i++)
        caps_cli_log("  %-11s %s", name, text);
}

/* ---- progress ------------------------------------------------------------------------------- */

/* "epoch 2/10" or, where only --max-steps ends the run, "epoch 2". */
static char *epoch_text(char *text, const caps_train_watch *w, const caps_train_metrics *m)
{
    if (w->config->epochs > 0)
        snprintf(text, 48, "epoch %llu/%llu", (unsigned long long)m->epoch,
            (unsigned long long)w->config->epochs);
    else
        snprintf(text, 48, "epoch %llu", (unsigned long long)m->epoch);
    return text;
}

/* Under --verbose, how long it took from the start of the program to the end of the first step. */
static void log_first_step(caps_train_watch *w, const caps_train_metrics *m)
{
    if (w->stepped || m->images_done == 0)
        return;
    w->stepped = true;
    caps_cli_detail("first step done after %.2f s", caps_clock_seconds() - w->began);
}

static void on_progress(caps_train_watch *w, const caps_train_metrics *m)
{
    char epoch[48], bar[32], left[32];
    if (m->images_done == 0) /* the first step of an epoch is not back yet */
        return;
    double fraction = m->images_total ? (double)m->images_done / (double)m->images_total : 0;
    if (caps_progress_due()) {
        /* Within the 79 columns of a plain terminal: what is cut there is the time left. */
        caps_progress_show("%s %s %3.0f%% loss %.3f error %.1f%% %.0f images/s %s left",
            epoch_text(epoch, w, m), caps_progress_bar(bar, fraction), 100 * fraction, m->loss,
            m->train_error_percent, m->images_per_second,
            caps_progress_time(left, m->seconds_left));
    } else if (!caps_progress_enabled() && caps_clock_seconds() - w->last_detail_seconds >= 10) {
        w->last_detail_seconds = caps_clock_seconds();
        caps_cli_detail("%s: %3.0f %%, step %llu, loss %.4f, error %.2f %%, %.1f images/s, %s left",
            epoch_text(epoch, w, m), 100 * fraction, (unsigned long long)m->step, m->loss,
            m->train_error_percent, m->images_per_second,
            caps_progress_time(left, m->seconds_left));
    }
}

/* The loss of the classes, in the few words of a line. */
static const char *short_class_loss(const caps_train_config *config)
{
    const char *loss = caps_loss_name(config->spec, &config->loss);
    return strcmp(loss, "margin loss") == 0 ? "margin" : loss;
}

/* ", test error 5.20 %" and, of pairs, " (of single digits 2.70 %)"; "" where there is none. */
static char *short_error(
    char *text, size_t bytes, const char *name, double percent, double label_percent, size_t labels)
{
    text[0] = '\0';
    if (!isnan(percent) && labels > 1)
        snprintf(text, bytes, ", %s error %.2f %% (of single digits %.2f %%)", name, percent,
            label_percent);
    else if (!isnan(percent))
        snprintf(text, bytes, ", %s error %.2f %%", name, percent);
    return text;
}

static void on_epoch(caps_train_watch *w, const caps_train_metrics *m)
{
    char epoch[48], sse[64] = "", test[96], validation[96], took[32];
    char average[48], average_validation[48];
    if (!isnan(m->reconstruction_sse))
        snprintf(sse, sizeof sse, ", reconstruction %.2f", m->reconstruction_sse);
    short_error(validation, sizeof validation, "validation", m->validation_error_percent,
        m->validation_label_error_percent, m->labels);
    short_error(
        test, sizeof test, "test", m->test_error_percent, m->test_label_error_percent, m->labels);
    short_error(average_validation, sizeof average_validation, "averaged weights'",
        m->ema_validation_error_percent, NAN, 1);
    short_error(average, sizeof average, "averaged weights'", m->ema_test_error_percent, NAN, 1);
    caps_cli_log("%s: step %llu, loss %.5f (%s %.5f%s), train error %.2f %%%s%s%s%s, "
                 "%.1f images/s, %s so far",
        epoch_text(epoch, w, m), (unsigned long long)m->step, m->loss, short_class_loss(w->config),
        m->class_loss, sse, m->train_error_percent, validation, average_validation, test, average,
        m->images_per_second, caps_progress_time(took, m->seconds));
    caps_train_devices_log(m);
}

/* What fails here is reported at the run's end, which comes with the first step. */
static void note_begun(caps_train_session *s)
{
    if (!s->begun)
        return;
    s->begun_status = s->begun(s->begun_user, &s->begun_error);
    if (s->begun_status != CAPS_OK)
        s->stop();
}

void caps_train_on_event(
    void *user, caps_train_event event, const caps_train_metrics *m, const char *text)
{
    caps_train_watch *w = user;
    switch (event) {
    case CAPS_TRAIN_READING:
        if (caps_progress_due())
            caps_progress_show("%s", text);
        break;
    case CAPS_TRAIN_STARTED:
        caps_progress_clear();
        if (m && m->resumed_from_step > 0)
            caps_cli_log("resumed from step %llu", (unsigned long long)m->resumed_from_step);
        caps_cli_detail("training begins");
        note_begun(w->session);
        caps_train_begin_events(w);
        break;
    case CAPS_TRAIN_PROGRESS:
        caps_warmup_process_reap();
        caps_cli_show_warnings(w->rt);
        log_first_step(w, m);
        on_progress(w, m);
        caps_train_update_events(w);
        break;
    case CAPS_TRAIN_EVALUATING:
        log_first_step(w, m);
        caps_progress_show("evaluating ...");
        break;
    case CAPS_TRAIN_EPOCH:
        on_epoch(w, m);
        caps_train_keep_classes(w, m);
        caps_train_update_events(w);
        break;
    case CAPS_TRAIN_SAVED:
        if (m)
            caps_cli_detail("saved at step %llu", (unsigned long long)m->step);
        break;
    case CAPS_TRAIN_WARNING:
        caps_cli_warn("%s", text);
        break;
    case CAPS_TRAIN_NOTE:
        caps_cli_note("%s", text);
        break;
    case CAPS_TRAIN_LOG:
        caps_cli_log("%s", text);
        break;
    }
}

/* ---- results -------------------------------------------------------------------------------- */

static size_t errors_of(double percent, uint64_t n)
{
    return (size_t)lround(percent * (double)n / 100);
}

static int format_error(char *text, size_t bytes, double percent, uint64_t n, const char *of)
{
    char interval[48];
    const size_t errors = errors_of(percent, n);
    return snprintf(text, bytes, "%.2f %% (%zu of %llu%s%s; 95 %% interval %s)", percent, errors,
        (unsigned long long)n, *of ? " " : "", of, caps_interval_text(interval, errors, n));
}

char *caps_train_error_text(
    char *text, double percent, double label_percent, uint64_t images, uint64_t labels)
{
    size_t used = (size_t)format_error(
        text, CAPS_TRAIN_ERROR_BYTES, percent, images, caps_images_name(labels));
    if (labels > 1 && !isnan(label_percent)) {
        used += (size_t)snprintf(text + used, CAPS_TRAIN_ERROR_BYTES - used, ", of single digits ");
        format_error(
            text + used, CAPS_TRAIN_ERROR_BYTES - used, label_percent, images * labels, "");
    }
    return text;
}

/* NaN: there is none. */
static void put_interval(json_t **to, const char *prefix, double percent, uint64_t n)
{
    if (isnan(percent))
        caps_interval_json(to, prefix, 0, 0);
    else
        caps_interval_json(to, prefix, errors_of(percent, n), n);
}

json_t *caps_train_json(caps_runtime *rt, const caps_train_metrics *m)
{
    json_t *all = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o}", "epoch",
        (json_int_t)m->epoch, "step", (json_int_t)m->step, "loss", caps_json_double(m->loss),
        "margin_loss", caps_json_double(m->class_loss), "reconstruction_sse",
        caps_json_double(m->reconstruction_sse), "train_error_percent",
        caps_json_double(m->train_error_percent), "test_error_percent",
        caps_json_double(m->test_error_percent), "images_per_second",
        caps_json_double(m->images_per_second), "seconds", caps_json_double(m->seconds),
        "peak_device_bytes", (json_int_t)m->peak_device_bytes, "resumed_from_step",
        (json_int_t)m->resumed_from_step, "device", caps_json_text(caps_runtime_device(rt)->name));
    put_interval(&all, "", m->test_error_percent, m->test_images);
    caps_json_set(
        &all, "test_balanced_error_percent", caps_json_double(m->test_balanced_error_percent));
    if (m->validation_images > 0)
        caps_json_set(&all, "validation_balanced_error_percent",
            caps_json_double(m->validation_balanced_error_percent));
    if (m->validation_images > 0) {
        caps_json_set(
            &all, "validation_error_percent", caps_json_double(m->validation_error_percent));
        put_interval(&all, "validation_", m->validation_error_percent, m->validation_images);
    }
    if (m->averages)
        caps_json_set(&all, "ema_test_error_percent", caps_json_double(m->ema_test_error_percent));
    if (m->averages && m->validation_images > 0)
        caps_json_set(&all, "ema_validation_error_percent",
            caps_json_double(m->ema_validation_error_percent));
    if (m->labels > 1) {
        caps_json_set(
            &all, "test_label_error_percent", caps_json_double(m->test_label_error_percent));
        put_interval(&all, "test_label_", m->test_label_error_percent, m->test_images * m->labels);
    }
    if (m->labels > 1 && m->validation_images > 0) {
        caps_json_set(&all, "validation_label_error_percent",
            caps_json_double(m->validation_label_error_percent));
        put_interval(&all, "validation_label_", m->validation_label_error_percent,
            m->validation_images * m->labels);
    }
    return all;
}

static void print_error(const char *name, double percent, double label_percent, uint64_t images,
    const caps_train_metrics *m)
{
    char text[CAPS_TRAIN_ERROR_BYTES];
    if (!isnan(percent))
        printf("%s error: %s\n", name,
            caps_train_error_text(text, percent, label_percent, images, m->labels));
}

static void print_balanced(const char *name, double percent, const caps_train_metrics *m)
{
    if (m->classes_uneven && !isnan(percent))
        printf("%s balanced error: %.2f %% (the mean of the classes' own errors)\n", name, percent);
}

void caps_train_print(const caps_train_config *config, const char *out, const caps_train_metrics *m,
    const char *class_line)
{
    char took[32], bytes[32];
    printf("epoch %llu, step %llu, %s\n", (unsigned long long)m->epoch, (unsigned long long)m->step,
        caps_progress_time(took, m->seconds));
    printf("loss: %.5f (%s %.5f", m->loss, short_class_loss(config), m->class_loss);
    if (!isnan(m->reconstruction_sse))
        printf(", squared reconstruction error %.3f an image", m->reconstruction_sse);
    printf(")\n");
    printf("train error: %.2f %%\n", m->train_error_percent);
    print_error("validation", m->validation_error_percent, m->validation_label_error_percent,
        m->validation_images, m);
    print_balanced("validation", m->validation_balanced_error_percent, m);
    print_error("averaged weights: validation", m->ema_validation_error_percent, NAN,
        m->validation_images, m);
    print_error("test", m->test_error_percent, m->test_label_error_percent, m->test_images, m);
    print_balanced("test", m->test_balanced_error_percent, m);
    print_error("averaged weights: test", m->ema_test_error_percent, NAN, m->test_images, m);
    if (class_line)
        printf("%s\n", class_line);
    if (m->images_per_second > 0)
        printf("speed: %.1f images/s\n", m->images_per_second);
    if (m->peak_device_bytes > 0)
        printf("peak device memory: %s\n", caps_bytes_text(bytes, m->peak_device_bytes));
    printf("model: %s/model.safetensors\n", caps_cli_shown(out));
    if (m->averages)
        printf("model of averaged weights: %s/model-ema.safetensors\n", caps_cli_shown(out));
}
