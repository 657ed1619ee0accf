/* layer_input.c: the images; filled by caps_model_set_batch. */
#include "layer.h"

static const caps_layer_class class = {"input", sizeof(caps_layer), NULL, NULL, NULL};

caps_status caps_layer_input(caps_network *n, const size_t shape[3], caps_error *err)
{
    return caps_network_add(&n->input, n, &class, "input", NULL, 3, shape, err);
}
