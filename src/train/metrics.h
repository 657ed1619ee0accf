/* metrics.h: RUN/metrics.jsonl, one JSON object a line.
 *
 * "type" is "step" (every CAPS_METRICS_STEPS steps) or "epoch" (an epoch, or the run, has ended;
 * there "images_done" may be less than "images_total"). Steps never fall from one line to the next.
 */
#ifndef CAPS_METRICS_H
#define CAPS_METRICS_H

#include <sys/types.h>

#include <capscl/train.h>

#define CAPS_METRICS_STEPS 100

typedef struct caps_metrics_log {
    char *path;
    int fd;
    off_t bytes; /* of whole lines */
} caps_metrics_log;

typedef enum caps_metrics_type {
    CAPS_METRICS_STEP,
    CAPS_METRICS_EPOCH,
} caps_metrics_type;

/* Opens it for appending, made where it is not there, after cutting it back: to the lines before
 * the first that is torn or no JSON object, is of a step after `step`, or, unless `ended`, closes
 * an epoch at `step` itself. Locked until it is closed. CAPS_ERR_IO (also: locked by another). */
caps_status caps_metrics_open(
    caps_metrics_log *log, const char *path, uint64_t step, bool ended, caps_error *err);

/* Appends one line, whole or not at all. CAPS_ERR_IO. */
caps_status caps_metrics_append(
    caps_metrics_log *log, caps_metrics_type type, const caps_train_metrics *m, caps_error *err);

/* Makes what was written durable. CAPS_ERR_IO. */
caps_status caps_metrics_sync(caps_metrics_log *log, caps_error *err);

void caps_metrics_close(caps_metrics_log *log); /* a zeroed one is allowed */

#endif
