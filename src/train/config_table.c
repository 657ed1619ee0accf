/* config_table.c: see config_table.h. */
#include "config_table.h"

#include <float.h>
#include <stddef.h>
#include <string.h>

static const char *table_optimizer(int i)
{
    return i == CAPS_OPTIMIZER_ADAM ? "adam" : i == CAPS_OPTIMIZER_SGD ? "sgd" : NULL;
}

static const char *table_initialiser(int i)
{
    return i == CAPS_INITIALISER_SCALED    ? "scaled"
           : i == CAPS_INITIALISER_AUTHORS ? "authors"
                                           : NULL;
}

static const char *table_reduce(int i)
{
    return i == CAPS_REDUCE_EXACT  ? "exact"
           : i == CAPS_REDUCE_FAST ? "fast"
           : i == CAPS_REDUCE_BF16 ? "bf16"
                                   : NULL;
}

static const char *table_routing(int i)
{
    return i == 0 ? "stored" : i == 1 ? "fused" : NULL;
}

#define MEMBER(name)                                                                               \
    .offset = offsetof(caps_train_config, name), .bytes = sizeof(((caps_train_config *)0)->name)
#define TEXT(key, name, ...)                                                                       \
    {                                                                                              \
        key, CAPS_SETTING_TEXT, MEMBER(name), __VA_ARGS__                                          \
    }
#define COUNT(key, name, ...)                                                                      \
    {                                                                                              \
        key, CAPS_SETTING_COUNT, MEMBER(name), __VA_ARGS__                                         \
    }
#define SIZE(key, name, ...)                                                                       \
    {                                                                                              \
        key, CAPS_SETTING_SIZE, MEMBER(name), __VA_ARGS__                                          \
    }
#define REAL(key, name, ...)                                                                       \
    {                                                                                              \
        key, CAPS_SETTING_REAL, MEMBER(name), __VA_ARGS__                                          \
    }
#define SWITCH(key, name, ...)                                                                     \
    {                                                                                              \
        key, CAPS_SETTING_SWITCH, MEMBER(name), __VA_ARGS__                                        \
    }
#define CHOICE(key, name, ...)                                                                     \
    {                                                                                              \
        key, CAPS_SETTING_CHOICE, MEMBER(name), __VA_ARGS__                                        \
    }

/* In the order of the JSON. */
const caps_setting caps_settings[] = {
    {"class_names", CAPS_SETTING_NAMES, MEMBER(spec), .optional = true},
    TEXT("arch", arch, .decides = false),
    TEXT("data", data, .decides = false),
    TEXT("profile", profile, .decides = true),
    TEXT("conv", conv, .optional = true),
    TEXT("routing", routing, .optional = true, .value = table_routing),
    TEXT("init", init, .decides = false),
    TEXT("rate_factors", lr_multipliers, .optional = true, .decides = true),
    COUNT("epochs", epochs, .decides = false),
    COUNT("max_steps", max_steps, .decides = false),
    SIZE("batch", batch, .decides = true),
    CHOICE("optimizer", optimizer, .decides = true, .name = "optimizer", .value = table_optimizer),
    REAL("rate", lr, .decides = true, .name = "learning rate", .positive = true,
        .most = (double)FLT_MAX),
    REAL("rate_decay", lr_decay, .decides = true, .name = "decay of the learning rate",
        .positive = true, .most = 1),
    COUNT("seed", seed, .decides = true),
    CHOICE("augment", augment, .decides = true, .name = "augment", .value = caps_augment_name),
    SWITCH("shuffle", shuffle, .decides = true),
    SIZE("limit", limit, .decides = true),
    COUNT("eval_every", eval_every, .decides = false),
    COUNT("save_every", save_every, .decides = false),
    COUNT("memory_limit_bytes", memory_limit_bytes, .optional = true),
    SIZE("micro_batch", micro_batch, .optional = true),
    {"spec", CAPS_SETTING_SPEC, MEMBER(spec), .decides = true},
    COUNT("rate_decay_steps", lr_decay_steps, .optional = true, .decides = true),
    SWITCH("rate_staircase", lr_staircase, .optional = true, .decides = true),
    COUNT("rate_linear_epochs", lr_linear_epochs, .optional = true, .decides = true),
    REAL("rate_min", lr_min, .optional = true, .decides = true, .name = "least learning rate",
        .most = (double)FLT_MAX),
    CHOICE("initialiser", initialiser, .optional = true, .decides = true, .name = "initialiser",
        .value = table_initialiser),
    SIZE("validation", validation, .optional = true, .decides = true),
    {"loss", CAPS_SETTING_LOSS, MEMBER(loss), .optional = true, .decides = true},
    TEXT("background", background, .optional = true, .decides = true),
    SWITCH("invert", invert, .optional = true, .decides = true),
    SWITCH("stretch", stretch, .optional = true, .decides = true),
    TEXT("class_weights", class_weights, .optional = true, .decides = true),
    TEXT("devices", devices, .optional = true),
    TEXT("split", split, .optional = true),
    SWITCH("split_auto", split_auto, .optional = true),
    TEXT("conv_request", conv_request, .optional = true),
    COUNT("ranks", ranks, .optional = true),
    COUNT("rate_warmup_steps", lr_warmup_steps, .optional = true, .decides = true),
    REAL("spread_margin_first", spread_margin_first, .optional = true, .decides = true,
        .name = "first margin of the spread loss", .most = 1),
    REAL("weight_decay", weight_decay, .optional = true, .decides = true, .name = "weight decay",
        .most = (double)FLT_MAX),
    CHOICE("reduce", reduce, .optional = true, .name = "reduce", .value = table_reduce),
    REAL("ema", ema, .optional = true, .decides = true, .name = "decay of the average", .most = 1,
        .open = true),
    REAL("affine_rotate", augment_options.rotate, .optional = true, .decides = true,
        .name = "angle of affine", .most = 180),
    REAL("affine_squeeze", augment_options.squeeze, .optional = true, .decides = true,
        .name = "squeeze of affine", .most = 0.9),
    SIZE("affine_erase", augment_options.erase, .optional = true, .decides = true),
    SWITCH("affine_shift", augment_options.shift, .optional = true, .decides = true),
    REAL("crop_brightness", augment_options.brightness, .optional = true, .decides = true,
        .name = "brightness of crop", .most = 10),
    REAL("crop_contrast", augment_options.contrast, .optional = true, .decides = true,
        .name = "contrast of crop", .most = 1),
    SWITCH("flip", augment_options.flip, .optional = true, .decides = true),
    CHOICE("viewpoints", viewpoints, .optional = true, .decides = true, .name = "viewpoints",
        .value = caps_viewpoints_name),
};
const size_t caps_setting_count = sizeof caps_settings / sizeof caps_settings[0];

int caps_setting_choice(const caps_setting *s, const caps_train_config *config)
{
    int value = 0;
    memcpy(&value, caps_setting_at(s, config), s->bytes < sizeof value ? s->bytes : sizeof value);
    return value;
}
