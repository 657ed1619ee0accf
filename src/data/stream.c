/* stream.c: see stream.h. */
#include "stream.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "file.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

caps_status caps_stream_open(caps_stream *s, const char *path, caps_error *err)
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

void caps_stream_close(caps_stream *s)
{
    if (s->z_started)
        inflateEnd(&s->z);
    if (s->file)
        fclose(s->file);
}

static caps_status file_read(caps_stream *s, void *data, size_t n, size_t *got, caps_error *err)
{
    *got = fread(data, 1, n, s->file);
    if (*got < n && ferror(s->file))
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", s->path);
    return CAPS_OK;
}

/* One step of decompression into z.next_out; *end is set where nothing follows. */
static caps_status inflate_some(caps_stream *s, bool *end, caps_error *err)
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

caps_status caps_stream_read(caps_stream *s, void *data, size_t n, size_t *got, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (!s->gz)
        return file_read(s, data, n, got, err);
    bool end = false;
    *got = 0;
    while (*got < n && !end) {
        size_t space = n - *got < CAPS_STREAM_CHUNK ? n - *got : CAPS_STREAM_CHUNK;
        s->z.next_out = (unsigned char *)data + *got;
        s->z.avail_out = (uInt)space;
        CAPS_TRY(inflate_some(s, &end, err));
        *got += space - s->z.avail_out;
    }
done:
    return status;
}
