/* sheet.h: a labelled PNG of inputs beside their reconstructions. */
#ifndef CAPS_SHEET_H
#define CAPS_SHEET_H

#include <stddef.h>

#include <capscl/error.h>

typedef struct caps_sheet_cell {
    const char *source;          /* file, or data set and index; a long one is cut from the left */
    const float *input;          /* [C,H,W], 0..1 */
    const float *reconstruction; /* [C,H,W], 0..1 */
    int label;                   /* predicted class */
    int true_label;              /* -1: not known */
    float length;                /* of the longest capsule */
} caps_sheet_cell;

typedef struct caps_sheet {
    const char *model, *data; /* for the heading */
    const char *const *names; /* of the classes */
    const caps_sheet_cell *cells;
    size_t count; /* 1..CAPS_SHEET_MAX */
    size_t channels, height, width;
} caps_sheet;

#define CAPS_SHEET_MAX 100

/* Atomic. CAPS_ERR_IO, CAPS_ERR_MEMORY. */
caps_status caps_sheet_write(const caps_sheet *sheet, const char *path, caps_error *err);

#endif
