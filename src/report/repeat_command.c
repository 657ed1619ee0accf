/* repeat_command.c: the command line that repeats a run. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "run_record.h"
#include "textbuf.h"

typedef enum flag_kind {
    FLAG_VALUE,
    FLAG_IF_FALSE, /* a switch that turns it off */
    FLAG_IF_TRUE,
} flag_kind;

/* How settings of config.json are written on the command line: those that are not here (or are
 * handled apart below) follow from others. */
static const struct {
    const char *key, *flag;
    flag_kind kind;
} rows[] = {
    {"profile", "--profile", FLAG_VALUE},
    {"init", "--init", FLAG_VALUE},
    {"max_steps", "--max-steps", FLAG_VALUE},
    {"batch", "--batch", FLAG_VALUE},
    {"optimizer", "--optimizer", FLAG_VALUE},
    {"rate", "--lr", FLAG_VALUE},
    {"rate_decay", "--lr-decay", FLAG_VALUE},
    {"rate_decay_steps", "--lr-decay-steps", FLAG_VALUE},
    {"rate_linear_epochs", "--lr-linear", FLAG_VALUE},
    {"rate_factors", "--layer-lr", FLAG_VALUE},
    {"rate_staircase", "--lr-staircase", FLAG_IF_TRUE},
    {"rate_staircase", "--no-lr-staircase", FLAG_IF_FALSE},
    {"rate_min", "--lr-min", FLAG_VALUE},
    {"initialiser", "--initialiser", FLAG_VALUE},
    {"validation", "--validation", FLAG_VALUE},
    {"seed", "--seed", FLAG_VALUE},
    {"augment", "--augment", FLAG_VALUE},
    {"shuffle", "--no-shuffle", FLAG_IF_FALSE},
    {"limit", "--limit", FLAG_VALUE},
    {"eval_every", "--eval-every", FLAG_VALUE},
    {"save_every", "--save-every", FLAG_VALUE},
    {"memory_limit_bytes", "--memory-limit", FLAG_VALUE},
};

static void put_quoted(caps_html *out, const char *text)
{
    char *quoted = caps_shell_quoted(text);
    if (quoted)
        caps_html_put(out, "%s", quoted);
    else
        out->out_of_memory = true;
    free(quoted);
}

static void put_flag(caps_html *out, const char *flag, const json_t *value)
{
    caps_html_put(out, " %s ", flag);
    if (json_is_string(value)) {
        put_quoted(out, json_string_value(value));
    } else if (json_is_integer(value)) {
        caps_html_put(out, "%lld", (long long)json_integer_value(value));
    } else {
        const double x = json_number_value(value);
        char text[40];
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, x);
            if (strtod(text, NULL) == x)
                break;
        }
        caps_html_put(out, "%s", text);
    }
}

/* The network of --init as it is in the file. Where that is gone, one that has none of the
 * network's settings, so that each of them gets its flag: those that the file had are said twice.
 */
static caps_model_spec spec_of_init(const caps_train_config *c)
{
    caps_checkpoint init = {0};
    caps_model_spec spec = c->spec;
    if (caps_checkpoint_load(&init, c->init, NULL, NULL) == CAPS_OK) {
        spec = init.spec;
        caps_checkpoint_release(&init);
        return spec;
    }
    spec.class_caps.iterations = 0;
    spec.class_caps.routing_grad = spec.class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL
                                       ? CAPS_ROUTING_GRAD_LAST
                                       : CAPS_ROUTING_GRAD_FULL;
    spec.class_caps.leaky = spec.class_caps.bias = spec.primary.average = false;
    spec.has_decoder = true;
    return spec;
}

/* The settings that the command line gives without further flags: those of the profile. */
static caps_train_config plain_config(const caps_train_config *c, bool from_init)
{
    const caps_profile *profile = caps_profile_find(c->profile);
    caps_train_config plain = caps_train_config_default();
    if (from_init)
        plain.spec = spec_of_init(c);
    else if (caps_model_spec_load(&plain.spec, c->arch, NULL) != CAPS_OK)
        plain.spec = c->spec; /* the file of --arch is gone: all of the network is its own */
    memcpy(plain.spec.input, c->spec.input, sizeof plain.spec.input);
    plain.spec.classes = c->spec.classes;
    if (profile)
        caps_profile_apply(&plain, profile, !from_init);
    strcpy(plain.profile, "paper"); /* the one that needs no flag */
    if (plain.spec.labels > 1)
        plain.augment = CAPS_AUGMENT_NONE;
    else if (c->spec.source[0] && plain.spec.source[0])
        plain.augment = c->augment; /* chosen by the sizes */
    return plain;
}

/* With as few digits as give the same float again. */
static void put_float(caps_html *out, const char *flag, float value)
{
    char text[32];
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (!(fabsf(strtof(text, NULL) - value) > 0))
            break;
    }
    caps_html_put(out, " %s %s", flag, text);
}

/* The network's and the loss's flags. */
static void put_terms(caps_html *out, const caps_train_config *c, const caps_train_config *plain)
{
    const caps_model_spec *x = &c->spec, *y = &plain->spec;
    const double weight = c->loss.reconstruction_weight;
    const struct {
        const char *flag;
        float have, need;
    } margins[] = {{"--margin-positive", c->loss.margin.positive, plain->loss.margin.positive},
        {"--margin-negative", c->loss.margin.negative, plain->loss.margin.negative},
        {"--margin-down", c->loss.margin.down, plain->loss.margin.down}};
    const struct {
        const char *on, *off; /* off NULL: nothing turns it off, nor on but this flag */
        bool have, need;
    } switches[] = {{"--leaky", NULL, x->class_caps.leaky, y->class_caps.leaky},
        {"--class-bias", "--no-class-bias", x->class_caps.bias, y->class_caps.bias},
        {"--primary-average", "--no-primary-average", x->primary.average, y->primary.average},
        {"--no-decoder", NULL, !x->has_decoder, !y->has_decoder},
        {"--class-mean", "--no-class-mean", fabs(c->loss.margin_scale - 1) > 0,
            fabs(plain->loss.margin_scale - 1) > 0}};
    if (strcmp(x->kind, "capsnet") != 0)
        return;
    if (x->class_caps.iterations != y->class_caps.iterations)
        caps_html_put(out, " --iterations %zu", x->class_caps.iterations);
    if (x->class_caps.routing_grad != y->class_caps.routing_grad)
        caps_html_put(out, " --routing-grad %s",
            x->class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL ? "full" : "last");
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (switches[i].have != switches[i].need && (switches[i].have || switches[i].off))
            caps_html_put(out, " %s", switches[i].have ? switches[i].on : switches[i].off);
    for (size_t i = 0; i < sizeof margins / sizeof margins[0]; i++)
        if (fabsf(margins[i].have - margins[i].need) > 0)
            put_float(out, margins[i].flag, margins[i].have);
    if (x->has_decoder && fabs(weight - plain->loss.reconstruction_weight) > 0) {
        json_t *value = json_real(weight);
        put_flag(out, "--reconstruction-weight", value);
        json_decref(value);
    }
}

char *caps_run_command(const caps_run *run)
{
    const caps_train_config *c = &run->config;
    /* Without --arch the network is the checkpoint's: then it is recorded as that, cut where long.
     */
    const bool from_init = c->init[0] && strncmp(c->arch, c->init, sizeof c->arch - 1) == 0;
    const caps_train_config plain = plain_config(c, from_init);
    caps_html out = {0};
    json_t *defaults = NULL;
    size_t n = strlen(run->path);
    while (n > 1 && run->path[n - 1] == '/')
        n--;
    char *again = caps_format("%.*s-again", (int)n, run->path);
    if (!again || caps_config_to_json(&defaults, &plain, NULL) != CAPS_OK) {
        free(again);
        return NULL;
    }
    caps_html_put(&out, "capscl train --data ");
    put_quoted(&out, c->data);
    caps_html_put(&out, " --out ");
    put_quoted(&out, again);
    if (!from_init && (c->init[0] || strcmp(c->arch, plain.arch) != 0)) {
        caps_html_put(&out, " --arch ");
        put_quoted(&out, c->arch);
    }
    if (c->epochs && (c->epochs != plain.epochs || c->max_steps))
        caps_html_put(&out, " --epochs %llu", (unsigned long long)c->epochs);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const json_t *value = json_object_get(run->json, rows[i].key);
        if (c->optimizer == CAPS_OPTIMIZER_SGD && strncmp(rows[i].flag, "--lr-", 5) == 0)
            continue; /* it has no schedule */
        if (!value || json_equal(value, json_object_get(defaults, rows[i].key)))
            continue;
        if (rows[i].kind == FLAG_VALUE)
            put_flag(&out, rows[i].flag, value);
        else if (json_is_true(value) == (rows[i].kind == FLAG_IF_TRUE))
            caps_html_put(&out, " %s", rows[i].flag);
    }
    put_terms(&out, c, &plain);
    json_decref(defaults);
    free(again);
    if (out.out_of_memory)
        caps_html_release(&out);
    return out.text;
}
