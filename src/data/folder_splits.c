/* folder_splits.c: which of the folders in a directory are splits. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "folder.h"

/* Case is ignored. */
static const struct split_name {
    const char *name;
    caps_split split;
} split_names[] = {
    {"train", CAPS_SPLIT_TRAIN},
    {"training", CAPS_SPLIT_TRAIN},
    {"val", CAPS_SPLIT_VALIDATION},
    {"valid", CAPS_SPLIT_VALIDATION},
    {"validation", CAPS_SPLIT_VALIDATION},
    {"test", CAPS_SPLIT_TEST},
    {"testing", CAPS_SPLIT_TEST},
};

const char *caps_folder_split_name(caps_split split)
{
    return split == CAPS_SPLIT_TRAIN ? "train" : split == CAPS_SPLIT_TEST ? "test" : "val";
}

const char *caps_folder_split_names(caps_split split)
{
    return split == CAPS_SPLIT_TRAIN  ? "train or training"
           : split == CAPS_SPLIT_TEST ? "test or testing"
                                      : "val, valid or validation";
}

static const struct split_name *split_of(const char *name)
{
    for (size_t i = 0; i < sizeof split_names / sizeof split_names[0]; i++)
        if (strcasecmp(split_names[i].name, name) == 0)
            return &split_names[i];
    return NULL;
}

/* A folder with such a name is a class where it holds pictures itself: of trains, of tests. */
static caps_status is_split(
    bool *is, const char *directory, const char *name, caps_split split, caps_error *err)
{
    caps_status status;
    char *path = caps_path_join(directory, name);
    bool holds = false;
    if (!path)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory);
    if (split == CAPS_SPLIT_TRAIN)
        status = caps_folder_holds(&holds, path, caps_folder_is_picture, err);
    else
        status = caps_folder_holds(&holds, path, caps_folder_is_directory, err);
    *is = status == CAPS_OK && holds == (split != CAPS_SPLIT_TRAIN);
    free(path);
    return status;
}

/* Gives each split its folder; the rest of the listing is beside them. */
static caps_status take_splits(
    caps_folder_splits *s, caps_listing *l, const char *directory, caps_error *err)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct split_name *known = split_of(l->names[i]);
        bool is = false;
        const caps_status status =
            known ? caps_folder_is_directory(&is, directory, l->names[i], err) : CAPS_OK;
        if (status != CAPS_OK)
            return status;
        if (!is) {
            caps_unused_add(&s->others, "", l->names[i]);
            continue;
        }
        if (s->names[known->split])
            return caps_fail(err, CAPS_ERR_FORMAT, "%s: holds %s and %s, need one of them",
                directory, s->names[known->split], l->names[i]);
        s->names[known->split] = l->names[i];
        l->names[i] = NULL;
    }
    return CAPS_OK;
}

caps_status caps_folder_splits_find(caps_folder_splits *s, const char *directory, caps_error *err)
{
    caps_status status;
    caps_listing l = {0};
    *s = (caps_folder_splits){0};
    CAPS_TRY(caps_listing_read(&l, directory, err));
    for (size_t i = 0; i < l.n && !s->any; i++) {
        const struct split_name *known = split_of(l.names[i]);
        bool is = false;
        if (known)
            CAPS_TRY(caps_folder_is_directory(&is, directory, l.names[i], err));
        if (is)
            CAPS_TRY(is_split(&s->any, directory, l.names[i], known->split, err));
    }
    if (s->any)
        CAPS_TRY(take_splits(s, &l, directory, err));
done:
    caps_listing_release(&l);
    if (status != CAPS_OK)
        caps_folder_splits_release(s);
    return status;
}

void caps_folder_splits_release(caps_folder_splits *s)
{
    for (size_t i = 0; i < CAPS_FOLDER_SPLITS; i++)
        free(s->names[i]);
    *s = (caps_folder_splits){0};
}
