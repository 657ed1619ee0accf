/* queue.h: the one thread that computes, and what waits for it.
 *
 * Predictions, decodings and attacks go first, also between the batches of the others. Of the
 * requests of one stream (a client's page), task and model only the newest is computed: an older
 * one that waits, or that is done in batches, is dropped. */
#ifndef CAPS_QUEUE_H
#define CAPS_QUEUE_H

#include <pthread.h>

#include "request.h"

enum { CAPS_QUEUE_MOST = 32 }; /* jobs that wait */

/* A request on its way; the caller's storage until it is done. */
typedef struct caps_job {
    caps_request request;
    void (*hold)(void *user); /* called when it is taken in, before anything else happens to it */
    void (*release)(void *user); /* called once it is done: the queue knows it no more */
    void *user;
    caps_status status; /* once it is done */
    caps_error error;
    caps_textbuf answer;
    bool superseded; /* CAPS_ERR_INTERRUPTED, because a newer one came */
    struct caps_job *next;
} caps_job;

typedef struct caps_queue {
    caps_explorer *explorer;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    caps_job *quick, *slow; /* that wait, the oldest first */
    caps_job *running[2];   /* quick, slow */
    size_t count;
    bool stopped;
    pthread_t thread;
    bool has_lock, has_changed, has_thread;
} caps_queue;

typedef enum caps_queued {
    CAPS_QUEUED,
    CAPS_QUEUE_FULL,
    CAPS_QUEUE_ENDED,
    CAPS_QUEUE_SUPERSEDED, /* a newer one is there already */
} caps_queued;

/* Starts the thread. CAPS_ERR_MEMORY. */
caps_status caps_queue_init(caps_queue *q, caps_explorer *e, caps_error *err);
/* hold and release are called where it is CAPS_QUEUED, and only there. */
caps_queued caps_queue_push(caps_queue *q, caps_job *job);
/* What waits is answered with CAPS_ERR_INTERRUPTED; ends the thread. A zeroed one is allowed. */
void caps_queue_end(caps_queue *q);
void caps_queue_release(caps_queue *q);

void caps_job_release(caps_job *job);

#endif
