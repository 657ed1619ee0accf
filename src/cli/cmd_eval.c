/* cmd_eval.c: how well a checkpoint does on a data set. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "eval_robust.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "progress.h"
#include "trace.h"

static const char *const splits[] = {"test", "train", NULL};

typedef struct options {
    caps_common common;
    const char *model, *data, *predictions;
    uint64_t limit, batch;
    int split;
    caps_robust_options robust;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--model", options, model, "FILE", "the checkpoint (required)"),
    CAPS_ROW_TEXT("--data", options, data, "D",
        "a directory with IDX files, or a name looked for in $CAPSCL_DATA,\n"
        "$XDG_DATA_HOME/capscl and /usr/share/datasets (required)"),
    CAPS_ROW_CHOICE("--split", options, split, splits, "S", "test or train (default: test)"),
    CAPS_ROW_COUNT(
        "--limit", options, limit, 1, UINT32_MAX, "N", "the first N images only (default: all)"),
    CAPS_ROW_COUNT("--batch", options, batch, 1, 1000000, "N",
        "images at a time (default: 100, or fewer where memory is short)"),
    CAPS_ROW_TEXT("--predictions", options, predictions, "FILE.csv",
        "write a row for each image: index, true_label, label, and the\n"
        "length of every class capsule"),
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

static void on_image(void *user, const caps_evaluated *image)
{
    watcher *w = user;
    w->errors += !image->right;
    if (w->keep && !w->out_of_memory) {
        put(w, "%zu", image->index);
        for (size_t t = 0; t < w->labels; t++)
            put(w, ",%d", (int)image->true_label[t]);
        for (size_t t = 0; t < w->labels; t++)
            put(w, ",%d", (int)image->label[t]);
        for (size_t j = 0; j < w->classes; j++)
            put(w, ",%.9g", (double)image->lengths[j]);
        put(w, "\n");
    }
    if (caps_progress_due()) {
        char bar[32];
        double fraction = (double)(image->index + 1) / (double)w->images;
        caps_progress_show("evaluating %s %3.0f %%  error %.2f %%",
            caps_progress_bar(bar, fraction), 100 * fraction,
            100 * (double)w->errors / (double)(image->index + 1));
    }
}

/* ---- results -------------------------------------------------------------------------------- */

static caps_status print_json(caps_runtime *rt, const caps_evaluation *result, caps_error *err)
{
    json_t *confusion = json_array();
    for (size_t i = 0; confusion && i < result->classes; i++) {
        json_t *row = json_array();
        for (size_t j = 0; row && j < result->classes; j++)
            json_array_append_new(
                row, json_integer((json_int_t)result->confusion[i * result->classes + j]));
        json_array_append_new(confusion, row);
    }
    return caps_cli_print_json(
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)result->n, "errors",
            (json_int_t)result->errors, "error_percent", caps_json_double(result->error_percent),
            "margin_loss", caps_json_double(result->margin_loss), "reconstruction_sse",
            caps_json_double(result->reconstruction_sse), "confusion", confusion, "seconds",
            caps_json_double(result->seconds), "device",
            caps_cli_json_text(caps_runtime_device(rt)->name)),
        err);
}

static void print_text(const options *o, const caps_evaluation *result)
{
    printf("%s error: %.2f %% (%zu of %zu images)\n", splits[o->split], result->error_percent,
        result->errors, result->n);
    printf("margin loss: %.5f an image\n", result->margin_loss);
    if (!isnan(result->reconstruction_sse))
        printf("squared reconstruction error: %.3f an image\n", result->reconstruction_sse);
    printf("%.1f images/s\n", result->seconds > 0 ? (double)result->n / result->seconds : 0);

    uint64_t most = 0;
    for (size_t i = 0; i < result->classes * result->classes; i++)
        if (result->confusion[i] > most)
            most = result->confusion[i];
    int width = snprintf(NULL, 0, "%llu", (unsigned long long)most);
    if (width < 3)
        width = 3;
    printf("\nconfusion (rows: true class, columns: predicted)\n%6s", "");
    for (size_t j = 0; j < result->classes; j++)
        printf(" %*zu", width, j);
    printf("   error\n");
    for (size_t i = 0; i < result->classes; i++) {
        uint64_t all = 0;
        printf("%6zu", i);
        for (size_t j = 0; j < result->classes; j++) {
            uint64_t count = result->confusion[i * result->classes + j];
            all += count;
            if (count)
                printf(" %*llu", width, (unsigned long long)count);
            else
                printf(" %*s", width, ".");
        }
        uint64_t right = result->confusion[i * result->classes + i];
        if (all)
            printf("  %5.2f %%", 100 * (double)(all - right) / (double)all);
        printf("\n");
    }
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
    caps_model *model = NULL;
    caps_dataset ds = {0};
    caps_evaluation result = {0};
    watcher w = {.keep = o.predictions != NULL};

    if (!o.model || !o.data) {
        status = caps_cli_usage(&err, "eval: %s is missing, need eval --model FILE --data D",
            o.model ? "--data" : "--model");
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
    if (o.predictions)
        CAPS_TRY(caps_cli_check_output(o.predictions, &err));
    CAPS_TRY(caps_cli_check_trace(&o.common, &err));
    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    size_t batch = o.batch ? (size_t)o.batch : 100;
    const caps_model_options model_options = {
        .max_batch = batch, .reconstruct = !robust, .conv = o.common.conv};
    caps_trace_begin(rt, "load model");
    status =
        caps_cli_model_load(&model, rt, o.model, &model_options, o.batch ? NULL : &batch, &err);
    caps_trace_end(rt);
    CAPS_TRY(status);
    const caps_model_spec *spec = caps_model_get_spec(model);
    caps_trace_begin(rt, "load data");
    status = caps_cli_data_open(&ds, o.data, o.split == 0 ? CAPS_SPLIT_TEST : CAPS_SPLIT_TRAIN,
        (size_t)o.limit, spec, &err);
    caps_trace_end(rt);
    CAPS_TRY(status);
    caps_cli_detail("%s: %zu images of %s, %zu at a time", o.model, ds.n, ds.path, batch);

    if (robust) {
        status = caps_eval_robust(rt, &model, &o.model, 1, &ds, &o.robust, o.common.json, &err);
        goto done;
    }
    w.classes = spec->classes;
    w.labels = spec->labels;
    w.images = ds.n;
    if (w.keep)
        put_header(&w);
    CAPS_TRY(caps_evaluate(model, &ds, &result, on_image, &w, &err));
    caps_progress_clear();
    if (w.out_of_memory) {
        status = caps_fail(
            &err, CAPS_ERR_MEMORY, "%s: out of memory for %zu rows", o.predictions, result.n);
        goto done;
    }
    if (o.predictions)
        CAPS_TRY(caps_file_write(o.predictions, w.text, w.used, &err));
    if (o.common.json)
        CAPS_TRY(print_json(rt, &result, &err));
    else
        print_text(&o, &result);
    if (o.predictions)
        caps_cli_log("predictions: %s", o.predictions);
done:
    caps_progress_clear();
    status = caps_cli_end_trace(rt, status, &err);
    caps_cli_show_warnings(rt);
    free(w.text);
    caps_evaluation_release(&result);
    caps_dataset_release(&ds);
    caps_model_free(model);
    caps_runtime_free(rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_eval = {
    .name = "eval",
    .run = run,
    .summary = "error, losses and confusion of a checkpoint on a data set",
    .usage = "capscl eval --model FILE --data D [--split test|train] [--limit N] [flags]",
    .about = "Runs every image of the split through the network and prints the error, the mean\n"
             "margin loss, the mean squared reconstruction error of an image (summed over its\n"
             "pixels; the decoder sees the longest capsule) and the confusion matrix.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 an output cannot be written, 2 wrong usage, 3 bad data or model,\n"
        "4 device.\n"
        "\n"
        "examples:\n"
        "  capscl eval --model run1/model.safetensors --data fashion-mnist\n"
        "  capscl eval --model run1/model.safetensors --data mnist --predictions out.csv --json\n"
        "  capscl eval --model run1/model.safetensors --data mnist --transform rotate --severity 0 "
        "10 20 30\n"
        "  capscl eval --model run1/model.safetensors --data mnist --attack fgsm --epsilon 0 0.1\n",
};
