/* schedule.h: learning rate, and where a run stands between its beginning and its end. */
#ifndef CAPS_SCHEDULE_H
#define CAPS_SCHEDULE_H

#include <capscl/train.h>

/* Steps of an epoch over n images: the last batch may be partial. */
uint64_t caps_schedule_steps_per_epoch(size_t n, size_t batch);

/* The step that ends the run: epochs or max_steps, whichever comes first. At least one is not 0. */
uint64_t caps_schedule_last_step(const caps_train_config *config, uint64_t steps_per_epoch);

/* The epoch (from 1) that step `step` (from 1) belongs to; 1 before the first step. */
uint64_t caps_schedule_epoch(uint64_t step, uint64_t steps_per_epoch);

/* CAPS_ERR_ARGUMENT where the run, by its epochs or, without these, by its max_steps, is longer
 * than the straight line of its learning rate and there is no least one: the rest would be for
 * nothing. */
caps_status caps_schedule_check(
    const caps_train_config *config, uint64_t steps_per_epoch, caps_error *err);

#endif
