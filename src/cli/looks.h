/* looks.h: --crops and --shifts: lengths that are means over several looks at an image. */
#ifndef CAPS_CLI_LOOKS_H
#define CAPS_CLI_LOOKS_H

#include <capscl/inspect.h>

#include "cli.h"

typedef struct caps_looks {
    int crops, shifts;
    caps_offset offsets[CAPS_SHIFTS_MOST];
    size_t count; /* 0: none of the flags is given */
} caps_looks;

extern const char *const caps_looks_crops[], *const caps_looks_shifts[];

#define CAPS_ROWS_LOOKS(type)                                                                      \
    CAPS_ROW_CHOICE("--crops", type, looks.crops, caps_looks_crops, "N",                           \
        "mean of the lengths over N parts of each image, of images that are larger\n"              \
        "than the network's input: 1 (the centre), 5, 9 or 13"),                                   \
        CAPS_ROW_CHOICE("--shifts", type, looks.shifts, caps_looks_shifts, "N",                    \
            "mean of the lengths over the image and copies of it that are shifted by\n"            \
            "whole pixels: 1, 5, 9 (3x3), 13 or 25 (5x5)")

/* The one of the two flags that is given, NULL: none. Both: wrong usage. */
caps_status caps_looks_given(
    const char **flag, const caps_args *args, const char *command, caps_error *err);

/* What the flag requests, of images of this set (NULL: of files, which cannot be cut); a line of
 * the log says it. */
caps_status caps_looks_take(
    caps_looks *looks, const caps_args *args, const caps_dataset *ds, caps_error *err);

/* An image [C, H, W] moved so, black where nothing was. */
void caps_looks_move(float *to, const float *from, const size_t chw[3], const caps_offset *by);

/* Writes all images [n, C*H*W] as they are seen from there. */
typedef void caps_looks_draw(void *user, const caps_offset *from, float *inputs);

/* caps_predict_by of labels and lengths: the means over all looks, and the labels that follow. */
caps_status caps_looks_predict(const caps_looks *looks, caps_model *const *models, size_t count,
    size_t n, caps_looks_draw *draw, void *user, const caps_inspect_progress *progress,
    caps_predictions *out, caps_error *err);

#endif
