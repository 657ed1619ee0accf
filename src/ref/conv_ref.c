/* conv_ref.c */
#include "ref.h"

#include <stdlib.h>

size_t caps_ref_conv_output(size_t size, size_t kernel, size_t stride, size_t padding)
{
    if (kernel == 0 || stride == 0 || size + 2 * padding < kernel)
        return 0;
    return (size + 2 * padding - kernel) / stride + 1;
}

/* Index into an image [H,W] of tap (ky, kx) for output (oy, ox); false: it lies in the padding. */
static bool tap(const caps_ref_conv *p, size_t oy, size_t ox, size_t ky, size_t kx, size_t *at)
{
    size_t y = oy * p->stride + ky, x = ox * p->stride + kx;
    if (y < p->padding || x < p->padding || y - p->padding >= p->h || x - p->padding >= p->w)
        return false;
    *at = (y - p->padding) * p->w + (x - p->padding);
    return true;
}

void caps_ref_conv2d_forward(
    double *y, const double *x, const double *w, const double *bias, const caps_ref_conv *p)
{
    size_t oh = caps_ref_conv_output(p->h, p->kh, p->stride, p->padding);
    size_t ow = caps_ref_conv_output(p->w, p->kw, p->stride, p->padding);
    size_t at;
    for (size_t b = 0; b < p->b; b++)
        for (size_t m = 0; m < p->m; m++)
            for (size_t oy = 0; oy < oh; oy++)
                for (size_t ox = 0; ox < ow; ox++) {
                    double sum = 0;
                    for (size_t c = 0; c < p->c; c++)
                        for (size_t ky = 0; ky < p->kh; ky++)
                            for (size_t kx = 0; kx < p->kw; kx++)
                                if (tap(p, oy, ox, ky, kx, &at))
                                    sum += w[((m * p->c + c) * p->kh + ky) * p->kw + kx] *
                                           x[(b * p->c + c) * p->h * p->w + at];
                    y[((b * p->m + m) * oh + oy) * ow + ox] = sum;
                }
    caps_ref_bias_act_forward(y, y, bias, p->act, p->b, p->m, oh * ow);
}

void caps_ref_conv2d_backward(double *dx, double *dw, double *dbias, const double *dy,
    const double *y, const double *x, const double *w, const caps_ref_conv *p)
{
    size_t oh = caps_ref_conv_output(p->h, p->kh, p->stride, p->padding);
    size_t ow = caps_ref_conv_output(p->w, p->kw, p->stride, p->padding);
    size_t image = p->c * p->h * p->w, filter = p->c * p->kh * p->kw, at;
    double *dz = malloc(p->b * p->m * oh * ow * sizeof *dz);
    if (!dz)
        abort(); /* the reference has no way to report it, and a wrong result would hide it */
    caps_ref_bias_act_backward(dz, dbias, dy, y, p->act, p->b, p->m, oh * ow);
    for (size_t i = 0; dx && i < p->b * image; i++)
        dx[i] = 0;
    for (size_t i = 0; dw && i < p->m * filter; i++)
        dw[i] = 0;
    for (size_t b = 0; b < p->b; b++)
        for (size_t m = 0; m < p->m; m++)
            for (size_t oy = 0; oy < oh; oy++)
                for (size_t ox = 0; ox < ow; ox++) {
                    double d = dz[((b * p->m + m) * oh + oy) * ow + ox];
                    for (size_t c = 0; c < p->c; c++)
                        for (size_t ky = 0; ky < p->kh; ky++)
                            for (size_t kx = 0; kx < p->kw; kx++) {
                                if (!tap(p, oy, ox, ky, kx, &at))
                                    continue;
                                size_t f = m * filter + (c * p->kh + ky) * p->kw + kx;
                                size_t i = b * image + c * p->h * p->w + at;
                                if (dw)
                                    dw[f] += d * x[i];
                                if (dx)
                                    dx[i] += d * w[f];
                            }
                }
    free(dz);
}
