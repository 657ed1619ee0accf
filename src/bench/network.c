/* network.c: see bench_network.h. */
#include "bench_network.h"

#include <stdio.h>
#include <string.h>

#include "fail.h"

size_t caps_bench_conv_height(const caps_layer_problem *p)
{
    return caps_conv2d_output(p->x_shape[2], p->w_shape[2], p->conv.stride, p->conv.padding);
}

size_t caps_bench_conv_width(const caps_layer_problem *p)
{
    return caps_conv2d_output(p->x_shape[3], p->w_shape[3], p->conv.stride, p->conv.padding);
}

static void network_add(caps_bench_network *n, const caps_layer *layer, const caps_value *images)
{
    static const char decoder[] = "decoder.";
    caps_bench_layer *added = &n->layers[n->count];
    const bool decodes = strncmp(layer->name, decoder, sizeof decoder - 1) == 0;
    *added = (caps_bench_layer){
        .first = layer->inputs[0] == images, .rows_per_image = layer->outputs[0].rows_per_image};
    snprintf(
        added->name, sizeof added->name, "%s", layer->name + (decodes ? sizeof decoder - 1 : 0));
    layer->kind->problem(layer, &added->problem);
    if (added->problem.type == CAPS_PROBLEM_NONE)
        return;
    n->of_type[added->problem.type]++;
    n->with_types += added->problem.types > 0;
    n->normalised += added->problem.normalised;
    n->count++;
}

caps_status caps_bench_network_init(
    caps_bench_network *n, const caps_model_spec *spec, caps_error *err)
{
    caps_network network;
    const caps_model_info *info = caps_model_spec_info(spec);
    caps_status status = caps_network_init(&network, spec, err);
    if (status != CAPS_OK)
        return status;
    *n = (caps_bench_network){.info = info};
    for (size_t i = 0; i < network.layer_count; i++)
        if (network.layers[i]->kind->problem)
            network_add(n, network.layers[i], network.input);
    caps_network_release(&network);
    return CAPS_OK;
}
