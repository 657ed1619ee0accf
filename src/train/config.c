/* config.c: settings of a run: storage, defaults, checks, and the model that they ask for. */
#include "config.h"

#include <float.h>
#include <stddef.h>
#include <string.h>

#include "class_weights.h"
#include "config_table.h"
#include "fail.h"
#include "start.h"
#include "picture.h"

/* ---- storage -------------------------------------------------------------------------------- */

caps_status caps_config_give(caps_train_config *to, caps_train_config *from, caps_error *err)
{
    const size_t size = to->size;
    if (size < offsetof(caps_train_config, arch) || size > sizeof *from)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "caps_train_config: size is %zu, need %zu to %zu: CAPS_OPTIONS(caps_train_config)",
            size, offsetof(caps_train_config, arch), sizeof *from);
    memcpy(to, from, size);
    to->size = size;
    from->spec = NULL;
    return CAPS_OK;
}

caps_status caps_train_config_init(caps_train_config *config, caps_error *err)
{
    caps_train_config c = {
        CAPS_OPTIONS(caps_train_config),
        .arch = "mnist",
        .optimizer = CAPS_OPTIMIZER_ADAM,
        .seed = 1,
        .augment = CAPS_AUGMENT_SHIFT2,
        .augment_options = CAPS_AUGMENT_DEFAULTS,
        .shuffle = true,
        .eval_every = 1,
    };
    caps_status status;
    CAPS_TRY(caps_model_spec_load(&c.spec, "mnist", err));
    CAPS_TRY(caps_profile_apply(&c, caps_profile_at(0), true, err));
    CAPS_TRY(caps_config_give(config, &c, err));
done:
    caps_train_config_release(&c);
    return status;
}

caps_status caps_train_config_copy(
    caps_train_config *to, const caps_train_config *from, caps_error *err)
{
    caps_train_config c;
    caps_status status;
    CAPS_TRY(caps_options_read(&c, sizeof c, from, from->size, "caps_train_config", err));
    c.spec = NULL;
    CAPS_TRY(caps_model_spec_copy(&c.spec, from->spec, err));
    status = caps_config_give(to, &c, err);
    caps_train_config_release(&c);
done:
    return status;
}

void caps_train_config_release(caps_train_config *config)
{
    caps_model_spec_free(config->spec);
    config->spec = NULL;
}

/* ---- the model ------------------------------------------------------------------------------ */

static caps_routing_algorithm config_routing(const caps_train_config *config)
{
    for (int i = CAPS_ROUTING_STORED; i <= CAPS_ROUTING_FUSED; i++)
        if (strcmp(config->routing, caps_routing_algorithm_name((caps_routing_algorithm)i)) == 0)
            return (caps_routing_algorithm)i;
    return CAPS_ROUTING_AUTO;
}

caps_model_options caps_config_model_options(const caps_train_config *config, size_t images)
{
    return (caps_model_options){
        CAPS_OPTIONS(caps_model_options),
        .max_batch = config->batch < images ? config->batch : images,
        .training = true,
        .adam = config->optimizer == CAPS_OPTIMIZER_ADAM,
        .average = config->ema > 0,
        .memory_limit_bytes = config->memory_limit_bytes,
        .accumulate = true,
        .micro_batch = config->micro_batch,
        .conv = config->conv[0] ? config->conv : NULL,
        .lr_multipliers = config->lr_multipliers[0] ? config->lr_multipliers : NULL,
        .routing_algorithm = config_routing(config),
        .loss = &config->loss,
        .weight_decay = config->weight_decay,
    };
}

/* ---- checks --------------------------------------------------------------------------------- */

/* What the table says of each setting by itself. */
static caps_status check_setting(
    const caps_setting *s, const caps_train_config *config, caps_error *err)
{
    if (s->type == CAPS_SETTING_REAL) {
        double value;
        memcpy(&value, caps_setting_at(s, config), sizeof value);
        if (!(s->positive ? value > 0 : value >= 0) ||
            !(value < s->most || (!s->open && value <= s->most)))
            return caps_fail(err, CAPS_ERR_ARGUMENT, "train: %s is %g, need %s 0 and %s %g",
                s->name, value, s->positive ? ">" : ">=", s->open ? "<" : "<=", s->most);
    }
    if (s->type == CAPS_SETTING_CHOICE && !s->value(caps_setting_choice(s, config)))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: %s is %d, which there is not", s->name,
            caps_setting_choice(s, config));
    return CAPS_OK;
}

static caps_status check_loss(const caps_loss *loss, caps_error *err)
{
    const struct {
        const char *name;
        double value;
    } terms[] = {{"margin m+", (double)loss->margin.positive},
        {"margin m-", (double)loss->margin.negative},
        {"weight of absent classes", (double)loss->margin.down},
        {"scale of the margin loss", loss->margin_scale},
        {"weight of the reconstruction", loss->reconstruction_weight}};
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
        if (!(terms[i].value >= 0) || terms[i].value > (double)FLT_MAX)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "train: %s is %g, need 0 or more",
                terms[i].name, terms[i].value);
    return CAPS_OK;
}

static caps_status check_spread(const caps_train_config *config, caps_error *err)
{
    const double first = config->spread_margin_first, last = (double)config->loss.spread_margin;
    if (!(last > 0 && last <= 1))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: margin of the spread loss is %g, need > 0 and <= 1", last);
    if ((float)first > config->loss.spread_margin)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: margin of the spread loss falls from %g to %g, need one that rises", first,
            last);
    return caps_loss_check(config->spec, &config->loss, err);
}

caps_status caps_config_check(const caps_train_config *config, caps_error *err)
{
    caps_status status;
    int background;
    char names[128];
    if (!config->spec)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: there is no spec, need one");
    if (config->epochs == 0 && config->max_steps == 0)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "train: epochs and max_steps are both 0, need an end");
    if (config->batch == 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: batch is 0, need >= 1");
    if (config->micro_batch > config->batch)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: micro_batch is %zu, need <= %zu, the batch", config->micro_batch,
            config->batch);
    for (size_t i = 0; i < caps_setting_count; i++)
        if ((status = check_setting(&caps_settings[i], config, err)) != CAPS_OK)
            return status;
    if (config->routing[0] && config_routing(config) == CAPS_ROUTING_AUTO)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: routing is '%s', need stored or fused, or none", config->routing);
    if (!caps_profile_find(config->profile))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: profile is '%s', need %s", config->profile,
            caps_profile_names(names, sizeof names));
    if (config->lr_min > config->lr)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: least learning rate is %g, need 0 to the first one, %g", config->lr_min,
            config->lr);
    if (!caps_background_parse(&background, config->background))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: background is '%s', need black, white, 0 to 255, or none", config->background);
    status = caps_class_weights_check(
        config->class_weights, caps_model_spec_info(config->spec)->classes, err);
    if (status != CAPS_OK)
        return caps_fail_prefix(err, status, "train: class weights");
    if ((status = check_spread(config, err)) != CAPS_OK)
        return status;
    return check_loss(&config->loss, err);
}
