/* explorer.h: models and data, and what is computed with them. It knows no HTTP. */
#ifndef CAPS_EXPLORER_H
#define CAPS_EXPLORER_H

#include "serve.h"
#include "textbuf.h"

/* A model. */
typedef struct caps_explored {
    const char *file;
    const caps_model_spec *spec;
    const caps_model_info *info;
    caps_model *one;    /* for one image: its buffers and kernels are those of a batch of one */
    caps_model *many;   /* for several: the caller's */
    caps_model *attack; /* for gradients; NULL: it could not be made, */
    caps_error attack_error; /* and why */
    char **ranges;           /* [J]: answers that are known, or NULL */
} caps_explored;

typedef struct caps_explorer {
    const caps_serve_options *options;
    caps_explored *models; /* [options->count] */
    char *about;           /* the answer of /api/model */
} caps_explorer;

/* Also runs everything once. Errors: see caps_server_create. After a failure, too, it is released
 * by the caller. */
caps_status caps_explorer_init(
    caps_explorer *e, const caps_serve_options *options, caps_error *err);
void caps_explorer_release(caps_explorer *e); /* a zeroed one is allowed */

/* about.c: the answer of /api/model, freed with free(); NULL: out of memory. */
char *caps_explorer_describe(const caps_explorer *e);

/* The answer of /api/image: image `index` of a split. CAPS_ERR_NOT_FOUND (no such data),
 * CAPS_ERR_ARGUMENT. Any thread may ask. */
caps_status caps_explorer_image(const caps_explorer *e, caps_textbuf *out, const char *split,
    const char *index, caps_error *err);

/* The answer to a request that was read. between: called between batches, NULL: never; where it
 * says so the work stops: CAPS_ERR_INTERRUPTED. One thread at a time, but for calls from `between`,
 * which are for tasks that are not done in batches. */
typedef struct caps_request caps_request;
caps_status caps_explorer_answer(caps_explorer *e, caps_textbuf *out, const caps_request *request,
    const caps_inspect_progress *between, caps_error *err);

/* ranges.c */
caps_status caps_explorer_ranges(caps_explorer *e, caps_textbuf *out, size_t model, size_t class,
    const caps_inspect_progress *between, caps_error *err);

/* numbers.c: JSON. A number has enough digits to give the same float32 again; what is not finite is
 * null. */
void caps_put_number(caps_textbuf *t, float x);
/* [..], [[..], ..] and [[[..], ..], ..] */
void caps_put_numbers(caps_textbuf *t, const float *x, size_t n);
void caps_put_rows(caps_textbuf *t, const float *x, size_t rows, size_t n);
void caps_put_blocks(caps_textbuf *t, const float *x, size_t blocks, size_t rows, size_t n);
void caps_put_labels(caps_textbuf *t, const int32_t *labels, size_t n);
/* A literal piece. */
void caps_put(caps_textbuf *t, const char *text);

#endif
