/* team_step.c: the steps of a team, and what they leave. */
#include <math.h>
#include <string.h>

#include "fail.h"
#include "members.h"
#include "shares.h"

static bool team_differs(const caps_team *t)
{
    bool differs = false;
    for (size_t i = 0; i < t->n; i++)
        differs = differs || t->members[i].differs;
    return differs;
}

bool caps_team_sends(const caps_team *t)
{
    return t->strays || team_differs(t);
}

static caps_status member_enqueue(caps_member *m, caps_error *err)
{
    const caps_team *t = m->team;
    const caps_images *all = t->images;
    caps_status status;
    size_t first, count;
    size_t before, ignored; /* `all` begin with the first member's */
    if (t->sharded) {
        CAPS_TRY(caps_member_finish(m, err));
        caps_team_announce(m->team);
    }
    caps_share_get(&first, &count, t->weights, t->all, t->before + m->index, t->total);
    caps_share_get(&before, &ignored, t->weights, t->all, t->before, t->total);
    const size_t at = first - before;
    const caps_images own = {count, all->images + at * t->pixels, all->labels + at * t->labels,
        all->targets ? all->targets + at * t->labels * t->pixels : NULL};
    m->stepper.first = first;
    m->stepper.total = t->total;
    CAPS_TRY(caps_stepper_enqueue(&m->stepper, &own, t->lr, err));
    if (team_differs(t))
        CAPS_TRY(caps_member_send(m, err));
    m->work.images += count;
    m->work.timed_images += t->compared ? count : 0;
done:
    return status;
}

static caps_status member_take(caps_member *m, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (m->stepper.in_flight == 1)
        CAPS_TRY(caps_member_finish(m, err));
    CAPS_TRY(caps_stepper_take(&m->stepper, &m->result, err));
done:
    return status;
}

static caps_status team_enqueue_alone(
    caps_team *t, const caps_images *images, double lr, caps_error *err)
{
    caps_member *m = &t->members[0];
    caps_status status = caps_stepper_enqueue(&m->stepper, images, lr, err);
    m->work.images += status == CAPS_OK ? images->b : 0;
    return status;
}

static void forget_times(caps_team *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->members[i].work.busy_seconds = t->members[i].work.waiting_seconds = 0;
}

caps_status caps_team_enqueue(
    caps_team *t, const caps_images *images, size_t total, double lr, caps_error *err)
{
    caps_status status;
    if (caps_team_is_alone(t))
        return team_enqueue_alone(t, images, lr, err);
    t->images = images;
    t->total = total;
    t->totals[(caps_team_enqueued(t) + 1) % CAPS_STEPS_AT_ONCE] = total;
    t->lr = lr;
    t->stale = t->sharded && t->optimizer == CAPS_OPTIMIZER_ADAM;
    if (!t->sharded) /* else once the step before is finished */
        caps_team_announce(t);
    caps_team_pool_announce(t);
    CAPS_TRY(caps_team_do(t, member_enqueue, err));
    CAPS_TRY(caps_team_send_ranks(t, err));
    if (!t->compared) {
        bool sent;
        t->compared = true;
        CAPS_TRY(caps_team_compare(t, &sent, err));
        forget_times(t);
    }
done:
    return status;
}

void caps_team_add_result(caps_step_result *sum, const caps_step_result *r)
{
    sum->images += r->images;
    sum->totals.class_loss += r->totals.class_loss;
    sum->totals.sse += r->totals.sse;
    sum->totals.errors += r->totals.errors;
    if (sum->finite && !r->finite) {
        sum->finite = false;
        memcpy(sum->where, r->where, sizeof sum->where);
    }
}

/* Where a member was lost the others' steps are taken one by one. */
static caps_status take_left(caps_team *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < t->n; i++)
        if (i != t->lost && t->members[i].stepper.taken == t->taken)
            CAPS_TRY(member_take(&t->members[i], err));
done:
    return status;
}

void caps_team_scale_result(caps_step_result *r, size_t total)
{
    if (r->images == 0)
        return;
    const double scale = (double)total / (double)r->images;
    r->images = total;
    r->totals.class_loss *= scale;
    r->totals.sse *= scale;
    r->totals.errors = round(r->totals.errors * scale);
}

caps_status caps_team_take(caps_team *t, caps_step_result *result, caps_error *err)
{
    caps_status status;
    if (caps_team_is_alone(t))
        return caps_stepper_take(&t->members[0].stepper, result, err);
    const bool alone = caps_ranks_check(t->ranks, NULL) != CAPS_OK; /* a rank has failed */
    CAPS_TRY(t->lost < t->n || alone ? take_left(t, err) : caps_team_do(t, member_take, err));
    const size_t first = caps_team_survivor(t);
    t->taken++;
    *result = t->members[first].result;
    for (size_t i = first + 1; i < t->n; i++)
        if (i != t->lost && t->members[i].result.step == result->step)
            caps_team_add_result(result, &t->members[i].result);
    if (t->lost < t->n)
        caps_team_scale_result(result,
            result->images + caps_stepper_images(&t->members[t->lost].stepper, result->step));
    /* The step is taken, whether or not the others can say what they made of it. */
    if (alone || caps_team_gather(t, result, NULL) != CAPS_OK)
        caps_team_scale_result(result, t->totals[result->step % CAPS_STEPS_AT_ONCE]);
done:
    return status;
}
