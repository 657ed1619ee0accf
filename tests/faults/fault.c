/* fault.c: see fault.h. It calls the system through syscall(), since open and write may be those
 * that fail. */
#define _GNU_SOURCE
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static fault_counter *all;
static size_t all_count;
static char wanted[64];
static const char *mark, *counts;
static long first = -1;
static bool from_there_on;
static int code;
static pid_t owner;

void fault_begin(fault_counter *counters, size_t count, int default_code)
{
    const char *text = getenv("FAULT"), *program = getenv("FAULT_PROGRAM");
    /* Not in what a driver starts: its linker's death would not be our doing. */
    if (program && strcmp(program, program_invocation_short_name) != 0)
        return;
    all = counters;
    all_count = count;
    code = default_code;
    owner = getpid();
    mark = getenv("FAULT_MARK");
    counts = getenv("FAULT_COUNT");
    const char *colon = text ? strchr(text, ':') : NULL;
    if (!colon || (size_t)(colon - text) >= sizeof wanted)
        return;
    memcpy(wanted, text, (size_t)(colon - text));
    from_there_on = colon[1] == '+';
    char *end;
    first = strtol(colon + 1 + from_there_on, &end, 10);
    if (*end == ':')
        code = (int)strtol(end + 1, NULL, 10);
}

static void put_file(const char *path, const char *text, size_t n)
{
    const int saved = errno;
    const long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd >= 0) {
        (void)!syscall(SYS_write, fd, text, n);
        syscall(SYS_close, fd);
    }
    errno = saved;
}

bool fault_hit(size_t i)
{
    if (!all || getpid() != owner)
        return false;
    const long call = __sync_add_and_fetch(&all[i].calls, 1);
    if (first < 0 || (from_there_on ? call < first : call != first) ||
        strcmp(all[i].name, wanted) != 0)
        return false;
    if (mark)
        put_file(mark, "x", 1);
    return true;
}

int fault_code(void)
{
    return code;
}

void fault_find(void *to, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(to, &found, sizeof found);
}

__attribute__((destructor)) static void fault_end(void)
{
    char line[96];
    if (!counts || getpid() != owner)
        return;
    for (size_t i = 0; i < all_count; i++)
        if (all[i].calls) {
            const int n = snprintf(line, sizeof line, "%s %ld\n", all[i].name, all[i].calls);
            put_file(counts, line, (size_t)n);
        }
}
