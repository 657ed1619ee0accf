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

static caps_bench_layer *network_add(
    caps_bench_network *n, const char *name, caps_problem_type type, size_t rows_per_image)
{
    caps_bench_layer *layer = &n->layers[n->count];
    snprintf(layer->name, sizeof layer->name, "%s", name);
    layer->first = n->count++ == 0;
    layer->rows_per_image = rows_per_image;
    layer->problem.type = type;
    n->of_type[type]++;
    return layer;
}

/* chw: of the input, then of the output. */
static void network_add_conv(caps_bench_network *n, const char *name, size_t chw[3],
    size_t channels, size_t kernel, const caps_conv2d *conv)
{
    caps_layer_problem *p = &network_add(n, name, CAPS_PROBLEM_CONV, 1)->problem;
    const size_t x[] = {1, chw[0], chw[1], chw[2]}, w[] = {channels, chw[0], kernel, kernel};
    memcpy(p->x_shape, x, sizeof x);
    memcpy(p->w_shape, w, sizeof w);
    p->conv = *conv;
    chw[1] = caps_bench_conv_height(p);
    chw[2] = caps_bench_conv_width(p);
    p->flops = 2 * (double)(chw[1] * chw[2]) * (double)channels * (double)chw[0] *
               (double)(kernel * kernel);
    chw[0] = channels;
}

static void network_add_linear(caps_bench_network *n, size_t number, size_t in, size_t out,
    caps_activation act, size_t rows_per_image)
{
    char name[32];
    snprintf(name, sizeof name, "fc%zu", number);
    caps_layer_problem *p = &network_add(n, name, CAPS_PROBLEM_LINEAR, rows_per_image)->problem;
    p->in = in;
    p->out = out;
    p->act = act;
    p->flops = 2 * (double)rows_per_image * (double)in * (double)out;
}

static void network_add_capsules(
    caps_bench_network *n, const caps_model_spec *s, const caps_model_sizes *z)
{
    const caps_conv2d conv1 = {.stride = s->conv1.stride, .act = CAPS_ACT_RELU};
    const caps_conv2d primary = {.stride = s->primary.stride, .act = CAPS_ACT_NONE};
    size_t chw[3] = {s->input[0], s->input[1], s->input[2]};
    network_add_conv(n, "conv1", chw, s->conv1.channels, s->conv1.kernel, &conv1);
    network_add_conv(
        n, "primary", chw, s->primary.types * s->primary.dim, s->primary.kernel, &primary);
    n->layers[n->count - 1].problem.types = s->primary.types;
    n->layers[n->count - 1].problem.dim = s->primary.dim;
    n->with_types = 1;
    caps_layer_problem *p = &network_add(n, "class_caps", CAPS_PROBLEM_CAPS, 1)->problem;
    const caps_routing routing = {.iterations = s->class_caps.iterations,
        .grad = s->class_caps.routing_grad,
        .leaky = s->class_caps.leaky};
    p->class_caps = (caps_class_caps){.i = z->i,
        .j = s->classes,
        .d = s->class_caps.dim,
        .k = s->primary.dim,
        .routing = routing};
    const double votes = (double)(z->i * s->classes) * (double)s->class_caps.dim;
    p->flops = 2 * votes * (double)s->primary.dim + (4 * (double)routing.iterations - 2) * votes;
    n->dim = s->class_caps.dim;
    size_t in = s->classes * s->class_caps.dim;
    for (size_t l = 0; s->has_decoder && l <= s->decoder_hidden_count; l++) {
        const bool last = l == s->decoder_hidden_count;
        const size_t out = last ? z->pixels : s->decoder_hidden[l];
        network_add_linear(n, l + 1, in, out, last ? CAPS_ACT_SIGMOID : CAPS_ACT_RELU, s->labels);
        in = out;
    }
}

static void network_add_cnn(caps_bench_network *n, const caps_model_spec *s)
{
    size_t chw[3] = {s->input[0], s->input[1], s->input[2]};
    for (size_t i = 0; i < s->conv_count; i++) {
        const caps_conv2d conv = {
            .stride = s->conv[i].stride, .padding = s->conv[i].padding, .act = CAPS_ACT_RELU};
        char name[32];
        snprintf(name, sizeof name, "conv%zu", i + 1);
        network_add_conv(n, name, chw, s->conv[i].channels, s->conv[i].kernel, &conv);
    }
    size_t in = chw[0] * chw[1] * chw[2];
    for (size_t l = 0; l <= s->hidden_count; l++) {
        const bool last = l == s->hidden_count;
        const size_t out = last ? s->classes : s->hidden[l];
        network_add_linear(n, l + 1, in, out, last ? CAPS_ACT_NONE : CAPS_ACT_RELU, 1);
        in = out;
    }
}

caps_status caps_bench_network_init(
    caps_bench_network *n, const caps_model_spec *spec, caps_error *err)
{
    caps_model_sizes sizes;
    caps_status status = caps_model_spec_check(spec, &sizes, err);
    if (status != CAPS_OK)
        return status;
    *n = (caps_bench_network){.pixels = sizes.pixels,
        .classes = spec->classes,
        .inputs = sizes.i,
        .parameters = (size_t)sizes.parameters,
        .has_decoder = spec->has_decoder,
        .routing_grad = "none"};
    memcpy(n->input, spec->input, sizeof n->input);
    if (strcmp(spec->kind, "cnn") == 0) {
        network_add_cnn(n, spec);
    } else {
        network_add_capsules(n, spec, &sizes);
        n->routing_grad = spec->class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL ? "full" : "last";
    }
    return CAPS_OK;
}
