/* fault_libc.c: stands before the C library; see fault.h. Counted are the calls that the program
 * makes itself, and with FAULT_LIBRARY=libpng also those of the libraries whose names contain that.
 * All that takes memory is one function, "memory". The code 1000 of read and write: half of the
 * bytes. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"

#define SHORT 1000

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

enum {
    MEMORY,
    OPEN,
    READ,
    WRITE,
    CLOSE,
    FSYNC,
    RENAME,
    UNLINK,
    MKDIR,
    STAT,
    LSTAT,
    FSTAT,
    FCHMOD,
    FTRUNCATE,
    FLOCK,
    MMAP,
    OPENDIR,
    READDIR,
    FDOPEN,
    FREAD,
    REALPATH,
    THREAD,
    FORK,
    PLACES
};
static fault_counter counters[PLACES] = {{"memory", 0}, {"open", 0}, {"read", 0}, {"write", 0},
    {"close", 0}, {"fsync", 0}, {"rename", 0}, {"unlink", 0}, {"mkdir", 0}, {"stat", 0},
    {"lstat", 0}, {"fstat", 0}, {"fchmod", 0}, {"ftruncate", 0}, {"flock", 0}, {"mmap", 0},
    {"opendir", 0}, {"readdir", 0}, {"fdopen", 0}, {"fread", 0}, {"realpath", 0}, {"thread", 0},
    {"fork", 0}};

/* ---- whose call it is ----------------------------------------------------------------------- */

enum { MOST_RANGES = 16 };
static struct {
    uintptr_t low, high;
} ranges[MOST_RANGES];
static size_t range_count;
static bool ready;

/* The program is the first object, and has no name. */
static int add_ranges(struct dl_phdr_info *object, size_t size, void *seen)
{
    const char *library = getenv("FAULT_LIBRARY");
    const bool is_program = !*(bool *)seen;
    (void)size;
    *(bool *)seen = true;
    if (!is_program && !(library && strstr(object->dlpi_name, library)))
        return 0;
    for (int i = 0; i < object->dlpi_phnum && range_count < MOST_RANGES; i++) {
        if (object->dlpi_phdr[i].p_type != PT_LOAD)
            continue;
        ranges[range_count].low = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
        ranges[range_count].high = ranges[range_count].low + object->dlpi_phdr[i].p_memsz;
        range_count++;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    bool seen = false;
    dl_iterate_phdr(add_ranges, &seen);
    fault_begin(counters, PLACES, EIO);
    ready = true;
}

static bool hit(size_t i, const void *caller)
{
    if (!ready)
        return false;
    for (size_t k = 0; k < range_count; k++)
        if ((uintptr_t)caller >= ranges[k].low && (uintptr_t)caller < ranges[k].high)
            return fault_hit(i);
    return false;
}

#define HIT(place) hit(place, __builtin_return_address(0))

/* ---- memory --------------------------------------------------------------------------------- */

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t n)
{
    return HIT(MEMORY) ? no_memory() : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return HIT(MEMORY) ? no_memory() : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return HIT(MEMORY) ? no_memory() : __libc_realloc(p, n);
}

char *strndup(const char *text, size_t most)
{
    const size_t n = strnlen(text, most);
    char *copy = HIT(MEMORY) ? no_memory() : __libc_malloc(n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = 0;
    }
    return copy;
}

char *strdup(const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = HIT(MEMORY) ? no_memory() : __libc_malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* ---- files ---------------------------------------------------------------------------------- */

/* FUNCTION(place, type, failure, name, parameters, arguments) */
#define FUNCTION(place, type, failure, name, parameters, arguments)                                \
    type name parameters                                                                           \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        if (!real)                                                                                 \
            fault_find(&real, #name);                                                              \
        if (!HIT(place))                                                                           \
            return real arguments;                                                                 \
        errno = fault_code();                                                                      \
        return failure;                                                                            \
    }

FUNCTION(FSYNC, int, -1, fsync, (int fd), (fd))
FUNCTION(RENAME, int, -1, rename, (const char *from, const char *to), (from, to))
FUNCTION(UNLINK, int, -1, unlink, (const char *path), (path))
FUNCTION(MKDIR, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
FUNCTION(STAT, int, -1, stat, (const char *path, struct stat *st), (path, st))
FUNCTION(LSTAT, int, -1, lstat, (const char *path, struct stat *st), (path, st))
FUNCTION(FSTAT, int, -1, fstat, (int fd, struct stat *st), (fd, st))
FUNCTION(FCHMOD, int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
FUNCTION(FTRUNCATE, int, -1, ftruncate, (int fd, off_t n), (fd, n))
FUNCTION(FLOCK, int, -1, flock, (int fd, int operation), (fd, operation))
FUNCTION(MMAP, void *, MAP_FAILED, mmap,
    (void *at, size_t n, int protection, int flags, int fd, off_t offset),
    (at, n, protection, flags, fd, offset))
FUNCTION(OPENDIR, DIR *, NULL, opendir, (const char *path), (path))
FUNCTION(READDIR, struct dirent *, NULL, readdir, (DIR * directory), (directory))
FUNCTION(FDOPEN, FILE *, NULL, fdopen, (int fd, const char *mode), (fd, mode))
FUNCTION(REALPATH, char *, NULL, realpath, (const char *path, char *to), (path, to))
FUNCTION(FORK, pid_t, -1, fork, (void), ())

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    static int (*real)(const char *, int, ...);
    if (!real)
        fault_find(&real, "open");
    if (!HIT(OPEN))
        return real(path, flags, mode);
    errno = fault_code();
    return -1;
}

/* The descriptor is gone all the same, as it is on Linux. */
int close(int fd)
{
    const bool fails = HIT(CLOSE);
    const long result = syscall(SYS_close, fd);
    if (!fails)
        return (int)result;
    errno = fault_code();
    return -1;
}

ssize_t read(int fd, void *data, size_t n)
{
    if (HIT(READ)) {
        if (fault_code() != SHORT) {
            errno = fault_code();
            return -1;
        }
        n = n > 1 ? n / 2 : n;
    }
    return syscall(SYS_read, fd, data, n);
}

ssize_t write(int fd, const void *data, size_t n)
{
    if (HIT(WRITE)) {
        if (fault_code() != SHORT) {
            errno = fault_code();
            return -1;
        }
        n = n > 1 ? n / 2 : n;
    }
    return syscall(SYS_write, fd, data, n);
}

/* A stream whose descriptor is a directory cannot be read: its error is a true one. */
size_t fread(void *data, size_t size, size_t n, FILE *stream)
{
    static size_t (*real)(void *, size_t, size_t, FILE *);
    if (!real)
        fault_find(&real, "fread");
    if (HIT(FREAD)) {
        const long directory = syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
        syscall(SYS_dup3, directory, fileno(stream), O_CLOEXEC);
        syscall(SYS_close, directory);
    }
    return real(data, size, n, stream);
}

int pthread_create(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real)
        fault_find(&real, "pthread_create");
    return HIT(THREAD) ? EAGAIN : real(thread, attributes, run, argument);
}
