/* em_ref.c: capsules of 4x4 poses with EM routing (Hinton, Sabour, Frosst 2018), image by image,
 * with every vote of an image in memory. Equations: capscl/ops.h.
 *
 * Backward: reverse mode over the forward's formulas, one after the other, nothing gathered. */
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 1e-7
#define LN_2_PI 1.8378770664093454836

/* A reference has no way to report it, and nothing sensible to return. */
static double *zeros(size_t n)
{
    double *p = calloc(n ? n : 1, sizeof *p);
    if (!p)
        abort();
    return p;
}

/* Sizes, and of one image: votes v [P,E,C,16], r [P,E,C] (R_ij a_i), of every iteration
 * assignments [P,E,C], s, z [P,C], mu, var [P,C,16]. An edge is one of the children of a window. */
typedef struct work {
    const caps_ref_em *p;
    size_t across, windows, edges, children;
    double *v, *assigned, *s, *z, *mu, *var;
} work;

size_t caps_ref_em_windows(const caps_ref_em *p)
{
    if (!p->kernel)
        return 1;
    return ((p->height - p->kernel) / p->stride + 1) * ((p->width - p->kernel) / p->stride + 1);
}

size_t caps_ref_em_edges(const caps_ref_em *p)
{
    return p->types * (p->kernel ? p->kernel * p->kernel : p->height * p->width);
}

static work work_create(const caps_ref_em *p)
{
    work w = {.p = p,
        .across = p->kernel ? (p->width - p->kernel) / p->stride + 1 : 1,
        .windows = caps_ref_em_windows(p),
        .edges = caps_ref_em_edges(p),
        .children = p->types * p->height * p->width};
    const size_t parents = w.windows * p->parents * p->iterations;
    w.v = zeros(w.windows * w.edges * p->parents * 16);
    w.assigned = zeros(parents * w.edges);
    w.s = zeros(parents);
    w.z = zeros(parents);
    w.mu = zeros(parents * 16);
    w.var = zeros(parents * 16);
    return w;
}

static void work_release(work *w)
{
    double *all[] = {w->v, w->assigned, w->s, w->z, w->mu, w->var};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        free(all[n]);
}

static size_t child_of(const work *w, size_t window, size_t edge)
{
    const caps_ref_em *p = w->p;
    if (!p->kernel)
        return edge;
    const size_t tap = edge / p->types, type = edge % p->types;
    const size_t y = window / w->across * p->stride + tap / p->kernel;
    const size_t x = window % w->across * p->stride + tap % p->kernel;
    return (type * p->height + y) * p->width + x;
}

static const double *weight_of(const work *w, const double *weight, size_t edge, size_t parent)
{
    const caps_ref_em *p = w->p;
    return weight + ((p->kernel ? edge : edge / (p->height * p->width)) * p->parents + parent) * 16;
}

/* Of window, edge and parent; at 16 * this their votes. */
static size_t link_of(const work *w, size_t window, size_t edge, size_t parent)
{
    return (window * w->edges + edge) * w->p->parents + parent;
}

/* j in the order of the results. */
static size_t result_of(const work *w, size_t window, size_t parent)
{
    return parent * w->windows + window;
}

#define EACH_LINK(w)                                                                               \
    for (size_t window = 0; window < (w)->windows; window++)                                       \
        for (size_t edge = 0; edge < (w)->edges; edge++)                                           \
            for (size_t parent = 0; parent < (w)->p->parents; parent++)

static void form_votes(work *w, const double *pose, const double *weight)
{
    const caps_ref_em *p = w->p;
    EACH_LINK(w)
    {
        const size_t child = child_of(w, window, edge);
        const double *m = pose + child * 16, *by = weight_of(w, weight, edge, parent);
        double *v = w->v + link_of(w, window, edge, parent) * 16;
        for (size_t h = 0; h < 16; h++) {
            v[h] = 0;
            for (size_t k = 0; k < 4; k++)
                v[h] += m[h / 4 * 4 + k] * by[k * 4 + h % 4];
        }
        if (!p->kernel && p->coordinates) {
            v[3] += ((double)(child / p->width % p->height) + 0.5) / (double)p->height;
            v[7] += ((double)(child % p->width) + 0.5) / (double)p->width;
        }
    }
}

static void assign_evenly(const work *w, double *assigned)
{
    double *seen = zeros(w->children);
    for (size_t window = 0; window < w->windows; window++)
        for (size_t edge = 0; edge < w->edges; edge++)
            seen[child_of(w, window, edge)] += (double)w->p->parents;
    EACH_LINK(w)
    assigned[link_of(w, window, edge, parent)] = 1 / seen[child_of(w, window, edge)];
    free(seen);
}

static double lambda_of(const caps_ref_em *p, size_t t)
{
    return p->lambda * (1 - pow(0.95, (double)t + 1));
}

static double log_sigmoid(double z)
{
    return z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z));
}

/* M-step of iteration t. */
static void m_step(
    work *w, size_t t, const double *activation, const double *beta_u, const double *beta_a)
{
    const caps_ref_em *p = w->p;
    const size_t n = w->windows * p->parents;
    const double *assigned = w->assigned + t * n * w->edges;
    double *s = w->s + t * n, *mu = w->mu + t * n * 16, *var = w->var + t * n * 16;
    EACH_LINK(w)
    {
        const size_t at = window * p->parents + parent, link = link_of(w, window, edge, parent);
        const double r = assigned[link] * activation[child_of(w, window, edge)];
        s[at] += r;
        for (size_t h = 0; h < 16; h++)
            mu[at * 16 + h] += r * w->v[link * 16 + h];
    }
    for (size_t x = 0; x < n * 16; x++)
        mu[x] /= s[x / 16] + EPSILON;
    EACH_LINK(w)
    {
        const size_t at = window * p->parents + parent, link = link_of(w, window, edge, parent);
        const double r = assigned[link] * activation[child_of(w, window, edge)];
        for (size_t h = 0; h < 16; h++) {
            const double d = w->v[link * 16 + h] - mu[at * 16 + h];
            var[at * 16 + h] += r * d * d;
        }
    }
    for (size_t x = 0; x < n; x++) {
        double cost = 0;
        for (size_t h = 0; h < 16; h++) {
            var[x * 16 + h] = var[x * 16 + h] / (s[x] + EPSILON) + p->variance_floor;
            cost += beta_u[x % p->parents] + 0.5 * log(var[x * 16 + h]);
        }
        w->z[t * n + x] = lambda_of(p, t) * (beta_a[x % p->parents] - p->cost_scale * cost * s[x]);
    }
}

/* E-step of iteration t: the assignments of t + 1. */
static void e_step(work *w, size_t t)
{
    const size_t n = w->windows * w->p->parents;
    double *to = w->assigned + (t + 1) * n * w->edges;
    double *top = zeros(w->children), *sum = zeros(w->children);
    for (size_t i = 0; i < w->children; i++)
        top[i] = -INFINITY;
    EACH_LINK(w)
    {
        const size_t at = t * n + window * w->p->parents + parent;
        const size_t link = link_of(w, window, edge, parent), child = child_of(w, window, edge);
        to[link] = log_sigmoid(w->z[at]);
        for (size_t h = 0; h < 16; h++) {
            const double var = w->var[at * 16 + h], d = w->v[link * 16 + h] - w->mu[at * 16 + h];
            to[link] -= d * d / (2 * var) + 0.5 * (LN_2_PI + log(var));
        }
        top[child] = fmax(top[child], to[link]);
    }
    EACH_LINK(w)
    {
        const size_t link = link_of(w, window, edge, parent), child = child_of(w, window, edge);
        sum[child] += to[link] = exp(to[link] - top[child]);
    }
    EACH_LINK(w)
    to[link_of(w, window, edge, parent)] /= sum[child_of(w, window, edge)];
    free(top);
    free(sum);
}

/* Image b. */
static void route(work *w, size_t b, const double *pose, const double *activation,
    const double *weight, const double *beta_u, const double *beta_a)
{
    const caps_ref_em *p = w->p;
    const size_t n = w->windows * p->parents, links = n * w->edges, all = n * p->iterations;
    memset(w->s, 0, all * sizeof *w->s);
    memset(w->mu, 0, all * 16 * sizeof *w->mu);
    memset(w->var, 0, all * 16 * sizeof *w->var);
    form_votes(w, pose + b * w->children * 16, weight);
    assign_evenly(w, w->assigned);
    for (size_t t = 0; t < p->iterations; t++) {
        if (p->fixed && t + 1 == p->iterations)
            memcpy(w->assigned + t * links, p->fixed + b * links, links * sizeof *w->assigned);
        m_step(w, t, activation + b * w->children, beta_u, beta_a);
        if (t + 1 < p->iterations)
            e_step(w, t);
    }
}

void caps_ref_em_forward(double *pose_out, double *activation_out, double *assigned,
    const double *pose, const double *activation, const double *weight, const double *beta_u,
    const double *beta_a, const caps_ref_em *p)
{
    work w = work_create(p);
    const size_t n = w.windows * p->parents, last = (p->iterations - 1) * n;
    for (size_t b = 0; b < p->b; b++) {
        route(&w, b, pose, activation, weight, beta_u, beta_a);
        for (size_t x = 0; x < n; x++) {
            const size_t to = b * n + result_of(&w, x / p->parents, x % p->parents);
            memcpy(pose_out + to * 16, w.mu + (last + x) * 16, 16 * sizeof(double));
            activation_out[to] = 1 / (1 + exp(-w.z[last + x]));
        }
        for (size_t t = 0; assigned && t < p->iterations; t++)
            memcpy(assigned + (t * p->b + b) * n * w.edges, w.assigned + t * n * w.edges,
                n * w.edges * sizeof *assigned);
    }
    work_release(&w);
}

/* Gradients of an image: votes, r of the iteration at hand, logits of the one before. */
typedef struct gradients {
    double *v, *r, *logit, *activation, *mu, *var, *z;
} gradients;

/* From the logits that iteration t made. */
static void e_step_back(const work *w, gradients *g, size_t t)
{
    const size_t n = w->windows * w->p->parents;
    EACH_LINK(w)
    {
        const size_t one = window * w->p->parents + parent, at = t * n + one;
        const size_t link = link_of(w, window, edge, parent);
        const double l = g->logit[link];
        g->z[one] += l / (1 + exp(w->z[at]));
        for (size_t h = 0; h < 16; h++) {
            const double var = w->var[at * 16 + h], d = w->v[link * 16 + h] - w->mu[at * 16 + h];
            g->v[link * 16 + h] -= l * d / var;
            g->mu[one * 16 + h] += l * d / var;
            g->var[one * 16 + h] += l * (d * d / (2 * var * var) - 1 / (2 * var));
        }
    }
}

static void m_step_back(const work *w, gradients *g, size_t t, const double *activation,
    const double *beta_u, double *dbeta_u, double *dbeta_a)
{
    const caps_ref_em *p = w->p;
    const size_t n = w->windows * p->parents, links = n * w->edges;
    for (size_t one = 0; one < n; one++) {
        const size_t at = t * n + one, parent = one % p->parents;
        const double z = lambda_of(p, t) * g->z[one], cost = -z * p->cost_scale;
        const double sum = w->s[at], d = sum + EPSILON;
        double ds = 0;
        dbeta_a[parent] += z;
        dbeta_u[parent] += cost * 16 * sum;
        for (size_t h = 0; h < 16; h++) {
            const double var = w->var[at * 16 + h];
            g->var[one * 16 + h] += cost * sum / (2 * var);
            ds += cost * (beta_u[parent] + 0.5 * log(var));
            ds -= g->var[one * 16 + h] * (var - p->variance_floor) / d;
        }
        for (size_t edge = 0; edge < w->edges; edge++) {
            const size_t window = one / p->parents, link = link_of(w, window, edge, parent);
            const double r = w->assigned[t * links + link] * activation[child_of(w, window, edge)];
            g->r[link] = 0;
            for (size_t h = 0; h < 16; h++) {
                const double dev = w->v[link * 16 + h] - w->mu[at * 16 + h];
                const double by = g->var[one * 16 + h] / d;
                g->r[link] += by * dev * dev;
                g->v[link * 16 + h] += 2 * by * r * dev;
                g->mu[one * 16 + h] -= 2 * by * r * dev;
            }
        }
        for (size_t h = 0; h < 16; h++)
            ds -= g->mu[one * 16 + h] * w->mu[at * 16 + h] / d;
        for (size_t edge = 0; edge < w->edges; edge++) {
            const size_t window = one / p->parents, link = link_of(w, window, edge, parent);
            const double r = w->assigned[t * links + link] * activation[child_of(w, window, edge)];
            g->r[link] += ds;
            for (size_t h = 0; h < 16; h++) {
                g->r[link] += g->mu[one * 16 + h] * w->v[link * 16 + h] / d;
                g->v[link * 16 + h] += g->mu[one * 16 + h] * r / d;
            }
        }
    }
}

/* From the gradient of r to those of the activations and of the logits of the iteration before. */
static void softmax_back(const work *w, gradients *g, size_t t, const double *activation)
{
    const double *assigned = w->assigned + t * w->windows * w->p->parents * w->edges;
    double *sum = zeros(w->children);
    EACH_LINK(w)
    {
        const size_t link = link_of(w, window, edge, parent);
        sum[child_of(w, window, edge)] += assigned[link] * g->r[link];
    }
    EACH_LINK(w)
    {
        const size_t link = link_of(w, window, edge, parent), child = child_of(w, window, edge);
        g->logit[link] = assigned[link] * activation[child] * (g->r[link] - sum[child]);
    }
    for (size_t i = 0; i < w->children; i++)
        g->activation[i] += sum[i];
    free(sum);
}

static void votes_back(const work *w, const gradients *g, double *dpose, double *dweight,
    const double *pose, const double *weight)
{
    EACH_LINK(w)
    {
        const double *by = weight_of(w, weight, edge, parent);
        double *dby = dweight + (by - weight);
        const double *dv = g->v + link_of(w, window, edge, parent) * 16;
        const size_t child = child_of(w, window, edge);
        for (size_t h = 0; h < 16; h++)
            for (size_t k = 0; k < 4; k++) {
                dby[k * 4 + h % 4] += dv[h] * pose[child * 16 + h / 4 * 4 + k];
                dpose[child * 16 + h / 4 * 4 + k] += dv[h] * by[k * 4 + h % 4];
            }
    }
}

void caps_ref_em_backward(double *dpose, double *dactivation, double *dweight, double *dbeta_u,
    double *dbeta_a, const double *dpose_out, const double *dactivation_out, const double *pose,
    const double *activation, const double *weight, const double *beta_u, const double *beta_a,
    const caps_ref_em *p)
{
    work w = work_create(p);
    const size_t n = w.windows * p->parents, links = n * w.edges, weights = p->parents * 16;
    memset(dpose, 0, p->b * w.children * 16 * sizeof *dpose);
    memset(dactivation, 0, p->b * w.children * sizeof *dactivation);
    memset(dweight, 0, weights * (p->kernel ? w.edges : p->types) * sizeof *dweight);
    memset(dbeta_u, 0, p->parents * sizeof *dbeta_u);
    memset(dbeta_a, 0, p->parents * sizeof *dbeta_a);
    for (size_t b = 0; b < p->b; b++) {
        const double *a = activation + b * w.children;
        gradients g = {zeros(links * 16), zeros(links), zeros(links), dactivation + b * w.children,
            zeros(n * 16), zeros(n * 16), zeros(n)};
        route(&w, b, pose, activation, weight, beta_u, beta_a);
        for (size_t t = p->iterations; t-- > (p->last ? p->iterations - 1 : 0);) {
            const bool last = t + 1 == p->iterations;
            memset(g.mu, 0, n * 16 * sizeof *g.mu);
            memset(g.var, 0, n * 16 * sizeof *g.var);
            memset(g.z, 0, n * sizeof *g.z);
            for (size_t x = 0; last && x < n; x++) {
                const size_t from = b * n + result_of(&w, x / p->parents, x % p->parents);
                const double small = exp(-fabs(w.z[t * n + x])), part = 1 / (1 + small);
                memcpy(g.mu + x * 16, dpose_out + from * 16, 16 * sizeof(double));
                g.z[x] = dactivation_out[from] * small * part * part; /* a (1 - a) */
            }
            if (!last)
                e_step_back(&w, &g, t);
            m_step_back(&w, &g, t, a, beta_u, dbeta_u, dbeta_a);
            softmax_back(&w, &g, t, a);
        }
        votes_back(
            &w, &g, dpose + b * w.children * 16, dweight, pose + b * w.children * 16, weight);
        double *own[] = {g.v, g.r, g.logit, g.mu, g.var, g.z};
        for (size_t x = 0; x < sizeof own / sizeof own[0]; x++)
            free(own[x]);
    }
    work_release(&w);
}
