/* cmd_predict.c: what a checkpoint sees in single images. */
#include <stdlib.h>
#include <string.h>

#include "cli_inspect.h"
#include "fail.h"
#include "file.h"
#include "looks.h"
#include "places.h"
#include "predict_report.h"
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
    caps_looks looks;
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
    CAPS_ROWS_LOOKS(options),
    CAPS_ROWS_PICTURES(options),
    CAPS_ROW_DEVICES(options, "takes every n-th batch"),
    CAPS_ROW_CONV(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_SWITCH(
        "--verbose", options, common.verbose, "say more on stderr: how each picture was converted"),
    {0},
};

typedef caps_predicted batch;

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

static size_t image_index(const options *o, size_t i)
{
    return o->index.count ? (size_t)o->index.values[i] : i;
}

static caps_status take_images(batch *b, const options *o, const caps_dataset *ds, caps_error *err)
{
    for (size_t i = 0; i < b->n; i++) {
        const size_t index = image_index(o, i);
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

/* The images as they are seen from elsewhere: drawn anew, or, files, moved over black. */
typedef struct look {
    const batch *b;
    const options *o;
    const caps_dataset *ds; /* NULL: files */
} look;

static void draw_look(void *user, const caps_offset *from, float *inputs)
{
    const look *l = user;
    const size_t pixels = l->b->info->pixels, *size = l->b->info->input;
    for (size_t i = 0; i < l->b->n; i++) {
        float *to = inputs + i * pixels;
        if (l->ds) {
            int32_t labels[CAPS_MAX_LABELS];
            caps_dataset moved = *l->ds;
            moved.offset[0] += from->down;
            moved.offset[1] += from->right;
            caps_dataset_draw(
                &moved, image_index(l->o, i), CAPS_AUGMENT_NONE, 0, 0, to, labels, NULL);
        } else {
            caps_looks_move(to, l->b->inputs + i * pixels, size, from);
        }
    }
}

/* ds NULL: files. */
static caps_status predict_images(batch *b, caps_model *const *models, size_t count,
    const options *o, const caps_dataset *ds, caps_error *err)
{
    const unsigned what = (o->capsules ? (unsigned)CAPS_PREDICT_CAPSULES : 0) |
                          (o->capsules || o->sheet ? (unsigned)CAPS_PREDICT_RECONSTRUCTION : 0);
    const caps_inspect_progress progress = {predict_progress, NULL};
    look l = {b, o, ds};
    const caps_status status = o->looks.count ? caps_looks_predict(&o->looks, models, count, b->n,
                                                    draw_look, &l, &progress, &b->made, err)
                                              : caps_predict_by(models, count, b->inputs, b->n,
                                                    what, &progress, &b->made, err);
    caps_progress_clear();
    return status;
}

/* ---- the sheet ------------------------------------------------------------------------------- */

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
    static const char *const with_data[] = {"--split", "--index", "--crops"};
    for (size_t i = 0; i < sizeof with_data / sizeof with_data[0]; i++)
        if (!o->data && caps_args_given(args, with_data[i]))
            return caps_cli_usage(err, "predict: %s without --data, need --data D", with_data[i]);
    const char *looks;
    const caps_status status = caps_looks_given(&looks, args, "predict", err);
    if (status != CAPS_OK)
        return status;
    if (looks && (o->capsules || o->sheet))
        return caps_cli_usage(err,
            "predict: %s is for labels and lengths, need no --capsules and no --reconstruct "
            "beside it",
            looks);
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
    CAPS_TRY(caps_looks_take(&o.looks, &args, &ds, &err));
    CAPS_TRY(predict_images(&b, models, opened.n, &o, o.data ? &ds : NULL, &err));
    if (o.sheet)
        CAPS_TRY(write_sheet(&b, &o, &err));
    if (o.common.json)
        CAPS_TRY(caps_predicted_print_json(&b, o.capsules, &err));
    else
        caps_predicted_print_text(&b, o.capsules);
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
        "sets expect a light thing on a dark ground. With --crops or --shifts lengths are means\n"
        "over several looks at each image.\n",
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
