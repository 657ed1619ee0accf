/* trainer.h: a run in progress.
 *
 *     trainer_data.c    reads the data, in threads of its own
 *     trainer_setup.c   from settings to a run that can begin or go on
 *     trainer_files.c   the files of the run directory
 *     trainer.c         a step, its numbers, what the caller hears of them
 *     train.c           the loop: steps, epochs, the end
 */
#ifndef CAPS_TRAINER_H
#define CAPS_TRAINER_H

#include <capscl/train.h>

#include "batcher.h"
#include "pinned.h"
#include "metrics.h"
#include "state.h"
#include "team.h"
#include "watch.h"

/* Of the last two sets one may have no image, not both. */
typedef struct caps_train_data {
    caps_dataset train, test, validation;
    uint64_t hash; /* of train */
} caps_train_data;

typedef struct caps_trainer {
    caps_runtime *rt;
    caps_train_config config;          /* its own: the caller's, with what was chosen */
    const caps_train_control *control; /* whole, whatever header the caller was compiled against */
    double began;                      /* caps_clock_seconds */
    double seconds_before;             /* of the processes that were stopped; NaN: not known */

    char *state_path, *config_path, *metrics_path, *model_path, *average_path, *config_text;
    caps_train_data data;
    uint64_t *class_images; /* of data.train, [J] */
    float *class_weights;   /* [J]; NULL: none */
    bool classes_uneven;
    uint64_t *evaluated; /* [2 J]: images and errors by class of the last evaluation */
    bool has_evaluated;  /* there was one at this step */
    uint64_t steps_per_epoch, last_step;
    caps_model *model;     /* the team's first */
    size_t choices_before; /* recorded for the runtime when this run began: not this run's */
    caps_batcher *batcher;
    caps_pinned pinned; /* the batcher's memory, where the device likes it */
    caps_metrics_log log;
    bool rebalanced; /* config.split is another, for which new models are needed */
    bool rescued;    /* a device was lost, and the last step is saved */
    bool opened;     /* the directory's files are there, those of a new run too */
    bool again;      /* of a run that this process has begun on other devices or in other shares */
    /* Where the run stands, steps in flight not counted; its values are there while it is saved. */
    caps_state state;
    uint64_t resumed_from_step, saved_step;
    double saved, saving_seconds; /* when the state was saved last, and how long that took */
    caps_team *team;
    double timeout;    /* seconds in which each of several devices answers */
    caps_ranks *ranks; /* of all processes; NULL: this one alone */
    bool leads;        /* rank 0: it reads and writes the directory, and decides */
    size_t *firsts;    /* [ranks + 1]: the first member of each rank among all; their number */
    struct {
        bool stopped, late;         /* the run is to stop; its time is over */
        bool called_off;            /* an epoch was not closed */
        bool saves;                 /* the state is saved after the step */
    } verdict;                      /* rank 0's, as all have heard it */
    size_t *slots;                  /* [members]: where each stands in control.devices */
    caps_train_device *before;      /* [members]: what it did in this process before this team */
    bool tells_sent;                /* that parameters are sent was said */
    caps_member_work *epoch_before; /* [members]: what it had done when the epoch began */
    caps_train_epoch_device *epoch_devices; /* [epoch_device_count]: of the last epoch, on rank 0 */
    size_t epoch_device_count;
    caps_watch watch;

    /* Training steps of this process, their time alone. */
    double lap; /* when the last step came back, or the first after a pause was begun */
    uint64_t steps_here, epoch_images;
    double epoch_seconds;
    uint64_t first_images; /* of the very first step, which also builds kernels */
    double first_seconds;
} caps_trainer;

/* ---- trainer_data.c ------------------------------------------------------------------------- */

void caps_train_data_release(caps_train_data *data);
/* Unless t->data is there already, reads both splits; and draws the first parameters of a new run without --init (*first, freed with
 * free()), while the runtime's kernels are built. */
caps_status caps_trainer_read_data(caps_trainer *t, float **first, caps_error *err);

/* ---- trainer_setup.c ------------------------------------------------------------------------ */

/* The devices of a run: the first is the lead's. */
typedef struct caps_crew {
    caps_runtime **rts; /* [n] */
    size_t *slots;      /* [n]: where each stands in control.devices */
    size_t n;
    struct caps_ranks *ranks;
    double began; /* the run in this process: caps_clock_seconds */
    /* The run goes on within this process, and began it as this says. */
    bool again;
    uint64_t resumed_from_step;
    double seconds_before;
    caps_train_data data; /* that it has read; the next trainer takes it */
} caps_crew;

/* Their ids as they are recorded, "0:0/2:0 0:0/2:1"; "": there is one. */
void caps_crew_list(char *text, size_t bytes, const caps_crew *crew);

/* Checks all that can be checked, reads the data, makes the model, and reads the state where the
 * run is resumed. The run directory is only read. */
caps_status caps_trainer_init(caps_trainer *t, caps_crew *crew, const caps_train_config *config,
    const caps_train_control *control, caps_error *err);
/* A device of several has failed: saves what the others stand at, where there is a run already.
 * *err, the failure, says what was saved. */
void caps_trainer_rescue(caps_trainer *t, caps_error *err);
void caps_trainer_release(caps_trainer *t);

/* Nothing is left to do: the end is reached, evaluated and in the log. */
bool caps_trainer_is_finished(const caps_trainer *t);

/* ---- trainer_ranks.c: where all ranks come to the same; alone they do nothing --------------- */

/* How many devices each rank has. */
caps_status caps_trainer_count_members(caps_trainer *t, size_t own, caps_error *err);
size_t caps_trainer_members(const caps_trainer *t); /* of all ranks */
size_t caps_trainer_before(const caps_trainer *t);  /* of the ranks before this one */
/* Rank 0's choices of a run that goes on, for these runtimes. */
caps_status caps_trainer_restore_choices(
    caps_trainer *t, caps_runtime *const *rts, size_t n, caps_error *err);
/* Rank 0 trains on the same images. CAPS_ERR_MISMATCH. */
caps_status caps_trainer_compare_data(caps_trainer *t, caps_error *err);
/* Where the run stands is as rank 0 has it. */
caps_status caps_trainer_share_state(caps_trainer *t, caps_error *err);
/* Rank 0 says, before a step, whether it is the last for now; the others hear it behind it. Again
 * when an epoch was closed, or the closing was called off. */
caps_status caps_trainer_share_verdict(caps_trainer *t, bool called_off, caps_error *err);
/* What all members did in the epoch, into epoch_devices of rank 0. */
caps_status caps_trainer_gather_epoch(caps_trainer *t, caps_error *err);
/* Images per second of all members, on rank 0: [members]; 0: not known yet. */
caps_status caps_trainer_gather_speeds(caps_trainer *t, double *speeds, caps_error *err);
/* As it is now, of this process; `late` not before something was done: runs that are resumed under a
 * limit get to their end. */
bool caps_trainer_wants_end(const caps_trainer *t, bool *late);
/* As all ranks know it. */
bool caps_trainer_is_stopped(const caps_trainer *t);
bool caps_trainer_is_out_of_time(const caps_trainer *t);

/* ---- trainer_files.c ------------------------------------------------------------------------ */

caps_status caps_trainer_make_paths(caps_trainer *t, caps_error *err);
/* A new run has no files yet, one that is resumed has its own; what is to be written can be. */
caps_status caps_trainer_check_directory(const caps_trainer *t, caps_error *err);
/* Makes or mends the run directory's files, so that the run can be resumed from here on. */
caps_status caps_trainer_open(caps_trainer *t, caps_error *err);
/* The state, and `model` too where requested. No step may be in flight. */
caps_status caps_trainer_save(caps_trainer *t, bool model, caps_error *err);
/* A line of metrics.jsonl. */
caps_status caps_trainer_append(
    caps_trainer *t, caps_metrics_type type, const caps_train_metrics *m, caps_error *err);

/* ---- trainer.c ------------------------------------------------------------------------------ */

/* The state's numbers as the caller sees them. */
caps_train_metrics caps_trainer_metrics(const caps_trainer *t);
void caps_trainer_report(caps_trainer *t, caps_train_event event);
/* What each device did, into control.devices. */
void caps_trainer_count_devices(const caps_trainer *t);
/* What member i did since the epoch began, or this team was made. */
caps_member_work caps_trainer_epoch_work(const caps_trainer *t, size_t i);
/* After a step was enqueued: `step` and `epoch` are its own, the sums those of the steps taken. */
void caps_trainer_report_progress(caps_trainer *t);
/* A line for the log, and one that the user should read. */
void caps_trainer_log(caps_trainer *t, const char *format, ...) CAPS_PRINTF(2, 3);
void caps_trainer_note(caps_trainer *t, const char *format, ...) CAPS_PRINTF(2, 3);
void caps_trainer_note_lines(caps_trainer *t, const char *lines); /* NULL: none */

/* Enqueues one step and, where CAPS_STEPS_AT_ONCE are then in flight, takes the oldest: the device
 * has always a step to go on with. CAPS_ERR_NOT_FINITE names step and layer. */
caps_status caps_trainer_step(caps_trainer *t, caps_error *err);
/* Takes all steps in flight. */
caps_status caps_trainer_settle(caps_trainer *t, caps_error *err);
/* train.c: steps and epochs until the run ends, or `rebalanced` is set. */
caps_status caps_trainer_run(caps_trainer *t, caps_train_end *end, caps_error *err);
caps_status caps_trainer_not_finite(
    const caps_trainer *t, uint64_t step, const char *name, double lr, caps_error *err);

#endif
