/* train_resume.c: what the command line may say of a run that is continued; see
 * train_settings.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "json.h"
#include "train_settings.h"
#include "spec.h"

/* Flags that may say something else than the run has, or that say nothing of it. */
static const char *const free_flags[] = {"--out", "--resume", "--data", "--epochs", "--max-steps",
    "--device", "--split", "--reduce", "--keep-going", "--device-timeout", "--time-limit",
    "--kernel-times", "--tensorboard", "--trace", "--trace-events", "--json", "--quiet",
    "--verbose"};

/* Flags that are compared by functions of their own. */
static const char *const compared_flags[] = {"--repeat", "--arch", "--init", "--conv", "--loss",
    "--iterations", "--routing-grad", "--leaky", "--class-bias", "--no-class-bias",
    "--primary-average", "--no-primary-average", "--no-decoder"};

/* Flags whose value stands in the settings under this key ("loss.margin.up": in an object). */
static const struct {
    const char *flag, *key;
} settings[] = {
    {"--profile", "profile"},
    {"--initialiser", "initialiser"},
    {"--batch", "batch"},
    {"--memory-limit", "memory_limit_bytes"},
    {"--optimizer", "optimizer"},
    {"--lr", "rate"},
    {"--lr-decay", "rate_decay"},
    {"--lr-decay-steps", "rate_decay_steps"},
    {"--lr-staircase", "rate_staircase"},
    {"--no-lr-staircase", "rate_staircase"},
    {"--lr-linear", "rate_linear_epochs"},
    {"--lr-min", "rate_min"},
    {"--lr-warmup", "rate_warmup_steps"},
    {"--ema", "ema"},
    {"--layer-lr", "rate_factors"},
    {"--spread-margin", "spread_margin_first"},
    {"--spread-margin", "loss.spread_margin"},
    {"--weight-decay", "weight_decay"},
    {"--margin-positive", "loss.margin_positive"},
    {"--margin-negative", "loss.margin_negative"},
    {"--margin-down", "loss.margin_down"},
    {"--class-mean", "loss.margin_scale"},
    {"--no-class-mean", "loss.margin_scale"},
    {"--reconstruction-weight", "loss.reconstruction_weight"},
    {"--reconstruction-mean", "loss.reconstruction_weight"},
    {"--class-weights", "class_weights"},
    {"--seed", "seed"},
    {"--augment", "augment"},
    {"--affine-rotate", "affine_rotate"},
    {"--affine-squeeze", "affine_squeeze"},
    {"--affine-erase", "affine_erase"},
    {"--no-affine-shift", "affine_shift"},
    {"--crop-brightness", "crop_brightness"},
    {"--crop-contrast", "crop_contrast"},
    {"--flip", "flip"},
    {"--viewpoints", "viewpoints"},
    {"--no-shuffle", "shuffle"},
    {"--limit", "limit"},
    {"--validation", "validation"},
    {"--background", "background"},
    {"--invert", "invert"},
    {"--stretch", "stretch"},
    {"--eval-every", "eval_every"},
    {"--save-every", "save_every"},
};

static bool is_among(const char *flag, const char *const *flags, size_t n)
{
    bool is = false;
    for (size_t i = 0; i < n; i++)
        is = is || strcmp(flag, flags[i]) == 0;
    return is;
}

/* No flag is passed over in silence. */
static caps_status check_known(const caps_args *args, caps_error *err)
{
    for (const caps_flag *f = caps_train_flag_table; f->name; f++) {
        bool known =
            !caps_args_given(args, f->name) ||
            is_among(f->name, free_flags, sizeof free_flags / sizeof free_flags[0]) ||
            is_among(f->name, compared_flags, sizeof compared_flags / sizeof compared_flags[0]);
        for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
            known = known || strcmp(f->name, settings[i].flag) == 0;
        if (!known)
            return caps_cli_usage(
                err, "train: %s with --resume: a run keeps its settings", f->name);
    }
    return CAPS_OK;
}

#define MAY_CHANGE                                                                                 \
    "a run keeps its settings, only --epochs, --max-steps, --device, --split and the place of "    \
    "--data may change"

static caps_status refuse(caps_error *err, const char *flag, const char *given, const char *has)
{
    return caps_cli_usage(err, "train: %s %s with --resume: the run has %s; " MAY_CHANGE, flag,
        *given ? given : "''", *has ? has : "none");
}

static caps_status refuse_switch(caps_error *err, const char *flag)
{
    return caps_cli_usage(
        err, "train: %s with --resume: the run was begun without it; " MAY_CHANGE, flag);
}

static bool is_switch(const char *flag)
{
    const caps_flag *f = caps_train_flag_table;
    while (f->name && strcmp(f->name, flag) != 0)
        f++;
    return f->kind == CAPS_FLAG_SWITCH || f->kind == CAPS_FLAG_OFF;
}

/* ---- settings ------------------------------------------------------------------------------- */

/* The value under "loss.margin_scale"; NULL: there is none. Borrowed. */
static const json_t *look_up(const json_t *object, const char *key)
{
    const char *dot = strchr(key, '.');
    char head[32];
    if (!dot)
        return json_object_get(object, key);
    snprintf(head, sizeof head, "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(object, head), dot + 1);
}

/* As a person writes it: texts without quotes, numbers with so many digits, 0: with all that
 * they have. */
static char *shown(const json_t *value, int digits)
{
    return json_is_string(value) && json_string_length(value) == 0 ? strdup("none")
           : json_is_string(value) ? strdup(json_string_value(value))
           : digits                ? caps_json_format(value, 0, digits)
                                   : caps_json_format_exact(value, 0);
}

static caps_status compare_setting(
    const char *flag, const char *key, const json_t *run, const json_t *given, caps_error *err)
{
    const json_t *has = look_up(run, key), *asked = look_up(given, key);
    caps_status status = CAPS_OK;
    if (json_equal(has, asked))
        return CAPS_OK;
    if (is_switch(flag))
        return refuse_switch(err, flag);
    char *x = shown(has, 6), *y = shown(asked, 6);
    if (x && y && strcmp(x, y) == 0) {
        free(x);
        free(y);
        x = shown(has, 0);
        y = shown(asked, 0);
    }
    status = x && y ? refuse(err, flag, y, x)
                    : caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings");
    free(x);
    free(y);
    return status;
}

/* The profile and the augmentation are not among what caps_train_take_settings takes. */
static void take_names(const caps_train_flags *o, const caps_args *args, caps_train_config *config)
{
    if (o->profile)
        snprintf(config->profile, sizeof config->profile, "%.15s", o->profile);
    if (caps_args_given(args, "--augment"))
        config->augment = (caps_augment)o->augment;
}

/* The settings that the flags name are compared as config.json has them. */
static caps_status compare_settings(const caps_train_flags *o, const caps_args *args,
    const caps_train_config *config, caps_error *err)
{
    caps_train_config given = {CAPS_OPTIONS(caps_train_config)};
    json_t *x = NULL, *y = NULL;
    caps_status status;
    CAPS_TRY(caps_train_config_copy(&given, config, err));
    CAPS_TRY(caps_train_take_settings(o, args, &given, err));
    take_names(o, args, &given);
    CAPS_TRY(caps_config_to_json(&x, config, err));
    CAPS_TRY(caps_config_to_json(&y, &given, err));
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (caps_args_given(args, settings[i].flag))
            CAPS_TRY(compare_setting(settings[i].flag, settings[i].key, x, y, err));
done:
    json_decref(x);
    json_decref(y);
    caps_train_config_release(&given);
    return status;
}

/* ---- the network ---------------------------------------------------------------------------- */

static caps_status compare_network(const caps_train_flags *o, const caps_args *args,
    const caps_train_config *config, caps_error *err)
{
    caps_spec_request requests[CAPS_TRAIN_REQUESTS];
    char iterations[32];
    const size_t n = caps_train_requests(o, args, requests, iterations);
    caps_status status = CAPS_OK;
    bool found = false; /* a layer for one of the option's requests */
    for (size_t i = 0; i < n && status == CAPS_OK; i++) {
        const caps_spec_request *r = &requests[i];
        const bool last = i + 1 == n || strcmp(r[1].option, r->option) != 0;
        char *has;
        status = caps_spec_field_read(&has, config->spec, r->kind, r->field, err);
        found = found || has;
        if (status == CAPS_OK && ((!has && last && !found) || (has && strcmp(has, r->json) != 0)))
            status = is_switch(r->option)
                         ? refuse_switch(err, r->option)
                         : refuse(err, r->option, r->json, has ? has : "no such layer");
        found = found && !last;
        free(has);
    }
    if (status == CAPS_OK && o->no_decoder && caps_model_spec_info(config->spec)->has_decoder)
        status = refuse_switch(err, "--no-decoder");
    return status;
}

/* The same name, or another name of the same file. */
static caps_status compare_file(
    const char *flag, const char *given, const char *has, caps_error *err)
{
    if (!given || strcmp(given, has) == 0 || (*has && caps_path_is_same(given, has)))
        return CAPS_OK;
    return refuse(err, flag, given, has);
}

static caps_status compare_loss(const caps_train_flags *o, const caps_args *args,
    const caps_train_config *config, caps_error *err)
{
    const char *name = o->loss == 0 ? "margin loss" : "spread loss";
    const char *has = caps_loss_name(config->spec, &config->loss);
    if (!caps_args_given(args, "--loss") || strcmp(name, has) == 0)
        return CAPS_OK;
    return refuse(err, "--loss", o->loss == 0 ? "margin" : "spread", has);
}

/* ---- convolutions --------------------------------------------------------------------------- */

/* What "im2col" or "conv1=direct,primary=auto" requests of a layer; "auto" where it names none. */
static void requested_of(char *text, size_t bytes, const char *request, const char *layer, size_t n)
{
    snprintf(text, bytes, "auto");
    for (const char *at = request; *at;) {
        const size_t length = strcspn(at, ","), name = strcspn(at, "=,");
        if (name == length)
            snprintf(text, bytes, "%.*s", (int)length, at);
        else if (name == n && strncmp(at, layer, n) == 0)
            snprintf(text, bytes, "%.*s", (int)(length - name - 1), at + name + 1);
        at += length + (at[length] == ',');
    }
    if (strcmp(text, "spectral") == 0) /* the older name */
        snprintf(text, bytes, "toom-cook");
}

/* A run records what it chose, layer by layer: "conv1=direct,primary=toom-cook". */
static caps_status compare_conv(const char *given, const char *has, caps_error *err)
{
    for (const char *at = has; given && *at;) {
        const size_t length = strcspn(at, ","), name = strcspn(at, "=,");
        char asked[64], runs[64];
        requested_of(asked, sizeof asked, given, at, name);
        snprintf(
            runs, sizeof runs, "%.*s", name < length ? (int)(length - name - 1) : 0, at + name + 1);
        if (strcmp(asked, "auto") != 0 && strcmp(asked, runs) != 0)
            return refuse(err, "--conv", given, has);
        at += length + (at[length] == ',');
    }
    return CAPS_OK;
}

/* ---- all of it ------------------------------------------------------------------------------ */

caps_status caps_train_check_resumed(const caps_train_flags *o, const caps_args *args,
    const caps_train_config *config, size_t seeds, caps_error *err)
{
    char has[32], given[32];
    caps_status status;
    if (o->data && strlen(o->data) >= sizeof config->data)
        CAPS_TRY(caps_cli_usage(err, "--data: a name of %zu bytes is too long, need less than %zu",
            strlen(o->data), sizeof config->data));
    if (caps_args_given(args, "--repeat") && o->repeat != seeds) {
        snprintf(given, sizeof given, "%llu", (unsigned long long)o->repeat);
        if (seeds > 0)
            snprintf(has, sizeof has, "%zu seeds", seeds);
        else
            snprintf(has, sizeof has, "a single seed");
        CAPS_TRY(refuse(err, "--repeat", given, has));
    }
    CAPS_TRY(check_known(args, err));
    CAPS_TRY(compare_file("--arch", o->arch, config->arch, err));
    CAPS_TRY(compare_file("--init", o->init, config->init, err));
    CAPS_TRY(compare_conv(o->common.conv, config->conv, err));
    CAPS_TRY(compare_network(o, args, config, err));
    CAPS_TRY(compare_loss(o, args, config, err));
    CAPS_TRY(compare_settings(o, args, config, err));
done:
    return status;
}

void caps_train_change_resumed(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config)
{
    const bool epochs = caps_args_given(args, "--epochs"),
               steps = caps_args_given(args, "--max-steps");
    if (epochs || steps) {
        config->epochs = epochs ? o->epochs : 0;
        config->max_steps = steps ? o->max_steps : 0;
    }
    if (o->data)
        snprintf(config->data, sizeof config->data, "%s", o->data);
    if (caps_args_given(args, "--reduce"))
        config->reduce = (caps_reduce)o->reduce;
    if (o->split) /* shares that are named are caps_train_control.split */
        config->split_auto = strcmp(o->split, "auto") == 0;
}

caps_status caps_train_explain_data(
    caps_status status, const caps_train_flags *o, const caps_train_config *config, caps_error *err)
{
    char *path = NULL;
    if (status != CAPS_ERR_NOT_FOUND || !o->resume || o->data)
        return status;
    const bool found = caps_dataset_find(&path, config->data, NULL) == CAPS_OK;
    const bool there = found && caps_path_exists(path);
    free(path);
    if (there)
        return status;
    return caps_fail(err, CAPS_ERR_NOT_FOUND,
        "%s: the run's data are not there any more; where they lie now: --data NEW", config->data);
}
