/* cmd_predict.c: what a checkpoint sees in single images. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fail.h"
#include "file.h"
#include "image.h"
#include "json.h"
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
    int split;
    bool capsules, invert;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--model", options, model, "FILE", "the checkpoint (required)"),
    CAPS_ROW_TEXT("--data", options, data, "D",
        "images of a data set (docs/data.md), in place of PNG files: a directory, a\n"
        "name looked for in $CAPSCL_DATA, $XDG_DATA_HOME/capscl and\n"
        "/usr/share/datasets, or multi:D"),
    CAPS_ROW_SPLIT(options),
    CAPS_ROW_COUNTS("--index", options, index, 0, UINT32_MAX, "N...",
        "which images of the split, from 0: numbers up to the next flag\n"
        "(default: the first 10)"),
    CAPS_ROW_SWITCH("--capsules", options, capsules,
        "also the class capsules' values, and with --json the reconstruction"),
    CAPS_ROW_TEXT("--reconstruct", options, sheet, "OUT.png",
        "draw a sheet of the inputs beside their reconstructions\n"
        "(the first 100 images)"),
    CAPS_ROW_SWITCH("--invert", options, invert,
        "PNG files are dark on light: turn them round, as the data sets are\n"
        "light on dark"),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_SWITCH(
        "--verbose", options, common.verbose, "say more on stderr: how each PNG was converted"),
    {0},
};

/* Images and what the network makes of them. */
typedef struct batch {
    const caps_model_spec *spec;
    size_t n, pixels, classes, dim, per_image; /* per_image: labels */
    char **sources;                            /* [n] */
    int32_t *true_labels;                      /* [n, per_image], -1: not known */
    float *inputs;                             /* [n, pixels] */
    int32_t *labels;                           /* [n, per_image] */
    float *lengths;                            /* [n, classes] */
    float *capsules;                           /* [n, classes, dim]; NULL: a CNN */
    float *reconstruction;                     /* [n, per_image, pixels], or NULL */
} batch;

static void batch_release(batch *b)
{
    for (size_t i = 0; b->sources && i < b->n; i++)
        free(b->sources[i]);
    free(b->sources);
    free(b->true_labels);
    free(b->inputs);
    free(b->labels);
    free(b->lengths);
    free(b->capsules);
    free(b->reconstruction);
    *b = (batch){0};
}

static caps_status batch_init(
    batch *b, size_t n, const caps_model *model, bool reconstruct, caps_error *err)
{
    const caps_model_spec *spec = caps_model_get_spec(model);
    const bool capsules = strcmp(spec->kind, "capsnet") == 0;
    *b = (batch){.spec = spec,
        .n = n,
        .pixels = caps_model_get_sizes(model)->pixels,
        .classes = spec->classes,
        .dim = spec->class_caps.dim,
        .per_image = spec->labels};
    b->sources = calloc(n, sizeof *b->sources);
    b->true_labels = calloc(n * b->per_image, sizeof *b->true_labels);
    b->inputs = calloc(n * b->pixels, sizeof *b->inputs);
    b->labels = calloc(n * b->per_image, sizeof *b->labels);
    b->lengths = calloc(n * b->classes, sizeof *b->lengths);
    if (capsules)
        b->capsules = calloc(n * b->classes * b->dim, sizeof *b->capsules);
    if (reconstruct)
        b->reconstruction = calloc(n * b->per_image * b->pixels, sizeof *b->reconstruction);
    if (b->sources && b->true_labels && b->inputs && b->labels && b->lengths &&
        (b->capsules || !capsules) && (b->reconstruction || !reconstruct))
        return CAPS_OK;
    batch_release(b);
    return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", n);
}

static caps_status read_png(
    batch *b, size_t i, const char *path, const caps_model_spec *spec, bool invert, caps_error *err)
{
    caps_image image = {0};
    char said[256] = "";
    caps_status status;
    CAPS_TRY(caps_image_read_png(&image, path, err));
    CAPS_TRY(caps_image_convert(b->inputs + i * b->pixels, &image, spec->input[0], spec->input[1],
        spec->input[2], invert, said, err));
    if (said[0])
        caps_cli_detail("%s: %s", path, said);
    for (size_t t = 0; t < b->per_image; t++)
        b->true_labels[i * b->per_image + t] = -1;
    b->sources[i] = caps_format("%s", path);
    if (!b->sources[i])
        status = caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory");
done:
    caps_image_release(&image);
    return status;
}

/* "mnist/test/12": the set's last name, split and index. */
static char *source_name(const char *data, const char *split, size_t index)
{
    size_t n = strlen(data);
    while (n > 1 && data[n - 1] == '/')
        n--;
    return caps_format("%.*s/%s/%zu", (int)n, data, split, index);
}

static caps_status check_indices(const options *o, const caps_dataset *ds, caps_error *err)
{
    for (size_t i = 0; i < o->index.count; i++)
        if (o->index.values[i] >= ds->n)
            return caps_cli_usage(err,
                "--index: %llu is out of range, need 0..%zu (%s %s has %zu images)",
                (unsigned long long)o->index.values[i], ds->n - 1, o->data,
                caps_cli_splits[o->split], ds->n);
    return CAPS_OK;
}

static caps_status take_images(batch *b, const options *o, const caps_dataset *ds, caps_error *err)
{
    for (size_t i = 0; i < b->n; i++) {
        size_t index = o->index.count ? (size_t)o->index.values[i] : i;
        caps_dataset_draw(ds, index, CAPS_AUGMENT_NONE, 0, 0, b->inputs + i * b->pixels,
            b->true_labels + i * b->per_image, NULL);
        b->sources[i] = source_name(o->data, caps_cli_splits[o->split], index);
        if (!b->sources[i])
            return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory");
    }
    return CAPS_OK;
}

/* Forward of all images, in batches. */
static caps_status compute(batch *b, caps_model *model, size_t most, caps_error *err)
{
    caps_runtime *rt = caps_model_get_runtime(model);
    caps_status status = CAPS_OK;
    for (size_t first = 0; first < b->n; first += most) {
        size_t n = b->n - first < most ? b->n - first : most;
        CAPS_TRY(caps_model_set_batch(model, n, b->inputs + first * b->pixels, NULL, err));
        CAPS_TRY(caps_model_forward(model, CAPS_MASK_LONGEST, err));
        caps_model_outputs out = caps_model_get_outputs(model);
        CAPS_TRY(caps_tensor_download(rt, &out.best, b->labels + first * b->per_image, err));
        CAPS_TRY(caps_tensor_download(rt, &out.lengths, b->lengths + first * b->classes, err));
        if (b->capsules)
            CAPS_TRY(caps_tensor_download(
                rt, &out.capsules, b->capsules + first * b->classes * b->dim, err));
        if (b->reconstruction)
            CAPS_TRY(caps_tensor_download(rt, &out.reconstruction,
                b->reconstruction + first * b->per_image * b->pixels, err));
        if (caps_progress_due())
            caps_progress_show("predicting %zu of %zu", first + n, b->n);
    }
done:
    caps_progress_clear();
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

static json_t *json_floats(const float *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, caps_json_float(values[i]));
    return list;
}

static json_t *json_labels(const int32_t *labels, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_integer(labels[i]));
    return list;
}

/* The capsules and what the decoder makes of the longest. */
static void add_capsules(json_t *row, const batch *b, size_t i)
{
    json_t *capsules = json_array();
    for (size_t j = 0; j < b->classes; j++)
        json_array_append_new(
            capsules, json_floats(b->capsules + (i * b->classes + j) * b->dim, b->dim));
    json_object_set_new(row, "capsules", capsules);
    const size_t one = b->pixels, all = b->per_image * one;
    json_t *reconstruction = json_null();
    if (b->reconstruction && b->per_image == 1) {
        reconstruction = json_floats(b->reconstruction + i * one, one);
    } else if (b->reconstruction) {
        reconstruction = json_array(); /* one for each label */
        for (size_t t = 0; t < b->per_image; t++)
            json_array_append_new(
                reconstruction, json_floats(b->reconstruction + i * all + t * one, one));
    }
    json_object_set_new(row, "reconstruction", reconstruction);
}

static caps_status print_json(const batch *b, const options *o, caps_error *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->labels + i * b->per_image;
        const int32_t *truth = b->true_labels + i * b->per_image;
        json_t *row = json_pack(
            "{s:o, s:i}", "source", caps_json_text(b->sources[i]), "label", (int)label[0]);
        if (truth[0] >= 0)
            json_object_set_new(row, "true_label", json_integer(truth[0]));
        if (b->per_image > 1) {
            json_object_set_new(row, "labels", json_labels(label, b->per_image));
            if (truth[0] >= 0)
                json_object_set_new(row, "true_labels", json_labels(truth, b->per_image));
        }
        if (b->spec->has_class_names)
            json_object_set_new(row, "class", json_string(b->spec->class_names[label[0]]));
        json_object_set_new(row, "lengths", json_floats(b->lengths + i * b->classes, b->classes));
        if (o->capsules)
            add_capsules(row, b, i);
        /* A row that could not be made is refused here: the document never lacks one in silence. */
        if (json_array_append_new(all, row) != 0) {
            json_decref(all);
            all = NULL;
            break;
        }
    }
    return caps_cli_print_json(all, err);
}

/* The classes by length, longest first: the first three of them. */
static void print_top(const caps_model_spec *spec, const float *lengths)
{
    const size_t classes = spec->classes;
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
    for (size_t t = 0; t < b->per_image; t++)
        printf("%s%s", t ? "+" : "", caps_class_name(b->spec, (size_t)labels[t], name));
}

/* In any order. */
static bool same_labels(const batch *b, const int32_t *x, const int32_t *y)
{
    for (size_t t = 0; t < b->per_image; t++) {
        bool found = false;
        for (size_t k = 0; k < b->per_image; k++)
            found = found || x[t] == y[k];
        if (!found)
            return false;
    }
    return true;
}

static void print_text(const batch *b, const options *o)
{
    int width = 0;
    for (size_t i = 0; i < b->n; i++)
        if ((int)strlen(b->sources[i]) > width)
            width = (int)strlen(b->sources[i]);
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->labels + i * b->per_image;
        const int32_t *truth = b->true_labels + i * b->per_image;
        printf("%-*s  label ", width, b->sources[i]);
        print_labels(b, label);
        if (truth[0] >= 0) {
            printf("  true ");
            print_labels(b, truth);
            printf(" %s", same_labels(b, label, truth) ? "right" : "WRONG");
        }
        printf("  %s ", b->capsules ? "lengths" : "probabilities");
        print_top(b->spec, b->lengths + i * b->classes);
        printf("\n");
        for (size_t j = 0; o->capsules && j < b->classes; j++) {
            char name[CAPS_CLASS_NAME];
            printf("  capsule %s:", caps_class_name(b->spec, j, name));
            for (size_t d = 0; d < b->dim; d++)
                printf(" %.4f", (double)b->capsules[(i * b->classes + j) * b->dim + d]);
            printf("\n");
        }
    }
}

static caps_status write_sheet(
    const batch *b, const options *o, const caps_model_spec *spec, caps_error *err)
{
    size_t n = b->n < CAPS_SHEET_MAX ? b->n : CAPS_SHEET_MAX;
    caps_sheet_cell *cells = calloc(n, sizeof *cells);
    char(*texts)[CAPS_CLASS_NAME] = calloc(spec->classes, sizeof *texts);
    const char **names = calloc(spec->classes, sizeof *names);
    if (!cells || !texts || !names) {
        free(cells);
        free(texts);
        free(names);
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", o->sheet);
    }
    for (size_t j = 0; j < spec->classes; j++)
        names[j] = caps_class_name(spec, j, texts[j]);
    for (size_t i = 0; i < n; i++) {
        /* Of a path the last name is enough in a small cell; of a data set, split and index. */
        const char *source = b->sources[i], *slash = strrchr(source, '/');
        if (slash && o->data)
            while (slash > source && slash[-1] != '/')
                slash--;
        else if (slash)
            slash++;
        cells[i] = (caps_sheet_cell){.source = slash ? slash : source,
            .input = b->inputs + i * b->pixels,
            .reconstruction = b->reconstruction + i * b->pixels,
            .label = b->labels[i],
            .true_label = b->true_labels[i],
            .length = b->lengths[i * b->classes + (size_t)b->labels[i]]};
    }
    char data[512];
    if (o->data)
        snprintf(data, sizeof data, "%s, %s split", o->data, caps_cli_splits[o->split]);
    else
        snprintf(data, sizeof data, "%zu PNG file%s", b->n, b->n == 1 ? "" : "s");
    const caps_sheet sheet = {.model = o->model,
        .data = data,
        .names = names,
        .cells = cells,
        .count = n,
        .channels = spec->input[0],
        .height = spec->input[1],
        .width = spec->input[2]};
    caps_status status = caps_sheet_write(&sheet, o->sheet, err);
    free(cells);
    free(texts);
    free(names);
    if (status == CAPS_OK && n < b->n)
        caps_cli_warn("%s shows the first %zu of %zu images", o->sheet, n, b->n);
    if (status == CAPS_OK)
        caps_cli_log("reconstructions: %s", o->sheet);
    return status;
}

static caps_status check_usage(const options *o, const caps_args *args, caps_error *err)
{
    if (!o->model)
        return caps_cli_usage(err, "predict: --model is missing, need a checkpoint (--model FILE)");
    if (o->data && args->positional_count > 0)
        return caps_cli_usage(
            err, "predict: PNG files and --data exclude each other (%s)", args->positional[0]);
    if (!o->data && args->positional_count == 0)
        return caps_cli_usage(err, "predict: no images, need PNG files or --data D");
    static const char *const with_data[] = {"--split", "--index"};
    for (size_t i = 0; i < 2; i++)
        if (!o->data && caps_args_given(args, with_data[i]))
            return caps_cli_usage(err, "predict: %s without --data, need --data D", with_data[i]);
    if (o->data && o->invert)
        return caps_cli_usage(err, "predict: --invert with --data, it is for PNG files");
    return CAPS_OK;
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
    batch b = {0};

    CAPS_TRY(check_usage(&o, &args, &err));
    CAPS_TRY(caps_cli_check_apart("--reconstruct", o.sheet, o.model, &err));
    CAPS_TRY(caps_cli_check_data_apart("--reconstruct", o.sheet, o.data, &err));
    for (size_t i = 0; i < args.positional_count; i++)
        CAPS_TRY(caps_cli_check_apart("--reconstruct", o.sheet, args.positional[i], &err));
    if (o.sheet)
        CAPS_TRY(caps_file_check_output(o.sheet, &err));
    size_t n = args.positional_count;
    if (o.data)
        n = o.index.count ? o.index.count : DEFAULT_IMAGES;

    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    size_t most = n < BATCH ? n : BATCH;
    const caps_model_options model_options = {
        .max_batch = most, .reconstruct = o.capsules || o.sheet, .conv = o.common.conv};
    CAPS_TRY(caps_cli_model_load(&model, rt, o.model, &model_options, &most, &err));
    const caps_model_spec *spec = caps_model_get_spec(model);
    if (o.sheet && !spec->has_decoder)
        CAPS_TRY(caps_fail(&err, CAPS_ERR_MISMATCH,
            "%s: the model has no decoder, need one for --reconstruct", o.model));
    if (o.sheet && spec->labels > 1)
        CAPS_TRY(caps_fail(&err, CAPS_ERR_MISMATCH,
            "%s: the model reconstructs %zu digits of an image, see 'capscl show overlap'", o.model,
            spec->labels));
    if (o.capsules && strcmp(spec->kind, "capsnet") != 0)
        CAPS_TRY(caps_fail(&err, CAPS_ERR_MISMATCH,
            "%s: the model has no capsules, need some for --capsules", o.model));
    if (o.data) {
        /* Of a split without --index only the start is read. */
        CAPS_TRY(caps_cli_data_open(
            &ds, o.data, o.split, o.model, o.index.count ? 0 : DEFAULT_IMAGES, spec, &err));
        CAPS_TRY(check_indices(&o, &ds, &err));
        n = o.index.count ? n : ds.n;
    }
    CAPS_TRY(batch_init(&b, n, model, spec->has_decoder && model_options.reconstruct, &err));
    if (o.data) {
        CAPS_TRY(take_images(&b, &o, &ds, &err));
        if (o.index.count == 0)
            caps_cli_log("the first %zu images of %s (--index N... chooses others)", n, o.data);
    } else {
        for (size_t i = 0; i < n; i++)
            CAPS_TRY(read_png(&b, i, args.positional[i], spec, o.invert, &err));
    }
    CAPS_TRY(compute(&b, model, most, &err));
    if (o.sheet)
        CAPS_TRY(write_sheet(&b, &o, spec, &err));
    if (o.common.json)
        CAPS_TRY(print_json(&b, &o, &err));
    else
        print_text(&b, &o);
done:
    caps_progress_clear();
    caps_cli_show_warnings(rt);
    batch_release(&b);
    caps_dataset_release(&ds);
    caps_model_free(model);
    caps_runtime_free(rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_predict = {
    .name = "predict",
    .run = run,
    .summary = "classify images, look into capsules, draw reconstructions",
    .usage = "capscl predict --model FILE IMAGE.png... [--invert] [flags]\n"
             "capscl predict --model FILE --data D [--split test|train] [--index N...] [flags]",
    .about =
        "Prints for every image the class of the longest capsule and the lengths of the three\n"
        "longest, and whether that is right where the true class is known. PNG files of any size\n"
        "and colour are converted to what the model takes: scaled with their proportions kept,\n"
        "centred, grey or colour. The networks of the usual data sets expect a light thing on a\n"
        "dark ground.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 OUT.png cannot be written, 2 wrong usage (an --index that is not\n"
        "there, too), 3 a bad model, image or data set, 4 device.\n"
        "\n"
        "examples:\n"
        "  capscl predict --model run1/model.safetensors drawing.png --invert --verbose\n"
        "  capscl predict --model run1/model.safetensors --data mnist --index 3 7 9 --json\n"
        "  capscl predict --model run1/model.safetensors --data fashion-mnist \\\n"
        "      --index $(seq 0 29) --reconstruct sheet.png\n",
    .positional_max = SIZE_MAX,
};
