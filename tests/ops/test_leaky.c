/* test_leaky.c: leaky routing against golden vectors (tests/vectors/make_leaky.py): the reference,
 * the stored and the fused variant, both families, both routing_grad modes. */
#include <stdio.h>

#include "families.h"
#include "ref.h"
#include "safetensors.h"

/* docs/numerics.md */
#define FORWARD  1e-5
#define GRADIENT 1e-4

#define FILE_NAME TEST_SOURCE_DIR "/tests/vectors/leaky.safetensors"

static caps_safetensors golden;
static size_t b, i, j, d, k, r;

static const caps_st_tensor *tensor(const char *name)
{
    const caps_st_tensor *t = caps_safetensors_get(&golden, name);
    ck_assert_msg(t != NULL, "%s: no %s", FILE_NAME, name);
    return t;
}

/* malloc'd; float32 where it is an input, float64 where it is expected. */
static double *values(const char *name)
{
    const caps_st_tensor *t = tensor(name);
    const bool wide = strcmp(t->dtype, "F64") == 0;
    const size_t n = t->bytes / (wide ? 8 : 4);
    double *x = test_zeros(n);
    ck_assert(wide || strcmp(t->dtype, "F32") == 0);
    for (size_t e = 0; e < n; e++) {
        float narrow;
        if (wide) {
            memcpy(&x[e], (const char *)t->data + 8 * e, 8);
        } else {
            memcpy(&narrow, (const char *)t->data + 4 * e, 4);
            x[e] = (double)narrow;
        }
    }
    return x;
}

static double *values_of(const char *mode, const char *name)
{
    char full[32];
    snprintf(full, sizeof full, "%s.%s", mode, name);
    return values(full);
}

static caps_tensor input(const char *name)
{
    double *x = values(name);
    const caps_tensor t = test_tensor(x, tensor(name)->ndim, tensor(name)->shape);
    free(x);
    return t;
}

static void golden_open(void)
{
    caps_error err = {0};
    test_ok(caps_safetensors_load(&golden, FILE_NAME, &err));
    const size_t *u = tensor("u")->shape, *w = tensor("w")->shape;
    b = u[0], i = u[1], k = u[2], j = w[1], d = w[2], r = tensor("v")->shape[0];
    ck_assert_uint_eq(r, 3);
    ck_assert_uint_eq(w[0], i);
    ck_assert_uint_eq(w[3], k);
}

static void golden_close(void)
{
    caps_safetensors_release(&golden);
}

static void expect_values(
    const double *have, const double *need, size_t n, double tolerance, const char *what)
{
    const double error = test_relative_error(have, need, n);
    ck_assert_msg(error <= tolerance, "%s: relative error %.3g", what, error);
}

/* Takes `need`. */
static void expect(const caps_tensor *t, double *need, double tolerance, const char *what)
{
    test_expect(t, need, tolerance, what);
    free(need);
}

static void expect_capsules(const caps_tensor *last, const caps_tensor *every)
{
    double *need = values("v");
    test_expect(last, need + (r - 1) * b * j * d, FORWARD, "v");
    expect(every, need, FORWARD, "v of all iterations");
}

static const char *const modes[] = {"full", "last"}; /* by caps_routing_grad */

START_TEST(the_reference_agrees)
{
    const size_t capsules = b * j * d, links = b * i * j, votes_count = links * d;
    double *votes = values("votes"), *bias = values("bias"), *dv = values("dv");
    double *last = test_zeros(capsules), *couplings = test_zeros(r * links);
    double *s = test_zeros(r * capsules), *v = test_zeros(r * capsules);
    double *dvotes = test_zeros(votes_count), *dbias = test_zeros(j * d);
    double *need_v = values("v"), *need_couplings = values("couplings");
    caps_ref_routing_forward(last, couplings, s, v, votes, bias, true, false, b, i, j, d, r);
    expect_values(last, need_v + (r - 1) * capsules, capsules, 1e-13, "v");
    expect_values(v, need_v, r * capsules, 1e-13, "v of all iterations");
    expect_values(couplings, need_couplings, r * links, 1e-13, "couplings");
    for (int mode = 0; mode < 2; mode++) {
        double *need_dvotes = values_of(modes[mode], "dvotes");
        double *need_dbias = values_of(modes[mode], "dbias");
        caps_ref_routing_backward(dvotes, dbias, dv, couplings, s, v, votes, CAPS_REF_LEAKY,
            mode == CAPS_ROUTING_GRAD_FULL, false, b, i, j, d, r);
        expect_values(dvotes, need_dvotes, votes_count, 1e-12, "dvotes");
        expect_values(dbias, need_dbias, j * d, 1e-12, "dbias");
        free(need_dvotes);
        free(need_dbias);
    }
    double *all[] = {votes, bias, dv, last, couplings, s, v, dvotes, dbias, need_v, need_couplings};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        free(all[n]);
}
END_TEST

START_TEST(routing_agrees)
{
    for (int mode = 0; mode < 2; mode++) {
        const caps_routing how = {.iterations = r, .grad = (caps_routing_grad)mode, .leaky = true};
        const size_t scratch = caps_routing_scratch(b, i, j, d, &how);
        const size_t capsules[] = {r, b, j, d};
        caps_error err = {0};
        caps_tensor votes = input("votes"), bias = input("bias"), dv = input("dv");
        caps_tensor v = test_tensor(NULL, 3, capsules + 1);
        caps_tensor dvotes = test_tensor(NULL, 4, votes.shape);
        caps_tensor dbias = test_tensor(NULL, 2, bias.shape);
        caps_routing_state state = {.couplings = test_tensor(NULL, 4, (size_t[]){r, b, i, j}),
            .s = test_tensor(NULL, 4, capsules),
            .v = test_tensor(NULL, 4, capsules),
            .scratch = test_tensor(NULL, 1, &scratch)};
        test_ok(caps_routing_forward(families[_i], &v, &state, &votes, &bias, &how, &err));
        test_ok(
            caps_routing_backward(families[_i], &dvotes, &dbias, &dv, &state, &votes, &how, &err));
        expect_capsules(&v, &state.v);
        expect(&state.couplings, values("couplings"), FORWARD, "couplings");
        expect(&dvotes, values_of(modes[mode], "dvotes"), GRADIENT, "dvotes");
        expect(&dbias, values_of(modes[mode], "dbias"), GRADIENT, "dbias");
        caps_tensor *all[] = {&votes, &bias, &dv, &v, &dvotes, &dbias, &state.couplings, &state.s,
            &state.v, &state.scratch};
        for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
            test_tensor_release(all[n]);
    }
}
END_TEST

static void class_caps(caps_runtime *rt, caps_routing_algorithm algorithm, int mode)
{
    const caps_class_caps how = {b, i, j, d, k,
        {.iterations = r, .grad = (caps_routing_grad)mode, .leaky = true}, algorithm};
    const caps_class_caps_workspace room = caps_class_caps_workspace_of(rt, &how, true);
    const size_t capsules[] = {r, b, j, d};
    caps_error err = {0};
    caps_tensor u = input("u"), w = input("w"), bias = input("bias"), dv = input("dv");
    caps_tensor v = test_tensor(NULL, 3, capsules + 1), du = test_tensor(NULL, 3, u.shape);
    caps_tensor dw = test_tensor(NULL, 4, w.shape), dbias = test_tensor(NULL, 2, bias.shape);
    caps_tensor workspace = test_tensor(NULL, 1, &room.workspace);
    caps_class_caps_state state = {.couplings = test_tensor(NULL, 4, (size_t[]){r, b, i, j}),
        .s = test_tensor(NULL, 4, capsules),
        .v = test_tensor(NULL, 4, capsules)};
    if (room.votes)
        state.votes = test_tensor(NULL, 1, &room.votes);
    test_ok(caps_class_caps_forward(rt, &v, &state, &u, &w, &bias, &how, &workspace, &err));
    test_ok(caps_class_caps_backward(
        rt, &du, &dw, &dbias, &dv, &state, &u, &w, &how, &workspace, &err));
    expect_capsules(&v, &state.v);
    expect(&state.couplings, values("couplings"), FORWARD, "couplings");
    expect(&du, values_of(modes[mode], "du"), GRADIENT, "du");
    expect(&dw, values_of(modes[mode], "dw"), GRADIENT, "dw");
    expect(&dbias, values_of(modes[mode], "dbias"), GRADIENT, "dbias");
    caps_tensor *all[] = {&u, &w, &bias, &dv, &v, &du, &dw, &dbias, &workspace, &state.couplings,
        &state.s, &state.v, &state.votes};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        if (all[n]->buffer)
            test_tensor_release(all[n]);
}

START_TEST(class_capsules_agree)
{
    for (int mode = 0; mode < 2; mode++) {
        class_caps(families[_i], CAPS_ROUTING_STORED, mode);
        class_caps(families[_i], CAPS_ROUTING_FUSED, mode);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("leaky");
    TCase *tc = families_case(s, "leaky");
    tcase_add_unchecked_fixture(tc, golden_open, golden_close);
    tcase_add_test(tc, the_reference_agrees);
    families_add(tc, routing_agrees);
    families_add(tc, class_capsules_agree);
    return s;
}
