/* connections.h: the open connections, so that those of slow clients can be ended. The library's
 * own timeout is for silence alone: a client that sends a byte now and then would hold one for
 * ever. */
#ifndef CAPS_CONNECTIONS_H
#define CAPS_CONNECTIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    CAPS_CONNECTIONS_MOST = 64,
    CAPS_SILENCE_SECONDS = 15, /* of a connection */
    CAPS_REQUEST_SECONDS = 30, /* from the end of an answer to the end of the next request */
    CAPS_ANSWER_SECONDS = 60,  /* until an answer is taken */
};

typedef enum caps_phase {
    CAPS_PHASE_RECEIVING,
    CAPS_PHASE_COMPUTING,
    CAPS_PHASE_SENDING,
} caps_phase;

typedef struct caps_connection {
    int fd;
    caps_phase phase;
    double since; /* caps_clock_seconds */
    struct caps_connection *next;
} caps_connection;

typedef struct caps_connections {
    pthread_mutex_t lock;
    caps_connection *first;
} caps_connections;

void caps_connections_init(caps_connections *all);
/* NULL: out of memory. It lives until it is removed. */
caps_connection *caps_connections_add(caps_connections *all, int fd);
void caps_connections_remove(caps_connections *all, caps_connection *c); /* NULL is allowed */
void caps_connections_set(caps_connections *all, caps_connection *c, caps_phase phase);
/* Ends those that are in a phase for too long. */
void caps_connections_tend(caps_connections *all);
/* Are answers on their way? */
bool caps_connections_busy(caps_connections *all);
void caps_connections_release(caps_connections *all);

#endif
