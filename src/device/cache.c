/* cache.c: whether what lies in the cache on disk may be given to the driver.
 *
 * A program's binary is machine code that the driver runs in this process: whoever can write one
 * can do what the user can. The CRC of a file tells damage, not who wrote it; and a stronger hash
 * would not either, since it stands in the same file. So it is the owner that counts: a file is
 * taken only where it belongs to this user (or to root, who may do everything anyway) and nobody
 * else can write to it; this is asked of the open file, which cannot be exchanged afterwards. Files
 * are written with mode 0600, whatever the umask.
 *
 * The directory is looked at once, so that a place that cannot work is told and not tried: one of
 * another user, or one in which everybody may rename files (a sticky one, as /tmp, is not). */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "file.h"
#include "runtime_state.h"

static bool is_ours(const struct stat *st)
{
    return st->st_uid == geteuid() || st->st_uid == 0;
}

const char *caps_cache_refuse(const char *directory)
{
    struct stat st;
    if (stat(directory, &st) != 0)
        return NULL; /* it will be made */
    if (!S_ISDIR(st.st_mode))
        return NULL; /* said where something is written there */
    if (!is_ours(&st))
        return "it belongs to another user";
    if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
        return "everybody may write to it (chmod o-w)";
    return NULL;
}

/* As many bytes as there are, up to n. */
static size_t read_all(int fd, unsigned char *data, size_t n)
{
    size_t used = 0;
    while (used < n) {
        const ssize_t got = read(fd, data + used, n - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    return used;
}

unsigned char *caps_cache_read(size_t *n, const char *path, size_t limit)
{
    struct stat st;
    unsigned char *data = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_ours(&st) &&
        !(st.st_mode & (S_IWGRP | S_IWOTH)) && (uintmax_t)st.st_size <= limit) {
        *n = (size_t)st.st_size;
        data = malloc(*n + 1); /* a zero behind it: text */
        if (data && read_all(fd, data, *n) == *n) {
            data[*n] = 0;
        } else {
            free(data);
            data = NULL;
        }
    }
    close(fd);
    return data;
}

caps_status caps_cache_write(
    const char *directory, const char *path, const void *data, size_t n, caps_error *err)
{
    caps_atomic_file f = {0};
    caps_status status;
    const bool made = !caps_path_exists(directory);
    CAPS_TRY(caps_directory_make(directory, err));
    if (made)
        (void)chmod(directory, 0700); /* the files are checked one by one */
    CAPS_TRY(caps_atomic_init_own(&f, path, err));
    if (fchmod(f.fd, 0600) != 0)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot make it private", path));
    CAPS_TRY(caps_atomic_write(&f, data, n, err));
    CAPS_TRY(caps_atomic_commit(&f, err));
done:
    caps_atomic_abort(&f);
    return status;
}
