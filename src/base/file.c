/* file.c: files and paths. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

/* ---- strings and paths ---------------------------------------------------------------------- */

char *caps_format(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : malloc((size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

char *caps_shell_quoted(const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=,+@%-";
    if (text[0] && strspn(text, plain) == strlen(text))
        return strdup(text);
    /* A quote closes, is written with a backslash, and opens again: four bytes for one. */
    char *quoted = malloc(4 * strlen(text) + 3), *at = quoted;
    if (!quoted)
        return NULL;
    *at++ = '\'';
    for (; *text; text++) {
        if (*text == '\'')
            at = stpcpy(at, "'\\'");
        *at++ = *text;
    }
    strcpy(at, "'");
    return quoted;
}

char *caps_path_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    return caps_format("%s%s%s", a, n == 0 || a[n - 1] == '/' ? "" : "/", b);
}

caps_status caps_path_look(
    caps_path_kind *kind, const char *path, caps_status unreadable, caps_error *err)
{
    struct stat st;
    *kind = CAPS_PATH_NOTHING;
    if (stat(path, &st) == 0)
        *kind = S_ISDIR(st.st_mode) ? CAPS_PATH_DIRECTORY : CAPS_PATH_FILE;
    else if (errno != ENOENT)
        return caps_fail_errno(
            err, errno == ENOMEM ? CAPS_ERR_MEMORY : unreadable, "%s: cannot look there", path);
    return CAPS_OK;
}

bool caps_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool caps_path_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

uint64_t caps_hash(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 1099511628211ull;
    return hash;
}

static caps_status file_out_of_memory(caps_error *err, const char *path)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
}

/* ---- directories ---------------------------------------------------------------------------- */

static caps_status make_one(const char *path, caps_error *err)
{
    if (mkdir(path, 0777) == 0)
        return CAPS_OK;
    /* Any failure is fine where the directory is there: a read-only file system, or another
     * process that was quicker. */
    int code = errno;
    if (caps_path_is_directory(path))
        return CAPS_OK;
    if (code == EEXIST || code == ENOTDIR)
        return caps_fail(err, CAPS_ERR_IO, "%s: %s, need a directory", path,
            code == EEXIST ? "is a file" : "part of the path is a file");
    errno = code;
    return caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot create the directory", path);
}

caps_status caps_directory_make(const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *prefix = strdup(path);
    if (!prefix)
        return file_out_of_memory(err, path);
    if (!*prefix)
        CAPS_TRY(caps_fail(err, CAPS_ERR_IO, "directory name is empty"));
    for (char *p = prefix + 1; *p; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        CAPS_TRY(make_one(prefix, err));
        *p = '/';
    }
    CAPS_TRY(make_one(prefix, err));
done:
    free(prefix);
    return status;
}

/* ---- reading -------------------------------------------------------------------------------- */

static ssize_t read_some(int fd, void *data, size_t n)
{
    for (;;) {
        const ssize_t got = read(fd, data, n);
        /* A pipe with a writer that has written nothing yet. */
        if (got < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
        else if (got >= 0 || errno != EINTR)
            return got;
    }
}

/* With pipes too, or without; *st says which it is. */
static caps_status open_file(
    int *fd, struct stat *st, const char *path, bool pipes, caps_error *err)
{
    caps_status status = CAPS_OK;
    /* Otherwise the open of a pipe would wait for a writer, for ever where none comes. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot open", path);
    if (fstat(*fd, st) != 0)
        status = caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path);
    else if (S_ISDIR(st->st_mode))
        status = caps_fail(err, CAPS_ERR_FORMAT, "%s: is a directory, need a file", path);
    else if (!S_ISREG(st->st_mode) && !(pipes && S_ISFIFO(st->st_mode)))
        status =
            caps_fail(err, CAPS_ERR_FORMAT, "%s: is a pipe or a device, need a regular file", path);
    if (status != CAPS_OK) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

caps_status caps_file_open(int *fd, const char *path, caps_error *err)
{
    struct stat st;
    return open_file(fd, &st, path, false, err);
}

caps_status caps_file_take(int fd, void *data, size_t n, const char *path, caps_error *err)
{
    for (size_t used = 0; used < n;) {
        /* No system reads more than 2 GiB at once. */
        const size_t most = (size_t)1 << 30, left = n - used;
        const ssize_t got = read_some(fd, (char *)data + used, left < most ? left : most);
        if (got < 0)
            return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path);
        if (got == 0)
            return caps_fail(err, CAPS_ERR_FORMAT, "%s: ends %zu bytes too early", path, n - used);
        used += (size_t)got;
    }
    return CAPS_OK;
}

static caps_status read_file(
    unsigned char **data, size_t *n, const char *path, size_t limit, bool pipes, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char *buffer = NULL;
    size_t used = 0, capacity;
    struct stat st;
    *data = NULL;
    *n = 0;

    int fd;
    CAPS_TRY(open_file(&fd, &st, path, pipes, err));
    if (limit > SIZE_MAX - 2)
        limit = SIZE_MAX - 2;
    if ((uintmax_t)st.st_size > limit)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_FORMAT, "%s: %jd bytes, need <= %zu", path, (intmax_t)st.st_size, limit));

    /* One byte more than expected: the end of the file is then seen without growing. A file's size
     * is no promise: those of /proc have none. */
    capacity = st.st_size > 0 ? (size_t)st.st_size + 2 : 65536;
    for (;;) {
        if (!buffer || used + 1 >= capacity) {
            if (buffer)
                capacity = capacity > (limit + 2) / 2 ? limit + 2 : capacity * 2;
            unsigned char *grown = realloc(buffer, capacity);
            if (!grown)
                CAPS_TRY(file_out_of_memory(err, path));
            buffer = grown;
        }
        ssize_t got = read_some(fd, buffer + used, capacity - 1 - used);
        if (got < 0)
            CAPS_TRY(caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path));
        if (got == 0)
            break;
        used += (size_t)got;
        if (used > limit)
            CAPS_TRY(caps_fail(
                err, CAPS_ERR_FORMAT, "%s: more than %zu bytes, need <= %zu", path, limit, limit));
    }
    if (used == 0 && S_ISFIFO(st.st_mode))
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: is a pipe that nobody writes to", path));
    buffer[used] = '\0';
    *data = buffer;
    *n = used;
    buffer = NULL;
done:
    free(buffer);
    if (fd >= 0)
        close(fd);
    return status;
}

caps_status caps_file_read(
    unsigned char **data, size_t *n, const char *path, size_t limit, caps_error *err)
{
    return read_file(data, n, path, limit, true, err);
}

caps_status caps_file_read_own(
    unsigned char **data, size_t *n, const char *path, size_t limit, caps_error *err)
{
    return read_file(data, n, path, limit, false, err);
}

caps_status caps_file_check_own(const char *path, caps_status failure, caps_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return CAPS_OK; /* whoever opens it gives the reason */
    if (S_ISREG(st.st_mode))
        return CAPS_OK;
    return caps_fail(err, failure, "%s: is a %s, need a regular file", path,
        S_ISDIR(st.st_mode) ? "directory" : "pipe or a device");
}
