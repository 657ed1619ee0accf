/* cli.h: what the subcommands share: their table, errors and exit codes, log, output, devices.
 *
 * A subcommand is one file cmd_<name>.c that defines a `const caps_command caps_command_<name>`,
 * named in the table in main.c. Its run function has this form:
 *
 *     static int name_run(const caps_command *command, int argc, char **argv)
 *     {
 *         options o = {.batch = 100};
 *         caps_args args;
 *         int code;
 *         if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
 *             return code;                  // --help, or wrong usage: already reported
 *         caps_error err = {0};
 *         caps_status status = CAPS_OK;
 *         caps_runtime *rt = NULL;
 *         CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
 *         ...
 *     done:
 *         caps_runtime_free(rt);
 *         caps_args_release(&args);
 *         return caps_cli_end(status, &err); // 0, or the error line and its exit code
 *     }
 *
 * Results go to stdout with printf or caps_cli_print_json; everything else through the log. main
 * flushes stdout at the end and turns a failed write into exit code 1. */
#ifndef CAPS_CLI_H
#define CAPS_CLI_H

#include <jansson.h>

#include <capscl/capscl.h>

#include "args.h"
#include "config.h"

/* Exit codes (contract). */
enum {
    CAPS_EXIT_DONE = 0,
    CAPS_EXIT_FAILED = 1,
    CAPS_EXIT_USAGE = 2,
    CAPS_EXIT_INPUT = 3,
    CAPS_EXIT_DEVICE = 4,
    CAPS_EXIT_INTERRUPTED = 130,
};

/* Flags that every subcommand understands in the same way. */
typedef struct caps_common {
    const char *device; /* NULL: the default choice */
    const char *conv;   /* NULL: $CAPSCL_CONV, else auto; see caps_model_options */
    const char *arch;   /* of a checkpoint without its spec; NULL: see caps_open_options */
    const char *trace;  /* NULL: none; see caps_runtime_options */
    uint64_t trace_events;
    bool json, quiet, verbose;
} caps_common;

/* How files of pictures are read. */
typedef struct caps_picture_flags {
    const char *background; /* NULL: not given */
    bool invert, stretch;
    int viewpoints; /* of smallNORB and solids: caps_viewpoints */
} caps_picture_flags;

/* What --viewpoints takes, in the order of caps_viewpoints. */
extern const char *const caps_cli_viewpoints[];

#define CAPS_ROW_VIEWPOINTS(type, text)                                                            \
    CAPS_ROW_CHOICE("--viewpoints", type, pictures.viewpoints, caps_cli_viewpoints, "V", text)

/* Rows for a table whose options struct has a member `caps_picture_flags pictures`. */
#define CAPS_ROW_BACKGROUND(type)                                                                  \
    CAPS_ROW_TEXT("--background", type, pictures.background, "G",                                  \
        "lay transparent pictures on black, white, a grey level 0..255, or auto:\n"                \
        "white where the ink is dark, else black")
#define CAPS_ROW_INVERT(type)                                                                      \
    CAPS_ROW_SWITCH("--invert", type, pictures.invert,                                             \
        "turn pictures round, dark to light: the usual data sets are light on\n"                   \
        "dark, scans and drawings dark on light")
#define CAPS_ROW_STRETCH(type)                                                                     \
    CAPS_ROW_SWITCH("--stretch", type, pictures.stretch,                                           \
        "stretch the range of values found in each picture to the whole one")
/* Of commands that look at a model: its run's choices are the defaults. */
#define CAPS_ROWS_PICTURES(type)                                                                   \
    CAPS_ROW_BACKGROUND(type), CAPS_ROW_INVERT(type),                                              \
        CAPS_ROW_OFF("--no-invert", type, pictures.invert,                                         \
            "do not, also where the model's run did; of both flags the last wins"),                \
        CAPS_ROW_VIEWPOINTS(type,                                                                  \
            "of smallNORB and solids, these images only: all, familiar-azimuths,\n"                \
            "novel-azimuths, familiar-elevations, novel-elevations (default: as the\n"             \
            "model was trained)"),                                                                 \
        CAPS_ROW_STRETCH(type),                                                                    \
        CAPS_ROW_OFF("--no-stretch", type, pictures.stretch, "do not, likewise")

/* Words that --device takes (of several devices too), and built-in networks: caps_name_list. */
const char *caps_cli_device_word(size_t i, const void *context);
const char *caps_cli_devices_word(size_t i, const void *context);
const char *caps_cli_arch(size_t i, const void *context);

/* Rows for a table whose options struct `type` has a member `caps_common common`. */
#define CAPS_ROW_DEVICE(type)                                                                      \
    CAPS_ROW_NAMED("--device", TEXT, type, common.device, caps_cli_device_word, "S",               \
        "where to compute: 0:1 (platform:device), gpu, cpu, accelerator,\n"                        \
        "or part of a name (default: $CAPSCL_DEVICE, else the best GPU,\n"                         \
        "else the CPU)")
/* Several of them, into a member `caps_texts devices`. */
#define CAPS_ROW_DEVICES(type, does)                                                               \
    CAPS_ROW_NAMED("--device", TEXTS, type, devices, caps_cli_devices_word, "S",                   \
        "where to compute: 0:1 (platform:device), gpu, cpu, accelerator,\n"                        \
        "or part of a name (default: $CAPSCL_DEVICE, else the best GPU,\n"                         \
        "else the CPU); several, all, or 0:1/2 (its two halves): each\n" does)
#define CAPS_ROW_CONV(type)                                                                        \
    CAPS_ROW_TEXT("--conv", type, common.conv, "A",                                                \
        "how to convolve: auto, im2col, direct, winograd, toom-cook, implicit;\n"                  \
        "by layer: conv1=direct,primary=auto (default: $CAPSCL_CONV, else auto)")
#define CAPS_ROW_ARCH(type)                                                                        \
    CAPS_ROW_NAMED("--arch", TEXT, type, common.arch, caps_cli_arch, "FILE",                       \
        "the network of a --model file that does not have its spec: a JSON file\n"                 \
        "or a built-in name (see train)")
#define CAPS_ROW_TRACE(type)                                                                       \
    CAPS_ROW_TEXT("--trace", type, common.trace, "FILE",                                           \
        "write a timeline of the OpenCL queue and the host, for Perfetto\n"                        \
        "(ui.perfetto.dev) or chrome://tracing; FILE appears at the end")
#define CAPS_ROW_TRACE_EVENTS(type)                                                                \
    CAPS_ROW_COUNT("--trace-events", type, common.trace_events, 1, 1000000000, "N",                \
        "events in the trace; later ones are left out (default: 400000)")
#define CAPS_ROW_JSON(type)                                                                        \
    CAPS_ROW_SWITCH("--json", type, common.json, "print one JSON document and nothing else")
#define CAPS_ROW_QUIET(type) CAPS_ROW_SWITCH("--quiet", type, common.quiet, "on stderr only errors")
#define CAPS_ROW_VERBOSE(type)                                                                     \
    CAPS_ROW_SWITCH("--verbose", type, common.verbose, "say more on stderr")

typedef struct caps_command caps_command;
struct caps_command {
    const char *name;
    int (*run)(const caps_command *command, int argc, char **argv); /* the exit code */
    const char *summary; /* one line, for `capscl help` */
    const char *usage;   /* "capscl eval --model FILE --data D [flags]", may have several lines */
    const char *about;   /* a paragraph or two: what it does, what it prints */
    const caps_flag *flags;    /* ends with a row whose name is NULL; NULL: it has no flags */
    const char *notes;         /* after the flags: exit codes that matter, examples */
    size_t positional_max;     /* arguments that are no flags */
    caps_name_list positional; /* what they may be, for completion; NULL: files */
};

extern const caps_command caps_command_devices, caps_command_train, caps_command_eval,
    caps_command_predict, caps_command_show, caps_command_report, caps_command_export,
    caps_command_selftest, caps_command_bench, caps_command_tune, caps_command_serve,
    caps_command_version, caps_command_help;

/* A path or another text from outside as it is shown (text.h), up to the next call. Messages and
 * the log are cleaned already; what printf gets is not. */
const char *caps_cli_shown(const char *text);

/* The table: the i-th command, NULL past the last; by name, NULL where there is none. */
const caps_command *caps_command_at(size_t i);
const caps_command *caps_command_find(const char *name);
/* "unknown subcommand X; did you mean Y?" */
int caps_command_unknown(const char *name);
void caps_command_help_print(const caps_command *command);
/* The same as JSON; NULL: of all subcommands. (help_json.c) */
caps_status caps_help_print_json(const caps_command *only, caps_error *err);

/* Prints the manual page in roff: of one command, or (NULL) of the program with all commands;
 * `general` is what `capscl help` says of all. */
void caps_command_man_print(const caps_command *command, const char *general);
/* Prints a completion script. */
void caps_completion_print_bash(void);
void caps_completion_print_zsh(void);

/* Parses the flags and sets the log's level from `common` (NULL allowed). False: the run is over
 * (help was printed, or the usage was wrong and the error line is out), *code is the exit code. */
bool caps_cli_begin(const caps_command *command, caps_args *args, void *options,
    const caps_common *common, int argc, char **argv, int *code);

/* CAPS_OK: 0. Else prints the one error line and gives the status's exit code. */
int caps_cli_end(caps_status status, const caps_error *err);
int caps_cli_exit_code(caps_status status);
/* A usage error in a message of its own: fills err, returns CAPS_ERR_ARGUMENT. */
caps_status caps_cli_usage(caps_error *err, const char *format, ...) CAPS_PRINTF(2, 3);

/* The log: lines on stderr, after the progress bar (if any) is wiped. `log` is silent under
 * --quiet, `detail` speaks only under --verbose, `warn` begins "warning: " and `note` "note: ";
 * both are silent under --quiet. A note is what is worth saying and is no failure. */
void caps_cli_log(const char *format, ...) CAPS_PRINTF(1, 2);
void caps_cli_detail(const char *format, ...) CAPS_PRINTF(1, 2);
void caps_cli_warn(const char *format, ...) CAPS_PRINTF(1, 2);
void caps_cli_note(const char *format, ...) CAPS_PRINTF(1, 2);
/* The same for options that have `note` and `user`. */
void caps_cli_on_note(void *user, const char *text);
bool caps_cli_is_quiet(void);
/* Nothing is printed, not even the error line: rank 0 speaks for this process. */
void caps_cli_mute(bool muted);
bool caps_cli_is_mute(void);

/* --background is one. CAPS_ERR_ARGUMENT. */
caps_status caps_cli_check_pictures(const caps_picture_flags *flags, caps_error *err);

/* Prints the document (one line, 9 digits: enough for the same float32) and frees it. NULL counts
 * as out of memory. */
caps_status caps_cli_print_json(json_t *value, caps_error *err);

/* The notes that compiled kernels cannot be kept, or that a driver is passed over, where they are
 * due; after the first OpenCL call. */
void caps_cli_show_cache_note(void);
/* Opens the device that common->device names and shows the runtime's warnings; profile: time
 * every kernel. */
caps_status caps_cli_open(
    caps_runtime **rt, const caps_common *common, bool profile, caps_error *err);
/* Devices of a command, the first of them the one that is named alone in its results. */
typedef struct caps_opened {
    caps_runtime **rts; /* [n]; NULL: not to be freed */
    size_t n;
} caps_opened;
/* The same of all that `selectors` name (caps_device_select_several; none: common->device). Only
 * one device can be traced. */
caps_status caps_cli_open_several(caps_opened *d, const caps_texts *selectors,
    const caps_common *common, bool profile, caps_error *err);
void caps_cli_close(caps_opened *d); /* a zeroed one is allowed */
/* A device does not answer: once all is said and written, the program ends without what libraries do
 * at a process's end. */
void caps_cli_leave(void);
bool caps_cli_leaves(void);
/* Can the trace that common->trace requests be written? CAPS_ERR_ARGUMENT, CAPS_ERR_IO. */
caps_status caps_cli_check_trace(const caps_common *common, caps_error *err);
/* Ends the trace, if there is one: the status and error of a run that ends with `status` and *err.
 * Of two failures the run's own is the error, the trace's a warning. */
caps_status caps_cli_end_trace(caps_runtime *rt, caps_status status, caps_error *err);
/* Shows what the runtime has to warn of; call it again after kernels were built. */
void caps_cli_show_warnings(caps_runtime *rt);
/* Time by kernel, to stderr. */
caps_status caps_cli_show_profile(caps_runtime *rt, caps_error *err);
/* Where `status` is that a model of these options does not fit the device's memory, says why: the
 * network, CAPS_ERR_SPEC, where not even a batch of 1 fits; else --batch, CAPS_ERR_ARGUMENT. */
caps_status caps_cli_explain_memory(caps_status status, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, caps_error *err);

/* The file that `flag` writes is not one that the same command needs: an output must not replace an
 * input. Either may be NULL. CAPS_ERR_ARGUMENT. */
caps_status caps_cli_check_apart(
    const char *flag, const char *output, const char *input, caps_error *err);
/* The same of the files of a data set. */
caps_status caps_cli_check_data_apart(
    const char *flag, const char *output, const char *data, caps_error *err);

#endif
