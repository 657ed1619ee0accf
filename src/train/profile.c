/* profile.c: named sets of choices. What sets them apart is in docs/profiles.md. */
#include <string.h>

#include <capscl/train.h>

static const caps_profile profiles[] = {
    {
        .name = "paper",
        .about = "the network and the loss of the paper",
        .epochs = 10,
        .batch = 100,
        .rate = 1e-3,
        .rate_decay = 0.9,
        .reconstruction_weight = CAPS_RECONSTRUCTION_WEIGHT,
    },
    {
        .name = "authors",
        .about = "what the authors' published code does",
        .epochs = 10,
        .batch = 128,
        .rate = 1e-3,
        .rate_decay = 0.96,
        .rate_decay_steps = 2000,
        .rate_min = 1e-6,
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
        .rate = 1e-3,
        .rate_decay = 0.9,
        .rate_staircase = true,
        .reconstruction_mean = 0.392,
        .routing_grad = CAPS_ROUTING_GRAD_LAST,
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
    return 0.5 / (double)spec->classes;
}

void caps_profile_apply(caps_train_config *config, const caps_profile *p, bool network)
{
    caps_model_spec *spec = &config->spec;
    const double pixels = (double)(spec->input[0] * spec->input[1] * spec->input[2]);
    const bool capsules = strcmp(spec->kind, "capsnet") == 0; /* else cross entropy, as it is */
    strcpy(config->profile, p->name);
    config->epochs = p->epochs;
    config->batch = p->batch;
    config->rate = p->rate;
    config->rate_decay = p->rate_decay;
    config->rate_decay_steps = p->rate_decay_steps;
    config->rate_staircase = p->rate_staircase;
    config->rate_min = p->rate_min;
    config->initialiser = p->initialiser;
    config->loss = CAPS_LOSS_DEFAULT;
    config->loss.margin_scale = p->class_mean && capsules ? caps_loss_class_mean(spec) : 1;
    config->loss.reconstruction_weight =
        p->reconstruction_mean > 0 ? p->reconstruction_mean / pixels : p->reconstruction_weight;
    if (!network || !capsules)
        return;
    spec->class_caps.bias = spec->class_caps.bias || p->class_bias;
    spec->primary.average = spec->primary.average || p->primary_average;
    if (p->routing_grad == CAPS_ROUTING_GRAD_LAST)
        spec->class_caps.routing_grad = p->routing_grad;
}
