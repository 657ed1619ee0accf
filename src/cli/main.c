/* main.c: the table of subcommands, help, and what holds for the whole program. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "launcher.h"
#include "fail.h"

static const caps_command *const commands[] = {
    &caps_command_devices,
    &caps_command_train,
    &caps_command_eval,
    &caps_command_predict,
    &caps_command_show,
    &caps_command_report,
    &caps_command_export,
    &caps_command_serve,
    &caps_command_selftest,
    &caps_command_bench,
    &caps_command_tune,
    &caps_command_version,
    &caps_command_help,
    NULL,
};

const caps_command *caps_command_at(size_t i)
{
    return i < sizeof commands / sizeof commands[0] ? commands[i] : NULL;
}

const caps_command *caps_command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static const char *command_name(size_t i, const void *context)
{
    (void)context;
    const caps_command *command = caps_command_at(i);
    return command ? command->name : NULL;
}

int caps_command_unknown(const char *name)
{
    caps_error err = {0};
    const char *near = caps_nearest(name, command_name, NULL);
    return caps_cli_end(caps_cli_usage(&err, "unknown subcommand '%s'%s%s%s (see 'capscl help')",
                            name, near ? "; did you mean " : "", near ? near : "", near ? "?" : ""),
        &err);
}

/* ---- help ----------------------------------------------------------------------------------- */

static const char overview[] =
    "capscl trains and runs capsule networks (Sabour, Frosst, Hinton 2017) on any OpenCL device.\n"
    "\n"
    "usage: capscl SUBCOMMAND [flags]\n"
    "\n";

static const char general[] =
    "\n"
    "'capscl help SUBCOMMAND' (or --help after it) lists its flags. Flags are written --flag value "
    "or\n"
    "--flag=value; of a flag given twice the last one counts. Results go to standard output, the "
    "log\n"
    "and errors to standard error.\n"
    "\n"
    "environment:\n"

    "  CAPSCL_DEVICE    the device where --device is not given: 0:1, gpu, cpu, accelerator, a "
    "name\n"
    "  CAPSCL_DATA      where data sets are looked for by name, before $XDG_DATA_HOME/capscl and\n"
    "                   /usr/share/datasets\n"
    "  CAPSCL_CACHE     compiled kernels and what 'capscl tune' measured (default\n"
    "                   $XDG_CACHE_HOME/capscl, else ~/.cache/capscl)\n"
    "  CAPSCL_KERNELS   kernel family: auto (default), cpu, gpu\n"
    "  CAPSCL_GEMM      matrix products: auto (default), tiled, clblast, packed, direct\n"
    "  CAPSCL_ROUTING   votes of class capsules: auto (default), stored, fused\n"
    "  CAPSCL_MPI       off: what mpirun or srun started several times are trainings of their own\n"
    "  CAPSCL_CL_PATH   a directory to read kernel sources from, in place of those built in\n"
    "  NO_COLOR         set to anything: no colours, on a terminal either\n"
    "\n"
    "exit codes:\n"
    "    0  done\n"
    "    1  failed while running, selftest failed, or output cannot be written\n"
    "    2  wrong usage: a flag, a value, an ambiguous device, a run directory in use\n"
    "    3  data, a model or an arch that cannot be found or is not what it should be\n"
    "    4  no device matches, or the device failed\n"
    "  130  stopped by Ctrl-C or SIGTERM; what was trained is saved\n"
    "docs/troubleshooting.md explains every message, and what to do.\n"
    "\n"
    "first steps:\n"
    "  capscl devices\n"
    "  capscl train --data fashion-mnist --arch small --epochs 2 --out run1\n"
    "  capscl eval --model run1/model.safetensors --data fashion-mnist\n"
    "  capscl predict --model run1/model.safetensors --data fashion-mnist --reconstruct "
    "sheet.png\n";

void caps_command_help_print(const caps_command *command)
{
    printf("%s: %s\n\nusage: ", command->name, command->summary);
    for (const char *line = command->usage; *line;) {
        size_t n = strcspn(line, "\n");
        printf("%s%.*s\n", line == command->usage ? "" : "       ", (int)n, line);
        line += n + (line[n] == '\n');
    }
    if (command->about)
        printf("\n%s", command->about);
    if (command->flags) {
        printf("\nflags:\n");
        caps_args_help(stdout, command->flags);
    }
    if (command->notes)
        printf("\n%s", command->notes);
}

static void overview_print(void)
{
    fputs(overview, stdout);
    printf("subcommands:\n");
    for (size_t i = 0; commands[i]; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs(general, stdout);
}

typedef struct help_options {
    caps_common common;
    bool man;
    int completion; /* position in `shells` */
} help_options;

static const char *const shells[] = {"bash", "zsh", NULL};

static const caps_flag help_flags[] = {
    CAPS_ROW_JSON(help_options),
    CAPS_ROW_SWITCH("--man", help_options, man,
        "a manual page (roff) in place of text: capscl help --man | man -l -"),
    CAPS_ROW_CHOICE("--completion", help_options, completion, shells, "SHELL",
        "the script that completes capscl's command lines in bash or zsh"),
    {0},
};

static int help_run(const caps_command *command, int argc, char **argv)
{
    help_options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    const char *name = args.positional_count ? args.positional[0] : NULL;
    const caps_command *about = name ? caps_command_find(name) : NULL;
    caps_error err = {0};
    code = CAPS_EXIT_DONE;
    const bool completion = caps_args_given(&args, "--completion");
    if (name && !about)
        code = caps_command_unknown(name);
    else if (completion + o.man + o.common.json > 1 || (completion && name))
        code =
            caps_cli_end(caps_cli_usage(&err, "help: --json, --man and --completion exclude each "
                                              "other; --completion takes no subcommand"),
                &err);
    else if (completion)
        (o.completion == 0 ? caps_completion_print_bash : caps_completion_print_zsh)();
    else if (o.man)
        caps_command_man_print(about, general);
    else if (o.common.json)
        code = caps_cli_end(caps_help_print_json(about, &err), &err);
    else if (about)
        caps_command_help_print(about);
    else
        overview_print();
    caps_args_release(&args);
    return code;
}

const caps_command caps_command_help = {
    .name = "help",
    .run = help_run,
    .summary = "this overview, or the flags of one subcommand",
    .usage = "capscl help [SUBCOMMAND] [--json | --man]\n"
             "capscl help --completion bash|zsh",
    .flags = help_flags,
    .notes = "examples:\n"
             "  capscl help train --man | man -l -\n"
             "  source <(capscl help --completion bash)\n"
             "  capscl help --completion zsh >~/.zfunc/_capscl    # a folder of $fpath\n",
    .positional_max = 1,
    .positional = command_name,
};

/* ---- the program ---------------------------------------------------------------------------- */

/* A descriptor that came closed would be given to the next file opened, and what is printed would
 * land in a checkpoint: it gets /dev/null, opened so that printing to a closed stdout still fails.
 */
static void hold_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) < 0)
            _exit(CAPS_EXIT_FAILED);
}

/* Results that did not reach their reader make the run a failed one. */
static int finish_output(int code)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0)
        failed = true;
    int reason = errno;
    if (fclose(stdout) != 0 && !failed) {
        failed = true;
        reason = errno;
    }
    if (!failed || code != CAPS_EXIT_DONE)
        return code;
    caps_error err = {0};
    return caps_cli_end(caps_fail(&err, CAPS_ERR_IO, "standard output cannot be written%s%s",
                            reason ? ": " : "", reason ? strerror(reason) : ""),
        &err);
}

int main(int argc, char **argv)
{
    hold_descriptors();
    signal(SIGPIPE, SIG_IGN);
    caps_error err = {0};
    if (argc < 2)
        return caps_cli_end(caps_cli_usage(&err, "no subcommand given (see 'capscl help')"), &err);
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    const caps_command *command = caps_command_find(name);
    if (!command)
        return caps_command_unknown(name);
    int code;
    if (!caps_launch_allows(command, &code))
        return code;
    code = finish_output(command->run(command, argc - 2, argv + 2));
    if (caps_cli_leaves())
        _exit(code);
    return code;
}
