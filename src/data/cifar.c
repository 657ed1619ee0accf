/* cifar.c: CIFAR-10's binary version: rows of a label and the red, green and blue plane of 32x32.
 */
#include "formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "text.h"

enum { CLASSES = 10, SIDE = 32, PIXELS = 3 * SIDE * SIDE, ROW = 1 + PIXELS };

#define MAX_FILE_BYTES ((size_t)1 << 31)

static const char *const own_names[CLASSES] = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

char *caps_cifar_path(const char *directory, int part)
{
    char name[32];
    snprintf(
        name, sizeof name, part < CAPS_CIFAR_TEST ? "data_batch_%d.bin" : "test_batch.bin", part);
    return caps_path_join(directory, part == CAPS_CIFAR_NAMES ? "batches.meta.txt" : name);
}

caps_status caps_cifar_has(bool *has, const caps_location *l, caps_split split, caps_error *err)
{
    const int first = split == CAPS_SPLIT_TRAIN ? 1 : CAPS_CIFAR_TEST;
    const int last = split == CAPS_SPLIT_TRAIN ? CAPS_CIFAR_TEST - 1 : CAPS_CIFAR_TEST;
    *has = false;
    for (int batch = first; batch <= last && !*has && split != CAPS_SPLIT_VALIDATION; batch++) {
        caps_path_kind kind = CAPS_PATH_NOTHING;
        char *path = caps_cifar_path(l->directory, batch);
        caps_status status = path ? caps_path_look(&kind, path, CAPS_ERR_NOT_FOUND, err)
                                  : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", l->path);
        free(path);
        if (status != CAPS_OK)
            return status;
        *has = kind != CAPS_PATH_NOTHING;
    }
    return CAPS_OK;
}

/* One name a line; lines without anything at the end do not count. */
caps_status caps_cifar_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    const char *directory = l->directory;
    caps_status status = CAPS_OK;
    unsigned char *text = NULL;
    const char *names[CLASSES];
    size_t bytes = 0, n = 0;
    caps_path_kind kind;
    char *path = caps_cifar_path(directory, CAPS_CIFAR_NAMES);
    if (!path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
    CAPS_TRY(caps_path_look(&kind, path, CAPS_ERR_NOT_FOUND, err));
    if (kind == CAPS_PATH_NOTHING) {
        memcpy(names, own_names, sizeof names);
        n = CLASSES;
    } else {
        CAPS_TRY(caps_file_read(&text, &bytes, path, 65536, err));
        for (char *line = (char *)text, *next; *line; line = next) {
            next = line + strcspn(line, "\r\n");
            while (*next == '\r' || *next == '\n')
                *next++ = '\0';
            if (*line && n < CLASSES)
                names[n] = line;
            n += *line != '\0';
            if (!caps_is_text(line))
                CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                    "%s: name %zu is not printable UTF-8, need text", path, n));
        }
        if (n != CLASSES)
            CAPS_TRY(caps_fail(
                err, CAPS_ERR_FORMAT, "%s: %zu names, need %d, one a line", path, n, CLASSES));
    }
    ds->classes = CLASSES;
    ds->class_names = caps_class_names_copy(names, CLASSES);
    if (!ds->class_names)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory));
done:
    free(text);
    free(path);
    return status;
}

/* Appends a file's rows to the set, of which `limit` at most are stored; all are checked. */
static caps_status read_batch(caps_dataset *ds, const char *path, size_t limit, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char *file = NULL;
    size_t bytes = 0;
    CAPS_TRY(caps_file_read(&file, &bytes, path, MAX_FILE_BYTES, err));
    const size_t rows = bytes / ROW;
    if (rows == 0 || bytes % ROW != 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: %zu bytes, need images of %d bytes each, at least one", path, bytes, ROW));
    for (size_t i = 0; i < rows; i++)
        if (file[i * ROW] >= CLASSES)
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: label of image %zu is %u, need < %d",
                path, i, file[i * ROW], CLASSES));

    const size_t n = limit && limit - ds->n < rows ? limit - ds->n : rows;
    if (n == 0)
        goto done;
    uint8_t *images = realloc(ds->images, (ds->n + n) * PIXELS);
    if (images)
        ds->images = images;
    uint8_t *labels = realloc(ds->labels, ds->n + n);
    if (labels)
        ds->labels = labels;
    if (!images || !labels)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu images", path, ds->n + n));
    for (size_t i = 0; i < n; i++, ds->n++) {
        ds->labels[ds->n] = file[i * ROW];
        memcpy(ds->images + ds->n * PIXELS, file + i * ROW + 1, PIXELS);
    }
done:
    free(file);
    return status;
}

caps_status caps_cifar_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    const bool training = o->split == CAPS_SPLIT_TRAIN;
    caps_status status;
    ds->channels = 3;
    ds->height = ds->width = SIDE;
    ds->classes = CLASSES;
    CAPS_TRY(caps_cifar_name(ds, l, err));
    for (int batch = training ? 1 : CAPS_CIFAR_TEST; batch <= (training ? 5 : CAPS_CIFAR_TEST);
         batch++) {
        char *path = caps_cifar_path(l->directory, batch);
        if (!path)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", l->directory));
        caps_path_kind kind;
        status = caps_path_look(&kind, path, CAPS_ERR_NOT_FOUND, err);
        if (status == CAPS_OK && kind == CAPS_PATH_NOTHING)
            status = caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: does not exist, need %s", path,
                training ? "data_batch_1.bin to data_batch_5.bin for training"
                         : "it for the test split");
        else if (status == CAPS_OK)
            status = read_batch(ds, path, o->limit, err);
        free(path);
        CAPS_TRY(status);
    }
done:
    return status;
}
