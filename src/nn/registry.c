/* registry.c: the kinds of layers that a spec's list may have. */
#include <string.h>

#include "layer.h"

extern const caps_layer_kind caps_layer_conv, caps_layer_dropout, caps_layer_primary_caps,
    caps_layer_caps, caps_layer_max_pool, caps_layer_matrix_primary, caps_layer_matrix_conv,
    caps_layer_matrix_caps;

const char *const caps_squash_names[] = {"paper", "exp", NULL};

static const caps_layer_kind *const kinds[] = {
    &caps_layer_conv,
    &caps_layer_linear,
    &caps_layer_dropout,
    &caps_layer_max_pool,
    &caps_layer_primary_caps,
    &caps_layer_caps,
    &caps_layer_matrix_primary,
    &caps_layer_matrix_conv,
    &caps_layer_matrix_caps,
};

const caps_layer_kind *caps_layer_kind_at(size_t i)
{
    return i < sizeof kinds / sizeof kinds[0] ? kinds[i] : NULL;
}

const caps_layer_kind *caps_layer_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}
