/* safetensors.c: see safetensors.h. The format: eight bytes of header length, little-endian; the
 * header, a JSON object of name -> {dtype, shape, data_offsets} and __metadata__ (text to text);
 * the data. */
#include "safetensors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "file.h"
#include "json.h"

#define LENGTH_BYTES 8
#define MOST_HEADER  ((uint64_t)100000000) /* the format's own limit */
#define MOST_FILE    (SIZE_MAX / 4)

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {{"F32", 4}, {"F64", 8}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
    {"I8", 1}, {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1}, {"F8_E4M3", 1},
    {"F8_E5M2", 1}};

static size_t dtype_bytes(const char *name)
{
    for (size_t i = 0; name && i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].bytes;
    return 0;
}

void caps_safetensors_release(caps_safetensors *st)
{
    free(st->tensors);
    free(st->metadata);
    json_decref(st->header);
    free(st->file);
    if (st->is_open)
        close(st->fd);
    memset(st, 0, sizeof *st);
}

const caps_st_tensor *caps_safetensors_get(const caps_safetensors *st, const char *name)
{
    for (size_t i = 0; i < st->count; i++)
        if (strcmp(st->tensors[i].name, name) == 0)
            return &st->tensors[i];
    return NULL;
}

const char *caps_safetensors_get_metadata(const caps_safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->metadata_count; i++)
        if (strcmp(st->metadata[i].key, key) == 0)
            return st->metadata[i].value;
    return NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static caps_status read_metadata(
    caps_safetensors *st, const json_t *metadata, const char *where, caps_error *err)
{
    const char *key;
    const json_t *value;
    if (!json_is_object(metadata))
        return caps_fail(
            err, CAPS_ERR_FORMAT, "%s: __metadata__ is not an object, need text by name", where);
    st->metadata = calloc(json_object_size(metadata) + 1, sizeof *st->metadata);
    if (!st->metadata)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", where);
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return caps_fail(
                err, CAPS_ERR_FORMAT, "%s: __metadata__ %.64s is not text, need text", where, key);
        st->metadata[st->metadata_count++] = (caps_st_pair){key, json_string_value(value)};
    }
    return CAPS_OK;
}

/* A tensor's entry; `bytes`: all of the file behind the header. */
static caps_status read_tensor(caps_st_tensor *t, const char *name, const json_t *entry,
    size_t bytes, const char *where, caps_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const size_t element = dtype_bytes(dtype);
    t->name = name;
    if (!json_is_object(entry) || json_object_size(entry) != 3 || !dtype || !json_is_array(shape) ||
        !json_is_array(offsets) || json_array_size(offsets) != 2)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: tensor %.64s: need dtype, shape and data_offsets [begin, end]", where, name);
    if (!element)
        return caps_fail(
            err, CAPS_ERR_FORMAT, "%s: tensor %.64s: dtype %.16s is unknown", where, name, dtype);
    snprintf(t->dtype, sizeof t->dtype, "%s", dtype);
    if (json_array_size(shape) > CAPS_ST_MAX_DIMS)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: tensor %.64s: has %zu dimensions, need at most %d", where, name,
            json_array_size(shape), CAPS_ST_MAX_DIMS);
    t->ndim = (int)json_array_size(shape);
    size_t count = 1;
    for (int d = 0; d < t->ndim; d++) {
        const json_t *size = json_array_get(shape, (size_t)d);
        json_int_t n = json_integer_value(size);
        if (!json_is_integer(size) || n < 0 || (n > 0 && count > SIZE_MAX / element / (size_t)n))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %.64s: dimension %d is no possible size", where, name, d);
        t->shape[d] = (size_t)n;
        count *= (size_t)n;
    }
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (!json_is_integer(begin) || !json_is_integer(end) || from < 0 || to < from ||
        (uint64_t)to > bytes)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: tensor %.64s: data offsets are not within the file's %zu bytes of data", where,
            name, bytes);
    t->bytes = (size_t)(to - from);
    if (t->bytes != count * element)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: tensor %.64s: has %zu bytes of data, need %zu for its shape", where, name,
            t->bytes, count * element);
    t->first = (size_t)from;
    return CAPS_OK;
}

static int by_place(const void *a, const void *b)
{
    const caps_st_tensor *x = *(const caps_st_tensor *const *)a;
    const caps_st_tensor *y = *(const caps_st_tensor *const *)b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* the empty ones first */
}

/* Every byte of the data belongs to exactly one tensor. */
static caps_status check_cover(const caps_safetensors *st, const char *where, caps_error *err)
{
    caps_status status = CAPS_OK;
    const caps_st_tensor **order = calloc(st->count + 1, sizeof *order);
    if (!order)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", where);
    for (size_t i = 0; i < st->count; i++)
        order[i] = &st->tensors[i];
    qsort(order, st->count, sizeof *order, by_place);
    size_t at = 0;
    for (size_t i = 0; i < st->count && status == CAPS_OK; i++) {
        const size_t begin = order[i]->first;
        if (begin < at)
            status = caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %.64s: its data overlaps that of tensor %.64s", where, order[i]->name,
                order[i - 1]->name);
        else if (begin > at)
            status = caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %.64s: a hole of %zu bytes before its data", where, order[i]->name,
                begin - at);
        at = begin + order[i]->bytes;
    }
    if (status == CAPS_OK && at != st->data_bytes)
        status = caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu bytes after the last tensor, need none",
            where, st->data_bytes - at);
    free(order);
    return status;
}

/* The header's length, of a file of n bytes that begins with these. */
static caps_status read_length(
    size_t *length, const unsigned char *begin, size_t n, const char *where, caps_error *err)
{
    uint64_t value = 0;
    if (n < LENGTH_BYTES)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: has %zu bytes, need a safetensors file (8 bytes at least)", where, n);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        value = value << 8 | begin[i];
    /* As a length this would be larger than any file. */
    if (begin[0] == '{' && value > MOST_HEADER)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: looks like JSON, need a safetensors file (a network's JSON is given with --arch)",
            where);
    if (n >= 4 && memcmp(begin, "PK\3\4", 4) == 0)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: is a zip archive, as torch.save writes, need a safetensors file "
            "(safetensors.torch.save_file writes one)",
            where);
    if (value > MOST_HEADER || value > n - LENGTH_BYTES)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: header of %llu bytes in a file of %zu, need one that fits (is it a safetensors "
            "file?)",
            where, (unsigned long long)value, n);
    *length = (size_t)value;
    return CAPS_OK;
}

/* Everything that the header says, of a file of n bytes. */
static caps_status read_header(caps_safetensors *st, const char *text, size_t length, size_t n,
    const char *where, caps_error *err)
{
    caps_status status;
    json_t *header = NULL;
    st->data_bytes = n - LENGTH_BYTES - length;
    CAPS_TRY(caps_json_parse(&header, text, length, where, CAPS_ERR_FORMAT, err));
    st->header = header;
    if (!json_is_object(header))
        return caps_fail(
            err, CAPS_ERR_FORMAT, "%s: its header is not a JSON object, need one", where);
    st->tensors = calloc(json_object_size(header) + 1, sizeof *st->tensors);
    if (!st->tensors)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", where);
    const char *name;
    const json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            CAPS_TRY(read_metadata(st, entry, where, err));
        else
            CAPS_TRY(
                read_tensor(&st->tensors[st->count++], name, entry, st->data_bytes, where, err));
    }
    CAPS_TRY(check_cover(st, where, err));
done:
    return status;
}

static void place_data(caps_safetensors *st, const unsigned char *data)
{
    for (size_t i = 0; i < st->count; i++)
        st->tensors[i].data = data + st->tensors[i].first;
}

/* st->file is the whole file and st's already. */
static caps_status read_all(caps_safetensors *st, size_t n, const char *where, caps_error *err)
{
    size_t length = 0;
    caps_status status = read_length(&length, st->file, n, where, err);
    if (status == CAPS_OK)
        status = read_header(st, (const char *)st->file + LENGTH_BYTES, length, n, where, err);
    if (status == CAPS_OK)
        place_data(st, st->file + LENGTH_BYTES + length);
    return status;
}

/* The file's size and header, while its data wait. */
static caps_status open_regular(caps_safetensors *st, const char *path, caps_error *err)
{
    unsigned char begin[LENGTH_BYTES];
    struct stat file;
    size_t length = 0;
    caps_status status;
    CAPS_TRY(caps_file_open(&st->fd, path, err));
    st->is_open = true;
    if (fstat(st->fd, &file) != 0)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path));
    const size_t n = file.st_size < 0                     ? 0
                     : (uint64_t)file.st_size > MOST_FILE ? MOST_FILE
                                                          : (size_t)file.st_size;
    CAPS_TRY(caps_file_take(st->fd, begin, n < LENGTH_BYTES ? 0 : LENGTH_BYTES, path, err));
    CAPS_TRY(read_length(&length, begin, n, path, err));
    st->file = malloc(length + 1);
    if (!st->file)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for its header", path));
    CAPS_TRY(caps_file_take(st->fd, st->file, length, path, err));
    CAPS_TRY(read_header(st, (const char *)st->file, length, n, path, err));
done:
    return status;
}

caps_status caps_safetensors_open(caps_safetensors *st, const char *path, caps_error *err)
{
    struct stat file;
    caps_status status;
    memset(st, 0, sizeof *st);
    if (stat(path, &file) == 0 && S_ISFIFO(file.st_mode)) {
        size_t n = 0; /* a pipe has no size, and cannot be read twice */
        status = caps_file_read(&st->file, &n, path, MOST_FILE, err);
        if (status == CAPS_OK)
            status = read_all(st, n, path, err);
    } else {
        status = open_regular(st, path, err);
    }
    if (status != CAPS_OK)
        caps_safetensors_release(st);
    return status;
}

caps_status caps_safetensors_read(caps_safetensors *st, const char *path, caps_error *err)
{
    caps_status status;
    if (!st->is_open)
        return CAPS_OK;
    free(st->file);
    st->file = malloc(st->data_bytes + 1);
    if (!st->file)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu bytes of tensors", path,
            st->data_bytes));
    CAPS_TRY(caps_file_take(st->fd, st->file, st->data_bytes, path, err));
    place_data(st, st->file);
done:
    close(st->fd);
    st->is_open = false;
    return status;
}

caps_status caps_safetensors_load(caps_safetensors *st, const char *path, caps_error *err)
{
    caps_status status = caps_safetensors_open(st, path, err);
    if (status == CAPS_OK)
        status = caps_safetensors_read(st, path, err);
    if (status != CAPS_OK)
        caps_safetensors_release(st);
    return status;
}

caps_status caps_safetensors_parse(
    caps_safetensors *st, const void *data, size_t n, const char *where, caps_error *err)
{
    memset(st, 0, sizeof *st);
    st->file = malloc(n + 1);
    if (!st->file)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu bytes", where, n);
    if (n > 0)
        memcpy(st->file, data, n);
    caps_status status = read_all(st, n, where, err);
    if (status != CAPS_OK)
        caps_safetensors_release(st);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

static json_t *header_of(const caps_st_tensor *tensors, size_t count, const caps_st_pair *metadata,
    size_t metadata_count)
{
    json_t *header = json_object(), *pairs = json_object();
    for (size_t i = 0; i < metadata_count; i++)
        caps_json_set(&pairs, metadata[i].key, json_string(metadata[i].value));
    caps_json_set(&header, "__metadata__", pairs);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        json_t *shape = json_array();
        for (int d = 0; d < tensors[i].ndim; d++)
            caps_json_append(&shape, json_integer((json_int_t)tensors[i].shape[d]));
        caps_json_set(&header, tensors[i].name,
            json_pack("{s:s, s:o, s:[I,I]}", "dtype", tensors[i].dtype, "shape", shape,
                "data_offsets", (json_int_t)at, (json_int_t)(at + tensors[i].bytes)));
        at += tensors[i].bytes;
    }
    return header;
}

typedef caps_status file_begin(caps_atomic_file *f, const char *path, caps_error *err);

static caps_status save_to(const char *path, file_begin *begin, const caps_st_tensor *tensors,
    size_t count, const caps_st_pair *metadata, size_t metadata_count, caps_error *err)
{
    static const char spaces[LENGTH_BYTES + 1] = "        ";
    caps_atomic_file file = {0};
    caps_status status = CAPS_OK;
    json_t *header = header_of(tensors, count, metadata, metadata_count);
    char *text = header ? caps_json_format(header, 0, 9) : NULL;
    if (!text) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for its header", path);
        goto done;
    }
    const size_t length = strlen(text), pad = (LENGTH_BYTES - length % LENGTH_BYTES) % LENGTH_BYTES;
    unsigned char size[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        size[i] = (unsigned char)((uint64_t)(length + pad) >> (8 * i));
    CAPS_TRY(begin(&file, path, err));
    CAPS_TRY(caps_atomic_write(&file, size, sizeof size, err));
    CAPS_TRY(caps_atomic_write(&file, text, length, err));
    CAPS_TRY(caps_atomic_write(&file, spaces, pad, err));
    for (size_t i = 0; i < count; i++)
        CAPS_TRY(caps_atomic_write(&file, tensors[i].data, tensors[i].bytes, err));
    CAPS_TRY(caps_atomic_commit(&file, err));
done:
    caps_atomic_abort(&file);
    free(text);
    json_decref(header);
    return status;
}

caps_status caps_safetensors_save(const char *path, const caps_st_tensor *tensors, size_t count,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err)
{
    return save_to(path, caps_atomic_init, tensors, count, metadata, metadata_count, err);
}

caps_status caps_safetensors_save_own(const char *path, const caps_st_tensor *tensors, size_t count,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err)
{
    return save_to(path, caps_atomic_init_own, tensors, count, metadata, metadata_count, err);
}
