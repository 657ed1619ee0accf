/* cmd_selftest.c: every operation on a device against the reference in double. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "colour.h"
#include "fail.h"
#include "json.h"
#include "progress.h"
#include "selftest.h"
#include "trust.h"

typedef struct options {
    caps_common common;
    bool small;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_SWITCH("--small", options, small, "tiny shapes only, for simulators"),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* What is gathered while the cases run. */
typedef struct gathering {
    const caps_runtime *rt;
    bool json, verbose;
    json_t *rows; /* NULL where there is no --json, or no memory for it */
    size_t all, passed;
    const char *operation; /* of the line that is being summed up */
    size_t cases, good;
    double worst; /* error over tolerance */
} gathering;

static void summarise(gathering *g)
{
    if (g->operation && !g->json && !g->verbose) {
        caps_progress_clear();
        printf("%-13s  by %-10s %2zu of %2zu passed, worst at %5.1f %% of its tolerance\n",
            g->operation, caps_selftest_used(g->rt, g->operation), g->good, g->cases,
            100 * g->worst);
        fflush(stdout);
    }
    g->cases = g->good = 0;
    g->worst = 0;
}

static void on_result(void *user, const caps_selftest_result *r)
{
    gathering *g = user;
    char bar[32], left[32];
    if (caps_progress_due())
        caps_progress_show("testing %s %3.0f %%%s  %s", caps_progress_bar(bar, r->done),
            100 * r->done, caps_progress_left(left, r->done), r->operation);
    g->all++;
    g->passed += r->passed;
    if (g->json) {
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "operation", r->operation,
            "shape", r->shape, "direction", r->direction, "variant", r->algorithm, "error",
            caps_json_double(r->error), "tolerance", caps_json_double(r->tolerance), "passed",
            r->passed);
        caps_json_append(&g->rows, row);
        return;
    }
    if (!g->operation || strcmp(g->operation, r->operation) != 0) {
        summarise(g);
        g->operation = r->operation;
    }
    g->cases++;
    g->good += r->passed;
    if (r->error / r->tolerance > g->worst)
        g->worst = r->error / r->tolerance;
    if (!g->verbose && r->passed)
        return;
    caps_progress_clear();
    printf("%s%-4s%s  %-9s %-8s %-13s %-46s error %8.2e, need <= %.0e\n",
        caps_colour(stdout, r->passed ? CAPS_TINT_GOOD : CAPS_TINT_BAD), r->passed ? "ok" : "FAIL",
        caps_colour_end(stdout), r->operation, r->direction, r->algorithm, r->shape, r->error,
        r->tolerance);
}

/* What was set aside when the device was checked: its cases are not run. */
static void show_refused(gathering *g)
{
    const caps_verdict *list;
    const size_t n = caps_runtime_verdicts(g->rt, &list);
    for (size_t i = 0; i < n; i++) {
        const caps_verdict *v = &list[i];
        const size_t chooser = strcspn(v->variant, " ");
        if (v->passed)
            continue;
        if (!g->json) {
            printf("refused: %s: %s\n", v->variant, v->why);
            continue;
        }
        char variant[CAPS_TRUST_VARIANT + 8];
        snprintf(variant, sizeof variant, "%s/%s", caps_family_name(caps_runtime_family(g->rt)),
            v->variant + chooser + (v->variant[chooser] == ' '));
        caps_json_append(&g->rows,
            json_pack("{s:o, s:s, s:s, s:s, s:o, s:o, s:b, s:o}", "operation",
                json_stringn(v->variant, chooser), "shape", "", "direction", "", "variant", variant,
                "error", caps_json_double(v->error), "tolerance", caps_json_double(v->tolerance),
                "passed", 0, "refused", caps_json_text(v->why)));
    }
}

static const char *operation_name(size_t i, const void *context)
{
    (void)context;
    return caps_selftest_operation_at(i);
}

static caps_status check_names(const caps_args *args, caps_error *err)
{
    for (size_t i = 0; i < args->positional_count; i++) {
        const char *name = args->positional[i], *operation;
        bool known = false;
        for (size_t k = 0; !known && (operation = caps_selftest_operation_at(k)) != NULL; k++)
            known = strcmp(name, operation) == 0;
        if (known)
            continue;
        char all[256] = "";
        for (size_t k = 0, at = 0; (operation = caps_selftest_operation_at(k)) && at < sizeof all;
             k++)
            at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", k ? ", " : "", operation);
        const char *near = caps_nearest(name, operation_name, NULL);
        return caps_cli_usage(err, "selftest: unknown operation '%s'%s%s%s; there are %s", name,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "", all);
    }
    return CAPS_OK;
}

static int selftest_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    gathering g = {.json = o.common.json, .verbose = o.common.verbose};
    if (g.json)
        g.rows = json_array();
    CAPS_TRY(check_names(&args, &err));
    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    g.rt = rt;
    caps_trust_complete(rt);
    caps_cli_show_warnings(rt);
    CAPS_TRY(caps_selftest_run(
        rt, o.small, args.positional, args.positional_count, on_result, &g, &err));
    caps_progress_clear();
    summarise(&g);
    show_refused(&g);
    if (g.json) {
        json_t *rows = g.rows;
        g.rows = NULL;
        CAPS_TRY(caps_cli_print_json(rows, &err));
    } else {
        printf("%zu of %zu passed on %s (%s kernels)\n", g.passed, g.all,
            caps_runtime_device(rt)->name, caps_family_name(caps_runtime_family(rt)));
    }
    if (g.passed != g.all)
        status =
            caps_fail(&err, CAPS_ERR_INTERNAL, "selftest: %zu of %zu cases failed on %s, need none",
                g.all - g.passed, g.all, caps_runtime_device(rt)->name);
done:
    caps_progress_clear();
    json_decref(g.rows);
    caps_cli_show_warnings(rt);
    caps_runtime_free(rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_selftest = {
    .name = "selftest",
    .run = selftest_run,
    .summary = "check every operation on a device against a reference in double",
    .usage = "capscl selftest [OPERATION...] [--device S] [--small] [--json]",
    .about =
        "Runs every operation, or those that are named, forward and backward, on small random\n"
        "inputs, and compares with the plain C reference in double precision. The error is\n"
        "relative, in norm. Behind each operation stands what the paper's network takes for it;\n"
        "at the end what this device was found to compute wrongly, and is not used.\n",
    .flags = flags,
    .notes = "Exit code 1: a case failed. 4: nothing is left that computes some operation.\n",
    .positional_max = SIZE_MAX,
    .positional = operation_name,
};
