/* routing_tiles.h: how cl/routing_tiled_gpu.clt and cl/routing_tiled_gradient_gpu.clt are built for
 * the sizes of class capsules on a device. */
#ifndef CAPS_ROUTING_TILES_H
#define CAPS_ROUTING_TILES_H

#include "routing_fused.h"

/* Passes over the votes. None of it but wm and lm, on which no bit depends, depends on the
 * batch. */
typedef struct caps_routing_tiles {
    size_t wm, wn, lm;    /* samples and outputs of a work-item; work-items along samples */
    size_t kc;            /* dimensions of a round */
    size_t items, batch;  /* of a group: work-items, samples */
    size_t chunk, chunks; /* input capsules of a partial sum; how many sums */
} caps_routing_tiles;

/* The gradients of u and w. */
typedef struct caps_routing_gradient_tiles {
    size_t ci, sb; /* input capsules of a group; samples of a block */
    size_t v, kv;  /* outputs and dimensions of a tile of dw */
    size_t items;
} caps_routing_gradient_tiles;

/* Input capsules of a partial sum. */
size_t caps_routing_chunk(size_t i);

/* Can the device take capsules of these sizes? The same for any batch, and for a training and
 * without. */
bool caps_routing_tiles_choose(
    caps_routing_tiles *tiles, const caps_runtime *rt, const caps_fused *n);
bool caps_routing_gradient_tiles_choose(
    caps_routing_gradient_tiles *tiles, const caps_runtime *rt, const caps_fused *n);

/* Local memory of a group, in bytes: the most that any of the kernels takes. */
size_t caps_routing_tiles_local(const caps_routing_tiles *tiles, const caps_fused *n);
size_t caps_routing_gradient_tiles_local(
    const caps_routing_gradient_tiles *tiles, const caps_fused *n);

#endif
