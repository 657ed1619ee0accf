/* test_class_caps.c: class capsules with routing in one operation, both variants, both families,
 * with and without a leak. */
#include <math.h>
#include <stdio.h>

#include "families.h"
#include "launch.h"
#include "ref.h"
#include "routing_fused.h"

typedef struct shape {
    size_t b, i, j, d, k, r;
} shape;

/* Every size different; one of everything; exactly a group of 16 samples, one more, one less; more
 * than one chunk of capsules; odd counts; J, D, K beyond 16; the sizes that have code of their own
 * (D 16, K 8) with few and with many iterations; more weights of an input capsule than a group of a
 * GPU has sums for. */
static const shape shapes[] = {
    {1, 1, 1, 1, 1, 3},
    {2, 5, 3, 4, 6, 1},
    {3, 7, 4, 6, 5, 3},
    {17, 3, 2, 5, 4, 2},
    {2, 3, 2, 16, 8, 3},
    {1, 33, 2, 3, 2, 2},
    {2, 35, 3, 16, 8, 3},
    {16, 9, 1, 3, 2, 3},
    {15, 18, 5, 8, 9, 2},
    {19, 37, 5, 6, 3, 1},
    {19, 37, 5, 6, 3, 2},
    {19, 37, 5, 6, 3, 4},
    {3, 70, 10, 16, 8, 3},
    {33, 129, 10, 16, 8, 3},
    {33, 67, 3, 16, 8, 1},
    {18, 65, 19, 21, 11, 5},
    {5, 130, 11, 13, 16, 3},
    {32, 66, 4, 32, 17, 2},
    {3, 5, 43, 16, 16, 2},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0], SMALL = 6 };

static const caps_routing_algorithm variants[] = {CAPS_ROUTING_STORED, CAPS_ROUTING_FUSED};

static size_t u_count(const shape *x)
{
    return x->b * x->i * x->k;
}

static size_t w_count(const shape *x)
{
    return x->i * x->j * x->d * x->k;
}

static size_t votes_count(const shape *x)
{
    return x->b * x->i * x->j * x->d;
}

static size_t links_count(const shape *x)
{
    return x->r * x->b * x->i * x->j;
}

static size_t capsules_count(const shape *x)
{
    return x->b * x->j * x->d;
}

/* Of all that follows: the exponential squash in place of the paper's. */
static bool exponential;

/* ---- host ------------------------------------------------------------------------------------ */

typedef struct inputs {
    double *u, *w, *bias, *dv;
} inputs;

/* Votes large enough that couplings differ clearly, whatever the number of inputs. */
static inputs inputs_create(const shape *x, uint64_t seed)
{
    inputs in = {test_random(u_count(x), seed, -1, 1), test_random(w_count(x), seed + 1, -1, 1),
        test_random(x->j * x->d, seed + 2, -0.3, 0.3),
        test_random(capsules_count(x), seed + 3, -1, 1)};
    const double scale = 4 / sqrt((double)(x->i * x->k));
    for (size_t n = 0; n < w_count(x); n++)
        in.w[n] = (float)(in.w[n] * scale);
    return in;
}

static void inputs_release(inputs *in)
{
    free(in->u);
    free(in->w);
    free(in->bias);
    free(in->dv);
}

typedef struct host {
    double *votes, *last, *couplings, *s, *v;
    double *dvotes, *du, *dw, *dbias;
} host;

static host host_run(const shape *x, const inputs *in, bool bias, bool full, bool leaky)
{
    host h = {test_zeros(votes_count(x)), test_zeros(capsules_count(x)), test_zeros(links_count(x)),
        test_zeros(x->r * capsules_count(x)), test_zeros(x->r * capsules_count(x)),
        test_zeros(votes_count(x)), test_zeros(u_count(x)), test_zeros(w_count(x)),
        test_zeros(x->j * x->d)};
    caps_ref_votes_forward(h.votes, in->u, in->w, x->b, x->i, x->j, x->d, x->k);
    caps_ref_routing_forward(h.last, h.couplings, h.s, h.v, h.votes, bias ? in->bias : NULL, leaky,
        exponential, x->b, x->i, x->j, x->d, x->r);
    caps_ref_routing_backward(h.dvotes, h.dbias, in->dv, h.couplings, h.s, h.v, h.votes, leaky,
        full, exponential, x->b, x->i, x->j, x->d, x->r);
    caps_ref_votes_backward(h.du, h.dw, h.dvotes, in->u, in->w, x->b, x->i, x->j, x->d, x->k);
    return h;
}

static void host_release(host *h)
{
    double *all[] = {
        h->votes, h->last, h->couplings, h->s, h->v, h->dvotes, h->du, h->dw, h->dbias};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        free(all[n]);
}

/* ---- device ---------------------------------------------------------------------------------- */

typedef struct device {
    caps_tensor u, w, bias, dv, v, du, dw, dbias, workspace;
    caps_class_caps_state state;
    caps_class_caps how;
} device;

static device device_create(caps_runtime *rt, const shape *x, const inputs *in,
    caps_routing_algorithm variant, caps_routing_grad grad, bool leaky)
{
    const size_t u[] = {x->b, x->i, x->k}, w[] = {x->i, x->j, x->d, x->k}, bias[] = {x->j, x->d};
    const size_t v[] = {x->b, x->j, x->d}, all[] = {x->r, x->b, x->j, x->d};
    device d = {
        .how = {x->b, x->i, x->j, x->d, x->k,
            {x->r, grad, leaky, exponential ? CAPS_SQUASH_EXP : CAPS_SQUASH_PAPER}, variant}};
    const caps_class_caps_workspace room = caps_class_caps_workspace_of(rt, &d.how, true);
    d.u = test_tensor(in->u, 3, u);
    d.w = test_tensor(in->w, 4, w);
    d.bias = test_tensor(in->bias, 2, bias);
    d.dv = test_tensor(in->dv, 3, v);
    d.v = test_tensor(NULL, 3, v);
    d.du = test_tensor(NULL, 3, u);
    d.dw = test_tensor(NULL, 4, w);
    d.dbias = test_tensor(NULL, 2, bias);
    d.state.couplings = test_tensor(NULL, 4, (size_t[]){x->r, x->b, x->i, x->j});
    d.state.s = test_tensor(NULL, 4, all);
    d.state.v = test_tensor(NULL, 4, all);
    if (variant == CAPS_ROUTING_STORED ||
        caps_group_size(rt, 256) == 256) /* small ones may store */
        ck_assert_int_eq(room.votes != 0, variant == CAPS_ROUTING_STORED);
    if (room.votes)
        d.state.votes = test_tensor(NULL, 1, &room.votes);
    d.workspace = test_tensor(NULL, 1, &room.workspace); /* its guards show whether it is enough */
    return d;
}

static void device_release(device *d)
{
    caps_tensor *all[] = {&d->u, &d->w, &d->bias, &d->dv, &d->v, &d->du, &d->dw, &d->dbias,
        &d->state.couplings, &d->state.s, &d->state.v, &d->workspace};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        test_tensor_release(all[n]);
    if (d->state.votes.buffer)
        test_tensor_release(&d->state.votes);
}

/* NaN in the workspace, as other operations may leave it. */
static void spoil(caps_runtime *rt, device *d)
{
    caps_error err = {0};
    const size_t n = caps_tensor_count(&d->workspace);
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
    test_ok(caps_tensor_upload(rt, &d->workspace, values, &err));
    free(values);
}

static void device_run(caps_runtime *rt, device *d, bool bias)
{
    caps_error err = {0};
    test_ok(caps_class_caps_forward(
        rt, &d->v, &d->state, &d->u, &d->w, bias ? &d->bias : NULL, &d->how, &d->workspace, &err));
    spoil(rt, d);
    test_ok(caps_class_caps_backward(rt, &d->du, &d->dw, bias ? &d->dbias : NULL, &d->dv, &d->state,
        &d->u, &d->w, &d->how, &d->workspace, &err));
}

/* Each iteration hands its rounding on to the next through exp; two summations follow. */
#define FORWARD  5e-6
#define GRADIENT 2e-5

static void compare(caps_runtime *rt, const shape *x, caps_routing_algorithm variant, bool bias,
    caps_routing_grad grad, bool leaky)
{
    inputs in = inputs_create(x, x->i);
    host h = host_run(x, &in, bias, grad == CAPS_ROUTING_GRAD_FULL, leaky);
    device d = device_create(rt, x, &in, variant, grad, leaky);
    device_run(rt, &d, bias);
    test_expect(&d.v, h.last, FORWARD, "v");
    test_expect(&d.state.couplings, h.couplings, FORWARD, "couplings");
    test_expect(&d.state.s, h.s, FORWARD, "s");
    test_expect(&d.state.v, h.v, FORWARD, "v of all iterations");
    test_expect(&d.du, h.du, GRADIENT, "du");
    test_expect(&d.dw, h.dw, GRADIENT, "dw");
    if (bias)
        test_expect(&d.dbias, h.dbias, GRADIENT, "dbias");
    device_release(&d);
    host_release(&h);
    inputs_release(&in);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < (test_small() ? SMALL : SHAPES); n++)
        for (size_t v = 0; v < 2 && test_takes(n); v++)
            for (int mode = 0; mode < 4; mode++) {
                const bool bias = mode % 2, leaky = mode / 2;
                if (leaky && test_small() && votes_count(&shapes[n]) > 150)
                    continue;
                /* On a simulator, each of bias and gradient with and without, not all four. */
                if (bias || !test_small())
                    compare(
                        families[_i], &shapes[n], variants[v], bias, CAPS_ROUTING_GRAD_FULL, leaky);
                if (!bias || !test_small())
                    compare(
                        families[_i], &shapes[n], variants[v], bias, CAPS_ROUTING_GRAD_LAST, leaky);
            }
}
END_TEST

/* ---- finite differences ---------------------------------------------------------------------- */

typedef struct problem {
    caps_runtime *rt;
    device *d;
    const inputs *in;
} problem;

static void put(caps_runtime *rt, const caps_tensor *t, const double *values)
{
    caps_error err = {0};
    const size_t n = caps_tensor_count(t);
    float *narrow = malloc(n * sizeof *narrow);
    for (size_t i = 0; i < n; i++)
        narrow[i] = (float)values[i];
    test_ok(caps_tensor_upload(rt, t, narrow, &err));
    free(narrow);
}

/* sum dv v, from the device's forward, of u, then w, then bias. */
static double weighted(const double *x, void *context)
{
    const problem *p = context;
    caps_error err = {0};
    const size_t nu = caps_tensor_count(&p->d->u), nw = caps_tensor_count(&p->d->w);
    put(p->rt, &p->d->u, x);
    put(p->rt, &p->d->w, x + nu);
    put(p->rt, &p->d->bias, x + nu + nw);
    test_ok(caps_class_caps_forward(p->rt, &p->d->v, &p->d->state, &p->d->u, &p->d->w, &p->d->bias,
        &p->d->how, &p->d->workspace, &err));
    double *v = test_download(&p->d->v), sum = 0;
    for (size_t n = 0; n < caps_tensor_count(&p->d->v); n++)
        sum += p->in->dv[n] * v[n];
    free(v);
    return sum;
}

/* The device against itself: no reference in between. float32 allows a coarse step only. */
START_TEST(exponential_squash_agrees_with_the_reference)
{
    exponential = true;
    for (size_t n = 0; n < (test_small() ? 3 : SHAPES); n++)
        for (size_t v = 0; v < 2 && test_takes(n + 1); v++)
            for (int last = 0; last < 2; last++)
                compare(families[_i], &shapes[n], variants[v], n % 2,
                    last ? CAPS_ROUTING_GRAD_LAST : CAPS_ROUTING_GRAD_FULL, n % 3 == 2);
    exponential = false;
}
END_TEST

START_TEST(full_gradient_by_finite_differences)
{
    const shape x = test_small() ? (shape){1, 2, 2, 1, 1, 2} : (shape){2, 3, 2, 3, 2, 3};
    const size_t n[] = {u_count(&x), w_count(&x), x.j * x.d}, all = n[0] + n[1] + n[2];
    for (size_t variant = test_small() ? 2 : 0; variant < 4; variant++) { /* the latter two leaky */
        inputs in = inputs_create(&x, 7);
        device d = device_create(
            families[_i], &x, &in, variants[variant % 2], CAPS_ROUTING_GRAD_FULL, variant / 2);
        device_run(families[_i], &d, true);
        double *at = test_zeros(all), *gradient = test_zeros(all);
        const double *from[] = {in.u, in.w, in.bias};
        const caps_tensor *to[] = {&d.du, &d.dw, &d.dbias};
        for (size_t part = 0, first = 0; part < 3; first += n[part++]) {
            double *have = test_download(to[part]);
            memcpy(at + first, from[part], n[part] * sizeof *at);
            memcpy(gradient + first, have, n[part] * sizeof *at);
            free(have);
        }
        problem p = {families[_i], &d, &in};
        const double error = test_finite_difference(weighted, &p, at, gradient, all, 0x1p-7);
        ck_assert_msg(error < 2e-3, "variant %zu: %g", variant, error);
        free(at);
        free(gradient);
        device_release(&d);
        inputs_release(&in);
    }
}
END_TEST

/* ---- bits ------------------------------------------------------------------------------------ */

/* Forward and backward, and the bits of v, du, dw. */
static void run_bits(caps_runtime *rt, const shape *x, const inputs *in,
    caps_routing_algorithm variant, bool leaky, uint32_t *bits[3])
{
    device d = device_create(rt, x, in, variant, CAPS_ROUTING_GRAD_FULL, leaky);
    device_run(rt, &d, true);
    bits[0] = test_bits(rt, &d.v);
    bits[1] = test_bits(rt, &d.du);
    bits[2] = test_bits(rt, &d.dw);
    device_release(&d);
}

START_TEST(two_runs_give_the_same_bits)
{
    const shape x = shapes[test_small() ? 3 : 13];
    const size_t counts[] = {capsules_count(&x), u_count(&x), w_count(&x)};
    inputs in = inputs_create(&x, 1);
    for (size_t v = test_small() ? 2 : 0; v < 4; v++) { /* the latter two leaky */
        uint32_t *bits[2][3];
        for (int run = 0; run < 2; run++)
            run_bits(families[_i], &x, &in, variants[v % 2], v / 2, bits[run]);
        for (int n = 0; n < 3; n++) {
            ck_assert(memcmp(bits[0][n], bits[1][n], counts[n] * 4) == 0);
            free(bits[0][n]);
            free(bits[1][n]);
        }
    }
    inputs_release(&in);
}
END_TEST

/* Its neighbours in the lanes, and the lanes beyond the batch, leave no trace. */
START_TEST(a_sample_gets_the_same_bits_in_any_batch)
{
    shape all = {18, 20, 3, 5, 4, 3}, one = all;
    if (test_small())
        all.i = one.i = 2;
    one.b = 1;
    inputs in = inputs_create(&all, 1);
    uint32_t *whole[3];
    for (size_t v = test_small() ? 2 : 0; v < 4; v++) { /* the latter two leaky */
        run_bits(families[_i], &all, &in, variants[v % 2], v / 2, whole);
        for (size_t b = 0; b < all.b; b += test_small() ? 17 : 5) {
            uint32_t *bits[3];
            const inputs single = {
                in.u + b * u_count(&one), in.w, in.bias, in.dv + b * capsules_count(&one)};
            run_bits(families[_i], &one, &single, variants[v % 2], v / 2, bits);
            ck_assert(memcmp(bits[0], whole[0] + b * capsules_count(&one),
                          capsules_count(&one) * 4) == 0);
            ck_assert(memcmp(bits[1], whole[1] + b * u_count(&one), u_count(&one) * 4) == 0);
            for (int n = 0; n < 3; n++)
                free(bits[n]);
        }
        for (int n = 0; n < 3; n++)
            free(whole[n]);
    }
    inputs_release(&in);
}
END_TEST

START_TEST(the_variants_agree)
{
    const shape *x = &shapes[test_small() ? 2 : 13];
    inputs in = inputs_create(x, 5);
    for (int leaky = test_small(); leaky < 2; leaky++) {
        device stored =
            device_create(families[_i], x, &in, CAPS_ROUTING_STORED, CAPS_ROUTING_GRAD_FULL, leaky);
        device fused =
            device_create(families[_i], x, &in, CAPS_ROUTING_FUSED, CAPS_ROUTING_GRAD_FULL, leaky);
        device_run(families[_i], &stored, true);
        device_run(families[_i], &fused, true);
        const caps_tensor *a[] = {&stored.v, &stored.state.couplings, &stored.du, &stored.dw};
        const caps_tensor *b[] = {&fused.v, &fused.state.couplings, &fused.du, &fused.dw};
        for (int n = 0; n < 4; n++) {
            double *need = test_download(a[n]);
            test_expect(b[n], need, n < 2 ? FORWARD : GRADIENT, "fused");
            free(need);
        }
        device_release(&stored);
        device_release(&fused);
    }
    inputs_release(&in);
}
END_TEST

/* Parts of the backward that are not wanted are left alone; a batch smaller than planned. */
START_TEST(optional_gradients_and_smaller_batches)
{
    const shape *x = &shapes[2];
    inputs in = inputs_create(x, 9);
    host h = host_run(x, &in, false, true, false);
    for (size_t v = 0; v < 2; v++) {
        caps_error err = {0};
        device d = device_create(families[_i], x, &in, variants[v], CAPS_ROUTING_GRAD_FULL, false);
        d.how.b += 30;
        device_run(families[_i], &d, false);
        test_expect(&d.v, h.last, FORWARD, "v");
        test_expect(&d.du, h.du, GRADIENT, "du");
        test_ok(caps_class_caps_backward(families[_i], NULL, &d.dw, NULL, &d.dv, &d.state, &d.u,
            &d.w, &d.how, &d.workspace, &err));
        test_expect(&d.dw, h.dw, GRADIENT, "dw");
        test_ok(caps_class_caps_backward(families[_i], &d.du, NULL, NULL, &d.dv, &d.state, &d.u,
            &d.w, &d.how, &d.workspace, &err));
        test_expect(&d.du, h.du, GRADIENT, "du");
        device_release(&d);
    }
    host_release(&h);
    inputs_release(&in);
}
END_TEST

/* ---- edges ----------------------------------------------------------------------------------- */

START_TEST(inputs_of_zero_give_capsules_and_gradients_of_zero)
{
    for (int leaky = 0; leaky < 2; leaky++) {
        const shape with = {3, 7, 3, 6, 5, 3}, *x = leaky ? &with : &shapes[2];
        double *even = test_zeros(links_count(x)), *zero = test_zeros(w_count(x) + u_count(x));
        for (size_t n = 0; n < links_count(x); n++)
            even[n] = 0.25; /* J is 4, or 3 and a leak */
        inputs in = inputs_create(x, 1);
        memset(in.u, 0, u_count(x) * sizeof *in.u);
        memset(in.bias, 0, x->j * x->d * sizeof *in.bias);
        for (size_t v = 0; v < 2; v++) {
            device d =
                device_create(families[_i], x, &in, variants[v], CAPS_ROUTING_GRAD_FULL, leaky);
            device_run(families[_i], &d, true);
            test_expect_exactly(&d.v, zero, "v");
            test_expect_exactly(&d.state.couplings, even, "couplings");
            test_expect_exactly(&d.du, zero, "du");
            test_expect_exactly(&d.dw, zero, "dw");
            test_expect_exactly(&d.dbias, zero, "dbias");
            device_release(&d);
        }
        inputs_release(&in);
        free(even);
        free(zero);
    }
}
END_TEST

/* Logits far beyond what exp takes: couplings become 0 or 1, and everything stays finite. */
START_TEST(huge_and_tiny_inputs_stay_finite)
{
    static const double sizes[] = {1e17, 1e6, 1e-12, 1e-20};
    const shape *x = &shapes[test_small() ? 2 : 10];
    for (size_t n = 0; n < 4 * sizeof sizes / sizeof sizes[0]; n++) {
        const double size = sizes[n / 4];
        const bool leaky = n / 2 % 2;
        inputs in = inputs_create(x, 1);
        for (size_t i = 0; i < u_count(x); i++)
            in.u[i] = (float)(in.u[i] * size);
        device d =
            device_create(families[_i], x, &in, variants[n % 2], CAPS_ROUTING_GRAD_FULL, n / 2 % 2);
        device_run(families[_i], &d, false);
        double *v = test_download(&d.v), *c = test_download(&d.state.couplings);
        double *du = test_download(&d.du);
        for (size_t i = 0; i < u_count(x); i++)
            ck_assert_msg(isfinite(du[i]), "du at %g", size);
        for (size_t i = 0; i < links_count(x); i += x->j) {
            double sum = 0;
            for (size_t j = 0; j < x->j; j++)
                sum += c[i + j];
            if (!leaky)
                ck_assert_double_eq_tol(sum, 1, 1e-6);
            else if (size < 1)
                ck_assert_double_eq_tol(sum, (double)x->j / (double)(x->j + 1), 1e-6);
            else /* all or nothing, but for the first iteration */
                ck_assert(i < links_count(x) / x->r || sum < 1e-6 || fabs(sum - 1) < 1e-6);
        }
        for (size_t i = 0; i < capsules_count(x); i++)
            ck_assert(fabs(v[i]) <= 1);
        free(v);
        free(c);
        free(du);
        device_release(&d);
        inputs_release(&in);
    }
}
END_TEST

START_TEST(an_input_that_is_not_finite_shows_in_its_sample_alone)
{
    const shape *x = &shapes[3];
    const double bad[] = {NAN, INFINITY};
    for (size_t n = 0; n < 8; n++) { /* value, leak, variant */
        inputs in = inputs_create(x, 1);
        in.u[x->i * x->k + 2] = bad[n / 4]; /* of the second sample */
        device d =
            device_create(families[_i], x, &in, variants[n % 2], CAPS_ROUTING_GRAD_FULL, n / 2 % 2);
        device_run(families[_i], &d, false);
        double *v = test_download(&d.v), *du = test_download(&d.du);
        for (size_t e = 0; e < capsules_count(x); e++)
            ck_assert_int_eq(isnan(v[e]) != 0, e / (x->j * x->d) == 1);
        for (size_t e = 0; e < u_count(x); e++)
            ck_assert(isfinite(du[e]) || e / (x->i * x->k) == 1);
        free(v);
        free(du);
        device_release(&d);
        inputs_release(&in);
    }
}
END_TEST

/* ---- choice and refusals -------------------------------------------------------------------- */

static caps_runtime *requesting(const char *algorithms)
{
    caps_error err = {0};
    caps_runtime *shared = test_runtime(), *rt;
    caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .kernels = "cpu", .algorithms = algorithms};
    test_ok(caps_runtime_create_from(&rt, caps_runtime_context(shared),
        caps_runtime_device(shared)->handle, caps_runtime_queue(shared), &options, &err));
    return rt;
}

START_TEST(the_choice_depends_on_request_family_and_batch)
{
    caps_class_caps one = {1, 1152, 10, 16, 8, {.iterations = 3}, CAPS_ROUTING_AUTO};
    caps_class_caps many = one;
    many.b = 100;
    caps_runtime *cpu = families[CAPS_FAMILY_CPU], *gpu = families[CAPS_FAMILY_GPU];
    ck_assert_int_eq(caps_class_caps_choose(cpu, &one, CAPS_ROUTING_AUTO), CAPS_ROUTING_STORED);
    ck_assert_int_eq(caps_class_caps_choose(cpu, &many, CAPS_ROUTING_AUTO), CAPS_ROUTING_FUSED);
    ck_assert_int_eq(caps_class_caps_choose(NULL, &many, CAPS_ROUTING_AUTO), CAPS_ROUTING_FUSED);
    /* A device with groups of a few items stores votes. */
    const caps_routing_algorithm wide_groups =
        caps_routing_fused_fits(gpu, &many) ? CAPS_ROUTING_FUSED : CAPS_ROUTING_STORED;
    ck_assert(wide_groups == CAPS_ROUTING_FUSED || caps_group_size(gpu, 256) < 32);
    ck_assert_int_eq(caps_class_caps_choose(gpu, &one, CAPS_ROUTING_AUTO), wide_groups);
    ck_assert_int_eq(caps_class_caps_choose(gpu, &many, CAPS_ROUTING_AUTO), wide_groups);
    /* No group has an item for each output: votes are stored. */
    caps_class_caps wide = {100, 20, 5000, 1, 8, {.iterations = 3}, CAPS_ROUTING_AUTO};
    ck_assert_int_eq(caps_class_caps_choose(gpu, &wide, CAPS_ROUTING_AUTO), CAPS_ROUTING_STORED);
    ck_assert_int_eq(caps_class_caps_choose(gpu, &many, CAPS_ROUTING_FUSED), CAPS_ROUTING_FUSED);
    ck_assert_int_eq(caps_class_caps_choose(cpu, &many, CAPS_ROUTING_STORED), CAPS_ROUTING_STORED);
    caps_runtime *fused = requesting("routing=fused"), *stored = requesting("routing=stored"),
                 *open = requesting("routing=auto");
    ck_assert_int_eq(caps_class_caps_choose(fused, &one, CAPS_ROUTING_AUTO), CAPS_ROUTING_FUSED);
    ck_assert_int_eq(caps_class_caps_choose(stored, &many, CAPS_ROUTING_AUTO), CAPS_ROUTING_STORED);
    ck_assert_int_eq(caps_class_caps_choose(stored, &many, CAPS_ROUTING_FUSED), CAPS_ROUTING_FUSED);
    ck_assert_int_eq(caps_class_caps_choose(open, &many, CAPS_ROUTING_AUTO), CAPS_ROUTING_FUSED);
    caps_runtime_free(fused);
    caps_runtime_free(stored);
    caps_runtime_free(open);
    ck_assert_str_eq(caps_routing_algorithm_name(CAPS_ROUTING_AUTO), "auto");
    ck_assert_str_eq(caps_routing_algorithm_name(CAPS_ROUTING_STORED), "stored");
    ck_assert_str_eq(caps_routing_algorithm_name(CAPS_ROUTING_FUSED), "fused");
}
END_TEST

START_TEST(fused_needs_less_memory)
{
    for (int f = 0; f < FAMILIES; f++)
        for (int training = 0; training < 2; training++) {
            caps_class_caps n = {100, 1152, 10, 16, 8, {.iterations = 3}, CAPS_ROUTING_STORED};
            const size_t votes = n.b * n.i * n.j * n.d;
            const caps_class_caps_workspace stored =
                caps_class_caps_workspace_of(families[f], &n, training);
            n.algorithm = CAPS_ROUTING_FUSED;
            const caps_class_caps_workspace fused =
                caps_class_caps_workspace_of(families[f], &n, training);
            ck_assert_uint_eq(stored.votes, votes);
            if (!caps_routing_fused_fits(families[f], &n)) { /* its groups are too small */
                ck_assert_uint_eq(fused.votes, votes);
                continue;
            }
            ck_assert_uint_eq(fused.votes, 0);
            ck_assert_uint_lt(fused.workspace, votes / 2);
        }
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    const shape *x = &shapes[2];
    caps_runtime *rt = families[_i];
    inputs in = inputs_create(x, 1);
    device d = device_create(rt, x, &in, CAPS_ROUTING_FUSED, CAPS_ROUTING_GRAD_FULL, false);
    const caps_class_caps good = d.how;
    char need[128];
#define FORWARD_CALL(v, bias)                                                                      \
    caps_class_caps_forward(rt, v, &d.state, &d.u, &d.w, bias, &d.how, &d.workspace, err)
#define BACKWARD_CALL(du, dv)                                                                      \
    caps_class_caps_backward(                                                                      \
        rt, du, &d.dw, NULL, dv, &d.state, &d.u, &d.w, &d.how, &d.workspace, err)
    d.how.algorithm = CAPS_ROUTING_AUTO;
    test_refused(
        FORWARD_CALL(&d.v, NULL), "class_caps: algorithm is 0, need 1 (stored) or 2 (fused)");
    d.how = good;
    d.how.routing.iterations = 0;
    test_refused(FORWARD_CALL(&d.v, NULL), "class_caps: iterations is 0, need >= 1");
    d.how.routing.iterations = 2;
    test_refused(FORWARD_CALL(&d.v, NULL),
        "class_caps: state.couplings is float32 [3, 3, 7, 4], need float32 [2, 3, 7, 4]");
    d.how = good;
    d.how.routing.grad = (caps_routing_grad)7;
    test_refused(BACKWARD_CALL(&d.du, &d.dv), "class_caps: grad is 7, need 0 (full) or 1 (last)");
    d.how = good;
    d.how.b = 2;
    test_refused(FORWARD_CALL(&d.v, NULL),
        "class_caps: u is float32 [3, 7, 5], need float32 [1 to 2, 7, 5]");
    d.how = good;
    d.how.j = 6;
    test_refused(FORWARD_CALL(&d.v, NULL),
        "class_caps: w is float32 [7, 4, 6, 5], need float32 [7, 6, 6, 5]");
    d.how = good;
    test_refused(
        FORWARD_CALL(&d.v, &d.v), "class_caps: bias is float32 [3, 4, 6], need float32 [4, 6]");
    test_refused(
        FORWARD_CALL(&d.u, NULL), "class_caps: v is float32 [3, 7, 5], need float32 [3, 4, 6]");
    test_refused(
        BACKWARD_CALL(&d.du, &d.u), "class_caps: dv is float32 [3, 7, 5], need float32 [3, 4, 6]");
    test_refused(
        BACKWARD_CALL(&d.dv, &d.dv), "class_caps: du is float32 [3, 4, 6], need float32 [3, 7, 5]");
    d.how.algorithm = CAPS_ROUTING_STORED;
    test_refused(FORWARD_CALL(&d.v, NULL), "class_caps: state.votes has 0 float32, need >= 504");
    d.how = good;
    const size_t count = caps_tensor_count(&d.workspace);
    d.workspace.shape[0]--;
    snprintf(
        need, sizeof need, "class_caps: workspace has %zu float32, need >= %zu", count - 1, count);
    test_refused(BACKWARD_CALL(&d.du, &d.dv), need);
    d.workspace.shape[0]++;
    device_release(&d);
    inputs_release(&in);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("class_caps");
    TCase *tc = families_case(s, "class_caps");
    families_add(tc, agrees_with_the_reference);
    families_add(tc, exponential_squash_agrees_with_the_reference);
    families_add(tc, full_gradient_by_finite_differences);
    families_add(tc, two_runs_give_the_same_bits);
    families_add(tc, a_sample_gets_the_same_bits_in_any_batch);
    families_add(tc, the_variants_agree);
    families_add(tc, optional_gradients_and_smaller_batches);
    families_add(tc, inputs_of_zero_give_capsules_and_gradients_of_zero);
    families_add(tc, huge_and_tiny_inputs_stay_finite);
    families_add(tc, an_input_that_is_not_finite_shows_in_its_sample_alone);
    tcase_add_test(tc, the_choice_depends_on_request_family_and_batch);
    tcase_add_test(tc, fused_needs_less_memory);
    families_add(tc, wrong_arguments_are_refused);
    return s;
}
