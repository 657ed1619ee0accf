/* cli_data.c: data sets as the subcommands open them. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "evaluate.h"
#include "fail.h"
#include "progress.h"

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
    caps_class_names_set(own, ds->class_names, ds->classes);
    for (size_t j = 0; own->has_class_names && j < spec->classes && status == CAPS_OK; j++)
        if (strcmp(own->class_names[j], spec->class_names[j]) != 0)
            status = caps_fail(err, CAPS_ERR_MISMATCH, "%s: class %zu is '%s', of the model '%s'",
                ds->path, j, own->class_names[j], spec->class_names[j]);
    if (!own->has_class_names)
        status = caps_fail(err, CAPS_ERR_MISMATCH, "%s: %zu classes have names, of the model %zu",
            ds->path, ds->classes, spec->classes);
    free(own);
    return status;
}

caps_status caps_cli_data_open(caps_dataset *ds, const char *data, caps_split split, size_t limit,
    const caps_model_spec *spec, caps_error *err)
{
    const size_t *size = spec->source[0] ? spec->source : spec->input;
    const caps_dataset_options options = {.split = split,
        .limit = limit,
        .channels = size[0],
        .height = size[1],
        .width = size[2],
        .progress = on_pictures};
    caps_status status;
    CAPS_TRY(caps_dataset_open(ds, data, &options, err));
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
