/* trainer.h: a run in progress. */
#ifndef CAPS_TRAINER_H
#define CAPS_TRAINER_H

#include <capscl/train.h>

#include "batcher.h"
#include "metrics.h"
#include "state.h"
#include "step.h"

/* A step that the device was given and whose results have not been taken. */
typedef struct caps_flight {
    uint64_t images;
    double rate;
} caps_flight;

typedef struct caps_trainer {
    caps_runtime *rt;
    caps_train_config own;           /* the caller's, with what was chosen */
    const caps_train_config *config; /* own */
    const caps_train_control *control;
    double began;          /* caps_clock_seconds */
    double seconds_before; /* of the processes that were stopped; NaN: not known */

    char *state_path, *config_path, *metrics_path, *model_path, *config_text;
    /* Of the last two one may have no image, not both. */
    caps_dataset train, test, validation;
    uint64_t data_hash; /* of train */
    uint64_t steps_per_epoch, last_step;
    caps_model *model;
    caps_batcher *batcher;
    caps_metrics_log log;
    /* Where the run stands, steps in flight not counted; its values are there while it is saved. */
    caps_state state;
    uint64_t resumed_from_step, saved_step;

    /* Steps that were enqueued and not waited for: state.step + 1 to state.step + in_flight. Step
     * n's (from 1) lie at n modulo CAPS_STEPS_AT_ONCE. */
    caps_flight flights[CAPS_STEPS_AT_ONCE];
    uint64_t in_flight;
    bool ahead; /* the first was given to the device before the run's loop began */

    /* Training steps of this process, their time alone. */
    double lap; /* when the last step came back, or the first after a pause was begun */
    uint64_t steps_here, epoch_images;
    double epoch_seconds;
    uint64_t first_images; /* of the very first step, which also builds kernels */
    double first_seconds;
} caps_trainer;

/* Checks all that can be checked, reads the data, makes the model, and reads the state where the
 * run is resumed. The run directory is only read. */
caps_status caps_trainer_init(caps_trainer *t, caps_runtime *rt, const caps_train_config *config,
    const caps_train_control *control, caps_error *err);
/* Makes or mends the run directory's files, so that the run can be resumed from here on. */
caps_status caps_trainer_open(caps_trainer *t, caps_error *err);
void caps_trainer_release(caps_trainer *t);

/* Nothing is left to do: the end is reached, evaluated and in the log. */
bool caps_trainer_is_finished(const caps_trainer *t);

/* Enqueues one step and, where CAPS_STEPS_AT_ONCE are then in flight, waits for the oldest: the
 * device has always a step to go on with. CAPS_ERR_NOT_FINITE names step and layer. */
caps_status caps_trainer_step(caps_trainer *t, caps_error *err);
/* Waits until no step is in flight. */
caps_status caps_trainer_settle(caps_trainer *t, caps_error *err);
/* The state, and `model` too where asked. No step may be in flight. */
caps_status caps_trainer_save(caps_trainer *t, bool model, caps_error *err);
/* The state's numbers as the caller sees them. */
caps_train_metrics caps_trainer_metrics(const caps_trainer *t);
void caps_trainer_tell(caps_trainer *t, caps_train_event event);
/* A line for the log. */
void caps_trainer_note(caps_trainer *t, const char *format, ...) CAPS_PRINTF(2, 3);

#endif
