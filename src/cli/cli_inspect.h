/* cli_inspect.h: what the subcommands that look at a checkpoint share: opening it and its data,
 * with the messages and the progress that belong to it. */
#ifndef CAPS_CLI_INSPECT_H
#define CAPS_CLI_INSPECT_H

#include "cli.h"
#include "gallery.h"
#include "subset.h"

/* What --split takes, in the order of caps_subset. */
extern const char *const caps_cli_splits[];

#define CAPS_ROW_SPLIT(type)                                                                       \
    CAPS_ROW_CHOICE("--split", type, split, caps_cli_splits, "S",                                  \
        "test, train, or validation: the folder val/ of the data, or the images that\n"            \
        "the model's run held out with --validation (default: test)")

/* caps_model_open of a checkpoint; batch 0: `usual` images at once, or fewer where memory is short.
 * *options gets the batch. Where the model does not fit the device, says whose fault it is:
 * CAPS_ERR_SPEC where not even a batch of 1 fits, else CAPS_ERR_ARGUMENT that names --batch. */
caps_status caps_cli_model_open(caps_model **out, caps_runtime *rt, const char *path,
    const char *arch, caps_model_options *options, uint64_t batch, size_t usual, caps_error *err);
/* How a model is opened: its notes are shown. */
caps_open_options caps_cli_open_options(const char *arch, bool fitting);
/* The same message for what failed with `status` elsewhere. `how`: as the model was opened. */
caps_status caps_cli_explain_model(caps_status status, caps_runtime *rt, const char *path,
    const caps_model_options *options, const caps_open_options *how, caps_error *err);

/* How pictures are read for a model: as the flags say, else as its run did, which a note tells.
 * data: the set that they are of, where it may be one without pictures; NULL: they are files. */
void caps_cli_choose_pictures(caps_subset_pictures *pictures, const caps_picture_flags *flags,
    const caps_args *args, const char *model, const char *data, const caps_model_spec *spec);

/* A note where the data is pictures, which are read as the run of the first model read them, and
 * that of another read them otherwise. */
void caps_cli_note_other_pictures(
    const char *first, const char *other, const char *data, const caps_model_spec *spec);

/* caps_subset_open, with progress and notes. */
caps_status caps_cli_data_open(caps_dataset *ds, const char *data, int split, const char *model,
    size_t limit, const caps_subset_pictures *pictures, const caps_model_spec *spec,
    caps_error *err);
/* Every --index is an image of the data. CAPS_ERR_ARGUMENT. */
caps_status caps_cli_check_indices(
    const caps_counts *index, const char *data, int split, size_t n, caps_error *err);

/* A line of progress for a gallery: caps_gallery.progress. */
void caps_cli_gallery_progress(void *user, caps_gallery_phase phase, size_t done, size_t total);
/* "evaluating [===>  ]  40 %  error 2.10 %"; `what` NULL or text before the error. */
void caps_cli_error_progress(double fraction, const char *what, size_t errors, size_t images);

#endif
