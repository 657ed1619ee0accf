/* cases_em.c: cases of capsules of 4x4 poses with EM routing, and of the spread loss. */
#include <stdio.h>

#include "cases.h"

#include "fail.h"
#include "ref.h"

#define zeros    caps_selftest_zeros
#define put      caps_selftest_put
#define compare  caps_selftest_compare
#define FORWARD  CAPS_SELFTEST_FORWARD
#define BACKWARD CAPS_SELFTEST_BACKWARD

/* b, types, height, width, parents, kernel, stride, coordinates, iterations, last */

enum { POSE, ACTIVATION, WEIGHT, BETA_U, BETA_A, DPOSE_OUT, DACTIVATION_OUT, INPUTS };

static caps_status em(caps_selftest *t, const size_t *z, caps_error *err)
{
    const caps_em how = {z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7] != 0, z[8],
        (caps_routing_grad)z[9], 0.1f, 0.2f, 5e-4f};
    const caps_ref_em p = {z[0], z[1], z[2], z[3], z[4], z[5], z[6], z[7] != 0, z[9] != 0, z[8],
        (double)how.lambda, (double)how.cost_scale, (double)how.variance_floor, NULL};
    const size_t children = z[1] * z[2] * z[3], results = caps_ref_em_windows(&p) * z[4];
    const size_t pose[] = {z[0], children, 16}, out[] = {z[0], results, 16};
    const size_t weight[] = {z[5], z[5], z[1], z[4], 4, 4}, skip = z[5] ? 0 : 2;
    const size_t *shapes[] = {pose, pose, weight + skip, &z[4], &z[4], out, out};
    const int ndim[] = {3, 2, 6 - (int)skip, 1, 1, 3, 2};
    const double range[][2] = {{-1, 1}, {0, 1}, {-0.8, 0.8}, {-1, 1}, {-3, 3}, {-1, 1}, {-9, 9}};
    const caps_em_workspace room = caps_em_workspace_of(t->rt, &how, true);
    double *in[INPUTS], *need[INPUTS];
    const caps_tensor *ti[INPUTS], *to[INPUTS];
    snprintf(t->shape, sizeof t->shape, "B=%zu T=%zu %zux%zu C=%zu kernel=%zu/%zu r=%zu %s", z[0],
        z[1], z[2], z[3], z[4], z[5], z[6], z[8], z[9] ? "last" : "full");
    for (int n = 0; n < INPUTS; n++) {
        size_t count = 1;
        for (int d = 0; d < ndim[n]; d++)
            count *= shapes[n][d];
        in[n] = caps_selftest_draw(t, count, range[n][0], range[n][1]);
        need[n] = zeros(t, count);
        ti[n] = put(t, in[n], ndim[n], shapes[n]);
        to[n] = put(t, NULL, ndim[n], shapes[n]);
    }
    const caps_tensor *state = put(t, NULL, 1, &room.state);
    const caps_tensor *workspace = put(t, NULL, 1, &room.workspace);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_em_forward(t->rt, to[DPOSE_OUT], to[DACTIVATION_OUT], state, ti[POSE],
        ti[ACTIVATION], ti[WEIGHT], ti[BETA_U], ti[BETA_A], &how, workspace, err));
    caps_ref_em_forward(need[DPOSE_OUT], need[DACTIVATION_OUT], NULL, in[POSE], in[ACTIVATION],
        in[WEIGHT], in[BETA_U], in[BETA_A], &p);
    for (int n = DPOSE_OUT; n < INPUTS; n++)
        CAPS_TRY(compare(t, FORWARD, to[n], need[n], err));
    CAPS_TRY(caps_em_backward(t->rt, to[POSE], to[ACTIVATION], to[WEIGHT], to[BETA_U], to[BETA_A],
        ti[DPOSE_OUT], ti[DACTIVATION_OUT], state, ti[POSE], ti[ACTIVATION], ti[WEIGHT], ti[BETA_U],
        ti[BETA_A], &how, workspace, err));
    caps_ref_em_backward(need[POSE], need[ACTIVATION], need[WEIGHT], need[BETA_U], need[BETA_A],
        in[DPOSE_OUT], in[DACTIVATION_OUT], in[POSE], in[ACTIVATION], in[WEIGHT], in[BETA_U],
        in[BETA_A], &p);
    for (int n = POSE; n <= BETA_A; n++)
        CAPS_TRY(compare(t, BACKWARD, to[n], need[n], err));
done:
    return status;
}

/* b, j, l */
static caps_status spread(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], l = z[2], shape[] = {b, j};
    const float margin = 0.6f;
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu L=%zu", b, j, l);
    double *a = caps_selftest_draw(t, b * j, 0, 1), *loss = caps_selftest_zeros(t, b);
    double *da = caps_selftest_zeros(t, b * j);
    int32_t *labels = caps_selftest_labels(t, b * l, j);
    const caps_tensor *ta = caps_selftest_put(t, a, 2, shape);
    const caps_tensor *tda = caps_selftest_put(t, NULL, 2, shape);
    const caps_tensor *tloss = caps_selftest_put(t, NULL, 1, &b);
    const caps_tensor *flat = caps_selftest_put_labels(t, labels, b * l);
    caps_status status;
    CAPS_TRY(t->status);
    const caps_tensor tl = caps_tensor_reshape(flat, l > 1 ? 2 : 1, (size_t[]){b, l});
    CAPS_TRY(caps_spread_forward(t->rt, tloss, ta, &tl, margin, err));
    caps_ref_spread_forward(loss, a, labels, (double)margin, b, j, l);
    CAPS_TRY(caps_selftest_compare(t, CAPS_SELFTEST_FORWARD, tloss, loss, err));
    CAPS_TRY(caps_spread_backward(t->rt, tda, ta, &tl, margin, 0.125f, err));
    caps_ref_spread_backward(da, a, labels, (double)margin, 0.125, b, j, l);
    CAPS_TRY(caps_selftest_compare(t, CAPS_SELFTEST_BACKWARD, tda, da, err));
done:
    return status;
}

const caps_selftest_case caps_selftest_em[] = {
    {"spread", spread, CAPS_SMALL, {3, 5, 1}},
    {"spread", spread, CAPS_SMALL, {4, 5, 2}},
    {"spread", spread, CAPS_LARGE, {101, 10, 1}},
    {"em", em, CAPS_SMALL, {2, 1, 3, 4, 2, 2, 1, 0, 2, CAPS_ROUTING_GRAD_FULL}},
    {"em", em, CAPS_SMALL, {3, 2, 2, 3, 3, 0, 1, 1, 2, CAPS_ROUTING_GRAD_LAST}},
    {"em", em, CAPS_LATE, {17, 3, 5, 6, 4, 3, 1, 0, 3, CAPS_ROUTING_GRAD_FULL}},
    {"em", em, CAPS_LATE, {15, 2, 7, 9, 3, 3, 2, 0, 3, CAPS_ROUTING_GRAD_LAST}},
    {"em", em, CAPS_LATE, {5, 19, 4, 5, 7, 0, 1, 1, 3, CAPS_ROUTING_GRAD_FULL}},
    {"em", em, CAPS_LATE, {3, 8, 6, 6, 16, 3, 1, 0, 4, CAPS_ROUTING_GRAD_FULL}},
    {0},
};
