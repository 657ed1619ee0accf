/* gallery.h: a checkpoint with images that it was shown, and the figures that can be drawn of it;
 * for `show`, which draws one, and `report`, which draws all. Nothing is printed: how far it is
 * goes to a callback. */
#ifndef CAPS_GALLERY_H
#define CAPS_GALLERY_H

#include "pictures.h"
#include "subset.h"

/* What takes time. */
typedef enum caps_gallery_phase {
    CAPS_GALLERY_READING, /* pictures of the data set */
    CAPS_GALLERY_CLASSIFYING,
    CAPS_GALLERY_DECODING,
} caps_gallery_phase;

/* Called now and then, READING from any thread. NULL: not. */
typedef void caps_gallery_progress(void *user, caps_gallery_phase phase, size_t done, size_t total);

typedef struct caps_gallery {
    caps_model *model;
    const caps_model_spec *spec;
    const caps_model_info *info;
    const char *model_name; /* for headings */
    const char *data_name, *subset_name;
    caps_dataset data;     /* n = 0: none */
    double scale;          /* pixels a unit of the figures */
    const uint64_t *index; /* [index_count]: the images to show; 0: chosen by what is drawn */
    size_t index_count;
    caps_gallery_progress *progress;
    void *user;
    void (*note)(void *user, const char *text); /* NULL, or as caps_dataset_options.note */
    caps_subset_pictures pictures;              /* how files of pictures are read */

    bool evaluated;
    caps_evaluation evaluation;
    caps_image_results results; /* of every image of the data */

    char (*name_texts)[CAPS_CLASS_NAME]; /* [J] */
    const char **names;                  /* [J]: of the classes */
} caps_gallery;

/* The checkpoint `path`; see caps_model_open. Begin with a struct that is zeroed but for what the
 * caller sets: scale, index, progress, note, pictures. */
caps_status caps_gallery_open_model(caps_gallery *g, caps_runtime *rt, const char *path,
    const caps_model_options *options, const caps_open_options *how, caps_error *err);
/* Images for it, the first `limit` of them (0: all). */
caps_status caps_gallery_open_data(
    caps_gallery *g, const char *data, caps_subset subset, size_t limit, caps_error *err);
/* Classifies all images. */
caps_status caps_gallery_evaluate(caps_gallery *g, caps_error *err);
void caps_gallery_release(caps_gallery *g); /* a zeroed one is allowed; the runtime stays */

/* ---- figures -------------------------------------------------------------------------------- */

/* What a figure has to have. */
enum {
    CAPS_NEEDS_DATA = 1,       /* images */
    CAPS_NEEDS_EVALUATION = 2, /* all of them classified; not where `index` chooses images */
    CAPS_NEEDS_CAPSULES = 4,   /* a network with class capsules */
    CAPS_NEEDS_DECODER = 8,
    CAPS_NEEDS_SINGLES = 16,  /* images with one label each */
    CAPS_NEEDS_PAIRS = 32,    /* images with two */
    CAPS_NEEDS_ROUTING = 64,  /* class capsules with couplings of iterations */
    CAPS_TAKES_INDEX = 128,   /* may be of images that `index` chooses */
    CAPS_NEEDS_VECTORS = 256, /* class capsules that are vectors, */
    CAPS_NEEDS_MATRIX = 512,  /* or matrices */
};

typedef struct caps_gallery_figure {
    const char *name;    /* "reconstruct" */
    const char *summary; /* for the report: one line */
    unsigned needs;
    caps_status (*draw)(caps_gallery *g, caps_drawing *d, caps_error *err);
} caps_gallery_figure;

/* The i-th figure, NULL past the last; by name, NULL where there is none. */
const caps_gallery_figure *caps_gallery_figure_at(size_t i);
const caps_gallery_figure *caps_gallery_figure_find(const char *name);
/* Can this figure be drawn of this network? CAPS_ERR_MISMATCH. */
caps_status caps_gallery_check(
    const caps_gallery *g, const caps_gallery_figure *figure, caps_error *err);

/* ---- for the figures ------------------------------------------------------------------------ */

enum { CAPS_HEADING_BYTES = 1024 };

/* Heading and sizes of a sheet; text of CAPS_HEADING_BYTES, which must outlive it. With an
 * evaluation its error is the result line. */
caps_picture_context caps_gallery_context(const caps_gallery *g, char *text);

/* Some images of the data, and what the network makes of them. */
typedef struct caps_sample {
    size_t n;
    size_t *index;        /* [n] within the data */
    char (*sources)[48];  /* [n] "#12", of a file "#12 3.png" */
    float *inputs;        /* [n, C*H*W], 0..1, once predictions are there */
    int32_t *true_labels; /* [n, L] */
    caps_predictions predictions;
} caps_sample;

/* Of these images, [n], or of those that g->index chooses where it does. what: CAPS_PREDICT_*. */
caps_status caps_sample_take(
    caps_sample *s, caps_gallery *g, const size_t *index, size_t n, unsigned what, caps_error *err);
void caps_sample_release(caps_sample *s); /* a zeroed one is allowed */

/* caps_decode with the gallery's progress. */
caps_status caps_gallery_decode(
    caps_gallery *g, const float *capsules, size_t n, float *images, caps_error *err);
/* Row `to` [J, D] gets the capsule of class j of a sample's image, and 0 elsewhere. */
void caps_sample_mask(const caps_sample *s, size_t image, size_t j, float *to);

caps_status caps_gallery_reconstruct(caps_gallery *g, caps_drawing *d, caps_error *err);
caps_status caps_gallery_perturb(caps_gallery *g, caps_drawing *d, caps_error *err);
caps_status caps_gallery_couplings(caps_gallery *g, caps_drawing *d, caps_error *err);
caps_status caps_gallery_overlap(caps_gallery *g, caps_drawing *d, caps_error *err);

#endif
