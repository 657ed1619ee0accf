/* find_reason.c: what lies where a data set should be, and whose files those of a set are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "file.h"
#include "text.h"
#include "folder.h"

/* ---- what is there instead ------------------------------------------------------------------ */

static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcasecmp(path + n - m, end) == 0;
}

static bool is_archive(const char *path)
{
    static const char *const ends[] = {
        ".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (ends_in(path, ends[i]))
            return true;
    return false;
}

static bool is_idx(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strstr(name, "-ubyte") &&
           (strstr(name, "idx1") || strstr(name, "idx3") || strstr(name, "idx4"));
}

caps_status caps_location_explain_file(const char *path, caps_error *err)
{
    size_t n;
    const char *need = is_archive(path) ? "the one that this archive unpacks to"
                       : is_idx(path)   ? "the one that holds this file and those beside it"
                       : caps_is_picture_name(caps_path_last(path, &n))
                           ? "one with a folder of pictures for each class"
                           : "IDX files, CIFAR-10's binary batches, or folders of pictures";
    return caps_fail(
        err, CAPS_ERR_FORMAT, "%s: is a file, need the directory of a data set: %s", path, need);
}

caps_status caps_location_explain_nothing(const caps_location *l, caps_split split, caps_error *err)
{
    caps_listing names = {0};
    char what[400] = "";
    size_t pictures = 0;
    (void)caps_listing_read(&names, l->path, NULL); /* without, the message says less */
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.names[i];
        pictures += caps_is_picture_name(name);
        if (what[0] || !caps_is_text(name) || strlen(name) > 200)
            continue;
        if (is_archive(name))
            snprintf(what, sizeof what, "; it has %s, which is to be unpacked", name);
        else if (strcmp(name, "data_batch_1") == 0)
            snprintf(what, sizeof what,
                "; it has CIFAR-10's version for Python, need the binary version "
                "(cifar-10-batches-bin)");
        else if (is_idx(name))
            snprintf(what, sizeof what, "; it has %s, whose name is another", name);
    }
    if (pictures > 0 && !what[0])
        snprintf(what, sizeof what,
            "; pictures in it (%zu) lie in no folder that names their class, need <class>/ for "
            "each",
            pictures);
    caps_listing_release(&names);
    return caps_fail(err, CAPS_ERR_NOT_FOUND,
        "%s: holds no data set: no %s-images-idx3-ubyte (or .gz), no data_batch_1.bin, no "
        "smallnorb-*-dat.mat, no folders with PNG or JPEG files%s",
        l->path, split == CAPS_SPLIT_TRAIN ? "train" : "t10k", what);
}

/* ---- whose file is it? ---------------------------------------------------------------------- */

static bool idx_owns(const caps_location *l, const char *file)
{
    bool owns = false;
    for (int i = 0; i < 2 * CAPS_IDX_PARTS && !owns; i++) {
        char *path = NULL;
        caps_error ignored = {0};
        owns = caps_idx_set_pick(&path, l->directory, l->prefix,
                   i < CAPS_IDX_PARTS ? CAPS_SPLIT_TRAIN : CAPS_SPLIT_TEST,
                   (caps_idx_part)(i % CAPS_IDX_PARTS), &ignored) == CAPS_OK &&
               path && caps_path_is_same(path, file);
        free(path);
    }
    return owns;
}

static bool cifar_owns(const caps_location *l, const char *file)
{
    bool owns = false;
    for (int part = 1; part <= CAPS_CIFAR_NAMES && !owns; part++) {
        char *path = caps_cifar_path(l->directory, part);
        owns = path && caps_path_is_same(path, file);
        free(path);
    }
    return owns;
}

/* A picture below one of its folders. */
static bool folder_owns(const caps_location *l, const char *file)
{
    char *whole = realpath(file, NULL), *root = realpath(l->directory, NULL);
    size_t n;
    bool owns = false;
    if (whole && root && caps_is_picture_name(caps_path_last(whole, &n))) {
        const size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
        owns = strncmp(whole, root, length) == 0 && whole[length] == '/' &&
               strchr(whole + length + 1, '/') != NULL;
    }
    free(whole);
    free(root);
    return owns;
}

bool caps_dataset_is_pictures(const char *name_or_dir)
{
    caps_location l;
    caps_error ignored = {0};
    if (caps_location_init(&l, name_or_dir, &ignored) != CAPS_OK)
        return false;
    const bool is = l.format == CAPS_DATA_FOLDER;
    caps_location_release(&l);
    return is;
}

bool caps_dataset_has_viewpoints(const char *name_or_dir)
{
    caps_location l;
    caps_error ignored = {0};
    if (caps_location_init(&l, name_or_dir, &ignored) != CAPS_OK)
        return false;
    const bool has = l.format == CAPS_DATA_SMALLNORB || l.format == CAPS_DATA_SOLIDS;
    caps_location_release(&l);
    return has;
}

bool caps_dataset_owns(const char *name_or_dir, const char *file)
{
    caps_location l;
    caps_error ignored = {0};
    bool owns = false;
    if (!caps_path_exists(file) || caps_location_init(&l, name_or_dir, &ignored) != CAPS_OK)
        return false;
    if (l.format == CAPS_DATA_IDX)
        owns = idx_owns(&l, file);
    else if (l.format == CAPS_DATA_CIFAR)
        owns = cifar_owns(&l, file);
    else if (l.format == CAPS_DATA_FOLDER)
        owns = folder_owns(&l, file);
    else if (l.format == CAPS_DATA_SMALLNORB)
        owns = caps_smallnorb_owns(&l, file);
    caps_location_release(&l);
    return owns;
}
