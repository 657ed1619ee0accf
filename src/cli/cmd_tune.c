/* cmd_tune.c: which algorithms are the fastest on a device, measured and kept in the cache. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "fail.h"
#include "json.h"
#include "progress.h"
#include "tune.h"

typedef struct options {
    caps_common common;
    const char *arch;
    uint64_t batch;
    double seconds;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_NAMED("--arch", TEXT, options, arch, caps_cli_arch, "A",
        "the network to tune for: a JSON spec, or mnist (the paper's) or small\n(default: mnist)"),
    CAPS_ROW_COUNT("--batch", options, batch, 1, 1000000, "N",
        "images at once, for training; prediction of one image is tuned too\n(default: 100)"),
    CAPS_ROW_SECONDS("--time", options, seconds, "T",
        "measure for so long at most: 90, 90s, 5m (default: 60); what is left\n"
        "over then stays chosen by rule"),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* ---- signals -------------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

/* The first one ends the measuring, and what was measured is kept; the second ends the program. */
static void tune_on_signal(int number)
{
    (void)number;
    if (stopped)
        _exit(CAPS_EXIT_INTERRUPTED);
    stopped = 1;
}

static void tune_catch_signals(void)
{
    struct sigaction action = {0};
    action.sa_handler = tune_on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- results -------------------------------------------------------------------------------- */

typedef struct tune_report {
    const options *o;
    bool begun;   /* the table's head is out */
    json_t *rows; /* NULL: out of memory, or not requested */
} tune_report;

static bool tune_is_stopped(void *user)
{
    (void)user;
    return stopped;
}

static void tune_progress(void *user, const char *key, double done)
{
    char bar[32], left[32];
    (void)user;
    /* Choices are few, and each may take seconds: every one is shown. */
    caps_progress_left(left, done);
    caps_progress_show(
        "tuning %s %3.0f %%%s  %s", caps_progress_bar(bar, done), 100 * done, left, key);
}

static void tune_speed(void *user, double images_per_second)
{
    const tune_report *p = user;
    caps_progress_clear();
    caps_cli_log("training at batch %llu: %.1f images/s, by which several devices share a batch",
        (unsigned long long)p->o->batch, images_per_second);
}

static void tune_not_saved(void *user, const char *message)
{
    (void)user;
    caps_cli_warn("the choices are not kept, only shown: %s", message);
}

static void tune_add_json(tune_report *p, const caps_tune_result *r)
{
    json_t *all = json_array();
    for (size_t a = 0; a < r->count; a++)
        caps_json_append(&all, json_pack("{s:s, s:o}", "variant", r->algorithms[a], "seconds",
                                   caps_json_double(r->seconds[a])));
    json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:o}", "choice", r->choice->key, "variant",
        r->algorithms[r->best], "before", r->choice->algorithm, "seconds",
        caps_json_double(r->seconds[r->best]), "measured", all);
    caps_json_append(&p->rows, row);
}

static void tune_print_row(tune_report *p, const caps_tune_result *r)
{
    caps_progress_clear();
    if (!p->begun)
        printf("%-40s %-22s %12s\n", "choice", "variant", "median ms");
    p->begun = true;
    printf("%-40s %-22s %12.4f", r->choice->key, r->algorithms[r->best], 1e3 * r->seconds[r->best]);
    for (size_t a = 0; a < r->count; a++)
        if (a != r->best && !isnan(r->seconds[a]))
            printf("   %s %.4f", r->algorithms[a], 1e3 * r->seconds[a]);
    printf("\n");
    fflush(stdout);
}

static void tune_result(void *user, const caps_tune_result *r)
{
    tune_report *p = user;
    if (p->o->common.json)
        tune_add_json(p, r);
    else
        tune_print_row(p, r);
}

static void tune_log_totals(const caps_runtime *rt, const caps_tune_totals *totals)
{
    if (totals->measured == 0 || !totals->saved) {
        caps_cli_log("%zu of %zu choices measured", totals->measured, totals->choices);
        return;
    }
    char *path = caps_tuning_path(rt);
    caps_cli_log("%zu of %zu choices measured and kept in %s", totals->measured, totals->choices,
        path ? path : "the cache");
    free(path);
}

static int tune_run(const caps_command *command, int argc, char **argv)
{
    options o = {.arch = "mnist", .batch = 100, .seconds = 60};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    caps_model_spec *spec = NULL;
    tune_report report = {.o = &o};
    caps_tune t = {.seconds = o.seconds,
        .batch = (size_t)o.batch,
        .is_stopped = tune_is_stopped,
        .progress = tune_progress,
        .result = tune_result,
        .speed = tune_speed,
        .not_saved = tune_not_saved,
        .user = &report};
    caps_tune_totals totals;
    CAPS_TRY(caps_model_spec_load(&spec, o.arch, &err));
    t.spec = spec;
    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    t.rt = rt;
    if (o.common.json)
        report.rows = json_array();
    tune_catch_signals();
    const double begun = caps_clock_seconds();
    caps_cli_log("running the network once, batch %llu ...", (unsigned long long)o.batch);
    const caps_model_options needed = caps_tune_model_options(&t);
    CAPS_TRY(caps_cli_explain_memory(caps_tune_run_network(&t, &err), rt, spec, &needed, &err));
    caps_cli_show_warnings(rt);
    t.seconds -= caps_clock_seconds() - begun;
    CAPS_TRY(caps_tune_measure(&t, &totals, &err));
    CAPS_TRY(caps_tune_measure_speed(&t, &totals, &err));
    if (o.common.json) {
        json_t *rows = report.rows;
        report.rows = NULL;
        CAPS_TRY(caps_cli_print_json(rows, &err));
    }
    tune_log_totals(rt, &totals);
    if (stopped)
        status = caps_fail(&err, CAPS_ERR_INTERRUPTED,
            "tune: stopped; the %zu choices that were measured are kept", totals.measured);
done:
    json_decref(report.rows);
    caps_cli_show_warnings(rt);
    caps_runtime_free(rt);
    caps_model_spec_free(spec);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_tune = {
    .name = "tune",
    .run = tune_run,
    .summary = "measure which variants are the fastest on a device, and remember them",
    .usage = "capscl tune [--device S] [--arch A] [--batch N] [--time T] [--json]",
    .about =
        "Runs a network once, then measures every choice that it needs (the algorithm of each\n"
        "matrix product; on GPUs CLBlast's parameters) and keeps the fastest, for this device and\n"
        "driver, in the cache. Later runs use what was measured; what was not is chosen by rule.\n"
        "Measuring again replaces it. Prints the choices and the medians. The speed of training "
        "is\n"
        "kept too: where several devices train together, it gives their shares.\n",
    .flags = flags,
    .notes = "Timings of a busy machine say little: tune while nothing else runs.\n"
             "Exit code 130: stopped by Ctrl-C or SIGTERM; what was measured is kept.\n",
};
