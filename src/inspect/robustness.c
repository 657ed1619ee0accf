/* robustness.c: errors of several models on changed images, by severity or epsilon. */
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"
#include "options.h"

typedef struct robustness robustness;

/* What changes the images of one device. */
typedef struct changer {
    const robustness *r;
    caps_model *attacked; /* gives the gradients; NULL: transforms */
    size_t unchanged;
} changer;

struct robustness {
    caps_robustness_options options;
    const caps_dataset *ds;
    size_t chw[3], pixels;
    changer *changers; /* [lanes] */
    void **users;      /* [lanes]: pointers to them */
    size_t lanes;
    caps_robustness_cell *cell;
    caps_robustness_progress progress; /* of the evaluation that runs */
    bool stopped;
};

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
    const robustness *r = ((const changer *)user)->r;
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
    changer *c = user;
    const robustness *r = c->r;
    const size_t most = caps_model_get_micro_batch(c->attacked), pixels = r->pixels;
    const size_t labels = caps_model_get_info(c->attacked)->labels;
    (void)first;
    for (size_t at = 0; at < batch->b; at += most) {
        const size_t n = batch->b - at < most ? batch->b - at : most;
        const caps_images some = {
            n, batch->images + at * pixels, batch->labels + at * labels, NULL};
        caps_status status = caps_attack_apply(c->attacked, r->options.attack, r->progress.level,
            r->options.steps, &some, changed + at * pixels, err);
        if (status != CAPS_OK)
            return status;
    }
    for (size_t i = 0; i < batch->b; i++)
        c->unchanged +=
            memcmp(batch->images + i * pixels, changed + i * pixels, pixels * sizeof *changed) == 0;
    return CAPS_OK;
}

/* One model at one level. */
static caps_status evaluate_level(
    robustness *r, caps_model *model, caps_model *const *others, double level, caps_error *err)
{
    const caps_evaluate_options options = {CAPS_OPTIONS(caps_evaluate_options),
        .each = robustness_on_image, .each_user = r,
        .change = r->options.attacks ? attack_batch : transform_batch, .change_user = r->users[0],
        .progress = {is_stopped, r}, .others = others, .others_count = r->lanes - 1,
        .others_change_users = r->users + 1};
    caps_evaluation result;
    r->progress.level = level;
    r->progress.done = r->progress.errors = 0;
    *r->cell = (caps_robustness_cell){0};
    for (size_t k = 0; k < r->lanes; k++)
        r->changers[k].unchanged = 0;
    caps_status status = caps_evaluate(model, r->ds, &options, &result, err);
    if (status != CAPS_OK)
        return status;
    r->cell->n = result.n;
    r->cell->errors = result.errors;
    r->cell->labels = result.labels;
    r->cell->label_errors = result.label_errors;
    for (size_t k = 0; k < r->lanes; k++)
        r->cell->unchanged += r->changers[k].unchanged;
    caps_evaluation_release(&result);
    r->progress.evaluation++;
    return CAPS_OK;
}

/* A second model for gradients, of at most as many images at once as the first one takes. */
static caps_status make_attacked(
    const robustness *r, changer *c, caps_model *model, caps_error *err)
{
    size_t batch = caps_model_get_max_batch(model);
    if (batch > r->ds->n)
        batch = r->ds->n;
    return caps_attack_model_create(&c->attacked, model, batch, r->options.conv, err);
}

static void free_attacked(robustness *r)
{
    for (size_t k = 0; r->changers && k < r->lanes; k++) {
        caps_model_free(r->changers[k].attacked);
        r->changers[k].attacked = NULL;
    }
}

static caps_status make_changers(robustness *r, caps_error *err)
{
    r->lanes = 1 + r->options.others_count;
    r->changers = calloc(r->lanes, sizeof *r->changers);
    r->users = calloc(r->lanes, sizeof(void *));
    if (!r->changers || !r->users)
        return caps_fail(err, CAPS_ERR_MEMORY, "robustness: out of memory");
    for (size_t k = 0; k < r->lanes; k++) {
        r->changers[k].r = r;
        r->users[k] = &r->changers[k];
    }
    return CAPS_OK;
}

caps_status caps_robustness(caps_model *const *models, size_t count, const caps_dataset *ds,
    const double *levels, size_t level_count, const caps_robustness_options *options,
    caps_robustness_cell *cells, caps_error *err)
{
    robustness r = {.ds = ds};
    caps_status status;
    CAPS_TRY(caps_options_read(&r.options, sizeof r.options, options, options ? options->size : 0,
        "caps_robustness_options", err));
    if (ds->standardised)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: its images are standardised, need pixels of 0 to 1 to change", ds->path));
    CAPS_TRY(make_changers(&r, err));
    r.progress.evaluations = level_count * count;
    r.progress.total = ds->n;
    for (size_t m = 0; m < count; m++) {
        const caps_model_info *info = caps_model_get_info(models[m]);
        caps_model *const *others = r.lanes > 1 ? r.options.others + m * (r.lanes - 1) : NULL;
        memcpy(r.chw, info->input, sizeof r.chw);
        r.pixels = info->pixels;
        for (size_t k = 0; r.options.attacks && k < r.lanes; k++)
            CAPS_TRY(make_attacked(&r, &r.changers[k], k ? others[k - 1] : models[m], err));
        for (size_t i = 0; i < level_count; i++) {
            r.cell = &cells[i * count + m];
            CAPS_TRY(evaluate_level(&r, models[m], others, levels[i], err));
        }
        free_attacked(&r);
    }
done:
    free_attacked(&r);
    free(r.changers);
    free(r.users);
    return status;
}
