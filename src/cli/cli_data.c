/* cli_data.c: data sets as the subcommands open them. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"
#include "evaluate.h"
#include "fail.h"
#include "progress.h"
#include "state.h"

const char *const caps_cli_splits[] = {"test", "train", "validation", NULL};

static void on_pictures(void *user, size_t done, size_t total)
{
    (void)user;
    if (caps_progress_due())
        caps_progress_show("reading pictures: %zu of %zu", done, total);
}

/* Labels are places in the list of names: another list is other labels. */
static caps_status check_names(const caps_dataset *ds, const caps_model_spec *spec, caps_error *err)
{
    caps_model_spec *own = ds->class_names && spec->has_class_names ? malloc(sizeof *own) : NULL;
    caps_status status = CAPS_OK;
    if (!own)
        return CAPS_OK;
    *own = *spec;
    if (caps_class_names_set(own, ds->class_names, ds->classes, err) != CAPS_OK)
        status = caps_fail_prefix(err, CAPS_ERR_FORMAT, "%s", ds->path);
    for (size_t j = 0; own->has_class_names && j < spec->classes && status == CAPS_OK; j++)
        if (strcmp(own->class_names[j], spec->class_names[j]) != 0)
            status = caps_fail(err, CAPS_ERR_MISMATCH, "%s: class %zu is '%s', of the model '%s'",
                ds->path, j, own->class_names[j], spec->class_names[j]);
    if (status == CAPS_OK && !own->has_class_names)
        status = caps_fail(err, CAPS_ERR_MISMATCH, "%s: %zu classes have names, of the model %zu",
            ds->path, ds->classes, spec->classes);
    free(own);
    return status;
}

/* The directory of the run that a checkpoint lies in. NULL: out of memory. */
static char *run_of(const char *model)
{
    const char *slash = strrchr(model, '/');
    return slash == model ? strdup("/")
           : slash        ? strndup(model, (size_t)(slash - model))
                          : strdup(".");
}

caps_status caps_cli_validation_config(
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
            "%s: its run kept no images apart, need one trained with --validation N", model);
    free(run);
    return status;
}

/* The images that the run of `model` did not train on. */
static caps_status open_validation(caps_dataset *ds, const char *data, const char *model,
    size_t limit, const caps_dataset_options *of_training, caps_error *err)
{
    caps_train_config config;
    caps_run_data trained;
    caps_dataset training = {0};
    caps_dataset_options options = *of_training;
    caps_status status;
    CAPS_TRY(caps_cli_validation_config(&config, &trained, model, err));
    options.limit = config.limit;
    CAPS_TRY(caps_dataset_open(&training, data, &options, err));
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
    if (limit && limit < ds->n)
        ds->n = limit;
done:
    caps_dataset_release(&training);
    return status;
}

caps_status caps_cli_data_open(caps_dataset *ds, const char *data, int split, const char *model,
    size_t limit, const caps_model_spec *spec, caps_error *err)
{
    const size_t *size = spec->source[0] ? spec->source : spec->input;
    const caps_dataset_options options = {CAPS_OPTIONS(caps_dataset_options),
        .split = split == CAPS_CLI_TEST ? CAPS_SPLIT_TEST : CAPS_SPLIT_TRAIN,
        .limit = limit,
        .channels = size[0],
        .height = size[1],
        .width = size[2],
        .progress = on_pictures};
    caps_status status;
    CAPS_TRY(split == CAPS_CLI_VALIDATION ? open_validation(ds, data, model, limit, &options, err)
                                          : caps_dataset_open(ds, data, &options, err));
    caps_progress_clear();
    if (spec->source[0])
        caps_dataset_set_view(ds, spec->input[1], spec->input[2]);
    CAPS_TRY(caps_data_check(ds, spec, err));
    CAPS_TRY(check_names(ds, spec, err));
done:
    caps_progress_clear();
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}
