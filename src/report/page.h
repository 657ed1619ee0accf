/* report.h: what `report` reads of a run, and the parts of the page. */
#ifndef CAPS_REPORT_H
#define CAPS_REPORT_H

#include <jansson.h>

#include <capscl/train.h>

#include "html.h"

/* A line of metrics.jsonl; NaN: not there. */
typedef struct caps_metric {
    bool epoch; /* an epoch has ended here, or the run; else in its midst */
    double epoch_number, step, images_done, images_total, test_images;
    double loss, margin_loss, sse, train_error, test_error, validation_error, rate;
    double test_label_error, validation_label_error; /* of single labels, where there are several */
    double images_per_second, seconds, total_seconds, peak_bytes;
} caps_metric;

typedef struct caps_run {
    const char *path;
    json_t *json; /* config.json as it is */
    caps_train_config config;
    caps_metric *rows;
    size_t count;
    double steps_per_epoch, steps, all_steps; /* all_steps NaN: not known */
    double seconds;                           /* of all processes that trained it */
    bool finished;
    char *model; /* the checkpoint: model.safetensors, or state.safetensors */
} caps_run;

/* Reads RUN. CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT. */
caps_status caps_run_read(caps_run *run, const char *path, caps_error *err);
void caps_run_release(caps_run *run);
/* The last line of an epoch, NULL: none yet. */
const caps_metric *caps_run_last_epoch(const caps_run *run);
/* "capscl train ...": what repeats it into RUN-again; shell-quoted. Freed with free(); NULL: out of
 * memory. */
char *caps_run_command(const caps_run *run);

/* Figures with inline SVG: loss, error, reconstruction or rate, throughput. */
void caps_report_curves(caps_html *h, const caps_run *run);
/* Tables: settings, device, network. */
void caps_report_settings(caps_html *h, const caps_run *run);

extern const char caps_report_style[];

#endif
