/* names.c: see names.h. */
#include "names.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

enum { MOMENT_MS = 50 };

/* Reads what there is behind what is there; *came is false where nothing comes in time. */
static caps_status names_fill(caps_names *n, bool wait, bool *came, caps_error *err)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t got;
    *came = false;
    memmove(n->bytes, n->bytes + n->begin, n->end - n->begin);
    n->end -= n->begin;
    n->begin = 0;
    if (n->end == sizeof n->bytes)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "standard input: a name of more than %d bytes, need names of files, %s",
            CAPS_NAME_BYTES, n->zero ? "each ended by a zero byte" : "one a line");
    if (!wait && poll(&input, 1, MOMENT_MS) == 0)
        return CAPS_OK;
    do
        got = read(STDIN_FILENO, n->bytes + n->end, sizeof n->bytes - n->end);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return caps_fail_errno(err, CAPS_ERR_IO, "standard input: cannot read");
    n->ended = got == 0;
    n->end += (size_t)got;
    *came = true;
    return CAPS_OK;
}

/* The n bytes as a string. */
static caps_status names_take(char **name, const char *bytes, size_t n, caps_error *err)
{
    if (memchr(bytes, 0, n))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "standard input: a name has a zero byte in it (--null: names end with one, as find "
            "-print0 writes them)");
    *name = strndup(bytes, n);
    return *name ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "standard input: out of memory");
}

caps_status caps_names_next(caps_names *n, bool wait, char **name, caps_error *err)
{
    caps_status status = CAPS_OK;
    *name = NULL;
    for (;;) {
        const char *first = n->bytes + n->begin;
        const size_t there = n->end - n->begin;
        const char *end = there ? memchr(first, n->zero ? 0 : '\n', there) : NULL;
        const size_t length = end ? (size_t)(end - first) : there;
        if (!end && !n->ended) {
            bool came;
            status = names_fill(n, wait, &came, err);
            if (status != CAPS_OK || !came)
                return status;
            continue;
        }
        n->begin += length + (end != NULL);
        if (length > 0)
            return names_take(name, first, length, err);
        if (!end)
            return CAPS_OK;
    }
}
