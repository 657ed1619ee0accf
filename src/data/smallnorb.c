/* smallnorb.c: smallNORB (LeCun, Huang, Bottou 2004) in its own files. A split has three matrices:
 *
 *     smallnorb-<what>-training-dat.mat    [n, cameras, height, width] bytes
 *     smallnorb-<what>-training-cat.mat    [n] labels
 *     smallnorb-<what>-training-info.mat   [n, 4] instance, elevation, azimuth, light
 *
 * and the same with "testing". A matrix is a magic number that tells the type of its elements, the
 * number of dimensions, the dimensions (three at least are written; those too many are not used),
 * all int32 and little-endian, then the elements. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "folder.h"
#include "stream.h"
#include "viewpoints.h"

#define MAGIC_BYTES 0x1E3D4C55u
#define MAGIC_INTS  0x1E3D4C54u

enum { MOST_DIMS = 4, INFO = 4, CAMERAS = 2, MOST_SIDE = 16384 };

typedef enum part { PART_DAT, PART_CAT, PART_INFO, PARTS } part;

static const char *const part_names[PARTS] = {"dat", "cat", "info"};

static const char *const class_names[CAPS_OBJECT_CLASSES] = {
    "animal", "human", "plane", "truck", "car"};

static caps_status no_memory(caps_error *err, const char *path)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
}

/* ---- which files ---------------------------------------------------------------------------- */

static const char *split_word(caps_split split)
{
    return split == CAPS_SPLIT_TRAIN ? "-training" : "-testing";
}

/* Length of "smallnorb-...-training", where a name is that of one of the split's files, else 0. */
static size_t stem_of(const char *name, caps_split split)
{
    static const char begin[] = "smallnorb-";
    if (strncmp(name, begin, sizeof begin - 1) != 0)
        return 0;
    for (int i = 0; i < 2 * PARTS; i++) {
        char end[48];
        const int length = snprintf(end, sizeof end, "%s-%s.mat%s", split_word(split),
            part_names[i / 2], i % 2 ? ".gz" : "");
        const size_t n = strlen(name), m = (size_t)length;
        if (n > m && strcmp(name + n - m, end) == 0)
            return n - m + strlen(split_word(split));
    }
    return 0;
}

/* "directory/smallnorb-...-training" of the first such file in byte order; NULL: there is none. */
static caps_status find_stem(char **stem, const char *directory, caps_split split, caps_error *err)
{
    caps_listing l = {0};
    caps_status status;
    *stem = NULL;
    CAPS_TRY(caps_listing_read(&l, directory, err));
    for (size_t i = 0; i < l.n && !*stem; i++) {
        const size_t n = stem_of(l.names[i], split);
        if (n == 0)
            continue;
        *stem = caps_format("%s%s%.*s", directory,
            directory[strlen(directory) - 1] == '/' ? "" : "/", (int)n, l.names[i]);
        if (!*stem)
            CAPS_TRY(no_memory(err, directory));
    }
done:
    caps_listing_release(&l);
    return status;
}

caps_status caps_smallnorb_has(bool *has, const caps_location *l, caps_split split, caps_error *err)
{
    char *stem = NULL;
    *has = false;
    if (split == CAPS_SPLIT_VALIDATION)
        return CAPS_OK;
    const caps_status status = find_stem(&stem, l->directory, split, err);
    *has = stem != NULL;
    free(stem);
    return status;
}

caps_status caps_smallnorb_holds(bool *holds, const char *directory, caps_error *err)
{
    const caps_location l = {.directory = (char *)(uintptr_t)directory};
    caps_status status = caps_smallnorb_has(holds, &l, CAPS_SPLIT_TRAIN, err);
    if (status == CAPS_OK && !*holds)
        status = caps_smallnorb_has(holds, &l, CAPS_SPLIT_TEST, err);
    return status;
}

bool caps_smallnorb_owns(const caps_location *l, const char *file)
{
    size_t n;
    const char *name = caps_path_last(file, &n);
    bool owns = false;
    char *path = caps_path_join(l->directory, name);
    if (path && (stem_of(name, CAPS_SPLIT_TRAIN) || stem_of(name, CAPS_SPLIT_TEST)))
        owns = caps_path_is_same(path, file);
    free(path);
    return owns;
}

/* The file of a part, as it is or as .gz. */
static caps_status find_part(char **path, const char *stem, part which, caps_error *err)
{
    for (int gz = 0; gz < 2; gz++) {
        caps_path_kind kind = CAPS_PATH_NOTHING;
        *path = caps_format("%s-%s.mat%s", stem, part_names[which], gz ? ".gz" : "");
        if (!*path)
            return no_memory(err, stem);
        const caps_status status = caps_path_look(&kind, *path, CAPS_ERR_NOT_FOUND, err);
        if (status != CAPS_OK || kind != CAPS_PATH_NOTHING)
            return status;
        free(*path);
        *path = NULL;
    }
    return caps_fail(err, CAPS_ERR_NOT_FOUND,
        "%s-%s.mat: does not exist, need it (or its .gz) beside the others", stem,
        part_names[which]);
}

/* ---- a matrix ------------------------------------------------------------------------------- */

/* A file that is being read, and what its header says. */
typedef struct matrix {
    char *path;
    caps_stream *stream;
    size_t dims[MOST_DIMS], need_bytes, got_bytes;
} matrix;

static void matrix_close(matrix *m)
{
    if (m->stream)
        caps_stream_close(m->stream);
    free(m->stream);
    free(m->path);
    *m = (matrix){0};
}

static uint32_t little_endian(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Exactly n bytes. */
static caps_status take(matrix *m, void *data, size_t n, caps_error *err)
{
    size_t got = 0;
    const caps_status status = caps_stream_read(m->stream, data, n, &got, err);
    if (status != CAPS_OK)
        return status;
    m->got_bytes += got;
    if (got == n)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu bytes%s, need %zu: the file is cut", m->path,
        m->got_bytes, m->stream->gz ? " uncompressed" : "",
        m->need_bytes > 0 ? m->need_bytes : m->got_bytes - got + n);
}

/* Nothing may follow; reading on also compares the checksum of a .gz. */
static caps_status expect_end(matrix *m, caps_error *err)
{
    unsigned char byte;
    size_t got = 0;
    const caps_status status = caps_stream_read(m->stream, &byte, 1, &got, err);
    if (status != CAPS_OK || got == 0)
        return status;
    return caps_fail(err, CAPS_ERR_FORMAT, "%s: more than the %zu bytes that its header needs",
        m->path, m->need_bytes);
}

static caps_status check_dims(matrix *m, part which, caps_error *err)
{
    const size_t *d = m->dims;
    if (d[0] == 0)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: 0 images, need >= 1", m->path);
    if (which == PART_INFO && d[1] != INFO)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: %zu numbers an image, need %d: instance, elevation, azimuth, light", m->path, d[1],
            INFO);
    const bool sides = d[2] >= 2 && d[3] >= 2 && d[2] <= MOST_SIDE && d[3] <= MOST_SIDE &&
                       d[2] % 2 == 0 && d[3] % 2 == 0;
    if (which == PART_DAT && (d[1] != CAMERAS || !sides))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: images of %zux%zux%zu, need %d cameras and even sides of 2 to %d", m->path, d[1],
            d[2], d[3], CAMERAS, MOST_SIDE);
    return CAPS_OK;
}

/* Opens a part and reads its header; *m is to be closed in any case. */
static caps_status matrix_open(matrix *m, const char *stem, part which, caps_error *err)
{
    static const uint32_t magics[PARTS] = {MAGIC_BYTES, MAGIC_INTS, MAGIC_INTS};
    static const uint32_t ndims[PARTS] = {4, 1, 2};
    unsigned char head[4 + 4 + 4 * MOST_DIMS];
    const uint32_t magic = magics[which], ndim = ndims[which], written = ndim < 3 ? 3 : ndim;
    caps_status status;
    *m = (matrix){0};
    CAPS_TRY(find_part(&m->path, stem, which, err));
    m->stream = calloc(1, sizeof *m->stream);
    if (!m->stream)
        CAPS_TRY(no_memory(err, m->path));
    CAPS_TRY(caps_stream_open(m->stream, m->path, err));
    CAPS_TRY(take(m, head, 8, err));
    if (little_endian(head) != magic)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: magic number is 0x%08X, need 0x%08X (%s, little-endian)", m->path,
            (unsigned)little_endian(head), (unsigned)magic,
            which == PART_DAT ? "bytes" : "integers of 32 bits"));
    if (little_endian(head + 4) != ndim)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %lu dimensions, need %lu", m->path,
            (unsigned long)little_endian(head + 4), (unsigned long)ndim));
    CAPS_TRY(take(m, head + 8, 4 * (size_t)written, err));
    size_t bytes = which == PART_DAT ? 1 : 4;
    for (uint32_t d = 0; d < ndim; d++)
        m->dims[d] = little_endian(head + 8 + 4 * (size_t)d);
    CAPS_TRY(check_dims(m, which, err));
    for (uint32_t d = 0; d < ndim; d++) {
        if (bytes > SIZE_MAX / 2 / m->dims[d])
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s: sizes in the header, need no more than can be addressed", m->path));
        bytes *= m->dims[d];
    }
    m->need_bytes = m->got_bytes + bytes;
    if (!m->stream->gz && m->stream->file_bytes != m->need_bytes)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu bytes, need %zu for %zu images", m->path,
            m->stream->file_bytes, m->need_bytes, m->dims[0]));
done:
    return status;
}

/* ---- labels and viewpoints ------------------------------------------------------------------ */

/* Numbers [n, each], each < most[i % each]; memory grows with what arrives. */
static caps_status read_numbers(uint8_t **out, size_t *n, const char *stem, part which,
    const char *const *names, const unsigned *most, caps_error *err)
{
    const size_t each = which == PART_CAT ? 1 : INFO;
    unsigned char row[4 * INFO];
    matrix m;
    size_t capacity = 0;
    caps_status status;
    CAPS_TRY(matrix_open(&m, stem, which, err));
    for (size_t i = 0; i < m.dims[0]; i++) {
        if (i == capacity) {
            capacity = capacity ? 2 * capacity : 4096;
            uint8_t *grown = realloc(*out, capacity * each);
            if (!grown)
                CAPS_TRY(no_memory(err, m.path));
            *out = grown;
        }
        CAPS_TRY(take(&m, row, 4 * each, err));
        for (size_t k = 0; k < each; k++) {
            const uint32_t value = little_endian(row + 4 * k);
            if (value >= most[k])
                CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %s of image %zu is %ld, need 0 to %u",
                    m.path, names[k], i, (long)(int32_t)value, most[k] - 1));
            (*out)[i * each + k] = (uint8_t)value;
        }
    }
    CAPS_TRY(expect_end(&m, err));
    *n = m.dims[0];
done:
    matrix_close(&m);
    return status;
}

static caps_status read_labels(uint8_t **labels, size_t *n, const char *stem, caps_error *err)
{
    static const char *const names[] = {"label"};
    static const unsigned most[] = {CAPS_OBJECT_CLASSES};
    return read_numbers(labels, n, stem, PART_CAT, names, most, err);
}

/* Azimuths are written as 0, 2, ... 34. */
static caps_status read_info(uint8_t **info, size_t *n, const char *stem, caps_error *err)
{
    static const char *const names[INFO] = {"instance", "elevation", "azimuth", "light"};
    static const unsigned most[INFO] = {256, CAPS_ELEVATIONS, 2 * CAPS_AZIMUTHS - 1, CAPS_LIGHTS};
    caps_status status = read_numbers(info, n, stem, PART_INFO, names, most, err);
    for (size_t i = 0; status == CAPS_OK && i < *n; i++)
        if ((*info)[i * INFO + 2] % 2 != 0)
            status = caps_fail(err, CAPS_ERR_FORMAT,
                "%s-info.mat: azimuth of image %zu is %u, need an even number", stem, i,
                (unsigned)(*info)[i * INFO + 2]);
    return status;
}

/* ---- images --------------------------------------------------------------------------------- */

/* Room for one more image. */
static caps_status grow(caps_dataset *ds, size_t *capacity, const char *path, caps_error *err)
{
    if (ds->n < *capacity)
        return CAPS_OK;
    *capacity = *capacity ? 2 * *capacity : 256;
    const size_t pixels = ds->channels * ds->height * ds->width;
    uint8_t *images =
        *capacity > SIZE_MAX / 2 / pixels ? NULL : realloc(ds->images, *capacity * pixels);
    if (images)
        ds->images = images;
    uint8_t *labels = realloc(ds->labels, *capacity);
    if (labels)
        ds->labels = labels;
    return images && labels ? CAPS_OK : no_memory(err, path);
}

/* Of the images those of the viewpoints that are requested, `limit` at most; all are read. */
static caps_status read_images(caps_dataset *ds, const char *stem, const uint8_t *labels,
    const uint8_t *info, size_t n, const caps_dataset_options *o, caps_error *err)
{
    uint8_t *image = NULL;
    size_t capacity = 0;
    matrix m;
    caps_status status;
    CAPS_TRY(matrix_open(&m, stem, PART_DAT, err));
    const size_t h = m.dims[2], w = m.dims[3], plane = h * w / 4;
    if (m.dims[0] != n)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu images, need %zu, as %s-cat.mat has",
            m.path, m.dims[0], n, stem));
    ds->channels = m.dims[1];
    ds->height = h / 2;
    ds->width = w / 2;
    image = malloc(ds->channels * h * w);
    if (!image)
        CAPS_TRY(no_memory(err, m.path));
    for (size_t i = 0; i < n; i++) {
        CAPS_TRY(take(&m, image, ds->channels * h * w, err));
        const bool chosen =
            caps_viewpoints_have(o->viewpoints, info[i * INFO + 2] / 2u, info[i * INFO + 1]);
        if (!chosen || (o->limit && ds->n == o->limit))
            continue;
        CAPS_TRY(grow(ds, &capacity, m.path, err));
        uint8_t *to = ds->images + ds->n * ds->channels * plane;
        for (size_t c = 0; c < ds->channels; c++)
            caps_viewpoints_halve(to + c * plane, image + c * h * w, h, w);
        ds->labels[ds->n++] = labels[i];
    }
    CAPS_TRY(expect_end(&m, err));
    if (ds->n == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: no images of the viewpoints '%s', need some",
            m.path, caps_viewpoints_name((int)o->viewpoints)));
done:
    matrix_close(&m);
    free(image);
    return status;
}

/* ---- a set ---------------------------------------------------------------------------------- */

caps_status caps_smallnorb_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    ds->classes = CAPS_OBJECT_CLASSES;
    ds->class_names = caps_class_names_copy(class_names, CAPS_OBJECT_CLASSES);
    return ds->class_names ? CAPS_OK : no_memory(err, l->path);
}

caps_status caps_smallnorb_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    uint8_t *labels = NULL, *info = NULL;
    size_t label_count = 0, info_count = 0;
    char *stem = NULL;
    caps_status status;
    CAPS_TRY(find_stem(&stem, l->directory, o->split, err));
    if (!stem)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: has no smallnorb-...%s-dat.mat (or .gz), need it for the %s split", l->path,
            split_word(o->split), o->split == CAPS_SPLIT_TRAIN ? "training" : "test"));
    CAPS_TRY(caps_smallnorb_name(ds, l, err));
    CAPS_TRY(read_labels(&labels, &label_count, stem, err));
    CAPS_TRY(read_info(&info, &info_count, stem, err));
    if (info_count != label_count)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s-info.mat: %zu images, need %zu, as %s-cat.mat has",
                stem, info_count, label_count, stem));
    ds->standardised = true;
    CAPS_TRY(read_images(ds, stem, labels, info, label_count, o, err));
done:
    free(labels);
    free(info);
    free(stem);
    return status;
}
