/* train_extras.h: what `train` gives beside the run itself: events for TensorBoard, and a curve at the
 * end. */
#ifndef CAPS_TRAIN_EXTRAS_H
#define CAPS_TRAIN_EXTRAS_H

#include "train_session.h"

/* May a run in its beginning write its events into --tensorboard? seeds: NULL, or those of a
 * repetition. CAPS_ERR_EXISTS (there are some), CAPS_ERR_IO. */
caps_status caps_train_check_events(
    const caps_train_flags *o, const uint64_t *seeds, size_t count, caps_error *err);

/* The events of one run: begun where its files are there, brought up to metrics.jsonl again and
 * again. A failure is kept for the end; one in the beginning ends the run. */
void caps_train_begin_events(caps_train_watch *w);
void caps_train_update_events(caps_train_watch *w);
/* The status of the run and *err, or, where all else went well, what failed. */
caps_status caps_train_end_events(caps_train_watch *w, caps_status status, caps_error *err);

/* On a terminal: the run's errors as a small curve. */
void caps_train_draw_curve(const char *out);

#endif
