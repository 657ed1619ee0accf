/* profile.c: named sets of choices. What sets them apart is in docs/profiles.md. */
#include <stdio.h>
#include <string.h>

#include <capscl/train.h>

#include "fail.h"

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
        .routing_grad = "last",
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

double caps_loss_class_mean(const caps_model_spec *spec)
{
    return 0.5 / (double)caps_model_spec_info(spec)->classes;
}

/* What a profile asks of the layers of the network; those it has none of stay away. */
static caps_status profile_change_spec(
    caps_model_spec *spec, const caps_profile *p, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (p->class_bias)
        CAPS_TRY(caps_model_spec_set(spec, "caps", "bias", "true", NULL, err));
    if (p->primary_average)
        CAPS_TRY(caps_model_spec_set(spec, "primary_caps", "average", "true", NULL, err));
    if (p->routing_grad) {
        char json[32];
        snprintf(json, sizeof json, "\"%s\"", p->routing_grad);
        CAPS_TRY(caps_model_spec_set(spec, "caps", "routing.grad", json, NULL, err));
    }
done:
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
    config->loss.margin_scale = p->class_mean && margin ? caps_loss_class_mean(config->spec) : 1;
    config->loss.reconstruction_weight = p->reconstruction_mean > 0
                                             ? p->reconstruction_mean / (double)info->pixels
                                             : p->reconstruction_weight;
    return network ? profile_change_spec(config->spec, p, err) : CAPS_OK;
}
