/* repeat_command.c: the command line that repeats a run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "run_record.h"
#include "spec.h"
#include "textbuf.h"

typedef enum flag_kind {
    FLAG_VALUE,
    FLAG_IF_FALSE, /* a switch that turns it off */
    FLAG_IF_TRUE,
} flag_kind;

/* How settings of config.json are written on the command line. Those that are not here, or are
 * handled below, follow from others. */
static const struct {
    const char *key, *flag;
    flag_kind kind;
} setting_flags[] = {
    {"profile", "--profile", FLAG_VALUE},
    {"init", "--init", FLAG_VALUE},
    {"max_steps", "--max-steps", FLAG_VALUE},
    {"batch", "--batch", FLAG_VALUE},
    {"optimizer", "--optimizer", FLAG_VALUE},
    {"rate", "--lr", FLAG_VALUE},
    {"rate_decay", "--lr-decay", FLAG_VALUE},
    {"rate_decay_steps", "--lr-decay-steps", FLAG_VALUE},
    {"rate_linear_epochs", "--lr-linear", FLAG_VALUE},
    {"rate_warmup_steps", "--lr-warmup", FLAG_VALUE},
    {"ema", "--ema", FLAG_VALUE},
    {"rate_factors", "--layer-lr", FLAG_VALUE},
    {"rate_staircase", "--lr-staircase", FLAG_IF_TRUE},
    {"rate_staircase", "--no-lr-staircase", FLAG_IF_FALSE},
    {"rate_min", "--lr-min", FLAG_VALUE},
    {"weight_decay", "--weight-decay", FLAG_VALUE},
    {"initialiser", "--initialiser", FLAG_VALUE},
    {"validation", "--validation", FLAG_VALUE},
    {"seed", "--seed", FLAG_VALUE},
    {"augment", "--augment", FLAG_VALUE},
    {"shuffle", "--no-shuffle", FLAG_IF_FALSE},
    {"limit", "--limit", FLAG_VALUE},
    {"eval_every", "--eval-every", FLAG_VALUE},
    {"save_every", "--save-every", FLAG_VALUE},
    {"memory_limit_bytes", "--memory-limit", FLAG_VALUE},
    {"background", "--background", FLAG_VALUE},
    {"invert", "--invert", FLAG_IF_TRUE},
    {"stretch", "--stretch", FLAG_IF_TRUE},
    {"class_weights", "--class-weights", FLAG_VALUE},
    {"affine_rotate", "--affine-rotate", FLAG_VALUE},
    {"affine_squeeze", "--affine-squeeze", FLAG_VALUE},
    {"affine_erase", "--affine-erase", FLAG_VALUE},
    {"affine_shift", "--no-affine-shift", FLAG_IF_FALSE},
    {"crop_brightness", "--crop-brightness", FLAG_VALUE},
    {"crop_contrast", "--crop-contrast", FLAG_VALUE},
    {"flip", "--flip", FLAG_IF_TRUE},
    {"viewpoints", "--viewpoints", FLAG_VALUE},
};

static void put_quoted(caps_textbuf *out, const char *text)
{
    char *quoted = caps_shell_quoted(text);
    if (quoted)
        caps_textbuf_put(out, "%s", quoted);
    else
        out->out_of_memory = true;
    free(quoted);
}

/* With as few digits as give the same double again. */
static void put_double(caps_textbuf *out, double x)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    caps_textbuf_put(out, "%s", text);
}

static void put_value(caps_textbuf *out, const char *flag, const json_t *value)
{
    caps_textbuf_put(out, " %s ", flag);
    if (json_is_string(value))
        put_quoted(out, json_string_value(value));
    else if (json_is_integer(value))
        caps_textbuf_put(out, "%lld", (long long)json_integer_value(value));
    else
        put_double(out, json_number_value(value));
}

/* ---- what the command gives without flags --------------------------------------------------- */

/* Without --arch the network is the checkpoint's: then it is recorded as that, cut where long. */
static bool is_from_init(const caps_train_config *c)
{
    return c->init[0] && strncmp(c->arch, c->init, sizeof c->arch - 1) == 0;
}

/* The named network, of the run's input and classes. *known is false where the checkpoint of --init
 * is gone: then what its network was cannot be known. Where a file of --arch is gone, all of the
 * network counts as its own. */
static caps_status load_plain_spec(
    caps_model_spec **out, const caps_train_config *c, bool *known, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(c->spec);
    const size_t *source = info->source[0] ? info->source : NULL;
    caps_checkpoint init = {0};
    caps_status status;
    *known = true;
    *out = NULL;
    if (!is_from_init(c)) {
        status = caps_model_spec_load(out, c->arch, NULL);
    } else {
        status = caps_checkpoint_load(&init, c->init, NULL, NULL);
        if (status == CAPS_OK)
            status = caps_model_spec_copy(out, init.spec, NULL);
        caps_checkpoint_release(&init);
        *known = status == CAPS_OK;
    }
    if (status == CAPS_OK)
        status = caps_model_spec_set_input(*out, info->input, source, NULL);
    if (status == CAPS_OK)
        status = caps_model_spec_set_classes(*out, info->classes, NULL);
    if (status == CAPS_OK)
        return CAPS_OK;
    caps_model_spec_free(*out);
    *out = NULL;
    if (status == CAPS_ERR_MEMORY)
        return caps_fail(err, status, "report: out of memory");
    return caps_model_spec_copy(out, c->spec, err);
}

/* The settings that the command line gives without further flags: those of the profile. */
static caps_status make_plain(
    caps_train_config *plain, const caps_train_config *c, bool *known, caps_error *err)
{
    const caps_profile *profile = caps_profile_find(c->profile);
    const bool sized = caps_model_spec_info(c->spec)->source[0] > 0;
    caps_status status;
    CAPS_TRY(caps_train_config_init(plain, err));
    caps_model_spec_free(plain->spec);
    plain->spec = NULL;
    CAPS_TRY(load_plain_spec(&plain->spec, c, known, err));
    if (profile)
        CAPS_TRY(caps_profile_apply(plain, profile, !is_from_init(c), err));
    strcpy(plain->profile, "paper"); /* the one that needs no flag */
    const caps_model_info *info = caps_model_spec_info(plain->spec);
    if (info->labels > 1)
        plain->augment = CAPS_AUGMENT_NONE;
    else if (sized && info->source[0])
        plain->augment = c->augment; /* chosen by the sizes */
done:
    return status;
}

/* ---- flags of network and loss -------------------------------------------------------------- */

/* A field of the network's layers that has a flag: of a value, or two of a switch. */
static const struct {
    const char *kind, *field, *on, *off; /* off NULL: nothing turns it off */
    bool is_switch;
} field_flags[] = {
    {"caps", "routing.iterations", "--iterations", NULL, false},
    {"caps", "routing.grad", "--routing-grad", NULL, false},
    {"caps", "routing.leaky", "--leaky", NULL, true},
    {"caps", "bias", "--class-bias", "--no-class-bias", true},
    {"primary_caps", "average", "--primary-average", "--no-primary-average", true},
};

/* `need` NULL: the field of a network that is not known. */
static void put_field(caps_textbuf *out, size_t i, const char *have, const char *need)
{
    if (need && strcmp(have, need) == 0)
        return;
    if (!field_flags[i].is_switch) {
        const size_t quotes = have[0] == '"';
        caps_textbuf_put(
            out, " %s %.*s", field_flags[i].on, (int)(strlen(have) - 2 * quotes), have + quotes);
        return;
    }
    const bool on = strcmp(have, "true") == 0;
    if (on || (need && field_flags[i].off))
        caps_textbuf_put(out, " %s", on ? field_flags[i].on : field_flags[i].off);
}

/* What of the run's network differs from the named one. */
static caps_status put_network(
    caps_textbuf *out, const caps_model_spec *spec, const caps_model_spec *plain, bool known)
{
    for (size_t i = 0; i < sizeof field_flags / sizeof field_flags[0]; i++) {
        const char *kind = field_flags[i].kind, *field = field_flags[i].field;
        char *have, *need = NULL;
        caps_status status = caps_spec_field_read(&have, spec, kind, field, NULL);
        if (known && status == CAPS_OK)
            status = caps_spec_field_read(&need, plain, kind, field, NULL);
        if (status == CAPS_OK && have && (need || !known))
            put_field(out, i, have, need);
        free(have);
        free(need);
        if (status != CAPS_OK)
            return status;
    }
    const bool decoder = !known || caps_model_spec_info(plain)->has_decoder;
    if (decoder && !caps_model_spec_info(spec)->has_decoder)
        caps_textbuf_put(out, " --no-decoder");
    return CAPS_OK;
}

/* --loss where it is not what the network has anyway, and --spread-margin. */
static void put_spread(
    caps_textbuf *out, const caps_train_config *c, const caps_train_config *plain)
{
    const float *x = &c->loss.spread_margin, *y = &plain->loss.spread_margin;
    const double first = c->spread_margin_first > 0 ? c->spread_margin_first : (double)*x;
    if (c->loss.class_loss != plain->loss.class_loss)
        caps_textbuf_put(
            out, " --loss %s", c->loss.class_loss == CAPS_CLASS_LOSS_MARGIN ? "margin" : "spread");
    if (c->loss.class_loss != CAPS_CLASS_LOSS_SPREAD ||
        (!(fabsf(*x - *y) > 0) && !(fabs(c->spread_margin_first - plain->spread_margin_first) > 0)))
        return;
    caps_textbuf_put(out, " --spread-margin ");
    put_double(out, first);
    caps_textbuf_put(out, ":");
    caps_textbuf_put_float(out, (double)*x);
}

static void put_loss(caps_textbuf *out, const caps_train_config *c, const caps_train_config *plain)
{
    const caps_model_info *info = caps_model_spec_info(c->spec);
    const caps_loss *x = &c->loss, *y = &plain->loss;
    const struct {
        const char *flag;
        float have, need;
    } margins[] = {{"--margin-positive", x->margin.positive, y->margin.positive},
        {"--margin-negative", x->margin.negative, y->margin.negative},
        {"--margin-down", x->margin.down, y->margin.down}};
    const char *name = caps_loss_name(c->spec, x);
    const bool margin_loss = strcmp(name, "margin loss") == 0;
    const bool mean = fabs(x->margin_scale - 1) > 0, plain_mean = fabs(y->margin_scale - 1) > 0;
    put_spread(out, c, plain);
    if (margin_loss && mean != plain_mean)
        caps_textbuf_put(out, " %s", mean ? "--class-mean" : "--no-class-mean");
    for (size_t i = 0; margin_loss && i < sizeof margins / sizeof margins[0]; i++)
        if (fabsf(margins[i].have - margins[i].need) > 0) {
            caps_textbuf_put(out, " %s ", margins[i].flag);
            caps_textbuf_put_float(out, (double)margins[i].have);
        }
    if (info->has_decoder && fabs(x->reconstruction_weight - y->reconstruction_weight) > 0) {
        caps_textbuf_put(out, " --reconstruction-weight ");
        put_double(out, x->reconstruction_weight);
    }
}

/* ---- the command ---------------------------------------------------------------------------- */

/* Settings that differ from the defaults, both as JSON. */
static void put_settings(
    caps_textbuf *out, const caps_train_config *c, const json_t *settings, const json_t *defaults)
{
    for (size_t i = 0; i < sizeof setting_flags / sizeof setting_flags[0]; i++) {
        const char *flag = setting_flags[i].flag;
        const json_t *value = json_object_get(settings, setting_flags[i].key);
        if (c->optimizer == CAPS_OPTIMIZER_SGD && strncmp(flag, "--lr-", 5) == 0)
            continue; /* it has no schedule */
        if (!value || json_equal(value, json_object_get(defaults, setting_flags[i].key)))
            continue;
        if (setting_flags[i].kind == FLAG_VALUE)
            put_value(out, flag, value);
        else if (json_is_true(value) == (setting_flags[i].kind == FLAG_IF_TRUE))
            caps_textbuf_put(out, " %s", flag);
    }
}

/* "RUN-again", quoted. */
static void put_again(caps_textbuf *out, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *again = caps_format("%.*s-again", (int)n, path);
    if (again)
        put_quoted(out, again);
    else
        out->out_of_memory = true;
    free(again);
}

char *caps_repeat_command(const caps_run_record *run)
{
    const caps_train_config *c = &run->config;
    caps_train_config plain = {CAPS_OPTIONS(caps_train_config)};
    caps_textbuf out = {0};
    json_t *defaults = NULL;
    caps_status status;
    bool known;
    CAPS_TRY(make_plain(&plain, c, &known, NULL));
    CAPS_TRY(caps_config_to_json(&defaults, &plain, NULL));
    caps_textbuf_put(&out, "capscl train --data ");
    put_quoted(&out, c->data);
    caps_textbuf_put(&out, " --out ");
    put_again(&out, run->path);
    if (!is_from_init(c) && (c->init[0] || strcmp(c->arch, plain.arch) != 0)) {
        caps_textbuf_put(&out, " --arch ");
        put_quoted(&out, c->arch);
    }
    if (c->epochs && (c->epochs != plain.epochs || c->max_steps))
        caps_textbuf_put(&out, " --epochs %llu", (unsigned long long)c->epochs);
    put_settings(&out, c, run->json, defaults);
    CAPS_TRY(put_network(&out, c->spec, plain.spec, known));
    put_loss(&out, c, &plain);
done:
    json_decref(defaults);
    caps_train_config_release(&plain);
    if (status != CAPS_OK || out.out_of_memory)
        caps_textbuf_release(&out);
    return out.text;
}
