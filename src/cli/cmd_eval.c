/* cmd_eval.c: how well a checkpoint does on a data set. */
#include <stdlib.h>
#include <string.h>

#include "cli_inspect.h"
#include "csv.h"
#include "eval_report.h"
#include "eval_robust.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "looks.h"
#include "places.h"
#include "progress.h"
#include "textbuf.h"
#include "trace.h"

typedef struct options {
    caps_common common;
    caps_texts models, devices;
    const char *data, *predictions;
    uint64_t limit, batch;
    int split;
    caps_picture_flags pictures;
    const caps_args *args;
    caps_robust_options robust;
    caps_looks looks;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXTS("--model", options, models, "FILE",
        "the checkpoint, or a run directory for the one in it (required); of\n"
        "several, given one after the other, each is evaluated, and then their\n"
        "mean, spread and ensemble; so are the seeds of a run with --repeat"),
    CAPS_ROW_ARCH(options),
    CAPS_ROW_TEXT("--data", options, data, "D",
        "a data set (docs/data.md): a directory, a name looked for in $CAPSCL_DATA,\n"
        "$XDG_DATA_HOME/capscl and /usr/share/datasets, or multi:D (required)"),
    CAPS_ROW_SPLIT(options),
    CAPS_ROW_COUNT(
        "--limit", options, limit, 1, UINT32_MAX, "N", "the first N images only (default: all)"),
    CAPS_ROW_COUNT("--batch", options, batch, 1, 1000000, "N",
        "images at a time (default: 100, or fewer where memory is short)"),
    CAPS_ROW_TEXT("--predictions", options, predictions, "FILE.csv",
        "write a row for each image: index, true_label, label, and the\n"
        "length of every class capsule; of several models the ensemble's:\n"
        "the mean of their lengths, and the label that follows from it;\n"
        "last, of pictures in folders, the file it was read from;\n"
        "classes by number (\"classes\" of --json has their names)"),
    CAPS_ROWS_LOOKS(options),
    CAPS_ROWS_PICTURES(options),
    CAPS_ROWS_ROBUST(options),
    CAPS_ROW_DEVICES(options, "takes every n-th batch"),
    CAPS_ROW_CONV(options),
    CAPS_ROW_TRACE(options),
    CAPS_ROW_TRACE_EVENTS(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* ---- rows of the CSV file ------------------------------------------------------------------- */

/* What a run prints from, model by model. */
typedef struct report {
    const caps_dataset *ds;
    caps_textbuf rows;
    bool wants_rows;             /* --predictions */
    const caps_model_spec *spec; /* of the first model, a copy */
    const char *class_loss;      /* what its loss of the classes is called */
    size_t classes, labels, images;
    size_t errors;            /* so far, of this model */
    caps_ensemble *together;  /* of several models */
    caps_evaluation *results; /* [models] */
    double *percents;         /* [models] */
} report;

static void put_header(report *r)
{
    caps_textbuf_put(&r->rows, r->labels > 1 ? "index,true_label_1,true_label_2,label_1,label_2"
                                             : "index,true_label,label");
    for (size_t j = 0; j < r->classes; j++)
        caps_textbuf_put(&r->rows, ",length_%zu", j);
    caps_textbuf_put(&r->rows, "%s\n", caps_dataset_file(r->ds, 0) ? ",file" : "");
}

static void put_row(void *user, const caps_evaluated *image)
{
    report *r = user;
    if (!r->wants_rows)
        return;
    caps_textbuf_put(&r->rows, "%zu", image->index);
    for (size_t t = 0; t < r->labels; t++)
        caps_textbuf_put(&r->rows, ",%d", (int)image->true_label[t]);
    for (size_t t = 0; t < r->labels; t++)
        caps_textbuf_put(&r->rows, ",%d", (int)image->label[t]);
    for (size_t j = 0; j < r->classes; j++)
        caps_textbuf_put(&r->rows, ",%.9g", (double)image->lengths[j]);
    if (caps_dataset_file(r->ds, image->index)) {
        caps_textbuf_put(&r->rows, ",");
        caps_csv_put(&r->rows, caps_dataset_file(r->ds, image->index));
    }
    caps_textbuf_put(&r->rows, "\n");
}

static void eval_on_image(void *user, const caps_evaluated *image)
{
    report *r = user;
    r->errors += !image->right;
    if (r->together)
        caps_ensemble_add(r->together, image);
    else
        put_row(r, image);
    caps_cli_error_progress(
        (double)(image->index + 1) / (double)r->images, NULL, r->errors, image->index + 1);
}

/* ---- several models ------------------------------------------------------------------------- */

static void print_several(const options *o, const report *r, const caps_evaluation *together)
{
    const size_t models = o->models.count;
    char interval[48];
    double mean, sd;
    for (size_t m = 0; m < models; m++) {
        const caps_evaluation *one = &r->results[m];
        printf("%s: %s error %.2f %% (%zu of %zu %s; 95 %% interval %s",
            caps_cli_shown(o->models.values[m]), caps_cli_splits[o->split], one->error_percent,
            one->errors, one->n, caps_images_name(one->labels),
            caps_interval_text(interval, one->errors, one->n));
        if (one->labels > 1)
            printf("; of single digits %.2f %%, %s", one->label_error_percent,
                caps_interval_text(interval, one->label_errors, one->n * one->labels));
        printf(")\n");
    }
    caps_mean_sd(r->percents, models, &mean, &sd);
    printf("mean of %zu models: %.3f %%, standard deviation %.3f %%\n", models, mean, sd);
    printf("ensemble (mean of their %s): %.2f %% (%zu of %zu %s; 95 %% interval %s)\n",
        caps_model_spec_info(r->spec)->scores, together->error_percent, together->errors,
        together->n, caps_images_name(together->labels),
        caps_interval_text(interval, together->errors, together->n));
    if (together->labels > 1)
        printf("of single digits: %.2f %% (%zu of %zu; 95 %% interval %s)\n",
            together->label_error_percent, together->label_errors, together->n * together->labels,
            caps_interval_text(interval, together->label_errors, together->n * together->labels));
    caps_confusion_print(r->spec, together);
}

static caps_status print_several_json(const caps_runtime *rt, const options *o, const report *r,
    const caps_evaluation *together, caps_error *err)
{
    double mean, sd;
    json_t *models = json_array();
    for (size_t m = 0; m < o->models.count; m++) {
        json_t *one = caps_eval_json(&r->results[m]);
        caps_json_set(&one, "model", caps_json_text(o->models.values[m]));
        caps_json_append(&models, one);
    }
    caps_mean_sd(r->percents, o->models.count, &mean, &sd);
    return caps_cli_print_json(
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "models", models, "classes",
            caps_eval_classes_json(r->spec), "mean_error_percent", caps_json_double(mean),
            "sd_error_percent", caps_json_double(sd), "ensemble", caps_eval_short_json(together),
            "device", caps_json_text(caps_runtime_device(rt)->name)),
        err);
}

static caps_status print_one(
    const caps_runtime *rt, const options *o, const report *r, caps_error *err)
{
    if (!o->common.json) {
        caps_eval_print(caps_cli_splits[o->split], r->spec, r->class_loss, &r->results[0]);
        return CAPS_OK;
    }
    json_t *one = caps_eval_json(&r->results[0]);
    caps_json_set(&one, "classes", caps_eval_classes_json(r->spec));
    caps_json_set(&one, "device", caps_json_text(caps_runtime_device(rt)->name));
    return caps_cli_print_json(one, err);
}

/* ---- one after the other -------------------------------------------------------------------- */

/* Model m on all devices into model[devices], and the data with the first; the same data for all of
 * them. first: the spec of the first model, a copy that this makes. */
static caps_status open_one(const caps_opened *opened, const options *o, size_t m, bool reconstruct,
    caps_model **model, caps_dataset *ds, caps_model_spec **first, caps_error *err)
{
    caps_runtime *rt = opened->rts[0];
    caps_model_options model_options = {
        CAPS_OPTIONS(caps_model_options), .reconstruct = reconstruct, .conv = o->common.conv};
    const char *name = o->models.values[m];
    caps_status status;
    caps_trace_begin(rt, "load model");
    status = CAPS_OK;
    for (size_t k = 0; k < opened->n && status == CAPS_OK; k++)
        status = caps_cli_model_open(
            &model[k], opened->rts[k], name, o->common.arch, &model_options, o->batch, 100, err);
    caps_trace_end(rt);
    CAPS_TRY(status);
    const caps_model_spec *spec = caps_model_get_spec(model[0]);
    if (m == 0) {
        CAPS_TRY(caps_model_spec_copy(first, spec, err));
        caps_trace_begin(rt, "load data");
        caps_subset_pictures pictures;
        caps_cli_choose_pictures(&pictures, &o->pictures, o->args, name, o->data, spec);
        status =
            caps_cli_data_open(ds, o->data, o->split, name, (size_t)o->limit, &pictures, spec, err);
        caps_trace_end(rt);
        CAPS_TRY(status);
    } else if (!caps_data_is_shared(spec, *first)) {
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: takes other images or has other classes than %s, need models of the same data",
            name, o->models.values[0]));
    }
    if (m > 0)
        caps_cli_note_other_pictures(o->models.values[0], name, o->data, spec);
    if (m > 0 && o->split == CAPS_SUBSET_VALIDATION)
        CAPS_TRY(caps_subset_check_same(o->data, o->models.values[0], name, err));
    caps_cli_detail("%s: %zu images of %s, %zu at a time", name, ds->n, ds->path,
        caps_model_get_max_batch(model[0]));
done:
    return status;
}

/* Before the first of several models. */
static caps_status begin_report(
    report *r, const options *o, const caps_model_spec *first, size_t images, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(first);
    r->spec = first;
    r->classes = info->classes;
    r->labels = info->labels;
    r->images = images;
    if (r->wants_rows)
        put_header(r);
    return o->models.count > 1 ? caps_ensemble_create(&r->together, images, first, err) : CAPS_OK;
}

/* All results are there: rows of the ensemble, the file, and what is printed. */
static caps_status finish_report(
    report *r, const caps_runtime *rt, const options *o, caps_error *err)
{
    caps_evaluation together = {0};
    caps_status status = CAPS_OK;
    if (r->together)
        CAPS_TRY(caps_ensemble_evaluate(r->together, put_row, r, &together, err));
    if (r->rows.out_of_memory)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "%s: out of memory for %zu rows", o->predictions, r->images));
    if (o->predictions)
        CAPS_TRY(caps_file_write(o->predictions, r->rows.text, r->rows.used, err));
    if (r->together && o->common.json)
        CAPS_TRY(print_several_json(rt, o, r, &together, err));
    else if (r->together)
        print_several(o, r, &together);
    else
        CAPS_TRY(print_one(rt, o, r, err));
done:
    caps_evaluation_release(&together);
    return status;
}

static void free_models(caps_model **models, size_t n)
{
    for (size_t k = 0; models && k < n; k++) {
        caps_model_free(models[k]);
        models[k] = NULL;
    }
}

static bool offsets_progress(void *user, size_t done, size_t total)
{
    char bar[32], left[32];
    const double fraction = (double)done / (double)total;
    (void)user;
    if (caps_progress_due())
        caps_progress_show("evaluating %s %3.0f %%%s", caps_progress_bar(bar, fraction),
            100 * fraction, caps_progress_left(left, fraction));
    return false;
}

/* What --crops and --shifts request. */
static caps_status take_looks(
    options *o, const caps_dataset *ds, caps_evaluate_options *each, caps_error *err)
{
    const caps_status status = caps_looks_take(&o->looks, o->args, ds, err);
    if (status != CAPS_OK || o->looks.count == 0)
        return status;
    each->offsets = o->looks.offsets;
    each->offsets_count = o->looks.count;
    each->progress = (caps_inspect_progress){offsets_progress, NULL};
    return CAPS_OK;
}

static caps_status evaluate_all(
    const caps_opened *opened, options *o, caps_dataset *ds, caps_error *err)
{
    const size_t count = o->models.count;
    report r = {.ds = ds, .wants_rows = o->predictions != NULL};
    caps_model **model = calloc(opened->n, sizeof *model); /* on each device */
    caps_model_spec *first = NULL;
    caps_status status = CAPS_OK;
    size_t done = 0;
    r.results = calloc(count, sizeof *r.results);
    r.percents = calloc(count, sizeof *r.percents);
    if (!model || !r.results || !r.percents)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "eval: out of memory"));
    caps_evaluate_options each = {CAPS_OPTIONS(caps_evaluate_options), .each = eval_on_image,
        .each_user = &r, .others = model + 1, .others_count = opened->n - 1};
    for (; done < count; done++) {
        CAPS_TRY(open_one(opened, o, done, true, model, ds, &first, err));
        if (done == 0) {
            r.class_loss = caps_loss_name(first, caps_model_get_loss(model[0]));
            CAPS_TRY(begin_report(&r, o, first, ds->n, err));
            CAPS_TRY(take_looks(o, ds, &each, err));
        }
        r.errors = 0;
        CAPS_TRY(caps_evaluate(model[0], ds, &each, &r.results[done], err));
        caps_progress_clear();
        r.percents[done] = r.results[done].error_percent;
        free_models(model, opened->n);
    }
    CAPS_TRY(finish_report(&r, opened->rts[0], o, err));
done:
    free_models(model, opened->n);
    free(model);
    caps_model_spec_free(first);
    caps_ensemble_free(r.together);
    for (size_t m = 0; m < done; m++)
        caps_evaluation_release(&r.results[m]);
    free(r.results);
    free(r.percents);
    caps_textbuf_release(&r.rows);
    return status;
}

/* On changed images: all models at once. */
static caps_status evaluate_changed(
    const caps_opened *opened, const options *o, caps_dataset *ds, caps_error *err)
{
    const size_t count = o->models.count, n = opened->n;
    caps_model **all = calloc(count * n, sizeof *all); /* [models, devices] */
    caps_model **models = calloc(count, sizeof *models), **others = calloc(count * n, sizeof *all);
    caps_model_spec *first = NULL;
    caps_status status = CAPS_OK;
    if (!all || !models || !others)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "eval: out of memory"));
    for (size_t m = 0; m < count; m++) {
        CAPS_TRY(open_one(opened, o, m, false, all + m * n, ds, &first, err));
        models[m] = all[m * n];
        memcpy(others + m * (n - 1), all + m * n + 1, (n - 1) * sizeof *all);
    }
    CAPS_TRY(caps_eval_robust(
        models, others, n - 1, o->models.values, count, ds, &o->robust, o->common.json, err));
done:
    free_models(all, count * n);
    free(all);
    free(models);
    free(others);
    caps_model_spec_free(first);
    return status;
}

static caps_status eval_check_usage(options *o, const caps_args *args, caps_error *err)
{
    caps_status status;
    if (!o->models.count || !o->data)
        return caps_cli_usage(err, "eval: %s is missing, need eval --model FILE --data D",
            o->models.count ? "--data" : "--model");
    CAPS_TRY(caps_cli_check_pictures(&o->pictures, err));
    CAPS_TRY(caps_robust_check(&o->robust, args, err));
    o->robust.conv = o->common.conv;
    if (o->predictions && (o->robust.transforms || o->robust.attacks))
        return caps_cli_usage(err,
            "eval: --predictions is for the images as they are, need no --transform and no "
            "--attack beside it");
    const char *looks;
    CAPS_TRY(caps_looks_given(&looks, args, "eval", err));
    if (looks && (o->robust.transforms || o->robust.attacks))
        return caps_cli_usage(err,
            "eval: %s is for the images as they are, need no --transform and no --attack beside it",
            looks);
    for (size_t m = 0; m < o->models.count; m++) {
        CAPS_TRY(caps_cli_check_apart("--predictions", o->predictions, o->models.values[m], err));
        CAPS_TRY(caps_cli_check_apart("--trace", o->common.trace, o->models.values[m], err));
    }
    CAPS_TRY(caps_cli_check_apart("--trace", o->common.trace, o->predictions, err));
    CAPS_TRY(caps_cli_check_data_apart("--predictions", o->predictions, o->data, err));
    CAPS_TRY(caps_cli_check_data_apart("--trace", o->common.trace, o->data, err));
    if (o->predictions)
        CAPS_TRY(caps_file_check_output(o->predictions, err));
    CAPS_TRY(caps_cli_check_trace(&o->common, err));
done:
    return status;
}

static int eval_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_opened opened = {0};
    caps_dataset ds = {0};

    o.args = &args;
    CAPS_TRY(caps_place_models(&args, &o.models, &err));
    CAPS_TRY(eval_check_usage(&o, &args, &err));
    CAPS_TRY(caps_cli_open_several(&opened, &o.devices, &o.common, false, &err));
    if (o.robust.transforms || o.robust.attacks)
        CAPS_TRY(evaluate_changed(&opened, &o, &ds, &err));
    else
        CAPS_TRY(evaluate_all(&opened, &o, &ds, &err));
    if (o.predictions)
        caps_cli_log("predictions: %s", o.predictions);
done:
    caps_progress_clear();
    status = caps_cli_end_trace(opened.n ? opened.rts[0] : NULL, status, &err);
    for (size_t i = 0; i < opened.n; i++)
        caps_cli_show_warnings(opened.rts[i]);
    caps_dataset_release(&ds);
    caps_cli_close(&opened);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_eval = {
    .name = "eval",
    .run = eval_run,
    .summary = "error, losses and confusion of a checkpoint on a data set",
    .usage = "capscl eval --model FILE... --data D [--split S] [--limit N] [flags]",
    .about =
        "Runs every image of the split through the network and prints the error with its 95 %\n"
        "interval (Wilson), the mean margin loss, the mean squared reconstruction error of an\n"
        "image (summed over its pixels; the decoder sees the longest capsule) and the confusion\n"
        "matrix. Of several models: each one's error, their mean and standard deviation, and the\n"
        "error of the ensemble, which adds up their lengths. A pair of digits is an error unless\n"
        "both are found; the error of single digits stands beside it.\n",
    .flags = flags,
    .notes =
        "--split validation needs a folder val/ in the data, or else config.json of the run\n"
        "beside the model: it names the images that the run held out.\n"
        "\n"
        "exit codes: 0 done, 1 an output cannot be written, 2 wrong usage, 3 bad data or model,\n"
        "4 device.\n"
        "\n"
        "examples:\n"
        "  capscl eval --model run1/model.safetensors --data fashion-mnist\n"
        "  capscl eval --model run1/model.safetensors --data mnist --predictions out.csv --json\n"
        "  capscl eval --model runs/seed-*/model.safetensors --data mnist\n",
};
