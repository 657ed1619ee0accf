/* run_record.h: a run directory as it was left: settings, log, and how to repeat it. */
#ifndef CAPS_RUN_RECORD_H
#define CAPS_RUN_RECORD_H

#include <jansson.h>

#include <capscl/train.h>

/* A line of metrics.jsonl; NaN: not there. */
typedef struct caps_metric {
    bool epoch; /* an epoch has ended here, or the run; else in its midst */
    double epoch_number, step, images_done, images_total, test_images;
    double loss, class_loss, sse, train_error, test_error, validation_error, lr;
    double validation_images; /* NaN: the run's log is older, and its settings say */
    double test_label_error, validation_label_error; /* of single labels, where there are several */
    double images_per_second, seconds, total_seconds, peak_bytes;
    json_t *devices; /* of an epoch: what each of several devices did, a list of objects; or NULL */
} caps_metric;

typedef struct caps_run_record {
    const char *path;
    json_t *json; /* config.json as it is */
    caps_train_config config;
    caps_metric *rows;
    size_t count;
    double steps_per_epoch, steps, all_steps; /* all_steps NaN: not known */
    double seconds;                           /* of all processes that trained it */
    bool finished;
    char *model; /* the checkpoint: model.safetensors, or state.safetensors */
} caps_run_record;

/* Reads the run in `path`, which must outlive it. CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT. */
caps_status caps_run_record_read(caps_run_record *run, const char *path, caps_error *err);
void caps_run_record_release(caps_run_record *run);
/* The last line of an epoch, NULL: none yet. */
const caps_metric *caps_run_record_last_epoch(const caps_run_record *run);
/* "capscl train ...": what repeats it into RUN-again; shell-quoted. Freed with free(); NULL: out of
 * memory. */
char *caps_repeat_command(const caps_run_record *run);

#endif
