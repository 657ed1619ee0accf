/* robustness.c: errors of several models on changed images, by severity or epsilon. */
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"
#include "options.h"

typedef struct robustness {
    caps_robustness_options options;
    const caps_dataset *ds;
    size_t chw[3], pixels;
    caps_model *attacked; /* gives the gradients; NULL: transforms */
    caps_robustness_cell *cell;
    caps_robustness_progress progress; /* of the evaluation that runs */
    bool stopped;
} robustness;

static void robustness_on_image(void *user, const caps_evaluated *image)
{
    robustness *r = user;
    r->progress.done++;
    r->progress.errors += !image->right;
    if (r->options.progress && r->options.progress(r->options.user, &r->progress))
        r->stopped = true;
}

static bool is_stopped(void *user, size_t done, size_t total)
{
    (void)done;
    (void)total;
    return ((const robustness *)user)->stopped;
}

static caps_status transform_batch(
    void *user, const caps_images *batch, size_t first, float *changed, caps_error *err)
{
    const robustness *r = user;
    (void)err;
    for (size_t i = 0; i < batch->b; i++)
        caps_transform_apply(r->options.transform, r->progress.level, r->options.seed, first + i,
            batch->images + i * r->pixels, changed + i * r->pixels, r->chw[0], r->chw[1],
            r->chw[2]);
    return CAPS_OK;
}

static caps_status attack_batch(
    void *user, const caps_images *batch, size_t first, float *changed, caps_error *err)
{
    robustness *r = user;
    const size_t most = caps_model_get_micro_batch(r->attacked), pixels = r->pixels;
    const size_t labels = caps_model_get_info(r->attacked)->labels;
    (void)first;
    for (size_t at = 0; at < batch->b; at += most) {
        const size_t n = batch->b - at < most ? batch->b - at : most;
        const caps_images some = {
            n, batch->images + at * pixels, batch->labels + at * labels, NULL};
        caps_status status = caps_attack_apply(r->attacked, r->options.attack, r->progress.level,
            r->options.steps, &some, changed + at * pixels, err);
        if (status != CAPS_OK)
            return status;
    }
    for (size_t i = 0; i < batch->b; i++)
        r->cell->unchanged +=
            memcmp(batch->images + i * pixels, changed + i * pixels, pixels * sizeof *changed) == 0;
    return CAPS_OK;
}

/* One model at one level. */
static caps_status evaluate_level(robustness *r, caps_model *model, double level, caps_error *err)
{
    const caps_evaluate_options options = {CAPS_OPTIONS(caps_evaluate_options),
        .each = robustness_on_image, .each_user = r,
        .change = r->options.attacks ? attack_batch : transform_batch, .change_user = r,
        .progress = {is_stopped, r}};
    caps_evaluation result;
    r->progress.level = level;
    r->progress.done = r->progress.errors = 0;
    *r->cell = (caps_robustness_cell){0};
    caps_status status = caps_evaluate(model, r->ds, &options, &result, err);
    if (status != CAPS_OK)
        return status;
    r->cell->n = result.n;
    r->cell->errors = result.errors;
    r->cell->labels = result.labels;
    r->cell->label_errors = result.label_errors;
    caps_evaluation_release(&result);
    r->progress.evaluation++;
    return CAPS_OK;
}

/* A second model for gradients, of at most as many images at once as the first one takes. */
static caps_status make_attacked(robustness *r, caps_model *model, caps_error *err)
{
    size_t batch = caps_model_get_max_batch(model);
    if (batch > r->ds->n)
        batch = r->ds->n;
    return caps_attack_model_create(&r->attacked, model, batch, r->options.conv, err);
}

caps_status caps_robustness(caps_model *const *models, size_t count, const caps_dataset *ds,
    const double *levels, size_t level_count, const caps_robustness_options *options,
    caps_robustness_cell *cells, caps_error *err)
{
    robustness r = {.ds = ds};
    caps_status status;
    CAPS_TRY(caps_options_read(&r.options, sizeof r.options, options, options ? options->size : 0,
        "caps_robustness_options", err));
    r.progress.evaluations = level_count * count;
    r.progress.total = ds->n;
    for (size_t m = 0; m < count; m++) {
        const caps_model_info *info = caps_model_get_info(models[m]);
        memcpy(r.chw, info->input, sizeof r.chw);
        r.pixels = info->pixels;
        if (r.options.attacks)
            CAPS_TRY(make_attacked(&r, models[m], err));
        for (size_t i = 0; i < level_count; i++) {
            r.cell = &cells[i * count + m];
            CAPS_TRY(evaluate_level(&r, models[m], levels[i], err));
        }
        caps_model_free(r.attacked);
        r.attacked = NULL;
    }
done:
    caps_model_free(r.attacked);
    return status;
}
