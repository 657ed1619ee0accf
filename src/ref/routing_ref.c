/* routing_ref.c: routing by agreement, forward and backward, one sample after the other.
 *
 * Forward: logits_0 = 0; for t = 0 .. r-1
 *     c_t = softmax_j(logits_t), leaky: exp(logits_t) / (1 + sum_j exp(logits_t)),
 *           max-min: (logits_t - min_j) / (max_j - min_j), 1 where max_j = min_j
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
 * max-min: dlogits_t = dlogits_{t+1} + g, where range = max_j - min_j, g = dc_t / range, and then
 *     g[first greatest] -= sum_j c_t dc_t / range, g[first least] -= sum_j (1 - c_t) dc_t / range;
 *     g = 0 where range = 0
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

static double range_of(const double *x, size_t n, size_t *least, size_t *greatest)
{
    *least = *greatest = 0;
    for (size_t j = 1; j < n; j++) {
        *least = x[j] < x[*least] ? j : *least;
        *greatest = x[j] > x[*greatest] ? j : *greatest;
    }
    return x[*greatest] - x[*least];
}

static void max_min(double *c, const double *logits, size_t n)
{
    size_t least, greatest;
    const double range = range_of(logits, n, &least, &greatest);
    for (size_t j = 0; j < n; j++)
        c[j] = range == 0 ? 1 : (logits[j] - logits[least]) / range;
}

/* dlogits [n] are added to. */
static void max_min_gradient(
    double *dlogits, const double *dc, const double *c, const double *logits, size_t n)
{
    size_t least, greatest;
    const double range = range_of(logits, n, &least, &greatest);
    for (size_t j = 0; range > 0 && j < n; j++) {
        dlogits[j] += dc[j] / range;
        dlogits[greatest] -= c[j] * dc[j] / range;
        dlogits[least] -= (1 - c[j]) * dc[j] / range;
    }
}

static void softmax_gradient(double *dlogits, const double *dc, const double *c, size_t n)
{
    double mean = 0;
    for (size_t j = 0; j < n; j++)
        mean += c[j] * dc[j];
    for (size_t j = 0; j < n; j++)
        dlogits[j] += c[j] * (dc[j] - mean);
}

void caps_ref_routing_forward(double *v_last, double *couplings, double *s, double *v,
    const double *votes, const double *bias, int normalization, bool exponential, size_t b,
    size_t i, size_t j, size_t d, size_t iterations)
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
                if (normalization == CAPS_REF_MAX_MIN)
                    max_min(c + in * j, logits + in * j, j);
                else
                    softmax(c + in * j, logits + in * j, j, normalization == CAPS_REF_LEAKY);
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
    const double *couplings, const double *s, const double *v, const double *votes,
    int normalization, bool full, bool exponential, size_t b, size_t i, size_t j, size_t d,
    size_t iterations)
{
    size_t outputs = j * d;
    double *dlogits = zeros(i * j), *dv = zeros(outputs), *ds = zeros(outputs), *dc = zeros(j);
    double *logits = zeros(j);
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
                for (size_t out = 0; out < j; out++)
                    dc[out] = logits[out] = 0;
                for (size_t e = 0; e < outputs; e++) {
                    dx[in * outputs + e] += c[in * j + e / d] * ds[e];
                    dc[e / d] += x[in * outputs + e] * ds[e];
                }
                for (size_t e = 0; e < t * outputs; e++) /* as the forward had them */
                    logits[e % outputs / d] +=
                        x[in * outputs + e % outputs] *
                        v[(e / outputs * b + sample) * outputs + e % outputs];
                if (full && normalization == CAPS_REF_MAX_MIN)
                    max_min_gradient(dlogits + in * j, dc, c + in * j, logits, j);
                else if (full)
                    softmax_gradient(dlogits + in * j, dc, c + in * j, j);
            }
        }
    }
    free(dlogits);
    free(dv);
    free(ds);
    free(dc);
    free(logits);
}
