/* routing_ref.c: routing by agreement, forward and backward, one sample after the other.
 *
 * Forward: logits_0 = 0; for t = 0 .. r-1
 *     c_t = softmax_j(logits_t), leaky: exp(logits_t) / (1 + sum_j exp(logits_t))
 *     s_t = sum_i c_t votes + bias
 *     v_t = squash(s_t)
 *     logits_{t+1} = logits_t + votes . v_t
 *
 * Backward, reverse mode over the same loop. dlogits_t is the gradient that reaches logits_t, zero
 * behind the last iteration; for t = r-1 .. 0
 *     dv_t      = sum_i dlogits_{t+1} votes;  for t = r-1 that of the loss instead
 *     dvotes   += dlogits_{t+1} v_t
 *     ds_t      = squash backward(dv_t, s_t)
 *     dvotes   += c_t ds_t;  dbias += ds_t;  dc_t = votes . ds_t
 *     dlogits_t = dlogits_{t+1} + c_t (dc_t - sum_j c_t dc_t)
 * With couplings as constants only the last iteration has a part in it, and without dlogits. */
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A reference has no way to report it, and nothing sensible to return. */
static double *zeros(size_t n)
{
    double *p = calloc(n, sizeof *p);
    if (!p)
        abort();
    return p;
}

/* leaky: of one more logit, 0, whose share is left out. */
static void softmax(double *c, const double *logits, size_t n, bool leaky)
{
    double top = leaky ? fmax(logits[0], 0) : logits[0], sum;
    for (size_t j = 1; j < n; j++)
        top = fmax(top, logits[j]);
    sum = leaky ? exp(-top) : 0;
    for (size_t j = 0; j < n; j++)
        sum += c[j] = exp(logits[j] - top);
    for (size_t j = 0; j < n; j++)
        c[j] /= sum;
}

void caps_ref_routing_forward(double *v_last, double *couplings, double *s, double *v,
    const double *votes, const double *bias, bool leaky, bool exponential, size_t b, size_t i,
    size_t j, size_t d, size_t iterations)
{
    size_t outputs = j * d;
    double *logits = zeros(i * j);
    for (size_t sample = 0; sample < b; sample++) {
        const double *x = votes + sample * i * outputs;
        memset(logits, 0, i * j * sizeof *logits);
        for (size_t t = 0; t < iterations; t++) {
            double *c = couplings + (t * b + sample) * i * j;
            double *st = s + (t * b + sample) * outputs, *vt = v + (t * b + sample) * outputs;
            for (size_t e = 0; e < outputs; e++)
                st[e] = bias ? bias[e] : 0;
            for (size_t in = 0; in < i; in++) {
                softmax(c + in * j, logits + in * j, j, leaky);
                for (size_t e = 0; e < outputs; e++)
                    st[e] += c[in * j + e / d] * x[in * outputs + e];
            }
            caps_ref_squash_forward(vt, st, exponential, j, d);
            for (size_t in = 0; in < i; in++)
                for (size_t e = 0; e < outputs; e++)
                    logits[in * j + e / d] += x[in * outputs + e] * vt[e];
            if (t + 1 == iterations)
                memcpy(v_last + sample * outputs, vt, outputs * sizeof *vt);
        }
    }
    free(logits);
}

void caps_ref_routing_backward(double *dvotes, double *dbias, const double *dv_last,
    const double *couplings, const double *s, const double *v, const double *votes, bool full,
    bool exponential, size_t b, size_t i, size_t j, size_t d, size_t iterations)
{
    size_t outputs = j * d;
    double *dlogits = zeros(i * j), *dv = zeros(outputs), *ds = zeros(outputs), *dc = zeros(j);
    memset(dvotes, 0, b * i * outputs * sizeof *dvotes);
    for (size_t e = 0; dbias && e < outputs; e++)
        dbias[e] = 0;
    for (size_t sample = 0; sample < b; sample++) {
        const double *x = votes + sample * i * outputs;
        double *dx = dvotes + sample * i * outputs;
        memset(dlogits, 0, i * j * sizeof *dlogits);
        for (size_t t = iterations; t-- > (full ? 0 : iterations - 1);) {
            const double *c = couplings + (t * b + sample) * i * j;
            const double *vt = v + (t * b + sample) * outputs;
            for (size_t e = 0; e < outputs; e++)
                dv[e] = t + 1 == iterations ? dv_last[sample * outputs + e] : 0;
            for (size_t in = 0; in < i; in++)
                for (size_t e = 0; e < outputs; e++) {
                    dv[e] += dlogits[in * j + e / d] * x[in * outputs + e];
                    dx[in * outputs + e] += dlogits[in * j + e / d] * vt[e];
                }
            caps_ref_squash_backward(ds, dv, s + (t * b + sample) * outputs, exponential, j, d);
            for (size_t e = 0; dbias && e < outputs; e++)
                dbias[e] += ds[e];
            for (size_t in = 0; in < i; in++) {
                double mean = 0;
                for (size_t out = 0; out < j; out++)
                    dc[out] = 0;
                for (size_t e = 0; e < outputs; e++) {
                    dx[in * outputs + e] += c[in * j + e / d] * ds[e];
                    dc[e / d] += x[in * outputs + e] * ds[e];
                }
                for (size_t out = 0; out < j; out++)
                    mean += c[in * j + out] * dc[out];
                for (size_t out = 0; full && out < j; out++)
                    dlogits[in * j + out] += c[in * j + out] * (dc[out] - mean);
            }
        }
    }
    free(dlogits);
    free(dv);
    free(ds);
    free(dc);
}
