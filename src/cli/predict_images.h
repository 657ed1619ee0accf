/* predict_images.h: the images of predict, some at a time: of a data set, of files that are named on
 * the command line, or of those whose names come on standard input. */
#ifndef CAPS_CLI_PREDICT_IMAGES_H
#define CAPS_CLI_PREDICT_IMAGES_H

#include "looks.h"
#include "names.h"
#include "picture_files.h"
#include "predict_report.h"

/* Where they come from. Begins zeroed, but for what the caller sets. */
typedef struct caps_predict_images {
    const caps_model_info *info;
    const caps_model_spec *spec;
    size_t most;  /* at a time */
    size_t total; /* 0: not known, names come on standard input */
    size_t next;  /* the place of the next */
    bool ended;

    const caps_dataset *ds; /* of a data set, else NULL: */
    const char *data, *split;
    const caps_counts *index; /* these of them, where there are some */

    char *const *paths;         /* [total]: files, else NULL: */
    caps_names *names;          /* from standard input */
    const char *output;         /* what none of them may be; NULL: there is no such file */
    caps_picture_reader reader; /* of both */
} caps_predict_images;

/* Memory for `most` images. b is released by the caller. CAPS_ERR_MEMORY. */
caps_status caps_predict_batch_init(
    caps_predicted *b, const caps_predict_images *from, caps_error *err);
/* The next images into b: b->n of them, which may be none. Once from->ended there are no more. Files
 * that cannot be read have their line on stderr, and are not among them. CAPS_ERR_ARGUMENT: one is
 * from->output. */
caps_status caps_predict_batch_take(caps_predicted *b, caps_predict_images *from, caps_error *err);
void caps_predict_batch_release(caps_predicted *b); /* a zeroed one is allowed */

/* What the models see in them: from all looks, or plainly with `what` (CAPS_PREDICT_*). */
caps_status caps_predict_batch_run(caps_predicted *b, const caps_predict_images *from,
    caps_model *const *models, size_t count, const caps_looks *looks, unsigned what,
    caps_error *err);

#endif
