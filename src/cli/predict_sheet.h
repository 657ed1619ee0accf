/* predict_sheet.h: the first images of predict, kept for the sheet beside their reconstructions. */
#ifndef CAPS_CLI_PREDICT_SHEET_H
#define CAPS_CLI_PREDICT_SHEET_H

#include "predict_report.h"

/* Keeps what there is room for; kept begins zeroed. CAPS_ERR_MEMORY. */
caps_status caps_predict_sheet_keep(caps_predicted *kept, const caps_predicted *b, caps_error *err);
/* Draws them. data: the set and split, NULL: files. all: how many there were. */
caps_status caps_predict_sheet_write(const caps_predicted *kept, const char *path,
    const char *model, const char *data, size_t all, caps_error *err);

#endif
