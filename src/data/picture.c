/* picture.c: how pictures are read, in words, and on what ground they are. */
#include "picture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "pairs.h"

/* ---- options -------------------------------------------------------------------------------- */

bool caps_background_parse(int *background, const char *text)
{
    *background = 0;
    if (!text || !*text || strcmp(text, "auto") == 0)
        return true;
    if (strcmp(text, "black") == 0 || strcmp(text, "white") == 0) {
        *background = text[0] == 'b' ? 1 : 256;
        return true;
    }
    const size_t n = strlen(text);
    if (n > 3 || strspn(text, "0123456789") != n || atoi(text) > 255)
        return false;
    *background = 1 + atoi(text);
    return true;
}

caps_status caps_picture_options_of(
    caps_picture_options *to, const caps_dataset_options *from, caps_error *err)
{
    *to = (caps_picture_options){
        .stretch = from->stretch, .invert = from->invert, .ground = from->ground};
    return caps_background_parse(&to->background, from->background)
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_ARGUMENT,
                     "background: '%s', need auto, black, white or a grey level 0..255",
                     from->background);
}

/* ---- words ---------------------------------------------------------------------------------- */

/* Adds ", "-separated text. */
CAPS_PRINTF(2, 3)
static void describe_add(char text[CAPS_PICTURE_TEXT], const char *format, ...)
{
    size_t used = strlen(text);
    if (used)
        used += (size_t)snprintf(text + used, CAPS_PICTURE_TEXT - used, ", ");
    if (used >= CAPS_PICTURE_TEXT)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, CAPS_PICTURE_TEXT - used, format, args);
    va_end(args);
}

static void describe_border(char *text, size_t first, size_t second, const char *one,
    const char *many, const char *where, const char *where_second)
{
    if (first == second && first > 0)
        describe_add(
            text, "%zu %s of black %s and %s", first, first == 1 ? one : many, where, where_second);
    else if (first > 0)
        describe_add(text, "%zu %s of black %s and %zu %s", first, first == 1 ? one : many, where,
            second, where_second);
    else if (second > 0)
        describe_add(text, "%zu %s of black %s", second, second == 1 ? one : many, where_second);
}

static void describe_values(char *text, const caps_picture_facts *f)
{
    if (f->cmyk)
        describe_add(text, "CMYK to RGB");
    if (f->turned)
        describe_add(text, "turned as EXIF says");
    if (f->transparent && (f->laid_on == 0 || f->laid_on == 255))
        describe_add(text, "transparent ground to %s", f->laid_on ? "white" : "black");
    else if (f->transparent)
        describe_add(text, "transparent ground to grey %u", f->laid_on);
    if (f->flipped)
        describe_add(
            text, "then turned round to %s", f->laid_on == 255 ? "light on dark" : "dark on light");
    if (f->stretched)
        describe_add(text, "range %u..%u of %u stretched", (unsigned)f->low, (unsigned)f->high,
            (unsigned)f->whole);
    if (f->to_grey)
        describe_add(text, "colour to grey");
    if (f->to_colour)
        describe_add(text, "grey to colour");
    if (f->inverted)
        describe_add(text, "inverted");
}

bool caps_picture_is_changed(const caps_picture_facts *f)
{
    return f->cmyk || f->turned || f->transparent || f->stretched || f->to_grey || f->to_colour ||
           f->inverted || f->fit_width != f->width || f->fit_height != f->height || f->above ||
           f->below || f->left || f->right;
}

void caps_picture_describe(char text[CAPS_PICTURE_TEXT], const caps_picture_facts *f)
{
    text[0] = '\0';
    describe_values(text, f);
    if (f->fit_width != f->width || f->fit_height != f->height)
        describe_add(text, "%zux%zu to %zux%zu", f->width, f->height, f->fit_width, f->fit_height);
    describe_border(text, f->above, f->below, "row", "rows", "above", "below");
    describe_border(text, f->left, f->right, "column", "columns", "on the left", "on the right");
    if (!*text)
        describe_add(text, "%zux%zu as it is", f->width, f->height);
}

bool caps_picture_is_narrow(const caps_picture_facts *f)
{
    return f->high > f->low && 2 * (uint64_t)(f->high - f->low) < f->whole;
}

/* ---- ground --------------------------------------------------------------------------------- */

const char *caps_ground_name(int ground)
{
    static const char *const names[] = {"any", "dark", "light"};
    return ground >= 0 && ground < 3 ? names[ground] : NULL;
}

caps_ground caps_ground_find(const float *image, size_t channels, size_t height, size_t width,
    size_t row_step, size_t plane_step)
{
    double border = 0, all = 0;
    size_t border_n = 0;
    for (size_t c = 0; c < channels; c++)
        for (size_t y = 0; y < height; y++)
            for (size_t x = 0; x < width; x++) {
                const double value = image[c * plane_step + y * row_step + x];
                const bool edge = y == 0 || y + 1 == height || x == 0 || x + 1 == width;
                all += value;
                border += edge ? value : 0;
                border_n += edge;
            }
    border /= (double)border_n;
    all /= (double)(channels * height * width);
    if (border <= 1.0 / 3 && all > border)
        return CAPS_GROUND_DARK;
    return border >= 2.0 / 3 && all < border ? CAPS_GROUND_LIGHT : CAPS_GROUND_ANY;
}

caps_ground caps_dataset_ground(const caps_dataset *ds)
{
    enum { MOST = 1000 };
    size_t nhw[3], found[3] = {0};
    caps_dataset_stored(ds, nhw);
    const size_t n = nhw[0] < MOST ? nhw[0] : MOST, pixels = ds->channels * nhw[1] * nhw[2];
    float *image = malloc(pixels * sizeof *image);
    for (size_t i = 0; image && i < n; i++) {
        for (size_t p = 0; p < pixels; p++)
            image[p] = (float)ds->images[i * pixels + p] / 255.0f;
        found[caps_ground_find(image, ds->channels, nhw[1], nhw[2], nhw[2], nhw[1] * nhw[2])]++;
    }
    free(image);
    for (int ground = CAPS_GROUND_DARK; ground <= CAPS_GROUND_LIGHT; ground++)
        if (n > 0 && 4 * found[ground] >= 3 * n)
            return (caps_ground)ground;
    return CAPS_GROUND_ANY;
}
