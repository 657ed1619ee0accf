/* cmd_report.c: one page about a run. */
#include <stdlib.h>

#include "cli_inspect.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "page.h"
#include "progress.h"
#include "repeat.h"

#define REPORT "report.html"

enum { BATCH = 100 };

typedef struct options {
    caps_common common;
    const char *data;
    uint64_t limit;
    caps_picture_flags pictures;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--data", options, data, "D",
        "where the data set is now (default: what the run was given)"),
    CAPS_ROW_COUNT("--limit", options, limit, 1, UINT32_MAX, "N",
        "evaluate on the first N images only (default: all of the test split, or of the\n"
        "images held out with --validation where there is no test split)"),
    CAPS_ROWS_PICTURES(options),
    CAPS_ROW_ARCH(options),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* The test split, or, where there is none, what the run held out. */
static caps_status open_images(
    caps_gallery *g, const caps_run_record *run, const options *o, caps_error *err)
{
    const char *data = o->data ? o->data : run->config.data;
    const size_t limit = (size_t)o->limit;
    caps_error why = {0};
    caps_status status = caps_gallery_open_data(g, data, CAPS_SUBSET_TEST, limit, &why);
    if (status == CAPS_ERR_NOT_FOUND &&
        caps_gallery_open_data(g, data, CAPS_SUBSET_VALIDATION, limit, NULL) == CAPS_OK) {
        caps_cli_log("report: %s has no test split: this is about the validation split", data);
        return CAPS_OK;
    }
    if (status != CAPS_OK)
        *err = why;
    return status;
}

/* The run's checkpoint and images, all classified. */
static caps_status open_gallery(caps_gallery *g, caps_runtime *rt, const caps_run_record *run,
    const options *o, const caps_args *args, caps_error *err)
{
    caps_status status;
    const caps_model_options model = {CAPS_OPTIONS(caps_model_options), .max_batch = BATCH,
        .reconstruct = caps_model_spec_info(run->config.spec)->has_decoder, .conv = o->common.conv};
    g->scale = 2;
    g->progress = caps_cli_gallery_progress;
    g->note = caps_cli_on_note;
    const caps_open_options how = caps_cli_open_options(o->common.arch, true);
    status = caps_gallery_open_model(g, rt, run->model, &model, &how, err);
    CAPS_TRY(caps_cli_explain_model(status, rt, run->model, &model, &how, err));
    caps_cli_choose_pictures(&g->pictures, &o->pictures, args, run->model,
        o->data ? o->data : run->config.data, g->spec);
    CAPS_TRY(open_images(g, run, o, err));
    CAPS_TRY(caps_gallery_evaluate(g, err));
done:
    caps_progress_clear();
    return status;
}

/* A page that was written, and what it says of the images. */
static json_t *report_row(const char *name, const char *path, const caps_gallery *g)
{
    const caps_evaluation *e = &g->evaluation;
    return json_pack("{s:o, s:o, s:s, s:I, s:I, s:o}", "run", caps_json_text(name), "file",
        caps_json_text(path), "split", g->subset_name, "n", (json_int_t)e->n, "errors",
        (json_int_t)e->errors, "error_percent", caps_json_double(e->error_percent));
}

/* rows: gets one more; NULL: not wanted. */
static caps_status report_one(caps_runtime **rt, const char *name, const options *o,
    const caps_args *args, json_t **rows, caps_error *err)
{
    caps_status status;
    caps_run_record run = {0};
    caps_gallery g = {0};
    caps_textbuf page = {0};
    char *path = NULL;
    uint64_t seed;
    if (caps_repeat_first(name, &seed))
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: holds repeated runs, need one of them (report %s/seed-%llu)", name, name,
            (unsigned long long)seed));
    CAPS_TRY(caps_run_record_read(&run, name, err));
    path = caps_path_join(run.path, REPORT);
    if (!path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "report: out of memory"));
    CAPS_TRY(caps_cli_check_apart(REPORT, path, run.model, err));
    CAPS_TRY(caps_file_check_own_output(path, err));
    if (!*rt)
        CAPS_TRY(caps_cli_open(rt, &o->common, false, err));
    CAPS_TRY(open_gallery(&g, *rt, &run, o, args, err));
    CAPS_TRY(caps_page_put(&page, &run, &g, err));
    CAPS_TRY(caps_file_write_own(path, page.text, page.used, err));
    caps_cli_log("report: %s", path);
    if (rows)
        caps_json_append(rows, report_row(name, path, &g));
done:
    caps_progress_clear();
    caps_textbuf_release(&page);
    caps_gallery_release(&g);
    caps_run_record_release(&run);
    free(path);
    return status;
}

static int report_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    json_t *rows = o.common.json ? json_array() : NULL;
    if (args.positional_count == 0) {
        status = caps_cli_usage(&err, "report: no run given, need its directory (report RUN)");
        goto done;
    }
    CAPS_TRY(caps_cli_check_pictures(&o.pictures, &err));
    for (size_t i = 0; i < args.positional_count; i++)
        CAPS_TRY(
            report_one(&rt, args.positional[i], &o, &args, o.common.json ? &rows : NULL, &err));
    if (o.common.json)
        CAPS_TRY(caps_cli_print_json(json_incref(rows), &err));
done:
    json_decref(rows);
    caps_cli_show_warnings(rt);
    caps_runtime_free(rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_report = {
    .name = "report",
    .run = report_run,
    .summary = "one HTML page about a run: curves, numbers, pictures, how to repeat it",
    .usage = "capscl report RUN... [--data D] [--limit N] [--device S] [flags]",
    .about =
        "Writes RUN/report.html: settings, device, curves of loss and error, throughput, the test\n"
        "error with its interval, confusion, the worst mistakes, all pictures of 'capscl show', "
        "and\n"
        "the command that repeats the run. The page is one file that needs no network. A run that\n"
        "is not finished gives a page that says so.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 the page cannot be written, 2 wrong usage, 3 no run there, a bad\n"
        "file in it, or no data, 4 device.\n"
        "\n"
        "examples:\n"
        "  capscl report run1\n"
        "  capscl report three/seed-*\n"
        "  capscl report run1 --data /mnt/mnist\n",
    .positional_max = SIZE_MAX,
};
