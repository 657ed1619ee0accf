/* stepper.c: see stepper.h. */
#include "stepper.h"

#include <assert.h>
#include <string.h>

#include "batcher.h"
#include "fail.h"
#include "trace.h"

static_assert((int)CAPS_STEPS_AT_ONCE <= (int)CAPS_BATCHES_HELD,
    "the batch of a step in flight must not be made anew");

static size_t stepper_slot(uint64_t step)
{
    return (size_t)(step % CAPS_STEPS_AT_ONCE);
}

void caps_stepper_init(
    caps_stepper *s, caps_model *model, caps_optimizer optimizer, uint64_t seed, uint64_t first)
{
    assert(first > 0);
    *s = (caps_stepper){.model = model, .optimizer = optimizer, .seed = seed, .taken = first - 1};
}

uint64_t caps_stepper_enqueued(const caps_stepper *s)
{
    return s->taken + s->in_flight;
}

bool caps_stepper_is_full(const caps_stepper *s)
{
    return s->in_flight == CAPS_STEPS_AT_ONCE;
}

size_t caps_stepper_images(const caps_stepper *s, uint64_t step)
{
    return s->slots[stepper_slot(step)].images;
}

/* The first steps count more: an average over all of them would long be that of where it began. */
static float average_rate(double decay, uint64_t step)
{
    const double young = (1 + (double)step) / (10 + (double)step);
    return (float)(1 - (young < decay ? young : decay));
}

caps_status caps_stepper_optimize(
    const caps_stepper *s, float lr, uint64_t step, size_t first, size_t count, caps_error *err)
{
    return s->optimizer == CAPS_OPTIMIZER_ADAM
               ? caps_model_adam_part(s->model, lr, step, first, count, err)
               : caps_model_sgd_part(s->model, lr, first, count, err);
}

static caps_status stepper_update(caps_stepper *s, uint64_t step, float lr, caps_error *err)
{
    caps_model *m = s->model;
    caps_status status;
    if (s->update)
        return s->update(s->reduce_user, m, lr, step, err);
    if (s->reduce)
        CAPS_TRY(s->reduce(s->reduce_user, m, err));
    CAPS_TRY(caps_stepper_optimize(s, lr, step, 0, caps_model_trained_count(m), err));
done:
    return status;
}

/* The calls. */
static caps_status stepper_enqueue_calls(
    caps_stepper *s, uint64_t step, const caps_images *images, double lr, caps_error *err)
{
    caps_model *m = s->model;
    caps_status status;
    /* The device sums in float: one step at a time, so that the sums do not depend on where a run
     * was stopped, nor lose digits over an epoch. */
    caps_step_begin(m);
    caps_model_set_step(m, s->seed, step);
    const caps_joint joint = {s->first, s->total, s->ready, s->reduce_user, s->share};
    CAPS_TRY(caps_model_accumulate(m, images, true, s->total > 0 ? &joint : NULL, err));
    CAPS_TRY(stepper_update(s, step, (float)lr, err));
    if (s->ema > 0)
        CAPS_TRY(caps_model_average_step(m, average_rate(s->ema, step), err));
    CAPS_TRY(caps_step_end(m, stepper_slot(step), err));
done:
    return status;
}

caps_status caps_stepper_enqueue(
    caps_stepper *s, const caps_images *images, double lr, caps_error *err)
{
    const uint64_t step = caps_stepper_enqueued(s) + 1;
    const size_t slot = stepper_slot(step);
    caps_runtime *rt = caps_model_get_runtime(s->model);
    assert(!caps_stepper_is_full(s) && !s->slots[slot].used);
    assert(images->labels && (images->b > 0 || s->total > 0));
    assert(images->b <= caps_model_get_max_batch(s->model));
    /* Known of a step that fails here too: other devices may have come to its end. */
    s->slots[slot].images = images->b;
    caps_trace_begin(rt, "enqueue step");
    caps_status status = stepper_enqueue_calls(s, step, images, lr, err);
    caps_trace_end(rt);
    if (status != CAPS_OK)
        return status;
    s->slots[slot].lr = lr;
    s->slots[slot].used = true;
    s->in_flight++;
    return CAPS_OK;
}

caps_status caps_stepper_take(caps_stepper *s, caps_step_result *result, caps_error *err)
{
    const uint64_t step = s->taken + 1;
    const size_t slot = stepper_slot(step);
    caps_step_report report = {0};
    assert(s->in_flight > 0 && s->slots[slot].used);
    caps_status status = caps_step_wait(s->model, slot, &report, err);
    s->slots[slot].used = false;
    s->in_flight--;
    s->taken = step;
    *result = (caps_step_result){.step = step,
        .images = s->slots[slot].images,
        .lr = s->slots[slot].lr,
        .totals = report.totals,
        .finite = report.finite,
        .scores = report.scores,
        .scored = report.scored};
    memcpy(result->where, report.where, sizeof result->where);
    return status;
}

caps_status caps_stepper_settle(caps_stepper *s, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_step_result ignored;
    while (s->in_flight > 0 && status == CAPS_OK)
        status = caps_stepper_take(s, &ignored, err);
    return status;
}
