/* test_conv.c: convolution, forward and backward, whole and in chunks of the batch. */
#include "families.h"
#include "ref.h"

typedef struct shape {
    caps_ref_conv p;
    bool small; /* also for simulators */
} shape;

/* b, c, h, w, m, kh, kw, stride, padding, act: every size different where it can be. */
static const shape shapes[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, true},
    {{3, 2, 5, 6, 4, 3, 2, 1, 0, 1}, true},
    {{2, 3, 7, 5, 2, 2, 3, 2, 1, 2}, true},
    {{2, 1, 8, 9, 3, 3, 5, 3, 2, 0}, true},
    {{3, 2, 9, 7, 5, 2, 2, 3, 0, 1}, true}, /* stride beyond the kernel: pixels that no tap meets */
    {{3, 2, 4, 6, 5, 4, 6, 1, 0, 2}, true}, /* the kernel is the image: one pixel out */
    {{2, 2, 3, 2, 3, 5, 4, 1, 3, 1}, true}, /* the kernel is larger than the image, with padding */
    {{5, 3, 28, 23, 7, 5, 3, 1, 2, 1}, false},
    {{4, 16, 20, 20, 24, 9, 9, 2, 0, 0}, false}, /* as the primary capsules, thinner */
    {{6, 1, 28, 28, 32, 9, 9, 1, 0, 1}, false},  /* as conv1, thinner */
    {{5, 4, 40, 37, 6, 1, 1, 1, 0, 0}, false},
    {{2, 3, 11, 13, 4, 5, 5, 3, 2, 1}, true},
    {{2, 2, 9, 19, 3, 4, 5, 2, 1, 1}, true},
    {{2, 2, 3, 700, 3, 2, 3, 1, 1, 1}, false}, /* rows longer than a work-item keeps */
    {{2, 2, 5, 650, 3, 3, 5, 2, 2, 0}, false},
    {{1, 2, 90, 85, 3, 3, 2, 80, 1, 0}, false},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* What follows from a shape. */
typedef struct sizes {
    size_t x[4], w[4], y[4], nx, nw, ny;
} sizes;

static sizes sizes_of(const caps_ref_conv *p)
{
    sizes z = {.x = {p->b, p->c, p->h, p->w},
        .w = {p->m, p->c, p->kh, p->kw},
        .y = {p->b, p->m, caps_ref_conv_output(p->h, p->kh, p->stride, p->padding),
            caps_ref_conv_output(p->w, p->kw, p->stride, p->padding)}};
    z.nx = p->b * p->c * p->h * p->w;
    z.nw = p->m * p->c * p->kh * p->kw;
    z.ny = p->b * p->m * z.y[2] * z.y[3];
    return z;
}

/* ---- the reference -------------------------------------------------------------------------- */

typedef struct problem {
    caps_ref_conv p;
    const double *g;
} problem;

/* sum g y as a function of x, w and bias, which lie one after the other */
static double weighted(const double *at, void *context)
{
    const problem *q = context;
    sizes z = sizes_of(&q->p);
    double *y = test_zeros(z.ny), sum = 0;
    caps_ref_conv2d_forward(y, at, at + z.nx, at + z.nx + z.nw, &q->p);
    for (size_t i = 0; i < z.ny; i++)
        sum += q->g[i] * y[i];
    free(y);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t i = 1; i < 7; i++) {
        const caps_ref_conv *p = &shapes[i].p;
        sizes z = sizes_of(p);
        size_t all = z.nx + z.nw + p->m;
        double *at = test_random(all, i, -1, 1), *g = test_random(z.ny, i + 9, -1, 1);
        double *gradient = test_zeros(all), *y = test_zeros(z.ny);
        problem q = {*p, g};
        caps_ref_conv2d_forward(y, at, at + z.nx, at + z.nx + z.nw, p);
        caps_ref_conv2d_backward(
            gradient, gradient + z.nx, gradient + z.nx + z.nw, g, y, at, at + z.nx, p);
        ck_assert_double_lt(test_finite_difference(weighted, &q, at, gradient, all, 1e-6), 1e-6);
        free(at);
        free(g);
        free(gradient);
        free(y);
    }
}
END_TEST

/* A sum done by hand: a 2x2 kernel on a 2x3 image. */
START_TEST(reference_is_cross_correlation)
{
    const double x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 10, 100, 1000}, bias[] = {0.5};
    const caps_ref_conv p = {1, 1, 2, 3, 1, 2, 2, 1, 0, 0};
    double y[2];
    caps_ref_conv2d_forward(y, x, w, bias, &p);
    ck_assert(y[0] == 5421.5 && y[1] == 6532.5);
}
END_TEST

/* ---- the device ----------------------------------------------------------------------------- */

/* Tolerances: of y, and of the gradients, as shares of what test_expect measures them by. */
static void check_shape(caps_runtime *rt, const caps_ref_conv *p, caps_conv_algorithm algorithm,
    double tolerance_y, double tolerance_g, size_t seed)
{
    caps_error err = {0};
    sizes z = sizes_of(p);
    const caps_conv2d conv = {p->stride, p->padding, (caps_activation)p->act, algorithm};
    double *x = test_random(z.nx, seed, -1, 1), *w = test_random(z.nw, seed + 20, -0.5, 0.5);
    double *bias = test_random(p->m, seed + 40, -1, 1), *dy = test_random(z.ny, seed + 60, -1, 1);
    double *y = test_zeros(z.ny), *dx = test_zeros(z.nx), *dw = test_zeros(z.nw);
    double *dbias = test_zeros(p->m);
    caps_tensor tx = test_tensor(x, 4, z.x), tw = test_tensor(w, 4, z.w);
    caps_tensor tb = test_tensor(bias, 1, &p->m), tdy = test_tensor(dy, 4, z.y);
    const size_t one = caps_conv2d_workspace(rt, z.x, z.w, &conv, true, 1);
    const size_t whole = caps_conv2d_workspace(rt, z.x, z.w, &conv, true, SIZE_MAX);
    if (algorithm == CAPS_CONV_IM2COL)
        ck_assert_uint_eq(whole, p->b * one);
    caps_ref_conv2d_forward(y, x, w, bias, p);

    /* One image at a time, two, three, and all: with something over that serves no image. */
    for (size_t images = 1; images <= 4; images++) {
        if (test_small() && images % 2 == 1)
            continue;
        const size_t some = caps_conv2d_workspace(
            rt, (size_t[]){images, p->c, p->h, p->w}, z.w, &conv, true, SIZE_MAX);
        const size_t most = images == 4 ? whole : some > one ? some : one;
        const size_t room = most + one / 3;
        caps_tensor workspace = test_tensor(NULL, 1, &room);
        caps_tensor ty = test_tensor(NULL, 4, z.y), tdx = test_tensor(NULL, 4, z.x);
        caps_tensor tdw = test_tensor(NULL, 4, z.w), tdb = test_tensor(NULL, 1, &p->m);
        test_ok(caps_conv2d_forward(rt, &ty, &tx, &tw, &tb, &conv, &workspace, &err));
        test_expect(&ty, y, tolerance_y, "y");
        double *have = test_download(&ty);
        caps_ref_conv2d_backward(dx, dw, dbias, dy, have, x, w, p);
        test_ok(caps_conv2d_backward(
            rt, &tdx, &tdw, &tdb, &tdy, &ty, &tx, &tw, &conv, &workspace, &err));
        test_expect(&tdx, dx, tolerance_g, "dx");
        test_expect(&tdw, dw, tolerance_g, "dw");
        test_expect(&tdb, dbias, 1e-6, "dbias");
        /* Nothing but dw wanted. */
        caps_tensor again = test_tensor(NULL, 4, z.w);
        test_ok(caps_conv2d_backward(
            rt, NULL, &again, NULL, &tdy, &ty, &tx, &tw, &conv, &workspace, &err));
        uint32_t *first = test_bits(rt, &tdw), *second = test_bits(rt, &again);
        ck_assert_mem_eq(first, second, z.nw * sizeof *first);
        free(first);
        free(second);
        free(have);
        test_tensor_release(&again);
        test_tensor_release(&workspace);
        test_tensor_release(&ty);
        test_tensor_release(&tdx);
        test_tensor_release(&tdw);
        test_tensor_release(&tdb);
    }
    /* No bias. */
    caps_tensor workspace = test_tensor(NULL, 1, &whole), ty = test_tensor(NULL, 4, z.y);
    caps_ref_conv2d_forward(y, x, w, NULL, p);
    test_ok(caps_conv2d_forward(rt, &ty, &tx, &tw, NULL, &conv, &workspace, &err));
    test_expect(&ty, y, tolerance_y, "y without bias");
    test_tensor_release(&workspace);
    test_tensor_release(&ty);
    test_tensor_release(&tx);
    test_tensor_release(&tw);
    test_tensor_release(&tb);
    test_tensor_release(&tdy);
    free(x);
    free(w);
    free(bias);
    free(dy);
    free(y);
    free(dx);
    free(dw);
    free(dbias);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t i = 0; i < SHAPES; i++)
        if (test_takes(i) && (shapes[i].small || !test_small()))
            check_shape(families[_i], &shapes[i].p, CAPS_CONV_IM2COL, 2e-6, 5e-6, i);
}
END_TEST

/* b, c, h, w, m, kh, kw, stride, padding, act: every set of points, one tile and many, tiles that
 * stick out of the image, padding, phases without taps, sixteens of images and channels that are
 * full, begun, and several. Shapes share templates, which take seconds to build: points, taps and
 * stride are those of the comment. */
static const shape toom_cook_shapes[] = {
    {{2, 3, 7, 5, 2, 2, 3, 2, 1, 2}, true},      /* 4 points, 2x2, 2 */
    {{1, 1, 6, 6, 1, 4, 4, 2, 0, 0}, true},      /* the same */
    {{17, 9, 20, 20, 35, 9, 9, 2, 0, 0}, false}, /* 10, 5x5, 2: as the primary capsules */
    {{33, 3, 20, 20, 20, 9, 9, 2, 0, 1}, false}, /* the same */
    {{3, 5, 33, 64, 18, 10, 9, 2, 4, 2}, false}, /* the same, many tiles */
    {{6, 2, 28, 23, 32, 9, 9, 1, 0, 1}, false},  /* 10, 9x9, 1: as conv1 */
    {{19, 5, 16, 13, 50, 7, 8, 1, 3, 0}, false}, /* 10, 7x8, 1 */
    {{2, 3, 64, 48, 5, 3, 3, 1, 1, 1}, false},   /* 8, 3x3, 1 */
    {{20, 35, 9, 8, 300, 3, 3, 1, 1, 0}, false}, /* the same: more channels than dX takes at once */
    {{3, 2, 9, 7, 5, 2, 2, 3, 0, 1}, false},     /* 6, 2x2, 3: no taps in some phases */
    {{2, 9, 23, 14, 7, 7, 11, 3, 4, 1}, false},  /* 10, 3x4, 3 */
    {{3, 5, 30, 37, 66, 17, 6, 4, 3, 2}, false}, /* 10, 5x2, 4: lines that no tap meets */
};

START_TEST(toom_cook_agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof toom_cook_shapes / sizeof *toom_cook_shapes; i++)
        if (test_takes(i) && (toom_cook_shapes[i].small || !test_small()))
            check_shape(
                families[_i], &toom_cook_shapes[i].p, CAPS_CONV_TOOM_COOK, 1e-5, 2e-5, i + 50);
}
END_TEST

/* Bands of rows, tails of pixels, taps, channels and images. */
static const shape direct_shapes[] = {
    {{3, 2, 5, 6, 5, 3, 2, 1, 0, 1}, true}, {{2, 3, 7, 5, 2, 2, 4, 2, 1, 2}, true},
    {{100, 1, 28, 28, 9, 9, 9, 1, 0, 1}, false}, {{18, 3, 33, 40, 6, 5, 7, 1, 2, 0}, false},
    {{5, 2, 30, 510, 3, 3, 6, 1, 0, 1}, false},
    {{17, 4, 19, 23, 7, 16, 15, 3, 5, 0}, false}, /* nearly as many taps as there may be */
    {{18, 37, 13, 10, 14, 3, 3, 2, 1, 1}, false}, /* many channels */
    {{3, 5, 13, 17, 6, 2, 3, 4, 0, 2}, false},    /* pixels that no tap meets */
};

START_TEST(direct_agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof direct_shapes / sizeof *direct_shapes; i++)
        if (direct_shapes[i].small || !test_small())
            check_shape(families[0], &direct_shapes[i].p, CAPS_CONV_DIRECT, 2e-6, 5e-6, i + 80);
}
END_TEST

/* Groups that are full and begun, tiles that stick out, an odd number of them, bands of rows. */
static const shape winograd_shapes[] = {
    {{3, 2, 5, 6, 5, 3, 2, 1, 0, 1}, true}, {{2, 3, 7, 5, 2, 2, 4, 1, 1, 2}, true},
    {{100, 1, 28, 28, 9, 9, 9, 1, 0, 1}, false}, {{18, 3, 33, 40, 6, 5, 7, 1, 2, 0}, false},
    {{5, 2, 30, 500, 3, 3, 6, 1, 0, 1}, false}, {{17, 7, 19, 23, 7, 9, 8, 1, 5, 0}, false},
    {{2, 1, 300, 3, 5, 2, 1, 1, 0, 1}, false},
    {{18, 67, 12, 10, 21, 3, 3, 1, 1, 1}, false}, /* many channels */
};

/* Tiles: begun ones, more of a row than go together, kernels of fewer taps, padding, channels that
 * fill no eight and no three, several blocks of images, rows of the most tiles. */
static const shape tiles_shapes[] = {
    {{2, 17, 5, 6, 19, 3, 3, 1, 0, 1}, true},
    {{19, 18, 12, 15, 23, 3, 3, 1, 1, 1}, false},
    {{33, 32, 22, 14, 64, 3, 3, 1, 2, 1}, false},
    {{3, 31, 9, 130, 25, 3, 3, 1, 0, 2}, false},
    {{5, 50, 11, 7, 52, 2, 3, 1, 0, 0}, false},
    {{4, 49, 8, 10, 33, 3, 2, 1, 1, 1}, false},
};

START_TEST(winograd_agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof winograd_shapes / sizeof *winograd_shapes; i++)
        if (winograd_shapes[i].small || !test_small())
            check_shape(families[0], &winograd_shapes[i].p, CAPS_CONV_WINOGRAD, 5e-6, 1e-5, i + 90);
    for (size_t i = 0; i < sizeof tiles_shapes / sizeof *tiles_shapes; i++)
        if (tiles_shapes[i].small || !test_small())
            check_shape(families[0], &tiles_shapes[i].p, CAPS_CONV_WINOGRAD, 1e-5, 2e-5, i + 110);
}
END_TEST

/* The shapes of im2col, and several tiles of outputs, channels and pixels, begun and full, sums of
 * several runs, dw in several parts. */
static const shape implicit_shapes[] = {
    {{2, 5, 9, 12, 70, 3, 2, 2, 1, 2}, false},
    {{3, 67, 11, 8, 6, 3, 3, 1, 1, 1}, false},
    {{40, 3, 15, 17, 5, 5, 4, 3, 2, 0}, false},
};

START_TEST(implicit_agrees_with_the_reference)
{
    caps_runtime *gpu = families[CAPS_FAMILY_GPU];
    for (size_t i = 0; i < SHAPES; i++)
        if (test_takes(i + 1) && (shapes[i].small || !test_small()))
            check_shape(gpu, &shapes[i].p, CAPS_CONV_IMPLICIT, 2e-6, 5e-6, i + 100);
    for (size_t i = 0; i < sizeof implicit_shapes / sizeof *implicit_shapes && !test_small(); i++)
        check_shape(gpu, &implicit_shapes[i].p, CAPS_CONV_IMPLICIT, 2e-6, 5e-6, i + 120);
}
END_TEST

/* ---- sizes ---------------------------------------------------------------------------------- */

START_TEST(output_sizes)
{
    ck_assert_uint_eq(caps_conv2d_output(28, 9, 1, 0), 20);
    ck_assert_uint_eq(caps_conv2d_output(20, 9, 2, 0), 6);
    ck_assert_uint_eq(caps_conv2d_output(28, 5, 1, 2), 28);
    ck_assert_uint_eq(caps_conv2d_output(7, 2, 3, 0), 2);
    ck_assert_uint_eq(caps_conv2d_output(5, 9, 1, 0), 0);
    ck_assert_uint_eq(caps_conv2d_output(5, 9, 1, 2), 1);
    ck_assert_uint_eq(caps_conv2d_output(5, 3, 0, 0), 0);
    ck_assert_uint_eq(caps_conv2d_output(5, 0, 1, 0), 0);
    ck_assert_uint_eq(caps_conv2d_output(5, 3, 1, SIZE_MAX), 0);
    for (size_t i = 0; i < SHAPES; i++) {
        const caps_ref_conv *p = &shapes[i].p;
        ck_assert_uint_eq(caps_conv2d_output(p->h, p->kh, p->stride, p->padding),
            caps_ref_conv_output(p->h, p->kh, p->stride, p->padding));
    }
}
END_TEST

/* Of a network's layers at batch 100, in the GPU family: Toom-Cook where there are channels enough
 * for the planes to be worth writing, never for a first layer or a few channels. */
START_TEST(choices_of_the_gpu_family)
{
    static const struct {
        size_t x[4], w[4];
        caps_conv2d conv;
        caps_conv_algorithm algorithm;
    } layers[] = {
        {{100, 1, 28, 28}, {256, 1, 9, 9}, {1, 0, 1, 0}, CAPS_CONV_IMPLICIT}, /* mnist: conv1 */
        {{100, 256, 20, 20}, {256, 256, 9, 9}, {2, 0, 0, 0}, CAPS_CONV_TOOM_COOK}, /* primary */
        {{100, 48, 20, 20}, {64, 48, 9, 9}, {2, 0, 0, 0}, CAPS_CONV_TOOM_COOK},    /* small */
        {{100, 3, 24, 24}, {256, 3, 9, 9}, {1, 0, 1, 0}, CAPS_CONV_IMPLICIT},      /* cifar10 */
        {{100, 256, 16, 16}, {512, 256, 9, 9}, {2, 0, 0, 0}, CAPS_CONV_TOOM_COOK},
        {{100, 256, 28, 28}, {256, 256, 5, 5}, {1, 2, 1, 0}, CAPS_CONV_TOOM_COOK}, /* cnn */
        {{100, 4, 28, 28}, {8, 4, 3, 3}, {1, 1, 1, 0}, CAPS_CONV_IMPLICIT},
        {{100, 64, 28, 28}, {64, 64, 1, 1}, {1, 0, 1, 0}, CAPS_CONV_IMPLICIT},
    };
    caps_runtime *gpu = families[CAPS_FAMILY_GPU];
    for (size_t i = 0; i < sizeof layers / sizeof *layers && !test_small(); i++)
        for (int training = 0; training < 2; training++) {
            caps_error err = {0};
            caps_conv_algorithm chosen;
            test_ok(caps_conv2d_choose(&chosen, gpu, layers[i].x, layers[i].w, &layers[i].conv,
                training, training, CAPS_CONV_AUTO, (size_t)4 << 30, &err));
            ck_assert_msg(chosen == layers[i].algorithm, "layer %zu: %s, not %s", i,
                caps_conv_algorithm_name(chosen), caps_conv_algorithm_name(layers[i].algorithm));
        }
}
END_TEST

/* What is recommended for a limit keeps it, also where the batch goes in equal chunks. */
START_TEST(workspace_keeps_the_limit)
{
    const size_t w[] = {48, 48, 3, 3};
    for (int a = CAPS_CONV_IM2COL; a <= CAPS_CONV_TOOM_COOK; a++) {
        for (size_t b = 80; b <= 344; b += 24) {
            const size_t x[] = {b, 48, 14, 14};
            for (int backward = 0; backward < 2; backward++) {
                const caps_conv2d conv = {1, 0, CAPS_ACT_RELU, (caps_conv_algorithm)a};
                const size_t one = caps_conv2d_workspace(NULL, x, w, &conv, backward, 1);
                for (size_t k = 0; k < 100; k++) {
                    const size_t limit = one + one / 8 * k;
                    ck_assert_uint_le(
                        caps_conv2d_workspace(NULL, x, w, &conv, backward, limit * sizeof(float)),
                        limit);
                }
            }
        }
    }
}
END_TEST

/* The recommendation: what fits the limit, in equal chunks, never less than an image. */
START_TEST(workspace_sizes)
{
    const size_t x[] = {10, 3, 8, 8}, w[] = {4, 3, 3, 3};
    const caps_conv2d conv = {.stride = 1};
    const size_t each = (3 * 9 + 4) * 36;
    ck_assert_uint_eq(caps_conv2d_workspace(NULL, x, w, &conv, true, 0), each);
    ck_assert_uint_eq(caps_conv2d_workspace(NULL, x, w, &conv, true, 4 * each), each);
    ck_assert_uint_eq(caps_conv2d_workspace(NULL, x, w, &conv, true, 4 * 3 * each), 3 * each);
    ck_assert_uint_eq(caps_conv2d_workspace(NULL, x, w, &conv, true, 4 * 9 * each), 5 * each);
    ck_assert_uint_eq(caps_conv2d_workspace(NULL, x, w, &conv, true, SIZE_MAX), 10 * each);
}
END_TEST

START_TEST(wrong_sizes_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_conv2d conv = {.stride = 1};
    caps_tensor x = test_tensor(NULL, 4, (size_t[]){2, 3, 5, 7});
    caps_tensor w = test_tensor(NULL, 4, (size_t[]){4, 3, 2, 3});
    caps_tensor large = test_tensor(NULL, 4, (size_t[]){1, 3, 9, 9});
    caps_tensor other = test_tensor(NULL, 4, (size_t[]){4, 2, 2, 3});
    caps_tensor y = test_tensor(NULL, 4, (size_t[]){2, 4, 4, 5});
    caps_tensor bias = test_tensor(NULL, 1, (size_t[]){5});
    const size_t need = (3 * 2 * 3 + 4) * 4 * 5, less = need - 1;
    caps_tensor room = test_tensor(NULL, 1, &need), tight = test_tensor(NULL, 1, &less);
    test_refused(caps_conv2d_forward(rt, &y, &x, &large, NULL, &conv, &room, err),
        "conv2d: kernel 9x9 is larger than its input 5x7");
    test_refused(caps_conv2d_forward(rt, &y, &x, &other, NULL, &conv, &room, err),
        "conv2d: w has 2 input channels, need 3 as x has");
    test_refused(caps_conv2d_forward(rt, &x, &x, &w, NULL, &conv, &room, err),
        "conv2d: y is float32 [2, 3, 5, 7], need float32 [2, 4, 4, 5]");
    test_refused(caps_conv2d_forward(rt, &y, &x, &w, &bias, &conv, &room, err),
        "conv2d: bias is float32 [5], need float32 [4]");
    test_refused(caps_conv2d_forward(rt, &y, &bias, &w, NULL, &conv, &room, err),
        "conv2d: x is float32 [5], need float32 [B, C, H, W]");
    test_refused(caps_conv2d_forward(rt, &y, &x, &w, NULL, &conv, &tight, err),
        "conv2d: workspace has 439 elements, need >= 440, one image");
    test_refused(caps_conv2d_backward(rt, NULL, &other, NULL, &y, &y, &x, &w, &conv, &room, err),
        "conv2d: dw is float32 [4, 2, 2, 3], need float32 [4, 3, 2, 3]");
    conv.stride = 0;
    test_refused(caps_conv2d_forward(rt, &y, &x, &w, NULL, &conv, &room, err),
        "conv2d: stride is 0, need >= 1");
    conv.stride = 1;
    conv.padding = 2;
    test_refused(caps_conv2d_forward(rt, &y, &x, &w, NULL, &conv, &room, err),
        "conv2d: padding is 2, need less than the kernel 2x3");
    test_tensor_release(&x);
    test_tensor_release(&w);
    test_tensor_release(&large);
    test_tensor_release(&other);
    test_tensor_release(&y);
    test_tensor_release(&bias);
    test_tensor_release(&room);
    test_tensor_release(&tight);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("conv");
    TCase *tc = families_case(s, "conv");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    tcase_add_test(tc, reference_is_cross_correlation);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, toom_cook_agrees_with_the_reference);
    if (test_has_family("cpu")) {
        tcase_add_test(tc, direct_agrees_with_the_reference);
        tcase_add_test(tc, winograd_agrees_with_the_reference);
    }
    tcase_add_test(tc, implicit_agrees_with_the_reference);
    tcase_add_test(tc, choices_of_the_gpu_family);
    tcase_add_test(tc, output_sizes);
    tcase_add_test(tc, workspace_keeps_the_limit);
    tcase_add_test(tc, workspace_sizes);
    families_add(tc, wrong_sizes_are_refused);
    return s;
}
