/* eval_robust.c: see eval_robust.h. */
#include "eval_robust.h"

#include <stdlib.h>

#include "cli_inspect.h"
#include "eval_report.h"
#include "fail.h"
#include "json.h"
#include "progress.h"

#define DEFAULT_SEED  1
#define DEFAULT_STEPS 10
/* CAPS_Z95 with seven digits, as these tables always had it: their JSON stays the same. */
#define ROBUST_Z95 1.959964

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
    const double most = caps_transform_max_severity((caps_transform)o->transform);
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

/* The table. */
typedef struct robust {
    const caps_robust_options *o;
    const caps_reals *levels;
    const caps_robustness_cell *cells; /* [levels, models] */
    const char *const *names;          /* [models] */
    size_t models;
} robust;

static bool robust_progress(void *user, const caps_robustness_progress *p)
{
    const robust *r = user;
    const double here = (double)p->done / (double)p->total;
    char what[64];
    if (!caps_progress_due())
        return false;
    snprintf(what, sizeof what, "%s %g: ", r->o->attacks ? "epsilon" : "severity", p->level);
    caps_cli_error_progress(
        ((double)p->evaluation + here) / (double)p->evaluations, what, p->errors, p->done);
    return false;
}

/* A share of errors in percent, with the ends of its interval. */
typedef struct share {
    double percent, low, high;
} share;

static share share_of(size_t errors, size_t n)
{
    share s;
    caps_wilson(errors, n, ROBUST_Z95, &s.low, &s.high);
    s.percent = 100 * (double)errors / (double)n;
    s.low *= 100;
    s.high *= 100;
    return s;
}

static share error_of(const caps_robustness_cell *c)
{
    return share_of(c->errors, c->n);
}

static share label_error_of(const caps_robustness_cell *c)
{
    return share_of(c->label_errors, c->n * c->labels);
}

/* ---- results -------------------------------------------------------------------------------- */

static json_t *json_cell(const caps_robustness_cell *c, const char *name, bool attacks)
{
    const share error = error_of(c), labels = label_error_of(c);
    json_t *value = json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "model", caps_json_text(name), "n",
        (json_int_t)c->n, "errors", (json_int_t)c->errors, "error_percent",
        caps_json_double(error.percent), "error_low_percent", caps_json_double(error.low),
        "error_high_percent", caps_json_double(error.high));
    if (c->labels > 1) {
        caps_json_set(&value, "label_errors", json_integer((json_int_t)c->label_errors));
        caps_json_set(&value, "label_error_percent", caps_json_double(labels.percent));
        caps_json_set(&value, "label_error_low_percent", caps_json_double(labels.low));
        caps_json_set(&value, "label_error_high_percent", caps_json_double(labels.high));
    }
    if (attacks)
        caps_json_set(&value, "unchanged", json_integer((json_int_t)c->unchanged));
    return value;
}

static caps_status robust_print_json(const caps_runtime *rt, const robust *r, caps_error *err)
{
    const caps_robust_options *o = r->o;
    json_t *rows = json_array();
    for (size_t i = 0; i < r->levels->count; i++) {
        json_t *models = json_array();
        for (size_t m = 0; m < r->models; m++)
            caps_json_append(
                &models, json_cell(&r->cells[i * r->models + m], r->names[m], o->attacks));
        caps_json_append(&rows, json_pack("{s:o, s:o}", o->attacks ? "epsilon" : "severity",
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
static void print_table(const robust *r, bool labels)
{
    enum { WIDTH = 26 };
    printf("\n%9s", r->o->attacks ? "epsilon" : "severity");
    for (size_t m = 0; m < r->models; m++) {
        char title[32];
        snprintf(title, sizeof title, "model %zu", m + 1);
        printf("  %*s", WIDTH, title);
    }
    printf("\n");
    for (size_t i = 0; i < r->levels->count; i++) {
        printf("%9g", r->levels->values[i]);
        for (size_t m = 0; m < r->models; m++) {
            const caps_robustness_cell *c = &r->cells[i * r->models + m];
            const share s = labels ? label_error_of(c) : error_of(c);
            char text[64];
            snprintf(text, sizeof text, "%.2f %% (%.2f to %.2f)", s.percent, s.low, s.high);
            printf("  %*s", WIDTH, text);
        }
        printf("\n");
    }
}

/* A loss that is 0 has no gradient: what the attack cannot change is no proof of strength. Of each
 * model at the last epsilon above 0. */
static void print_unchanged(const robust *r)
{
    for (size_t m = 0; m < r->models; m++)
        for (size_t i = r->levels->count; i-- > 0;) {
            const caps_robustness_cell *c = &r->cells[i * r->models + m];
            if (!(r->levels->values[i] > 0))
                continue;
            printf("%smodel %zu: %zu images left as they are at epsilon %g, their loss has no "
                   "gradient\n",
                m ? "" : "\n", m + 1, c->unchanged, r->levels->values[i]);
            break;
        }
}

static void robust_print_text(const robust *r)
{
    const caps_robust_options *o = r->o;
    const caps_robustness_cell *first = &r->cells[0];
    if (o->attacks)
        printf("attack %s", caps_attack_name(o->attack));
    else
        printf("transform %s, seed %llu", caps_transform_name(o->transform),
            (unsigned long long)o->seed);
    if (o->attacks && o->attack == CAPS_ATTACK_BIM)
        printf(", %llu steps", (unsigned long long)o->steps);
    printf(": error of %zu %s (95 %% interval)\n", first->n, caps_images_name(first->labels));
    for (size_t m = 0; m < r->models; m++)
        printf("model %zu: %s\n", m + 1, caps_cli_shown(r->names[m]));
    print_table(r, false);
    if (first->labels > 1) {
        printf("\nof single digits");
        print_table(r, true);
    }
    if (o->attacks)
        print_unchanged(r);
}

caps_status caps_eval_robust(caps_model *const *models, caps_model *const *others,
    size_t others_count, const char *const *names, size_t count, const caps_dataset *ds,
    const caps_robust_options *o, bool json, caps_error *err)
{
    caps_runtime *rt = caps_model_get_runtime(models[0]);
    robust r = {
        .o = o, .levels = o->attacks ? &o->epsilon : &o->severity, .names = names, .models = count};
    const caps_robustness_options options = {CAPS_OPTIONS(caps_robustness_options),
        .attacks = o->attacks, .transform = (caps_transform)o->transform, .seed = o->seed,
        .attack = (caps_attack)o->attack, .steps = o->steps, .conv = o->conv,
        .progress = robust_progress, .user = &r, .others = others, .others_count = others_count};
    caps_status status;
    caps_robustness_cell *cells = calloc(r.levels->count * count, sizeof *cells);
    if (!cells)
        return caps_fail(
            err, CAPS_ERR_MEMORY, "eval: out of memory for %zu results", r.levels->count * count);
    r.cells = cells;
    status =
        caps_robustness(models, count, ds, r.levels->values, r.levels->count, &options, cells, err);
    caps_progress_clear();
    CAPS_TRY(caps_cli_explain_model(status, rt, names[0],
        &(caps_model_options){CAPS_OPTIONS(caps_model_options)},
        &(caps_open_options){CAPS_OPTIONS(caps_open_options), .fitting = true}, err));
    if (json)
        CAPS_TRY(robust_print_json(rt, &r, err));
    else
        robust_print_text(&r);
done:
    free(cells);
    return status;
}
