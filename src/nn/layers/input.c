/* input.c: the images; filled by caps_model_set_batch. */
#include "layer.h"

const caps_layer_kind caps_layer_input = {.name = "input", .bytes = sizeof(caps_layer)};
