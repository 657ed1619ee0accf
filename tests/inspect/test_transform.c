/* test_transform.c: images moved, turned, scaled, bent and made noisy. */
#include <math.h>
#include <string.h>

#include "support.h"
#include <capscl/inspect.h>

enum { C = 2, H = 15, W = 12, N = C * H * W };

/* Values in 0..1, none of them 0. */
static void fill(float *image, size_t n)
{
    uint32_t state = 5;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        image[i] = (float)((state >> 16) % 255 + 1) / 255;
    }
}

/* A severity that every kind takes and that changes an image. */
static double some(int kind)
{
    static const double of[] = {3, 30, 0.5, 0.7, 0.2};
    return of[kind];
}

START_TEST(severity_0_is_the_image)
{
    float in[N], out[N];
    fill(in, N);
    for (int k = 0; k < CAPS_TRANSFORM_COUNT; k++)
        for (uint64_t i = 0; i < 20; i++) {
            memset(out, 0xff, sizeof out);
            caps_transform_apply(k, 0, 1, i, in, out, C, H, W);
            ck_assert_mem_eq(in, out, sizeof in);
        }
}
END_TEST

START_TEST(a_draw_depends_on_its_arguments_alone)
{
    float in[N], a[N], b[N];
    fill(in, N);
    for (int k = 0; k < CAPS_TRANSFORM_COUNT; k++) {
        size_t by_seed = 0, by_index = 0;
        for (uint64_t i = 0; i < 20; i++) {
            caps_transform_apply(k, some(k), 7, i, in, a, C, H, W);
            caps_transform_apply(k, some(k), 7, i, in, b, C, H, W);
            ck_assert_mem_eq(a, b, sizeof a);
            caps_transform_apply(k, some(k), 8, i, in, b, C, H, W);
            by_seed += memcmp(a, b, sizeof a) != 0;
            caps_transform_apply(k, some(k), 7, i + 1, in, b, C, H, W);
            by_index += memcmp(a, b, sizeof a) != 0;
            for (size_t p = 0; p < N; p++)
                ck_assert(a[p] >= 0 && a[p] <= 1);
        }
        ck_assert_msg(by_seed >= 18 && by_index >= 18, "%s: %zu of 20 by seed, %zu by index",
            caps_transform_name(k), by_seed, by_index);
    }
}
END_TEST

/* Every dx, dy of -2..2 comes, about as often as any other, and the image is moved by just that. */
START_TEST(shifts_are_exact_and_uniform)
{
    enum { DRAWS = 5000 };
    float in[N], out[N];
    size_t seen[5][5] = {{0}};
    fill(in, N);
    for (uint64_t i = 0; i < DRAWS; i++) {
        bool found = false;
        caps_transform_apply(CAPS_TRANSFORM_SHIFT, 2, 3, i, in, out, C, H, W);
        for (int dy = -2; dy <= 2 && !found; dy++)
            for (int dx = -2; dx <= 2 && !found; dx++) {
                bool same = true;
                for (int p = 0; p < N && same; p++) {
                    const int y = p / W % H - dy, x = p % W - dx;
                    const bool inside = y >= 0 && y < H && x >= 0 && x < W;
                    same = out[p] == (inside ? in[p / (H * W) * H * W + y * W + x] : 0);
                }
                found = same;
                seen[dy + 2][dx + 2] += same;
            }
        ck_assert_msg(found, "image %d is not moved by whole pixels", (int)i);
    }
    for (int k = 0; k < 25; k++) /* 200 expected, standard deviation 13.9 */
        ck_assert_msg(seen[k / 5][k % 5] > 140 && seen[k / 5][k % 5] < 260, "%d, %d: %zu times",
            k / 5 - 2, k % 5 - 2, seen[k / 5][k % 5]);
}
END_TEST

/* The angle by which one bright pixel right of the centre was turned, in degrees,
 * counter-clockwise, and its distance. */
static void where(const float *out, size_t side, double *degrees, double *distance)
{
    double sum = 0, x = 0, y = 0;
    for (size_t p = 0; p < side * side; p++) {
        sum += (double)out[p];
        x += (double)out[p] * ((double)(p % side) - (double)(side / 2));
        y -= (double)out[p] * ((double)(p / side) - (double)(side / 2));
    }
    ck_assert_double_gt(sum, 0.1);
    *degrees = atan2(y, x) * 180 / acos(-1);
    *distance = hypot(x, y) / sum;
}

enum { SIDE = 65, ARM = 24 };

static void one_pixel(float *in)
{
    memset(in, 0, SIDE * SIDE * sizeof *in);
    /* Not quite one: a blot of 5x5, so that its centre of mass survives the interpolation. */
    for (int y = -2; y <= 2; y++)
        for (int x = -2; x <= 2; x++)
            in[(SIDE / 2 + y) * SIDE + SIDE / 2 + ARM + x] = 1;
}

START_TEST(rotations_and_scales_are_in_their_range)
{
    static float in[SIDE * SIDE], out[SIDE * SIDE];
    enum { DRAWS = 400 };
    double least = 0, greatest = 0, mean = 0, degrees, distance;
    one_pixel(in);
    for (uint64_t i = 0; i < DRAWS; i++) {
        caps_transform_apply(CAPS_TRANSFORM_ROTATE, 60, 1, i, in, out, 1, SIDE, SIDE);
        where(out, SIDE, &degrees, &distance);
        ck_assert_double_lt(fabs(distance - ARM), 0.2);
        least = fmin(least, degrees);
        greatest = fmax(greatest, degrees);
        mean += degrees / DRAWS;
    }
    ck_assert(least > -60.5 && least < -58 && greatest > 58 && greatest < 60.5);
    ck_assert_double_lt(fabs(mean), 6); /* standard deviation 1.7 */

    least = 10;
    greatest = 0;
    mean = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        caps_transform_apply(CAPS_TRANSFORM_SCALE, 0.2, 1, i, in, out, 1, SIDE, SIDE);
        where(out, SIDE, &degrees, &distance);
        ck_assert_double_lt(fabs(degrees), 0.5);
        least = fmin(least, distance / ARM);
        greatest = fmax(greatest, distance / ARM);
        mean += log(distance / ARM) / DRAWS;
    }
    ck_assert(least > 0.82 && least < 0.85 && greatest > 1.18 && greatest < 1.21);
    ck_assert_double_lt(fabs(mean), 0.02);
}
END_TEST

/* Between severities of one kind the draws are the same: 90 degrees is a turn by half of 180. */
START_TEST(a_quarter_turn)
{
    static float in[SIDE * SIDE], turned[SIDE * SIDE], out[SIDE * SIDE];
    double half, whole, distance;
    for (uint64_t i = 0; i < 10; i++) {
        one_pixel(in);
        caps_transform_apply(CAPS_TRANSFORM_ROTATE, 50, 4, i, in, out, 1, SIDE, SIDE);
        where(out, SIDE, &half, &distance);
        caps_transform_apply(CAPS_TRANSFORM_ROTATE, 100, 4, i, in, out, 1, SIDE, SIDE);
        where(out, SIDE, &whole, &distance);
        ck_assert_double_lt(fabs(whole - 2 * half), 0.6);
        if (fabs(whole) < 1)
            continue;
        /* The severity at which this image is turned by exactly 90 degrees. */
        const double severity = 100 * 90 / fabs(whole);
        if (severity > 180)
            continue;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                const double a = (x - SIDE / 2) / 12.0, b = (y - SIDE / 2) / 7.0;
                in[y * SIDE + x] = (float)exp(-a * a - b * b);
                turned[x * SIDE + y] = in[y * SIDE + x];
            }
        caps_transform_apply(CAPS_TRANSFORM_ROTATE, severity, 4, i, in, out, 1, SIDE, SIDE);
        for (int p = 0; p < SIDE * SIDE; p++)
            ck_assert_double_lt(fabs((double)out[p] - (double)turned[p]), 0.02);
        return;
    }
    ck_abort_msg("no image is turned far enough");
}
END_TEST

START_TEST(affine_keeps_to_its_parts)
{
    /* Three blots tell the map; its parts are solved from it: A = R [1 k; 0 1] diag(sx, sy). */
    static float in[SIDE * SIDE], out[SIDE * SIDE];
    const double severity = 0.5;
    double turn = 0, shear = 0, grow = 0, move = 0;
    for (uint64_t i = 0; i < 200; i++) {
        double at[3][2];
        for (int k = 0; k < 3; k++) {
            const int px = k == 1 ? 16 : 0, py = k == 2 ? 16 : 0;
            double sum = 0;
            memset(in, 0, sizeof in);
            for (int y = -5; y <= 5; y++)
                for (int x = -5; x <= 5; x++)
                    in[(SIDE / 2 + py + y) * SIDE + SIDE / 2 + px + x] =
                        (float)exp(-(x * x + y * y) / 4.0);
            caps_transform_apply(CAPS_TRANSFORM_AFFINE, severity, 9, i, in, out, 1, SIDE, SIDE);
            at[k][0] = at[k][1] = 0;
            for (int p = 0; p < SIDE * SIDE; p++) {
                sum += (double)out[p];
                at[k][0] += (double)out[p] * (p % SIDE - SIDE / 2);
                at[k][1] += (double)out[p] * (p / SIDE - SIDE / 2);
            }
            at[k][0] /= sum;
            at[k][1] /= sum;
        }
        const double xx = (at[1][0] - at[0][0]) / 16, yx = (at[1][1] - at[0][1]) / 16;
        const double xy = (at[2][0] - at[0][0]) / 16, yy = (at[2][1] - at[0][1]) / 16;
        const double sx = hypot(xx, yx), c = xx / sx, s = yx / sx, sy = c * yy - s * xy;
        turn = fmax(turn, fabs(atan2(yx, xx)) * 180 / acos(-1));
        shear = fmax(shear, fabs((c * xy + s * yy) / sy));
        grow = fmax(grow, fmax(fabs(sx - 1), fabs(sy - 1)));
        move = fmax(move, fmax(fabs(at[0][0]), fabs(at[0][1])));
    }
    ck_assert_msg(turn > 9 && turn < 10.2, "%g degrees", turn);
    ck_assert_msg(shear > 0.09 && shear < 0.103, "shear %g", shear);
    ck_assert_msg(grow > 0.095 && grow < 0.103, "scale %g", grow);
    ck_assert_msg(move > 3.8 && move < 4.02, "%g pixels", move);
}
END_TEST

START_TEST(noise_is_normal)
{
    enum { PIXELS = 20000 };
    static float in[PIXELS], out[PIXELS];
    double sum = 0, squares = 0;
    for (size_t p = 0; p < PIXELS; p++)
        in[p] = 0.5f;
    caps_transform_apply(CAPS_TRANSFORM_NOISE, 0.1, 1, 0, in, out, 1, 100, 200);
    for (size_t p = 0; p < PIXELS; p++) {
        sum += (double)out[p] - 0.5;
        squares += ((double)out[p] - 0.5) * ((double)out[p] - 0.5);
    }
    ck_assert_double_lt(fabs(sum / PIXELS), 0.004);
    ck_assert_double_lt(fabs(sqrt(squares / PIXELS) - 0.1), 0.003);
    caps_transform_apply(CAPS_TRANSFORM_NOISE, 10, 1, 0, in, out, 1, 100, 200);
    size_t black = 0, white = 0;
    for (size_t p = 0; p < PIXELS; p++) {
        black += out[p] == 0;
        white += out[p] == 1;
    }
    ck_assert(black > 9000 && white > 9000 && black + white <= PIXELS);
}
END_TEST

/* Sums that must never change: whoever repeats an evaluation sees the same images. */
START_TEST(checksums)
{
    static const double expected[] = {
        7801.470748, 8751.100388, 8578.230508, 6014.164674, 9909.539274};
    float in[N], out[N];
    fill(in, N);
    for (int k = 0; k < CAPS_TRANSFORM_COUNT; k++) {
        double sum = 0;
        for (uint64_t i = 0; i < 5; i++) {
            caps_transform_apply(k, some(k), 1, i, in, out, C, H, W);
            for (size_t p = 0; p < N; p++)
                sum += (double)out[p] * (double)(p % 17 + 1 + i);
        }
        ck_assert_msg(fabs(sum - expected[k]) < 1e-3, "%s: %.6f, need %.6f", caps_transform_name(k),
            sum, expected[k]);
    }
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(caps_transform_name(CAPS_TRANSFORM_SHIFT), "shift");
    ck_assert_str_eq(caps_transform_name(CAPS_TRANSFORM_NOISE), "noise");
    ck_assert_ptr_null(caps_transform_name(CAPS_TRANSFORM_COUNT));
    ck_assert_ptr_null(caps_transform_name(-1));
    ck_assert(caps_transform_max_severity(CAPS_TRANSFORM_ROTATE) == 180);
}
END_TEST

/* Given, not drawn: exact where pixels fall on pixels. */
START_TEST(placements)
{
    float in[N], out[N], back[N];
    fill(in, N);
    caps_placement_apply(&(caps_placement){.scale = 1}, in, out, C, H, W);
    ck_assert_mem_eq(in, out, sizeof in);
    caps_placement_apply(&(caps_placement){.scale = 1, .right = 2, .down = -3}, in, out, C, H, W);
    for (int c = 0; c < C; c++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const float from = y + 3 < H && x >= 2 ? in[(c * H + y + 3) * W + x - 2] : 0;
                ck_assert(out[(c * H + y) * W + x] == from);
            }
    /* Half a pixel: the mean of two. */
    caps_placement_apply(&(caps_placement){.scale = 1, .right = 0.5}, in, out, C, H, W);
    ck_assert_double_eq_tol((double)out[5], ((double)in[4] + (double)in[5]) / 2, 1e-6);
    caps_placement_apply(&(caps_placement){.scale = 1, .degrees = 180}, in, out, C, H, W);
    for (int i = 0; i < H * W; i++)
        ck_assert_double_eq_tol((double)out[i], (double)in[H * W - 1 - i], 1e-5);
    /* The corner above on the right goes to the one above on the left. */
    float square[9] = {0, 0, 1}, turned[9];
    caps_placement_apply(&(caps_placement){.scale = 1, .degrees = 90}, square, turned, 1, 3, 3);
    ck_assert_double_eq_tol((double)turned[0], 1, 1e-6);
    /* Scaled, turned, then moved: twice as large, what was beside the centre is at the edge. */
    const float line[5] = {0, 0, 0, 1, 0};
    float scaled[5];
    caps_placement_apply(&(caps_placement){.scale = 2}, line, scaled, 1, 1, 5);
    ck_assert(scaled[4] == 1 && scaled[3] == 0.5f && scaled[2] == 0);
    caps_placement_apply(&(caps_placement){.scale = 2, .right = -1}, line, scaled, 1, 1, 5);
    ck_assert(scaled[3] == 1 && scaled[2] == 0.5f);
    caps_placement_apply(&(caps_placement){1, 30, 0, 0}, in, out, C, H, W);
    caps_placement_apply(&(caps_placement){1, -30, 0, 0}, in, back, C, H, W);
    ck_assert_mem_ne(out, back, sizeof out);
    for (int i = 0; i < N; i++)
        ck_assert(out[i] >= 0 && out[i] <= 1);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("transform");
    TCase *tc = tcase_create("transform");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, names);
    tcase_add_test(tc, severity_0_is_the_image);
    tcase_add_test(tc, a_draw_depends_on_its_arguments_alone);
    tcase_add_test(tc, shifts_are_exact_and_uniform);
    tcase_add_test(tc, rotations_and_scales_are_in_their_range);
    tcase_add_test(tc, a_quarter_turn);
    tcase_add_test(tc, affine_keeps_to_its_parts);
    tcase_add_test(tc, noise_is_normal);
    tcase_add_test(tc, checksums);
    tcase_add_test(tc, placements);
    suite_add_tcase(s, tc);
    return s;
}
