/* cli_inspect.c: see cli_inspect.h. */
#include "cli_inspect.h"

#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "formats.h"
#include "progress.h"

const char *const caps_cli_splits[] = {"test", "train", "validation", NULL};
const char *const caps_cli_viewpoints[] = {
    "all", "familiar-azimuths", "novel-azimuths", "familiar-elevations", "novel-elevations", NULL};

/* ---- models --------------------------------------------------------------------------------- */

caps_open_options caps_cli_open_options(const char *arch, bool fitting)
{
    return (caps_open_options){CAPS_OPTIONS(caps_open_options), .arch = arch, .fitting = fitting,
        .note = caps_cli_on_note};
}

caps_status caps_cli_explain_model(caps_status status, caps_runtime *rt, const char *path,
    const caps_model_options *options, const caps_open_options *how, caps_error *err)
{
    if (status != CAPS_ERR_DEVICE_MEMORY)
        return status;
    caps_model_options tried = *options;
    caps_checkpoint checkpoint = {0};
    if (how->fitting)
        tried.max_batch = 1; /* it was tried down to that */
    else if (caps_checkpoint_load_as(&checkpoint, path, how->arch, NULL) != CAPS_OK)
        return status;
    status = caps_cli_explain_memory(status, rt, checkpoint.spec, &tried, err);
    caps_checkpoint_release(&checkpoint);
    return status;
}

caps_status caps_cli_model_open(caps_model **out, caps_runtime *rt, const char *path,
    const char *arch, caps_model_options *options, uint64_t batch, size_t usual, caps_error *err)
{
    const caps_open_options how = caps_cli_open_options(arch, batch == 0);
    options->max_batch = how.fitting ? usual : (size_t)batch;
    caps_status status = caps_model_open(out, rt, path, options, &how, err);
    return caps_cli_explain_model(status, rt, path, options, &how, err);
}

/* ---- data ----------------------------------------------------------------------------------- */

void caps_cli_note_other_pictures(
    const char *first, const char *other, const char *data, const caps_model_spec *spec)
{
    caps_subset_pictures a, b;
    caps_subset_find_pictures(&a, first, spec);
    caps_subset_find_pictures(&b, other, spec);
    const bool same = strcmp(a.background, b.background) == 0 && a.invert == b.invert &&
                      a.stretch == b.stretch && a.ground == b.ground;
    if (!same && caps_dataset_is_pictures(data))
        caps_cli_note("the runs of %s and %s read pictures in other ways (background, invert, "
                      "stretch): here they are read as for the first",
            first, other);
}

static void cli_on_pictures(void *user, size_t done, size_t total)
{
    caps_cli_gallery_progress(user, CAPS_GALLERY_READING, done, total);
}

/* "--invert --background white": the choices of a run that no flag replaced. */
static void note_run_pictures(
    const caps_subset_pictures *run, bool background, bool invert, bool stretch, const char *model)
{
    char text[64] = "", off[64] = "";
    if (background)
        snprintf(text, sizeof text, " --background %s", run->background);
    if (invert)
        strcat(text, " --invert");
    if (stretch)
        strcat(text, " --stretch");
    if (!*text)
        return;
    snprintf(off, sizeof off, "%s%s%s", background ? " --background auto" : "",
        invert ? " --no-invert" : "", stretch ? " --no-stretch" : "");
    caps_cli_note(
        "pictures are read as the run of %s read them:%s (otherwise with%s)", model, text, off);
}

/* The viewpoints of the run, unless the flag replaces them; of data that has some. */
static caps_viewpoints choose_viewpoints(const caps_subset_pictures *run,
    const caps_picture_flags *flags, const caps_args *args, const char *model, const char *data)
{
    if (caps_args_given(args, "--viewpoints"))
        return (caps_viewpoints)flags->viewpoints;
    if (run->viewpoints == CAPS_VIEWPOINTS_ALL || !data || !caps_dataset_has_viewpoints(data))
        return CAPS_VIEWPOINTS_ALL;
    caps_cli_note("images are those that the run of %s took: --viewpoints %s (otherwise with "
                  "--viewpoints all)",
        model, caps_viewpoints_name((int)run->viewpoints));
    return run->viewpoints;
}

void caps_cli_choose_pictures(caps_subset_pictures *pictures, const caps_picture_flags *flags,
    const caps_args *args, const char *model, const char *data, const caps_model_spec *spec)
{
    caps_subset_pictures run;
    caps_subset_find_pictures(&run, model, spec);
    *pictures = (caps_subset_pictures){.ground = run.ground};
    const bool background = caps_args_given(args, "--background");
    const bool invert = caps_args_given(args, "--invert") || caps_args_given(args, "--no-invert");
    const bool stretch =
        caps_args_given(args, "--stretch") || caps_args_given(args, "--no-stretch");
    const bool of_run = !data || caps_dataset_is_pictures(data);
    if (background && strcmp(flags->background, "auto") != 0)
        snprintf(pictures->background, sizeof pictures->background, "%s", flags->background);
    else if (!background && of_run)
        memcpy(pictures->background, run.background, sizeof run.background);
    pictures->invert = invert ? flags->invert : of_run && run.invert;
    pictures->stretch = stretch ? flags->stretch : of_run && run.stretch;
    pictures->viewpoints = choose_viewpoints(&run, flags, args, model, data);
    note_run_pictures(&run, of_run && !background && run.background[0],
        of_run && !invert && run.invert, of_run && !stretch && run.stretch, model);
}

caps_status caps_cli_data_open(caps_dataset *ds, const char *data, int split, const char *model,
    size_t limit, const caps_subset_pictures *pictures, const caps_model_spec *spec,
    caps_error *err)
{
    const caps_dataset_options options = {CAPS_OPTIONS(caps_dataset_options), .limit = limit,
        .progress = cli_on_pictures, .note = caps_cli_on_note, .background = pictures->background,
        .invert = pictures->invert, .stretch = pictures->stretch, .ground = pictures->ground,
        .viewpoints = pictures->viewpoints};
    caps_status status = caps_subset_open(ds, data, (caps_subset)split, model, &options, spec, err);
    caps_progress_clear();
    return status;
}

caps_status caps_cli_check_indices(
    const caps_counts *index, const char *data, int split, size_t n, caps_error *err)
{
    for (size_t i = 0; i < index->count; i++)
        if (index->values[i] >= n)
            return caps_cli_usage(err,
                "--index: %llu is out of range, need 0..%zu (%s %s has %zu images)",
                (unsigned long long)index->values[i], n - 1, data, caps_cli_splits[split], n);
    return CAPS_OK;
}

/* ---- progress ------------------------------------------------------------------------------- */

void caps_cli_gallery_progress(void *user, caps_gallery_phase phase, size_t done, size_t total)
{
    char bar[32], left[32];
    const double fraction = (double)done / (double)total;
    (void)user;
    if (!caps_progress_due())
        return;
    caps_progress_left(left, fraction);
    switch (phase) {
    case CAPS_GALLERY_READING:
        caps_progress_show("reading pictures: %zu of %zu%s", done, total, left);
        break;
    case CAPS_GALLERY_CLASSIFYING:
        caps_progress_show(
            "classifying %s %3.0f %%%s", caps_progress_bar(bar, fraction), 100 * fraction, left);
        break;
    case CAPS_GALLERY_DECODING:
        caps_progress_show("drawing %zu of %zu%s", done, total, left);
        break;
    }
}

void caps_cli_error_progress(double fraction, const char *what, size_t errors, size_t images)
{
    char bar[32], left[32];
    if (caps_progress_due())
        caps_progress_show("evaluating %s %3.0f %%  %serror %.2f %%%s",
            caps_progress_bar(bar, fraction), 100 * fraction, what ? what : "",
            100 * (double)errors / (double)images, caps_progress_left(left, fraction));
}
