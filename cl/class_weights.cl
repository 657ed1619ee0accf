// class_weights.cl: rows of a batch times the weights of their classes, one kernel for both
// families. Right after a loss (or its gradient) it makes the weighted loss (or its gradient) of
// any loss that is a sum over images.
//
//     x[b,n] *= mean over l of weights[labels[b,l]]
//
// Shapes: x [B,N], weights [J], labels [B,L]; row-major. A label that is no class weighs 1. Work:
// item i takes the elements i per_item to (i + 1) per_item - 1 of `count` = B N. Numerics: the mean
// is summed in the order of l; a weight of 1 changes no bit.

__kernel void class_weights(__global float *x, const ulong x_offset, __global const float *weights,
    const ulong weights_offset, __global const int *labels, const ulong labels_offset,
    const uint count, const uint n_count, const uint per_item, const uint j_count,
    const uint l_count)
{
    const ulong first = get_global_id(0) * (ulong)per_item,
                end = min((ulong)count, first + per_item);
    for (ulong i = first; i < end; i++) {
        __global const int *mine = labels + labels_offset + i / n_count * l_count;
        float weight = 0.0f;
        for (uint l = 0; l < l_count; l++) {
            const int label = mine[l];
            const int known = label >= 0 && (uint)label < j_count;
            weight += known ? weights[weights_offset + label] : 1.0f;
        }
        x[x_offset + i] *= l_count == 1 ? weight : weight / (float)l_count;
    }
}
