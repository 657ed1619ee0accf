/* self_routing_ref.c: self-routing (Hahn, Pyeon, Kim 2019) of capsules that are vectors.
 *
 * a_i = |u_i|, c_ij = softmax over j of route_ij . u_i, M_j = sum_i c_ij a_i W_ij u_i, A_j = sum_i
 * c_ij a_i, T = sum_i a_i, v_j = (A_j / T) M_j / |M_j|, zero where T or M_j is. Backward: line by
 * line from dv_j = g, with e = M / |M|: dM = A / (T |M|) (g - (e . g) e), dA = e . g / T, dT = -
 * sum_j A_j dA_j / T; of w_ij = c_ij a_i: dw = M's vote . dM + dA. */
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* What a sample's capsules have on the way; arrays of its own. */
typedef struct pass {
    double *votes, *c, *a, *m, *given; /* [I,J,D], [I,J], [I], [J,D], [J] */
    double total;
} pass;

static double *zeros(size_t n)
{
    double *p = calloc(n, sizeof *p);
    if (!p)
        abort();
    return p;
}

static pass pass_of(
    const double *u, const double *w, const double *route, size_t i, size_t j, size_t d, size_t k)
{
    pass p = {zeros(i * j * d), zeros(i * j), zeros(i), zeros(j * d), zeros(j), 0};
    caps_ref_votes_forward(p.votes, u, w, 1, i, j, d, k);
    for (size_t in = 0; in < i; in++) {
        double *c = p.c + in * j;
        p.a[in] = sqrt(dot(u + in * k, u + in * k, k));
        p.total += p.a[in];
        for (size_t out = 0; out < j; out++)
            c[out] = dot(route + (in * j + out) * k, u + in * k, k);
        caps_ref_softmax_forward(c, c, 1, j);
        for (size_t out = 0; out < j; out++) {
            p.given[out] += c[out] * p.a[in];
            for (size_t e = 0; e < d; e++)
                p.m[out * d + e] += c[out] * p.a[in] * p.votes[(in * j + out) * d + e];
        }
    }
    return p;
}

static void pass_release(pass *p)
{
    free(p->votes);
    free(p->c);
    free(p->a);
    free(p->m);
    free(p->given);
}

void caps_ref_self_routing_forward(double *v, double *couplings, const double *u, const double *w,
    const double *route, size_t b, size_t i, size_t j, size_t d, size_t k)
{
    for (size_t sample = 0; sample < b; sample++) {
        pass p = pass_of(u + sample * i * k, w, route, i, j, d, k);
        memcpy(couplings + sample * i * j, p.c, i * j * sizeof *couplings);
        for (size_t out = 0; out < j; out++) {
            const double length = sqrt(dot(p.m + out * d, p.m + out * d, d));
            for (size_t e = 0; e < d; e++)
                v[(sample * j + out) * d + e] =
                    length == 0 ? 0 : p.given[out] / p.total * p.m[out * d + e] / length;
        }
        pass_release(&p);
    }
}

/* One sample; dw and droute are added to. */
static void backward_sample(double *du, double *dw, double *droute, const double *dv,
    const double *u, const double *w, const double *route, size_t i, size_t j, size_t d, size_t k)
{
    pass p = pass_of(u, w, route, i, j, d, k);
    double *dm = zeros(j * d), *dgiven = zeros(j), dtotal = 0;
    for (size_t out = 0; out < j; out++) {
        const double *m = p.m + out * d, *g = dv + out * d, length = sqrt(dot(m, m, d));
        if (length == 0)
            continue;
        const double along = dot(m, g, d) / length;
        for (size_t e = 0; e < d; e++)
            dm[out * d + e] = p.given[out] / p.total / length * (g[e] - along * m[e] / length);
        dgiven[out] = along / p.total;
        dtotal -= p.given[out] / p.total * dgiven[out];
    }
    for (size_t in = 0; in < i; in++) {
        const double *c = p.c + in * j, a = p.a[in];
        double mean = 0, *to = du + in * k;
        for (size_t out = 0; out < j; out++)
            mean += c[out] * (dot(p.votes + (in * j + out) * d, dm + out * d, d) + dgiven[out]);
        for (size_t e = 0; e < k; e++)
            to[e] = a == 0 ? 0 : (mean + dtotal) * u[in * k + e] / a;
        for (size_t out = 0; out < j; out++) {
            const size_t link = in * j + out;
            const double h = dot(p.votes + link * d, dm + out * d, d) + dgiven[out];
            const double dlogit = a * c[out] * (h - mean);
            for (size_t e = 0; e < k; e++) {
                to[e] += dlogit * route[link * k + e];
                droute[link * k + e] += dlogit * u[in * k + e];
                for (size_t f = 0; f < d; f++) {
                    to[e] += c[out] * a * dm[out * d + f] * w[(link * d + f) * k + e];
                    dw[(link * d + f) * k + e] += c[out] * a * dm[out * d + f] * u[in * k + e];
                }
            }
        }
    }
    pass_release(&p);
    free(dm);
    free(dgiven);
}

void caps_ref_self_routing_backward(double *du, double *dw, double *droute, const double *dv,
    const double *u, const double *w, const double *route, size_t b, size_t i, size_t j, size_t d,
    size_t k)
{
    memset(dw, 0, i * j * d * k * sizeof *dw);
    memset(droute, 0, i * j * k * sizeof *droute);
    for (size_t sample = 0; sample < b; sample++)
        backward_sample(du + sample * i * k, dw, droute, dv + sample * j * d, u + sample * i * k, w,
            route, i, j, d, k);
}
