/* eval_robust.c: see eval_robust.h. */
#include "eval_robust.h"

#include <stdlib.h>
#include <string.h>

#include "attack.h"
#include "batcher.h"
#include "eval_report.h"
#include "evaluate.h"
#include "fail.h"
#include "json.h"
#include "progress.h"
#include "statistics.h"
#include "transform.h"

#define DEFAULT_SEED  1
#define DEFAULT_STEPS 10
#define Z95           1.959964

/* In the order of caps_transform and caps_attack: positions are their values. */
const char *const caps_robust_transforms[] = {"shift", "rotate", "scale", "affine", "noise", NULL};
const char *const caps_robust_attacks[] = {"fgsm", "bim", NULL};

/* ---- flags ---------------------------------------------------------------------------------- */

/* A flag that was given without the one that it belongs to. */
static caps_status check_needs(
    const caps_args *args, const char *flag, const char *needs, caps_error *err)
{
    if (!caps_args_given(args, flag) || caps_args_given(args, needs))
        return CAPS_OK;
    return caps_cli_usage(err, "eval: %s is given without %s", flag, needs);
}

static caps_status check_severity(const caps_robust_options *o, double severity, caps_error *err)
{
    const char *name = caps_transform_name(o->transform);
    const double most = caps_transform_most((caps_transform)o->transform);
    if (severity > most)
        return caps_cli_usage(err,
            "--severity: %g is out of range, need 0 to %g for --transform %s", severity, most,
            name);
    if (o->transform == CAPS_TRANSFORM_SHIFT && severity != (double)(uint64_t)severity)
        return caps_cli_usage(err,
            "--severity: %g is not a whole number, need one for --transform %s", severity, name);
    return CAPS_OK;
}

caps_status caps_robust_check(caps_robust_options *o, const caps_args *args, caps_error *err)
{
    caps_status status;
    o->transforms = caps_args_given(args, "--transform");
    o->attacks = caps_args_given(args, "--attack");
    if (o->transforms && o->attacks)
        return caps_cli_usage(err, "eval: --transform and --attack are both given, need one");
    CAPS_TRY(check_needs(args, "--severity", "--transform", err));
    CAPS_TRY(check_needs(args, "--transform-seed", "--transform", err));
    CAPS_TRY(check_needs(args, "--epsilon", "--attack", err));
    CAPS_TRY(check_needs(args, "--attack-steps", "--attack", err));
    CAPS_TRY(check_needs(args, "--transform", "--severity", err));
    CAPS_TRY(check_needs(args, "--attack", "--epsilon", err));
    for (size_t i = 0; i < o->severity.count; i++)
        CAPS_TRY(check_severity(o, o->severity.values[i], err));
    if (o->attack == CAPS_ATTACK_FGSM && caps_args_given(args, "--attack-steps"))
        return caps_cli_usage(err, "--attack-steps: fgsm has one step, need --attack bim");
    if (!caps_args_given(args, "--transform-seed"))
        o->seed = DEFAULT_SEED;
    if (!caps_args_given(args, "--attack-steps"))
        o->steps = o->attack == CAPS_ATTACK_BIM ? DEFAULT_STEPS : 1;
done:
    return status;
}

/* ---- evaluation ----------------------------------------------------------------------------- */

/* A cell of the table. */
typedef struct cell {
    size_t n, errors, labels, label_errors; /* labels: of an image */
    size_t unchanged;                       /* images that an attack could not change */
    double low, high;                       /* of the error, in percent */
    double label_low, label_high;           /* of that of single labels */
} cell;

typedef struct robust {
    const caps_robust_options *o;
    const caps_reals *levels;
    const caps_dataset *ds;
    size_t chw[3];
    caps_model *attacked; /* gives the gradients; NULL: transforms */
    double level;
    cell *cell;           /* being filled, */
    size_t number, cells; /* of so many */
    size_t seen, errors;  /* in it */
} robust;

static void on_image(void *user, const caps_evaluated *image)
{
    robust *r = user;
    r->seen++;
    r->errors += !image->right;
    if (!caps_progress_due())
        return;
    char bar[32];
    const double here = (double)r->seen / (double)r->ds->n;
    const double fraction = ((double)r->number + here) / (double)r->cells;
    caps_progress_show("evaluating %s %3.0f %%  %s %g: error %.2f %%",
        caps_progress_bar(bar, fraction), 100 * fraction, r->o->attacks ? "epsilon" : "severity",
        r->level, 100 * (double)r->errors / (double)r->seen);
}

static caps_status transform(
    void *user, const caps_batch *batch, size_t first, float *images, caps_error *err)
{
    const robust *r = user;
    const size_t pixels = r->chw[0] * r->chw[1] * r->chw[2];
    (void)err;
    for (size_t i = 0; i < batch->n; i++)
        caps_transform_apply((caps_transform)r->o->transform, r->level, r->o->seed, first + i,
            batch->images + i * pixels, images + i * pixels, r->chw[0], r->chw[1], r->chw[2]);
    return CAPS_OK;
}

static caps_status attack(
    void *user, const caps_batch *batch, size_t first, float *images, caps_error *err)
{
    robust *r = user;
    const size_t pixels = r->chw[0] * r->chw[1] * r->chw[2],
                 most = caps_model_get_max_batch(r->attacked);
    (void)first;
    for (size_t at = 0; at < batch->n; at += most) {
        const size_t n = batch->n - at < most ? batch->n - at : most;
        const caps_images some = {
            n, batch->images + at * pixels, batch->labels + at * batch->labels_per_image, NULL};
        caps_status status = caps_attack_apply(r->attacked, (caps_attack)r->o->attack, r->level,
            r->o->steps, &some, images + at * pixels, err);
        if (status != CAPS_OK)
            return status;
    }
    for (size_t i = 0; i < batch->n; i++)
        r->cell->unchanged +=
            memcmp(batch->images + i * pixels, images + i * pixels, pixels * sizeof *images) == 0;
    return CAPS_OK;
}

/* A second model with the same parameters, for gradients; as many images at once as fit, at most as
 * the first one takes. */
static caps_status make_attacked(robust *r, caps_model *model, caps_error *err)
{
    caps_runtime *rt = caps_model_get_runtime(model);
    size_t batch = caps_model_get_max_batch(model);
    if (batch > r->ds->n)
        batch = r->ds->n;
    caps_model_options options = caps_attack_model_options(batch);
    options.conv = r->o->conv;
    options.loss = caps_model_get_loss(model);
    float *flat = malloc(caps_model_flat_count(model) * sizeof *flat);
    caps_status status;
    if (!flat)
        return caps_fail(err, CAPS_ERR_MEMORY, "attack: out of memory for the parameters");
    CAPS_TRY(
        caps_cli_model_create(&r->attacked, rt, caps_model_get_spec(model), &options, &batch, err));
    CAPS_TRY(caps_model_get_parameters(model, flat, err));
    CAPS_TRY(caps_model_set_parameters(r->attacked, flat, err));
done:
    free(flat);
    return status;
}

/* One model's column. cells: [levels, count]. */
static caps_status evaluate_model(
    robust *r, caps_model *model, size_t column, size_t count, cell *cells, caps_error *err)
{
    caps_status status = CAPS_OK;
    memcpy(r->chw, caps_model_get_spec(model)->input, sizeof r->chw);
    if (r->o->attacks)
        CAPS_TRY(make_attacked(r, model, err));
    const caps_evaluate_options options = {.each = on_image,
        .each_user = r,
        .change = r->o->attacks ? attack : transform,
        .change_user = r};
    for (size_t i = 0; i < r->levels->count; i++) {
        caps_evaluation result;
        r->level = r->levels->values[i];
        r->cell = &cells[i * count + column];
        r->seen = r->errors = 0;
        CAPS_TRY(caps_evaluate_with(model, r->ds, &result, &options, err));
        r->cell->n = result.n;
        r->cell->errors = result.errors;
        r->cell->labels = result.labels;
        r->cell->label_errors = result.label_errors;
        caps_wilson(result.errors, result.n, Z95, &r->cell->low, &r->cell->high);
        r->cell->low *= 100;
        r->cell->high *= 100;
        caps_wilson(result.label_errors, result.n * result.labels, Z95, &r->cell->label_low,
            &r->cell->label_high);
        r->cell->label_low *= 100;
        r->cell->label_high *= 100;
        caps_evaluation_release(&result);
        r->number++;
    }
done:
    caps_model_free(r->attacked);
    r->attacked = NULL;
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

static double percent(const cell *c)
{
    return 100 * (double)c->errors / (double)c->n;
}

static double label_percent(const cell *c)
{
    return 100 * (double)c->label_errors / (double)(c->n * c->labels);
}

static json_t *json_cell(const cell *c, const char *name, bool attacks)
{
    json_t *value = json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "model", caps_json_text(name),
        "n", (json_int_t)c->n, "errors", (json_int_t)c->errors, "error_percent",
        caps_json_double(percent(c)), "error_low_percent", caps_json_double(c->low),
        "error_high_percent", caps_json_double(c->high));
    if (value && c->labels > 1) {
        json_object_set_new(value, "label_errors", json_integer((json_int_t)c->label_errors));
        json_object_set_new(value, "label_error_percent", caps_json_double(label_percent(c)));
        json_object_set_new(value, "label_error_low_percent", caps_json_double(c->label_low));
        json_object_set_new(value, "label_error_high_percent", caps_json_double(c->label_high));
    }
    if (value && attacks)
        json_object_set_new(value, "unchanged", json_integer((json_int_t)c->unchanged));
    return value;
}

static caps_status print_json(caps_runtime *rt, const robust *r, const cell *cells,
    const char *const *names, size_t count, caps_error *err)
{
    const caps_robust_options *o = r->o;
    json_t *rows = json_array();
    for (size_t i = 0; rows && i < r->levels->count; i++) {
        json_t *models = json_array();
        for (size_t m = 0; models && m < count; m++)
            json_array_append_new(models, json_cell(&cells[i * count + m], names[m], o->attacks));
        json_array_append_new(rows, json_pack("{s:o, s:o}", o->attacks ? "epsilon" : "severity",
                                        caps_json_double(r->levels->values[i]), "models", models));
    }
    return caps_cli_print_json(
        json_pack("{s:s, s:I, s:o, s:o}", o->attacks ? "attack" : "transform",
            o->attacks ? caps_attack_name(o->attack) : caps_transform_name(o->transform),
            o->attacks ? "steps" : "seed", (json_int_t)(o->attacks ? o->steps : o->seed), "rows",
            rows, "device", caps_json_text(caps_runtime_device(rt)->name)),
        err);
}

/* labels: of single labels, else of whole images. */
static void print_table(const robust *r, const cell *cells, size_t count, bool labels)
{
    enum { WIDTH = 26 };
    printf("\n%9s", r->o->attacks ? "epsilon" : "severity");
    for (size_t m = 0; m < count; m++) {
        char title[32];
        snprintf(title, sizeof title, "model %zu", m + 1);
        printf("  %*s", WIDTH, title);
    }
    printf("\n");
    for (size_t i = 0; i < r->levels->count; i++) {
        printf("%9g", r->levels->values[i]);
        for (size_t m = 0; m < count; m++) {
            const cell *c = &cells[i * count + m];
            char text[64];
            snprintf(text, sizeof text, "%.2f %% (%.2f to %.2f)",
                labels ? label_percent(c) : percent(c), labels ? c->label_low : c->low,
                labels ? c->label_high : c->high);
            printf("  %*s", WIDTH, text);
        }
        printf("\n");
    }
}

static void print_text(const robust *r, const cell *cells, const char *const *names, size_t count)
{
    const caps_robust_options *o = r->o;
    if (o->attacks)
        printf("attack %s", caps_attack_name(o->attack));
    else
        printf("transform %s, seed %llu", caps_transform_name(o->transform),
            (unsigned long long)o->seed);
    if (o->attacks && o->attack == CAPS_ATTACK_BIM)
        printf(", %llu steps", (unsigned long long)o->steps);
    printf(": error of %zu %s (95 %% interval)\n", r->ds->n, caps_images_name(cells[0].labels));
    for (size_t m = 0; m < count; m++)
        printf("model %zu: %s\n", m + 1, names[m]);
    print_table(r, cells, count, false);
    if (cells[0].labels > 1) {
        printf("\nof single digits");
        print_table(r, cells, count, true);
    }
    /* A loss that is 0 has no gradient: what the attack cannot change is no proof of strength. */
    for (size_t m = 0; o->attacks && m < count; m++)
        for (size_t i = r->levels->count; i-- > 0;) {
            const cell *c = &cells[i * count + m];
            if (!(r->levels->values[i] > 0))
                continue;
            printf("%smodel %zu: %zu images left as they are at epsilon %g, their loss has no "
                   "gradient\n",
                m ? "" : "\n", m + 1, c->unchanged, r->levels->values[i]);
            break;
        }
}

caps_status caps_eval_robust(caps_runtime *rt, caps_model *const *models, const char *const *names,
    size_t count, const caps_dataset *ds, const caps_robust_options *o, bool json, caps_error *err)
{
    robust r = {.o = o, .ds = ds, .levels = o->attacks ? &o->epsilon : &o->severity};
    caps_status status = CAPS_OK;
    r.cells = r.levels->count * count;
    cell *cells = calloc(r.cells, sizeof *cells);
    if (!cells)
        return caps_fail(err, CAPS_ERR_MEMORY, "eval: out of memory for %zu results", r.cells);
    for (size_t m = 0; m < count; m++)
        CAPS_TRY(evaluate_model(&r, models[m], m, count, cells, err));
    caps_progress_clear();
    if (json)
        CAPS_TRY(print_json(rt, &r, cells, names, count, err));
    else
        print_text(&r, cells, names, count);
done:
    caps_progress_clear();
    free(cells);
    return status;
}
