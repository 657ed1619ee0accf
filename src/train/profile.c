/* profile.c: named sets of choices. What sets them apart is in docs/profiles.md. */
#include <stdio.h>
#include <string.h>

#include <capscl/train.h>

#include "start.h"

static const caps_profile profiles[] = {
    {
        .name = "paper",
        .about = "the network and the loss of the paper",
        .epochs = 10,
        .batch = 100,
        .lr = 1e-3,
        .lr_decay = 0.9,
        .reconstruction_weight = CAPS_RECONSTRUCTION_WEIGHT,
    },
    {
        .name = "authors",
        .about = "what the authors' published code does",
        .epochs = 10,
        .batch = 128,
        .lr = 1e-3,
        .lr_decay = 0.96,
        .lr_decay_steps = 2000,
        .lr_min = 1e-6,
        .initialiser = CAPS_INITIALISER_AUTHORS,
        .class_mean = true,
        .reconstruction_weight = CAPS_RECONSTRUCTION_WEIGHT,
        .class_bias = true,
        .primary_average = true,
    },
    {
        .name = "keras",
        .about = "schedule, loss and routing of the best-known port to Keras",
        .epochs = 50,
        .batch = 100,
        .lr = 1e-3,
        .lr_decay = 0.9,
        .lr_staircase = true,
        .reconstruction_mean = 0.392,
        .routing_last = true,
    },
    {
        .name = "efficient",
        .about = "schedule and loss of Efficient-CapsNet",
        .epochs = 60,
        .batch = 16,
        .lr = 5e-4,
        .lr_decay = 0.97,
        .lr_staircase = true,
        .lr_min = 5e-5,
        .reconstruction_mean = 0.392,
        .affine = true,
    },
    {
        .name = "em",
        .about = "the paper of matrix capsules",
        .epochs = 10,
        .batch = 64,
        .lr = 3e-3,
        .lr_decay = 0.96,
        .lr_decay_steps = 20000,
        .reconstruction_weight = CAPS_RECONSTRUCTION_WEIGHT,
        .weight_decay = 2e-7,
        .spread_margin_first = 0.2,
        .spread_margin_last = 0.9,
    },
    {
        .name = "em-authors",
        .about = "what the published code of matrix capsules does",
        .epochs = 10,
        .batch = 64,
        .lr = 3e-3,
        .lr_decay = 0.96,
        .lr_decay_steps = 20000,
        .reconstruction_weight = CAPS_RECONSTRUCTION_WEIGHT,
        .weight_decay = 2e-7,
        .spread_margin_first = 0.2,
        .spread_margin_last = 0.99,
    },
};

const caps_profile *caps_profile_at(size_t i)
{
    return i < sizeof profiles / sizeof profiles[0] ? &profiles[i] : NULL;
}

const caps_profile *caps_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

char *caps_profile_names(char *text, size_t bytes)
{
    const size_t n = sizeof profiles / sizeof profiles[0];
    size_t at = 0;
    for (size_t i = 0; i < n && at < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%s",
            i == 0      ? ""
            : i + 1 < n ? ", "
                        : " or ",
            profiles[i].name);
    return text;
}

double caps_loss_class_mean(const caps_model_spec *spec)
{
    return 0.5 / (double)caps_model_spec_info(spec)->classes;
}

bool caps_profile_change_at(const caps_profile *p, size_t i, caps_profile_change *change)
{
    const caps_profile_change all[] = {
        {"caps", "bias", p->class_bias ? "true" : NULL},
        {"primary_caps", "average", p->primary_average ? "true" : NULL},
        {"caps", "routing.grad", p->routing_last ? "\"last\"" : NULL},
    };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
        if (all[k].json && i-- == 0) {
            *change = all[k];
            return true;
        }
    return false;
}

/* Layers that the network has none of are no error: a profile is for any network. */
static caps_status profile_change_spec(
    caps_model_spec *spec, const caps_profile *p, caps_error *err)
{
    caps_profile_change c;
    caps_status status = CAPS_OK;
    for (size_t i = 0; status == CAPS_OK && caps_profile_change_at(p, i, &c); i++)
        status = caps_model_spec_set(spec, c.kind, c.field, c.json, NULL, err);
    return status;
}

caps_status caps_profile_apply(
    caps_train_config *config, const caps_profile *p, bool network, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(config->spec);
    const bool margin = strcmp(info->class_loss, "margin loss") == 0;
    snprintf(config->profile, sizeof config->profile, "%s", p->name);
    config->epochs = p->epochs;
    config->batch = p->batch;
    config->lr = p->lr;
    config->lr_decay = p->lr_decay;
    config->lr_decay_steps = p->lr_decay_steps;
    config->lr_staircase = p->lr_staircase;
    config->lr_min = p->lr_min;
    config->initialiser = p->initialiser;
    config->loss = CAPS_LOSS_DEFAULT;
    if (info->matrix) {
        config->loss.class_loss = CAPS_CLASS_LOSS_SPREAD;
        config->loss.spread_margin =
            (float)(p->spread_margin_last > 0 ? p->spread_margin_last : 0.9);
        config->spread_margin_first = p->spread_margin_first > 0 ? p->spread_margin_first : 0.2;
    }
    config->weight_decay = p->weight_decay;
    config->loss.margin_scale = p->class_mean && margin ? caps_loss_class_mean(config->spec) : 1;
    config->loss.reconstruction_weight = p->reconstruction_mean > 0
                                             ? p->reconstruction_mean / (double)info->pixels
                                             : p->reconstruction_weight;
    return network ? profile_change_spec(config->spec, p, err) : CAPS_OK;
}
