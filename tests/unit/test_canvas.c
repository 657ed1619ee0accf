/* test_canvas.c: the canvas and its font. */
#include "support.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"

static const caps_colour red = {255, 10, 20};

/* How many pixels are `red`; all others must be black. */
static size_t inked(const caps_image *canvas)
{
    size_t n = 0;
    for (size_t i = 0; i < canvas->width * canvas->height; i++) {
        const uint8_t *p = canvas->pixels + i * 3;
        if (p[0] == red.r && p[1] == red.g && p[2] == red.b)
            n++;
        else
            ck_assert(p[0] == 0 && p[1] == 0 && p[2] == 0);
    }
    return n;
}

static caps_image blank(size_t width, size_t height)
{
    caps_error err = {0};
    caps_image canvas;
    test_ok(caps_image_init(&canvas, width, height, 3, &err));
    return canvas;
}

START_TEST(fill_is_clipped)
{
    static const struct {
        long x, y;
        size_t width, height, inked;
    } cases[] = {
        {2, 3, 4, 5, 20},
        {0, 0, 10, 8, 80},
        {-3, -3, 5, 5, 4},
        {8, 6, 5, 5, 4},
        {-3, 2, 3, 3, 0},
        {10, 0, 1, 1, 0},
        {0, 8, 9, 9, 0},
        {2, 2, 0, 5, 0},
        {-5, -5, 100, 100, 80},
        {0, 0, SIZE_MAX, SIZE_MAX, 80},
        {LONG_MIN, LONG_MIN, SIZE_MAX, SIZE_MAX, 80},
        {LONG_MIN, 0, 5, 5, 0},
        {LONG_MAX, LONG_MAX, SIZE_MAX, SIZE_MAX, 0},
        {9, 7, SIZE_MAX, SIZE_MAX, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        caps_image canvas = blank(10, 8);
        caps_canvas_fill(&canvas, cases[i].x, cases[i].y, cases[i].width, cases[i].height, red);
        ck_assert_uint_eq(inked(&canvas), cases[i].inked);
        caps_image_release(&canvas);
    }
}
END_TEST

START_TEST(frames)
{
    static const struct {
        long x, y;
        size_t width, height, thickness, inked;
    } cases[] = {
        {1, 1, 8, 6, 1, 24}, {1, 1, 8, 6, 2, 8 * 6 - 4 * 2}, {1, 1, 8, 6, 3, 48},
        {1, 1, 8, 6, 99, 48}, {1, 1, 7, 5, 2, 35 - 3}, {1, 1, 1, 1, 1, 1}, {1, 1, 8, 6, 0, 0},
        {-1, -1, 100, 100, 1, 0},                    /* all around the picture */
        {0, 0, 12, 10, 1, 40}, {-2, -2, 5, 5, 1, 5}, /* a corner */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        caps_image canvas = blank(12, 10);
        caps_canvas_frame(&canvas, cases[i].x, cases[i].y, cases[i].width, cases[i].height,
            cases[i].thickness, red);
        ck_assert_uint_eq(inked(&canvas), cases[i].inked);
        caps_image_release(&canvas);
    }
}
END_TEST

START_TEST(tiles)
{
    caps_image canvas = blank(20, 20);
    const float colour[3 * 2 * 2] = {0, 1, 0.5f, 2, 1, 0, 0.25f, NAN, -1, 0.2f, 0.4f, INFINITY};
    caps_canvas_tile(&canvas, 3, 4, colour, 3, 2, 2, 3);
    static const int expected[4][3] = {{0, 255, 0}, {255, 0, 51}, {128, 64, 102}, {255, 0, 255}};
    for (int y = 0; y < 20; y++)
        for (int x = 0; x < 20; x++) {
            bool inside = x >= 3 && x < 9 && y >= 4 && y < 10;
            for (int c = 0; c < 3; c++)
                ck_assert_int_eq(canvas.pixels[(y * 20 + x) * 3 + c],
                    inside ? expected[(y - 4) / 3 * 2 + (x - 3) / 3][c] : 0);
        }
    caps_image_release(&canvas);

    /* One channel, or the first of two, as grey; partly outside. */
    for (size_t channels = 1; channels <= 2; channels++) {
        const float two[2 * 4] = {1, 1, 1, 1, 0, 0, 0, 0};
        canvas = blank(5, 5);
        caps_canvas_tile(&canvas, -1, 4, two, channels, 2, 2, 1);
        for (int i = 0; i < 75; i++)
            ck_assert_int_eq(canvas.pixels[i], i / 3 == 4 * 5 ? 255 : 0);
        caps_image_release(&canvas);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("canvas");
    TCase *canvas = tcase_create("canvas");
    tcase_add_test(canvas, fill_is_clipped);
    tcase_add_test(canvas, frames);
    tcase_add_test(canvas, tiles);
    suite_add_tcase(s, canvas);
    return s;
}
