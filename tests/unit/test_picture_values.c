/* test_picture_values.c: grounds of transparent pictures, ranges of values, notes. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "picture.h"
#include "png_files.h"
#include "rng.h"

enum { W = 9, H = 7 };

static char *dir, *path;

static void set_up(void)
{
    dir = test_directory();
    path = caps_path_join(dir, "x.png");
}

static void tear_down(void)
{
    free(path);
    free(dir);
}

/* ---- transparency --------------------------------------------------------------------------- */

/* How much of a pixel the drawing covers: nothing at the border. */
static unsigned cover(size_t x, size_t y)
{
    const bool border = x == 0 || y == 0 || x + 1 == W || y + 1 == H;
    return border ? 0 : (unsigned)(31 * x + 17 * y) % 256;
}

static unsigned ink; /* 0..255 */

static unsigned drawn(size_t x, size_t y, size_t s)
{
    return s == 1 ? cover(x, y) : ink;
}

static unsigned drawn_rgb(size_t x, size_t y, size_t s)
{
    return s == 3 ? cover(x, y) : ink;
}

static unsigned drawn_wide(size_t x, size_t y, size_t s)
{
    return drawn(x, y, s) * 257;
}

/* All or nothing: 1 where there is ink; what is transparent has another value. */
static unsigned drawn_key(size_t x, size_t y, size_t s)
{
    (void)s;
    return cover(x, y) >= 128 ? ink : 200;
}

static unsigned drawn_index(size_t x, size_t y, size_t s)
{
    (void)s;
    return cover(x, y) >= 128 ? ink / 255 : 2;
}

typedef enum form { GREY, GREY_16, RGB, GREY_KEY, RGB_KEY, PALETTE, FORMS } form;

static void put_drawing(form f)
{
    static const png_color_16 key = {.red = 200, .green = 200, .blue = 200, .gray = 200};
    static const png_byte alphas[] = {255, 255, 0};
    static const test_png kinds[FORMS] = {
        [GREY] = {W, H, PNG_COLOR_TYPE_GRAY_ALPHA, 8, drawn, NULL, 0, NULL},
        [GREY_16] = {W, H, PNG_COLOR_TYPE_GRAY_ALPHA, 16, drawn_wide, NULL, 0, NULL},
        [RGB] = {W, H, PNG_COLOR_TYPE_RGB_ALPHA, 8, drawn_rgb, NULL, 0, NULL},
        [GREY_KEY] = {W, H, PNG_COLOR_TYPE_GRAY, 8, drawn_key, &key, 0, NULL},
        [RGB_KEY] = {W, H, PNG_COLOR_TYPE_RGB, 8, drawn_key, &key, 0, NULL},
        /* black, white at entry 1 (of two greys), and a third that covers nothing */
        [PALETTE] = {W, H, PNG_COLOR_TYPE_PALETTE, 8, drawn_index, NULL, 3, alphas},
    };
    test_png_write(path, &kinds[f]);
}

/* The drawing as a network of one channel takes it, in 255ths. */
static void expect_drawing(form f, const caps_picture_options *o, bool flipped, unsigned ground)
{
    caps_error err = {0};
    caps_image image;
    caps_picture_facts facts;
    float out[H * W];
    const double paint = f == PALETTE && ink ? 127 : ink;
    put_drawing(f);
    test_ok(caps_picture_read(&image, path, o, &facts, &err));
    ck_assert(facts.transparent && facts.laid_on == ground && facts.flipped == flipped);
    test_ok(caps_picture_convert(out, &image, 1, H, W, o, &facts, &err));
    ck_assert(facts.inverted == o->invert && !facts.flat);
    for (size_t i = 0; i < W * H; i++) {
        const unsigned part = cover(i % W, i / W);
        const double alpha = f >= GREY_KEY ? part >= 128 : part / 255.0;
        double want = paint * alpha + ground * (1 - alpha);
        want = flipped != o->invert ? 255 - want : want;
        ck_assert_double_eq_tol(out[i] * 255.0, want, 0.51);
    }
    caps_image_release(&image);
}

/* Ink shows whatever it is; a network gets the ground that it knows, unless somebody chose. */
START_TEST(ink_shows_on_its_ground)
{
    for (form f = 0; f < FORMS; f++)
        for (int dark = 0; dark < 2; dark++) {
            if (f == PALETTE && !dark)
                continue; /* its grey would be 127: any ground will do */
            const unsigned shows_on = dark ? 255 : 0;
            ink = dark ? 0 : 255;
            expect_drawing(f, &(caps_picture_options){0}, false, shows_on);
            for (caps_ground g = CAPS_GROUND_DARK; g <= CAPS_GROUND_LIGHT; g++) {
                const bool other = (g == CAPS_GROUND_DARK) == (shows_on == 255);
                expect_drawing(f, &(caps_picture_options){.ground = g}, other, shows_on);
                expect_drawing(
                    f, &(caps_picture_options){.ground = g, .invert = true}, false, shows_on);
                expect_drawing(
                    f, &(caps_picture_options){.ground = g, .background = 1 + 100}, false, 100);
            }
        }
}
END_TEST

/* On the ground of its own colour nothing is left of it; nor where nothing is drawn. */
START_TEST(what_cannot_be_seen_is_flat)
{
    caps_error err = {0};
    caps_image image;
    caps_picture_facts facts;
    float out[20 * 20];
    ink = 0;
    put_drawing(RGB);
    const caps_picture_options black = {.background = 1};
    test_ok(caps_picture_read(&image, path, &black, &facts, &err));
    test_ok(caps_picture_convert(out, &image, 1, 20, 20, &black, &facts, &err));
    ck_assert(facts.flat);
    caps_image_release(&image);
    /* A white picture between borders of black is flat too. */
    test_ok(caps_image_init(&image, 40, 10, 3, &err));
    memset(image.pixels, 255, 40 * 10 * 3);
    facts = (caps_picture_facts){.width = 40, .height = 10};
    test_ok(caps_picture_convert(out, &image, 1, 20, 20, NULL, &facts, &err));
    ck_assert(facts.flat && facts.above == 7);
    image.pixels[3 * 205] = 0;
    facts = (caps_picture_facts){.width = 40, .height = 10};
    test_ok(caps_picture_convert(out, &image, 1, 20, 20, NULL, &facts, &err));
    ck_assert(!facts.flat);
    caps_image_release(&image);
}
END_TEST

static unsigned covering(size_t x, size_t y, size_t s)
{
    return s == 1 ? 255 : 10 + (unsigned)(x + y);
}

/* Dark, and with nothing behind it that could be chosen. */
START_TEST(alpha_that_covers_all_is_no_transparency)
{
    caps_error err = {0};
    caps_image image;
    caps_picture_facts facts;
    const caps_picture_options o = {.ground = CAPS_GROUND_DARK};
    test_png_write(path, &(test_png){W, H, PNG_COLOR_TYPE_GRAY_ALPHA, 8, covering, NULL, 0, NULL});
    test_ok(caps_picture_read(&image, path, &o, &facts, &err));
    ck_assert(!facts.transparent && !facts.flipped && image.pixels[0] == 10);
    caps_image_release(&image);
}
END_TEST

START_TEST(backgrounds_have_names)
{
    static const struct {
        const char *text;
        int background; /* -1: none */
    } cases[] = {{NULL, 0}, {"", 0}, {"auto", 0}, {"black", 1}, {"white", 256}, {"0", 1},
        {"255", 256}, {"7", 8}, {"007", 8}, {"256", -1}, {"-1", -1}, {"1.5", -1}, {"1e2", -1},
        {"Black", -1}, {" 5", -1}, {"0x5", -1}, {"4294967296", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int background;
        const bool is = caps_background_parse(&background, cases[i].text);
        ck_assert_msg(is == (cases[i].background >= 0), "%s", cases[i].text);
        ck_assert(!is || background == cases[i].background);
    }
}
END_TEST

/* ---- ranges --------------------------------------------------------------------------------- */

static unsigned lowest, step; /* of the values */

static unsigned ramp(size_t x, size_t y, size_t s)
{
    return lowest + step * (unsigned)((x * 5 + y * 11 + s * 3) % 64);
}

/* From whatever range, of 8 bits or 16, in grey or colour: the same whole one. */
START_TEST(narrow_ranges_are_stretched)
{
    static const struct {
        int colour, depth;
        unsigned lowest, step;
        bool narrow;
    } cases[] = {{PNG_COLOR_TYPE_GRAY, 16, 0, 65, true}, /* 12 bits of 16 */
        {PNG_COLOR_TYPE_GRAY, 16, 30000, 16, true}, {PNG_COLOR_TYPE_GRAY, 16, 0, 1040, false},
        {PNG_COLOR_TYPE_GRAY, 8, 100, 1, true}, {PNG_COLOR_TYPE_GRAY, 8, 0, 4, false},
        {PNG_COLOR_TYPE_RGB, 8, 7, 1, true}, {PNG_COLOR_TYPE_RGB, 16, 0, 16, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bool wide = cases[i].depth == 16;
        const size_t channels = cases[i].colour == PNG_COLOR_TYPE_RGB ? 3 : 1;
        const test_png k = {W, H, cases[i].colour, cases[i].depth, ramp, NULL, 0, NULL};
        lowest = cases[i].lowest;
        step = cases[i].step;
        test_png_write(path, &k);
        unsigned low = UINT32_MAX, high = 0;
        for (size_t p = 0; p < W * H * channels; p++) {
            const unsigned value = ramp(p / channels % W, p / channels / W, p % channels);
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        for (int stretch = 0; stretch < 2; stretch++) {
            caps_error err = {0};
            caps_image image;
            caps_picture_facts facts;
            const caps_picture_options o = {.stretch = stretch};
            test_ok(caps_picture_read(&image, path, &o, &facts, &err));
            ck_assert(facts.low == low && facts.high == high);
            ck_assert_uint_eq(facts.whole, wide ? 65535 : 255);
            ck_assert(caps_picture_is_narrow(&facts) == cases[i].narrow);
            ck_assert(facts.stretched == stretch);
            for (size_t p = 0; p < W * H * channels; p++) {
                const double value = ramp(p / channels % W, p / channels / W, p % channels);
                const double want = stretch ? (value - low) * 255 / (high - low)
                                    : wide  ? value / 257
                                            : value;
                ck_assert_double_eq_tol(image.pixels[p], want, 0.501);
            }
            caps_image_release(&image);
        }
    }
    /* One value is not stretched, whatever it is; a whole range neither. */
    lowest = 77;
    step = 0;
    test_png_write(path, &(test_png){W, H, PNG_COLOR_TYPE_GRAY, 8, ramp, NULL, 0, NULL});
    caps_error err = {0};
    caps_image image;
    caps_picture_facts facts;
    const caps_picture_options o = {.stretch = true};
    test_ok(caps_picture_read(&image, path, &o, &facts, &err));
    ck_assert(!facts.stretched && !caps_picture_is_narrow(&facts) && image.pixels[5] == 77);
    caps_image_release(&image);
}
END_TEST

/* ---- grounds -------------------------------------------------------------------------------- */

START_TEST(grounds_are_found)
{
    static const struct {
        float border, within;
        caps_ground ground;
    } cases[] = {{0, 1, CAPS_GROUND_DARK}, {1, 0, CAPS_GROUND_LIGHT},
        {0.2f, 0.25f, CAPS_GROUND_DARK}, {0.9f, 0.5f, CAPS_GROUND_LIGHT},
        {0.5f, 1, CAPS_GROUND_ANY}, {0.5f, 0, CAPS_GROUND_ANY}, {0, 0, CAPS_GROUND_ANY},
        {1, 1, CAPS_GROUND_ANY}, {0.2f, 0.1f, CAPS_GROUND_ANY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float image[2][6][8];
        for (size_t p = 0; p < 2 * 6 * 8; p++) {
            const size_t y = p / 8 % 6, x = p % 8;
            const bool edge = y == 0 || y == 4 || x == 0 || x == 6;
            const bool outside = y > 4 || x > 6; /* not of the image */
            (&image[0][0][0])[p] = outside ? 0.5f : edge ? cases[i].border : cases[i].within;
        }
        ck_assert_int_eq(caps_ground_find(&image[0][0][0], 2, 5, 7, 8, 48), cases[i].ground);
    }
}
END_TEST

/* ---- notes ---------------------------------------------------------------------------------- */

static char said[4096];

static void on_note(void *user, const char *text)
{
    (void)user;
    ck_assert_ptr_null(strchr(text, '\n'));
    strcat(said, text);
    strcat(said, "\n");
}

static char *name_picture(void *of, size_t index)
{
    (void)of;
    return caps_format("%zu.png", index);
}

static const char *notes_of(const caps_picture_facts *facts, size_t n, const size_t *order,
    const caps_picture_options *options)
{
    caps_picture_counts counts = {0};
    const caps_picture_noting noting = {
        "training pictures", 1, 28, 20, options, name_picture, NULL, on_note, NULL};
    for (size_t i = 0; i < n; i++)
        caps_picture_count(&counts, &facts[order[i]], order[i]);
    said[0] = '\0';
    caps_picture_notes(&counts, &noting);
    return said;
}

#define SIZED(w, h) .width = (w), .height = (h), .fit_width = 20, .fit_height = 28
#define WHOLE       .high = 255, .whole = 255

START_TEST(notes_count_and_name)
{
    static const caps_picture_facts facts[] = {{SIZED(20, 28), WHOLE},
        {SIZED(64, 64), WHOLE, .coloured = true, .to_grey = true, .above = 3, .below = 4},
        {SIZED(40, 56), WHOLE, .transparent = true, .laid_on = 255, .flipped = true},
        {SIZED(20, 28), WHOLE, .transparent = true},
        {SIZED(20, 28), .low = 5, .high = 4080, .whole = 65535},
        {SIZED(20, 28), .low = 50, .high = 90, .whole = 255},
        {SIZED(16, 300), .whole = 255, .flat = true, .turned = true, .left = 2},
        {SIZED(20, 28), .whole = 255, .flat = true, .cmyk = true},
        {SIZED(20, 28), .whole = 255, .flat = true, .imperfect = true},
        {SIZED(20, 28), .whole = 255, .flat = true, .other_ground = true}};
    enum { N = sizeof facts / sizeof facts[0] };
    static const char expected[] =
        "1 of 10 training pictures is in colour, which becomes grey: only a network of 3 channels "
        "sees colour (--arch cifar10, or FILE with \"input\": [3,28,20])\n"
        "1 of 10 training pictures is CMYK and becomes RGB by the plain formula, without a colour "
        "profile\n"
        "1 of 10 training pictures is turned as EXIF says\n"
        "3 of 10 training pictures are scaled from sizes between 40x56 and 16x300 to fit 20x28 "
        "(--arch FILE with another \"input\" for another size)\n"
        "2 of 10 training pictures get borders of black, for other proportions than 20x28; nothing "
        "is cut off\n"
        "2 of 10 training pictures are transparent: 1 laid on white and 1 on black, so that the "
        "ink shows, and 1 turned round, as the network was trained on light on dark (--background "
        "black, white or 0..255 chooses)\n"
        "1 of 10 training pictures is read past bytes that belong to nothing, as some cameras "
        "leave them: 8.png\n"
        "2 of 10 training pictures use less than half of the range of values, the narrowest "
        "5..4080 of 0..65535: --stretch makes it the whole\n"
        "1 of 10 training pictures is dark on light, but the network was trained on light on dark "
        "(--invert turns pictures round): 9.png\n"
        "4 of 10 training pictures are one flat colour, so nothing can be seen in them: 6.png, "
        "7.png, 8.png, ...\n";
    const caps_picture_options o = {.ground = CAPS_GROUND_DARK};
    /* In whatever order threads count them. */
    for (unsigned turn = 0; turn < 20; turn++) {
        size_t order[N];
        for (size_t i = 0; i < N; i++) {
            const size_t j = (size_t)caps_rng_below(i + 1, turn, CAPS_RNG_TEST, 8, i);
            order[i] = order[j];
            order[j] = i;
        }
        ck_assert_str_eq(notes_of(facts, N, order, &o), expected);
    }
}
END_TEST

START_TEST(notes_of_one_and_of_none)
{
    static const size_t order[] = {0, 1, 2};
    static const caps_picture_facts plain = {SIZED(20, 28), WHOLE};
    static const caps_picture_options none = {0}, dark = {.ground = CAPS_GROUND_DARK};
    ck_assert_str_eq(notes_of(&plain, 1, order, &none), "");
    ck_assert_str_eq(notes_of((caps_picture_facts[]){plain, plain, plain}, 3, order, &dark), "");
    static const caps_picture_facts changed = {SIZED(90, 90), WHOLE, .to_grey = true,
        .transparent = true, .laid_on = 255, .flipped = true, .below = 1};
    ck_assert_str_eq(notes_of(&changed, 1, order, &dark),
        "0.png: transparent ground to white, then turned round to light on dark, colour to grey, "
        "90x90 to 20x28, 1 row of black below (only a network of 3 channels sees "
        "colour) (--background black, white or 0..255 chooses the ground)\n");
    static const caps_picture_facts flat = {SIZED(20, 28), .whole = 255, .flat = true};
    ck_assert_str_eq(notes_of(&flat, 1, order, &none),
        "0.png is one flat colour, so nothing can be seen in it\n");
    static const caps_picture_facts odd = {SIZED(20, 28), WHOLE, .other_ground = true};
    ck_assert_str_eq(notes_of(&odd, 1, order,
                         &(caps_picture_options){.ground = CAPS_GROUND_LIGHT, .invert = true}),
        "0.png is light on dark, but the network was trained on dark on light (--no-invert leaves "
        "pictures as they are)\n");
    /* A few odd ones in very many are no news. */
    caps_picture_counts counts = {.n = 101, .other_ground = 10};
    const caps_picture_noting noting = {
        "pictures", 1, 28, 20, &dark, name_picture, NULL, on_note, NULL};
    said[0] = '\0';
    caps_picture_notes(&counts, &noting);
    ck_assert_str_eq(said, "");
    counts.n = 100;
    caps_picture_notes(&counts, &noting);
    ck_assert_ptr_nonnull(strstr(said, "10 of 100 pictures are dark on light"));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("picture values");
    TCase *t = tcase_create("values");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, ink_shows_on_its_ground);
    tcase_add_test(t, what_cannot_be_seen_is_flat);
    tcase_add_test(t, alpha_that_covers_all_is_no_transparency);
    tcase_add_test(t, backgrounds_have_names);
    tcase_add_test(t, narrow_ranges_are_stretched);
    tcase_add_test(t, grounds_are_found);
    tcase_add_test(t, notes_count_and_name);
    tcase_add_test(t, notes_of_one_and_of_none);
    suite_add_tcase(s, t);
    return s;
}
