/* dataset.c: labelled images of every format. */
#include <capscl/dataset.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "formats.h"
#include "options.h"
#include "pairs.h"
#include "picture.h"

char **caps_class_names_copy(const char *const *names, size_t n)
{
    size_t bytes = n * sizeof(char *);
    for (size_t i = 0; i < n; i++)
        bytes += strlen(names[i]) + 1;
    char **copy = malloc(bytes ? bytes : 1);
    char *text = copy ? (char *)(copy + n) : NULL;
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = strcpy(text, names[i]);
        text += strlen(text) + 1;
    }
    return copy;
}

static caps_status dataset_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    if (o->split == CAPS_SPLIT_VALIDATION && l->format != CAPS_DATA_FOLDER &&
        l->format != CAPS_DATA_NONE)
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: has no validation split of its own, need one held out of training "
            "(train --validation N)",
            l->path);
    switch (l->format) {
    case CAPS_DATA_IDX:
        return caps_idx_set_read(ds, l, o, err);
    case CAPS_DATA_CIFAR:
        return caps_cifar_read(ds, l, o, err);
    case CAPS_DATA_FOLDER:
        return caps_folder_read(ds, l, o, err);
    case CAPS_DATA_SMALLNORB:
        return caps_smallnorb_read(ds, l, o, err);
    case CAPS_DATA_SOLIDS:
        return caps_solids_read(ds, l, o, err);
    default:
        return caps_location_explain_nothing(l, o->split, err);
    }
}

/* The classes of the training split, and their names: into a set that was zeroed. */
static caps_status dataset_name(caps_dataset *ds, const char *name_or_dir, caps_error *err)
{
    caps_location l;
    caps_status status = caps_location_init(&l, name_or_dir, err);
    if (status != CAPS_OK)
        return status;
    if (l.format == CAPS_DATA_IDX)
        CAPS_TRY(caps_idx_set_name(ds, &l, err));
    else if (l.format == CAPS_DATA_CIFAR)
        CAPS_TRY(caps_cifar_name(ds, &l, err));
    else if (l.format == CAPS_DATA_FOLDER)
        CAPS_TRY(caps_folder_name(ds, &l, err));
    else if (l.format == CAPS_DATA_SMALLNORB)
        CAPS_TRY(caps_smallnorb_name(ds, &l, err));
    else if (l.format == CAPS_DATA_SOLIDS)
        CAPS_TRY(caps_solids_name(ds, &l, err));
done:
    caps_location_release(&l);
    return status;
}

caps_status caps_dataset_names(
    char ***names, size_t *count, const char *name_or_dir, caps_error *err)
{
    caps_dataset ds = {0};
    *names = NULL;
    *count = 0;
    caps_status status = dataset_name(&ds, name_or_dir, err);
    if (status != CAPS_OK)
        return status;
    *names = ds.class_names;
    *count = ds.class_names ? ds.classes : 0;
    return CAPS_OK;
}

caps_status caps_dataset_count_classes(size_t *classes, const char *name_or_dir, caps_error *err)
{
    caps_dataset ds = {0};
    caps_status status = dataset_name(&ds, name_or_dir, err);
    *classes = status == CAPS_OK ? ds.classes : 0;
    free(ds.class_names);
    return status;
}

/* What single images must be so that pairs of them are as requested. */
static caps_status options_of_base(caps_dataset_options *o, const char *name, caps_error *err)
{
    size_t *const sizes[] = {&o->height, &o->width};
    if (o->channels > 1)
        return caps_fail(err, CAPS_ERR_MISMATCH, "%s: the model takes %zu channels, pairs have 1",
            name, o->channels);
    o->channels = 1;
    for (int i = 0; i < 2; i++) {
        if (*sizes[i] && *sizes[i] <= CAPS_PAIR_BORDER)
            return caps_fail(err, CAPS_ERR_MISMATCH,
                "%s: pairs of %zux%zu, need more than %d each way", name, o->height, o->width,
                CAPS_PAIR_BORDER);
        *sizes[i] -= *sizes[i] ? CAPS_PAIR_BORDER : 0;
    }
    /* The test split's pairs are the same ones however many of them are taken. */
    if (o->split != CAPS_SPLIT_TRAIN)
        o->limit = 0;
    return CAPS_OK;
}

static void note_within(const caps_location *l, const caps_dataset_options *o)
{
    char *text =
        caps_format("%s: holds no data set itself, but %s does, which is used", l->within, l->path);
    if (text)
        o->note(o->user, text);
    free(text);
}

/* What is for files of pictures goes with no other format; a background must be one. */
static caps_status check_pictures_only(
    const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    caps_picture_options how;
    caps_status status = caps_picture_options_of(&how, o, err);
    if (status != CAPS_OK)
        return status;
    const char *asked = how.invert       ? "invert"
                        : how.stretch    ? "stretch"
                        : how.background ? "background"
                                         : NULL;
    if (!asked || l->format == CAPS_DATA_NONE || l->format == CAPS_DATA_FOLDER)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "%s: holds no files of pictures, need some for '%s': images of other formats are taken as "
        "they are",
        l->path, asked);
}

/* Viewpoints of a set that knows none. */
static caps_status check_viewpoints(
    const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    const char *name = caps_viewpoints_name((int)o->viewpoints);
    if (!name)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: viewpoints are %d, need 0 to %d", l->path,
            (int)o->viewpoints, CAPS_VIEWPOINTS_COUNT - 1);
    if (o->viewpoints == CAPS_VIEWPOINTS_ALL || l->format == CAPS_DATA_NONE ||
        l->format == CAPS_DATA_SMALLNORB || l->format == CAPS_DATA_SOLIDS)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "%s: its images have no viewpoints, need smallNORB or solids for '%s'", l->path, name);
}

caps_status caps_dataset_open(
    caps_dataset *ds, const char *name_or_dir, const caps_dataset_options *options, caps_error *err)
{
    caps_status status;
    caps_location l;
    caps_dataset_options o = {0};
    memset(ds, 0, sizeof *ds);
    status = caps_options_read(
        &o, sizeof o, options, options ? options->size : 0, "caps_dataset_options", err);
    if (status != CAPS_OK)
        return status;
    if ((int)o.split < 0 || o.split > CAPS_SPLIT_VALIDATION)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "data set: split is %d, need 0 (train), 1 (test) or 2 (validation)", (int)o.split);
    status = caps_location_init(&l, name_or_dir, err);
    if (status != CAPS_OK)
        return status;
    CAPS_TRY(check_pictures_only(&l, &o, err));
    CAPS_TRY(check_viewpoints(&l, &o, err));
    const size_t limit = o.limit; /* of pairs, not of the images that they are made of */
    if (l.pairs)
        CAPS_TRY(options_of_base(&o, name_or_dir, err));
    ds->path = strdup(l.path);
    if (!ds->path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", l.path));
    ds->split = o.split;
    ds->labels_per_image = 1;
    ds->augment = (caps_augment_options)CAPS_AUGMENT_DEFAULTS;
    CAPS_TRY(dataset_read(ds, &l, &o, err));
    if (l.within && o.note)
        note_within(&l, &o);
    if (l.pairs) {
        CAPS_TRY(caps_pairs_make(ds, err));
        if (limit && limit < ds->n)
            ds->n = limit;
    }
done:
    caps_location_release(&l);
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}

const char *caps_dataset_file(const caps_dataset *ds, size_t index)
{
    return ds->files && !ds->pairs && index < ds->n ? ds->files[index] : NULL;
}

caps_status caps_dataset_has_split(
    bool *has, const char *name_or_dir, caps_split split, caps_error *err)
{
    caps_location l;
    *has = false;
    caps_status status = caps_location_init(&l, name_or_dir, err);
    if (status != CAPS_OK)
        return status;
    if (l.format == CAPS_DATA_IDX)
        status = caps_idx_set_has(has, &l, split, err);
    else if (l.format == CAPS_DATA_CIFAR)
        status = caps_cifar_has(has, &l, split, err);
    else if (l.format == CAPS_DATA_FOLDER)
        status = caps_folder_has(has, &l, split, err);
    else if (l.format == CAPS_DATA_SMALLNORB)
        status = caps_smallnorb_has(has, &l, split, err);
    else if (l.format == CAPS_DATA_SOLIDS)
        status = caps_solids_has(has, &l, split, err);
    caps_location_release(&l);
    return status;
}

void caps_dataset_release(caps_dataset *ds)
{
    if (!ds)
        return;
    free(ds->path);
    free(ds->class_names);
    free(ds->images);
    free(ds->labels);
    free(ds->pairs);
    free(ds->files);
    memset(ds, 0, sizeof *ds);
}

/* ---- checks --------------------------------------------------------------------------------- */

static const char *split_name(caps_split split)
{
    return split == CAPS_SPLIT_TRAIN  ? "training"
           : split == CAPS_SPLIT_TEST ? "test"
                                      : "validation";
}

caps_status caps_dataset_check(const caps_dataset *ds, size_t channels, size_t height, size_t width,
    size_t classes, caps_error *err)
{
    const size_t h = ds->view[0] ? ds->view[0] : ds->height;
    const size_t w = ds->view[0] ? ds->view[1] : ds->width;
    size_t nhw[3];
    char view[64] = "";
    if (h != ds->height || w != ds->width)
        snprintf(view, sizeof view, ", cut to or centred on %zux%zu", h, w);
    if (ds->channels != channels || h != height || w != width)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: images are %zux%zux%zu%s, the model takes %zux%zux%zu", ds->path, ds->channels,
            ds->height, ds->width, view, channels, height, width);
    caps_dataset_stored(ds, nhw);
    for (size_t i = 0; i < nhw[0]; i++)
        if (ds->labels[i] >= classes)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: label of %s image %zu is %u, need < %zu: the data has %zu classes, the "
                "network %zu, need one of as many (\"classes\" of a spec; a built-in network that "
                "is "
                "trained takes the number from the data)",
                ds->path, split_name(ds->split), i, (unsigned)ds->labels[i], classes, ds->classes,
                classes);
    return CAPS_OK;
}

caps_status caps_dataset_check_labels(const caps_dataset *ds, size_t labels, caps_error *err)
{
    const size_t own = ds->pairs ? 2 : 1;
    if (own == labels)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_MISMATCH,
        "%s: an image has %zu label%s, the model gives %zu, need %s", ds->path, own,
        own == 1 ? "" : "s", labels, own == 1 ? "pairs (multi:D)" : "single images");
}
