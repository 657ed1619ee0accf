/* cmd_eval.c: how well a checkpoint does on a data set. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "eval_report.h"
#include "eval_robust.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "progress.h"
#include "statistics.h"
#include "trace.h"

typedef struct options {
    caps_common common;
    caps_texts models;
    const char *data, *predictions;
    uint64_t limit, batch;
    int split;
    caps_robust_options robust;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXTS("--model", options, models, "FILE",
        "the checkpoint (required); of several, given one after the other, each\n"
        "is evaluated, and then their mean, spread and ensemble"),
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
        "classes by number (\"classes\" of --json has their names)"),
    CAPS_ROWS_ROBUST(options),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_TRACE(options),
    CAPS_ROW_TRACE_EVENTS(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* ---- rows of the CSV file ------------------------------------------------------------------- */

typedef struct watcher {
    bool keep; /* rows are wanted */
    bool out_of_memory;
    char *text;
    size_t used, size;
    size_t classes, labels, images, errors;
    bool several; /* rows are the ensemble's */
    double *sums; /* NULL, or of the ensemble */
    int32_t *truth;
} watcher;

static void put(watcher *w, const char *format, ...) CAPS_PRINTF(2, 3);

static void put(watcher *w, const char *format, ...)
{
    char piece[64];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (w->used + (size_t)n > w->size) {
        size_t size = 2 * w->size + sizeof piece;
        char *more = realloc(w->text, size);
        if (!more) {
            w->out_of_memory = true;
            return;
        }
        w->text = more;
        w->size = size;
    }
    memcpy(w->text + w->used, piece, (size_t)n);
    w->used += (size_t)n;
}

static void put_header(watcher *w)
{
    put(w, w->labels > 1 ? "index,true_label_1,true_label_2,label_1,label_2"
                         : "index,true_label,label");
    for (size_t j = 0; j < w->classes; j++)
        put(w, ",length_%zu", j);
    put(w, "\n");
}

static void put_row(watcher *w, const caps_evaluated *image)
{
    if (w->out_of_memory)
        return;
    put(w, "%zu", image->index);
    for (size_t t = 0; t < w->labels; t++)
        put(w, ",%d", (int)image->true_label[t]);
    for (size_t t = 0; t < w->labels; t++)
        put(w, ",%d", (int)image->label[t]);
    for (size_t j = 0; j < w->classes; j++)
        put(w, ",%.9g", (double)image->lengths[j]);
    put(w, "\n");
}

static void on_image(void *user, const caps_evaluated *image)
{
    watcher *w = user;
    w->errors += !image->right;
    if (w->keep && !w->several)
        put_row(w, image);
    for (size_t j = 0; w->sums && j < w->classes; j++)
        w->sums[image->index * w->classes + j] += (double)image->lengths[j];
    for (size_t t = 0; w->truth && t < w->labels; t++)
        w->truth[image->index * w->labels + t] = image->true_label[t];
    if (caps_progress_due()) {
        char bar[32];
        double fraction = (double)(image->index + 1) / (double)w->images;
        caps_progress_show("evaluating %s %3.0f %%  error %.2f %%",
            caps_progress_bar(bar, fraction), 100 * fraction,
            100 * (double)w->errors / (double)(image->index + 1));
    }
}

/* ---- several models ------------------------------------------------------------------------- */

/* The mean of the models' lengths (probabilities of CNNs), image by image. */
typedef struct ensemble {
    size_t n, classes, labels;
    double *sums;     /* [n, classes] */
    int32_t *truth;   /* [n, labels] */
    double *percents; /* [models] */
    caps_evaluation *results;
    size_t models; /* that were evaluated */
} ensemble;

static caps_status ensemble_init(
    ensemble *e, size_t n, size_t models, const caps_model_spec *spec, caps_error *err)
{
    e->n = n;
    e->classes = spec->classes;
    e->labels = spec->labels;
    e->sums = calloc(n * e->classes, sizeof *e->sums);
    e->truth = calloc(n * e->labels, sizeof *e->truth);
    return e->sums && e->truth ? CAPS_OK
                               : caps_fail(err, CAPS_ERR_MEMORY,
                                     "eval: out of memory for the ensemble of %zu models", models);
}

static void ensemble_release(ensemble *e)
{
    for (size_t m = 0; e->results && m < e->models; m++)
        caps_evaluation_release(&e->results[m]);
    free(e->results);
    free(e->sums);
    free(e->truth);
    free(e->percents);
    *e = (ensemble){0};
}

/* The L largest sums of an image, those that are right where the true labels stand; gives how many
 * are not. */
static size_t ensemble_label(const ensemble *e, size_t i, int32_t *label)
{
    const double *sums = e->sums + i * e->classes;
    const int32_t *truth = e->truth + i * e->labels;
    size_t wrong = 0;
    for (size_t t = 0; t < e->labels; t++) {
        label[t] = -1;
        for (size_t j = 0; j < e->classes; j++) {
            bool taken = false;
            for (size_t k = 0; k < t; k++)
                taken = taken || label[k] == (int32_t)j;
            if (!taken && (label[t] < 0 || sums[j] > sums[label[t]]))
                label[t] = (int32_t)j;
        }
    }
    if (e->labels == 2 && label[0] != truth[0] && (label[0] == truth[1] || label[1] == truth[0])) {
        const int32_t first = label[0];
        label[0] = label[1];
        label[1] = first;
    }
    for (size_t t = 0; t < e->labels; t++)
        wrong += label[t] != truth[t];
    return wrong;
}

static caps_status ensemble_evaluate(
    const ensemble *e, caps_evaluation *result, watcher *w, caps_error *err)
{
    *result = (caps_evaluation){.n = e->n, .classes = e->classes, .labels = e->labels};
    result->confusion = calloc(e->classes * e->classes, sizeof *result->confusion);
    float *lengths = malloc(e->classes * sizeof *lengths);
    if (!result->confusion || !lengths) {
        free(lengths);
        return caps_fail(err, CAPS_ERR_MEMORY, "eval: out of memory");
    }
    for (size_t i = 0; i < e->n; i++) {
        int32_t label[CAPS_MAX_LABELS];
        const int32_t *truth = e->truth + i * e->labels;
        const size_t wrong = ensemble_label(e, i, label);
        result->errors += wrong > 0;
        result->label_errors += wrong;
        for (size_t t = 0; t < e->labels; t++)
            result->confusion[(size_t)truth[t] * e->classes + (size_t)label[t]]++;
        for (size_t j = 0; j < e->classes; j++)
            lengths[j] = (float)(e->sums[i * e->classes + j] / (double)e->models);
        if (w->keep)
            put_row(w, &(caps_evaluated){i, label, truth, wrong == 0, lengths, NAN});
    }
    result->error_percent = 100 * (double)result->errors / (double)e->n;
    result->label_error_percent = 100 * (double)result->label_errors / (double)(e->n * e->labels);
    free(lengths);
    return CAPS_OK;
}

static void print_several(const options *o, const caps_model_spec *spec, const ensemble *e,
    const caps_evaluation *together)
{
    char interval[48];
    double mean, sd;
    for (size_t m = 0; m < e->models; m++) {
        const caps_evaluation *one = &e->results[m];
        printf("%s: %s error %.2f %% (%zu of %zu %s; 95 %% interval %s", o->models.values[m],
            caps_cli_splits[o->split], one->error_percent, one->errors, e->n,
            caps_images_name(one->labels), caps_interval_text(interval, one->errors, e->n));
        if (one->labels > 1)
            printf("; of single digits %.2f %%, %s", one->label_error_percent,
                caps_interval_text(interval, one->label_errors, e->n * one->labels));
        printf(")\n");
    }
    caps_mean_sd(e->percents, e->models, &mean, &sd);
    printf("mean of %zu models: %.3f %%, standard deviation %.3f %%\n", e->models, mean, sd);
    printf("ensemble (mean of their %s): %.2f %% (%zu of %zu %s; 95 %% interval %s)\n",
        strcmp(spec->kind, "cnn") == 0 ? "probabilities" : "lengths", together->error_percent,
        together->errors, together->n, caps_images_name(together->labels),
        caps_interval_text(interval, together->errors, together->n));
    if (together->labels > 1)
        printf("of single digits: %.2f %% (%zu of %zu; 95 %% interval %s)\n",
            together->label_error_percent, together->label_errors, together->n * together->labels,
            caps_interval_text(interval, together->label_errors, together->n * together->labels));
    caps_confusion_print(spec, together);
}

static caps_status print_several_json(caps_runtime *rt, const options *o,
    const caps_model_spec *spec, const ensemble *e, const caps_evaluation *together,
    caps_error *err)
{
    double mean, sd;
    json_t *models = json_array();
    for (size_t m = 0; m < e->models; m++) {
        json_t *one = caps_eval_json(&e->results[m]);
        json_object_set_new(one, "model", caps_json_text(o->models.values[m]));
        json_array_append_new(models, one);
    }
    caps_mean_sd(e->percents, e->models, &mean, &sd);
    return caps_cli_print_json(
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "models", models, "classes",
            caps_eval_classes_json(spec), "mean_error_percent", caps_json_double(mean),
            "sd_error_percent", caps_json_double(sd), "ensemble", caps_eval_short_json(together),
            "device", caps_json_text(caps_runtime_device(rt)->name)),
        err);
}

/* ---- one after the other -------------------------------------------------------------------- */

/* The runs of both models must have kept the same images apart. */
static caps_status check_same_kept(const char *first, const char *model, caps_error *err)
{
    caps_train_config a, b;
    caps_status status;
    CAPS_TRY(caps_cli_validation_config(&a, NULL, first, err));
    CAPS_TRY(caps_cli_validation_config(&b, NULL, model, err));
    if (a.validation != b.validation || a.seed != b.seed || a.limit != b.limit)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run kept other images apart than that of %s, need the same --validation and "
            "--seed",
            model, first));
done:
    return status;
}

/* A model, and the data with the first; the same data for all of them. */
static caps_status open_one(caps_runtime *rt, const options *o, size_t m, bool reconstruct,
    caps_model **model, caps_dataset *ds, const caps_model_spec *first, caps_error *err)
{
    size_t batch = o->batch ? (size_t)o->batch : 100;
    const caps_model_options model_options = {
        .max_batch = batch, .reconstruct = reconstruct, .conv = o->common.conv};
    const char *name = o->models.values[m];
    caps_status status;
    caps_trace_begin(rt, "load model");
    status = caps_cli_model_load(model, rt, name, &model_options, o->batch ? NULL : &batch, err);
    caps_trace_end(rt);
    CAPS_TRY(status);
    const caps_model_spec *spec = caps_model_get_spec(*model);
    if (m == 0) {
        caps_trace_begin(rt, "load data");
        status = caps_cli_data_open(ds, o->data, o->split, name, (size_t)o->limit, spec, err);
        caps_trace_end(rt);
        CAPS_TRY(status);
    } else if (memcmp(spec->input, first->input, sizeof spec->input) != 0 ||
               memcmp(spec->source, first->source, sizeof spec->source) != 0 ||
               spec->classes != first->classes || spec->labels != first->labels) {
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: takes other images or has other classes than %s, need models of the same data",
            name, o->models.values[0]));
    }
    if (m > 0 && o->split == CAPS_CLI_VALIDATION)
        CAPS_TRY(check_same_kept(o->models.values[0], name, err));
    caps_cli_detail("%s: %zu images of %s, %zu at a time", name, ds->n, ds->path, batch);
done:
    return status;
}

static caps_status evaluate_all(
    caps_runtime *rt, const options *o, caps_dataset *ds, watcher *w, caps_error *err)
{
    const size_t count = o->models.count;
    caps_model *model = NULL;
    caps_model_spec first = {0};
    caps_evaluation together = {0};
    ensemble e = {0};
    caps_status status = CAPS_OK;
    e.results = calloc(count, sizeof *e.results);
    e.percents = calloc(count, sizeof *e.percents);
    if (!e.results || !e.percents)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "eval: out of memory"));
    for (size_t m = 0; m < count; m++) {
        CAPS_TRY(open_one(rt, o, m, true, &model, ds, &first, err));
        if (m == 0) {
            first = *caps_model_get_spec(model);
            w->classes = first.classes;
            w->labels = first.labels;
            w->images = ds->n;
            if (w->keep)
                put_header(w);
            if (count > 1)
                CAPS_TRY(ensemble_init(&e, ds->n, count, &first, err));
        }
        w->errors = 0;
        w->sums = e.sums;
        w->truth = e.truth;
        CAPS_TRY(caps_evaluate(model, ds, &e.results[m], on_image, w, err));
        caps_progress_clear();
        e.percents[m] = e.results[m].error_percent;
        e.models = m + 1;
        caps_model_free(model);
        model = NULL;
    }
    if (count > 1)
        CAPS_TRY(ensemble_evaluate(&e, &together, w, err));
    if (w->out_of_memory)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "%s: out of memory for %zu rows", o->predictions, ds->n));
    if (o->predictions)
        CAPS_TRY(caps_file_write(o->predictions, w->text, w->used, err));
    if (count > 1 && o->common.json) {
        CAPS_TRY(print_several_json(rt, o, &first, &e, &together, err));
    } else if (count > 1) {
        print_several(o, &first, &e, &together);
    } else if (o->common.json) {
        json_t *one = caps_eval_json(&e.results[0]);
        json_object_set_new(one, "classes", caps_eval_classes_json(&first));
        json_object_set_new(one, "device", caps_json_text(caps_runtime_device(rt)->name));
        CAPS_TRY(caps_cli_print_json(one, err));
    } else {
        caps_eval_print(caps_cli_splits[o->split], &first, &e.results[0]);
    }
done:
    caps_model_free(model);
    caps_evaluation_release(&together);
    ensemble_release(&e);
    return status;
}

/* On changed images: all models at once. */
static caps_status evaluate_changed(
    caps_runtime *rt, const options *o, caps_dataset *ds, caps_error *err)
{
    const size_t count = o->models.count;
    caps_model **models = calloc(count, sizeof *models);
    caps_model_spec first = {0};
    caps_status status = CAPS_OK;
    if (!models)
        return caps_fail(err, CAPS_ERR_MEMORY, "eval: out of memory");
    for (size_t m = 0; m < count; m++) {
        CAPS_TRY(open_one(rt, o, m, false, &models[m], ds, &first, err));
        if (m == 0)
            first = *caps_model_get_spec(models[0]);
    }
    CAPS_TRY(
        caps_eval_robust(rt, models, o->models.values, count, ds, &o->robust, o->common.json, err));
done:
    for (size_t m = 0; m < count; m++)
        caps_model_free(models[m]);
    free(models);
    return status;
}

static int run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    caps_dataset ds = {0};
    watcher w = {.keep = o.predictions != NULL, .several = o.models.count > 1};

    if (!o.models.count || !o.data) {
        status = caps_cli_usage(&err, "eval: %s is missing, need eval --model FILE --data D",
            o.models.count ? "--data" : "--model");
        goto done;
    }
    CAPS_TRY(caps_robust_check(&o.robust, &args, &err));
    const bool robust = o.robust.transforms || o.robust.attacks;
    o.robust.conv = o.common.conv;
    if (o.predictions && robust) {
        status = caps_cli_usage(&err,
            "eval: --predictions is for the images as they are, need no --transform and no "
            "--attack beside it");
        goto done;
    }
    for (size_t m = 0; m < o.models.count; m++) {
        CAPS_TRY(caps_cli_check_apart("--predictions", o.predictions, o.models.values[m], &err));
        CAPS_TRY(caps_cli_check_apart("--trace", o.common.trace, o.models.values[m], &err));
    }
    CAPS_TRY(caps_cli_check_apart("--trace", o.common.trace, o.predictions, &err));
    CAPS_TRY(caps_cli_check_data_apart("--predictions", o.predictions, o.data, &err));
    CAPS_TRY(caps_cli_check_data_apart("--trace", o.common.trace, o.data, &err));
    if (o.predictions)
        CAPS_TRY(caps_file_check_output(o.predictions, &err));
    CAPS_TRY(caps_cli_check_trace(&o.common, &err));
    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    CAPS_TRY(robust ? evaluate_changed(rt, &o, &ds, &err) : evaluate_all(rt, &o, &ds, &w, &err));
    if (o.predictions)
        caps_cli_log("predictions: %s", o.predictions);
done:
    caps_progress_clear();
    status = caps_cli_end_trace(rt, status, &err);
    caps_cli_show_warnings(rt);
    free(w.text);
    caps_dataset_release(&ds);
    caps_runtime_free(rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_eval = {
    .name = "eval",
    .run = run,
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
        "--split validation needs config.json of the run beside the model: it says which images\n"
        "were kept from training.\n"
        "\n"
        "exit codes: 0 done, 1 an output cannot be written, 2 wrong usage, 3 bad data or model,\n"
        "4 device.\n"
        "\n"
        "examples:\n"
        "  capscl eval --model run1/model.safetensors --data fashion-mnist\n"
        "  capscl eval --model run1/model.safetensors --data mnist --predictions out.csv --json\n"
        "  capscl eval --model runs/seed-*/model.safetensors --data mnist\n",
};
