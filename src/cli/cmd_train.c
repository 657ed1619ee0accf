/* cmd_train.c: trains a network into a run directory. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "config.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "launcher.h"
#include "progress.h"
#include "train_repeat.h"
#include "train_extras.h"
#include "warmup_process.h"

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

/* As a signal does. */
static void request_stop(void)
{
    stop_flag = 1;
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

/* ---- before the work ------------------------------------------------------------------------ */

/* One image at a time (of a network that normalises by batches: a whole batch) fits the limit and the
 * device, or the error names what is missing and whose fault it is, before a file is touched. */
static caps_status check_memory(caps_runtime *rt, const caps_train_config *config, caps_error *err)
{
    const bool whole = caps_model_spec_info(config->spec)->statistics > 0;
    caps_model_options one = caps_config_model_options(config, whole               ? config->batch
                                                               : config->batch < 2 ? 1
                                                                                   : 2);
    one.micro_batch = whole ? 0 : 1;
    caps_model_memory memory;
    caps_error limited = {0};
    caps_status status = caps_model_forecast(rt, config->spec, &one, &memory, &limited);
    if (status == CAPS_ERR_DEVICE_MEMORY && one.memory_limit_bytes) {
        one.memory_limit_bytes = 0;
        if (caps_model_forecast(rt, config->spec, &one, &memory, NULL) == CAPS_OK)
            return caps_cli_usage(err, "--memory-limit is too small: %s", limited.message);
    }
    if (status == CAPS_ERR_DEVICE_MEMORY)
        return caps_fail(err, CAPS_ERR_SPEC, "the model does not fit this device%s: %s",
            whole ? "" : " even at batch 1", limited.message);
    if (status != CAPS_OK)
        *err = limited;
    return status;
}

/* With --init alone the network is the file's: what --profile says of it does not come about. */
static void log_network_of_init(const caps_train_session *s, const caps_train_config *config)
{
    const caps_train_flags *o = s->flags;
    if (o->init && !o->arch && !o->resume && s->lacks_profile)
        caps_cli_log("network: that of %s, without what --profile %s changes in it", o->init,
            config->profile);
}

/* ---- the work ------------------------------------------------------------------------------- */

/* RUN holds no run, or the error says what may be done with the one that is there. */
static caps_status check_run_free(const caps_train_flags *o, caps_error *err)
{
    bool exists = false, repeated = false;
    caps_status status = caps_train_run_exists(o->out, &exists, err);
    if (status != CAPS_OK || o->resume)
        return status;
    status = caps_repeat_exists(&repeated, o->out, err);
    if (status != CAPS_OK)
        return status;
    if (repeated)
        return caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds repeated runs; need another directory, or --repeat N --overwrite", o->out);
    return exists && !o->overwrite
               ? caps_fail(err, CAPS_ERR_EXISTS,
                     "%s: holds a run already; --resume continues it, --overwrite begins anew",
                     o->out)
               : CAPS_OK;
}

caps_status caps_train_one(caps_train_session *s, const caps_train_config *config, const char *out,
    bool resume, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    caps_train_watch w = {.rt = s->rt,
        .session = s,
        .config = config,
        .out = out,
        .resume = resume,
        .began = s->began};
    caps_train_control control = {
        CAPS_OPTIONS(caps_train_control),
        .out = out,
        .resume = resume,
        .overwrite = o->overwrite,
        .init = s->init.parameters ? &s->init : NULL,
        .stop = &stop_flag,
        .event = caps_train_on_event,
        .user = &w,
        .others = s->opened.rts + 1,
        .others_count = s->opened.n - 1,
        .devices = s->devices,
        .keep_going = o->keep_going,
        .device_timeout_seconds = o->device_timeout,
        .split = o->split && strcmp(o->split, "auto") != 0 ? o->split : NULL,
        .ranks = s->ranks,
    };
    caps_status status;
    w.last_detail_seconds = caps_clock_seconds();
    if (!s->shown) {
        log_network_of_init(s, config);
        caps_train_show_model(config);
        CAPS_TRY(check_memory(s->rt, config, err));
        s->shown = true;
    }
    if (o->time_limit_seconds > 0) {
        double spent = caps_clock_seconds() - s->began;
        control.time_limit_seconds =
            o->time_limit_seconds > spent ? o->time_limit_seconds - spent : 1e-6;
    }
    status = caps_train_run(s->rt, config, &control, end, m, err);
    status = caps_train_end_events(&w, status, err);
    status = caps_train_explain_data(status, o, config, err);
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

static caps_status train_single(
    caps_train_session *s, const caps_train_config *config, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    caps_train_end end = CAPS_TRAIN_FINISHED;
    caps_train_metrics metrics = {0};
    caps_status status;
    CAPS_TRY(caps_train_one(s, config, o->out, o->resume, &end, &metrics, err));
    CAPS_TRY(caps_train_gather_devices(s, err));
    if (caps_ranks_rank(s->ranks) > 0) /* rank 0 says how it ended */
        goto done;
    if (end == CAPS_TRAIN_TIME_LIMIT)
        caps_cli_log(
            "time limit reached at step %llu; saved; go on with: capscl train --resume --out %s",
            (unsigned long long)metrics.step, o->out);
    caps_train_draw_curve(o->out);
    if (o->common.json) {
        json_t *all = caps_train_json(s->rt, &metrics);
        if (s->named_count > 1 || s->ranks)
            caps_json_set(&all, "devices", caps_train_devices_json(s));
        caps_json_set(
            &all, "class_errors", s->class_errors ? json_incref(s->class_errors) : json_null());
        CAPS_TRY(caps_cli_print_json(all, err));
    } else {
        caps_train_print(config, o->out, &metrics, s->class_line);
        caps_train_devices_print(s);
    }
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
        CAPS_RUN_STATE, CAPS_RUN_CONFIG, CAPS_RUN_METRICS, CAPS_RUN_MODEL, CAPS_RUN_AVERAGE};
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

/* The settings: of one run in *config, or of a repetition. Nothing of RUN is touched. */
static caps_status read_settings(caps_train_session *s, caps_train_config *config,
    caps_repeat *repeat, bool *several, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    caps_status status;
    CAPS_TRY(caps_train_check_usage(o, err));
    CAPS_TRY(caps_cli_check_trace(&o->common, err));
    if (o->resume)
        CAPS_TRY(caps_repeat_exists(several, o->out, err));
    *several = *several || (!o->resume && o->repeat > 0);
    if (*several) {
        CAPS_TRY(caps_train_repeat_settings(s, repeat, err));
    } else if (o->resume) {
        CAPS_TRY(check_run_free(o, err));
        CAPS_TRY(caps_train_config_load(config, o->out, err));
        CAPS_TRY(caps_train_check_resumed(o, s->args, config, 0, err));
        caps_train_change_resumed(o, s->args, config);
    } else {
        CAPS_TRY(check_run_free(o, err));
        CAPS_TRY(caps_train_new_config(s, config, err));
    }
    s->several = *several;
    CAPS_TRY(check_trace_apart(o, *several ? repeat : NULL, err));
    CAPS_TRY(caps_train_check_events(
        o, *several ? repeat->seeds : NULL, *several ? repeat->count : 0, err));
done:
    return status;
}

/* What one process alone can do. */
static caps_status check_ranks(const caps_train_session *s, bool several, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    const int n = caps_ranks_count(s->ranks);
    if (n == 1)
        return CAPS_OK;
    if (several)
        return caps_cli_usage(err, "train: --repeat with %d ranks, need one process", n);
    if (o->keep_going)
        return caps_cli_usage(err,
            "train: --keep-going with %d ranks: where one is lost the run ends, and --resume goes "
            "on with those that are left",
            n);
    return CAPS_OK;
}

/* Rank 0's settings become those of all. */
static caps_status share_settings(caps_train_session *s, caps_train_config *config, caps_error *err)
{
    json_t *object = NULL;
    char *text = NULL;
    caps_status status = CAPS_OK;
    if (!s->ranks)
        return CAPS_OK;
    if (caps_ranks_rank(s->ranks) == 0) {
        CAPS_TRY(caps_config_to_json(&object, config, err));
        CAPS_TRY(caps_config_format(&text, object, 0, err));
    }
    CAPS_TRY(caps_ranks_share_text(s->ranks, &text, err));
    if (caps_ranks_rank(s->ranks) == 0)
        goto done;
    CAPS_TRY(caps_json_parse(&object, text, strlen(text), "rank 0", CAPS_ERR_FORMAT, err));
    CAPS_TRY(caps_config_from_json(config, object, "rank 0", err));
    if (s->flags->data)
        snprintf(config->data, sizeof config->data, "%s", s->flags->data);
done:
    json_decref(object);
    free(text);
    return status;
}

static int train_run(const caps_command *command, int argc, char **argv)
{
    caps_train_flags o = {.seed = 1, .eval_every = 1};
    caps_train_session s = {.flags = &o, .began = caps_clock_seconds(), .stop = request_stop};
    caps_args args;
    int code;
    caps_launch_mute_others();
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
    caps_repeat repeat = {0};
    bool several = false;
    s.args = &args;
    catch_signals();
    CAPS_TRY(caps_launch_begin(&s.ranks, &o.devices, o.device_timeout, &err));
    CAPS_TRY(caps_launch_compare(s.ranks, argc, argv, &err));
    CAPS_TRY(check_ranks(&s, o.repeat > 0, &err));
    if (caps_ranks_rank(s.ranks) == 0)
        CAPS_TRY(read_settings(&s, &config, &repeat, &several, &err));
    CAPS_TRY(check_ranks(&s, several, &err));
    CAPS_TRY(share_settings(&s, &config, &err));
    if (o.devices.count < 2 && !s.ranks)
        caps_warmup_process_begin(
            o.devices.count ? o.devices.values[0] : NULL, several ? &repeat.config : &config);
    CAPS_TRY(caps_train_open_devices(&s, several ? &repeat.config : &config, &err));
    status = several ? caps_train_repeat(&s, &repeat, &err) : train_single(&s, &config, &err);
    if (o.kernel_times && !caps_cli_is_mute() &&
        (status == CAPS_OK || status == CAPS_ERR_INTERRUPTED)) {
        caps_status shown = caps_cli_show_profile(s.rt, status == CAPS_OK ? &err : NULL);
        status = status == CAPS_OK ? shown : status;
    }
done:
    caps_progress_clear();
    /* What rank 0 has to say is said before it waits for the others: a launcher may kill it soon. */
    const bool said = s.ranks && caps_ranks_rank(s.ranks) == 0 && status != CAPS_OK;
    if (said)
        caps_cli_end(status, &err);
    status = caps_launch_end(s.ranks, status, &err);
    status = caps_cli_end_trace(s.rt, status, &err);
    caps_cli_show_warnings(s.rt);
    caps_train_close_devices(&s);
    caps_checkpoint_release(&s.init);
    caps_train_release_classes(&s);
    caps_train_config_release(&config);
    caps_repeat_release(&repeat);
    caps_args_release(&args);
    code = said ? caps_cli_exit_code(status) : caps_cli_end(status, &err);
    caps_launch_part(s.ranks, code);
    return code;
}

const caps_command caps_command_train = {
    .name = "train",
    .run = train_run,
    .summary = "train a network into a run directory",
    .usage = "capscl train --data D --out RUN [--repeat N] [flags]\n"
             "capscl train --resume --out RUN [--epochs N] [--max-steps N] [--device S] [--data D]",
    .about =
        "Trains with the margin loss and 0.0005 times the squared reconstruction error, and\n"
        "writes RUN/config.json, metrics.jsonl, model.safetensors and state.safetensors. The\n"
        "state is saved every epoch; a run that was stopped in any way continues with --resume\n"
        "and ends with the same bytes as one that was never stopped. The first Ctrl-C finishes\n"
        "the step and saves, the second stops at once.\n",
    .flags = caps_train_flag_table,
    .notes = "With --resume, flags that say what the run has may stand, so the same command line "
             "with\n"
             "--resume goes on. The end that is named replaces the run's own: --epochs 20 alone "
             "goes on to\n"
             "20 epochs whatever --max-steps was. --data says where the same images lie now.\n"
             "\n"
             "exit codes: 0 done (also at the time limit), 1 failed while running or an output "
             "cannot be\n"
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
