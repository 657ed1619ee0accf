/* exchange.h: a model's gradients on their way to the host and back, while the backward pass is
 * still at the layers before.
 *
 * The flat gradient is cut into pieces of CAPS_PIECE elements, the last one first, as the backward
 * pass leaves them; the first layer, the last to be there, has one of its own. Commands go into a
 * queue of their own, which waits for that of the model:
 *
 *     compute     ... layer n     layer n-1     layer n-2     ...        | optimizer
 *     transfers               piece down    piece down   ...     pieces up
 *
 * Where host and device share memory a piece is mapped, else it is copied through pinned memory. */
#ifndef CAPS_EXCHANGE_H
#define CAPS_EXCHANGE_H

#include <capscl/model.h>

#include "pinned.h"

enum { CAPS_PIECE = 1 << 20 };

typedef struct caps_piece {
    size_t first, count; /* of the flat gradient */
    float *host;         /* [count], from `arrived` until it is given back */
    cl_event arrived, given;
    float *values; /* [count]: its parameters, from `shown` until they are hidden */
    cl_event shown, hidden;
} caps_piece;

typedef struct caps_exchange {
    caps_model *model;                 /* borrowed */
    caps_tensor gradients, parameters; /* what is trained of them */
    cl_command_queue transfers;
    bool mapped; /* pieces are mapped, not copied */
    caps_pinned pinned;
    float *copy;         /* [elements]; NULL: pieces are mapped, or the copy is pinned */
    float *host;         /* the copy, wherever it lies */
    size_t count, taken; /* pieces; those that are on their way or here */
    caps_piece *pieces;  /* [count], the last part of the gradient first */
} caps_exchange;

/* The model, made for training, outlives it. piece: elements of one, 0: CAPS_PIECE.
 * CAPS_ERR_MEMORY, CAPS_ERR_OPENCL. */
caps_status caps_exchange_init(caps_exchange *x, caps_model *model, size_t piece, caps_error *err);
/* Waits for what is on its way. A zeroed one is allowed. */
void caps_exchange_release(caps_exchange *x);

/* Elements from `first` on are enqueued: what is whole by that starts its way to the host. */
caps_status caps_exchange_take(caps_exchange *x, size_t first, caps_error *err);
/* Waits until piece i (which was taken) is with the host: its `host` may be read and written. */
caps_status caps_exchange_wait(caps_exchange *x, size_t i, caps_error *err);
/* Sends piece i back as the host left it. */
caps_status caps_exchange_give(caps_exchange *x, size_t i, caps_error *err);
/* The model's queue goes on once all pieces are back. Enqueues only; the next step may begin. */
caps_status caps_exchange_end(caps_exchange *x, caps_error *err);
/* With a sharded optimizer, where pieces are mapped: piece i was given, and what is enqueued from
 * now on waits for it. */
caps_status caps_exchange_join(caps_exchange *x, size_t i, caps_error *err);
/* The parameters of piece i go to the host, as what is enqueued by now leaves them. */
caps_status caps_exchange_show(caps_exchange *x, size_t i, caps_error *err);
/* Waits until they are there: `values` may be read and written. */
caps_status caps_exchange_look(caps_exchange *x, size_t i, caps_error *err);
/* In place of caps_exchange_end: the parameters of all pieces go back, and the model's queue goes
 * on once they are there. Enqueues only. */
caps_status caps_exchange_hide(caps_exchange *x, caps_error *err);
/* A step is not ended: waits for what is on its way, and gives back what is here. */
void caps_exchange_drop(caps_exchange *x);

#endif
