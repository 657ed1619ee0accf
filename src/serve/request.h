/* request.h: what a client asks for, read from JSON and checked. */
#ifndef CAPS_REQUEST_H
#define CAPS_REQUEST_H

#include "explorer.h"

/* What is computed on the device. */
typedef enum caps_task {
    CAPS_TASK_PREDICT,
    CAPS_TASK_DECODE,
    CAPS_TASK_ATTACK,
    CAPS_TASK_SWEEP, /* from here on in batches: predictions go between them */
    CAPS_TASK_TRANSFORM,
    CAPS_TASK_RANGES,
} caps_task;

typedef enum caps_change {
    CAPS_CHANGE_ROTATE,
    CAPS_CHANGE_SHIFT_X,
    CAPS_CHANGE_SHIFT_Y,
    CAPS_CHANGE_SCALE,
    CAPS_CHANGE_COUNT,
} caps_change;

extern const char *const caps_change_names[CAPS_CHANGE_COUNT];

enum { CAPS_REQUEST_VALUES = 64, CAPS_REQUEST_STREAM = 64 };

/* Begins zeroed. */
struct caps_request {
    caps_task task;
    size_t model;
    float *image;    /* [C*H*W] */
    float *capsules; /* [J, D] */
    double values[CAPS_REQUEST_VALUES];
    size_t count; /* of values */
    bool routing;
    int32_t class; /* -1: none was named */
    size_t dimension;
    caps_change change;
    int32_t labels[CAPS_MAX_LABELS];
    double epsilon;
    char stream[CAPS_REQUEST_STREAM + 1]; /* "": none */
    int64_t sequence;                     /* -1: none */
};

/* Bytes that a body needs at most. */
size_t caps_request_limit(const caps_explorer *e);
/* The body of a request for r->task. CAPS_ERR_ARGUMENT: what is wrong in it; CAPS_ERR_NOT_FOUND:
 * the model has nothing of the kind; CAPS_ERR_MEMORY. */
caps_status caps_request_read(
    caps_request *r, const caps_explorer *e, const char *body, size_t n, caps_error *err);
void caps_request_release(caps_request *r); /* a zeroed one is allowed */

/* A whole number of a query, less than `end`; text NULL: `otherwise`. CAPS_ERR_ARGUMENT. */
caps_status caps_query_number(
    size_t *out, const char *name, const char *text, size_t otherwise, size_t end, caps_error *err);

#endif
