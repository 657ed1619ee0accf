/* test_em.c: votes and EM routing of capsules of 4x4 poses, both families, against the reference,
 * and the reference against finite differences. */
#include <math.h>
#include <stdio.h>

#include "families.h"
#include "ref.h"

/* Every size different; a window that is all, one child, no multiple of anything; strides that
 * leave children out or show them to several windows; kernel 0 with and without coordinates; a
 * group of sixteen images, one more, one less; more children than an item holds; hundreds of
 * parents; more terms of the gradient than go at once. */
static const caps_ref_em shapes[] = {
    {2, 2, 3, 4, 3, 2, 1, false, false, 2, 0.3, 1, 5e-4, NULL},
    {3, 2, 2, 3, 5, 0, 1, true, false, 3, 0.3, 0.5, 5e-4, NULL},
    {1, 1, 1, 1, 1, 1, 1, false, false, 1, 0.3, 1, 5e-4, NULL},
    {2, 1, 3, 5, 2, 1, 2, false, false, 3, 0.3, 1, 1e-3, NULL},
    {1, 3, 7, 6, 2, 2, 3, false, false, 2, 0.1, 1, 5e-4, NULL},
    {17, 3, 5, 6, 4, 3, 1, false, false, 3, 0.05, 0.2, 5e-4, NULL},
    {15, 2, 7, 9, 3, 3, 2, false, false, 4, 0.05, 0.2, 5e-4, NULL},
    {33, 5, 4, 3, 7, 0, 0, false, false, 3, 0.1, 0.1, 5e-4, NULL},
    {2, 5, 9, 8, 3, 0, 1, true, false, 3, 0.1, 0.05, 5e-4, NULL},
    {1, 1, 18, 19, 2, 0, 1, true, false, 2, 0.1, 0.02, 5e-4, NULL},
    {1, 37, 4, 3, 2, 3, 1, false, false, 2, 0.1, 0.02, 5e-4, NULL},
    {2, 2, 3, 3, 300, 2, 1, false, false, 3, 0.3, 1, 5e-4, NULL},
    {16, 19, 3, 3, 2, 2, 1, false, false, 1, 0.3, 1, 5e-4, NULL},
    {3, 3, 4, 5, 5, 0, 0, true, false, 2, 0.2, 1, 5e-2, NULL},
    {3, 5, 1, 1, 4, 0, 0, false, false, 3, 0.5, 1, 5e-2, NULL},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0], SMALL = 3 };

static size_t children_of(const caps_ref_em *p)
{
    return p->types * p->height * p->width;
}

static size_t results_of(const caps_ref_em *p)
{
    return caps_ref_em_windows(p) * p->parents;
}

static size_t weights_of(const caps_ref_em *p)
{
    return (p->kernel ? caps_ref_em_edges(p) : p->types) * p->parents * 16;
}

static size_t links_of(const caps_ref_em *p)
{
    return p->iterations * p->b * caps_ref_em_edges(p) * results_of(p);
}

/* ---- host ------------------------------------------------------------------------------------ */

enum { POSE, ACTIVATION, WEIGHT, BETA_U, BETA_A, INPUTS };

typedef struct host {
    caps_ref_em p;
    size_t count[INPUTS];
    double *in[INPUTS], *d[INPUTS];
    double *pose_out, *activation_out, *assigned, *dpose_out, *dactivation_out;
} host;

/* `scale`: of the votes. */
static host host_create(const caps_ref_em *p, uint64_t seed, double scale)
{
    host h = {.p = *p,
        .count = {p->b * children_of(p) * 16, p->b * children_of(p), weights_of(p), p->parents,
            p->parents}};
    const double range[INPUTS][2] = {{-scale, scale}, {0, 1}, {-0.8, 0.8}, {-1, 1}, {-3, 3}};
    for (size_t n = 0; n < INPUTS; n++) {
        h.in[n] = test_random(h.count[n], seed + n, range[n][0], range[n][1]);
        h.d[n] = test_zeros(h.count[n]);
    }
    h.dpose_out = test_random(p->b * results_of(p) * 16, seed + 8, -1, 1);
    h.dactivation_out = test_random(p->b * results_of(p), seed + 9, -10, 10);
    h.pose_out = test_zeros(p->b * results_of(p) * 16);
    h.activation_out = test_zeros(p->b * results_of(p));
    h.assigned = test_zeros(links_of(p));
    return h;
}

static void host_forward(host *h)
{
    caps_ref_em_forward(h->pose_out, h->activation_out, h->assigned, h->in[POSE], h->in[ACTIVATION],
        h->in[WEIGHT], h->in[BETA_U], h->in[BETA_A], &h->p);
}

static void host_run(host *h)
{
    host_forward(h);
    caps_ref_em_backward(h->d[POSE], h->d[ACTIVATION], h->d[WEIGHT], h->d[BETA_U], h->d[BETA_A],
        h->dpose_out, h->dactivation_out, h->in[POSE], h->in[ACTIVATION], h->in[WEIGHT],
        h->in[BETA_U], h->in[BETA_A], &h->p);
}

static void host_release(host *h)
{
    for (size_t n = 0; n < INPUTS; n++) {
        free(h->in[n]);
        free(h->d[n]);
    }
    double *all[] = {h->pose_out, h->activation_out, h->assigned, h->dpose_out, h->dactivation_out};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        free(all[n]);
}

/* ---- the reference by finite differences ----------------------------------------------------- */

/* The results weighed with their gradients, of all inputs one after the other. */
static double weighted(const double *x, void *context)
{
    host *h = context;
    double sum = 0;
    for (size_t n = 0; n < INPUTS; x += h->count[n++])
        memcpy(h->in[n], x, h->count[n] * sizeof *x);
    host_forward(h);
    for (size_t n = 0; n < h->p.b * results_of(&h->p) * 16; n++)
        sum += h->dpose_out[n] * h->pose_out[n];
    for (size_t n = 0; n < h->p.b * results_of(&h->p); n++)
        sum += h->dactivation_out[n] * h->activation_out[n];
    return sum;
}

/* Constants in `last` are those of the point where the gradient is taken. */
static double difference_of(const caps_ref_em *p, bool last)
{
    host h = host_create(p, 3, 1);
    size_t all = 0, at = 0;
    h.p.last = last;
    host_run(&h);
    double *fixed = h.assigned;
    if (last) {
        h.p.fixed = fixed + links_of(p) / p->iterations * (p->iterations - 1);
        h.assigned = test_zeros(links_of(p));
    }
    for (size_t n = 0; n < INPUTS; n++)
        all += h.count[n];
    double *x = test_zeros(all), *gradient = test_zeros(all);
    for (size_t n = 0; n < INPUTS; at += h.count[n++]) {
        memcpy(x + at, h.in[n], h.count[n] * sizeof *x);
        memcpy(gradient + at, h.d[n], h.count[n] * sizeof *x);
    }
    const double error = test_finite_difference(weighted, &h, x, gradient, all, 1e-6);
    free(x);
    free(gradient);
    if (last)
        free(fixed);
    host_release(&h);
    return error;
}

START_TEST(the_reference_agrees_with_finite_differences)
{
    static const caps_ref_em cases[] = {
        {2, 2, 3, 4, 3, 2, 1, false, false, 3, 0.3, 0.7, 5e-2, NULL},
        {1, 2, 2, 3, 3, 0, 1, true, false, 3, 0.3, 0.7, 5e-2, NULL},
        {1, 1, 4, 3, 2, 2, 2, false, false, 1, 0.3, 0.7, 5e-2, NULL},
        {1, 1, 3, 4, 2, 1, 2, false, false, 4, 0.3, 0.7, 5e-2, NULL},
        /* The two layers of a network of tests/model/test_lists.c. */
        {1, 3, 4, 5, 5, 0, 0, true, false, 2, 0.2, 1, 5e-2, NULL},
        {3, 5, 1, 1, 4, 0, 0, false, false, 3, 0.5, 1, 5e-2, NULL},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++)
        for (int last = 0; last < 2; last++) {
            const double error = difference_of(&cases[n], last);
            ck_assert_msg(error < 1e-6, "case %zu, last %d: %g", n, last, error);
        }
}
END_TEST

/* ---- device ---------------------------------------------------------------------------------- */

typedef struct device {
    caps_em how;
    caps_tensor in[INPUTS], d[INPUTS];
    caps_tensor pose_out, activation_out, dpose_out, dactivation_out, state, workspace;
} device;

static device device_create(caps_runtime *rt, const host *h)
{
    const caps_ref_em *p = &h->p;
    const size_t pose[] = {p->b, children_of(p), 16}, out[] = {p->b, results_of(p), 16};
    const size_t weight[] = {p->kernel, p->kernel, p->types, p->parents, 4, 4};
    const size_t skip = p->kernel ? 0 : 2;
    const size_t *shape[INPUTS] = {pose, pose, weight + skip, &p->parents, &p->parents};
    const int ndim[INPUTS] = {3, 2, 6 - (int)skip, 1, 1};
    device d = {.how = {p->b, p->types, p->height, p->width, p->parents, p->kernel, p->stride,
                    p->coordinates, p->iterations,
                    p->last ? CAPS_ROUTING_GRAD_LAST : CAPS_ROUTING_GRAD_FULL, (float)p->lambda,
                    (float)p->cost_scale, (float)p->variance_floor}};
    const caps_em_workspace need = caps_em_workspace_of(rt, &d.how, true);
    for (size_t n = 0; n < INPUTS; n++) {
        d.in[n] = test_tensor(h->in[n], ndim[n], shape[n]);
        d.d[n] = test_tensor(NULL, ndim[n], shape[n]);
    }
    d.pose_out = test_tensor(NULL, 3, out);
    d.activation_out = test_tensor(NULL, 2, out);
    d.dpose_out = test_tensor(h->dpose_out, 3, out);
    d.dactivation_out = test_tensor(h->dactivation_out, 2, out);
    d.state = test_tensor(NULL, 1, &need.state); /* guards show whether that is enough */
    d.workspace = test_tensor(NULL, 1, &need.workspace);
    return d;
}

static void device_release(device *d)
{
    for (size_t n = 0; n < INPUTS; n++) {
        test_tensor_release(&d->in[n]);
        test_tensor_release(&d->d[n]);
    }
    caps_tensor *all[] = {&d->pose_out, &d->activation_out, &d->dpose_out, &d->dactivation_out,
        &d->state, &d->workspace};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        test_tensor_release(all[n]);
}

static caps_status forward(caps_runtime *rt, device *d, caps_error *err)
{
    return caps_em_forward(rt, &d->pose_out, &d->activation_out, &d->state, &d->in[POSE],
        &d->in[ACTIVATION], &d->in[WEIGHT], &d->in[BETA_U], &d->in[BETA_A], &d->how, &d->workspace,
        err);
}

static caps_status backward(
    caps_runtime *rt, device *d, bool poses, bool activations, caps_error *err)
{
    return caps_em_backward(rt, poses ? &d->d[POSE] : NULL, activations ? &d->d[ACTIVATION] : NULL,
        &d->d[WEIGHT], &d->d[BETA_U], &d->d[BETA_A], &d->dpose_out, &d->dactivation_out, &d->state,
        &d->in[POSE], &d->in[ACTIVATION], &d->in[WEIGHT], &d->in[BETA_U], &d->in[BETA_A], &d->how,
        &d->workspace, err);
}

/* Forward, NaN into the workspace as other operations may leave it, backward. */
static void device_run(caps_runtime *rt, device *d)
{
    caps_error err = {0};
    const size_t n = caps_tensor_count(&d->workspace);
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
    test_ok(forward(rt, d, &err));
    test_ok(caps_tensor_upload(rt, &d->workspace, values, &err));
    test_ok(backward(rt, d, true, true, &err));
    free(values);
}

#define FORWARD  1e-5
#define GRADIENT 5e-4

static void compare(caps_runtime *rt, host *h)
{
    static const char *const names[INPUTS] = {
        "dpose", "dactivation", "dweight", "dbeta_u", "dbeta_a"};
    caps_error err = {0};
    device d = device_create(rt, h);
    const size_t edges = caps_ref_em_edges(&h->p), windows = caps_ref_em_windows(&h->p);
    const size_t links[] = {h->p.b, windows, edges, h->p.parents};
    const size_t shared[] = {h->p.b, edges, h->p.parents};
    host_run(h);
    device_run(rt, &d);
    test_expect(&d.pose_out, h->pose_out, FORWARD, "pose_out");
    test_expect(&d.activation_out, h->activation_out, FORWARD, "activation_out");
    for (size_t t = 0; t < h->p.iterations; t++) {
        caps_tensor R = test_tensor(NULL, h->p.kernel ? 4 : 3, h->p.kernel ? links : shared);
        test_ok(caps_em_assignment(rt, &R, &d.state, &d.how, t, &err));
        test_expect(&R, h->assigned + links_of(&h->p) / h->p.iterations * t, 10 * FORWARD, "R");
        test_tensor_release(&R);
    }
    for (size_t n = 0; n < INPUTS; n++)
        test_expect(&d.d[n], h->d[n], GRADIENT, names[n]);
    device_release(&d);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < (test_small() ? SMALL : SHAPES); n++)
        for (int last = 0; last < 2 && test_takes(n); last++) {
            host h = host_create(&shapes[n], n, 1);
            h.p.last = last;
            compare(families[_i], &h);
            host_release(&h);
        }
}
END_TEST

/* ---- where it hurts -------------------------------------------------------------------------- */

/* Activations of 0 and 1 and next to them; costs that drive z to both ends; children that agree
 * to the last bit, or not at all. */
START_TEST(extremes_stay_finite_and_agree)
{
    for (size_t n = 0; n < (test_small() ? 2 : 6); n++) {
        host h = host_create(&shapes[n], n + 50, n % 2 ? 4 : 0.01);
        static const double ends[] = {0, 1, 1e-30, 1 - 0x1p-24, 1e-8, 0.5};
        for (size_t x = 0; x < h.count[ACTIVATION]; x++)
            h.in[ACTIVATION][x] = (float)ends[x % 6];
        h.p.lambda = n % 3 ? 3 : 1e-4;
        for (size_t x = 0; x < h.count[BETA_A]; x++)
            h.in[BETA_A][x] = x % 2 ? -8 : 8;
        compare(families[_i], &h);
        host_release(&h);
    }
}
END_TEST

/* All activations 0: no parent has a child; and all poses 0: every vote is its parent's mean. */
START_TEST(inputs_of_zero)
{
    for (int input = POSE; input <= ACTIVATION; input++) {
        host h = host_create(&shapes[0], 5, 1);
        memset(h.in[input], 0, h.count[input] * sizeof(double));
        compare(families[_i], &h);
        host_release(&h);
    }
}
END_TEST

START_TEST(unseen_children_have_gradients_of_zero)
{
    const caps_ref_em *p = &shapes[test_small() ? 3 : 4];
    host h = host_create(p, 5, 1);
    device d = device_create(families[_i], &h);
    device_run(families[_i], &d);
    double *dpose = test_download(&d.d[POSE]), *da = test_download(&d.d[ACTIVATION]);
    size_t unseen = 0;
    for (size_t i = 0; i < p->b * children_of(p); i++) {
        const size_t y = i / p->width % p->height, x = i % p->width;
        const size_t far = (p->height - p->kernel) / p->stride * p->stride + p->kernel;
        const size_t wide = (p->width - p->kernel) / p->stride * p->stride + p->kernel;
        if (y < far && x < wide && y % p->stride < p->kernel && x % p->stride < p->kernel)
            continue;
        unseen++;
        ck_assert(da[i] == 0);
        for (size_t e = 0; e < 16; e++)
            ck_assert(dpose[i * 16 + e] == 0);
    }
    ck_assert_uint_gt(unseen, 0);
    free(dpose);
    free(da);
    device_release(&d);
    host_release(&h);
}
END_TEST

/* ---- bits ------------------------------------------------------------------------------------ */

/* Of image b alone: all of its bits are those that it has in the batch. */
START_TEST(a_batch_is_its_images)
{
    const caps_ref_em all = shapes[test_small() ? 0 : 5];
    const caps_tensor *of[4];
    host h = host_create(&all, 9, 1);
    device d = device_create(families[_i], &h);
    device_run(families[_i], &d);
    uint32_t *whole[4], *again[4];
    for (int n = 0; n < 4; n++) {
        of[n] = (const caps_tensor *[]){
            &d.pose_out, &d.activation_out, &d.d[POSE], &d.d[ACTIVATION]}[n];
        whole[n] = test_bits(families[_i], of[n]);
    }
    uint32_t *weight = test_bits(families[_i], &d.d[WEIGHT]);
    device_run(families[_i], &d);
    uint32_t *weight_again = test_bits(families[_i], &d.d[WEIGHT]);
    ck_assert(memcmp(weight, weight_again, h.count[WEIGHT] * 4) == 0);
    for (int n = 0; n < 4; n++) {
        again[n] = test_bits(families[_i], of[n]);
        ck_assert(memcmp(whole[n], again[n], caps_tensor_bytes(of[n])) == 0);
        free(again[n]);
    }
    const size_t last = all.b - 1;
    host one = h;
    one.p.b = 1;
    one.in[POSE] += last * children_of(&all) * 16;
    one.in[ACTIVATION] += last * children_of(&all);
    one.dpose_out += last * results_of(&all) * 16;
    one.dactivation_out += last * results_of(&all);
    device e = device_create(families[_i], &one);
    device_run(families[_i], &e);
    const caps_tensor *alone[4] = {&e.pose_out, &e.activation_out, &e.d[POSE], &e.d[ACTIVATION]};
    for (int n = 0; n < 4; n++) {
        const size_t count = caps_tensor_count(alone[n]);
        uint32_t *bits = test_bits(families[_i], alone[n]);
        ck_assert_msg(memcmp(bits, whole[n] + last * count, count * 4) == 0, "result %d", n);
        free(bits);
        free(whole[n]);
    }
    free(weight);
    free(weight_again);
    device_release(&e);
    device_release(&d);
    host_release(&h);
}
END_TEST

/* ---- what is optional, and what is wrong ------------------------------------------------------ */

START_TEST(optional_gradients_and_smaller_batches)
{
    caps_error err = {0};
    host h = host_create(&shapes[1], 4, 1);
    host_run(&h);
    device d = device_create(families[_i], &h);
    d.how.b = 40; /* state and workspace of the batch at hand are enough */
    for (int n = 0; n < 4; n++) {
        test_ok(forward(families[_i], &d, &err));
        test_ok(backward(families[_i], &d, n & 1, n & 2, &err));
        for (size_t x = n & 2 ? ACTIVATION : WEIGHT; x < INPUTS; x++)
            test_expect(&d.d[x], h.d[x], GRADIENT, "a gradient");
        if (n == 1)
            test_expect(&d.d[POSE], h.d[POSE], GRADIENT, "dpose alone");
    }
    device_release(&d);
    host_release(&h);
}
END_TEST

START_TEST(the_first_iteration_that_is_not_finite_is_named)
{
    caps_error err = {0};
    host h = host_create(&shapes[0], 4, 1);
    size_t iteration = 9;
    for (int broken = 0; broken < 3; broken++) {
        /* Votes whose squares overflow: mu of the first iteration is finite, var and z are not. */
        h.in[POSE][5] = broken == 1 ? (double)NAN : broken ? 3e38 : h.in[POSE][5];
        device d = device_create(families[_i], &h);
        test_ok(forward(families[_i], &d, &err));
        test_ok(caps_em_first_not_finite(families[_i], &iteration, &d.state, h.p.b, &d.how, &err));
        ck_assert_uint_eq(iteration, broken ? 0 : h.p.iterations);
        device_release(&d);
    }
    host_release(&h);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    host h = host_create(&shapes[0], 4, 1);
    device d = device_create(families[_i], &h);
    const caps_em good = d.how;
    const caps_runtime *rt = families[_i];
#define REFUSED(change, text)                                                                      \
    do {                                                                                           \
        change;                                                                                    \
        test_refused(forward(families[_i], &d, err), text);                                        \
        d.how = good;                                                                              \
    } while (0)
    REFUSED(d.how.iterations = 0, "em: iterations is 0, need >= 1");
    REFUSED(d.how.stride = 0, "em: stride is 0, need >= 1");
    REFUSED(d.how.kernel = 4, "em: kernel is 4, need 0 to 3");
    REFUSED(d.how.coordinates = true, "em: coordinates need kernel 0, not 2");
    REFUSED(d.how.variance_floor = 0, "em: variance_floor is 0, need > 0");
    REFUSED(d.how.lambda = NAN, "em: lambda nan and cost_scale 1 need be finite");
    REFUSED(d.how.grad = (caps_routing_grad)5, "em: grad is 5, need 0 (full) or 1 (last)");
    REFUSED(d.how.b = 1, "em: pose is float32 [2, 24, 16], need float32 [1 to 1, 24, 16]");
    REFUSED(d.how.types = 1, "em: pose is float32 [2, 24, 16], need float32 [1 to 2, 12, 16]");
    REFUSED(d.how.parents = 2,
        "em: weight is float32 [2, 2, 2, 3, 4, 4], need float32 [2, 2, 2, 2, 4, 4]");
    d.how.kernel = 4;
    ck_assert_uint_eq(caps_em_workspace_of(rt, &d.how, true).state, 0);
    d.how = good;
    char need[128];
    d.state.shape[0] = 3;
    snprintf(need, sizeof need, "em: state has 3 float32, need >= %zu",
        caps_em_workspace_of(rt, &good, false).state);
    test_refused(forward(families[_i], &d, err), need);
    d.state.shape[0] = caps_em_workspace_of(rt, &good, true).state;
    size_t iteration;
    test_refused(caps_em_first_not_finite(families[_i], &iteration, &d.state, 3, &d.how, err),
        "em: the number of images is 3, need 1 to 2");
    test_refused(caps_em_assignment(families[_i], &d.pose_out, &d.state, &d.how, 0, err),
        "em: out is float32 [2, 18, 16], need float32 [B, H2 W2, kernel kernel T, C]");
    device_release(&d);
    host_release(&h);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("em");
    TCase *tc = families_case(s, "em");
    tcase_add_test(tc, the_reference_agrees_with_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, extremes_stay_finite_and_agree);
    families_add(tc, inputs_of_zero);
    families_add(tc, unseen_children_have_gradients_of_zero);
    families_add(tc, a_batch_is_its_images);
    families_add(tc, optional_gradients_and_smaller_batches);
    families_add(tc, the_first_iteration_that_is_not_finite_is_named);
    families_add(tc, wrong_arguments_are_refused);
    return s;
}
