/* link.h: what carries messages between the ranks of a training, as caps_ranks uses it.
 *
 * Its only implementation, src/mpi/, is a module that is loaded under a launcher: the program itself
 * is not linked to MPI and starts as fast without one.
 *
 * All calls come from one thread, that which called begin. Those that begin with `start` only begin:
 * the arrays stay as they are until poll has given `user` back. Messages of one tag between two ranks
 * arrive in the order of their start. A function that fails leaves one line in text(). */
#ifndef CAPS_LINK_H
#define CAPS_LINK_H

#include <stdbool.h>
#include <stddef.h>

/* Changes with what is below: a module of another build is not used. */
#define CAPS_LINK_VERSION 2
#define CAPS_LINK_SYMBOL  "caps_link_mpi"

enum { CAPS_HOST_BYTES = 256, CAPS_LINK_BELL = 64 };

typedef struct caps_place {
    int rank, count;             /* of all */
    int local_rank, local_count; /* of those on the same machine */
    char host[CAPS_HOST_BYTES];  /* the machine */
} caps_place;

typedef struct caps_link {
    int version;         /* CAPS_LINK_VERSION */
    const char *library; /* "Open MPI 4.1.4" */
    bool (*begin)(caps_place *place);
    /* At most INT_MAX bytes; floats of start_sum. */
    bool (*start_send)(const void *data, size_t bytes, int to, int tag, void *user);
    bool (*start_receive)(void *data, size_t bytes, int from, int tag, void *user);
    /* The sum over all ranks, in place; the order of the additions is the library's. All ranks
     * start their sums in the same order. */
    bool (*start_sum)(float *data, size_t count, void *user);
    /* Sends what is on its way; (*users)[n] are those that are done by now, until the next call. */
    bool (*poll)(void ***users, size_t *n);
    /* A whole message of at most `bytes` that is here, from any rank; *from -1: none is. */
    bool (*take)(void *data, size_t bytes, int tag, int *from);
    /* CAPS_LINK_BELL bytes, zero at first, of memory that all ranks of a machine have: those of a
     * rank of this machine, until the end. NULL: of another machine; or none has such memory. */
    void *(*bell)(int rank);
    bool (*end)(void); /* waits for all ranks */
    /* Ends all ranks as far as it can, this one included. */
    void (*stop)(int code);
    const char *(*text)(void);
} caps_link;

#endif
