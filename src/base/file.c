/* file.c: files and paths. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

caps_status caps_file_read(
    unsigned char **data, size_t *n, const char *path, size_t limit, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char *buffer = NULL;
    size_t used = 0, capacity;
    struct stat st;
    *data = NULL;
    *n = 0;

    int fd;
    CAPS_TRY(open_file(&fd, &st, path, true, err));
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

/* ---- atomic files ------------------------------------------------------------------------------
 *
 * A temporary file is named `.<name>.tmp-<pid>-<n>` and locked (flock) by its writer as long as it
 * is open. One whose process is gone and whose lock is free was left by a crash: the next writer of
 * the same path removes it. The lock also protects the files of processes whose numbers mean
 * nothing here (another container on the same directory), and those of other threads of this
 * process. */

/* Temporary names stay within NAME_MAX for any name. */
#define NAME_PART 200

/* No thread looks for leftovers between another's creation and locking of its file. */
static pthread_mutex_t temporary_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long temporary_count;

static caps_status cannot_write(caps_error *err, const char *path)
{
    return caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write", path);
}

/* The directory of a path: "a/b" gives "a", "/b" gives "/", "b" gives ".". */
static char *file_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static const char *file_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool same_inode(const char *a, const char *b, bool files)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino &&
           (!files || S_ISREG(x.st_mode));
}

bool caps_path_is_same(const char *a, const char *b)
{
    if (caps_path_exists(a) || caps_path_exists(b))
        return same_inode(a, b, true);
    char *over_a = file_directory_of(a), *over_b = file_directory_of(b);
    const bool same = over_a && over_b && strcmp(file_name_of(a), file_name_of(b)) == 0 &&
                      same_inode(over_a, over_b, false);
    free(over_a);
    free(over_b);
    return same;
}

static void remove_if_stale(const char *path, const char *digits)
{
    char *end;
    errno = 0;
    long pid = strtol(digits, &end, 10);
    if (end == digits || (*end && *end != '-') || errno || pid <= 0 || pid > INT_MAX)
        return;
    /* Our own number is not proof of life: an earlier process may have had it. */
    if (pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        unlink(path);
    close(fd);
}

static void remove_stale(const char *directory, const char *prefix)
{
    DIR *d = opendir(directory);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        char *path = caps_path_join(directory, entry->d_name);
        if (path)
            remove_if_stale(path, entry->d_name + strlen(prefix));
        free(path);
    }
    closedir(d);
}

/* Opens a new, locked temporary file beside f->path. */
static caps_status open_temporary(caps_atomic_file *f, mode_t mode, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *directory = file_directory_of(f->path);
    char *prefix = caps_format(".%.*s.tmp-", NAME_PART, file_name_of(f->path));
    bool locked = false;
    if (!directory || !prefix)
        CAPS_TRY(file_out_of_memory(err, f->path));

    pthread_mutex_lock(&temporary_mutex);
    locked = true;
    remove_stale(directory, prefix);
    do {
        free(f->temporary);
        char *name = caps_format("%s%ld-%lu", prefix, (long)getpid(), temporary_count++);
        f->temporary = name ? caps_path_join(directory, name) : NULL;
        free(name);
        if (!f->temporary)
            CAPS_TRY(file_out_of_memory(err, f->path));
        f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    } while (f->fd < 0 && errno == EEXIST);
    if (f->fd < 0)
        CAPS_TRY(cannot_write(err, f->path));
    flock(f->fd, LOCK_EX | LOCK_NB); /* where locks are not to be had, the number has to do */
done:
    if (locked)
        pthread_mutex_unlock(&temporary_mutex);
    if (status != CAPS_OK && f->fd < 0) {
        free(f->temporary); /* it does not exist: nothing to unlink */
        f->temporary = NULL;
    }
    free(prefix);
    free(directory);
    return status;
}

caps_status caps_atomic_init(caps_atomic_file *f, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    struct stat st, own;
    *f = (caps_atomic_file){.fd = -1};
    bool exists = stat(path, &st) == 0;
    if (!*file_name_of(path) || (exists && S_ISDIR(st.st_mode))) {
        errno = *path ? EISDIR : ENOENT;
        return cannot_write(err, path);
    }
    /* A link stays a link: what it points to is replaced. */
    bool is_link = lstat(path, &own) == 0 && S_ISLNK(own.st_mode);
    f->path = is_link && exists && S_ISREG(st.st_mode) ? realpath(path, NULL) : strdup(path);
    if (!f->path)
        CAPS_TRY(cannot_write(err, path));
    if (exists && !S_ISREG(st.st_mode)) {
        /* A device or a pipe (/dev/stdout, /dev/null) is written to, never replaced. */
        f->fd = open(path, O_WRONLY | O_CLOEXEC);
        if (f->fd < 0)
            CAPS_TRY(cannot_write(err, path));
    } else {
        /* rename() would not mind a file made read-only; its owner would. */
        if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0)
            CAPS_TRY(cannot_write(err, path));
        CAPS_TRY(open_temporary(f, 0666, err));
        if (exists)
            fchmod(f->fd, st.st_mode & 0777); /* where it fails, the umask's mode will do */
    }
done:
    if (status != CAPS_OK)
        caps_atomic_abort(f);
    return status;
}

caps_status caps_atomic_write(caps_atomic_file *f, const void *data, size_t n, caps_error *err)
{
    if (!f->path)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "atomic file: is not open, need init before write");
    const unsigned char *p = data;
    while (n > 0) {
        ssize_t put = write(f->fd, p, n < SSIZE_MAX ? n : SSIZE_MAX);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            if (put == 0)
                errno = EIO;
            caps_status status = cannot_write(err, f->path);
            caps_atomic_abort(f);
            return status;
        }
        p += put;
        n -= (size_t)put;
    }
    return CAPS_OK;
}

static int sync_retrying(int fd)
{
    int result;
    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result;
}

/* Makes the rename durable. A directory that cannot be opened or synced (some network file systems)
 * still holds the new file, whole: only a true input/output error is one. */
static caps_status sync_directory_of(const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *directory = file_directory_of(path);
    int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (sync_retrying(fd) != 0 && errno == EIO)
            status = caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot sync", directory);
        close(fd);
    }
    free(directory);
    return status;
}

caps_status caps_atomic_commit(caps_atomic_file *f, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (!f->path)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "atomic file: is not open, need init before commit");
    if (f->temporary) {
        if (sync_retrying(f->fd) != 0 || rename(f->temporary, f->path) != 0)
            CAPS_TRY(cannot_write(err, f->path));
        free(f->temporary);
        f->temporary = NULL;
        CAPS_TRY(sync_directory_of(f->path, err));
    }
done:
    caps_atomic_abort(f);
    return status;
}

void caps_atomic_abort(caps_atomic_file *f)
{
    if (!f->path)
        return; /* zeroed: fd 0 is not ours */
    if (f->temporary)
        unlink(f->temporary);
    if (f->fd >= 0)
        close(f->fd);
    free(f->temporary);
    free(f->path);
    *f = (caps_atomic_file){.fd = -1};
}

caps_status caps_file_write(const char *path, const void *data, size_t n, caps_error *err)
{
    caps_atomic_file f;
    caps_status status;
    CAPS_TRY(caps_atomic_init(&f, path, err));
    CAPS_TRY(caps_atomic_write(&f, data, n, err));
    CAPS_TRY(caps_atomic_commit(&f, err));
done:
    caps_atomic_abort(&f);
    return status;
}

caps_status caps_file_check_output(const char *path, caps_error *err)
{
    if (caps_path_is_directory(path))
        return caps_fail(err, CAPS_ERR_IO, "%s: is a directory, need the name of a file", path);
    caps_atomic_file file = {0};
    caps_status status = caps_atomic_init(&file, path, err);
    caps_atomic_abort(&file);
    return status;
}
