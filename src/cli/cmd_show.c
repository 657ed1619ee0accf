/* cmd_show.c: a picture of a network's inside. */
#include <stdlib.h>
#include <string.h>

#include "cli_inspect.h"
#include "fail.h"
#include "places.h"
#include "file.h"
#include "json.h"
#include "progress.h"

enum { MOST_INDEX = 20, BATCH = 100 };

typedef struct options {
    caps_common common;
    const char *model, *data, *out;
    caps_counts index;
    uint64_t limit, batch, scale;
    int split;
    caps_picture_flags pictures;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--model", options, model, "FILE",
        "the checkpoint, or a run directory for the one in it (required)"),
    CAPS_ROW_ARCH(options),
    CAPS_ROW_TEXT("--data", options, data, "D",
        "a data set (docs/data.md): a directory, a name looked for in $CAPSCL_DATA,\n"
        "$XDG_DATA_HOME/capscl and /usr/share/datasets, or multi:D (required, but\n"
        "not for filters)"),
    CAPS_ROW_TEXT("--out", options, out, "FILE.png", "the picture to write (required)"),
    CAPS_ROW_SPLIT(options),
    CAPS_ROW_COUNT(
        "--limit", options, limit, 1, UINT32_MAX, "N", "the first N images only (default: all)"),
    CAPS_ROW_INDICES("--index", options, index, "N...",
        "these images of the split, from 0: numbers, or ranges like 0-9, up to\n"
        "the next flag, at most 20; reconstruct, perturb, couplings, assignment and\n"
        "overlap only"),
    CAPS_ROW_COUNT("--scale", options, scale, 1, 2, "N",
        "1, or 2: twice the resolution, for print and dense screens (default: 1)"),
    CAPS_ROW_COUNT("--batch", options, batch, 1, 1000000, "N",
        "images at a time (default: 100, or fewer where memory is short)"),
    CAPS_ROWS_PICTURES(options),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

static const char *figure_name(size_t i, const void *context)
{
    const caps_gallery_figure *figure = caps_gallery_figure_at(i);
    (void)context;
    return figure ? figure->name : NULL;
}

static caps_status choose_figure(
    const caps_args *args, const caps_gallery_figure **figure, caps_error *err)
{
    char names[128] = "";
    for (size_t i = 0; figure_name(i, NULL); i++) {
        const size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", figure_name(i, NULL));
    }
    if (args->positional_count == 0)
        return caps_cli_usage(err, "show: no kind of picture, need one of %s", names);
    const char *name = args->positional[0];
    *figure = caps_gallery_figure_find(name);
    if (*figure)
        return CAPS_OK;
    const char *near = caps_nearest(name, figure_name, NULL);
    if (near)
        return caps_cli_usage(
            err, "show: unknown kind '%s'; did you mean %s? (there are %s)", name, near, names);
    return caps_cli_usage(err, "show: unknown kind '%s', need one of %s", name, names);
}

static caps_status show_check_usage(
    const options *o, const caps_gallery_figure *figure, caps_error *err)
{
    caps_status status = caps_cli_check_pictures(&o->pictures, err);
    if (status != CAPS_OK)
        return status;
    if (!o->model)
        return caps_cli_usage(err, "show: --model is missing, need a checkpoint (--model FILE)");
    if (!o->data && figure->needs & CAPS_NEEDS_DATA)
        return caps_cli_usage(
            err, "show: --data is missing, need a data set for %s (--data D)", figure->name);
    if (!o->out)
        return caps_cli_usage(err, "show: --out is missing, need a picture to write (--out FILE)");
    if (o->index.count && !(figure->needs & CAPS_TAKES_INDEX))
        return caps_cli_usage(
            err, "show: --index with %s, which shows no single images", figure->name);
    if (o->index.count > MOST_INDEX)
        return caps_cli_usage(
            err, "--index: %zu images, need at most %d", o->index.count, MOST_INDEX);
    return CAPS_OK;
}

/* A figure that needs no data: what is given of some is not used, but must be there. */
static caps_status note_no_data(
    const options *o, const caps_args *args, const caps_gallery_figure *figure, caps_error *err)
{
    static const char *const names[] = {
        "--data", "--split", "--limit", "--background", "--invert", "--stretch"};
    char *path = NULL;
    if (o->data) {
        caps_status status = caps_dataset_find(&path, o->data, err);
        if (status != CAPS_OK)
            return status;
        free(path);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (caps_args_given(args, names[i]))
            caps_cli_log("%s has no effect: %s shows no images", names[i], figure->name);
    return CAPS_OK;
}

static caps_status open_gallery(caps_gallery *g, caps_runtime *rt, const options *o,
    const caps_args *args, const caps_gallery_figure *figure, caps_error *err)
{
    caps_status status;
    const caps_model_options model = {CAPS_OPTIONS(caps_model_options),
        .max_batch = o->batch ? (size_t)o->batch : BATCH,
        .reconstruct = figure->needs & CAPS_NEEDS_DECODER, .conv = o->common.conv};
    g->scale = (double)o->scale;
    g->index = o->index.values;
    g->index_count = o->index.count;
    g->progress = caps_cli_gallery_progress;
    g->note = caps_cli_on_note;
    const caps_open_options how = caps_cli_open_options(o->common.arch, o->batch == 0);
    status = caps_gallery_open_model(g, rt, o->model, &model, &how, err);
    CAPS_TRY(caps_cli_explain_model(status, rt, o->model, &model, &how, err));
    CAPS_TRY(caps_gallery_check(g, figure, err));
    if (figure->needs & CAPS_NEEDS_DATA) {
        caps_cli_choose_pictures(&g->pictures, &o->pictures, args, o->model, o->data, g->spec);
        CAPS_TRY(caps_gallery_open_data(g, o->data, (caps_subset)o->split, (size_t)o->limit, err));
        CAPS_TRY(caps_cli_check_indices(&o->index, o->data, o->split, g->data.n, err));
    }
    if (figure->needs & CAPS_NEEDS_EVALUATION && !g->index_count)
        CAPS_TRY(caps_gallery_evaluate(g, err));
done:
    caps_progress_clear();
    return status;
}

static caps_status show_print_json(const caps_gallery *g, const caps_gallery_figure *figure,
    const caps_drawing *d, const options *o, const caps_runtime *rt, caps_error *err)
{
    json_t *all = json_pack("{s:s, s:o, s:I, s:I, s:o, s:o, s:o}", "kind", figure->name, "file",
        caps_json_text(o->out), "width", (json_int_t)d->image.width, "height",
        (json_int_t)d->image.height, "model", caps_json_text(o->model), "images",
        g->data.n ? json_integer((json_int_t)g->data.n) : json_null(), "device",
        caps_json_text(caps_runtime_device(rt)->name));
    return caps_cli_print_json(all, err);
}

static int show_run(const caps_command *command, int argc, char **argv)
{
    options o = {.scale = 1};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    caps_gallery g = {0};
    caps_drawing d = {0};
    const caps_gallery_figure *figure = NULL;

    CAPS_TRY(choose_figure(&args, &figure, &err));
    CAPS_TRY(show_check_usage(&o, figure, &err));
    CAPS_TRY(caps_place_model(&args, &o.model, &err));
    CAPS_TRY(caps_cli_check_apart("--out", o.out, o.model, &err));
    CAPS_TRY(caps_cli_check_data_apart("--out", o.out, o.data, &err));
    CAPS_TRY(caps_file_check_output(o.out, &err));
    if (!(figure->needs & CAPS_NEEDS_DATA))
        CAPS_TRY(note_no_data(&o, &args, figure, &err));
    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    CAPS_TRY(open_gallery(&g, rt, &o, &args, figure, &err));
    CAPS_TRY(figure->draw(&g, &d, &err));
    CAPS_TRY(caps_image_write_png(&d.image, o.out, &err));
    caps_cli_log("%s: %s, %zux%zu pixels", figure->name, o.out, d.image.width, d.image.height);
    if (o.common.json)
        CAPS_TRY(show_print_json(&g, figure, &d, &o, rt, &err));
done:
    caps_progress_clear();
    caps_cli_show_warnings(rt);
    caps_drawing_release(&d);
    caps_gallery_release(&g);
    caps_runtime_free(rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_show = {
    .name = "show",
    .run = show_run,
    .summary = "pictures of a network's inside: reconstructions, dimensions, couplings, ...",
    .usage = "capscl show KIND --model M --data D --out FILE.png [flags]",
    .about =
        "Draws a labelled sheet that stands alone. KIND is\n"
        "  reconstruct  images beside what the decoder makes of them: right ones of each class,\n"
        "               and the worst mistakes as the predicted and as the true class\n"
        "  perturb      what each dimension of a class capsule means: changed from -0.25 to 0.25\n"
        "               by 0.05, for the best image of each class\n"
        "  couplings    which primary capsules vote for which class at each iteration, for a sure\n"
        "               image and the worst mistake (pairs too), and how long they are\n"
        "  assignment   the same of matrix capsules: R of each iteration, and activations\n"
        "  filters      the weights of the first convolution\n"
        "  lengths      how long each class's capsule is (matrix capsules: how active) in its own\n"
        "               images and in others\n"
        "  confusion    how many images of each class were given each class\n"
        "  overlap      pairs of overlapping digits taken apart (MultiMNIST): right ones, the\n"
        "               worst ones, and what comes when a digit is asked for that is not there\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 FILE.png cannot be written, 2 wrong usage (an --index that is not\n"
        "there, too), 3 a bad model or data set, or a model without what KIND shows, 4 device.\n"
        "\n"
        "examples:\n"
        "  capscl show perturb --model run1/model.safetensors --data mnist --out perturb.png\n"
        "  capscl show couplings --model run1/model.safetensors --data mnist --index 7 \\\n"
        "      --out couplings.png --scale 2\n"
        "  capscl show filters --model run1/model.safetensors --out filters.png\n",
    .positional_max = 1,
    .positional = figure_name,
};
