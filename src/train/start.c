/* start.c: see start.h. */
#include "start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "formats.h"
#include "layer.h"

/* ---- augmentation --------------------------------------------------------------------------- */

/* Augmentations that give images of another size than the data's. */
static const struct {
    caps_augment augment;
    size_t size;
} resizing[] = {{CAPS_AUGMENT_PLACE40, 40}, {CAPS_AUGMENT_CROP24, 24}};

/* The network takes images that this augmentation makes of larger or smaller ones. */
static bool start_fits(const caps_model_info *info, size_t size)
{
    return info->source[0] && info->input[1] == size && info->input[2] == size;
}

/* A network for images of the data's size becomes one for images of the augmentation's. */
static caps_status start_resize(
    const caps_start *start, caps_model_spec *spec, size_t size, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    const size_t source[3] = {info->input[0], info->input[1], info->input[2]};
    const size_t input[3] = {info->input[0], size, size};
    if (info->source[0] || start->init)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: %s %s gives images of %zux%zu, the network takes %zux%zu",
            start->augment_option, caps_augment_name(start->augment), size, size, info->input[1],
            info->input[2]);
    return caps_model_spec_set_input(spec, input, source, err);
}

/* The augmentation, and the size of the input that it asks for. */
static caps_status start_choose_augment(
    const caps_start *start, caps_train_config *config, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(config->spec);
    const bool given = start->augment >= 0, pairs = info->labels > 1;
    const bool viewpoints = !given && caps_dataset_has_viewpoints(start->data);
    config->augment = given        ? (caps_augment)start->augment
                      : viewpoints ? CAPS_AUGMENT_CROP
                                   : CAPS_AUGMENT_SHIFT2;
    if (pairs && given && config->augment != CAPS_AUGMENT_NONE)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: %s %s with pairs of images, which are shifted themselves, need none",
            start->augment_option, caps_augment_name(start->augment));
    if (!given && !viewpoints && start->profile->affine)
        config->augment = CAPS_AUGMENT_AFFINE;
    if (pairs)
        config->augment = CAPS_AUGMENT_NONE;
    for (size_t i = 0; i < sizeof resizing / sizeof resizing[0]; i++) {
        const bool fits = start_fits(info, resizing[i].size);
        if (!given && fits)
            config->augment = resizing[i].augment;
        if (given && config->augment == resizing[i].augment && !fits)
            return start_resize(start, config->spec, resizing[i].size, err);
    }
    return CAPS_OK;
}

/* ---- the network ---------------------------------------------------------------------------- */

/* A built-in network takes what the others' networks take of smallNORB: 32x32 of two cameras. */
static caps_status start_adopt_input(
    const caps_start *start, caps_model_spec *spec, caps_error *err)
{
    static const size_t input[3] = {2, 32, 32};
    const bool builtin = start->arch ? caps_model_spec_is_builtin(start->arch) : !start->init;
    if (!builtin || !caps_dataset_has_viewpoints(start->data))
        return CAPS_OK;
    return caps_model_spec_set_input(spec, input, NULL, err);
}

/* A network of a file has as many classes as those of the data that have names. One with fewer is
 * reported with the label that is too great, after whatever is wrong with the files. */
static caps_status start_check_classes(
    const caps_start *start, const caps_model_spec *spec, size_t count, bool named, caps_error *err)
{
    const size_t classes = caps_model_spec_info(spec)->classes;
    if (classes <= count || !named)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_MISMATCH,
        "%s: has %zu classes, the network %zu: need \"classes\": %zu in %s, or a built-in network, "
        "which takes the number from the data",
        start->data, count, classes, count, start->arch);
}

/* Classes of the data, with their names where they have some. A built-in network gets as many
 * classes as the data has. The network of --init does too, where it has too few of them, or where
 * the classes of the data have names: its last layer then begins anew. (Labels without names may be
 * some of those that it knows.) Another network must have them. */
static caps_status start_adopt_classes(
    const caps_start *start, caps_model_spec *spec, caps_error *err)
{
    char **names = NULL;
    size_t named = 0, count = 0;
    const bool builtin = start->arch ? caps_model_spec_is_builtin(start->arch) : !start->init;
    caps_status status;
    CAPS_TRY(caps_dataset_names(&names, &named, start->data, err));
    CAPS_TRY(caps_dataset_count_classes(&count, start->data, err));
    if (count == 0) /* no data set: what it lacks is reported when it is read */
        goto done;
    if (builtin && count == 1)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: every label of the training split is 0, need at least two classes", start->data));
    if (builtin || (!start->arch && (names || count > caps_model_spec_info(spec)->classes)))
        CAPS_TRY(caps_model_spec_set_classes(spec, count, err));
    CAPS_TRY(start_check_classes(start, spec, count, names != NULL, err));
    if (names && caps_class_names_set(spec, names, count, err) != CAPS_OK)
        CAPS_TRY(caps_fail_prefix(err, CAPS_ERR_FORMAT, "%s", start->data));
done:
    free(names);
    return status;
}

static caps_status start_no_layer(
    const char *option, const char *arch, const caps_model_spec *spec, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_ARGUMENT, "train: %s with %s, which has no %s", option, arch,
        caps_model_spec_info(spec)->dim == 0 ? "capsules" : "layer of the kind");
}

/* The network as the requests change it. */
static caps_status start_change_spec(
    const caps_start *start, const char *arch, caps_model_spec *spec, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t all = 0; /* that the requests of one option have changed */
    for (size_t i = 0; i < start->request_count; i++) {
        const caps_spec_request *r = &start->requests[i];
        const bool last = i + 1 == start->request_count || strcmp(r[1].option, r->option) != 0;
        size_t changed;
        CAPS_TRY(caps_model_spec_set(spec, r->kind, r->field, r->json, &changed, err));
        all += changed;
        if (last && all == 0)
            CAPS_TRY(start_no_layer(r->option, arch, spec, err));
        all = last ? 0 : all;
    }
    if (start->no_decoder && caps_model_spec_info(spec)->dim == 0)
        CAPS_TRY(start_no_layer(start->no_decoder_option, arch, spec, err));
    if (start->no_decoder)
        CAPS_TRY(caps_model_spec_remove_decoder(spec, err));
done:
    return status;
}

static caps_status start_copy_text(
    char *to, size_t bytes, const char *from, const char *name, caps_error *err)
{
    if (strlen(from) >= bytes)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: %s: a name of %zu bytes is too long, need less than %zu", name, strlen(from),
            bytes);
    memcpy(to, from, strlen(from) + 1);
    return CAPS_OK;
}

/* The spec before it is changed: that of arch, else that of the checkpoint, else the default. */
static caps_status start_load_spec(caps_train_config *config, const caps_start *start,
    caps_checkpoint *checkpoint, caps_error *err)
{
    const char *arch = start->arch ? start->arch : "mnist";
    caps_model_spec *spec = NULL;
    caps_status status;
    if (start->init && !start->arch) {
        CAPS_TRY(caps_checkpoint_load(checkpoint, start->init, NULL, err));
        CAPS_TRY(caps_model_spec_copy(&spec, checkpoint->spec, err));
        /* A long path is cut: the file itself stands under "init". */
        snprintf(
            config->arch, sizeof config->arch, "%.*s", (int)sizeof config->arch - 1, start->init);
    } else {
        CAPS_TRY(caps_model_spec_load(&spec, arch, err));
        CAPS_TRY(start_copy_text(config->arch, sizeof config->arch, arch, "arch", err));
    }
    caps_model_spec_free(config->spec);
    config->spec = spec;
    spec = NULL;
done:
    caps_model_spec_free(spec);
    return status;
}

/* Its parameters are those of the network, whatever else was changed of that. */
static bool start_has_parameters(const caps_checkpoint *c, const caps_model_spec *spec)
{
    caps_network a = {0}, b = {0};
    bool same = caps_network_init(&a, c->spec, NULL) == CAPS_OK &&
                caps_network_init(&b, spec, NULL) == CAPS_OK &&
                a.parameter_count == b.parameter_count;
    for (size_t i = 0; same && i < a.parameter_count; i++) {
        const caps_parameter *p = &a.parameters[i].parameter, *q = &b.parameters[i].parameter;
        same = strcmp(p->name, q->name) == 0 && p->ndim == q->ndim &&
               memcmp(p->shape, q->shape, (size_t)p->ndim * sizeof *p->shape) == 0;
    }
    caps_network_release(&a);
    caps_network_release(&b);
    return same;
}

caps_status caps_train_config_start(caps_train_config *config, const caps_start *start,
    caps_checkpoint *checkpoint, caps_error *err)
{
    const bool own = start->init && !start->arch; /* the checkpoint's own network */
    caps_status status;
    CAPS_TRY(start_copy_text(config->data, sizeof config->data, start->data, "data", err));
    CAPS_TRY(start_load_spec(config, start, checkpoint, err));
    CAPS_TRY(start_adopt_input(start, config->spec, err));
    CAPS_TRY(start_choose_augment(start, config, err));
    CAPS_TRY(start_adopt_classes(start, config->spec, err));
    CAPS_TRY(caps_profile_apply(config, start->profile, !own, err));
    CAPS_TRY(start_change_spec(start, config->arch, config->spec, err));
    if (!start->init)
        goto done;
    CAPS_TRY(start_copy_text(config->init, sizeof config->init, start->init, "init", err));
    if (own && start_has_parameters(checkpoint, config->spec))
        goto done;
    caps_checkpoint_release(checkpoint);
    CAPS_TRY(caps_checkpoint_load_fitting(checkpoint, start->init, config->spec, err));
done:
    return status;
}

/* ---- a checkpoint's network and the profile ------------------------------------------------- */

bool caps_start_lacks_profile(const caps_start *start, const caps_model_spec *spec)
{
    caps_profile_change change;
    bool lacks = false;
    for (size_t i = 0; caps_profile_change_at(start->profile, i, &change); i++) {
        bool requested = false;
        for (size_t r = 0; r < start->request_count; r++)
            requested = requested || (strcmp(start->requests[r].kind, change.kind) == 0 &&
                                         strcmp(start->requests[r].field, change.field) == 0);
        char *own = caps_model_spec_get(spec, change.kind, change.field);
        lacks = lacks || (own && !requested && strcmp(own, change.json) != 0);
        free(own);
    }
    return lacks;
}
