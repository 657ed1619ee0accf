/* cmd_train.c: trains a network into a run directory. */
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "config.h"
#include "eval_report.h"
#include "fail.h"
#include "file.h"
#include "textbuf.h"
#include "warmup_process.h"
#include "json.h"
#include "progress.h"
#include "repeat.h"
#include "train_session.h"

/* ---- signals -------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_signal;
static volatile int stop_flag;

/* The first signal asks the trainer to finish its step and save; the second ends the program now:
 * what was saved last is whole, because files are renamed into place. */
static void on_signal(int number)
{
    if (stop_flag)
        _exit(CAPS_EXIT_INTERRUPTED);
    stop_signal = number;
    stop_flag = 1;
}

const char *caps_train_signal_name(void)
{
    return stop_signal == SIGTERM ? "SIGTERM" : "Ctrl-C";
}

static void catch_signals(void)
{
    struct sigaction action = {0};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART; /* a write to a file or a driver's wait goes on */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- before the work ------------------------------------------------------------------------- */

/* One image at a time fits the limit and the device, or it is said what is missing and whose fault
 * it is, before a file is touched. */
static caps_status check_memory(caps_runtime *rt, const caps_train_config *config, caps_error *err)
{
    caps_model_options one = {
        .max_batch = config->batch < 2 ? 1 : 2,
        .micro_batch = 1,
        .training = true,
        .adam = config->optimizer == CAPS_OPTIMIZER_ADAM,
        .memory_limit_bytes = config->memory_limit_bytes,
        .split = true,
        .conv = config->conv[0] ? config->conv : NULL,
    };
    caps_model_memory memory;
    caps_error limited = {0};
    caps_status status = caps_model_forecast(rt, &config->spec, &one, &memory, &limited);
    if (status == CAPS_ERR_DEVICE_MEMORY && one.memory_limit_bytes) {
        one.memory_limit_bytes = 0;
        if (caps_model_forecast(rt, &config->spec, &one, &memory, NULL) == CAPS_OK)
            return caps_cli_usage(err, "--memory-limit is too small: %s", limited.message);
    }
    if (status == CAPS_ERR_DEVICE_MEMORY)
        return caps_fail(err, CAPS_ERR_SPEC,
            "the model does not fit this device even at batch 1: %s", limited.message);
    if (status != CAPS_OK)
        *err = limited;
    return status;
}

/* "160 -> 512 -> 784" */
static void show_linear(const char *name, size_t in, const size_t *hidden, size_t count, size_t out)
{
    char layers[256];
    size_t at = (size_t)snprintf(layers, sizeof layers, "%zu", in);
    for (size_t i = 0; i < count && at + 32 < sizeof layers; i++)
        at += (size_t)snprintf(layers + at, sizeof layers - at, " -> %zu", hidden[i]);
    caps_cli_log("  %-11s %s -> %zu", name, layers, out);
}

static void show_capsnet(const caps_model_spec *spec, const caps_model_sizes *sizes)
{
    caps_cli_log("  conv1       %zu channels, kernel %zu, stride %zu: %zux%zu",
        spec->conv1.channels, spec->conv1.kernel, spec->conv1.stride, sizes->h1, sizes->w1);
    caps_cli_log("  primary     %zu types of %zu, kernel %zu, stride %zu: %zux%zu, %zu capsules%s",
        spec->primary.types, spec->primary.dim, spec->primary.kernel, spec->primary.stride,
        sizes->h2, sizes->w2, sizes->i, spec->primary.average ? ", averaged over types" : "");
    caps_cli_log("  class_caps  %zu capsules of %zu, %zu routing iterations (gradient: %s)%s%s",
        spec->classes, spec->class_caps.dim, spec->class_caps.iterations,
        spec->class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL ? "full" : "last",
        spec->class_caps.bias ? ", bias" : "", spec->class_caps.leaky ? ", leaky" : "");
    if (spec->has_decoder)
        show_linear("decoder", spec->classes * spec->class_caps.dim, spec->decoder_hidden,
            spec->decoder_hidden_count, sizes->pixels);
    else
        caps_cli_log("  decoder     none");
}

static void show_cnn(const caps_model_spec *spec)
{
    size_t c = spec->input[0], h = spec->input[1], w = spec->input[2];
    for (size_t i = 0; i < spec->conv_count; i++) {
        char name[32];
        const size_t k = spec->conv[i].kernel, stride = spec->conv[i].stride;
        snprintf(name, sizeof name, "conv%zu", i + 1);
        c = spec->conv[i].channels;
        h = caps_conv2d_output(h, k, stride, spec->conv[i].padding);
        w = caps_conv2d_output(w, k, stride, spec->conv[i].padding);
        caps_cli_log("  %-11s %zu channels, kernel %zu, stride %zu, padding %zu: %zux%zu", name, c,
            k, stride, spec->conv[i].padding, h, w);
    }
    show_linear("linear", c * h * w, spec->hidden, spec->hidden_count, spec->classes);
    if (spec->dropout > 0)
        caps_cli_log("  dropout     %g before the last layer", spec->dropout);
}

static caps_status show_model(const caps_train_config *config, caps_error *err)
{
    const caps_model_spec *spec = &config->spec;
    caps_model_sizes sizes;
    caps_status status = caps_model_spec_check(spec, &sizes, err);
    if (status != CAPS_OK)
        return status;
    caps_cli_log("model: %s, input %zux%zux%zu, %llu parameters", config->arch, spec->input[0],
        spec->input[1], spec->input[2], (unsigned long long)sizes.parameters);
    if (strcmp(spec->kind, "cnn") == 0)
        show_cnn(spec);
    else
        show_capsnet(spec, &sizes);
    return CAPS_OK;
}

/* With --init alone the network is the file's: what --profile says of it does not come about. */
static void note_network_of_init(
    const caps_train_flags *o, const caps_args *args, const caps_train_config *config)
{
    const caps_model_spec *spec = &config->spec;
    const caps_profile *p = caps_profile_find(config->profile);
    if (!o->init || o->arch || o->resume || !p || strcmp(spec->kind, "capsnet") != 0)
        return;
    if ((p->class_bias && !spec->class_caps.bias && !caps_args_given(args, "--no-class-bias")) ||
        (p->primary_average && !spec->primary.average &&
            !caps_args_given(args, "--no-primary-average")) ||
        (p->routing_grad == CAPS_ROUTING_GRAD_LAST &&
            spec->class_caps.routing_grad != CAPS_ROUTING_GRAD_LAST &&
            !caps_args_given(args, "--routing-grad")))
        caps_cli_log(
            "network: that of %s, without what --profile %s changes in it", o->init, p->name);
}

/* ---- progress ------------------------------------------------------------------------------- */

typedef struct watcher {
    caps_runtime *rt;
    caps_train_session *session;
    const caps_train_config *config;
    double began, last_detail_seconds;
    bool stepped; /* a step of this process is done */
} watcher;

/* "epoch 2/10" or, where only --max-steps ends the run, "epoch 2". */
static char *epoch_text(char *text, const watcher *w, const caps_train_metrics *m)
{
    if (w->config->epochs > 0)
        snprintf(text, 48, "epoch %llu/%llu", (unsigned long long)m->epoch,
            (unsigned long long)w->config->epochs);
    else
        snprintf(text, 48, "epoch %llu", (unsigned long long)m->epoch);
    return text;
}

/* Under --verbose, how long it took from the start of the program to the end of the first step. */
static void note_first_step(watcher *w, const caps_train_metrics *m)
{
    if (w->stepped || m->images_done == 0)
        return;
    w->stepped = true;
    caps_cli_detail("first step done after %.2f s", caps_clock_seconds() - w->began);
}

static void on_progress(watcher *w, const caps_train_metrics *m)
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

/* How the loss of the classes is called. */
static const char *class_loss(const caps_train_config *config)
{
    return strcmp(config->spec.kind, "cnn") == 0 ? "cross entropy" : "margin";
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

static void on_epoch(watcher *w, const caps_train_metrics *m)
{
    char epoch[48], sse[64] = "", test[96], validation[96], took[32];
    if (!isnan(m->reconstruction_sse))
        snprintf(sse, sizeof sse, ", reconstruction %.2f", m->reconstruction_sse);
    short_error(validation, sizeof validation, "validation", m->validation_error_percent,
        m->validation_label_error_percent, m->labels);
    short_error(
        test, sizeof test, "test", m->test_error_percent, m->test_label_error_percent, m->labels);
    caps_cli_log("%s: step %llu, loss %.5f (%s %.5f%s), train error %.2f %%%s%s, %.1f images/s, "
                 "%s so far",
        epoch_text(epoch, w, m), (unsigned long long)m->step, m->loss, class_loss(w->config),
        m->margin_loss, sse, m->train_error_percent, validation, test, m->images_per_second,
        caps_progress_time(took, m->seconds));
}

/* What fails here is said at the run's end, which comes with the first step. */
static void note_begun(caps_train_session *s)
{
    if (!s->begun)
        return;
    s->begun_status = s->begun(s->begun_user, &s->begun_error);
    if (s->begun_status != CAPS_OK)
        stop_flag = 1;
}

static void on_event(
    void *user, caps_train_event event, const caps_train_metrics *m, const char *text)
{
    watcher *w = user;
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
        break;
    case CAPS_TRAIN_PROGRESS:
        caps_warmup_process_reap();
        caps_cli_show_warnings(w->rt);
        note_first_step(w, m);
        on_progress(w, m);
        break;
    case CAPS_TRAIN_EVALUATING:
        note_first_step(w, m);
        caps_progress_show("evaluating ...");
        break;
    case CAPS_TRAIN_EPOCH:
        on_epoch(w, m);
        break;
    case CAPS_TRAIN_SAVED:
        if (m)
            caps_cli_detail("saved at step %llu", (unsigned long long)m->step);
        break;
    case CAPS_TRAIN_WARNING:
        caps_cli_warn("%s", text);
        break;
    case CAPS_TRAIN_NOTE:
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
static void put_interval(json_t *to, const char *prefix, double percent, uint64_t n)
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
        "margin_loss", caps_json_double(m->margin_loss), "reconstruction_sse",
        caps_json_double(m->reconstruction_sse), "train_error_percent",
        caps_json_double(m->train_error_percent), "test_error_percent",
        caps_json_double(m->test_error_percent), "images_per_second",
        caps_json_double(m->images_per_second), "seconds", caps_json_double(m->seconds),
        "peak_device_bytes", (json_int_t)m->peak_device_bytes, "resumed_from_step",
        (json_int_t)m->resumed_from_step, "device",
        caps_json_text(caps_runtime_device(rt)->name));
    put_interval(all, "", m->test_error_percent, m->test_images);
    if (m->validation_images > 0) {
        json_object_set_new(
            all, "validation_error_percent", caps_json_double(m->validation_error_percent));
        put_interval(all, "validation_", m->validation_error_percent, m->validation_images);
    }
    if (m->labels > 1) {
        json_object_set_new(
            all, "test_label_error_percent", caps_json_double(m->test_label_error_percent));
        put_interval(all, "test_label_", m->test_label_error_percent, m->test_images * m->labels);
    }
    if (m->labels > 1 && m->validation_images > 0) {
        json_object_set_new(all, "validation_label_error_percent",
            caps_json_double(m->validation_label_error_percent));
        put_interval(all, "validation_label_", m->validation_label_error_percent,
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

static void print_text(
    const caps_train_flags *o, const caps_train_config *config, const caps_train_metrics *m)
{
    char took[32], bytes[32];
    printf("epoch %llu, step %llu, %s\n", (unsigned long long)m->epoch, (unsigned long long)m->step,
        caps_progress_time(took, m->seconds));
    printf("loss: %.5f (%s %.5f", m->loss, class_loss(config), m->margin_loss);
    if (!isnan(m->reconstruction_sse))
        printf(", squared reconstruction error %.3f an image", m->reconstruction_sse);
    printf(")\n");
    printf("train error: %.2f %%\n", m->train_error_percent);
    print_error("validation", m->validation_error_percent, m->validation_label_error_percent,
        m->validation_images, m);
    print_error("test", m->test_error_percent, m->test_label_error_percent, m->test_images, m);
    if (m->images_per_second > 0)
        printf("speed: %.1f images/s\n", m->images_per_second);
    if (m->peak_device_bytes > 0)
        printf("peak device memory: %s\n", caps_bytes_text(bytes, m->peak_device_bytes));
    printf("model: %s/model.safetensors\n", o->out);
}

/* ---- the work ------------------------------------------------------------------------------- */

/* RUN holds no run, or it is said what may be done with the one that is there. */
static caps_status check_free(const caps_train_flags *o, caps_error *err)
{
    bool exists = false;
    caps_status status = caps_train_run_exists(o->out, &exists, err);
    if (status != CAPS_OK || o->resume)
        return status;
    if (caps_repeat_exists(o->out))
        return caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds repeated runs; need another directory, or --repeat N --overwrite", o->out);
    return exists && !o->overwrite
               ? caps_fail(err, CAPS_ERR_EXISTS,
                     "%s: holds a run already; --resume continues it, --overwrite begins anew",
                     o->out)
               : CAPS_OK;
}

caps_status caps_train_one(caps_train_session *s, const caps_train_config *config, const char *out,
    const caps_checkpoint *init, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    watcher w = {.rt = s->rt, .session = s, .config = config, .began = s->began};
    caps_train_control control = {
        .out = out,
        .resume = o->resume,
        .overwrite = o->overwrite,
        .init = init,
        .stop = &stop_flag,
        .event = on_event,
        .user = &w,
    };
    caps_status status;
    w.last_detail_seconds = caps_clock_seconds();
    if (!s->shown) {
        note_network_of_init(o, s->args, config);
        CAPS_TRY(show_model(config, err));
        CAPS_TRY(check_memory(s->rt, config, err));
        s->shown = true;
    }
    if (o->time_limit_seconds > 0) {
        double spent = caps_clock_seconds() - s->began;
        control.time_limit_seconds =
            o->time_limit_seconds > spent ? o->time_limit_seconds - spent : 1e-6;
    }
    status = caps_train_run(s->rt, config, &control, end, m, err);
    if (s->begun_status != CAPS_OK) {
        *err = s->begun_error;
        status = s->begun_status;
    } else if (status == CAPS_ERR_INTERRUPTED) {
        status = caps_fail_prefix(err, status, "%s", caps_train_signal_name());
    }
    CAPS_TRY(status);
    caps_progress_clear();
    caps_cli_show_warnings(s->rt);
    if (*end == CAPS_TRAIN_WAS_FINISHED)
        caps_cli_log(
            "%s: this run is finished, nothing to do (--epochs N or --max-steps N extends it)",
            out);
done:
    return status;
}

static caps_status train_single(caps_train_session *s, const caps_train_config *config,
    const caps_checkpoint *init, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    caps_train_end end = CAPS_TRAIN_FINISHED;
    caps_train_metrics metrics = {0};
    caps_status status;
    CAPS_TRY(caps_train_one(s, config, o->out, init, &end, &metrics, err));
    if (end == CAPS_TRAIN_TIME_LIMIT)
        caps_cli_log(
            "time limit reached at step %llu; saved; go on with: capscl train --resume --out %s",
            (unsigned long long)metrics.step, o->out);
    if (o->common.json)
        CAPS_TRY(caps_cli_print_json(caps_train_json(s->rt, &metrics), err));
    else
        print_text(o, config, &metrics);
    if (end == CAPS_TRAIN_STOPPED)
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped by %s at step %llu, saved; go on with: capscl train --resume --out %s",
            caps_train_signal_name(), (unsigned long long)metrics.step, o->out));
done:
    return status;
}

/* The trace replaces no file that the run reads or writes. repeat NULL: one run. */
static caps_status check_trace_apart(
    const caps_train_flags *o, const caps_repeat *repeat, caps_error *err)
{
    static const char *const files[] = {
        CAPS_RUN_STATE, CAPS_RUN_CONFIG, CAPS_RUN_METRICS, CAPS_RUN_MODEL};
    const char *trace = o->common.trace;
    caps_status status = CAPS_OK;
    char *path = NULL;
    if (!trace)
        return CAPS_OK;
    CAPS_TRY(caps_cli_check_apart("--trace", trace, o->init, err));
    CAPS_TRY(caps_cli_check_data_apart("--trace", trace, o->data, err));
    if (o->arch && caps_path_exists(o->arch)) /* else it is a name */
        CAPS_TRY(caps_cli_check_apart("--trace", trace, o->arch, err));
    for (size_t r = 0; r < (repeat ? repeat->count : 1); r++)
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
            free(path);
            path = repeat ? caps_format("%s/seed-%llu/%s", o->out,
                                (unsigned long long)repeat->seeds[r], files[i])
                          : caps_path_join(o->out, files[i]);
            CAPS_TRY(path ? caps_cli_check_apart("--trace", trace, path, err)
                          : caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory"));
        }
    free(path);
    path = repeat ? caps_path_join(o->out, CAPS_REPEAT_FILE) : NULL;
    CAPS_TRY(caps_cli_check_apart("--trace", trace, path, err));
done:
    free(path);
    return status;
}

static int run(const caps_command *command, int argc, char **argv)
{
    caps_train_flags o = {.seed = 1, .eval_every = 1};
    caps_train_session s = {.flags = &o, .began = caps_clock_seconds()};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_train_config config;
    caps_repeat repeat = {0};
    caps_checkpoint init = {0};
    s.args = &args;

    catch_signals();
    /* Nothing of RUN is touched before all that can be checked is. */
    CAPS_TRY(caps_train_check_usage(&o, &args, &err));
    CAPS_TRY(caps_cli_check_trace(&o.common, &err));
    const bool several = o.repeat > 0 || (o.resume && caps_repeat_exists(o.out));
    if (several) {
        CAPS_TRY(caps_repeat_init(&repeat, &o, &args, &init, &err));
    } else {
        CAPS_TRY(check_free(&o, &err));
        CAPS_TRY(o.resume ? caps_train_old_config(&o, &args, &config, &err)
                          : caps_train_new_config(&o, &args, &config, &init, &err));
    }
    CAPS_TRY(check_trace_apart(&o, several ? &repeat : NULL, &err));
    caps_warmup_process_begin(&o.common, several ? &repeat.config : &config);
    CAPS_TRY(caps_cli_open(&s.rt, &o.common, o.kernel_times, &err));
    const caps_checkpoint *first = init.parameters ? &init : NULL;
    status = several ? caps_repeat_run(&repeat, &s, first, &err)
                     : train_single(&s, &config, first, &err);
    if (o.kernel_times && (status == CAPS_OK || status == CAPS_ERR_INTERRUPTED)) {
        caps_status shown = caps_cli_show_profile(s.rt, status == CAPS_OK ? &err : NULL);
        status = status == CAPS_OK ? shown : status;
    }
done:
    caps_progress_clear();
    status = caps_cli_end_trace(s.rt, status, &err);
    caps_cli_show_warnings(s.rt);
    caps_runtime_free(s.rt);
    caps_checkpoint_release(&init);
    caps_repeat_release(&repeat);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_train = {
    .name = "train",
    .run = run,
    .summary = "train a network into a run directory",
    .usage = "capscl train --data D --out RUN [--repeat N] [flags]\n"
             "capscl train --resume --out RUN [--epochs N] [--max-steps N] [--device S]",
    .about =
        "Trains with the margin loss and 0.0005 times the squared reconstruction error, and\n"
        "writes RUN/config.json, metrics.jsonl, model.safetensors and state.safetensors. The\n"
        "state is saved every epoch; a run that was stopped in any way continues with --resume\n"
        "and ends with the same bytes as one that was never stopped. The first Ctrl-C finishes\n"
        "the step and saves, the second stops at once.\n",
    .flags = caps_train_flag_table,
    .notes =
        "With --resume, the end that is named replaces the run's own: --epochs 20 alone goes on "
        "to\n"
        "20 epochs whatever --max-steps was.\n"
        "\n"
        "exit codes: 0 done (also at the time limit), 1 failed while running or an output cannot "
        "be\n"
        "written, 2 wrong usage, RUN in use or --memory-limit too small, 3 bad data, arch or "
        "checkpoint,\n"
        "4 device, 130 stopped by Ctrl-C or SIGTERM.\n"
        "\n"
        "examples:\n"
        "  capscl train --data fashion-mnist --arch small --epochs 2 --out run1\n"
        "  capscl train --data mnist --out paper --device gpu --save-every 200\n"
        "  capscl train --resume --out paper --epochs 20\n"
        "  capscl train --data mnist --arch small --out quick --time-limit 5m --json\n"
        "  capscl train --data mnist --arch small --epochs 3 --repeat 3 --out three\n",
};
