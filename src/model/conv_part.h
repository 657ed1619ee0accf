/* conv_part.h: the convolution inside a layer: parameter 0 is its weight, 1 its bias. */
#ifndef CAPS_CONV_PART_H
#define CAPS_CONV_PART_H

#include "layer.h"

typedef struct caps_conv_part {
    caps_conv2d conv;
    size_t workspace; /* elements of the shared one that it uses, */
    size_t first;     /* from this one on */
    bool owns;        /* nobody else uses them (not training) */
    uint64_t version; /* of the parameters whose transforms they hold; 0: of none */
} caps_conv_part;

/* Adds the two parameters to the layer that was added last. */
void caps_conv_part_init(caps_conv_part *part, caps_network *n, caps_layer *layer,
    const caps_conv2d *conv, size_t channels, size_t kernel, double sigma);
/* Chooses the algorithm. CAPS_ERR_ARGUMENT: plan->conv wants one that cannot serve. */
caps_status caps_conv_part_plan(
    caps_conv_part *part, const caps_layer *layer, caps_plan *plan, caps_error *err);
/* y [b, M, OH, OW] from the layer's input, with this bias [M]. */
caps_status caps_conv_part_forward(caps_conv_part *part, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *y, const caps_tensor *bias, caps_error *err);
/* The gradients of the parameters and of the layer's input; y NULL: there is no activation. */
caps_status caps_conv_part_backward(caps_conv_part *part, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dy, const caps_tensor *y, caps_error *err);

#endif
