/* show.h: a checkpoint with images that it has seen, and the pictures that can be drawn of it; for
 * `show`, which draws one, and `report`, which draws all. */
#ifndef CAPS_SHOW_H
#define CAPS_SHOW_H

#include "cli.h"
#include "pictures.h"

/* What a kind of picture has to have. */
enum {
    CAPS_SHOW_DATA = 1,       /* images */
    CAPS_SHOW_EVALUATION = 2, /* all of them classified; not where --index chooses images */
    CAPS_SHOW_CAPSULES = 4,   /* a network with class capsules */
    CAPS_SHOW_DECODER = 8,
    CAPS_SHOW_INDEX = 16, /* may be of images that --index chooses */
    CAPS_SHOW_ONE = 32,   /* images with one label each */
    CAPS_SHOW_PAIRS = 64, /* images with two */
};

typedef struct caps_show caps_show;

typedef struct caps_show_kind {
    const char *name;    /* "reconstruct" */
    const char *summary; /* for help and for the report: one line */
    unsigned needs;
    caps_status (*draw)(caps_show *s, caps_drawing *d, caps_error *err);
} caps_show_kind;

/* The i-th kind, NULL past the last; by name, NULL where there is none. */
const caps_show_kind *caps_show_kind_at(size_t i);
const caps_show_kind *caps_show_kind_find(const char *name);
/* The kind's name, for caps_nearest. */
const char *caps_show_kind_name(size_t i, const void *context);

struct caps_show {
    caps_runtime *rt;
    caps_model *model;
    const caps_model_spec *spec;
    const caps_model_sizes *sizes;
    size_t batch;           /* images at once */
    const char *model_name; /* for headings */
    const char *data_name, *split_name;
    caps_dataset data; /* n = 0: none */
    double scale;
    const uint64_t *index; /* [index_count]: the images to show; 0: chosen by what is drawn */
    size_t index_count;

    bool evaluated;
    caps_evaluation evaluation;
    int *labels;      /* [data.n, L]: predicted, L = spec->labels */
    int *true_labels; /* [data.n, L] */
    float *lengths;   /* [data.n, J] */

    char (*label_text)[CAPS_CLASS_NAME]; /* [J] */
    const char **names;                  /* [J] */
};

/* The checkpoint `path` on a device that is open; *batch as in caps_cli_model_load. Begin with a
 * zeroed struct. */
caps_status caps_show_open_model(caps_show *s, caps_runtime *rt, const char *path, bool reconstruct,
    const char *conv, size_t batch, bool smaller_batch, caps_error *err);
/* Images for it. */
caps_status caps_show_open_data(
    caps_show *s, const char *data, int split, size_t limit, caps_error *err);
/* Classifies all images, with progress. */
caps_status caps_show_evaluate(caps_show *s, caps_error *err);
/* Can this kind be drawn of this network? CAPS_ERR_MISMATCH. */
caps_status caps_show_check(const caps_show *s, const caps_show_kind *kind, caps_error *err);
void caps_show_release(caps_show *s); /* a zeroed one is allowed; the runtime stays */

/* ---- for the kinds -------------------------------------------------------------------------- */

/* Heading and sizes of a sheet; text of at least 1024 bytes, which must outlive it. With an
 * evaluation its error is the result line. */
caps_picture_of caps_show_of(const caps_show *s, char *text);

/* Some images, and what the network makes of them. */
typedef struct caps_seen_set {
    size_t n;
    size_t *index;        /* [n] within the data */
    char (*sources)[48];  /* [n] "#12" */
    float *inputs;        /* [n, C*H*W] */
    int32_t *labels;      /* [n, L] predicted */
    int32_t *true_labels; /* [n, L] */
    float *lengths;       /* [n, J] */
    float *capsules;      /* [n, J, D] */
} caps_seen_set;

/* What else can be asked of them; the caller's arrays. */
typedef struct caps_inside {
    float *couplings; /* [n, r, I, J] */
    float *primary;   /* [n, I]: lengths of the primary capsules */
} caps_inside;

/* Room for n images whose index the caller sets; then caps_seen_compute. */
caps_status caps_seen_init(caps_seen_set *set, const caps_show *s, size_t n, caps_error *err);
/* inside: NULL where it is not asked for. */
caps_status caps_seen_compute(
    caps_seen_set *set, caps_show *s, const caps_inside *inside, caps_error *err);
void caps_seen_release(caps_seen_set *set);

/* How bad the mistake in image i of the data is: the length of a class that was predicted wrongly
 * minus that of a true one that was missed, the most of all such; 0 where nothing is wrong. */
float caps_show_mistake(const caps_show *s, size_t i);
/* Are all labels of image i found? */
bool caps_show_is_right(const caps_show *s, size_t i);
/* The worst mistakes, at most `most`, the worst first; returns how many there are. */
size_t caps_show_worst(const caps_show *s, size_t *index, size_t most);
/* The right image of class j with the longest capsule; false: there is none. */
bool caps_show_best(const caps_show *s, size_t j, size_t *index);

/* The decoder on n rows [J*D]: images [n, C*H*W]. */
caps_status caps_show_decode(
    caps_show *s, const float *capsules, size_t n, float *images, caps_error *err);

caps_status caps_show_reconstruct(caps_show *s, caps_drawing *d, caps_error *err);
caps_status caps_show_perturb(caps_show *s, caps_drawing *d, caps_error *err);
caps_status caps_show_couplings(caps_show *s, caps_drawing *d, caps_error *err);
caps_status caps_show_overlap(caps_show *s, caps_drawing *d, caps_error *err);

#endif
