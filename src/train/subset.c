/* subset.c: see subset.h. */
#include "subset.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "options.h"
#include "pairs.h"

const char *caps_subset_name(int subset)
{
    static const char *const names[CAPS_SUBSET_COUNT] = {[CAPS_SUBSET_TEST] = "test",
        [CAPS_SUBSET_TRAIN] = "train",
        [CAPS_SUBSET_VALIDATION] = "validation"};
    return subset >= 0 && subset < CAPS_SUBSET_COUNT ? names[subset] : NULL;
}

/* ---- images that a run held out ------------------------------------------------------------- */

/* The directory of the run that a checkpoint lies in. NULL: out of memory. */
static char *run_of(const char *model)
{
    const char *slash = strrchr(model, '/');
    return slash == model ? strdup("/")
           : slash        ? strndup(model, (size_t)(slash - model))
                          : strdup(".");
}

void caps_subset_find_pictures(
    caps_subset_pictures *pictures, const char *model, const caps_model_spec *spec)
{
    caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
    caps_run_data data = {0};
    char *run = run_of(model);
    *pictures = (caps_subset_pictures){0};
    if (run && caps_run_load(&config, &data, run, NULL) == CAPS_OK) {
        memcpy(pictures->background, config.background, sizeof pictures->background);
        pictures->invert = config.invert;
        pictures->stretch = config.stretch;
        pictures->ground = data.ground;
        pictures->viewpoints = config.viewpoints;
    }
    if (!data.has_ground && caps_model_spec_info(spec)->input[0] == 1)
        pictures->ground = CAPS_GROUND_DARK;
    caps_train_config_release(&config);
    free(run);
}

caps_status caps_subset_held_out(
    caps_train_config *config, caps_run_data *data, const char *model, caps_error *err)
{
    char *run = run_of(model);
    caps_status status;
    if (!run)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", model);
    status = caps_run_load(config, data, run, err);
    if (status != CAPS_OK)
        caps_fail_prefix(err, status, "--split validation");
    else if (config->validation == 0)
        status = caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run held out no images, need one trained with --validation N, or data with a "
            "folder val",
            model);
    free(run);
    return status;
}

caps_status caps_subset_check_same(
    const char *data, const char *first, const char *second, caps_error *err)
{
    caps_train_config a = {CAPS_OPTIONS(caps_train_config)}, b = a;
    caps_status status;
    bool has;
    CAPS_TRY(caps_dataset_has_split(&has, data, CAPS_SPLIT_VALIDATION, err));
    if (has)
        return CAPS_OK;
    CAPS_TRY(caps_subset_held_out(&a, NULL, first, err));
    CAPS_TRY(caps_subset_held_out(&b, NULL, second, err));
    if (a.validation != b.validation || a.seed != b.seed || a.limit != b.limit ||
        a.viewpoints != b.viewpoints)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run held out other images than that of %s, need the same --validation and "
            "--seed",
            second, first));
done:
    caps_train_config_release(&a);
    caps_train_config_release(&b);
    return status;
}

/* The images that the run of `model` did not train on, of the size in `options`. */
static caps_status open_held_out(caps_dataset *ds, const char *data, const char *model,
    const caps_dataset_options *options, caps_error *err)
{
    caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
    caps_run_data trained;
    caps_dataset training = {0};
    caps_dataset_options all = *options;
    caps_status status;
    *ds = (caps_dataset){0};
    CAPS_TRY(caps_subset_held_out(&config, &trained, model, err));
    all.split = CAPS_SPLIT_TRAIN;
    all.limit = config.limit;
    if (all.viewpoints != config.viewpoints)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run held out images of the viewpoints '%s', need the same for its validation "
            "split",
            model, caps_viewpoints_name((int)config.viewpoints)));
    CAPS_TRY(caps_dataset_open(&training, data, &all, err));
    if (trained.images && training.n != trained.images + config.validation)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: has %zu training images, the run of %s %llu: need the same data for its "
            "validation split",
            training.path, training.n, model,
            (unsigned long long)(trained.images + config.validation)));
    CAPS_TRY(caps_dataset_split_off(&training, config.validation, config.seed, ds, err));
    if (trained.images && caps_dataset_hash(&training) != trained.hash) {
        caps_dataset_release(ds);
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: has other training images or labels than the run of %s, need the same data for "
            "its validation split",
            training.path, model));
    }
    if (options->limit && options->limit < ds->n)
        ds->n = options->limit;
done:
    caps_train_config_release(&config);
    caps_dataset_release(&training);
    return status;
}

caps_status caps_subset_open(caps_dataset *ds, const char *data, caps_subset subset,
    const char *model, const caps_dataset_options *options, const caps_model_spec *spec,
    caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    const size_t *size = info->source[0] ? info->source : info->input;
    caps_dataset_options own;
    caps_status status;
    bool has = subset != CAPS_SUBSET_VALIDATION;
    *ds = (caps_dataset){0};
    CAPS_TRY(caps_options_read(
        &own, sizeof own, options, options ? options->size : 0, "caps_dataset_options", err));
    own.split = subset == CAPS_SUBSET_TEST    ? CAPS_SPLIT_TEST
                : subset == CAPS_SUBSET_TRAIN ? CAPS_SPLIT_TRAIN
                                              : CAPS_SPLIT_VALIDATION;
    if (subset == CAPS_SUBSET_VALIDATION)
        CAPS_TRY(caps_dataset_has_split(&has, data, CAPS_SPLIT_VALIDATION, err));
    if (has)
        return caps_data_open(ds, data, &own, spec, err);
    own.channels = size[0];
    own.height = size[1];
    own.width = size[2];
    CAPS_TRY(open_held_out(ds, data, model, &own, err));
    CAPS_TRY(caps_data_fit(ds, spec, err));
done:
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}
