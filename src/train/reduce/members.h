/* members.h: the members of a team, their threads, and where they meet. For the files of
 * src/train/reduce alone.
 *
 * The thread that owns the team gives all members a job and waits for its end; within it they meet.
 * What is not guarded by the lock is written by one thread and read by others only behind a
 * meeting, or behind the end of a job. */
#ifndef CAPS_MEMBERS_H
#define CAPS_MEMBERS_H

#include <pthread.h>

#include "exchange.h"
#include "team.h"

typedef struct caps_member caps_member;
typedef caps_status caps_member_job(caps_member *m, caps_error *err);

struct caps_member {
    caps_team *team;
    size_t index;
    caps_runtime *rt;
    caps_model *model; /* its own */
    caps_stepper stepper;
    caps_exchange exchange;
    caps_batch_share share; /* for statistics of the whole batch */
    pthread_t thread;
    bool started;
    uint64_t jobs; /* that it has ended */
    caps_status status;
    caps_error error; /* of the last job */
    bool arrived;     /* at the meeting point, or its job is done */
    bool abroad;      /* it waits for other ranks */
    bool stuck;       /* it does not answer: its thread is left to itself */
    bool busy;        /* whether its device is done with all is not known, and will not be */
    caps_step_result result;
    caps_member_work work;
    bool differs;    /* it is sent the lead's parameters */
    bool unfinished; /* parameters of other ranks are on their way: caps_member_finish */
    uint64_t hash;   /* of its parameters */
};

struct caps_team {
    size_t n;
    caps_member *members; /* [n] */
    size_t all, before;   /* members of all ranks, of the ranks before this one */
    uint32_t *weights;    /* [all] */
    caps_model **models;  /* [n]: the members' */
    size_t pixels, labels;
    caps_optimizer optimizer;
    double ema;
    bool compared;  /* after the first step, whose times do not count */
    size_t lost;    /* n: no member */
    uint64_t taken; /* the last step whose results the caller has; of several members */
    double timeout;

    caps_ranks *ranks; /* NULL: this process alone */
    size_t *firsts;    /* [ranks + 1] */
    bool *takes_part;  /* [ranks] */
    float *sums;       /* [elements]: of several members, where they are summed over the ranks */
    float *received;   /* [elements]: rank 0's parameters; NULL: not yet */
    /* Of networks that normalise by the batch: [all, statistics] and [all]; NULL: of others. */
    float *pool;
    size_t *images_of;
    bool may_shard, sharded; /* the optimizer: sharded.c */
    bool stale;              /* moments of other ranks' slices are of an earlier step */
    float *moments[2];       /* [elements], on their way to rank 0; NULL: not yet */
    bool strays, stray;      /* some rank's parameters differ from rank 0's; this rank's do */
    size_t totals[CAPS_STEPS_AT_ONCE]; /* images of a step in flight, of all ranks */

    /* The job at hand, the same for all. */
    const caps_images *images;
    size_t total;
    double lr;
    float **hosts; /* [n]: a piece, where each member has it */
    const float *sent;
    size_t callee; /* of caps_team_call */
    caps_team_function *call;
    void *call_user;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool has_lock, has_changed, has_threads;
    caps_member_job *job;
    uint64_t jobs; /* that were begun */
    bool stops;    /* the threads end */
    size_t met;    /* members at the meeting point */
    uint64_t meetings;
    bool aborted; /* a member has failed: nobody waits for it */
    double anew;  /* when all have their time again: one is back from abroad, the job is aborted */
};

/* One device in one process: no threads, nothing is summed. */
static inline bool caps_team_is_alone(const caps_team *t)
{
    return t->all == 1;
}
/* Images of member `which` of all in a batch of `total`. */
size_t caps_team_images(const caps_team *t, size_t which, size_t total);

/* Threads for all members of a team of several. CAPS_ERR_MEMORY. */
caps_status caps_members_start(caps_team *t, caps_error *err);
/* Ends them; false: one does not answer, and may still come back to the team. */
bool caps_members_stop(caps_team *t);

/* All members do it at the same time. Where one fails or does not answer it is lost, and *err is
 * its error, with the device's name. */
caps_status caps_team_do(caps_team *t, caps_member_job *job, caps_error *err);

/* Within a job: waits until all members are here; false: one of them has failed. */
bool caps_member_meet(caps_member *m);
/* Within a job: the member waits for other ranks from now on, or has done so since `began` on
 * caps_clock_seconds. Meanwhile nobody's time runs out. */
void caps_member_leave(caps_member *m);
void caps_member_return(caps_member *m, double began);
/* What a job then ends with. */
caps_status caps_member_left(caps_error *err);

/* reduction.c: caps_stepper.ready and caps_stepper.reduce, with the member as their user. */
caps_status caps_member_ready(void *user, size_t first, size_t count, caps_error *err);
caps_status caps_member_reduce(void *user, caps_model *model, caps_error *err);

/* sharded.c: whether the optimizer may be sharded, as far as this rank knows; and that it is, or is
 * not, from the next step on. */
bool caps_team_may_shard(const caps_team *t, caps_reduce reduce);
void caps_team_shard(caps_team *t, bool sharded);
/* caps_stepper.update, with the member as its user; and the rest of it: the parameters that other
 * ranks updated are here. Nothing may read or train the model before. */
caps_status caps_member_update(
    void *user, caps_model *model, float lr, uint64_t step, caps_error *err);
caps_status caps_member_finish(caps_member *m, caps_error *err);

/* team_statistics.c: room for statistics of batches, where the network has some; the images of a
 * step; and caps_batch_share.gather, with the member as its user. */
caps_status caps_team_pool_init(caps_team *t, const caps_model_spec *spec, caps_error *err);
void caps_team_pool_release(caps_team *t);
void caps_team_pool_announce(caps_team *t);
caps_status caps_member_gather(
    void *user, const float *own, size_t n, const float **all, caps_error *err);

/* team.c: within a job, sends the lead's parameters to members whose own are not the same. */
caps_status caps_member_send(caps_member *m, caps_error *err);

/* team_step.c: a result is added to those before it; what `total` images would have left is about
 * what those that are known did. */
void caps_team_add_result(caps_step_result *sum, const caps_step_result *r);
void caps_team_scale_result(caps_step_result *r, size_t total);

/* team_ranks.c, between jobs: what concerns all ranks. Without ranks all but caps_team_spread do
 * nothing. */
/* Room for sums over ranks; the exchanges are made. CAPS_ERR_MEMORY. */
caps_status caps_team_join(caps_team *t, const caps_team_options *o, caps_error *err);
void caps_team_part_ways(caps_team *t);
/* Before a step: which ranks have images of it. */
void caps_team_announce(caps_team *t);
/* The parameters and moments of the lead of rank 0 become those of all members of all ranks. */
caps_status caps_team_spread(caps_team *t, caps_error *err);
/* After the members of this rank were compared: with rank 0's. */
caps_status caps_team_compare_ranks(caps_team *t, bool *sent, caps_error *err);
/* After a step, where some rank differs. */
caps_status caps_team_send_ranks(caps_team *t, caps_error *err);
/* Rank 0's result becomes that of all. */
caps_status caps_team_gather(caps_team *t, caps_step_result *result, caps_error *err);

#endif
