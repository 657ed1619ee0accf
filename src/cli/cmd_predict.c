/* cmd_predict.c: what a checkpoint sees in single images. */
#include <stdlib.h>
#include <string.h>

#include "cli_inspect.h"
#include "fail.h"
#include "file.h"
#include "places.h"
#include "predict_images.h"
#include "predict_sheet.h"
#include "progress.h"

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
    bool capsules, csv, zero;
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
    CAPS_ROW_SWITCH("--csv", options, csv,
        "print comma-separated values: a head and a row for each image, with the\n"
        "length of every class capsule; classes by number"),
    CAPS_ROW_SWITCH("--null", options, zero,
        "names on standard input end with a zero byte, as find -print0 writes them"),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_SWITCH(
        "--verbose", options, common.verbose, "say more on stderr: how each picture was converted"),
    {0},
};

static bool reads_names(const caps_args *args)
{
    return args->positional_count == 1 && strcmp(args->positional[0], "-") == 0;
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
    for (size_t i = 0; args->positional_count > 1 && i < args->positional_count; i++)
        if (strcmp(args->positional[i], "-") == 0)
            return caps_cli_usage(
                err, "predict: - reads names from standard input, need no other files beside it");
    if (o->zero && !reads_names(args))
        return caps_cli_usage(err, "predict: --null without -, need predict --model FILE - --null");
    if (o->csv && (o->common.json || o->capsules))
        return caps_cli_usage(err, "predict: --csv and %s exclude each other",
            o->common.json ? "--json" : "--capsules");
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

/* What predict works with. */
typedef struct predicting {
    options o;
    caps_opened opened;
    caps_model *models[CAPS_DEVICES_MOST];
    caps_dataset ds;
    caps_names names;
    caps_predict_images from;
    caps_predicted batch, sheet; /* sheet: the first images */
    caps_predict_printer printer;
} predicting;

/* The images that are asked for, known or to come. */
static caps_status choose_images(predicting *p, const caps_args *args, caps_error *err)
{
    const options *o = &p->o;
    caps_predict_images *from = &p->from;
    caps_subset_pictures pictures;
    caps_status status = CAPS_OK;
    from->info = caps_model_get_info(p->models[0]);
    from->spec = caps_model_get_spec(p->models[0]);
    from->most = BATCH * p->opened.n;
    caps_cli_choose_pictures(&pictures, &o->pictures, args, o->model, o->data, from->spec);
    if (o->data) {
        /* Of a split without --index only the start is read. */
        CAPS_TRY(caps_cli_data_open(&p->ds, o->data, o->split, o->model,
            o->index.count ? 0 : DEFAULT_IMAGES, &pictures, from->spec, err));
        CAPS_TRY(caps_cli_check_indices(&o->index, o->data, o->split, p->ds.n, err));
        from->ds = &p->ds;
        from->data = o->data;
        from->split = caps_cli_splits[o->split];
        from->index = &o->index;
        from->total = o->index.count ? o->index.count : p->ds.n;
    } else {
        from->output = o->sheet;
        CAPS_TRY(caps_picture_reader_init(&from->reader, from->info, &pictures, err));
        if (reads_names(args)) {
            p->names.zero = o->zero;
            from->names = &p->names;
        } else {
            from->paths = args->positional;
            from->total = args->positional_count;
        }
    }
    for (size_t i = 0; from->paths && i < from->total; i++)
        caps_predict_printer_fit(&p->printer, from->paths[i]);
    if (from->total > 0 && from->total < from->most)
        from->most = from->total;
    status = caps_predict_batch_init(&p->batch, from, err);
done:
    return status;
}

/* All images are there. */
static caps_status write_sheet(predicting *p, caps_error *err)
{
    const options *o = &p->o;
    const size_t all = p->printer.rows + p->batch.n;
    char data[512];
    if (!o->sheet || all == 0)
        return CAPS_OK;
    if (o->data)
        snprintf(data, sizeof data, "%s, %s split", o->data, caps_cli_splits[o->split]);
    return caps_predict_sheet_write(&p->sheet, o->sheet, o->model, o->data ? data : NULL, all, err);
}

/* A batch: its rows, and what the sheet keeps. The sheet is written before the last rows: of images
 * that are one batch nothing is printed where it cannot be written. */
static caps_status predict_batch(predicting *p, caps_error *err)
{
    const options *o = &p->o;
    const unsigned what = (o->capsules ? (unsigned)CAPS_PREDICT_CAPSULES : 0) |
                          (o->capsules || o->sheet ? (unsigned)CAPS_PREDICT_RECONSTRUCTION : 0);
    caps_status status;
    CAPS_TRY(caps_predict_batch_take(&p->batch, &p->from, err));
    if (p->batch.n > 0)
        CAPS_TRY(caps_predict_batch_run(
            &p->batch, &p->from, p->models, p->opened.n, &o->looks, what, err));
    if (p->batch.n > 0 && o->sheet)
        CAPS_TRY(caps_predict_sheet_keep(&p->sheet, &p->batch, err));
    caps_progress_clear();
    if (p->from.ended)
        CAPS_TRY(write_sheet(p, err));
    CAPS_TRY(caps_predict_print(&p->printer, &p->batch, err));
    if (!p->from.ended)
        fflush(stdout);
done:
    return status;
}

/* After all batches: the end of what is printed, notes. */
static caps_status finish_images(predicting *p, caps_error *err)
{
    const options *o = &p->o;
    const size_t failed = p->from.reader.failed;
    if (p->from.names && p->from.next == 0)
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "standard input: no names of files, need some, %s",
            o->zero ? "each ended by a zero byte" : "one a line");
    caps_predict_print_end(&p->printer);
    if (o->data && o->index.count == 0)
        caps_cli_log(
            "the first %zu images of %s (--index N... chooses others)", p->from.total, o->data);
    if (!o->data)
        caps_picture_reader_note(&p->from.reader);
    if (failed > 0 && p->from.next > 1)
        caps_cli_warn("%zu of %zu pictures could not be read", failed, p->from.next);
    return CAPS_OK;
}

static caps_status predict_open(predicting *p, caps_args *args, caps_error *err)
{
    const options *o = &p->o;
    const size_t n = !o->data         ? args->positional_count
                     : o->index.count ? o->index.count
                                      : DEFAULT_IMAGES;
    const size_t usual = reads_names(args) || n > BATCH ? BATCH : n;
    caps_model_options model_options = {CAPS_OPTIONS(caps_model_options),
        .reconstruct = o->capsules || o->sheet, .conv = o->common.conv};
    caps_status status;
    CAPS_TRY(caps_cli_open_several(&p->opened, &o->devices, &o->common, false, err));
    for (size_t k = 0; k < p->opened.n; k++)
        CAPS_TRY(caps_cli_model_open(&p->models[k], p->opened.rts[k], o->model, o->common.arch,
            &model_options, 0, usual, err));
    CAPS_TRY(check_model(o, caps_model_get_info(p->models[0]), err));
    CAPS_TRY(choose_images(p, args, err));
    CAPS_TRY(caps_looks_take(&p->o.looks, args, o->data ? &p->ds : NULL, err));
done:
    return status;
}

static void predict_release(predicting *p)
{
    caps_predict_batch_release(&p->batch);
    caps_predict_batch_release(&p->sheet);
    caps_picture_reader_release(&p->from.reader);
    caps_dataset_release(&p->ds);
    for (size_t k = 0; k < p->opened.n; k++) {
        caps_cli_show_warnings(p->opened.rts[k]);
        caps_model_free(p->models[k]);
    }
    caps_cli_close(&p->opened);
}

static int predict_run(const caps_command *command, int argc, char **argv)
{
    static predicting p; /* names and models take some room */
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &p.o, &p.o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;

    CAPS_TRY(predict_check_usage(&p.o, &args, &err));
    CAPS_TRY(caps_place_model(&args, &p.o.model, &err));
    if (!reads_names(&args))
        CAPS_TRY(caps_place_pictures(&args, &err));
    CAPS_TRY(check_outputs(&p.o, &args, &err));
    CAPS_TRY(predict_open(&p, &args, &err));
    p.printer.form = p.o.common.json ? CAPS_PREDICT_JSON
                     : p.o.csv       ? CAPS_PREDICT_CSV
                                     : CAPS_PREDICT_TEXT;
    p.printer.capsules = p.o.capsules;
    /* Where nobody reads any more, main says so. */
    while (!p.from.ended && !ferror(stdout))
        CAPS_TRY(predict_batch(&p, &err));
    CAPS_TRY(finish_images(&p, &err));
done:
    caps_progress_clear();
    code = p.from.reader.failed > 0 ? CAPS_EXIT_INPUT : CAPS_EXIT_DONE; /* its lines are out */
    predict_release(&p);
    caps_args_release(&args);
    return status == CAPS_OK ? code : caps_cli_end(status, &err);
}

const caps_command caps_command_predict = {
    .name = "predict",
    .run = predict_run,
    .summary = "classify images, look into capsules, draw reconstructions",
    .usage = "capscl predict --model FILE IMAGE|FOLDER... [--invert] [flags]\n"
             "capscl predict --model FILE - [--null] [flags]    names on standard input\n"
             "capscl predict --model FILE --data D [--split test|train|validation] [--index N...]\n"
             "               [flags]",
    .about =
        "Prints for every image the class of the longest capsule and the lengths of the three\n"
        "longest, and whether that is right where the true class is known. PNG and JPEG files of\n"
        "any size and colour are converted to what the model takes: scaled with their proportions\n"
        "kept, centred, grey or colour; notes say what was done. A folder stands for the pictures\n"
        "in it. The networks of the usual data\n"
        "sets expect a light thing on a dark ground. With --crops or --shifts lengths are means\n"
        "over several looks at each image. Rows are printed as images are read, some at a time, "
        "so\n"
        "there may be any number. A picture that cannot be read has its own line on standard "
        "error,\n"
        "the others are answered all the same.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 OUT.png cannot be written, 2 wrong usage (an --index that is not\n"
        "there, too), 3 a bad model, image (also one among others) or data set, 4 device.\n"
        "\n"
        "examples:\n"
        "  capscl predict --model run1 drawing.png --invert --verbose\n"
        "  find scans -name '*.png' | capscl predict --model run1 - --csv > labels.csv\n"
        "  capscl predict --model run1/model.safetensors --data mnist --index 3 7 9 --json\n"
        "  capscl predict --model run1/model.safetensors --data fashion-mnist \\\n"
        "      --index 0-29 --reconstruct sheet.png\n",
    .positional_max = SIZE_MAX,
};
