/* network.c: a spec becomes a list of layers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer.h"

#include "fail.h"

/* Of the authors' published code: truncated normal distributions, and in conv1 a narrower one. */
#define AUTHORS_STDDEV       0.1
#define AUTHORS_STDDEV_CONV1 0.05

void caps_network_release(caps_network *network)
{
    for (size_t i = 0; i < network->layer_count; i++)
        free(network->layers[i]);
    memset(network, 0, sizeof *network);
}

caps_status caps_network_add(caps_layer **layer, caps_network *network,
    const caps_layer_class *class, const char *name, caps_layer *input, int ndim,
    const size_t *shape, caps_error *err)
{
    assert(network->layer_count < CAPS_MOST_LAYERS && ndim < CAPS_MAX_DIMS);
    caps_layer *added = calloc(1, class->bytes);
    *layer = NULL;
    if (!added)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for the layer", name);
    added->class = class;
    snprintf(added->name, sizeof added->name, "%s", name);
    added->input = input;
    added->rows_per_image = input ? input->rows_per_image : 1;
    added->ndim = ndim;
    memcpy(added->shape, shape, (size_t)ndim * sizeof *shape);
    added->parameters = network->parameters + network->parameter_count;
    network->layers[network->layer_count++] = added;
    *layer = added;
    return CAPS_OK;
}

void caps_network_add_parameter(caps_network *network, caps_layer *layer, const char *name,
    int ndim, const size_t *shape, double sigma)
{
    assert(network->parameter_count < CAPS_MOST_PARAMETERS);
    caps_owned_parameter *owned = &network->parameters[network->parameter_count++];
    assert(owned == layer->parameters + layer->parameter_count);
    layer->parameter_count++;
    caps_parameter *p = &owned->parameter;
    snprintf(owned->name, sizeof owned->name, "%s.%s", layer->name, name);
    owned->sigma = sigma;
    owned->authors_stddev = sigma > 0 ? AUTHORS_STDDEV : 0;
    p->name = owned->name;
    p->ndim = ndim;
    p->count = 1;
    for (int d = 0; d < ndim; d++) {
        p->shape[d] = shape[d];
        p->count *= shape[d];
    }
    p->first = network->elements;
    network->elements += p->count;
}

static caps_status capsnet(caps_network *n, const caps_model_spec *s, caps_error *err)
{
    const caps_routing routing = {
        s->class_caps.iterations, s->class_caps.routing_grad, s->class_caps.leaky};
    caps_status status;
    CAPS_TRY(caps_layer_input(n, s->input, err));
    CAPS_TRY(
        caps_layer_conv(n, "conv1", s->conv1.channels, s->conv1.kernel, s->conv1.stride, 0, err));
    n->parameters[0].authors_stddev = AUTHORS_STDDEV_CONV1;
    CAPS_TRY(caps_layer_primary(n, "primary", s->primary.types, s->primary.dim, s->primary.kernel,
        s->primary.stride, s->primary.average, err));
    CAPS_TRY(caps_layer_class_caps(
        n, "class_caps", s->classes, s->class_caps.dim, &routing, s->class_caps.bias, err));
    if (!s->has_decoder)
        goto done;
    const size_t encoder = n->layer_count, pixels = s->input[0] * s->input[1] * s->input[2];
    CAPS_TRY(caps_layer_mask(n, "mask", s->labels, err));
    for (size_t i = 0; i <= s->decoder_hidden_count; i++) {
        const bool last = i == s->decoder_hidden_count;
        char name[24];
        snprintf(name, sizeof name, "decoder.fc%zu", i + 1);
        CAPS_TRY(caps_layer_linear(n, name, last ? pixels : s->decoder_hidden[i],
            last ? CAPS_ACT_SIGMOID : CAPS_ACT_RELU, err));
    }
    for (size_t i = encoder; i < n->layer_count; i++)
        n->layers[i]->reconstructs = true;
    n->reconstruction = n->layers[n->layer_count - 1];
done:
    return status;
}

static caps_status cnn(caps_network *n, const caps_model_spec *s, caps_error *err)
{
    char name[32];
    caps_status status;
    CAPS_TRY(caps_layer_input(n, s->input, err));
    for (size_t i = 0; i < s->conv_count; i++) {
        snprintf(name, sizeof name, "conv%zu", i + 1);
        CAPS_TRY(caps_layer_conv(n, name, s->conv[i].channels, s->conv[i].kernel, s->conv[i].stride,
            s->conv[i].padding, err));
    }
    n->parameters[0].authors_stddev = AUTHORS_STDDEV_CONV1;
    for (size_t i = 0; i <= s->hidden_count; i++) {
        const bool last = i == s->hidden_count;
        if (last && s->dropout > 0)
            CAPS_TRY(caps_layer_dropout(n, "dropout", s->dropout, 0, err));
        snprintf(name, sizeof name, "fc%zu", i + 1);
        CAPS_TRY(caps_layer_linear(
            n, name, last ? s->classes : s->hidden[i], last ? CAPS_ACT_NONE : CAPS_ACT_RELU, err));
    }
    n->logits = n->layers[n->layer_count - 1];
done:
    return status;
}

caps_status caps_network_init(caps_network *network, const caps_model_spec *spec, caps_error *err)
{
    memset(network, 0, sizeof *network);
    caps_status status = (strcmp(spec->kind, "cnn") == 0 ? cnn : capsnet)(network, spec, err);
    if (status != CAPS_OK)
        caps_network_release(network);
    return status;
}
