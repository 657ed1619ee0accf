/* file.h: files and paths; a write that is whole or not there at all. */
#ifndef CAPS_FILE_H
#define CAPS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

/* Opens a regular file for reading: *fd, -1 on failure. CAPS_ERR_NOT_FOUND where it does not exist
 * or cannot be opened; CAPS_ERR_FORMAT for a directory, a pipe or a device, at once. */
caps_status caps_file_open(int *fd, const char *path, caps_error *err);

/* Reads a whole file, a zero byte appended (not counted in *n). Freed with free(). A file larger
 * than `limit` bytes is CAPS_ERR_FORMAT. A pipe is read to its end; one that has no writer is
 * CAPS_ERR_FORMAT, at once. Other errors are those of caps_file_open. */
caps_status caps_file_read(
    unsigned char **data, size_t *n, const char *path, size_t limit, caps_error *err);

/* Reads exactly n bytes on from where fd stands. CAPS_ERR_FORMAT where the file ends before;
 * CAPS_ERR_NOT_FOUND where it cannot be read. */
caps_status caps_file_take(int fd, void *data, size_t n, const char *path, caps_error *err);

/* A file that appears at `path` only when it is whole: written to a temporary file in the same
 * directory, synced, renamed over `path`, and the directory synced. Until commit, or after abort,
 * the old file is untouched. init/commit/abort; abort of a committed or zeroed one does nothing. */
typedef struct caps_atomic_file {
    char *path, *temporary;
    int fd;
} caps_atomic_file;

caps_status caps_atomic_init(caps_atomic_file *f, const char *path, caps_error *err);
caps_status caps_atomic_write(caps_atomic_file *f, const void *data, size_t n, caps_error *err);
caps_status caps_atomic_commit(caps_atomic_file *f, caps_error *err);
void caps_atomic_abort(caps_atomic_file *f);

/* All three in one. */
caps_status caps_file_write(const char *path, const void *data, size_t n, caps_error *err);

/* A file of a directory that is the program's own (a run, the cache), where others may have put
 * something in its place. A link is replaced by the file, and what it points to stays as it is: a
 * path that the user names is followed, this one is not. CAPS_ERR_IO for a directory, a pipe or a
 * device there. */
caps_status caps_atomic_init_own(caps_atomic_file *f, const char *path, caps_error *err);
caps_status caps_file_write_own(const char *path, const void *data, size_t n, caps_error *err);
/* Before such a file is written, or read by what would wait for a pipe: is there a regular file, a
 * link to one, or nothing at all? If not, `failure`. */
caps_status caps_file_check_own(const char *path, caps_status failure, caps_error *err);

/* As caps_file_read, but never a pipe. */
caps_status caps_file_read_own(
    unsigned char **data, size_t *n, const char *path, size_t limit, caps_error *err);

/* Can `path` be written (a file may be made beside it, and it is no directory)? Checked before
 * long work whose result goes there. CAPS_ERR_IO. */
caps_status caps_file_check_output(const char *path, caps_error *err);
caps_status caps_file_check_own_output(const char *path, caps_error *err);

/* mkdir -p. CAPS_ERR_IO (also where `path` is a file: the message says so). */
caps_status caps_directory_make(const char *path, caps_error *err);

/* What lies at a path, links followed. A path that the system cannot look at is none of these: no
 * permission, a faulty disk, too many links, a part of it that is no directory. */
typedef enum caps_path_kind {
    CAPS_PATH_NOTHING, /* the system says so: ENOENT */
    CAPS_PATH_DIRECTORY,
    CAPS_PATH_FILE, /* also a pipe or a device */
} caps_path_kind;

/* Errors: `unreadable` (CAPS_ERR_NOT_FOUND for what is read, CAPS_ERR_IO for what is written)
 * where the system cannot look there; CAPS_ERR_MEMORY. */
caps_status caps_path_look(
    caps_path_kind *kind, const char *path, caps_status unreadable, caps_error *err);
/* The same as yes or no, which is no also where the system cannot look: only where a wrong no costs
 * nothing. What is read, written or left out must not depend on it. */
bool caps_path_exists(const char *path);
bool caps_path_is_directory(const char *path);
/* Would writing to the one change the other? The same file, or the same name in the same directory
 * where there is none yet. False where there is nothing to write to, and for devices. */
bool caps_path_is_same(const char *a, const char *b);
/* "a/b", freed with free(); NULL: out of memory. */
char *caps_path_join(const char *a, const char *b);

/* printf into a new string, freed with free(); NULL: out of memory. */
char *caps_format(const char *format, ...) CAPS_PRINTF(1, 2);
/* As one word of a shell command, in quotes where it needs them. Freed with free(); NULL: out of
 * memory. */
char *caps_shell_quoted(const char *text);

/* FNV-1a, 64 bits, going on from `hash`; begin with CAPS_HASH_START. */
#define CAPS_HASH_START 14695981039346656037ull
uint64_t caps_hash(uint64_t hash, const void *data, size_t n);

#endif
