/* picture_notes.c: what was done to pictures, counted and put into lines. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

/* ---- counting ------------------------------------------------------------------------------- */

/* Keeps the first few indices, ascending. `n`: how many there were before. */
static void keep_first(size_t first[CAPS_PICTURES_NAMED], size_t n, size_t index)
{
    size_t at = n < CAPS_PICTURES_NAMED ? n : CAPS_PICTURES_NAMED;
    for (; at > 0 && first[at - 1] > index; at--)
        if (at < CAPS_PICTURES_NAMED)
            first[at] = first[at - 1];
    if (at < CAPS_PICTURES_NAMED)
        first[at] = index;
}

/* By area, then by width: an order that no two sizes share. */
static bool size_is_less(const size_t a[2], const size_t b[2])
{
    return a[0] * a[1] != b[0] * b[1] ? a[0] * a[1] < b[0] * b[1] : a[0] < b[0];
}

static void count_size(caps_picture_counts *c, const caps_picture_facts *f)
{
    const size_t size[2] = {f->width, f->height};
    if (c->scaled == 0 || size_is_less(size, c->least))
        memcpy(c->least, size, sizeof size);
    if (c->scaled == 0 || size_is_less(c->most, size))
        memcpy(c->most, size, sizeof size);
    c->scaled++;
}

static void count_range(caps_picture_counts *c, const caps_picture_facts *f)
{
    const uint64_t here = (uint64_t)(f->high - f->low) * c->whole;
    const uint64_t there = (uint64_t)(c->high - c->low) * f->whole;
    if (!caps_picture_is_narrow(f))
        return;
    if (c->narrow++ > 0 && (here > there || (here == there && f->low >= c->low)))
        return;
    c->low = f->low;
    c->high = f->high;
    c->whole = f->whole;
}

void caps_picture_count(caps_picture_counts *c, const caps_picture_facts *f, size_t index)
{
    c->n++;
    c->coloured += f->to_grey;
    c->repeated += f->to_colour;
    c->cmyk += f->cmyk;
    c->turned += f->turned;
    c->transparent += f->transparent;
    c->on_white += f->transparent && f->laid_on == 255;
    c->on_black += f->transparent && f->laid_on == 0;
    c->flipped += f->flipped;
    c->stretched += f->stretched;
    c->bordered += f->above || f->below || f->left || f->right;
    if (f->fit_width != f->width || f->fit_height != f->height)
        count_size(c, f);
    count_range(c, f);
    if (f->flat)
        keep_first(c->flat_ones, c->flat++, index);
    if (f->other_ground)
        keep_first(c->other_ones, c->other_ground++, index);
    if (f->imperfect)
        keep_first(c->imperfect_ones, c->imperfect++, index);
    c->only = *f;
}

/* ---- lines ---------------------------------------------------------------------------------- */

typedef struct noting {
    const caps_picture_counts *c;
    const caps_picture_noting *o;
} noting;

/* A line, longer than any but those with many long names, whose end is lost. */
CAPS_PRINTF(2, 3) static void put_line(const noting *n, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    n->o->note(n->o->user, text);
}

/* "3 of 20 training pictures are"; of a single picture "shoe.png is". */
#define SUBJECT 512
static const char *subject_of(
    char text[SUBJECT], const noting *n, size_t count, const char *one, const char *many)
{
    char *file = n->c->n == 1 ? n->o->file(n->o->of, 0) : NULL;
    if (file)
        snprintf(text, SUBJECT, "%s %s", file, one);
    else
        snprintf(
            text, SUBJECT, "%zu of %zu %s %s", count, n->c->n, n->o->what, count == 1 ? one : many);
    free(file);
    return text;
}

static const char *subject(char text[SUBJECT], const noting *n, size_t count)
{
    return subject_of(text, n, count, "is", "are");
}

/* ": a.png, b.png, c.png, ..."; of a single picture nothing, as the line begins with it. */
static const char *list_files(
    char text[SUBJECT], const noting *n, const size_t first[CAPS_PICTURES_NAMED], size_t count)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; n->c->n > 1 && i < count && i < CAPS_PICTURES_NAMED && used < SUBJECT; i++) {
        char *file = n->o->file(n->o->of, first[i]);
        used += (size_t)snprintf(
            text + used, SUBJECT - used, "%s%s", i ? ", " : ": ", file ? file : "?");
        free(file);
    }
    if (used && used < SUBJECT && count > CAPS_PICTURES_NAMED)
        snprintf(text + used, SUBJECT - used, ", ...");
    return text;
}

static const char *ground_words(caps_ground ground, bool other)
{
    return (ground == CAPS_GROUND_DARK) != other ? "light on dark" : "dark on light";
}

/* ---- what was done -------------------------------------------------------------------------- */

static void note_colours(const noting *n)
{
    const caps_picture_counts *c = n->c;
    char text[SUBJECT];
    if (c->coloured)
        put_line(n,
            "%s in colour, which becomes grey: only a network of 3 channels sees colour (--arch "
            "cifar10, or FILE with \"input\": [3,%zu,%zu])",
            subject(text, n, c->coloured), n->o->height, n->o->width);
    if (c->repeated)
        put_line(n,
            "%s grey and repeated in 3 channels: a network of 1 channel does for grey (--arch FILE "
            "with \"input\": [1,%zu,%zu])",
            subject(text, n, c->repeated), n->o->height, n->o->width);
    if (c->cmyk)
        put_line(n, "%s RGB by the plain formula, without a colour profile",
            subject_of(text, n, c->cmyk, "is CMYK and becomes", "are CMYK and become"));
}

static void note_sizes(const noting *n)
{
    const caps_picture_counts *c = n->c;
    const caps_picture_noting *o = n->o;
    char text[SUBJECT], from[128];
    if (c->turned)
        put_line(n, "%s turned as EXIF says", subject(text, n, c->turned));
    if (memcmp(c->least, c->most, sizeof c->least) == 0)
        snprintf(from, sizeof from, "%zux%zu", c->least[0], c->least[1]);
    else
        snprintf(from, sizeof from, "sizes between %zux%zu and %zux%zu", c->least[0], c->least[1],
            c->most[0], c->most[1]);
    if (c->scaled)
        put_line(n,
            "%s scaled from %s to fit %zux%zu (--arch FILE with another \"input\" for another "
            "size)",
            subject(text, n, c->scaled), from, o->width, o->height);
    if (c->bordered)
        put_line(n,
            "%s borders of black, for other proportions than %zux%zu; nothing "
            "is cut off",
            subject_of(text, n, c->bordered, "gets", "get"), o->width, o->height);
}

/* "laid on white", or how many on what. */
static void ground_chosen(char *text, size_t bytes, const noting *n)
{
    const caps_picture_counts *c = n->c;
    const int background = n->o->options->background;
    if (background > 1 && background < 256)
        snprintf(text, bytes, "laid on grey level %d", background - 1);
    else if (c->on_white == c->transparent || c->on_black == c->transparent)
        snprintf(text, bytes, "laid on %s", c->on_white ? "white" : "black");
    else
        snprintf(text, bytes, "%zu laid on white and %zu on black", c->on_white, c->on_black);
}

static void note_grounds(const noting *n)
{
    const caps_picture_counts *c = n->c;
    const caps_picture_options *how = n->o->options;
    char text[SUBJECT], on[96], flipped[128] = "";
    if (!c->transparent)
        return;
    ground_chosen(on, sizeof on, n);
    if (c->flipped)
        snprintf(flipped, sizeof flipped,
            ", and %zu turned round, as the network was trained on %s", c->flipped,
            ground_words(how->ground, false));
    put_line(n, "%s transparent: %s%s%s (--background%s)", subject(text, n, c->transparent), on,
        how->background ? "" : ", so that the ink shows", flipped,
        how->background ? "" : " black, white or 0..255 chooses");
}

/* How the range was, "" where it was not narrow. */
static void range_words(char *text, size_t bytes, const caps_picture_counts *c)
{
    text[0] = '\0';
    if (c->narrow)
        snprintf(text, bytes, ", %s%u..%u of 0..%u", c->n > 1 ? "the narrowest " : "",
            (unsigned)c->low, (unsigned)c->high, (unsigned)c->whole);
}

static void note_stretched(const noting *n)
{
    char text[SUBJECT], range[96];
    range_words(range, sizeof range, n->c);
    if (n->c->stretched)
        put_line(n, "%s stretched to the whole range of values%s (--stretch)",
            subject(text, n, n->c->stretched), range);
}

/* All of it in one line for a single picture, with the flags that would do otherwise. */
static void note_only(const noting *n)
{
    const caps_picture_facts *f = &n->c->only;
    const bool chooses = f->transparent && !n->o->options->background;
    char done[CAPS_PICTURE_TEXT], *file = n->o->file(n->o->of, 0);
    if (caps_picture_is_changed(f)) {
        caps_picture_describe(done, f);
        put_line(n, "%s: %s%s%s", file ? file : n->o->what, done,
            f->to_grey ? " (only a network of 3 channels sees colour)" : "",
            chooses ? " (--background black, white or 0..255 chooses the ground)" : "");
    }
    free(file);
}

/* ---- what may be wrong ---------------------------------------------------------------------- */

static void note_narrow(const noting *n)
{
    const caps_picture_counts *c = n->c;
    char text[SUBJECT], range[96];
    range_words(range, sizeof range, c);
    if (c->narrow && !n->o->options->stretch)
        put_line(n, "%s less than half of the range of values%s: --stretch makes it the whole",
            subject_of(text, n, c->narrow, "uses", "use"), range);
}

/* A few odd pictures in very many are no news. */
static void note_other_ground(const noting *n)
{
    const caps_picture_counts *c = n->c;
    const caps_picture_options *how = n->o->options;
    char text[SUBJECT], files[SUBJECT];
    if (c->other_ground == 0 || (c->n > 100 && 10 * c->other_ground < c->n))
        return;
    put_line(n, "%s %s, but the network was trained on %s (%s)%s",
        subject(text, n, c->other_ground), ground_words(how->ground, true),
        ground_words(how->ground, false),
        how->invert ? "--no-invert leaves pictures as they are" : "--invert turns pictures round",
        list_files(files, n, c->other_ones, c->other_ground));
}

static void note_faults(const noting *n)
{
    const caps_picture_counts *c = n->c;
    char text[SUBJECT], files[SUBJECT];
    if (c->imperfect)
        put_line(n, "%s read past bytes that belong to nothing, as some cameras leave them%s",
            subject(text, n, c->imperfect), list_files(files, n, c->imperfect_ones, c->imperfect));
    note_narrow(n);
    note_other_ground(n);
    if (c->flat)
        put_line(n, "%s one flat colour, so nothing can be seen in %s%s", subject(text, n, c->flat),
            c->flat == 1 ? "it" : "them", list_files(files, n, c->flat_ones, c->flat));
}

void caps_picture_notes(const caps_picture_counts *c, const caps_picture_noting *o)
{
    const noting n = {c, o};
    if (!o->note || c->n == 0)
        return;
    if (c->n == 1) {
        note_only(&n);
    } else {
        note_colours(&n);
        note_sizes(&n);
        note_grounds(&n);
        note_stretched(&n);
    }
    note_faults(&n);
}
