/* predict_report.h: what predict says of images. */
#ifndef CAPS_CLI_PREDICT_REPORT_H
#define CAPS_CLI_PREDICT_REPORT_H

#include <capscl/inspect.h>

#include "cli.h"

/* The images, and what the network makes of them. */
typedef struct caps_predicted {
    const caps_model_info *info;
    const caps_model_spec *spec;
    size_t n;
    char **sources;       /* [n] */
    int32_t *true_labels; /* [n, L], -1: not known */
    float *inputs;        /* [n, C*H*W] */
    caps_predictions made;
} caps_predicted;

typedef enum caps_predict_form {
    CAPS_PREDICT_TEXT,
    CAPS_PREDICT_JSON, /* an array of all images */
    CAPS_PREDICT_CSV,
} caps_predict_form;

/* Rows on stdout, batch by batch. Begins zeroed, but for what the caller sets. */
typedef struct caps_predict_printer {
    caps_predict_form form;
    bool capsules; /* the class capsules' values too, and in JSON the reconstructions */
    int width;     /* of the longest source that is known so far */
    size_t rows;   /* that are printed */
} caps_predict_printer;

/* Makes room for this source in front of the lines of text. */
void caps_predict_printer_fit(caps_predict_printer *p, const char *source);
/* CAPS_ERR_MEMORY. */
caps_status caps_predict_print(caps_predict_printer *p, const caps_predicted *b, caps_error *err);
/* Ends what was begun. */
void caps_predict_print_end(const caps_predict_printer *p);

#endif
