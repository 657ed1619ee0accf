/* facts.h: the facts of a spec and the outputs of a model under the names that the model layer will
 * have. To go with the next version of model.h, which has them itself. */
#ifndef CAPS_FACTS_H
#define CAPS_FACTS_H

#include <string.h>

#include <capscl/model.h>

typedef struct caps_model_info {
    size_t input[3], source[3];
    size_t pixels, classes, labels;
    bool has_decoder, has_class_names;
    size_t dim, inputs, input_dim, grid[3], iterations;
    bool leaky;
    const char *class_loss, *score, *scores;
    uint64_t parameters, decoder_parameters;
} caps_model_info;

static inline const caps_model_info *caps_model_spec_info(const caps_model_spec *spec)
{
    static _Thread_local caps_model_info ring[16];
    static _Thread_local size_t turn;
    caps_model_info *i = &ring[turn++ % 16];
    caps_model_sizes sizes = {0};
    const bool cnn = strcmp(spec->kind, "cnn") == 0;
    (void)caps_model_spec_check(spec, &sizes, NULL);
    *i = (caps_model_info){.pixels = sizes.pixels,
        .classes = spec->classes,
        .labels = spec->labels,
        .has_decoder = spec->has_decoder,
        .has_class_names = spec->has_class_names,
        .class_loss = cnn ? "cross entropy" : "margin loss",
        .score = cnn ? "probability" : "length",
        .scores = cnn ? "probabilities" : "lengths",
        .parameters = sizes.parameters,
        .decoder_parameters = sizes.decoder_parameters};
    memcpy(i->input, spec->input, sizeof i->input);
    memcpy(i->source, spec->source, sizeof i->source);
    if (cnn)
        return i;
    i->dim = spec->class_caps.dim;
    i->inputs = sizes.i;
    i->input_dim = spec->primary.dim;
    i->grid[0] = spec->primary.types;
    i->grid[1] = sizes.h2;
    i->grid[2] = sizes.w2;
    i->iterations = spec->class_caps.iterations;
    i->leaky = spec->class_caps.leaky;
    return i;
}

static inline const caps_model_info *caps_model_get_info(const caps_model *m)
{
    return caps_model_spec_info(caps_model_get_spec(m));
}

static inline caps_tensor caps_model_output(const caps_model *m, const char *name)
{
    const caps_model_outputs out = caps_model_get_outputs(m);
    return strcmp(name, "lengths") == 0                ? out.lengths
           : strcmp(name, "best") == 0                 ? out.best
           : strcmp(name, "capsules") == 0             ? out.capsules
           : strcmp(name, "primary") == 0              ? out.primary
           : strcmp(name, "couplings.iterations") == 0 ? out.all_couplings
           : strcmp(name, "reconstruction") == 0       ? out.reconstruction
           : strcmp(name, "class_loss") == 0           ? out.margin_loss
           : strcmp(name, "sse") == 0                  ? out.sse
                                                       : (caps_tensor){0};
}

#endif
