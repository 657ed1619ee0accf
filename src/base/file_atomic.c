/* file_atomic.c: files that are whole or not there.
 *
 * A temporary file is named `.<name>.tmp-<pid>-<n>` and locked (flock) by its writer as long as it
 * is open. One whose process is gone and whose lock is free was left by a crash: the next writer of
 * the same path removes it. The lock also protects the files of processes whose numbers mean
 * nothing here (another container on the same directory), and those of other threads of this
 * process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "file.h"

/* Temporary names stay within NAME_MAX for any name. */
#define NAME_PART 200

/* No thread looks for leftovers between another's creation and locking of its file. */
static pthread_mutex_t temporary_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long temporary_count;

static caps_status atomic_out_of_memory(caps_error *err, const char *path)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
}

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
        CAPS_TRY(atomic_out_of_memory(err, f->path));

    pthread_mutex_lock(&temporary_mutex);
    locked = true;
    remove_stale(directory, prefix);
    do {
        free(f->temporary);
        char *name = caps_format("%s%ld-%lu", prefix, (long)getpid(), temporary_count++);
        f->temporary = name ? caps_path_join(directory, name) : NULL;
        free(name);
        if (!f->temporary)
            CAPS_TRY(atomic_out_of_memory(err, f->path));
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

/* The path of the file that is replaced, in new memory; follow: through links. */
static char *replaced_path(const char *path, bool follow, bool regular)
{
    struct stat own;
    const bool is_link = lstat(path, &own) == 0 && S_ISLNK(own.st_mode);
    return follow && is_link && regular ? realpath(path, NULL) : strdup(path);
}

static caps_status atomic_begin(caps_atomic_file *f, const char *path, bool follow, caps_error *err)
{
    caps_status status = CAPS_OK;
    struct stat st;
    *f = (caps_atomic_file){.fd = -1};
    bool exists = (follow ? stat(path, &st) : lstat(path, &st)) == 0;
    if (exists && S_ISLNK(st.st_mode))
        exists = false; /* replaced as if it were not there */
    if (!*file_name_of(path) || (exists && S_ISDIR(st.st_mode))) {
        errno = *path ? EISDIR : ENOENT;
        return cannot_write(err, path);
    }
    if (!follow && exists)
        CAPS_TRY(caps_file_check_own(path, CAPS_ERR_IO, err));
    f->path = replaced_path(path, follow, exists && S_ISREG(st.st_mode));
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

caps_status caps_atomic_init(caps_atomic_file *f, const char *path, caps_error *err)
{
    return atomic_begin(f, path, true, err);
}

caps_status caps_atomic_init_own(caps_atomic_file *f, const char *path, caps_error *err)
{
    return atomic_begin(f, path, false, err);
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

static caps_status write_file(
    const char *path, bool follow, const void *data, size_t n, caps_error *err)
{
    caps_atomic_file f;
    caps_status status;
    CAPS_TRY(atomic_begin(&f, path, follow, err));
    CAPS_TRY(caps_atomic_write(&f, data, n, err));
    CAPS_TRY(caps_atomic_commit(&f, err));
done:
    caps_atomic_abort(&f);
    return status;
}

caps_status caps_file_write(const char *path, const void *data, size_t n, caps_error *err)
{
    return write_file(path, true, data, n, err);
}

caps_status caps_file_write_own(const char *path, const void *data, size_t n, caps_error *err)
{
    return write_file(path, false, data, n, err);
}

static caps_status check_output(const char *path, bool follow, caps_error *err)
{
    if (caps_path_is_directory(path))
        return caps_fail(err, CAPS_ERR_IO, "%s: is a directory, need the name of a file", path);
    caps_atomic_file file = {0};
    caps_status status = atomic_begin(&file, path, follow, err);
    caps_atomic_abort(&file);
    return status;
}

caps_status caps_file_check_output(const char *path, caps_error *err)
{
    return check_output(path, true, err);
}

caps_status caps_file_check_own_output(const char *path, caps_error *err)
{
    return check_output(path, false, err);
}
