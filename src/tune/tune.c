/* tune.c: a network's choices, one after the other. */
#include "tune.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "random_images.h"
#include "speed.h"
#include "tuning.h"

/* ---- the network's choices ------------------------------------------------------------------ */

static caps_status tune_run_batch(caps_model *model, const caps_images *images, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_model_set_batch(model, images, err));
    CAPS_TRY(caps_model_forward(model, images->labels ? CAPS_MASK_LABEL : CAPS_MASK_LONGEST, err));
    if (images->labels)
        CAPS_TRY(caps_model_backward(model, err));
done:
    return status;
}

caps_model_options caps_tune_model_options(const caps_tune *t)
{
    return (caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = t->batch,
        .training = true, .reconstruct = true};
}

caps_status caps_tune_run_network(const caps_tune *t, caps_error *err)
{
    const caps_model_options training = caps_tune_model_options(t);
    caps_model *model = NULL;
    caps_status status;
    caps_random_images noise = {0};
    CAPS_TRY(caps_random_images_init(&noise, t->spec, t->batch, err));
    CAPS_TRY(caps_model_create(&model, t->rt, t->spec, &training, err));
    CAPS_TRY(caps_model_initialise(model, CAPS_INITIALISER_SCALED, 1, err));
    CAPS_TRY(tune_run_batch(model, &noise.all, err));
    CAPS_TRY(tune_run_batch(model, &(caps_images){1, noise.images, NULL, NULL}, err));
    CAPS_TRY(caps_runtime_finish(t->rt, err));
done:
    caps_model_free(model);
    caps_random_images_release(&noise);
    return status;
}

/* ---- all of them ---------------------------------------------------------------------------- */

typedef struct tuning {
    const caps_tune *t;
    caps_tune_totals *totals;
    double end;
    size_t weight, weight_done; /* of the choices: shares of the time */
} tuning;

/* Building kernels takes its time. */
static size_t tune_weight(const caps_tune_kind *kind)
{
    return kind->builds ? 8 : 1;
}

/* Saves what is known so far; a cache that cannot be written is worth one warning. */
static void tune_save(const caps_tune *t, caps_tune_totals *totals)
{
    caps_error err = {0};
    if (totals->saved && caps_tuning_save(t->rt, &err) != CAPS_OK) {
        totals->saved = false;
        t->not_saved(t->user, err.message);
    }
}

static caps_status tune_one(
    tuning *w, const caps_tune_kind *kind, const caps_choice *choice, caps_error *err)
{
    const caps_tune *t = w->t;
    caps_tune_result result = {.choice = choice};
    caps_status status = CAPS_OK;
    bool chosen;
    const double now = caps_clock_seconds();
    const double share = (double)tune_weight(kind) / (double)(w->weight - w->weight_done);
    const double before = (double)w->weight_done / (double)w->weight;
    w->weight_done += tune_weight(kind);
    if ((t->is_stopped && t->is_stopped(t->user)) || now >= w->end)
        return CAPS_OK;
    t->progress(t->user, choice->key, before);
    CAPS_TRY(caps_tune_measure_choice(
        t, kind, now + (w->end - now) * share, w->end, &result, &chosen, err));
    if (!chosen)
        goto done;
    const char *best = result.algorithms[result.best];
    CAPS_TRY(caps_tuning_set(t->rt, choice->key, best, 1e3 * result.seconds[result.best], err));
    w->totals->measured++;
    t->result(t->user, &result);
    tune_save(t, w->totals);
done:
    return status;
}

/* Of this kind, and not requested. */
static bool tune_is_of(const caps_choice *choice, const caps_tune_kind *kind)
{
    const size_t n = strlen(kind->name);
    return !choice->requested && strncmp(choice->key, kind->name, n) == 0 && choice->key[n] == ' ';
}

caps_status caps_tune_measure(const caps_tune *t, caps_tune_totals *totals, caps_error *err)
{
    caps_status status = CAPS_OK;
    const caps_choice *recorded;
    const size_t n = caps_tuning_choices(t->rt, &recorded);
    tuning w = {.t = t, .totals = totals, .end = caps_clock_seconds() + t->seconds};
    *totals = (caps_tune_totals){.saved = true};
    /* Measuring may record more choices, and move them: these are the network's. */
    caps_choice *choices = malloc((n + 1) * sizeof *choices);
    if (!choices)
        return caps_fail(err, CAPS_ERR_MEMORY, "tune: out of memory");
    if (n)
        memcpy(choices, recorded, n * sizeof *choices);
    for (const caps_tune_kind *kind = caps_tune_kinds; kind->name; kind++)
        for (size_t i = 0; i < n; i++)
            if (tune_is_of(&choices[i], kind)) {
                w.weight += tune_weight(kind);
                totals->choices++;
            }
    for (const caps_tune_kind *kind = caps_tune_kinds; kind->name; kind++)
        for (size_t i = 0; i < n; i++)
            if (tune_is_of(&choices[i], kind))
                CAPS_TRY(tune_one(&w, kind, &choices[i], err));
done:
    free(choices);
    return status;
}

caps_status caps_tune_measure_speed(const caps_tune *t, caps_tune_totals *totals, caps_error *err)
{
    caps_model_options options = caps_tune_model_options(t);
    caps_random_images noise = {0};
    caps_status status;
    double speed;
    if (t->is_stopped && t->is_stopped(t->user))
        return CAPS_OK;
    options.adam = options.accumulate = true;
    t->progress(t->user, "training", 1);
    CAPS_TRY(caps_random_images_init(&noise, t->spec, t->batch, err));
    CAPS_TRY(caps_speed_measure(&speed, t->rt, t->spec, &options, &noise.all, err));
    CAPS_TRY(caps_speed_keep(t->rt, t->spec, speed, err));
    tune_save(t, totals);
    t->speed(t->user, speed);
done:
    caps_random_images_release(&noise);
    return status;
}
