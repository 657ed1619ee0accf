/* layer_primary.c: primary capsules: a convolution without activation, regrouped as I = T*H*W
 * capsules of K, squashed.
 *
 *     z [B, T*K, H, W]  ->  s [B, I, K]  ->  y = squash(s) [B, I, K]
 *
 * Backward needs s, but not z (nothing is applied to it): z's memory takes dz.
 *
 * With `average` the convolution's result w * x is divided by T before its bias: primary capsules
 * of the authors' code are routed once, with equal couplings. As (w * x + T bias) / T is the same,
 * the convolution gets T bias, and s and the gradients a factor. */
#include "conv_part.h"

#include "fail.h"

typedef struct primary_layer {
    caps_layer base;
    caps_conv_part part;
    size_t z_shape[3]; /* T*K, H, W */
    caps_tensor z, s;
    float divisor;           /* 1, or with `average` T */
    caps_tensor scaled_bias; /* [T*K], with `average` only */
} primary_layer;

static caps_status plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const size_t *z = self->z_shape, *y = layer->shape;
    caps_status status;
    CAPS_TRY(caps_conv_part_plan(&self->part, layer, plan, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->z, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4,
        (size_t[]){plan->batch, z[0], z[1], z[2]}, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->s, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 3,
        (size_t[]){plan->batch, y[0], y[1]}, err));
    if (self->divisor > 1)
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->scaled_bias, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, z, err));
done:
    return status;
}

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const caps_tensor z = caps_batch_of(&self->z, pass->b), s = caps_batch_of(&self->s, pass->b);
    const caps_tensor y = caps_batch_of(&layer->y, pass->b);
    const caps_tensor *bias = &layer->parameters[1].parameter.value;
    const bool average = self->divisor > 1;
    caps_status status;
    if (average) {
        CAPS_TRY(caps_scale(pass->rt, &self->scaled_bias, bias, self->divisor, err));
        bias = &self->scaled_bias;
    }
    CAPS_TRY(caps_conv_part_forward(&self->part, layer, pass, &z, bias, err));
    CAPS_TRY(caps_group_forward(pass->rt, &s, &z, err));
    if (average)
        CAPS_TRY(caps_scale(pass->rt, &s, &s, 1.0f / self->divisor, err));
    CAPS_TRY(caps_squash_forward(pass->rt, &y, &s, err));
done:
    return status;
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const caps_tensor dz = caps_batch_of(&self->z, pass->b), s = caps_batch_of(&self->s, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->dy, pass->b);
    const caps_tensor *dbias = &layer->parameters[1].parameter.gradient;
    const bool average = self->divisor > 1;
    caps_status status;
    CAPS_TRY(caps_squash_backward(pass->rt, &dy, &dy, &s, err));
    if (average)
        CAPS_TRY(caps_scale(pass->rt, &dy, &dy, 1.0f / self->divisor, err));
    CAPS_TRY(caps_group_backward(pass->rt, &dz, &dy, err));
    CAPS_TRY(caps_conv_part_backward(&self->part, layer, pass, &dz, NULL, err));
    if (average)
        CAPS_TRY(caps_scale(pass->rt, dbias, dbias, self->divisor, err));
done:
    return status;
}

static const caps_layer_class class = {"primary", sizeof(primary_layer), plan, forward, backward};

caps_status caps_layer_primary(caps_network *n, const char *name, size_t types, size_t dim,
    size_t kernel, size_t stride, bool average, caps_error *err)
{
    const caps_conv2d conv = {.stride = stride, .act = CAPS_ACT_NONE};
    caps_layer *input = n->layers[n->layer_count - 1], *layer;
    const size_t *in = input->shape; /* C, H, W */
    const size_t h = caps_conv2d_output(in[1], kernel, stride, 0);
    const size_t w = caps_conv2d_output(in[2], kernel, stride, 0);
    const size_t shape[] = {types * h * w, dim}, channels = types * dim, taps = kernel * kernel;
    caps_status status = caps_network_add(&layer, n, &class, name, input, 2, shape, err);
    if (status != CAPS_OK)
        return status;
    primary_layer *self = (primary_layer *)layer;
    self->divisor = average ? (float)types : 1;
    self->z_shape[0] = channels;
    self->z_shape[1] = h;
    self->z_shape[2] = w;
    caps_conv_part_init(&self->part, n, layer, &conv, channels, kernel,
        caps_stddev_glorot(in[0] * taps, channels * taps));
    return CAPS_OK;
}
