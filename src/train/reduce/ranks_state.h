/* ranks_state.h: what ranks.c, ranks_messages.c and ranks_sum.c share. */
#ifndef CAPS_RANKS_STATE_H
#define CAPS_RANKS_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "bell.h"
#include "ranks.h"

/* A message, or another task of the courier's. */
typedef enum caps_op_kind {
    CAPS_OP_SEND,
    CAPS_OP_RECEIVE,
    CAPS_OP_SUM,  /* of the link */
    CAPS_OP_CALL, /* of `done`, at once */
} caps_op_kind;

typedef struct caps_op caps_op;
struct caps_op {
    caps_op_kind kind;
    void *data;
    size_t bytes; /* of a sum: floats */
    int peer, tag;
    /* Called by the courier, without the lock, when it is done; frees the op or keeps it. */
    void (*done)(caps_ranks *r, caps_op *op);
    size_t piece;
    size_t *pending; /* is counted down once it is done, under the lock; NULL: nobody waits */
    bool borrowed;   /* its array is not its own: see caps_ranks_is_busy */
    caps_op *next;
};

enum {
    CAPS_TAG_CONTROL = 1,
    CAPS_TAG_BYTES,
    CAPS_TAG_ASIDE,
    CAPS_TAG_GATHER,
    CAPS_TAG_PIECES = 16
};

typedef struct caps_peer {
    char host[CAPS_HOST_BYTES];
    pid_t pid;          /* of a process on this machine that can be seen; else 0 */
    double heard;       /* caps_clock_seconds */
    bool ended;         /* it has said good-bye */
    caps_bell *bell;    /* of a rank on this machine; NULL: it has none */
    bool rings, urgent; /* something is there for it since the last turn; of many bytes */
} caps_peer;

typedef struct caps_sums caps_sums; /* ranks_sum.c */

struct caps_ranks {
    const caps_link *link;
    caps_place place;
    caps_peer *peers; /* [count]; the courier's, but for the hosts */
    pthread_t courier;
    caps_sums *sums;    /* the courier's, but for what its lock guards */
    size_t outstanding; /* the courier's: messages that are on their way */
    size_t borrowed;    /* of these, such with arrays of others; under the lock */
    double progress;    /* when the last one was done */
    caps_bell *bell;    /* the courier's own; NULL: it rests on `work` */
    bool rung;          /* all ranks have bells: nobody need be looked for */
    double next_beat, next_look, next_hearing, last_turn; /* the courier's */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed, work;
    bool has_lock, has_changed, has_work, has_courier;
    bool began, broken;     /* the link works, or does not */
    bool quits, gone;       /* the courier is to end; it has */
    int stops;              /* it ends all processes with this code; -1: not */
    caps_op *first, **last; /* for the courier */
    size_t waiting;         /* threads that wait for it */
    double silence;
    bool requests_stop, sent_request; /* this rank's */
    bool stop_requested;              /* of rank 0 */
    bool leaves;                      /* rank 0 tells all to go */
    bool ending;                      /* in caps_ranks_end */
    bool over;                        /* rank 0 has said how the run ended: `result` */
    caps_status result;
    size_t away; /* of rank 0: ranks that have said good-bye */
    /* The first failure. */
    bool failed, lost; /* lost: the rank does not answer */
    int failed_rank;
    caps_status failed_status;
    char failed_text[CAPS_ERROR_MESSAGE_BYTES];
};

/* A message of a rank about itself. */
typedef enum caps_control_kind {
    CAPS_CONTROL_BEAT,
    CAPS_CONTROL_REQUEST, /* to rank 0: it would like to stop */
    CAPS_CONTROL_BYE,     /* to rank 0: how it has ended */
    CAPS_CONTROL_LEAVE,   /* of rank 0: the run ends */
    CAPS_CONTROL_OVER,    /* of rank 0: how it has ended */
} caps_control_kind;

typedef struct caps_control {
    int32_t kind, status;
    char text[CAPS_ERROR_MESSAGE_BYTES];
} caps_control;

/* With a copy of data, or without (NULL) room for it; both are freed as it is done. NULL: out of
 * memory. */
caps_op *caps_op_make(caps_op_kind kind, const void *data, size_t bytes, int peer, int tag);
void caps_op_free(caps_ranks *r, caps_op *op); /* a `done` of those that have no other */
/* For the courier, from any thread. */
void caps_ranks_submit(caps_ranks *r, caps_op *op);
/* ranks_rest.c: the courier looks what there is; with the lock. By the courier: rests until then,
 * or until it is rung for since `seen`, or it is time to look. */
void caps_ranks_wake(caps_ranks *r);
void caps_ranks_rest(caps_ranks *r, uint32_t seen);
/* By the courier, at once. */
void caps_ranks_start(caps_ranks *r, caps_op *op);
/* Waits until *pending is 0; false: a rank has failed. */
bool caps_ranks_wait(caps_ranks *r, size_t *pending);
/* With the lock: waits for a change until `until` on caps_clock_seconds; false: it is later. */
bool caps_ranks_wait_until(caps_ranks *r, double until);
/* The first failure is kept, the others are not. */
void caps_ranks_fail(caps_ranks *r, int rank, caps_status status, bool lost, const char *format,
    ...) CAPS_PRINTF(5, 6);
/* ranks_control.c: all ranks learn the hosts and processes of all. */
caps_status caps_ranks_meet(caps_ranks *r, caps_error *err);
/* ranks_control.c, for the courier: hears and gives signs of life. */
void caps_ranks_hear(caps_ranks *r, double now);
void caps_ranks_tell(caps_ranks *r, double now);
void caps_ranks_say(
    caps_ranks *r, caps_control_kind kind, int to, caps_status status, const char *text);

#endif
