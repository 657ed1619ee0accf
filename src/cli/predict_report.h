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

/* On stdout; with the class capsules' values, and in JSON the reconstructions, where wanted. */
caps_status caps_predicted_print_json(const caps_predicted *b, bool capsules, caps_error *err);
void caps_predicted_print_text(const caps_predicted *b, bool capsules);

#endif
