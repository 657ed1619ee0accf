/* folder.c: folders of pictures: which classes there are, and in what order their pictures are. */
#include "folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "text.h"

#define MOST_CLASSES 256

static caps_status folder_no_memory(caps_error *err, const char *path)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
}

static caps_status split_holds_pictures(
    bool *holds, const char *directory, const char *split, caps_error *err)
{
    char *path = caps_path_join(directory, split);
    caps_status status = path ? caps_folder_holds(holds, path, caps_folder_is_class, err)
                              : folder_no_memory(err, directory);
    free(path);
    return status;
}

/* Where there are splits, nothing beside them matters, not even whether it can be opened. */
caps_status caps_folder_holds_pictures(bool *holds, const char *directory, caps_error *err)
{
    caps_folder_splits splits;
    caps_status status;
    *holds = false;
    CAPS_TRY(caps_folder_splits_find(&splits, directory, err));
    for (size_t i = 0; i < CAPS_FOLDER_SPLITS && !*holds; i++)
        if (splits.names[i])
            CAPS_TRY(split_holds_pictures(holds, directory, splits.names[i], err));
    if (!splits.any)
        CAPS_TRY(caps_folder_holds(holds, directory, caps_folder_is_class, err));
done:
    caps_folder_splits_release(&splits);
    return status;
}

caps_status caps_folder_has(bool *has, const caps_location *l, caps_split split, caps_error *err)
{
    caps_folder_splits splits;
    caps_status status = caps_folder_splits_find(&splits, l->directory, err);
    *has =
        status == CAPS_OK && (splits.any ? splits.names[split] != NULL : split == CAPS_SPLIT_TRAIN);
    caps_folder_splits_release(&splits);
    return status;
}

/* ---- classes and files ---------------------------------------------------------------------- */

static void folder_release(caps_folder *f)
{
    for (size_t c = 0; f->files && c < f->classes.n; c++)
        caps_listing_release(&f->files[c]);
    free(f->files);
    caps_listing_release(&f->classes);
    free(f->path);
    *f = (caps_folder){0};
}

/* Takes what is no directory out of the listing; a picture among it is a fault. */
static caps_status keep_classes(caps_folder *f, bool has_splits, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t count = 0;
    caps_listing *l = &f->classes;
    for (size_t i = 0; i < l->n; i++) {
        char *name = l->names[i];
        bool is;
        CAPS_TRY(caps_folder_is_directory(&is, f->path, name, err));
        if (is) {
            l->names[i] = l->names[count];
            l->names[count++] = name;
        } else if (caps_is_picture_name(name)) {
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s/%s: a picture outside the folders of classes, need %s<class>/%s", f->path, name,
                has_splits ? "train/ or test/" : "", name));
        } else {
            caps_unused_add(&f->loose, "", name);
        }
    }
    while (l->n > count)
        free(l->names[--l->n]);
    for (size_t c = 0; c < count; c++)
        if (!caps_is_text(l->names[c]))
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s: the name of class folder %zu is not printable UTF-8, need text", f->path, c));
done:
    return status;
}

/* No pictures, or only in folders below: the message says which. */
static caps_status empty_class(const char *path, const caps_unused *folders, caps_error *err)
{
    const size_t below = caps_folder_count_pictures(path, 8);
    if (below > 0)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: no PNG or JPEG files, need at least one; the folders in it hold %zu, need them in "
            "the folder of the class itself (%s%s)",
            path, below, folders->names, caps_unused_rest(folders));
    return caps_fail(err, CAPS_ERR_FORMAT, "%s: no PNG or JPEG files, need at least one", path);
}

/* The pictures of class c; what else is there is kept in mind. */
static caps_status list_class(caps_folder *f, size_t c, caps_error *err)
{
    caps_status status;
    caps_listing *files = &f->files[c];
    const char *class = f->classes.names[c];
    size_t count = 0;
    char *path = caps_path_join(f->path, class), *inner = NULL;
    if (!path)
        CAPS_TRY(folder_no_memory(err, f->path));
    CAPS_TRY(caps_listing_read(files, path, err));
    for (size_t i = 0; i < files->n; i++) {
        char *name = files->names[i];
        bool is;
        if (caps_is_picture_name(name)) {
            files->names[i] = files->names[count];
            files->names[count++] = name;
            continue;
        }
        CAPS_TRY(caps_folder_is_directory(&is, path, name, err));
        caps_unused_add(is ? &f->folders : &f->loose, class, name);
        free(inner);
        inner = caps_path_join(path, name);
        if (is && inner)
            f->folders.pictures += caps_folder_count_pictures(inner, 8);
    }
    while (files->n > count)
        free(files->names[--files->n]);
    if (count == 0)
        CAPS_TRY(empty_class(path, &f->folders, err));
    f->total += count;
done:
    free(inner);
    free(path);
    return status;
}

/* Lists classes and, where requested, their files. `split` NULL: the folder itself. */
static caps_status folder_read(
    caps_folder *f, const char *directory, const char *split, bool files, caps_error *err)
{
    caps_status status;
    f->path = split ? caps_path_join(directory, split) : strdup(directory);
    if (!f->path)
        CAPS_TRY(folder_no_memory(err, directory));
    CAPS_TRY(caps_listing_read(&f->classes, f->path, err));
    CAPS_TRY(keep_classes(f, split != NULL, err));
    if (!files)
        goto done;
    f->files = calloc(f->classes.n + 1, sizeof *f->files);
    if (!f->files)
        CAPS_TRY(folder_no_memory(err, directory));
    for (size_t c = 0; c < f->classes.n; c++)
        CAPS_TRY(list_class(f, c, err));
done:
    return status;
}

static caps_status check_classes(const caps_folder *train, caps_error *err)
{
    const caps_listing *l = &train->classes;
    if (l->n == 0)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: no folders of classes, need at least two with PNG or JPEG files in them",
            train->path);
    if (l->n == 1)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: one folder of a class, %s, need at least two",
            train->path, l->names[0]);
    if (l->n > MOST_CLASSES)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu folders of classes, need <= %d",
            train->path, l->n, MOST_CLASSES);
    return CAPS_OK;
}

/* Where the training split gives the name the label that it has in the other. */
static caps_status find_label(
    uint8_t *label, const caps_folder *train, const caps_folder *f, size_t c, caps_error *err)
{
    for (size_t i = 0; i < train->classes.n; i++)
        if (strcmp(train->classes.names[i], f->classes.names[c]) == 0) {
            *label = (uint8_t)i;
            return CAPS_OK;
        }
    return caps_fail(err, CAPS_ERR_FORMAT, "%s/%s: no such class in %s, need the same classes",
        f->path, f->classes.names[c], train->path);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* The first picture of every class, then the second of every class, and so on, so that a limit
 * takes some of all; labels with it. */
static caps_status put_in_order(caps_dataset *ds, caps_folder_picture **pictures,
    const caps_folder *train, const caps_folder *f, size_t limit, caps_error *err)
{
    caps_status status = CAPS_OK;
    uint8_t label[MOST_CLASSES];
    ds->n = limit && limit < f->total ? limit : f->total;
    *pictures = malloc(ds->n * sizeof **pictures);
    ds->labels = malloc(ds->n);
    if (!*pictures || !ds->labels)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu pictures", ds->path, ds->n));
    for (size_t c = 0; c < f->classes.n; c++)
        CAPS_TRY(find_label(&label[c], train, f, c, err));
    for (size_t turn = 0, i = 0; i < ds->n; turn++)
        for (size_t c = 0; c < f->classes.n && i < ds->n; c++)
            if (turn < f->files[c].n) {
                (*pictures)[i] = (caps_folder_picture){(uint32_t)c, (uint32_t)turn};
                ds->labels[i++] = label[c];
            }
done:
    return status;
}

char *caps_folder_file(const caps_folder *f, caps_folder_picture picture)
{
    return caps_format("%s%s%s/%s", f->path, f->path[strlen(f->path) - 1] == '/' ? "" : "/",
        f->classes.names[picture.folder], f->files[picture.folder].names[picture.file]);
}

/* The path of every image. */
static caps_status name_files(
    caps_dataset *ds, const caps_folder *f, const caps_folder_picture *pictures, caps_error *err)
{
    caps_status status = CAPS_OK;
    char **paths = calloc(ds->n, sizeof *paths);
    if (!paths)
        return folder_no_memory(err, f->path);
    for (size_t i = 0; i < ds->n && status == CAPS_OK; i++) {
        paths[i] = caps_folder_file(f, pictures[i]);
        if (!paths[i])
            status = folder_no_memory(err, f->path);
    }
    if (status == CAPS_OK)
        ds->files = caps_class_names_copy((const char *const *)paths, ds->n);
    if (status == CAPS_OK && !ds->files)
        status = folder_no_memory(err, f->path);
    for (size_t i = 0; i < ds->n; i++)
        free(paths[i]);
    free(paths);
    return status;
}

/* The first picture of the first class, whose files need not be listed. */
static caps_status find_first(char **path, const caps_folder *train, caps_error *err)
{
    caps_status status;
    caps_listing files = {0};
    char *folder = caps_path_join(train->path, train->classes.names[0]);
    *path = NULL;
    if (!folder)
        CAPS_TRY(folder_no_memory(err, train->path));
    CAPS_TRY(caps_listing_read(&files, folder, err));
    size_t i = 0;
    while (i < files.n && !caps_is_picture_name(files.names[i]))
        i++;
    if (i == files.n)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: no PNG or JPEG files, need at least one", folder));
    *path = caps_path_join(folder, files.names[i]);
    if (!*path)
        CAPS_TRY(folder_no_memory(err, folder));
done:
    caps_listing_release(&files);
    free(folder);
    return status;
}

static caps_status folder_name_classes(caps_dataset *ds, const caps_folder *train, caps_error *err)
{
    ds->classes = train->classes.n;
    ds->class_names =
        caps_class_names_copy((const char *const *)train->classes.names, train->classes.n);
    return ds->class_names ? CAPS_OK : folder_no_memory(err, train->path);
}

/* ---- notes ---------------------------------------------------------------------------------- */

/* "12 files that are no PNG or JPEG by name are not used: cat/a.txt, ..." */
static void folder_note(const caps_dataset_options *o, const char *path, const caps_unused *u,
    const char *one, const char *several, const char *within)
{
    char *text = u->count && o->note
                     ? caps_format("%s: %zu %s not used%s: %s%s", path, u->count,
                           u->count == 1 ? one : several, within, u->names, caps_unused_rest(u))
                     : NULL;
    if (text)
        o->note(o->user, text);
    free(text);
}

static void folder_note_unused(const caps_folder_splits *splits, const caps_folder *f,
    const char *directory, const caps_dataset_options *o)
{
    char pictures[64];
    snprintf(pictures, sizeof pictures, ", with %zu picture%s in all", f->folders.pictures,
        f->folders.pictures == 1 ? "" : "s");
    folder_note(o, directory, &splits->others, "entry beside the folders of the splits is",
        "entries beside the folders of the splits are", "");
    folder_note(o, f->path, &f->loose, "file that is no PNG or JPEG by its name is",
        "files that are no PNG or JPEG by their names are", "");
    folder_note(o, f->path, &f->folders, "folder within a class folder is",
        "folders within class folders are", pictures);
}

/* ---- a set ---------------------------------------------------------------------------------- */

caps_status caps_folder_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    caps_folder train = {0};
    caps_folder_splits splits;
    caps_status status;
    CAPS_TRY(caps_folder_splits_find(&splits, l->directory, err));
    if (splits.any && !splits.names[CAPS_SPLIT_TRAIN])
        goto done; /* what it lacks is reported when it is read */
    CAPS_TRY(folder_read(&train, l->directory, splits.names[CAPS_SPLIT_TRAIN], false, err));
    CAPS_TRY(check_classes(&train, err));
    CAPS_TRY(folder_name_classes(ds, &train, err));
done:
    caps_folder_splits_release(&splits);
    folder_release(&train);
    return status;
}

/* The folders that a split needs: that of the training split names the classes. */
static caps_status check_splits(
    const caps_folder_splits *splits, const char *directory, caps_split split, caps_error *err)
{
    const caps_split needed[] = {CAPS_SPLIT_TRAIN, split};
    const char *const or_held_out =
        ", or a validation split of the training images (train --validation N)";
    if (!splits->any && split != CAPS_SPLIT_TRAIN)
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: has no %s split, need %s/<class>/ beside train/<class>/%s", directory,
            split == CAPS_SPLIT_TEST ? "test" : "validation", caps_folder_split_name(split),
            or_held_out);
    for (size_t i = 0; splits->any && i < 2; i++)
        if (!splits->names[needed[i]])
            return caps_fail(err, CAPS_ERR_NOT_FOUND,
                "%s: no folder %s, need %s with folders of classes in it%s", directory,
                caps_folder_split_name(needed[i]), caps_folder_split_names(needed[i]),
                i ? or_held_out : "");
    return CAPS_OK;
}

/* The pictures of a split, listed: *f is `train` or `other`. */
static caps_status list_split(const caps_folder **f, caps_folder *train, caps_folder *other,
    const caps_folder_splits *splits, const char *directory, caps_split split, caps_error *err)
{
    const bool training = split == CAPS_SPLIT_TRAIN;
    caps_status status;
    CAPS_TRY(check_splits(splits, directory, split, err));
    CAPS_TRY(folder_read(train, directory, splits->names[CAPS_SPLIT_TRAIN], training, err));
    CAPS_TRY(check_classes(train, err));
    if (!training)
        CAPS_TRY(folder_read(other, directory, splits->names[split], true, err));
    *f = training ? train : other;
    if ((*f)->total == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: no folders of classes, need at least one with PNG or JPEG files in it",
            (*f)->path));
    if ((*f)->classes.n > MOST_CLASSES) /* some of them are not of the training split */
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu folders of classes, need <= %d",
            (*f)->path, (*f)->classes.n, MOST_CLASSES));
done:
    return status;
}

caps_status caps_folder_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    caps_status status;
    caps_folder train = {0}, other = {0};
    const caps_folder *f = NULL;
    caps_folder_splits splits;
    caps_folder_picture *pictures = NULL;
    char *first = NULL;
    CAPS_TRY(caps_folder_splits_find(&splits, l->directory, err));
    CAPS_TRY(list_split(&f, &train, &other, &splits, l->directory, o->split, err));
    CAPS_TRY(find_first(&first, &train, err));
    CAPS_TRY(caps_pictures_size(ds, first, o, err));
    CAPS_TRY(folder_name_classes(ds, &train, err));
    CAPS_TRY(put_in_order(ds, &pictures, &train, f, o->limit, err));
    CAPS_TRY(caps_pictures_read(ds, f, pictures, o, err));
    CAPS_TRY(name_files(ds, f, pictures, err));
    folder_note_unused(&splits, f, l->directory, o);
done:
    free(first);
    free(pictures);
    caps_folder_splits_release(&splits);
    folder_release(&other);
    folder_release(&train);
    return status;
}
