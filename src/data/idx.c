/* idx.c: IDX files, plain and gzip. */
#include "idx.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "fail.h"
#include "file.h"

#define CHUNK_BYTES 65536

/* A stream of the file's bytes, decompressed where it is a .gz. zlib's inflate in place of its gz*
 * functions: those pass data that is not gzip through as it is, and are silent about what follows
 * it. */
typedef struct source {
    const char *path;
    FILE *file;
    bool gz;
    size_t file_bytes;
    z_stream z;
    bool z_started;
    bool member_ended; /* between two gzip members, or at the end */
    unsigned char in[CHUNK_BYTES];
} source;

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static caps_status source_open(source *s, const char *path, caps_error *err)
{
    struct stat st;
    int fd;
    memset(s, 0, sizeof *s);
    s->path = path;
    s->gz = ends_with(path, ".gz");
    caps_status status = caps_file_open(&fd, path, err);
    if (status != CAPS_OK)
        return status;
    s->file = fdopen(fd, "rb");
    if (!s->file) {
        close(fd);
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    }
    if (fstat(fd, &st) != 0)
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path);
    s->file_bytes = (size_t)st.st_size;
    if (s->gz) {
        if (inflateInit2(&s->z, 15 + 16) != Z_OK)
            return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory to decompress", path);
        s->z_started = true;
    }
    return CAPS_OK;
}

static void source_close(source *s)
{
    if (s->z_started)
        inflateEnd(&s->z);
    if (s->file)
        fclose(s->file);
}

static caps_status file_read(source *s, void *data, size_t n, size_t *got, caps_error *err)
{
    *got = fread(data, 1, n, s->file);
    if (*got < n && ferror(s->file))
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", s->path);
    return CAPS_OK;
}

/* One step of decompression into z.next_out; *end is set where nothing follows. */
static caps_status inflate_some(source *s, bool *end, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (s->z.avail_in == 0) {
        size_t got;
        CAPS_TRY(file_read(s, s->in, sizeof s->in, &got, err));
        s->z.next_in = s->in;
        s->z.avail_in = (uInt)got;
        if (got == 0) {
            if (!s->member_ended)
                CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                    "%s: damaged gzip file: it ends before the compressed data does", s->path));
            *end = true;
            return CAPS_OK;
        }
    }
    if (s->member_ended) {
        inflateReset(&s->z);
        s->member_ended = false;
    }
    int code = inflate(&s->z, Z_NO_FLUSH);
    if (code == Z_STREAM_END)
        s->member_ended = true;
    else if (code == Z_MEM_ERROR)
        status = caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory to decompress", s->path);
    else if (code != Z_OK && code != Z_BUF_ERROR)
        status = caps_fail(err, CAPS_ERR_FORMAT, "%s: damaged gzip file: %s", s->path,
            s->z.msg ? s->z.msg : "unknown fault");
done:
    return status;
}

/* Fills data[0..n); *got < n only at the end of the file. */
static caps_status source_read(source *s, void *data, size_t n, size_t *got, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (!s->gz)
        return file_read(s, data, n, got, err);
    bool end = false;
    *got = 0;
    while (*got < n && !end) {
        size_t space = n - *got < CHUNK_BYTES ? n - *got : CHUNK_BYTES;
        s->z.next_out = (unsigned char *)data + *got;
        s->z.avail_out = (uInt)space;
        CAPS_TRY(inflate_some(s, &end, err));
        *got += space - s->z.avail_out;
    }
done:
    return status;
}

/* "10000 images of 3x28x28" */
static void describe(char *text, size_t bytes, const caps_idx *idx, const char *items)
{
    int used = snprintf(text, bytes, "%zu %s", idx->dims[0], items);
    for (int d = 1; d < idx->ndim && used > 0 && (size_t)used < bytes; d++)
        used += snprintf(
            text + used, bytes - (size_t)used, "%s%zu", d == 1 ? " of " : "x", idx->dims[d]);
}

/* Reads and checks magic number and sizes; *item_bytes is the size of one item, *need_bytes that of
 * the whole uncompressed file. */
static caps_status read_header(source *s, caps_idx *idx, const char *items, size_t *item_bytes,
    size_t *need_bytes, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char head[4 + 4 * CAPS_IDX_MAX_DIMS];
    size_t head_bytes = 4 + 4 * (size_t)idx->ndim, got;
    char text[120];

    CAPS_TRY(source_read(s, head, head_bytes, &got, err));
    if (got >= 4 &&
        (head[0] != 0 || head[1] != 0 || head[2] != 8 || head[3] != (unsigned char)idx->ndim))
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: magic number is 0x%02x%02x%02x%02x, need 0x000008%02x (IDX, unsigned bytes, "
            "%d dimension%s)",
            s->path, head[0], head[1], head[2], head[3], (unsigned)idx->ndim, idx->ndim,
            idx->ndim == 1 ? "" : "s"));
    if (got < head_bytes)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu bytes%s, need at least %zu (IDX header)",
            s->path, got, s->gz ? " uncompressed" : "", head_bytes));

    for (int d = 0; d < idx->ndim; d++) {
        const unsigned char *p = head + 4 + 4 * d;
        idx->dims[d] = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    }
    describe(text, sizeof text, idx, items);
    if (idx->dims[0] == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: 0 %s, need >= 1", s->path, items));
    size_t item = 1;
    for (int d = 1; d < idx->ndim; d++) {
        if (idx->dims[d] == 0)
            CAPS_TRY(
                caps_fail(err, CAPS_ERR_FORMAT, "%s: %s, need every size >= 1", s->path, text));
        if (item > SIZE_MAX / 2 / idx->dims[d])
            item = SIZE_MAX / 2;
        else
            item *= idx->dims[d];
    }
    if (item > (SIZE_MAX / 2 - head_bytes) / idx->dims[0])
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: %s in the header, need no more than can be addressed", s->path, text));
    *item_bytes = item;
    *need_bytes = head_bytes + item * idx->dims[0];
    if (!s->gz && s->file_bytes != *need_bytes)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu bytes, need %zu for %s", s->path,
            s->file_bytes, *need_bytes, text));
done:
    return status;
}

/* Reads `want` bytes into idx->data, which grows with what arrives: a damaged header of a small
 * file must not claim all memory. *got < want only at the end of the file. */
static caps_status read_items(
    source *s, caps_idx *idx, size_t want, const char *items, size_t *got, caps_error *err)
{
    caps_status status = CAPS_OK;
    const size_t start_bytes = (size_t)1 << 22;
    size_t capacity = 0;
    *got = 0;
    while (*got < want) {
        capacity = capacity ? capacity : start_bytes / 2;
        capacity = capacity < want / 2 ? capacity * 2 : want;
        uint8_t *grown = realloc(idx->data, capacity);
        if (!grown)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu bytes of %s",
                s->path, capacity, items));
        idx->data = grown;
        size_t more;
        CAPS_TRY(source_read(s, idx->data + *got, capacity - *got, &more, err));
        *got += more;
        if (*got < capacity)
            break;
    }
done:
    return status;
}

caps_status caps_idx_load(
    caps_idx *idx, const char *path, int ndim, const char *items, size_t limit, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t item_bytes = 0, need_bytes = 0, got = 0, more;
    uint8_t *rest = NULL;
    memset(idx, 0, sizeof *idx);
    idx->ndim = ndim;
    source *s = calloc(1, sizeof *s);
    if (!s)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);

    CAPS_TRY(source_open(s, path, err));
    CAPS_TRY(read_header(s, idx, items, &item_bytes, &need_bytes, err));
    size_t head_bytes = 4 + 4 * (size_t)ndim;
    size_t stored = limit && limit < idx->dims[0] ? limit : idx->dims[0];
    CAPS_TRY(read_items(s, idx, stored * item_bytes, items, &got, err));
    got += head_bytes;

    /* What is not stored is read all the same, and then one byte past the end, which also makes
     * inflate compare the checksum. */
    rest = malloc(CHUNK_BYTES);
    if (!rest)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    do {
        size_t left = need_bytes - got;
        CAPS_TRY(source_read(s, rest,
            left && left < CHUNK_BYTES ? left
            : left                     ? CHUNK_BYTES
                                       : 1,
            &more, err));
        got += more;
    } while (more && got <= need_bytes);
    if (got != need_bytes) {
        char text[120];
        describe(text, sizeof text, idx, items);
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: %s%zu bytes%s, need %zu for %s", path,
            got > need_bytes ? "more than " : "", got > need_bytes ? need_bytes : got,
            s->gz ? " uncompressed" : "", need_bytes, text));
    }
    idx->stored = stored;
done:
    free(rest);
    source_close(s);
    free(s);
    if (status != CAPS_OK)
        caps_idx_release(idx);
    return status;
}

void caps_idx_release(caps_idx *idx)
{
    free(idx->data);
    memset(idx, 0, sizeof *idx);
}
