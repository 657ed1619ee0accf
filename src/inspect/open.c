/* open.c: checkpoints as models, and data sets as a network takes them. */
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"
#include "options.h"
#include "text.h"

static caps_status read_model_options(
    caps_model_options *own, const caps_model_options *options, caps_error *err)
{
    return caps_options_read(
        own, sizeof *own, options, options ? options->size : 0, "caps_model_options", err);
}

caps_status caps_model_create_fitting(caps_model **out, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, caps_error *err)
{
    caps_model_options own;
    caps_status status = read_model_options(&own, options, err);
    if (status != CAPS_OK)
        return status;
    status = caps_model_create(out, rt, spec, &own, err);
    while (status == CAPS_ERR_DEVICE_MEMORY && own.max_batch > 1) {
        own.max_batch /= 2;
        status = caps_model_create(out, rt, spec, &own, err);
    }
    return status;
}

caps_status caps_model_open(caps_model **out, caps_runtime *rt, const char *path,
    const caps_model_options *options, const caps_open_options *how, caps_error *err)
{
    caps_checkpoint checkpoint = {0};
    caps_model_options own;
    caps_open_options h;
    caps_status status;
    *out = NULL;
    CAPS_TRY(read_model_options(&own, options, err));
    CAPS_TRY(caps_options_read(&h, sizeof h, how, how ? how->size : 0, "caps_open_options", err));
    CAPS_TRY(caps_checkpoint_load_as(&checkpoint, path, h.arch, err));
    if (h.note)
        caps_text_each_line(checkpoint.notes, h.note, h.user);
    own.loss = &checkpoint.loss; /* losses and attacks are by what it was trained with */
    if (h.fitting)
        CAPS_TRY(caps_model_create_fitting(out, rt, checkpoint.spec, &own, err));
    else
        CAPS_TRY(caps_model_create(out, rt, checkpoint.spec, &own, err));
    status = caps_model_set_parameters(*out, checkpoint.parameters, err);
    if (status != CAPS_OK) {
        caps_model_free(*out);
        *out = NULL;
    }
done:
    caps_checkpoint_release(&checkpoint);
    return status;
}

/* ---- data ----------------------------------------------------------------------------------- */

caps_status caps_data_check(const caps_dataset *ds, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    caps_status status = caps_dataset_check_labels(ds, info->labels, err);
    if (status != CAPS_OK)
        return status;
    return caps_dataset_check(
        ds, info->input[0], info->input[1], info->input[2], info->classes, err);
}

/* Labels are places in the list of names: another list is other labels. */
static caps_status check_names(const caps_dataset *ds, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    char name[CAPS_CLASS_NAME];
    if (!ds->class_names || !info->has_class_names)
        return CAPS_OK;
    if (ds->classes != info->classes)
        return caps_fail(err, CAPS_ERR_MISMATCH, "%s: %zu classes have names, of the model %zu",
            ds->path, ds->classes, info->classes);
    for (size_t j = 0; j < info->classes; j++)
        if (strlen(ds->class_names[j]) >= CAPS_CLASS_NAME)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: the name of class %zu has %zu bytes, need at most %d", ds->path, j,
                strlen(ds->class_names[j]), CAPS_CLASS_NAME - 1);
    for (size_t j = 0; j < info->classes; j++)
        if (strcmp(ds->class_names[j], caps_class_name(spec, j, name)) != 0)
            return caps_fail(err, CAPS_ERR_MISMATCH, "%s: class %zu is '%s', of the model '%s'",
                ds->path, j, ds->class_names[j], name);
    return CAPS_OK;
}

caps_status caps_data_fit(caps_dataset *ds, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    if (info->source[0])
        caps_dataset_set_view(ds, info->input[1], info->input[2]);
    /* Standardised images are cropped to what the network takes. */
    if (ds->standardised && info->input[1] <= ds->height && info->input[2] <= ds->width)
        caps_dataset_set_view(ds, info->input[1], info->input[2]);
    caps_status status = caps_data_check(ds, spec, err);
    return status == CAPS_OK ? check_names(ds, spec, err) : status;
}

caps_status caps_data_open(caps_dataset *ds, const char *name_or_dir,
    const caps_dataset_options *options, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    const size_t *size = info->source[0] ? info->source : info->input;
    caps_dataset_options own;
    caps_status status;
    *ds = (caps_dataset){0};
    CAPS_TRY(caps_options_read(
        &own, sizeof own, options, options ? options->size : 0, "caps_dataset_options", err));
    own.channels = size[0];
    own.height = size[1];
    own.width = size[2];
    CAPS_TRY(caps_dataset_open(ds, name_or_dir, &own, err));
    CAPS_TRY(caps_data_fit(ds, spec, err));
done:
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}

bool caps_data_is_shared(const caps_model_spec *a, const caps_model_spec *b)
{
    const caps_model_info *x = caps_model_spec_info(a), *y = caps_model_spec_info(b);
    return memcmp(x->input, y->input, sizeof x->input) == 0 &&
           memcmp(x->source, y->source, sizeof x->source) == 0 && x->classes == y->classes &&
           x->labels == y->labels;
}
