/* test_pictures.c: shapes, text and colours of sheets, and the sheets that need no network. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "pictures.h"
#include "support.h"
#include "type.h"

static const caps_colour red = {255, 0, 0};

static caps_drawing drawing(double width, double height, double scale)
{
    caps_error err = {0};
    caps_drawing d;
    test_ok(caps_drawing_init(&d, width, height, scale, &err));
    return d;
}

static caps_colour pixel(const caps_drawing *d, size_t x, size_t y)
{
    const uint8_t *p = d->image.pixels + (y * d->image.width + x) * 3;
    return (caps_colour){p[0], p[1], p[2]};
}

static bool same(caps_colour a, caps_colour b)
{
    return a.r == b.r && a.g == b.g && a.b == b.b;
}

/* Pixels within a rectangle (of pixels) that are not paper. */
static size_t inked(const caps_drawing *d, size_t x, size_t y, size_t width, size_t height)
{
    size_t n = 0;
    for (size_t row = y; row < y + height && row < d->image.height; row++)
        for (size_t column = x; column < x + width && column < d->image.width; column++)
            n += !same(pixel(d, column, row), caps_paper);
    return n;
}

static size_t all_ink(const caps_drawing *d)
{
    return inked(d, 0, 0, d->image.width, d->image.height);
}

START_TEST(shapes_are_sharp_at_any_scale)
{
    for (int scale = 1; scale <= 2; scale++) {
        const size_t z = (size_t)scale;
        caps_drawing d = drawing(30, 20, scale);
        ck_assert_uint_eq(d.image.width, 30 * z);
        ck_assert_uint_eq(d.image.height, 20 * z);
        ck_assert_uint_eq(all_ink(&d), 0);
        caps_draw_fill(&d, 3, 4, 5, 6, red);
        ck_assert_uint_eq(all_ink(&d), 30 * z * z);
        ck_assert(same(pixel(&d, 3 * z, 4 * z), red));
        ck_assert(same(pixel(&d, 8 * z - 1, 10 * z - 1), red));
        caps_drawing_release(&d);

        d = drawing(30, 20, scale);
        caps_draw_frame(&d, 2, 2, 10, 8, 1, red);
        ck_assert_uint_eq(all_ink(&d), (10 * 8 - 8 * 6) * z * z);
        ck_assert(same(pixel(&d, 5 * z, 5 * z), caps_paper));
        /* Neighbours meet: nothing is left out or laid over. */
        caps_drawing_release(&d);
        d = drawing(30, 20, scale);
        for (int i = 0; i < 10; i++)
            caps_draw_fill(&d, i * 0.7, 0, 0.7, 1, red);
        ck_assert_uint_eq(all_ink(&d), 7 * z * z);
        caps_drawing_release(&d);
    }
}
END_TEST

START_TEST(drawing_outside_is_cut)
{
    caps_drawing d = drawing(10, 10, 1);
    const float pixels[4] = {1, 1, 1, 1};
    caps_draw_fill(&d, -1e30, -1e30, 1, 1, red);
    caps_draw_fill(&d, 1e30, 5, 1e30, 1e30, red);
    caps_draw_line(&d, -500, -500, -400, -400, 3, red);
    caps_draw_text(&d, -1000, 3, "text", 2, red);
    caps_draw_text(&d, 1e7, 1e7, "text", 2, red);
    caps_draw_tile(&d, 100, 100, pixels, 1, 2, 2, 4);
    ck_assert_uint_eq(all_ink(&d), 0);
    caps_draw_fill(&d, -5, -5, 100, 100, red);
    ck_assert_uint_eq(all_ink(&d), 100);
    caps_drawing_release(&d);

    caps_error err = {0};
    ck_assert_int_eq(caps_drawing_init(&d, 20000, 10, 1, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "20000x10"));
    ck_assert_int_eq(caps_drawing_init(&d, 10, NAN, 1, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_drawing_init(&d, 0, 10, 1, &err), CAPS_ERR_ARGUMENT);
    caps_drawing_release(&d);
}
END_TEST

START_TEST(lines)
{
    caps_drawing d = drawing(40, 40, 1);
    caps_draw_line(&d, 5, 20.5, 35, 20.5, 1, red);
    ck_assert(same(pixel(&d, 20, 20), red));
    ck_assert(same(pixel(&d, 20, 23), caps_paper));
    caps_drawing_release(&d);
    d = drawing(40, 40, 1);
    caps_draw_line(&d, 5, 5, 35, 35, 3, red);
    ck_assert(same(pixel(&d, 20, 20), red));
    ck_assert(same(pixel(&d, 30, 10), caps_paper));
    caps_drawing_release(&d);
    d = drawing(40, 40, 1);
    caps_draw_dashes(&d, 20, 0, 20, 40, 2, red);
    ck_assert_uint_eq(all_ink(&d), 40); /* half of them */
    caps_drawing_release(&d);
}
END_TEST

/* Every glyph lies in its width and between its lines, is like no other, and has more detail at scale 2,
 * not larger dots. */
START_TEST(text_is_readable)
{
    enum { FIRST = 33, LAST = 126, W = 24, H = 28 };
    static uint8_t cells[LAST + 1][W * H * 3];
    for (int c = FIRST; c <= LAST; c++) {
        const char text[] = {(char)c, 0};
        caps_drawing d = drawing(W, H, 1);
        const double width = caps_draw_text(&d, 2, 6, text, 2, red);
        ck_assert_double_eq(width, caps_text_width(text, 2));
        ck_assert_double_gt(width, 3);
        ck_assert_double_lt(width, 19);
        ck_assert_uint_gt(all_ink(&d), 4);
        const size_t end = 2 + (size_t)ceil(width);
        ck_assert_uint_eq(inked(&d, 0, 0, 1, H) + inked(&d, end, 0, W - end, H), 0);
        ck_assert_uint_eq(inked(&d, 0, 0, W, 1) + inked(&d, 0, 25, W, 3), 0);
        memcpy(cells[c], d.image.pixels, sizeof cells[c]);
        for (int other = FIRST; other < c; other++)
            ck_assert_msg(memcmp(cells[c], cells[other], sizeof cells[c]) != 0,
                "'%c' looks like '%c'", c, other);
        caps_drawing_release(&d);
    }
    caps_drawing one = drawing(40, 20, 1), two = drawing(40, 20, 2);
    caps_draw_text(&one, 1, 1, "%@3", 2, red);
    caps_draw_text(&two, 1, 1, "%@3", 2, red);
    size_t different = 0;
    for (size_t y = 0; y < 40; y++)
        for (size_t x = 0; x < 80; x++)
            different += !same(pixel(&two, x, y), pixel(&one, x / 2, y / 2));
    ck_assert_uint_gt(different, 20);
    /* About four times the ink. */
    const double ratio = (double)all_ink(&two) / (double)all_ink(&one);
    ck_assert_double_gt(ratio, 2.5);
    ck_assert_double_lt(ratio, 4.5);
    caps_drawing_release(&one);
    caps_drawing_release(&two);
}
END_TEST

typedef struct covered {
    double area, centre, least_row, most_row;
} covered;

static void add_covered(void *to, long along, long across, double part)
{
    covered *c = to;
    ck_assert(part > 0 && part <= 1);
    c->area += part;
    c->centre += part * ((double)along + 0.5);
    if (part > 0.5) {
        c->least_row = fmin(c->least_row, (double)across);
        c->most_row = fmax(c->most_row, (double)across);
    }
}

/* A letter covers the same area wherever it begins, and moves with where it begins; feet and tops lie
 * on whole rows; holes are no ink. */
START_TEST(letters_are_exact)
{
    const caps_typeface *const faces[] = {&caps_type_text, &caps_type_title};
    for (size_t f = 0; f < 2; f++)
        for (double em = 8; em < 120; em *= 1.7) {
            for (int c = CAPS_TYPE_FIRST + 1; c <= CAPS_TYPE_LAST; c++) {
                covered first = {0}, moved = {0};
                caps_type_draw(faces[f], (unsigned char)c, em, 0, add_covered, &first);
                caps_type_draw(faces[f], (unsigned char)c, em, 7.3, add_covered, &moved);
                ck_assert_double_gt(first.area, 0.01 * em * em);
                ck_assert_double_eq_tol(moved.area / first.area, 1, 0.02);
                ck_assert_double_eq_tol(
                    moved.centre / moved.area, first.centre / first.area + 7.3, 0.5);
            }
            covered h = {.most_row = -INFINITY}, o = {0}, dot = {0}, bar = {0};
            caps_type_draw(faces[f], 'H', em, 0, add_covered, &h);
            ck_assert_double_eq(h.most_row, -1);
            ck_assert_double_eq(h.least_row, -(double)caps_type_capital(faces[f], em));
            /* An O is no disc, and a colon is two dots. */
            caps_type_draw(faces[f], 'O', em, 0, add_covered, &o);
            ck_assert_double_lt(o.area, 0.6 * 0.727 * 0.75 * em * em);
            caps_type_draw(faces[f], '.', em, 0, add_covered, &dot);
            caps_type_draw(faces[f], ':', em, 0, add_covered, &bar);
            ck_assert_double_eq_tol(bar.area / dot.area, 2, 0.35);
        }
}
END_TEST

START_TEST(labels_are_cut_and_placed)
{
    static const struct {
        const char *text;
        size_t most;
        const char *cut;
    } cases[] = {{"abc", 3, "abc"}, {"abcd", 3, "a.."}, {"abcdef", 5, "ab..f"}, {"", 4, ""},
        {"class_name_77", 10, "class_..77"}, {"class_name_77", 13, "class_name_77"},
        {"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 4, "eeee"},
        {"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 3, "e.."}, {"abc", 2, ".."}, {"abc", 0, ".."}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        ck_assert_str_eq(caps_text_cut(out, cases[i].text, cases[i].most), cases[i].cut);
    }
    ck_assert_double_eq(caps_text_width("", 2), 0);
    /* Letters have widths of their own, digits one for all; what is measured grows with the size. */
    ck_assert_double_gt(caps_text_width("W", 2), 2 * caps_text_width("i", 2));
    ck_assert_double_eq_tol(caps_text_width("1111", 2), caps_text_width("8046", 2), 0.1);
    ck_assert_double_eq_tol(caps_text_width("ab", 2), 2 * caps_text_width("ab", 1), 1e-9);
    ck_assert_double_eq_tol(
        caps_text_width("ab", 2), caps_text_width("a", 2) + caps_text_width("b", 2), 1e-9);
    ck_assert_double_gt(caps_text_width("ab", CAPS_TEXT_TITLE), 1.5 * caps_text_width("ab", 2));
    /* As much as fits, with both ends. */
    char fit[64];
    const char *const long_name = "class_with_a_long_name_77";
    for (double width = 20; width < 400; width += 7) {
        caps_text_fit(fit, sizeof fit, long_name, width, 2);
        if (strlen(fit) > 2)
            ck_assert_double_le(caps_text_width(fit, 2), width);
        if (strcmp(fit, long_name) != 0) {
            char more[64];
            caps_text_cut(more, long_name, strlen(fit) + 1);
            ck_assert_double_gt(caps_text_width(more, 2), width);
        }
    }
    ck_assert_str_eq(fit, long_name);
    ck_assert_str_eq(caps_text_fit(fit, 8, long_name, 400, 2), "clas..7");

    /* However long, a label stays within its width; aligned it touches its side. */
    const char *const texts[] = {"i", "a name that is much too long for this place", "WWWWWWWW"};
    for (size_t i = 0; i < 3; i++)
        for (int align = CAPS_LEFT; align <= CAPS_RIGHT; align++) {
            caps_drawing d = drawing(120, 30, 1);
            caps_draw_label(&d, 30, 5, 60, (caps_align)align, texts[i], 2, red);
            ck_assert_uint_gt(all_ink(&d), 0);
            ck_assert_uint_eq(inked(&d, 29, 0, 62, 30), all_ink(&d));
            if (i == 0)
                ck_assert_uint_eq(inked(&d,
                                      align == CAPS_LEFT    ? 30
                                      : align == CAPS_RIGHT ? 80
                                                            : 55,
                                      0, 10, 30),
                    all_ink(&d));
            caps_drawing_release(&d);
            d = drawing(30, 120, 1);
            caps_draw_label_up(&d, 5, 90, 60, texts[i], 2, red);
            ck_assert_uint_gt(all_ink(&d), 0);
            ck_assert_uint_eq(inked(&d, 0, 29, 30, 62), all_ink(&d));
            caps_drawing_release(&d);
        }
    /* What is measured is what is drawn. */
    caps_drawing d = drawing(100, 200, 1);
    const char *text = "some words that take several lines, and onewordthatislongerthanaline";
    const double height = caps_draw_paragraph(NULL, 5, 5, 80, text, 1, red);
    ck_assert_double_eq(caps_draw_paragraph(&d, 5, 5, 80, text, 1, red), height);
    ck_assert_uint_eq(inked(&d, 4, 4, 82, (size_t)height + 2), all_ink(&d));
    caps_drawing_release(&d);
}
END_TEST

/* What the font has for letters of other languages; what is no UTF-8 is a '?' at least. */
START_TEST(letters)
{
    static const struct {
        const char *text, *drawn;
    } cases[] = {{"caf\xc3\xa9 cr\xc3\xa8me", "cafe creme"},
        {"Stra\xc3\x9f"
         "e \xc3\xbc"
         "ber \xc3\x84rger",
            "Strasse ueber Aerger"},
        {"sm\xc3\xb8rrebr\xc3\xb8"
         "d \xc3\x86",
            "smorrebrod AE"},
        {"\xc5\x81\xc3\xb3"
         "d\xc5\xba, \xc4\x8c"
         "apek, \xc4\xb1\xc4\x9f\xc5\xbf",
            "Lodz, Capek, igs"},
        {"e\xcc\x81t\xc3\xa9", "ete"}, /* an accent behind its letter */
        {"\xe2\x80\x9cx\xe2\x80\x93y\xe2\x80\x9d\xe2\x80\xa6", "\"x-y\"..."},
        {"a\xe2\x82\xac\xf0\x9f\x98\x80z\xd0\x96", "a??z?"}, {"\n\x7f\x80", "???"}, {"a\xc3", "a?"},
        {"\xe2\x80", "?"}, {"\xff\xff", "??"}, {"\xc3\xa9\xa9", "?"}};
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_str_eq(caps_text_cut(out, cases[i].text, sizeof out - 1), cases[i].drawn);
        ck_assert_uint_eq(caps_text_length(cases[i].text), strlen(cases[i].drawn));
        caps_drawing a = drawing(300, 60, 1), b = drawing(300, 60, 1);
        ck_assert_double_eq(caps_draw_text(&a, 1, 1, cases[i].text, 2, red),
            caps_draw_text(&b, 1, 1, cases[i].drawn, 2, red));
        caps_draw_paragraph(&a, 1, 20, 100, cases[i].text, 2, red);
        caps_draw_paragraph(&b, 1, 20, 100, cases[i].drawn, 2, red);
        ck_assert_mem_eq(a.image.pixels, b.image.pixels, 300 * 60 * 3);
        caps_drawing_release(&a);
        caps_drawing_release(&b);
    }
    /* Two bytes, and what may be two letters, are never more than `most` characters. */
    ck_assert_str_eq(caps_text_cut(out,
                         "Gro\xc3\x9fstra\xc3\x9f"
                         "e",
                         7),
        "Gros..e");
    ck_assert_str_eq(caps_text_name(out, sizeof out, "as ", "a name that is long", " 0.9",
                         caps_text_width("as a name..ng 0.9", 2), 2),
        "as a name..ng 0.9");
    ck_assert_str_eq(
        caps_text_name(out, 16, "as ", "a name that is long", " 0.9", 1e6, 2), "as a na..ng 0.9");
    ck_assert_str_eq(caps_text_name(out, sizeof out, "as ", "boot", " 0.9", 1, 2), "as b.. 0.9");
}
END_TEST

START_TEST(ramps)
{
    for (int ramp = CAPS_RAMP_GREY; ramp <= CAPS_RAMP_DIVERGING; ramp++) {
        const caps_colour low = caps_ramp_colour((caps_ramp)ramp, 0);
        const caps_colour high = caps_ramp_colour((caps_ramp)ramp, 1);
        ck_assert(!same(low, high));
        ck_assert(same(low, caps_ramp_colour((caps_ramp)ramp, -3)));
        ck_assert(same(low, caps_ramp_colour((caps_ramp)ramp, NAN)));
        ck_assert(same(high, caps_ramp_colour((caps_ramp)ramp, INFINITY)));
    }
    const caps_colour blue = caps_ramp_colour(CAPS_RAMP_DIVERGING, 0);
    const caps_colour hot = caps_ramp_colour(CAPS_RAMP_DIVERGING, 1);
    ck_assert_int_gt(blue.b, blue.r);
    ck_assert_int_gt(hot.r, hot.b);
    ck_assert(same(caps_readable_on((caps_colour){0, 0, 0}), (caps_colour){255, 255, 255}));
    ck_assert(same(caps_readable_on(caps_paper), caps_ink));
    caps_drawing d = drawing(100, 60, 2);
    caps_draw_legend(&d, 10, 10, 80, CAPS_RAMP_DIVERGING, "a", "b", "c");
    ck_assert(same(pixel(&d, 20, 30), blue));
    ck_assert(same(pixel(&d, 179, 30), hot));
    caps_drawing_release(&d);
}
END_TEST

START_TEST(tiles_show_their_pixels)
{
    const float grey[4] = {0, 0.5f, 1, 0}, colour[12] = {1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1};
    caps_drawing d = drawing(40, 40, 1);
    caps_draw_tile(&d, 10, 10, grey, 1, 2, 2, 5);
    ck_assert(same(pixel(&d, 10, 10), (caps_colour){0, 0, 0}));
    ck_assert(same(pixel(&d, 15, 10), (caps_colour){128, 128, 128}));
    ck_assert(same(pixel(&d, 14, 19), (caps_colour){255, 255, 255}));
    ck_assert(same(pixel(&d, 9, 9), caps_edge));
    ck_assert_uint_eq(all_ink(&d), 12 * 12);
    caps_draw_tile(&d, 10, 10, colour, 3, 2, 2, 5);
    ck_assert(same(pixel(&d, 10, 10), red));
    ck_assert(same(pixel(&d, 15, 10), (caps_colour){0, 255, 0}));
    ck_assert(same(pixel(&d, 19, 19), (caps_colour){255, 255, 255}));
    caps_drawing_release(&d);
}
END_TEST

/* ---- sheets -----------------------------------------------------------------------------------
 */

static const char *const names[] = {"0", "1", "a class with a name that is long", "3"};

static caps_picture_context of_images(size_t size, double scale)
{
    return (caps_picture_context){.source = "made up for a test",
        .names = names,
        .classes = 4,
        .channels = 1,
        .height = size,
        .width = size,
        .scale = scale};
}

static size_t count_colour(const caps_drawing *d, caps_colour colour)
{
    size_t n = 0;
    for (size_t y = 0; y < d->image.height; y++)
        for (size_t x = 0; x < d->image.width; x++)
            n += same(pixel(d, x, y), colour);
    return n;
}

/* Two squares that overlap: each in its colour, white-ish where both are, dim grey where the input
 * is and neither of them. */
START_TEST(overlap_has_both_colours)
{
    enum { SIZE = 36, AREA = SIZE * SIZE };
    caps_error err = {0};
    float input[AREA] = {0}, a[AREA] = {0}, b[AREA] = {0};
    for (size_t y = 0; y < SIZE; y++)
        for (size_t x = 0; x < SIZE; x++) {
            a[y * SIZE + x] = x >= 6 && x < 20 && y >= 6 && y < 20;
            b[y * SIZE + x] = x >= 14 && x < 30 && y >= 14 && y < 30;
            input[y * SIZE + x] = (x >= 4 && x < 32 && y >= 4 && y < 32) ? 1 : 0;
        }
    const caps_overlapped cells[] = {{"test/0", input, {a, b}, {0, 3}, {0, 3}},
        {"test/1", input, {b, a}, {0, 3}, {1, 3}}, {"test/2", input, {a, a}, {2, 1}, {2, 2}}};
    const caps_overlap_group groups[] = {{"right: both are found", cells, 1},
        {"wrong", cells + 1, 1}, {"asked for a digit that is not there", cells + 2, 1},
        {"a group without a case", NULL, 0}};
    size_t size[2] = {0, 0};
    for (int scale = 1; scale <= 2; scale++) {
        caps_drawing d;
        const caps_picture_context of = of_images(SIZE, scale);
        test_ok(caps_picture_overlap(&d, &of, groups, 4, &err));
        const size_t zoom = 3 * 3 * (size_t)(scale * scale); /* 108 units for 36 pixels */
        size[scale - 1] = d.image.width * d.image.height;
        /* The first two have both colours alone, the third only the first one over the second. */
        ck_assert_uint_ge(count_colour(&d, (caps_colour){255, 108, 48}),
            (14 * 14 - 6 * 6 + 14 * 14 - 6 * 6) * zoom - zoom * 60);
        ck_assert_uint_gt(count_colour(&d, (caps_colour){40, 190, 255}), 100 * zoom);
        ck_assert_uint_gt(count_colour(&d, (caps_colour){255, 255, 255}), 3 * 28 * 28 * zoom / 2);
        ck_assert_uint_gt(count_colour(&d, (caps_colour){56, 56, 56}), 300 * zoom);
        caps_drawing_release(&d);
    }
    ck_assert_uint_eq(size[1], 4 * size[0]);
}
END_TEST

/* The cells' grounds are the ramps' colours: green on the diagonal, none where there is nothing. */
START_TEST(confusion_is_coloured)
{
    caps_error err = {0};
    const uint64_t counts[16] = {10, 0, 0, 0, 1, 98, 0, 1, 0, 0, 50, 0, 0, 0, 0, 0};
    const caps_picture_context of = of_images(28, 1);
    caps_drawing d;
    test_ok(caps_picture_confusion(&d, &of, counts, &err));
    const size_t cell = 64 * 38;
    /* Two whole rows at 100 %: most of their cells is ground. */
    ck_assert_uint_gt(count_colour(&d, caps_ramp_colour(CAPS_RAMP_GREEN, 1)), cell);
    const size_t one_percent = count_colour(&d, caps_ramp_colour(CAPS_RAMP_RED, 0.5));
    ck_assert_uint_gt(one_percent, cell);
    ck_assert_uint_lt(one_percent, 2 * cell + cell / 2);
    ck_assert_uint_gt(count_colour(&d, caps_faint), 9 * cell);
    caps_drawing_release(&d);
}
END_TEST

/* Many classes, large and small images, no mistakes, one class: each makes a sheet. */
START_TEST(sheets_of_any_size)
{
    enum { CLASSES = 200, N = 500 };
    caps_error err = {0};
    static char text[CLASSES][32];
    const char *many[CLASSES];
    static uint64_t counts[CLASSES * CLASSES];
    static float lengths[N * CLASSES], weights[7 * 3 * 25], image[3 * 64 * 64];
    static int labels[N];
    for (size_t j = 0; j < CLASSES; j++) {
        snprintf(text[j], sizeof text[j], "class number %zu", j);
        many[j] = text[j];
        counts[j * CLASSES + j] = 1;
    }
    for (size_t i = 0; i < N; i++)
        labels[i] = (int)(i % CLASSES);
    for (size_t i = 0; i < 7 * 3 * 25; i++)
        weights[i] = (float)i / 525 - 0.5f;
    const size_t classes[] = {1, 3, 11, 30, CLASSES};
    for (size_t k = 0; k < 5; k++) {
        caps_drawing d;
        caps_picture_context of = {.source = "a test",
            .result = "nothing",
            .names = many,
            .classes = classes[k],
            .channels = 3,
            .height = 64,
            .width = 40,
            .scale = 1};
        test_ok(caps_picture_confusion(&d, &of, counts, &err));
        ck_assert_uint_gt(all_ink(&d), 1000);
        caps_drawing_release(&d);
        for (size_t i = 0; i < N; i++)
            labels[i] = (int)(i % classes[k]);
        const double margins[] = {0.2, k == 2 ? 1.5 : 0.7};
        test_ok(caps_picture_lengths(&d, &of, lengths, labels, N, 1, k % 2 ? NULL : margins, &err));
        ck_assert_uint_gt(all_ink(&d), 1000);
        caps_drawing_release(&d);
        for (size_t count = 1; count <= 7; count += 3)
            for (size_t channels = 1; channels <= 3; channels++) {
                test_ok(caps_picture_filters(&d, &of, "conv1", weights, count, channels, 5, &err));
                caps_drawing_release(&d);
            }
        const caps_reconstructed seen = {
            "test/1", image, image, image, 0, (int)classes[k] - 1, 0.9f, 0.1f};
        test_ok(caps_picture_reconstruct(&d, &of, &seen, 1, &seen, k > 2, &err));
        ck_assert_uint_gt(all_ink(&d), 1000);
        caps_drawing_release(&d);
        static float couplings[1 * 8 * CLASSES];
        for (size_t i = 0; i < 8 * classes[k]; i++)
            couplings[i] = 1.0f / (float)classes[k];
        const caps_coupled coupled = {
            "#1", image, &seen.label, &seen.true_label, 1, lengths, couplings, lengths};
        test_ok(caps_picture_couplings(&d, &of, &coupled, 1, 1, 2, 2, 2, false, &err));
        ck_assert_uint_gt(all_ink(&d), 1000);
        caps_drawing_release(&d);
    }
}
END_TEST

/* Does the sheet (at scale 1, on paper) have this word at x, y? */
static bool word_at(const caps_drawing *d, const caps_drawing *word, size_t x, size_t y)
{
    const size_t w = word->image.width, h = word->image.height;
    if (x + w > d->image.width || y + h > d->image.height)
        return false;
    for (size_t row = 0; row < h; row++)
        if (memcmp(word->image.pixels + row * w * 3,
                d->image.pixels + ((y + row) * d->image.width + x) * 3, w * 3) != 0)
            return false;
    return true;
}

/* Words begin on whole pixels: each is found where the text's measure has it, or a pixel beside. */
static bool words_at(const caps_drawing *d, const caps_drawing *words, const double *at, size_t n,
    size_t x, size_t y)
{
    for (size_t i = 0; i < n; i++) {
        const size_t near = x + (size_t)lround(at[i]);
        if (!word_at(d, &words[i], near, y) && (i == 0 || !word_at(d, &words[i], near - 1, y)) &&
            (i == 0 || !word_at(d, &words[i], near + 1, y)))
            return false;
    }
    return n > 0;
}

/* Does it have this text? */
static bool says(const caps_drawing *d, const char *text, double size, caps_colour colour)
{
    enum { MOST_WORDS = 8 };
    caps_drawing words[MOST_WORDS];
    double at[MOST_WORDS];
    size_t n = 0;
    for (const char *word = text; *word && n < MOST_WORDS; n++) {
        char one[64];
        snprintf(one, sizeof one, "%.*s", (int)(word - text), text);
        at[n] = caps_text_width(one, size);
        snprintf(one, sizeof one, "%.*s", (int)strcspn(word, " "), word);
        words[n] = drawing(caps_text_width(one, size) + 3, 8.4 * size + 2, 1);
        caps_draw_text(&words[n], 2, 2, one, size, colour);
        word += strlen(one);
        word += *word == ' ';
    }
    bool found = false;
    for (size_t y = 0; !found && y < d->image.height; y++)
        for (size_t x = 0; !found && x < d->image.width; x++)
            found = words_at(d, words, at, n, x, y);
    for (size_t i = 0; i < n; i++)
        caps_drawing_release(&words[i]);
    return found;
}

/* Lengths of primary capsules: the mean over the types is 0.25, 0.5, 0.5, 1 at the four places. */
static const float primary_lengths[8] = {0.125f, 0.5f, 0.25f, 1, 0.375f, 0.5f, 0.75f, 1};

/* Couplings of 8 capsules in 2x2 places, 2 types: all equal, but that of capsule 3 to class 1,
 * which is `off` of an equal share more, and to class 0, which is as much less. */
enum { MOST_CLASSES = 30 };
static caps_drawing couplings_of(
    size_t classes, double off, bool leaky, const int *labels, const int *true_labels, size_t count)
{
    static float lengths[MOST_CLASSES], couplings[8 * MOST_CLASSES], image[144];
    static char text[MOST_CLASSES][24];
    const char *many[MOST_CLASSES];
    caps_error err = {0};
    const double equal = 1.0 / (double)(classes + leaky);
    for (size_t j = 0; j < classes; j++) {
        snprintf(text[j], sizeof text[j], "%zu", j);
        many[j] = text[j];
        lengths[j] = 1 - 0.01f * (float)j; /* the last is the shortest */
    }
    for (size_t i = 0; i < 8 * classes; i++)
        couplings[i] = (float)equal;
    couplings[3 * classes + 1] = (float)(equal * (1 + off));
    couplings[3 * classes] = (float)(equal * (1 - off));
    const caps_picture_context of = {.source = "a test",
        .names = many,
        .classes = classes,
        .channels = 1,
        .height = 12,
        .width = 12,
        .scale = 1};
    const caps_coupled block = {
        "#1", image, labels, true_labels, count, lengths, couplings, primary_lengths};
    caps_drawing d;
    test_ok(caps_picture_couplings(&d, &of, &block, 1, 1, 2, 2, 2, leaky, &err));
    return d;
}

/* Of max-min the couplings begin with 1, not with an equal share: what is less is cold, and nothing
 * is hot. */
START_TEST(max_min_couplings_begin_with_one)
{
    static float image[144];
    static const char *const three[] = {"a", "b", "c"};
    const float lengths[] = {0.5f, 0.9f, 0.2f};
    const int label = 1;
    float couplings[2 * 8 * 3];
    for (size_t n = 0; n < 2 * 8 * 3; n++)
        couplings[n] = n < 8 * 3 || n % 3 == 1 ? 1.0f : n % 3 == 0 ? 0.0f : 0.25f;
    const caps_picture_context of = {.source = "a test",
        .names = three,
        .classes = 3,
        .channels = 1,
        .height = 12,
        .width = 12,
        .scale = 1,
        .max_min = true};
    const caps_coupled block = {
        "#1", image, &label, &label, 1, lengths, couplings, primary_lengths};
    caps_error err = {0};
    caps_drawing d;
    test_ok(caps_picture_couplings(&d, &of, &block, 1, 2, 2, 2, 2, false, &err));
    ck_assert_uint_gt(count_colour(&d, caps_ramp_colour(CAPS_RAMP_DIVERGING, 0)), 300);
    ck_assert(says(&d, "1 equal", CAPS_TEXT_SMALL, caps_muted));
    ck_assert(says(&d, "-100%", CAPS_TEXT_SMALL, caps_muted));
    caps_drawing_release(&d);
}
END_TEST

/* Small differences are as strong as large ones; where there is none, no colour and no legend says
 * that there were. */
START_TEST(couplings_of_any_range)
{
    const int label = 1, other = 2;
    const caps_colour hot = caps_ramp_colour(CAPS_RAMP_DIVERGING, 1);
    const caps_colour cold = caps_ramp_colour(CAPS_RAMP_DIVERGING, 0);
    caps_drawing wide = couplings_of(4, 0.4, false, &label, &other, 1);
    caps_drawing narrow = couplings_of(4, 0.0004, false, &label, &other, 1);
    caps_drawing none = couplings_of(4, 0, false, &label, &other, 1);
    ck_assert_uint_gt(count_colour(&wide, hot), 300); /* a place of the map */
    ck_assert_uint_eq(count_colour(&wide, hot), count_colour(&narrow, hot));
    ck_assert_uint_eq(count_colour(&wide, cold), count_colour(&narrow, cold));
    ck_assert_uint_eq(count_colour(&none, hot) + count_colour(&none, cold), 0);
    ck_assert_uint_lt(none.image.height, narrow.image.height);
    ck_assert(says(&wide, "+20%", CAPS_TEXT_SMALL, caps_muted)); /* one of two types */
    /* Their own range, whatever the couplings' is. */
    ck_assert(says(&none, "0.25 to 1.00", CAPS_TEXT_SMALL, caps_muted));
    const size_t half = count_colour(&none, caps_ramp_colour(CAPS_RAMP_GREY, 0.5));
    ck_assert_uint_gt(half, 300);
    ck_assert_uint_eq(half, 2 * count_colour(&none, caps_ramp_colour(CAPS_RAMP_GREY, 0.25)));
    ck_assert(says(&narrow, "+0.020%", CAPS_TEXT_SMALL, caps_muted));
    ck_assert(says(&narrow, "0.25 equal", CAPS_TEXT_SMALL, caps_muted));
    ck_assert(says(&none, "equal:", CAPS_TEXT_BODY, caps_ink));
    ck_assert(!says(&none, "mean coupling", CAPS_TEXT_BODY, caps_ink));
    caps_drawing_release(&wide);
    caps_drawing_release(&narrow);
    caps_drawing_release(&none);
}
END_TEST

/* Of many classes the true one is shown, and marked, though its capsule is the shortest; of a pair
 * both are; leaky routing has one column more. */
START_TEST(couplings_show_true_classes)
{
    const int first[] = {0, 1}, last[] = {29, 28};
    const size_t line = 2 * 84; /* the mark: as wide as a map */
    caps_drawing one = couplings_of(30, 0.1, false, first, last, 1);
    caps_drawing two = couplings_of(30, 0.1, false, first, last, 2);
    caps_drawing leaky = couplings_of(30, 0.1, true, first, last, 1);
    const size_t of_one = count_colour(&one, caps_good), of_two = count_colour(&two, caps_good);
    ck_assert_uint_ge(of_one, line);
    ck_assert_uint_lt(of_one, 2 * line);
    ck_assert_uint_ge(of_two, 2 * line);
    ck_assert_uint_eq(one.image.width, two.image.width);
    ck_assert_uint_gt(leaky.image.width, one.image.width + 84);
    ck_assert(says(&leaky, "no parent", CAPS_TEXT_BODY, caps_muted));
    ck_assert(says(&two, "true 29 + 28", CAPS_TEXT_SMALL, caps_ink));
    ck_assert(says(&two, "-> 0 + 1", CAPS_TEXT_SMALL, caps_bad));
    caps_drawing_release(&one);
    caps_drawing_release(&two);
    caps_drawing_release(&leaky);
}
END_TEST

/* Names up to a sensible length are whole, longer ones keep both ends, and captions have lines
 * enough. */
START_TEST(sheets_say_names)
{
    static const char *const short_names[] = {"0", "1"};
    static const char *const long_names[] = {"Ankle boot", "class_with_a_long_name_77"};
    static float image[144], lengths[4 * 2];
    static const int labels[] = {0, 1, 1, 0};
    caps_error err = {0};
    caps_drawing d;
    caps_picture_context of = {.source = "a test",
        .names = long_names,
        .classes = 2,
        .channels = 1,
        .height = 12,
        .width = 12,
        .scale = 1};
    const caps_reconstructed right = {"#12345", image, image, image, 0, 0, 0.9f, 0.9f};
    const caps_reconstructed wrong = {"#67890", image, image, image, 0, 1, 0.9f, 0.1f};
    test_ok(caps_picture_reconstruct(&d, &of, &right, 1, &wrong, 1, &err));
    ck_assert(says(&d, "#12345", CAPS_TEXT_SMALL, caps_muted));
    ck_assert(says(&d, "#67890", CAPS_TEXT_SMALL, caps_muted));
    ck_assert(says(&d, "Ankle boot", CAPS_TEXT_SMALL, caps_good));
    ck_assert(says(&d, "as Ankle boot", CAPS_TEXT_SMALL, caps_bad));
    ck_assert(says(&d, "as class_with_a..me_77", CAPS_TEXT_SMALL, caps_good));
    ck_assert(says(&d, "capsule's length", CAPS_TEXT_BODY, caps_muted));
    ck_assert(says(&d, "true class", CAPS_TEXT_BODY, caps_muted));
    ck_assert(!says(&d, "false class", CAPS_TEXT_BODY, caps_muted));
    caps_drawing_release(&d);

    /* Above a panel a long name has a line of its own. */
    test_ok(caps_picture_lengths(&d, &of, lengths, labels, 4, 1, false, &err));
    ck_assert(says(&d, "Ankle boot", CAPS_TEXT_BODY, caps_ink));
    ck_assert(says(&d, "mean 0.00", CAPS_TEXT_TINY + 0.2, caps_first));
    const size_t height = d.image.height;
    caps_drawing_release(&d);
    of.names = short_names;
    test_ok(caps_picture_lengths(&d, &of, lengths, labels, 4, 1, false, &err));
    ck_assert_uint_eq(d.image.height + 20, height);
    caps_drawing_release(&d);

    /* Pairs are counted twice, and the sheet says so. */
    static const uint64_t counts[] = {3, 1, 2, 4};
    for (of.labels = 1; of.labels <= 2; of.labels++) {
        test_ok(caps_picture_confusion(&d, &of, counts, &err));
        ck_assert(says(&d, "twice,", CAPS_TEXT_BODY, caps_ink) == (of.labels == 2));
        ck_assert(says(&d, "labels", CAPS_TEXT_BODY, caps_muted) == (of.labels == 2));
        ck_assert(says(&d, "images", CAPS_TEXT_BODY, caps_muted) == (of.labels == 1));
        caps_drawing_release(&d);
    }
}
END_TEST

/* Against the closed form evaluated apart: 44 of 10000, none, all, a half. */
START_TEST(wilson_intervals)
{
    double low, high;
    caps_wilson(44, 10000, 1.959964, &low, &high);
    ck_assert_double_eq_tol(low, 0.0032794, 1e-6);
    ck_assert_double_eq_tol(high, 0.0059012, 1e-6);
    caps_wilson(0, 10, 1.959964, &low, &high);
    ck_assert_double_eq(low, 0);
    ck_assert_double_eq_tol(high, 0.2775328, 1e-6);
    caps_wilson(10, 10, 1.959964, &low, &high);
    ck_assert_double_eq_tol(low, 0.7224672, 1e-6);
    ck_assert_double_eq(high, 1);
    caps_wilson(5, 10, 1.959964, &low, &high);
    ck_assert_double_eq_tol(low, 0.2365931, 1e-6);
    ck_assert_double_eq_tol(low + high, 1, 1e-12);
    caps_wilson(0, 0, 1.959964, &low, &high);
    ck_assert_double_eq(low, 0);
    ck_assert_double_eq(high, 1);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("pictures");
    TCase *draw = tcase_create("draw");
    tcase_add_test(draw, shapes_are_sharp_at_any_scale);
    tcase_add_test(draw, drawing_outside_is_cut);
    tcase_add_test(draw, lines);
    tcase_add_test(draw, text_is_readable);
    tcase_add_test(draw, letters_are_exact);
    tcase_add_test(draw, labels_are_cut_and_placed);
    tcase_add_test(draw, letters);
    tcase_add_test(draw, ramps);
    tcase_add_test(draw, tiles_show_their_pixels);
    suite_add_tcase(s, draw);
    TCase *sheets = tcase_create("sheets");
    tcase_set_timeout(sheets, 120);
    tcase_add_test(sheets, overlap_has_both_colours);
    tcase_add_test(sheets, confusion_is_coloured);
    tcase_add_test(sheets, sheets_of_any_size);
    tcase_add_test(sheets, sheets_say_names);
    tcase_add_test(sheets, max_min_couplings_begin_with_one);
    tcase_add_test(sheets, couplings_of_any_range);
    tcase_add_test(sheets, couplings_show_true_classes);
    tcase_add_test(sheets, wilson_intervals);
    suite_add_tcase(s, sheets);
    return s;
}
