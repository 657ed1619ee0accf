/* convolution.h: a convolution inside a layer; most have one, whose weight is parameter 0 and whose
 * bias is parameter 1. */
#ifndef CAPS_CONVOLUTION_H
#define CAPS_CONVOLUTION_H

#include "layer.h"

typedef struct caps_convolution {
    const char *part; /* of a layer with several: "pose", for "<layer>.pose.weight"; else NULL */
    size_t parameter; /* the layer's that is the weight; the bias follows */
    caps_conv2d conv;
    size_t y_shape[3]; /* M, OH, OW */
    size_t workspace;  /* elements of the shared one that it uses, */
    size_t first;      /* from this one on */
    bool owns;         /* nobody else uses them (not training) */
    uint64_t version;  /* of the parameters whose transforms they hold; 0: of none */
} caps_convolution;

/* Checks that the kernel fits the layer's input and what becomes of it, and adds the two
 * parameters; the output is the layer's to add. CAPS_ERR_SPEC. */
caps_status caps_convolution_build(caps_convolution *c, caps_network *n, caps_layer *layer,
    const caps_conv2d *conv, size_t channels, size_t kernel, double stddev, caps_error *err);
/* Chooses the algorithm. CAPS_ERR_ARGUMENT: plan->conv requests one that cannot serve. */
caps_status caps_convolution_plan(
    caps_convolution *c, const caps_layer *layer, caps_plan *plan, caps_error *err);
/* y [b, M, OH, OW] from the layer's input, with this bias [M]. */
caps_status caps_convolution_forward(caps_convolution *c, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *y, const caps_tensor *bias, caps_error *err);
/* The gradients of the parameters and of the layer's input; y NULL: there is no activation. */
caps_status caps_convolution_backward(caps_convolution *c, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dy, const caps_tensor *y, caps_error *err);
/* The same, but the input's gradient goes to dx [b, C, H, W]; NULL: it is not wanted. */
caps_status caps_convolution_backward_to(caps_convolution *c, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dx, const caps_tensor *dy, const caps_tensor *y,
    caps_error *err);
void caps_convolution_problem(
    const caps_convolution *c, const caps_layer *layer, caps_layer_problem *p);

#endif
