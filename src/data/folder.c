/* folder.c: folders of pictures, one for each class: which there are, and in what order. */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "file.h"
#include "text.h"

#define MOST_CLASSES 256

/* ---- directories ---------------------------------------------------------------------------- */

static void listing_release(caps_listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->names[i]);
    free(l->names);
    *l = (caps_listing){0};
}

static int folder_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static caps_status listing_read(caps_listing *l, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t capacity = 0;
    struct dirent *entry;
    DIR *directory = opendir(path);
    if (!directory)
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot open", path);
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (l->n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **names = realloc(l->names, capacity * sizeof *names);
            if (names)
                l->names = names;
            else
                CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
        }
        l->names[l->n] = strdup(entry->d_name);
        if (!l->names[l->n])
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
        l->n++;
    }
    if (errno)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path));
    if (l->n)
        qsort(l->names, l->n, sizeof *l->names, folder_compare);
done:
    closedir(directory);
    return status;
}

bool caps_is_picture_name(const char *name)
{
    static const char *const ends[] = {".png", ".jpg", ".jpeg"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && name[0] != '.'; i++)
        if (n > strlen(ends[i]) && strcasecmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

static bool is_directory_in(const char *path, const char *name)
{
    char *inner = caps_path_join(path, name);
    const bool is = inner && caps_path_is_directory(inner);
    free(inner);
    return is;
}

/* Whether some entry of a directory that is not hidden passes `test`. */
static bool folder_holds(const char *path, bool (*test)(const char *path, const char *name))
{
    DIR *directory = opendir(path);
    bool found = false;
    const struct dirent *entry;
    while (directory && !found && (entry = readdir(directory)) != NULL)
        found = entry->d_name[0] != '.' && test(path, entry->d_name);
    if (directory)
        closedir(directory);
    return found;
}

static bool is_picture_in(const char *path, const char *name)
{
    (void)path;
    return caps_is_picture_name(name);
}

static bool is_class_in(const char *path, const char *name)
{
    char *inner = caps_path_join(path, name);
    const bool is = inner && folder_holds(inner, is_picture_in);
    free(inner);
    return is;
}

bool caps_folder_holds_directory(const char *directory)
{
    return folder_holds(directory, is_directory_in);
}

static bool split_holds_pictures(const char *directory, const char *split)
{
    char *path = caps_path_join(directory, split);
    const bool is = path && folder_holds(path, is_class_in);
    free(path);
    return is;
}

bool caps_folder_holds_pictures(const char *directory)
{
    return folder_holds(directory, is_class_in) || split_holds_pictures(directory, "train") ||
           split_holds_pictures(directory, "test");
}

/* ---- classes and files ---------------------------------------------------------------------- */

static void folder_release(caps_folder *f)
{
    for (size_t c = 0; f->files && c < f->classes.n; c++)
        listing_release(&f->files[c]);
    free(f->files);
    listing_release(&f->classes);
    free(f->path);
    *f = (caps_folder){0};
}

/* Takes what is no directory out of the listing; a picture among it is a fault. */
static caps_status keep_classes(caps_folder *f, bool has_splits, caps_error *err)
{
    size_t count = 0;
    caps_listing *l = &f->classes;
    for (size_t i = 0; i < l->n; i++) {
        char *name = l->names[i];
        if (is_directory_in(f->path, name)) {
            l->names[i] = l->names[count];
            l->names[count++] = name;
        } else if (caps_is_picture_name(name)) {
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s/%s: a picture outside the folders of classes, need %s<class>/%s", f->path, name,
                has_splits ? "train/ or test/" : "", name);
        }
    }
    while (l->n > count)
        free(l->names[--l->n]);
    for (size_t c = 0; c < count; c++)
        if (!caps_is_text(l->names[c]))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: the name of class folder %zu is not printable UTF-8, need text", f->path, c);
    return CAPS_OK;
}

/* The pictures of class c. */
static caps_status list_class(caps_folder *f, size_t c, caps_error *err)
{
    caps_status status;
    caps_listing *files = &f->files[c];
    char *path = caps_path_join(f->path, f->classes.names[c]);
    if (!path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", f->path));
    CAPS_TRY(listing_read(files, path, err));
    for (size_t i = 0; i < files->n; i++)
        if (!caps_is_picture_name(files->names[i]))
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s/%s: is %s, need PNG or JPEG files only",
                path, files->names[i],
                is_directory_in(path, files->names[i]) ? "a directory" : "no picture by its name"));
    if (files->n == 0)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: no PNG or JPEG files, need at least one", path));
    f->total += files->n;
done:
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
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
    CAPS_TRY(listing_read(&f->classes, f->path, err));
    CAPS_TRY(keep_classes(f, split != NULL, err));
    if (!files)
        goto done;
    f->files = calloc(f->classes.n + 1, sizeof *f->files);
    if (!f->files)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
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

/* The first picture of the first class, whose files need not be listed. */
static caps_status find_first(char **path, const caps_folder *train, caps_error *err)
{
    caps_status status;
    caps_listing files = {0};
    char *folder = caps_path_join(train->path, train->classes.names[0]);
    *path = NULL;
    if (!folder)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", train->path));
    CAPS_TRY(listing_read(&files, folder, err));
    size_t i = 0;
    while (i < files.n && !caps_is_picture_name(files.names[i]))
        i++;
    if (i == files.n)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: no PNG or JPEG files, need at least one", folder));
    *path = caps_path_join(folder, files.names[i]);
    if (!*path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", folder));
done:
    listing_release(&files);
    free(folder);
    return status;
}

/* A folder "train" with pictures in it, not folders, is a class of that name. */
static bool has_splits(const char *directory)
{
    char *train = caps_path_join(directory, "train"), *test = caps_path_join(directory, "test");
    const bool has = train && test &&
                     ((caps_path_is_directory(train) && !folder_holds(train, is_picture_in)) ||
                         (caps_path_is_directory(test) && caps_folder_holds_directory(test)));
    free(train);
    free(test);
    return has;
}

static caps_status folder_name_classes(caps_dataset *ds, const caps_folder *train, caps_error *err)
{
    ds->classes = train->classes.n;
    ds->class_names =
        caps_class_names_copy((const char *const *)train->classes.names, train->classes.n);
    return ds->class_names ? CAPS_OK
                           : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", train->path);
}

caps_status caps_folder_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    caps_folder train = {0};
    caps_status status;
    CAPS_TRY(
        folder_read(&train, l->directory, has_splits(l->directory) ? "train" : NULL, false, err));
    CAPS_TRY(check_classes(&train, err));
    CAPS_TRY(folder_name_classes(ds, &train, err));
done:
    folder_release(&train);
    return status;
}

caps_status caps_folder_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    const char *directory = l->directory;
    const bool splits = has_splits(directory), training = o->split == CAPS_SPLIT_TRAIN;
    static const char or_validation[] =
        ", or a validation split of the training images (train --validation N)";
    caps_status status;
    caps_folder train = {0}, test = {0};
    caps_folder_picture *pictures = NULL;
    char *first = NULL;
    for (int i = 0; splits && i <= !training; i++)
        if (!is_directory_in(directory, i ? "test" : "train"))
            CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
                "%s: no folder %s, need %s/<class>/ with pictures%s", directory,
                i ? "test" : "train", i ? "test" : "train", i ? or_validation : ""));
    CAPS_TRY(folder_read(&train, directory, splits ? "train" : NULL, training, err));
    CAPS_TRY(check_classes(&train, err));
    if (!training && !splits)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: has no test split, need test/<class>/ beside train/<class>/%s", directory,
            or_validation));
    if (!training)
        CAPS_TRY(folder_read(&test, directory, "test", true, err));
    const caps_folder *f = training ? &train : &test;
    if (f->total == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: no folders of classes, need at least one with PNG or JPEG files in it", f->path));
    if (f->classes.n > MOST_CLASSES) /* some of them are not of the training split */
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu folders of classes, need <= %d", f->path,
            f->classes.n, MOST_CLASSES));
    CAPS_TRY(find_first(&first, &train, err));
    CAPS_TRY(caps_pictures_size(ds, first, o, err));
    CAPS_TRY(folder_name_classes(ds, &train, err));
    CAPS_TRY(put_in_order(ds, &pictures, &train, f, o->limit, err));
    CAPS_TRY(caps_pictures_read(ds, f, pictures, o, err));
done:
    free(first);
    free(pictures);
    folder_release(&test);
    folder_release(&train);
    return status;
}
