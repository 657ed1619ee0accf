/* schedule.c: see schedule.h. */
#include "schedule.h"

#include <inttypes.h>
#include <math.h>

#include "fail.h"

uint64_t caps_schedule_steps_per_epoch(size_t n, size_t batch)
{
    return (uint64_t)(n / batch + (n % batch != 0));
}

uint64_t caps_schedule_last_step(const caps_train_config *config, uint64_t steps_per_epoch)
{
    uint64_t last = UINT64_MAX;
    if (config->epochs > 0 && config->epochs < UINT64_MAX / steps_per_epoch)
        last = config->epochs * steps_per_epoch;
    if (config->max_steps > 0 && config->max_steps < last)
        last = config->max_steps;
    return last;
}

uint64_t caps_schedule_epoch(uint64_t step, uint64_t steps_per_epoch)
{
    return step == 0 ? 1 : (step - 1) / steps_per_epoch + 1;
}

caps_status caps_schedule_check(
    const caps_train_config *config, uint64_t steps_per_epoch, caps_error *err)
{
    const uint64_t epochs =
        config->epochs ? config->epochs : caps_schedule_epoch(config->max_steps, steps_per_epoch);
    if (config->lr_linear_epochs && epochs > config->lr_linear_epochs && !(config->lr_min > 0))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: %" PRIu64 " epochs at a learning rate that falls to 0 in %" PRIu64
            ", need no more than these, or a least one",
            epochs, config->lr_linear_epochs);
    return CAPS_OK;
}

/* A function of the run's length, too: one that is extended goes on on another line. */
double caps_spread_margin(const caps_train_config *config, uint64_t step, uint64_t steps)
{
    const double first = config->spread_margin_first, last = (double)config->loss.spread_margin;
    if (!(first > 0) || step + 1 >= steps)
        return last;
    return first + (last - first) * ((double)step / (double)(steps - 1));
}

/* A function of the step alone, not of the run's length: a run that is extended goes on as if it
 * had been that long from the start. */
double caps_learning_rate(const caps_train_config *config, uint64_t step, uint64_t steps_per_epoch)
{
    const uint64_t steps = config->lr_decay_steps ? config->lr_decay_steps : steps_per_epoch;
    if (config->optimizer != CAPS_OPTIMIZER_ADAM || steps == 0)
        return config->lr;
    const double power =
        config->lr_staircase ? (double)(step / steps) : (double)step / (double)steps;
    double lr = config->lr * pow(config->lr_decay, power);
    if (config->lr_linear_epochs)
        lr *= fmax(
            0, 1 - (double)step / ((double)config->lr_linear_epochs * (double)steps_per_epoch));
    if (step < config->lr_warmup_steps)
        lr *= (double)(step + 1) / (double)config->lr_warmup_steps;
    return fmax(lr, config->lr_min);
}
