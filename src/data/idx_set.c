/* idx_set.c: data sets of IDX files: MNIST and those that were made in its likeness. */
#include "formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "idx.h"

/* ---- files ---------------------------------------------------------------------------------- */

/* EMNIST calls the test files "test", the others "t10k". */
static const char *idx_set_name_of(const char *prefix, caps_split split)
{
    return split == CAPS_SPLIT_TRAIN ? "train" : *prefix ? "test" : "t10k";
}

static const char *const idx_parts[CAPS_IDX_PARTS][2] = {
    {"images", "idx3-ubyte"}, {"images", "idx4-ubyte"}, {"labels", "idx1-ubyte"}};

/* What distributions make of one name, the first before the others: MNIST's own has a dash where
 * the name inside its .gz has a dot. */
static const struct idx_form {
    const char *separator, *end;
} idx_forms[] = {{"-", ""}, {".", ""}, {"-", ".gz"}, {".", ".gz"}};
enum { FORMS = sizeof idx_forms / sizeof idx_forms[0] };

bool caps_idx_set_prefix(char prefix[CAPS_PREFIX_BYTES], const char *file)
{
    static const char *const splits[] = {"train", "test"};
    if (strncmp(file, "emnist-", 7) != 0)
        return false;
    for (size_t i = 0; i < 2 * CAPS_IDX_LABELS * FORMS; i++) {
        const struct idx_form *form = &idx_forms[i % FORMS];
        const char *const *part = idx_parts[i / FORMS % CAPS_IDX_LABELS];
        char end[64];
        const int bytes = snprintf(end, sizeof end, "-%s-%s%s%s%s",
            splits[i / FORMS / CAPS_IDX_LABELS], part[0], form->separator, part[1], form->end);
        const size_t n = strlen(file), m = (size_t)bytes;
        /* Something stands between "emnist-" and the end, and the prefix has room. */
        if (n <= 7 + m || n - m + 2 > CAPS_PREFIX_BYTES || strcmp(file + n - m, end) != 0)
            continue;
        snprintf(prefix, CAPS_PREFIX_BYTES, "%.*s-", (int)(n - m), file);
        return true;
    }
    return false;
}

/* One form of a name: a file, or one of those names in a folder of that name, as unpacking programs
 * leave it. *folder: it is a folder without such a file. */
static caps_status idx_set_try(char **path, bool *folder, const char *directory, const char *prefix,
    const char *name, const char *const part[2], const struct idx_form *form, caps_error *err)
{
    const bool slash = directory[strlen(directory) - 1] == '/';
    caps_path_kind kind;
    caps_status status;
    char *inner = NULL;
    *folder = false;
    *path = caps_format("%s%s%s%s-%s%s%s%s", directory, slash ? "" : "/", prefix, name, part[0],
        form->separator, part[1], form->end);
    if (!*path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
    CAPS_TRY(caps_path_look(&kind, *path, CAPS_ERR_NOT_FOUND, err));
    if (kind == CAPS_PATH_FILE)
        return CAPS_OK;
    for (size_t i = 0; kind == CAPS_PATH_DIRECTORY && i < FORMS; i++) {
        caps_path_kind found;
        free(inner);
        inner = caps_format("%s/%s%s-%s%s%s%s", *path, prefix, name, part[0],
            idx_forms[i].separator, part[1], idx_forms[i].end);
        if (!inner)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
        CAPS_TRY(caps_path_look(&found, inner, CAPS_ERR_NOT_FOUND, err));
        if (found != CAPS_PATH_FILE)
            continue;
        free(*path);
        *path = inner;
        return CAPS_OK;
    }
    *folder = kind == CAPS_PATH_DIRECTORY;
done:
    free(inner);
    if (status != CAPS_OK || !*folder) {
        free(*path);
        *path = NULL;
    }
    return status;
}

caps_status caps_idx_set_pick(char **path, const char *directory, const char *prefix,
    caps_split split, caps_idx_part part, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *empty = NULL, *tried = NULL; /* empty: an empty folder, about which the message will be */
    *path = NULL;
    for (size_t i = 0; i < FORMS && !*path; i++) {
        bool folder;
        CAPS_TRY(idx_set_try(&tried, &folder, directory, prefix, idx_set_name_of(prefix, split),
            idx_parts[part], &idx_forms[i], err));
        char **to = folder ? &empty : path;
        if (*to)
            free(tried);
        else
            *to = tried;
    }
    if (!*path) {
        *path = empty;
        empty = NULL;
    }
done:
    free(empty);
    return status;
}

caps_status caps_idx_set_has(bool *has, const caps_location *l, caps_split split, caps_error *err)
{
    caps_status status = CAPS_OK;
    *has = false;
    for (int part = 0; part < CAPS_IDX_PARTS && !*has && split != CAPS_SPLIT_VALIDATION; part++) {
        char *path = NULL;
        CAPS_TRY(
            caps_idx_set_pick(&path, l->directory, l->prefix, split, (caps_idx_part)part, err));
        *has = path != NULL;
        free(path);
    }
done:
    return status;
}

/* ---- names of classes ----------------------------------------------------------------------- */

static const char *const characters[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B",
    "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U",
    "V", "W", "X", "Y", "Z", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
    "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z"};
/* EMNIST puts small letters that look like their capitals together with them. */
static const char *const merged[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B",
    "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U",
    "V", "W", "X", "Y", "Z", "a", "b", "d", "e", "f", "g", "h", "n", "q", "r", "t"};
static const char *const clothes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
static const char *const hiragana[] = {"o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"};

/* Sets known by the last part of their path, or by the prefix of their files. */
static const struct known_set {
    const char *name;
    const char *const *classes;
    size_t count;
    unsigned first_label;
} known_sets[] = {
    {"fashion-mnist", clothes, 10, 0},
    {"kmnist", hiragana, 10, 0},
    {"emnist-letters", characters + 10, 26, 1},
    {"emnist-balanced", merged, 47, 0},
    {"emnist-bymerge", merged, 47, 0},
    {"emnist-byclass", characters, 62, 0},
    {"emnist-digits", characters, 10, 0},
    {"emnist-mnist", characters, 10, 0},
};

static const struct known_set *known_set_of(const caps_location *l)
{
    size_t n = strlen(l->prefix);
    const char *name = l->prefix;
    if (n)
        n--; /* its last '-' */
    else
        name = caps_path_last(l->path, &n);
    for (size_t i = 0; i < sizeof known_sets / sizeof known_sets[0]; i++)
        if (strlen(known_sets[i].name) == n && strncmp(known_sets[i].name, name, n) == 0)
            return &known_sets[i];
    return NULL;
}

/* Labels from 0 on, and how many classes they are. */
static caps_status idx_set_count(
    caps_dataset *ds, const caps_location *l, const char *label_path, size_t n, caps_error *err)
{
    const struct known_set *known = known_set_of(l);
    const unsigned first = known && l->prefix[0] ? known->first_label : 0;
    for (size_t i = 0; i < n; i++) {
        if (ds->labels[i] < first)
            return caps_fail(err, CAPS_ERR_FORMAT, "%s: label %zu is %u, need >= %u", label_path, i,
                (unsigned)ds->labels[i], first);
        ds->labels[i] = (uint8_t)(ds->labels[i] - first);
        if (ds->labels[i] >= ds->classes)
            ds->classes = (size_t)ds->labels[i] + 1;
    }
    return CAPS_OK;
}

/* The names of a known set. One with labels that have none is another set: it goes without. */
static caps_status idx_set_add_names(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    const struct known_set *known = known_set_of(l);
    if (!known || (known->first_label && !l->prefix[0]) || ds->classes > known->count)
        return CAPS_OK;
    ds->class_names = caps_class_names_copy(known->classes, known->count);
    if (!ds->class_names)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", l->path);
    ds->classes = known->count;
    return CAPS_OK;
}

/* The labels of a split, all of them, and the path of their file. */
static caps_status idx_set_load_labels(
    caps_idx *labels, char **path, const caps_location *l, caps_split split, caps_error *err)
{
    caps_status status =
        caps_idx_set_pick(path, l->directory, l->prefix, split, CAPS_IDX_LABELS, err);
    if (status != CAPS_OK)
        return status;
    if (!*path)
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no %s%s-labels-idx1-ubyte (nor labels.idx1-ubyte, nor either as .gz)",
            l->directory, l->prefix, idx_set_name_of(l->prefix, split));
    return caps_idx_load(labels, *path, 1, "labels", 0, err);
}

caps_status caps_idx_set_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    caps_idx labels = {0};
    char *path = NULL;
    caps_status status;
    CAPS_TRY(idx_set_load_labels(&labels, &path, l, CAPS_SPLIT_TRAIN, err));
    ds->labels = labels.data;
    status = idx_set_count(ds, l, path, labels.stored, err);
    ds->labels = NULL;
    if (status == CAPS_OK)
        status = idx_set_add_names(ds, l, err);
done:
    caps_idx_release(&labels);
    free(path);
    return status;
}

/* Classes that no image of the split is of: labels that do not begin at 0, or a label that is none.
 */
static void idx_set_note_gaps(const caps_dataset *ds, size_t n, const caps_dataset_options *o)
{
    bool seen[256] = {false};
    char list[64] = "";
    size_t gaps = 0, used = 0;
    if (!o->note || o->split != CAPS_SPLIT_TRAIN)
        return;
    for (size_t i = 0; i < n; i++)
        seen[ds->labels[i]] = true;
    for (size_t c = 0; c < ds->classes; c++) {
        if (seen[c])
            continue;
        if (gaps++ < 5)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%zu", used ? ", " : "", c);
    }
    if (gaps == 0)
        return;
    char *text = caps_format("%s: %zu of %zu classes have no training image: %s%s", ds->path, gaps,
        ds->classes, list, gaps > 5 ? ", ..." : "");
    if (text)
        o->note(o->user, text);
    free(text);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* EMNIST's files hold columns where others hold rows. */
static caps_status turn_upright(caps_dataset *ds, caps_error *err)
{
    const size_t h = ds->width, w = ds->height; /* of the result */
    uint8_t *turned = malloc(h * w);
    if (!turned)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", ds->path);
    for (size_t i = 0; i < ds->n * ds->channels; i++) {
        uint8_t *image = ds->images + i * h * w;
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                turned[y * w + x] = image[x * h + y];
        memcpy(image, turned, h * w);
    }
    free(turned);
    ds->height = h;
    ds->width = w;
    return CAPS_OK;
}

caps_status caps_idx_set_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *image_path = NULL, *label_path = NULL;
    caps_idx images = {0}, labels = {0};
    const char *directory = l->directory, *prefix = l->prefix;
    int ndim = 3;

    /* Images of one channel (three dimensions) before colour (four). */
    CAPS_TRY(caps_idx_set_pick(&image_path, directory, prefix, o->split, CAPS_IDX_GREY, err));
    if (!image_path) {
        ndim = 4;
        CAPS_TRY(caps_idx_set_pick(&image_path, directory, prefix, o->split, CAPS_IDX_COLOUR, err));
    }
    if (!image_path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no %s%s-images-idx3-ubyte (nor images.idx3-ubyte, nor idx4 for colour, nor one of "
            "them as .gz)",
            directory, prefix, idx_set_name_of(prefix, o->split)));
    /* The small file first: a fault in it is found at once. */
    CAPS_TRY(idx_set_load_labels(&labels, &label_path, l, o->split, err));
    CAPS_TRY(caps_idx_load(&images, image_path, ndim, "images", o->limit, err));
    if (labels.dims[0] != images.dims[0])
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu labels, need %zu as there are images in %s",
                label_path, labels.dims[0], images.dims[0], image_path));

    ds->n = images.stored;
    ds->channels = ndim == 4 ? images.dims[1] : 1;
    ds->height = images.dims[ndim - 2];
    ds->width = images.dims[ndim - 1];
    ds->images = images.data;
    ds->labels = labels.data;
    images.data = labels.data = NULL;
    const size_t labels_n = labels.stored;
    /* Of all labels, so that a limit changes nothing. */
    CAPS_TRY(idx_set_count(ds, l, label_path, labels.stored, err));
    CAPS_TRY(idx_set_add_names(ds, l, err));
    idx_set_note_gaps(ds, labels_n, o);
    if (*prefix)
        CAPS_TRY(turn_upright(ds, err));
done:
    caps_idx_release(&images);
    caps_idx_release(&labels);
    free(image_path);
    free(label_path);
    return status;
}
