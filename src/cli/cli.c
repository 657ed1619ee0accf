/* cli.c: see cli.h. */
#include "cli.h"

#include <capscl/experimental.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "colour.h"
#include "drivers.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "formats.h"
#include "picture.h"
#include "progress.h"
#include "text.h"
#include "trust.h"

/* How much stderr gets: -1 errors only, 0, 1 details too. A program has one stderr. */
static int log_level;
static bool mute;

/* ---- errors --------------------------------------------------------------------------------- */

static const struct {
    caps_status status;
    int code;
} exit_codes[] = {
    {CAPS_OK, CAPS_EXIT_DONE},
    {CAPS_ERR_ARGUMENT, CAPS_EXIT_USAGE},
    {CAPS_ERR_AMBIGUOUS_DEVICE, CAPS_EXIT_USAGE},
    {CAPS_ERR_EXISTS, CAPS_EXIT_USAGE},
    {CAPS_ERR_NOT_FOUND, CAPS_EXIT_INPUT},
    {CAPS_ERR_FORMAT, CAPS_EXIT_INPUT},
    {CAPS_ERR_SPEC, CAPS_EXIT_INPUT},
    {CAPS_ERR_MISMATCH, CAPS_EXIT_INPUT},
    {CAPS_ERR_NO_DEVICE, CAPS_EXIT_DEVICE},
    {CAPS_ERR_OPENCL, CAPS_EXIT_DEVICE},
    {CAPS_ERR_BUILD, CAPS_EXIT_DEVICE},
    {CAPS_ERR_DEVICE_MEMORY, CAPS_EXIT_DEVICE},
    {CAPS_ERR_INTERRUPTED, CAPS_EXIT_INTERRUPTED},
    {CAPS_ERR_IO, CAPS_EXIT_FAILED},
    {CAPS_ERR_MEMORY, CAPS_EXIT_FAILED},
    {CAPS_ERR_NOT_FINITE, CAPS_EXIT_FAILED},
    {CAPS_ERR_INTERNAL, CAPS_EXIT_FAILED},
    {CAPS_ERR_RANK, CAPS_EXIT_FAILED},
};

int caps_cli_exit_code(caps_status status)
{
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        if (exit_codes[i].status == status)
            return exit_codes[i].code;
    return CAPS_EXIT_FAILED;
}

int caps_cli_end(caps_status status, const caps_error *err)
{
    caps_progress_clear();
    if (status == CAPS_OK)
        return CAPS_EXIT_DONE;
    if (mute)
        return caps_cli_exit_code(status);
    char message[sizeof err->message];
    caps_text_clean(
        message, sizeof message, err->message[0] ? err->message : caps_status_text(status));
    fprintf(stderr, "capscl: %s%s%s\n", caps_colour(stderr, CAPS_TINT_BAD), message,
        caps_colour_end(stderr));
    if (err->build_log[0] && log_level > 0) {
        fputs("build log:\n", stderr);
        for (const char *line = err->build_log; *line;) {
            size_t n = strcspn(line, "\n");
            char raw[sizeof err->build_log], text[sizeof err->build_log];
            snprintf(raw, sizeof raw, "%.*s", (int)n, line);
            fprintf(stderr, "    %s\n", caps_text_clean(text, sizeof text, raw));
            line += n + (line[n] == '\n');
        }
    }
    return caps_cli_exit_code(status);
}

caps_status caps_cli_usage(caps_error *err, const char *format, ...)
{
    char message[sizeof err->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return caps_fail(err, CAPS_ERR_ARGUMENT, "%s", message);
}

bool caps_cli_begin(const caps_command *command, caps_args *args, void *options,
    const caps_common *common, int argc, char **argv, int *code)
{
    caps_error err = {0};
    caps_status status =
        caps_args_parse(args, command->flags, options, argc, argv, command->positional_max, &err);
    if (status != CAPS_OK) {
        caps_error full = {0};
        *code = caps_cli_end(caps_fail(&full, status, "%s: %s (see 'capscl help %s')",
                                 command->name, err.message, command->name),
            &full);
        return false;
    }
    if (args->help) {
        caps_command_help_print(command);
        caps_args_release(args);
        *code = CAPS_EXIT_DONE;
        return false;
    }
    if (common)
        log_level = common->quiet ? -1 : common->verbose ? 1 : 0;
    return true;
}

/* ---- log and results ------------------------------------------------------------------------ */

const char *caps_cli_shown(const char *text)
{
    static char shown[8192]; /* two paths of PATH_MAX */
    return caps_text_clean(shown, sizeof shown, text);
}

bool caps_cli_is_quiet(void)
{
    return mute || log_level < 0;
}

void caps_cli_mute(bool muted)
{
    mute = muted;
}

bool caps_cli_is_mute(void)
{
    return mute;
}

/* colour and end: around `before`. */
static void log_line(
    const char *colour, const char *before, const char *end, const char *format, va_list arguments)
{
    char raw[1024], text[2048];
    vsnprintf(raw, sizeof raw, format, arguments);
    caps_text_clean(text, sizeof text, raw);
    caps_progress_clear();
    fprintf(stderr, "%s%s%s%s\n", colour, before, end, text);
}

void caps_cli_log(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!caps_cli_is_quiet())
        log_line("", "", "", format, arguments);
    va_end(arguments);
}

void caps_cli_detail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!mute && log_level > 0)
        log_line("", "", "", format, arguments);
    va_end(arguments);
}

void caps_cli_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!caps_cli_is_quiet())
        log_line(caps_colour(stderr, CAPS_TINT_WARN), "warning: ", caps_colour_end(stderr), format,
            arguments);
    va_end(arguments);
}

void caps_cli_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!caps_cli_is_quiet())
        log_line(caps_colour(stderr, CAPS_TINT_NOTE), "note: ", caps_colour_end(stderr), format,
            arguments);
    va_end(arguments);
}

void caps_cli_on_note(void *user, const char *text)
{
    (void)user;
    caps_cli_note("%s", text);
}

caps_status caps_cli_check_pictures(const caps_picture_flags *flags, caps_error *err)
{
    int background;
    if (caps_background_parse(&background, flags->background))
        return CAPS_OK;
    return caps_cli_usage(err, "--background: '%s', need auto, black, white or a grey level 0..255",
        flags->background);
}

caps_status caps_cli_print_json(json_t *value, caps_error *err)
{
    char *text = value ? caps_json_format(value, 0, 9) : NULL;
    json_decref(value);
    if (!text)
        return caps_fail(err, CAPS_ERR_MEMORY, "JSON output: out of memory");
    /* A failed write stays in the stream's error flag, which main reads. */
    puts(text);
    free(text);
    return CAPS_OK;
}

/* ---- devices -------------------------------------------------------------------------------- */

void caps_cli_show_cache_note(void)
{
    const char *const texts[] = {caps_drivers_take_note(), caps_cache_take_note()};
    for (size_t i = 0; i < 2; i++)
        if (texts[i])
            caps_cli_note("%s", texts[i]);
}

static void show_check(const char *text)
{
    caps_cli_note("%s", text);
}

static void show_verdicts(const caps_runtime *rt)
{
    const caps_verdict *list;
    const size_t n = caps_runtime_verdicts(rt, &list);
    for (size_t i = 0; i < n; i++)
        if (!list[i].passed)
            caps_cli_detail("variant %s: refused: %s", list[i].variant, list[i].why);
        else if (list[i].tolerance > 0)
            caps_cli_detail("variant %s: error %.1e, need <= %.0e", list[i].variant, list[i].error,
                list[i].tolerance);
}

static caps_status open_device(
    caps_runtime **rt, const char *selector, const caps_runtime_options *options, caps_error *err)
{
    caps_trust_on_check(show_check);
    caps_status status = caps_runtime_create(rt, selector, options, err);
    caps_cli_show_cache_note();
    if (status == CAPS_OK) {
        const caps_device_info *device = caps_runtime_device(*rt);
        caps_cli_log("device: %s %s (%s), kernels %s: %s", device->id, device->name,
            device->platform, caps_family_name(caps_runtime_family(*rt)), caps_runtime_reason(*rt));
        caps_cli_show_warnings(*rt);
        show_verdicts(*rt);
    }
    return status;
}

const char *caps_cli_devices_word(size_t i, const void *context)
{
    static const char *const words[] = {"gpu", "cpu", "accelerator", "all"};
    (void)context;
    return i < sizeof words / sizeof words[0] ? words[i] : NULL;
}

const char *caps_cli_device_word(size_t i, const void *context)
{
    const char *word = caps_cli_devices_word(i, context);
    return word && strcmp(word, "all") != 0 ? word : NULL;
}

const char *caps_cli_arch(size_t i, const void *context)
{
    (void)context;
    return caps_model_spec_builtin(i);
}

caps_status caps_cli_open(
    caps_runtime **rt, const caps_common *common, bool profile, caps_error *err)
{
    const caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .profile = profile,
        .trace = common->trace, .trace_events = common->trace_events};
    return open_device(rt, common->device, &options, err);
}

static bool leaves;

void caps_cli_leave(void)
{
    leaves = true;
}

bool caps_cli_leaves(void)
{
    return leaves;
}

void caps_cli_close(caps_opened *d)
{
    for (size_t i = 0; d->rts && i < d->n; i++)
        caps_runtime_free(d->rts[i]);
    free(d->rts);
    *d = (caps_opened){0};
}

caps_status caps_cli_open_several(caps_opened *d, const caps_texts *selectors,
    const caps_common *common, bool profile, caps_error *err)
{
    caps_device_selector devices[CAPS_DEVICES_MOST];
    caps_common first = *common;
    caps_status status = CAPS_OK;
    size_t n = 0;
    const bool alone = selectors->count == 1 && strcmp(selectors->values[0], "all") != 0;
    *d = (caps_opened){0};
    if (selectors->count > 0)
        CAPS_TRY(caps_device_select_several(devices, &n, selectors->values, selectors->count, err));
    if (n > 0) /* how a single one was named is the reason that is logged */
        first.device = n == 1 && alone ? selectors->values[0] : devices[0].text;
    if (common->trace && n > 1)
        CAPS_TRY(caps_cli_usage(err, "--trace of %zu devices, need one", n));
    d->rts = calloc(n + 1, sizeof(caps_runtime *));
    if (!d->rts)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    CAPS_TRY(caps_cli_open(&d->rts[0], &first, profile, err));
    const caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .profile = profile};
    for (d->n = 1; d->n < n; d->n++)
        CAPS_TRY(open_device(&d->rts[d->n], devices[d->n].text, &options, err));
done:
    if (status != CAPS_OK)
        caps_cli_close(d);
    return status;
}

caps_status caps_cli_check_trace(const caps_common *common, caps_error *err)
{
    if (common->trace)
        return caps_file_check_output(common->trace, err);
    return common->trace_events
               ? caps_cli_usage(err, "--trace-events without --trace, need --trace FILE")
               : CAPS_OK;
}

caps_status caps_cli_end_trace(caps_runtime *rt, caps_status status, caps_error *err)
{
    caps_error own = {0};
    caps_status ended = caps_runtime_trace_end(rt, &own);
    if (ended == CAPS_OK)
        return status;
    if (status != CAPS_OK) {
        caps_cli_warn("%s", own.message);
        return status;
    }
    *err = own;
    return ended;
}

void caps_cli_show_warnings(caps_runtime *rt)
{
    const char *text;
    while (rt && (text = caps_runtime_take_warning(rt)) != NULL)
        caps_cli_warn("%s", text);
}

caps_status caps_cli_show_profile(caps_runtime *rt, caps_error *err)
{
    const caps_profile_entry *entries;
    size_t n;
    caps_status status = caps_runtime_profile_get(rt, &entries, &n, err);
    if (status != CAPS_OK)
        return status;
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)entries[i].time_ns;
    caps_progress_clear();
    /* Asked for by a flag of its own, so --quiet does not take it away. */
    fprintf(
        stderr, "%-40s %10s %12s %10s %7s\n", "kernel", "calls", "total ms", "mean us", "share");
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%-40s %10llu %12.3f %10.1f %6.1f%%\n", entries[i].kernel,
            (unsigned long long)entries[i].calls, (double)entries[i].time_ns * 1e-6,
            entries[i].calls ? (double)entries[i].time_ns * 1e-3 / (double)entries[i].calls : 0,
            total > 0 ? 100 * (double)entries[i].time_ns / total : 0);
    fprintf(stderr, "%-40s %10s %12.3f\n", "all kernels", "", total * 1e-6);
    return CAPS_OK;
}

/* ---- models --------------------------------------------------------------------------------- */

caps_status caps_cli_explain_memory(caps_status status, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, caps_error *err)
{
    if (status != CAPS_ERR_DEVICE_MEMORY)
        return status;
    char message[sizeof err->message];
    snprintf(message, sizeof message, "%s", err->message);
    caps_model_options o = *options;
    caps_model *one = NULL;
    o.max_batch = 1;
    if (options->max_batch > 1 && caps_model_create(&one, rt, spec, &o, err) == CAPS_OK) {
        caps_model_free(one);
        return caps_fail(err, CAPS_ERR_ARGUMENT, "--batch %zu is too large for this device: %s",
            options->max_batch, message);
    }
    if (options->max_batch > 1 && err->status == CAPS_ERR_DEVICE_MEMORY)
        snprintf(message, sizeof message, "%s", err->message);
    return caps_fail(
        err, CAPS_ERR_SPEC, "the model does not fit this device even at batch 1: %s", message);
}

caps_status caps_cli_check_apart(
    const char *flag, const char *output, const char *input, caps_error *err)
{
    if (!output || !input || !caps_path_is_same(output, input))
        return CAPS_OK;
    return caps_cli_usage(err,
        "%s: %s would replace %s, which this command needs; need another name", flag, output,
        strcmp(output, input) == 0 ? "a file" : input);
}

caps_status caps_cli_check_data_apart(
    const char *flag, const char *output, const char *data, caps_error *err)
{
    if (!output || !data || !caps_dataset_owns(data, output))
        return CAPS_OK;
    return caps_cli_usage(err, "%s: %s would replace a file of the data set %s; need another name",
        flag, output, data);
}
