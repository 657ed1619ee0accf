/* subset.h: the images of a data set that are evaluated: its test images, its training images, or
 * those for validation: the set's own, where it has some, else those that the run of a checkpoint
 * held out, found again by the config.json beside it. */
#ifndef CAPS_SUBSET_H
#define CAPS_SUBSET_H

#include <capscl/inspect.h>

#include "config.h"

typedef enum caps_subset {
    CAPS_SUBSET_TEST,
    CAPS_SUBSET_TRAIN,
    CAPS_SUBSET_VALIDATION, /* needs the checkpoint's run, or data that has them */
    CAPS_SUBSET_COUNT
} caps_subset;

/* "test", "train", "validation"; NULL from CAPS_SUBSET_COUNT on. */
const char *caps_subset_name(int subset);

/* A subset as a network of this spec takes it: see caps_data_open. model: the path of the
 * checkpoint. Of the options, `split` and the sizes do not count. On failure *ds is released.
 * Errors: those of caps_data_open; of VALIDATION also those of caps_subset_held_out, and
 * CAPS_ERR_MISMATCH where these are not the images that the run trained on. */
caps_status caps_subset_open(caps_dataset *ds, const char *data, caps_subset subset,
    const char *model, const caps_dataset_options *options, const caps_model_spec *spec,
    caps_error *err);

/* How the run of a checkpoint read pictures, and what its images were. */
typedef struct caps_subset_pictures {
    char background[8]; /* as in caps_train_config */
    bool invert, stretch;
    caps_ground ground;
    caps_viewpoints viewpoints;
} caps_subset_pictures;

/* From the config.json beside the checkpoint; the defaults where there is none. What it does not
 * say of the ground is that of the usual data sets: with one channel light on dark. */
void caps_subset_find_pictures(
    caps_subset_pictures *pictures, const char *model, const caps_model_spec *spec);

/* The validation images of the data are the same for both checkpoints: its own, or those that the
 * runs of both held out. CAPS_ERR_MISMATCH, and those of caps_subset_held_out. */
caps_status caps_subset_check_same(
    const char *data, const char *first, const char *second, caps_error *err);

/* The settings of the run that a checkpoint lies in, which held out images, and, where data is not
 * NULL, what it was trained on. Errors: CAPS_ERR_* of caps_run_load, CAPS_ERR_MISMATCH (it held out
 * none). */
caps_status caps_subset_held_out(
    caps_train_config *config, caps_run_data *data, const char *model, caps_error *err);

#endif
