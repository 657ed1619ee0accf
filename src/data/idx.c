/* idx.c: IDX files, plain and gzip. */
#include "idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "stream.h"

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
static caps_status read_header(caps_stream *s, caps_idx *idx, const char *items, size_t *item_bytes,
    size_t *need_bytes, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char head[4 + 4 * CAPS_IDX_MAX_DIMS];
    size_t head_bytes = 4 + 4 * (size_t)idx->ndim, got;
    char text[120];

    CAPS_TRY(caps_stream_read(s, head, head_bytes, &got, err));
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
    caps_stream *s, caps_idx *idx, size_t want, const char *items, size_t *got, caps_error *err)
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
        CAPS_TRY(caps_stream_read(s, idx->data + *got, capacity - *got, &more, err));
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
    caps_stream *s = calloc(1, sizeof *s);
    if (!s)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);

    CAPS_TRY(caps_stream_open(s, path, err));
    CAPS_TRY(read_header(s, idx, items, &item_bytes, &need_bytes, err));
    size_t head_bytes = 4 + 4 * (size_t)ndim;
    size_t stored = limit && limit < idx->dims[0] ? limit : idx->dims[0];
    CAPS_TRY(read_items(s, idx, stored * item_bytes, items, &got, err));
    got += head_bytes;

    /* What is not stored is read all the same, and then one byte past the end, which also makes
     * inflate compare the checksum. */
    rest = malloc(CAPS_STREAM_CHUNK);
    if (!rest)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    do {
        size_t left = need_bytes - got;
        CAPS_TRY(caps_stream_read(s, rest,
            left && left < CAPS_STREAM_CHUNK ? left
            : left                           ? CAPS_STREAM_CHUNK
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
    caps_stream_close(s);
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
