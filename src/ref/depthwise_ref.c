/* depthwise_ref.c: y[b,c,oy,ox] = bias[c] + sum_ky,kx w[c,ky,kx] x[b,c, oy stride + ky, ox stride +
 * kx]. Every product is visited once, forward or backward. */
#include "ref.h"

#include <string.h>

/* Where the product (b, c, oy, ox, ky, kx) reads x, y and w. */
typedef struct product {
    size_t x, y, w, c;
} product;

static void visit(void (*at)(const product *p, void *context), void *context, size_t b, size_t c,
    size_t h, size_t w, size_t k, size_t stride)
{
    const size_t oh = caps_ref_conv_output(h, k, stride, 0);
    const size_t ow = caps_ref_conv_output(w, k, stride, 0);
    for (size_t n = 0; n < b * c; n++)
        for (size_t oy = 0; oy < oh; oy++)
            for (size_t ox = 0; ox < ow; ox++)
                for (size_t ky = 0; ky < k; ky++)
                    for (size_t kx = 0; kx < k; kx++) {
                        const product p = {(n * h + oy * stride + ky) * w + ox * stride + kx,
                            (n * oh + oy) * ow + ox, (n % c * k + ky) * k + kx, n % c};
                        at(&p, context);
                    }
}

typedef struct arrays {
    double *y, *dx, *dw;
    const double *x, *w, *dy;
} arrays;

static void add_forward(const product *p, void *context)
{
    const arrays *a = context;
    a->y[p->y] += a->w[p->w] * a->x[p->x];
}

static void add_backward(const product *p, void *context)
{
    const arrays *a = context;
    a->dx[p->x] += a->w[p->w] * a->dy[p->y];
    a->dw[p->w] += a->x[p->x] * a->dy[p->y];
}

void caps_ref_depthwise_forward(double *y, const double *x, const double *w, const double *bias,
    size_t b, size_t c, size_t h, size_t width, size_t k, size_t stride)
{
    const size_t places =
        caps_ref_conv_output(h, k, stride, 0) * caps_ref_conv_output(width, k, stride, 0);
    arrays a = {.y = y, .x = x, .w = w};
    for (size_t i = 0; i < b * c * places; i++)
        y[i] = bias[i / places % c];
    visit(add_forward, &a, b, c, h, width, k, stride);
}

void caps_ref_depthwise_backward(double *dx, double *dw, double *dbias, const double *dy,
    const double *x, const double *w, size_t b, size_t c, size_t h, size_t width, size_t k,
    size_t stride)
{
    const size_t places =
        caps_ref_conv_output(h, k, stride, 0) * caps_ref_conv_output(width, k, stride, 0);
    arrays a = {.dx = dx, .dw = dw, .x = x, .w = w, .dy = dy};
    memset(dx, 0, b * c * h * width * sizeof *dx);
    memset(dw, 0, c * k * k * sizeof *dw);
    memset(dbias, 0, c * sizeof *dbias);
    for (size_t i = 0; i < b * c * places; i++)
        dbias[i / places % c] += dy[i];
    visit(add_backward, &a, b, c, h, width, k, stride);
}
