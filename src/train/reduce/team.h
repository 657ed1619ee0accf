/* team.h: several devices that compute the steps of one training together.
 *
 * Each device is a member, with a runtime, a model and a thread of its own; the first is the lead,
 * whose model is the training's. A step:
 *
 *     member 0 (lead)     | its images: forward, backward | + | optimizer |
 *     member 1            | its images: forward, backward | + | optimizer |
 *                              pieces of the gradients  ^ summed on the host as they come
 *
 * Every image weighs 1 / (images of all), so the plain sum over the members, in their order, is the
 * gradient of the whole batch, whatever the shares. All members then run the same optimizer on the
 * same sums. Devices of one kind thereby have the same parameters to the bit, which is compared
 * after the first step and whenever the caller requests it; members that differ are sent the lead's
 * parameters after every step.
 *
 * The order of the sums and the shares do not depend on time: the same devices with the same shares
 * give the same bits.
 *
 * Of several processes (ranks.h) each has a team of its own devices. The shares are those of all
 * members of all ranks, in their order. What a rank's members leave is summed over the ranks before
 * it comes back to them, and rank 0's first member is the lead of all. */
#ifndef CAPS_TEAM_H
#define CAPS_TEAM_H

#include "ranks.h"
#include "stepper.h"

/* What a member did. */
typedef struct caps_member_work {
    uint64_t images, timed_images; /* the second without the first step, as the seconds are */
    double busy_seconds;           /* enqueueing, computing, summing */
    double waiting_seconds;        /* for the other members */
    size_t share;                  /* images of a whole batch */
} caps_member_work;

typedef struct caps_team_options {
    const caps_model_spec *spec;
    const caps_model_options *models; /* [n]; max_batch is the most of the member's share */
    const uint32_t *weights;          /* of the shares: [n], or of all members of all ranks */
    size_t batch;                     /* images of a whole one */
    caps_optimizer optimizer;
    /* A device that takes so much longer over its part of a step than another has failed; 0: never.
     * The first step of all builds kernels: it may take CAPS_TEAM_FIRST times as long. */
    double timeout_seconds;
    size_t piece;         /* elements of the gradients that are sent at once; 0: CAPS_PIECE */
    caps_ranks *ranks;    /* NULL: this process alone */
    const size_t *firsts; /* [ranks + 1]: the first member of each rank among all; their number */
    caps_reduce reduce;   /* caps_ranks_sum_init */
    double ema;           /* caps_stepper.ema */
} caps_team_options;

enum { CAPS_TEAM_FIRST = 10 };

typedef struct caps_team caps_team;

/* rts[n]: the members' runtimes, n >= 1, of different devices; they outlive the team. A team of one
 * has no thread and sums nothing.
 * Errors: those of caps_model_create, with the device's name. */
caps_status caps_team_create(caps_team **out, caps_runtime *const *rts, size_t n,
    const caps_team_options *options, caps_error *err);
/* Waits for what is in flight; of a device that does not answer any more nothing is freed. NULL is
 * allowed. */
void caps_team_free(caps_team *team);

size_t caps_team_count(const caps_team *team);
caps_runtime *caps_team_runtime(const caps_team *team, size_t member);
caps_model *caps_team_model(const caps_team *team, size_t member); /* 0: the lead's */
caps_model *const *caps_team_others(const caps_team *team); /* [count - 1]: the models behind it */
caps_member_work caps_team_work(const caps_team *team, size_t member); /* since it was made */

/* The lead's parameters, moments and average become those of all, and `step` the first that is enqueued. No
 * step may be in flight. */
caps_status caps_team_begin(caps_team *team, uint64_t seed, uint64_t step, caps_error *err);
/* Have all members the parameters of the lead? Those that have not are sent them after every step
 * from now on; *sent: there are such. No step may be in flight. */
caps_status caps_team_compare(caps_team *team, bool *sent, caps_error *err);

/* Each rank updates its own part of the parameters: without one of the ranks the step at hand, and
 * with Adam every step since the last caps_team_collect, cannot be saved. */
bool caps_team_is_sharded(const caps_team *team);
/* Before the state is saved, by all ranks: brings the lead's moments of rank 0 up to date where the
 * optimizer is sharded. No step may be in flight. */
caps_status caps_team_collect(caps_team *team, caps_error *err);

/* There are such, on some rank. */
bool caps_team_sends(const caps_team *team);

/* As caps_stepper_enqueue and so on, for a batch of at most `batch` images; of several ranks
 * `images` are this rank's part of `total` (caps_team_part). A team of several waits for the
 * gradients. The results of a step are those of all; on other ranks than 0, those of this rank.
 *
 * Where the device of one of several members fails, that member is lost (caps_team_lost), and the
 * others stand at the same step: all of them have enqueued it, or none. What they have in flight
 * can be taken still (its results are those of the members that are left), and the model of
 * caps_team_survivor can be saved. No further step may be enqueued. */
caps_status caps_team_enqueue(
    caps_team *team, const caps_images *images, size_t total, double lr, caps_error *err);
/* Of a batch of `total` images, those of this process: caps_batcher_options.part. */
void caps_team_part(void *team, size_t total, size_t *first, size_t *count);
caps_status caps_team_take(caps_team *team, caps_step_result *result, caps_error *err);
/* The member that was lost; the number of members: none was. */
size_t caps_team_lost(const caps_team *team);
/* The first member that is left. */
size_t caps_team_survivor(const caps_team *team);
/* A member whose device failed elsewhere is lost; stuck: it does not answer. */
void caps_team_lose(caps_team *team, size_t member, bool stuck);
/* Waits until all devices are done, as long as each may take; false: of one it is not known (it
 * failed, or is stuck), or messages to other ranks are on their way. What was given to it may not be
 * freed, and caps_team_free does not. */
bool caps_team_finish(caps_team *team);
/* Calls a function that waits for a member's device, as steps do: one that fails or does not answer
 * is lost. `user` must then stay: the call may come back. */
typedef caps_status caps_team_function(void *user, caps_model *model, caps_error *err);
caps_status caps_team_call(
    caps_team *team, size_t member, caps_team_function *call, void *user, caps_error *err);
/* Messages to other ranks may still be on their way: nothing of it is to be freed. */
bool caps_team_is_busy(const caps_team *team);
/* It does not answer: its runtime may not be used any more, nor freed. */
bool caps_team_is_stuck(const caps_team *team, size_t member);
size_t caps_team_in_flight(const caps_team *team);
uint64_t caps_team_enqueued(const caps_team *team);
bool caps_team_is_full(const caps_team *team);

#endif
