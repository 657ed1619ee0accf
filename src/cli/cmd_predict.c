/* cmd_predict.c: what a checkpoint sees in single images. */
#include <stdlib.h>
#include <string.h>

#include "cli_inspect.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "places.h"
#include "progress.h"
#include "sheet.h"

enum {
    DEFAULT_IMAGES = 10, /* with --data and no --index */
    BATCH = 100
};

typedef struct options {
    caps_common common;
    const char *model, *data, *sheet;
    caps_counts index;
    caps_texts devices;
    int split;
    bool capsules;
    caps_picture_flags pictures;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--model", options, model, "FILE",
        "the checkpoint, or a run directory for the one in it (required)"),
    CAPS_ROW_ARCH(options),
    CAPS_ROW_TEXT("--data", options, data, "D",
        "images of a data set (docs/data.md), in place of files: a directory, a\n"
        "name looked for in $CAPSCL_DATA, $XDG_DATA_HOME/capscl and\n"
        "/usr/share/datasets, or multi:D"),
    CAPS_ROW_SPLIT(options),
    CAPS_ROW_INDICES("--index", options, index, "N...",
        "which images of the split, from 0: numbers, or ranges like 0-9, up to\n"
        "the next flag (default: the first 10)"),
    CAPS_ROW_SWITCH("--capsules", options, capsules,
        "also the class capsules' values, and with --json the reconstruction"),
    CAPS_ROW_TEXT("--reconstruct", options, sheet, "OUT.png",
        "draw a sheet of the inputs beside their reconstructions\n"
        "(the first 100 images)"),
    CAPS_ROWS_PICTURES(options),
    CAPS_ROW_DEVICES(options, "takes every n-th batch"),
    CAPS_ROW_CONV(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_SWITCH(
        "--verbose", options, common.verbose, "say more on stderr: how each picture was converted"),
    {0},
};

/* The images, and what the network makes of them. */
typedef struct batch {
    const caps_model_info *info;
    const caps_model_spec *spec;
    size_t n;
    char **sources;       /* [n] */
    int32_t *true_labels; /* [n, L], -1: not known */
    float *inputs;        /* [n, C*H*W] */
    caps_predictions made;
} batch;

static void batch_release(batch *b)
{
    for (size_t i = 0; b->sources && i < b->n; i++)
        free(b->sources[i]);
    free(b->sources);
    free(b->true_labels);
    free(b->inputs);
    caps_predictions_release(&b->made);
    *b = (batch){0};
}

static caps_status batch_init(batch *b, size_t n, const caps_model *model, caps_error *err)
{
    *b = (batch){.info = caps_model_get_info(model), .spec = caps_model_get_spec(model), .n = n};
    b->sources = calloc(n, sizeof *b->sources);
    b->true_labels = calloc(n * b->info->labels, sizeof *b->true_labels);
    b->inputs = calloc(n * b->info->pixels, sizeof *b->inputs);
    if (b->sources && b->true_labels && b->inputs)
        return CAPS_OK;
    batch_release(b);
    return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", n);
}

/* The files that were named. */
static caps_status read_files(batch *b, const options *o, const caps_args *args, caps_error *err)
{
    caps_subset_pictures how;
    caps_cli_choose_pictures(&how, &o->pictures, args, o->model, NULL, b->spec);
    for (size_t i = 0; i < b->n * b->info->labels; i++)
        b->true_labels[i] = -1;
    for (size_t i = 0; i < b->n; i++)
        if ((b->sources[i] = caps_format("%s", args->positional[i])) == NULL)
            return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory");
    return caps_cli_read_pictures(b->inputs, b->info, args->positional, b->n, &how, err);
}

/* "mnist/test/12", where an image has no file of its own: the set's last name, split and index. */
static char *source_name(const char *data, const char *split, size_t index)
{
    size_t n = strlen(data);
    while (n > 1 && data[n - 1] == '/')
        n--;
    return caps_format("%.*s/%s/%zu", (int)n, data, split, index);
}

static caps_status take_images(batch *b, const options *o, const caps_dataset *ds, caps_error *err)
{
    for (size_t i = 0; i < b->n; i++) {
        size_t index = o->index.count ? (size_t)o->index.values[i] : i;
        caps_dataset_draw(ds, index, CAPS_AUGMENT_NONE, 0, 0, b->inputs + i * b->info->pixels,
            b->true_labels + i * b->info->labels, NULL);
        const char *file = caps_dataset_file(ds, index);
        b->sources[i] =
            file ? caps_format("%s", file) : source_name(o->data, caps_cli_splits[o->split], index);
        if (!b->sources[i])
            return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory");
    }
    return CAPS_OK;
}

static bool predict_progress(void *user, size_t done, size_t total)
{
    (void)user;
    if (caps_progress_due())
        caps_progress_show("predicting %zu of %zu", done, total);
    return false;
}

static caps_status predict_images(
    batch *b, caps_model *const *models, size_t count, const options *o, caps_error *err)
{
    const unsigned what = (o->capsules ? (unsigned)CAPS_PREDICT_CAPSULES : 0) |
                          (o->capsules || o->sheet ? (unsigned)CAPS_PREDICT_RECONSTRUCTION : 0);
    const caps_inspect_progress progress = {predict_progress, NULL};
    caps_status status =
        caps_predict_by(models, count, b->inputs, b->n, what, &progress, &b->made, err);
    caps_progress_clear();
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

static json_t *json_floats(const float *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        caps_json_append(&list, caps_json_float(values[i]));
    return list;
}

static json_t *json_labels(const int32_t *labels, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        caps_json_append(&list, json_integer(labels[i]));
    return list;
}

/* The capsules and what the decoder makes of the longest. */
static void add_capsules(json_t **row, const batch *b, size_t i)
{
    json_t *capsules = json_array();
    for (size_t j = 0; j < b->info->classes; j++)
        caps_json_append(
            &capsules, json_floats(b->made.capsules + (i * b->info->classes + j) * b->info->dim,
                           b->info->dim));
    caps_json_set(row, "capsules", capsules);
    const size_t one = b->info->pixels, all = b->info->labels * one;
    json_t *reconstruction = json_null();
    if (b->made.reconstruction && b->info->labels == 1) {
        reconstruction = json_floats(b->made.reconstruction + i * one, one);
    } else if (b->made.reconstruction) {
        reconstruction = json_array(); /* one for each label */
        for (size_t t = 0; t < b->info->labels; t++)
            caps_json_append(
                &reconstruction, json_floats(b->made.reconstruction + i * all + t * one, one));
    }
    caps_json_set(row, "reconstruction", reconstruction);
}

static caps_status predict_print_json(const batch *b, const options *o, caps_error *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->made.labels + i * b->info->labels;
        const int32_t *truth = b->true_labels + i * b->info->labels;
        json_t *row = json_pack(
            "{s:o, s:i}", "source", caps_json_text(b->sources[i]), "label", (int)label[0]);
        if (truth[0] >= 0)
            caps_json_set(&row, "true_label", json_integer(truth[0]));
        if (b->info->labels > 1) {
            caps_json_set(&row, "labels", json_labels(label, b->info->labels));
            if (truth[0] >= 0)
                caps_json_set(&row, "true_labels", json_labels(truth, b->info->labels));
        }
        if (b->info->has_class_names) {
            char name[CAPS_CLASS_NAME];
            caps_json_set(
                &row, "class", json_string(caps_class_name(b->spec, (size_t)label[0], name)));
        }
        caps_json_set(
            &row, "lengths", json_floats(b->made.lengths + i * b->info->classes, b->info->classes));
        if (o->capsules)
            add_capsules(&row, b, i);
        caps_json_append(&all, row);
    }
    return caps_cli_print_json(all, err);
}

/* The classes by length, longest first: the first three of them. */
static void print_top(const caps_model_spec *spec, const float *lengths)
{
    const size_t classes = caps_model_spec_info(spec)->classes;
    char name[CAPS_CLASS_NAME];
    size_t shown[3];
    for (size_t rank = 0; rank < 3 && rank < classes; rank++) {
        size_t best = classes;
        for (size_t j = 0; j < classes; j++) {
            bool taken = false;
            for (size_t k = 0; k < rank; k++)
                taken = taken || shown[k] == j;
            if (!taken && (best == classes || lengths[j] > lengths[best]))
                best = j;
        }
        shown[rank] = best;
        printf("%s%s: %.3f", rank ? "  " : "", caps_class_name(spec, best, name),
            (double)lengths[best]);
    }
}

/* "3", or of a pair "3+7". */
static void print_labels(const batch *b, const int32_t *labels)
{
    char name[CAPS_CLASS_NAME];
    for (size_t t = 0; t < b->info->labels; t++)
        printf("%s%s", t ? "+" : "", caps_class_name(b->spec, (size_t)labels[t], name));
}

/* In any order. */
static bool same_labels(const batch *b, const int32_t *x, const int32_t *y)
{
    for (size_t t = 0; t < b->info->labels; t++) {
        bool found = false;
        for (size_t k = 0; k < b->info->labels; k++)
            found = found || x[t] == y[k];
        if (!found)
            return false;
    }
    return true;
}

static void predict_print_text(const batch *b, const options *o)
{
    int width = 0;
    for (size_t i = 0; i < b->n; i++)
        if ((int)strlen(caps_cli_shown(b->sources[i])) > width)
            width = (int)strlen(caps_cli_shown(b->sources[i]));
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->made.labels + i * b->info->labels;
        const int32_t *truth = b->true_labels + i * b->info->labels;
        printf("%-*s  label ", width, caps_cli_shown(b->sources[i]));
        print_labels(b, label);
        if (truth[0] >= 0) {
            printf("  true ");
            print_labels(b, truth);
            printf(" %s", same_labels(b, label, truth) ? "right" : "WRONG");
        }
        printf("  %s ", b->info->scores);
        print_top(b->spec, b->made.lengths + i * b->info->classes);
        printf("\n");
        for (size_t j = 0; o->capsules && j < b->info->classes; j++) {
            char name[CAPS_CLASS_NAME];
            printf("  capsule %s:", caps_class_name(b->spec, j, name));
            for (size_t d = 0; d < b->info->dim; d++)
                printf(" %.4f",
                    (double)b->made.capsules[(i * b->info->classes + j) * b->info->dim + d]);
            printf("\n");
        }
    }
}

/* Of a path the last name is enough in a small cell; of a data set, split and index,
 * or class and file. */
static const char *short_source(const char *source, bool of_data)
{
    const char *slash = strrchr(source, '/');
    if (!slash)
        return source;
    if (!of_data)
        return slash + 1;
    while (slash > source && slash[-1] != '/')
        slash--;
    return slash;
}

static void fill_cell(caps_sheet_cell *cell, const batch *b, size_t i, bool of_data)
{
    const size_t pixels = b->info->pixels;
    const int32_t label = b->made.labels[i];
    *cell = (caps_sheet_cell){.source = short_source(b->sources[i], of_data),
        .input = b->inputs + i * pixels,
        .reconstruction = b->made.reconstruction + i * pixels,
        .label = label,
        .true_label = b->true_labels[i],
        .length = b->made.lengths[i * b->info->classes + (size_t)label]};
}

static caps_status write_sheet(const batch *b, const options *o, caps_error *err)
{
    const size_t n = b->n < CAPS_SHEET_MAX ? b->n : CAPS_SHEET_MAX, classes = b->info->classes;
    caps_sheet_cell *cells = calloc(n, sizeof *cells);
    char(*texts)[CAPS_CLASS_NAME] = calloc(classes, sizeof *texts);
    const char **names = calloc(classes, sizeof *names);
    caps_status status = CAPS_OK;
    char data[512];
    if (!cells || !texts || !names)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", o->sheet));
    for (size_t j = 0; j < classes; j++)
        names[j] = caps_class_name(b->spec, j, texts[j]);
    for (size_t i = 0; i < n; i++)
        fill_cell(&cells[i], b, i, o->data != NULL);
    if (o->data)
        snprintf(data, sizeof data, "%s, %s split", o->data, caps_cli_splits[o->split]);
    else
        snprintf(data, sizeof data, "%zu file%s", b->n, b->n == 1 ? "" : "s");
    const caps_sheet sheet = {.model = o->model,
        .data = data,
        .names = names,
        .cells = cells,
        .count = n,
        .channels = b->info->input[0],
        .height = b->info->input[1],
        .width = b->info->input[2]};
    CAPS_TRY(caps_sheet_write(&sheet, o->sheet, err));
    if (n < b->n)
        caps_cli_warn("%s shows the first %zu of %zu images", o->sheet, n, b->n);
    caps_cli_log("reconstructions: %s", o->sheet);
done:
    free(cells);
    free(texts);
    free(names);
    return status;
}

static caps_status predict_check_usage(const options *o, const caps_args *args, caps_error *err)
{
    if (!o->model)
        return caps_cli_usage(err, "predict: --model is missing, need a checkpoint (--model FILE)");
    if (o->data && args->positional_count > 0)
        return caps_cli_usage(
            err, "predict: files and --data exclude each other (%s)", args->positional[0]);
    if (!o->data && args->positional_count == 0)
        return caps_cli_usage(err, "predict: no images, need PNG or JPEG files, or --data D");
    static const char *const with_data[] = {"--split", "--index"};
    for (size_t i = 0; i < 2; i++)
        if (!o->data && caps_args_given(args, with_data[i]))
            return caps_cli_usage(err, "predict: %s without --data, need --data D", with_data[i]);
    return caps_cli_check_pictures(&o->pictures, err);
}

/* No output replaces an input, and each can be written. */
static caps_status check_outputs(const options *o, const caps_args *args, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_cli_check_apart("--reconstruct", o->sheet, o->model, err));
    CAPS_TRY(caps_cli_check_data_apart("--reconstruct", o->sheet, o->data, err));
    for (size_t i = 0; i < args->positional_count; i++)
        CAPS_TRY(caps_cli_check_apart("--reconstruct", o->sheet, args->positional[i], err));
    if (o->sheet)
        CAPS_TRY(caps_file_check_output(o->sheet, err));
done:
    return status;
}

/* The model has what the flags request. */
static caps_status check_model(const options *o, const caps_model_info *info, caps_error *err)
{
    if (o->sheet && !info->has_decoder)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model has no decoder, need one for --reconstruct", o->model);
    if (o->sheet && info->labels > 1)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model reconstructs %zu digits of an image, see 'capscl show overlap'",
            o->model, info->labels);
    if (o->capsules && !info->dim)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model has no capsules, need some for --capsules", o->model);
    return CAPS_OK;
}

/* Reads the images, from the data set or from files; ds is the caller's to release. */
static caps_status read_images(batch *b, caps_dataset *ds, const caps_model *model,
    const options *o, const caps_args *args, caps_error *err)
{
    caps_status status;
    size_t n = args->positional_count;
    if (o->data) {
        /* Of a split without --index only the start is read. */
        const caps_model_spec *spec = caps_model_get_spec(model);
        caps_subset_pictures pictures;
        caps_cli_choose_pictures(&pictures, &o->pictures, args, o->model, o->data, spec);
        CAPS_TRY(caps_cli_data_open(ds, o->data, o->split, o->model,
            o->index.count ? 0 : DEFAULT_IMAGES, &pictures, spec, err));
        CAPS_TRY(caps_cli_check_indices(&o->index, o->data, o->split, ds->n, err));
        n = o->index.count ? o->index.count : ds->n;
    }
    CAPS_TRY(batch_init(b, n, model, err));
    if (o->data)
        CAPS_TRY(take_images(b, o, ds, err));
    else
        CAPS_TRY(read_files(b, o, args, err));
    if (o->data && o->index.count == 0)
        caps_cli_log("the first %zu images of %s (--index N... chooses others)", n, o->data);
done:
    return status;
}

static int predict_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_opened opened = {0};
    caps_model *models[CAPS_DEVICES_MOST] = {0};
    caps_dataset ds = {0};
    batch b = {0};

    CAPS_TRY(predict_check_usage(&o, &args, &err));
    CAPS_TRY(caps_place_model(&args, &o.model, &err));
    CAPS_TRY(caps_place_pictures(&args, &err));
    CAPS_TRY(check_outputs(&o, &args, &err));
    const size_t n = !o.data         ? args.positional_count
                     : o.index.count ? o.index.count
                                     : DEFAULT_IMAGES;
    CAPS_TRY(caps_cli_open_several(&opened, &o.devices, &o.common, false, &err));
    caps_model_options model_options = {CAPS_OPTIONS(caps_model_options),
        .reconstruct = o.capsules || o.sheet, .conv = o.common.conv};
    for (size_t k = 0; k < opened.n; k++)
        CAPS_TRY(caps_cli_model_open(&models[k], opened.rts[k], o.model, o.common.arch,
            &model_options, 0, n < BATCH ? n : BATCH, &err));
    CAPS_TRY(check_model(&o, caps_model_get_info(models[0]), &err));
    CAPS_TRY(read_images(&b, &ds, models[0], &o, &args, &err));
    CAPS_TRY(predict_images(&b, models, opened.n, &o, &err));
    if (o.sheet)
        CAPS_TRY(write_sheet(&b, &o, &err));
    if (o.common.json)
        CAPS_TRY(predict_print_json(&b, &o, &err));
    else
        predict_print_text(&b, &o);
done:
    caps_progress_clear();
    batch_release(&b);
    caps_dataset_release(&ds);
    for (size_t k = 0; k < opened.n; k++) {
        caps_cli_show_warnings(opened.rts[k]);
        caps_model_free(models[k]);
    }
    caps_cli_close(&opened);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_predict = {
    .name = "predict",
    .run = predict_run,
    .summary = "classify images, look into capsules, draw reconstructions",
    .usage = "capscl predict --model FILE IMAGE|FOLDER... [--invert] [flags]\n"
             "capscl predict --model FILE --data D [--split test|train|validation] [--index N...]\n"
             "               [flags]",
    .about =
        "Prints for every image the class of the longest capsule and the lengths of the three\n"
        "longest, and whether that is right where the true class is known. PNG and JPEG files of\n"
        "any size and colour are converted to what the model takes: scaled with their proportions\n"
        "kept, centred, grey or colour; notes say what was done. A folder stands for the pictures\n"
        "in it. The networks of the usual data\n"
        "sets expect a light thing on a dark ground.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 OUT.png cannot be written, 2 wrong usage (an --index that is not\n"
        "there, too), 3 a bad model, image or data set, 4 device.\n"
        "\n"
        "examples:\n"
        "  capscl predict --model run1 drawing.png --invert --verbose\n"
        "  capscl predict --model run1/model.safetensors --data mnist --index 3 7 9 --json\n"
        "  capscl predict --model run1/model.safetensors --data fashion-mnist \\\n"
        "      --index 0-29 --reconstruct sheet.png\n",
    .positional_max = SIZE_MAX,
};
