/* cmd_bench.c: benchmarks of a network's operations, as text, JSON or CSV. */
#include <stdlib.h>
#include <string.h>

#include <capscl/experimental.h>

#include "bench.h"
#include "cli.h"
#include "fail.h"
#include "json.h"
#include "progress.h"
#include "textbuf.h"

enum { DEFAULT_BATCH = 100 };

typedef struct options {
    caps_common common;
    const char *arch, *shape, *results;
    caps_counts batch;
    double seconds;
    bool csv, kernel_times;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_NAMED("--arch", TEXT, options, arch, caps_cli_arch, "A",
        "whose shapes to take: a JSON spec, or mnist (the paper's) or small\n(default: mnist)"),
    CAPS_ROW_COUNTS("--batch", options, batch, 1, 1000000, "N...",
        "images at once: numbers up to the next flag (default: forward 1 and\n"
        "100, all others 100)"),
    CAPS_ROW_TEXT("--shape", options, shape, "S",
        "gemm and conv: this shape in place of a network's: MxNxK, with :nt\n"
        "where B is transposed (:tn A, :tt both); or\n"
        "BxCxHxWxMxKERNELxSTRIDE, xPADDING behind it where there is one"),
    CAPS_ROW_REAL("--time", options, seconds, 0, 3600, "T",
        "measure each row for about T seconds (default: 1)"),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_SWITCH("--kernel-times", options, kernel_times,
        "time every kernel and print the sums to stderr at the end (slower)"),
    CAPS_ROW_JSON(options),
    CAPS_ROW_TEXT("--results", options, results, "DIR",
        "write what was measured, with device, driver, date and peaks, to\n"
        "DIR/<device>-<kernels>.json too"),
    CAPS_ROW_SWITCH("--csv", options, csv, "print comma-separated values"),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* ---- results -------------------------------------------------------------------------------- */

typedef struct bench_report {
    const options *o;
    const char *device;
    caps_bench_peak peak;
    bool begun;         /* the head is out */
    size_t parts, done; /* of the whole: the peaks, and each operation at each batch */
    bool out_of_memory;
    json_t *rows; /* NULL: not requested */
} bench_report;

static double bench_gflops(const caps_bench_row *r)
{
    return r->flops / r->seconds_median / 1e9;
}

static double bench_gbytes(const caps_bench_row *r)
{
    return r->bytes / r->seconds_median / 1e9;
}

/* Of whichever peak the row is nearer to: arithmetic or memory. */
static double bench_fraction(const bench_report *p, const caps_bench_row *r)
{
    const double arithmetic = bench_gflops(r) / p->peak.gflops;
    const double memory = bench_gbytes(r) / caps_bench_peak_memory(&p->peak,
                                                r->footprint > 0 ? r->footprint : r->bytes);
    return arithmetic > memory ? arithmetic : memory;
}

static void bench_add_json(bench_report *p, const caps_bench_row *r)
{
    json_t *row = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "operation", r->operation, "shape", r->shape, "variant", r->algorithm, "repeats",
        (json_int_t)r->repeats, "seconds_min", caps_json_double(r->seconds_min), "seconds_median",
        caps_json_double(r->seconds_median), "seconds_q1", caps_json_double(r->seconds_q1),
        "seconds_q3", caps_json_double(r->seconds_q3), "gflops", caps_json_double(bench_gflops(r)),
        "gbytes_per_s", caps_json_double(bench_gbytes(r)), "fraction_of_peak",
        caps_json_double(bench_fraction(p, r)), "device", caps_json_text(p->device));
    if (row && r->whole) {
        caps_json_set(&row, "batch", json_integer((json_int_t)r->batch));
        caps_json_set(
            &row, "images_per_second", caps_json_double((double)r->batch / r->seconds_median));
        caps_json_set(&row, "routing_grad", json_string(r->routing_grad));
        caps_json_set(&row, "conv", json_string(r->conv));
        caps_json_set(&row, "peak_device_bytes", json_integer((json_int_t)r->peak_device_bytes));
    }
    if (!row || json_array_append_new(p->rows, row) != 0)
        p->out_of_memory = true;
}

/* Text of a CSV field: quotes doubled. */
static void bench_print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void bench_print_csv(const bench_report *p, const caps_bench_row *r)
{
    printf("%s,", r->operation);
    bench_print_quoted(r->shape);
    printf(",%s,%zu,%.9g,%.9g,%.9g,%.9g,%.6g,%.6g,%.4f,", r->algorithm, r->repeats, r->seconds_min,
        r->seconds_median, r->seconds_q1, r->seconds_q3, bench_gflops(r), bench_gbytes(r),
        bench_fraction(p, r));
    bench_print_quoted(p->device);
    if (r->whole)
        printf(",%zu,%.6g,%s,%llu,\"%s\"\n", r->batch, (double)r->batch / r->seconds_median,
            r->routing_grad, (unsigned long long)r->peak_device_bytes, r->conv);
    else
        printf(",,,,,\n");
}

static void bench_print_row(const bench_report *p, const caps_bench_row *r)
{
    char bytes[32];
    /* The middle half of the measurements lies within so much of the median, taken evenly. */
    const double spread = 50 * (r->seconds_q3 - r->seconds_q1) / r->seconds_median;
    printf("%-8s %-56s %-12s %10.3f %5.1f %% %10.3f %9.1f %8.1f %6.1f %%", r->operation, r->shape,
        r->algorithm, 1e3 * r->seconds_median, spread, 1e3 * r->seconds_min, bench_gflops(r),
        bench_gbytes(r), 100 * bench_fraction(p, r));
    if (r->whole)
        printf("  %.1f images/s, %s, %s", (double)r->batch / r->seconds_median,
            caps_bytes_text(bytes, r->peak_device_bytes), r->conv);
    printf("\n");
    fflush(stdout);
}

static void bench_print_head(const bench_report *p)
{
    if (p->o->common.json)
        return;
    if (p->o->csv)
        printf("operation,shape,variant,repeats,seconds_min,seconds_median,seconds_q1,seconds_q3,"
               "gflops,gbytes_per_s,fraction_of_peak,device,batch,images_per_second,routing_grad,"
               "peak_device_bytes,conv\n");
    else
        printf("%-8s %-56s %-12s %10s %7s %10s %9s %8s %8s\n", "", "shape", "variant", "median ms",
            "spread", "min ms", "gflop/s", "GB/s", "of peak");
}

static void bench_progress(const bench_report *p, const char *what)
{
    char bar[32], left[32];
    const double fraction = (double)p->done / (double)p->parts;
    caps_progress_left(left, fraction);
    caps_progress_show("measuring %s %3.0f %%%s  %s", caps_progress_bar(bar, fraction),
        100 * fraction, left, what);
}

static void bench_on_row(void *user, const caps_bench_row *r)
{
    bench_report *p = user;
    caps_progress_clear();
    if (!p->begun)
        bench_print_head(p);
    p->begun = true;
    if (p->rows)
        bench_add_json(p, r);
    if (p->o->common.json) {
        bench_progress(p, r->operation);
        return;
    }
    if (p->o->csv)
        bench_print_csv(p, r);
    else
        bench_print_row(p, r);
    bench_progress(p, r->operation);
}

/* ---- running -------------------------------------------------------------------------------- */

/* What the command line names: operations, all of them, or neither, which is the whole network. */
enum { MOST_OPERATIONS = 32 };
typedef struct bench_choice {
    bool chosen[MOST_OPERATIONS]; /* by caps_bench_operation_at */
    size_t count;
    const caps_bench_operation *one; /* where there is just one */
    bool all;
} bench_choice;

static const char *bench_name(size_t i, const void *context)
{
    const caps_bench_operation *operation = caps_bench_operation_at(i);
    (void)context;
    if (operation)
        return operation->name;
    return i == 0 || caps_bench_operation_at(i - 1) ? "all" : NULL;
}

static caps_status bench_choose_one(bench_choice *choice, const char *name, caps_error *err)
{
    for (size_t i = 0; i < MOST_OPERATIONS && bench_name(i, NULL); i++)
        if (strcmp(name, bench_name(i, NULL)) == 0) {
            choice->one = caps_bench_operation_at(i);
            choice->all = choice->all || !choice->one;
            choice->count += choice->one && !choice->chosen[i];
            choice->chosen[i] = true;
            return CAPS_OK;
        }
    const char *near = caps_nearest(name, bench_name, NULL);
    return caps_cli_usage(err, "bench: unknown operation '%s'%s%s%s (see 'capscl bench --help')",
        name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static caps_status bench_choose(
    bench_choice *choice, const options *o, const caps_args *args, caps_error *err)
{
    caps_status status = CAPS_OK;
    *choice = (bench_choice){0};
    if (o->common.json && o->csv)
        return caps_cli_usage(err, "bench: --json and --csv exclude each other");
    for (size_t i = 0; i < args->positional_count; i++)
        CAPS_TRY(bench_choose_one(choice, args->positional[i], err));
    if (choice->count != 1 || choice->all)
        choice->one = NULL;
done:
    return status;
}

/* A shape of the user's is for the operations that have one of their own. */
static caps_status bench_choose_shape(caps_bench_shape *shape, const bench_choice *choice,
    const options *o, const caps_args *args, caps_error *err)
{
    if (!o->shape)
        return CAPS_OK;
    if (!choice->one || !choice->one->shaped)
        return caps_cli_usage(
            err, "bench: --shape needs the operation that it is for: gemm or conv");
    if (caps_args_given(args, "--batch") || caps_args_given(args, "--arch"))
        return caps_cli_usage(
            err, "bench: --shape takes the place of a network's: without --arch and --batch");
    return caps_bench_shape_parse(shape, o->shape, strcmp(choice->one->name, "conv") == 0, err);
}

/* Where memory is too small, it is --batch or the network that is too large. */
static caps_status bench_explain(caps_status status, const caps_bench_operation *operation,
    const caps_bench *b, const char *shape, caps_error *err)
{
    if (status != CAPS_ERR_DEVICE_MEMORY)
        return status;
    if (operation->whole) {
        const caps_model_options needed =
            caps_bench_model_options(b, strcmp(operation->name, "step") == 0);
        return caps_cli_explain_memory(status, b->rt, b->spec, &needed, err);
    }
    if (shape)
        return caps_fail_prefix(
            err, CAPS_ERR_ARGUMENT, "bench: %s: --shape %s is too large", operation->name, shape);
    if (b->batch > 1 && !operation->batchless)
        return caps_fail_prefix(err, CAPS_ERR_ARGUMENT, "bench: %s: --batch %zu is too large",
            operation->name, b->batch);
    return caps_fail_prefix(
        err, CAPS_ERR_SPEC, "bench: %s: the network is too large", operation->name);
}

/* The batches that were requested, or the operation's default ones; how many. */
static size_t bench_batches(
    const uint64_t **batches, const caps_bench_operation *operation, const options *o)
{
    static const uint64_t for_forward[] = {1, DEFAULT_BATCH}, for_others[] = {DEFAULT_BATCH};
    const bool forward = strcmp(operation->name, "forward") == 0;
    *batches = o->batch.count ? o->batch.values : forward ? for_forward : for_others;
    const size_t count = o->batch.count ? o->batch.count : forward ? 2 : 1;
    return operation->batchless || o->shape ? 1 : count;
}

/* One operation at all of them. */
static caps_status bench_run_one(const caps_bench_operation *operation, caps_bench *b,
    bench_report *p, const options *o, caps_error *err)
{
    const uint64_t *batches;
    const size_t count = bench_batches(&batches, operation, o);
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < count; i++) {
        b->batch = (size_t)batches[i];
        bench_progress(p, operation->name);
        CAPS_TRY(bench_explain(operation->run(b, err), operation, b, o->shape, err));
        p->done++;
    }
done:
    return status;
}

static bool bench_is_wanted(const bench_choice *choice, size_t i,
    const caps_bench_operation *operation, const caps_bench *b)
{
    if (choice->all)
        return operation->whole || caps_bench_operation_applies(operation, b->network);
    return choice->count > 0 ? choice->chosen[i] : operation->whole;
}

/* The device's peaks, then all that was chosen. */
static caps_status bench_run_all(
    caps_bench *b, bench_report *p, const bench_choice *choice, const options *o, caps_error *err)
{
    const caps_bench_operation *operation;
    const uint64_t *batches;
    caps_status status;
    p->parts = 1;
    for (size_t i = 0; (operation = caps_bench_operation_at(i)) != NULL; i++)
        if (bench_is_wanted(choice, i, operation, b))
            p->parts += bench_batches(&batches, operation, o);
    caps_cli_log("measuring the device's peaks ...");
    bench_progress(p, "peaks");
    CAPS_TRY(caps_bench_peak_measure(&p->peak, b->rt, o->seconds, err));
    caps_cli_log("peak: %.1f gflop/s; memory %.1f GB/s, small arrays %.1f GB/s", p->peak.gflops,
        p->peak.gbytes_per_s[p->peak.sizes - 1], caps_bench_peak_memory(&p->peak, 0));
    p->done = 1;
    caps_runtime_profile_reset(b->rt);
    for (size_t i = 0; (operation = caps_bench_operation_at(i)) != NULL; i++)
        if (bench_is_wanted(choice, i, operation, b))
            CAPS_TRY(bench_run_one(operation, b, p, o, err));
    caps_progress_clear();
    if (p->out_of_memory)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "bench: out of memory for the results"));
done:
    return status;
}

/* Every operation that was named is one of the network's. */
static caps_status bench_check_network(const bench_choice *choice,
    const caps_bench_network *network, const char *arch, caps_error *err)
{
    const caps_bench_operation *operation;
    for (size_t i = 0; !choice->all && (operation = caps_bench_operation_at(i)) != NULL; i++)
        if (choice->chosen[i] && !caps_bench_operation_applies(operation, network))
            return caps_cli_usage(
                err, "bench: no layer of %s has the operation %s", arch, operation->name);
    return CAPS_OK;
}

/* For the name of a file of results: "conv-squash"; "network" where nothing is named, "" for
 * all. */
static void bench_describe(char *text, size_t bytes, const bench_choice *choice)
{
    const caps_bench_operation *operation;
    size_t at = 0;
    snprintf(text, bytes, "%s", choice->all || choice->count > 0 ? "" : "network");
    for (size_t i = 0; !choice->all && (operation = caps_bench_operation_at(i)) != NULL; i++)
        if (choice->chosen[i] && at < bytes)
            at += (size_t)snprintf(text + at, bytes - at, "%s%s", at ? "-" : "", operation->name);
}

static int bench_run(const caps_command *command, int argc, char **argv)
{
    options o = {.seconds = 1};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    caps_model_spec *spec = NULL;
    static caps_bench_network network;
    bench_report p = {.o = &o};
    bench_choice choice;
    caps_bench_shape shape;
    char *path = NULL, what[256];
    CAPS_TRY(bench_choose(&choice, &o, &args, &err));
    CAPS_TRY(bench_choose_shape(&shape, &choice, &o, &args, &err));
    const char *arch = o.arch ? o.arch : "mnist";
    CAPS_TRY(caps_model_spec_load(&spec, arch, &err));
    CAPS_TRY(caps_bench_network_init(&network, spec, &err));
    CAPS_TRY(caps_cli_open(&rt, &o.common, o.kernel_times, &err));
    p.device = caps_runtime_device(rt)->name;
    bench_describe(what, sizeof what, &choice);
    if (o.results)
        CAPS_TRY(caps_bench_results_path(&path, o.results, rt, arch, what, &err));
    if ((o.common.json || o.results) && !(p.rows = json_array()))
        CAPS_TRY(caps_fail(&err, CAPS_ERR_MEMORY, "bench: out of memory for the results"));
    CAPS_TRY(bench_check_network(&choice, &network, arch, &err));
    caps_bench b = {.rt = rt,
        .spec = spec,
        .network = &network,
        .seconds = o.seconds,
        .conv = o.common.conv,
        .shape = o.shape ? &shape : NULL,
        .each = bench_on_row,
        .user = &p};
    CAPS_TRY(bench_run_all(&b, &p, &choice, &o, &err));
    if (o.results) {
        CAPS_TRY(caps_bench_results_write(path, rt, arch, &p.peak, p.rows, &err));
        caps_cli_log("results: %s", path);
    }
    if (o.common.json)
        CAPS_TRY(caps_cli_print_json(json_incref(p.rows), &err));
    if (o.kernel_times)
        CAPS_TRY(caps_cli_show_profile(rt, &err));
done:
    free(path);
    json_decref(p.rows);
    caps_cli_show_warnings(rt);
    caps_runtime_free(rt);
    caps_model_spec_free(spec);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_bench = {
    .name = "bench",
    .run = bench_run,
    .summary = "time operations, and the whole network, at a network's shapes",
    .usage =
        "capscl bench [gemm|conv|bias|linear|group|squash|votes|routing|losses|adam|sgd|forward|\n"
        "              step|all]... [flags]",
    .about =
        "Times operations, forward and backward, at the shapes that a network has; forward: the\n"
        "whole network; step: forward, backward and Adam. Without names: forward and step.\n"
        "A row for every algorithm that can serve, where there are several. \"spread\" is half of\n"
        "what the middle half of the measurements covers, as a share of their median.\n"
        "\"of peak\" compares with what kernels reach on this device that do nothing but multiply\n"
        "and add, or read or write as much memory: with whichever the row is nearer to.",
    .flags = flags,
    .notes = "Timings of a busy machine say little: compare within one run.\n",
    .positional_max = SIZE_MAX,
    .positional = bench_name,
};
