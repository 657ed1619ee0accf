/* trainer_ranks.c: where all ranks of a run come to the same. Alone, all of this does nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "fail.h"
#include "trainer.h"

caps_status caps_trainer_count_members(caps_trainer *t, size_t own, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(t->ranks);
    t->firsts = malloc((ranks + 1) * sizeof *t->firsts);
    if (!t->firsts)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", ranks);
    return caps_ranks_collect(t->ranks, NULL, own, 0, NULL, t->firsts, err);
}

size_t caps_trainer_members(const caps_trainer *t)
{
    return t->firsts[caps_ranks_count(t->ranks)];
}

size_t caps_trainer_before(const caps_trainer *t)
{
    return t->firsts[caps_ranks_rank(t->ranks)];
}

caps_status caps_trainer_restore_choices(
    caps_trainer *t, caps_runtime *const *rts, size_t n, caps_error *err)
{
    const char *out = t->control->out;
    char *text = NULL;
    caps_status status = t->leads ? caps_run_read_choices(&text, out, err) : CAPS_OK;
    CAPS_TRY(status);
    CAPS_TRY(caps_ranks_share_text(t->ranks, &text, err));
    for (size_t i = 0; i < n; i++)
        CAPS_TRY(caps_run_restore_choices(rts[i], text, out, err));
done:
    free(text);
    return status;
}

caps_status caps_trainer_compare_data(caps_trainer *t, caps_error *err)
{
    const uint64_t own[3] = {t->data.train.n, t->data.hash, t->steps_per_epoch};
    uint64_t lead[3];
    memcpy(lead, own, sizeof lead);
    caps_status status = caps_ranks_share(t->ranks, lead, sizeof lead, err);
    if (status == CAPS_OK && memcmp(own, lead, sizeof lead) != 0)
        status = caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: %zu training images, other images or labels than the %llu of rank 0: need the "
            "same on all ranks",
            t->data.train.path, t->data.train.n, (unsigned long long)lead[0]);
    return status;
}

caps_status caps_trainer_share_state(caps_trainer *t, caps_error *err)
{
    caps_state s = t->state;
    uint64_t steps[2] = {t->resumed_from_step, t->saved_step};
    caps_status status;
    if (!t->ranks)
        return CAPS_OK;
    s.values = (caps_model_view){0};
    memset(s.arrays, 0, sizeof s.arrays);
    CAPS_TRY(caps_ranks_share(t->ranks, &s, sizeof s, err));
    CAPS_TRY(caps_ranks_share(t->ranks, steps, sizeof steps, err));
    if (t->leads)
        return CAPS_OK;
    t->state = s;
    t->resumed_from_step = steps[0];
    t->saved_step = steps[1];
done:
    return status;
}

/* Where a rank that is lost takes a part of the state along, rank 0 saves as soon as that is so,
 * unless there is a state already, and then now and then, which takes at most a fiftieth of the
 * time. */
#define SAVE_SECONDS 30.0
#define SAVE_SHARE   50

static bool wants_save(const caps_trainer *t)
{
    if (!caps_team_is_sharded(t->team))
        return false;
    return t->saved_step == 0 || caps_clock_seconds() - fmax(t->saved, t->began) >=
                                     fmax(SAVE_SECONDS, SAVE_SHARE * t->saving_seconds);
}

caps_status caps_trainer_share_verdict(caps_trainer *t, bool called_off, caps_error *err)
{
    bool late;
    caps_status status;
    if (!t->ranks)
        return CAPS_OK;
    if (t->control->stop && *t->control->stop)
        caps_ranks_request_stop(t->ranks);
    uint8_t flags[4] = {caps_trainer_wants_end(t, &late), late, called_off, wants_save(t)};
    CAPS_TRY(caps_ranks_share_aside(t->ranks, flags, sizeof flags, err));
    t->verdict.stopped = flags[0];
    t->verdict.late = flags[1];
    t->verdict.called_off = flags[2];
    t->verdict.saves = flags[3];
done:
    return status;
}

static double speed_of(const caps_member_work *work)
{
    return work->timed_images > 0 && work->busy_seconds > 0
               ? (double)work->timed_images / work->busy_seconds
               : 0;
}

caps_status caps_trainer_gather_speeds(caps_trainer *t, double *speeds, caps_error *err)
{
    const size_t own = caps_team_count(t->team), before = caps_trainer_before(t);
    const size_t members = caps_trainer_members(t);
    caps_status status = CAPS_OK;
    double *all = NULL;
    memset(speeds, 0, members * sizeof *speeds);
    for (size_t i = 0; i < own; i++) {
        const caps_member_work work = caps_trainer_epoch_work(t, i);
        speeds[before + i] = speed_of(&work);
    }
    if (!t->ranks)
        return CAPS_OK;
    CAPS_TRY(caps_ranks_collect(
        t->ranks, speeds + before, own, sizeof *speeds, (void **)&all, t->firsts, err));
    memset(speeds, 0, members * sizeof *speeds);
    if (all)
        memcpy(speeds, all, members * sizeof *speeds);
done:
    free(all);
    return status;
}

caps_status caps_trainer_gather_epoch(caps_trainer *t, caps_error *err)
{
    const size_t own = caps_team_count(t->team);
    caps_status status;
    void *all = NULL;
    caps_train_epoch_device *list = calloc(own, sizeof *list);
    if (!list)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", own);
    for (size_t i = 0; i < own; i++) {
        const caps_member_work work = caps_trainer_epoch_work(t, i);
        const caps_device_info *d = caps_runtime_device(caps_team_runtime(t->team, i));
        const double seconds = work.busy_seconds + work.waiting_seconds;
        list[i] = (caps_train_epoch_device){.rank = caps_ranks_rank(t->ranks),
            .share = work.share,
            .images = work.images,
            .images_per_second =
                work.timed_images > 0 && seconds > 0 ? (double)work.timed_images / seconds : NAN,
            .busy_seconds = work.busy_seconds,
            .waiting_seconds = work.waiting_seconds};
        snprintf(list[i].id, sizeof list[i].id, "%.63s", d->id);
        snprintf(list[i].name, sizeof list[i].name, "%.127s", d->name);
    }
    CAPS_TRY(caps_ranks_collect(t->ranks, list, own, sizeof *list, &all, t->firsts, err));
    free(t->epoch_devices);
    t->epoch_devices = all;
    t->epoch_device_count = all ? caps_trainer_members(t) : 0;
done:
    free(list);
    return status;
}

bool caps_trainer_wants_end(const caps_trainer *t, bool *late)
{
    const double limit = t->control->time_limit_seconds;
    const bool stopped =
        (t->control->stop && *t->control->stop) || caps_ranks_stop_requested(t->ranks);
    *late = limit > 0 && t->steps_here + caps_team_in_flight(t->team) > 0 &&
            caps_clock_seconds() - t->began >= limit;
    return stopped;
}

bool caps_trainer_is_stopped(const caps_trainer *t)
{
    bool late;
    return t->ranks ? t->verdict.stopped : caps_trainer_wants_end(t, &late);
}

bool caps_trainer_is_out_of_time(const caps_trainer *t)
{
    bool late;
    (void)caps_trainer_wants_end(t, &late);
    return t->ranks ? t->verdict.late : late;
}
