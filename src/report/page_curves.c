/* page_curves.c: metrics over steps as inline SVG, coloured by the page's style. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "page.h"

enum {
    WIDTH = 460, /* of the picture's own units: on a phone its text is still read */
    HEIGHT = 270,
    LEFT = 54,
    RIGHT = 14,
    TOP = 14,
    BOTTOM = 38,
    MOST_POINTS = 700,
    MOST_SERIES = 3,
    MOST_TICKS = 64,  /* of an axis; round steps give 16 at most */
    MOST_DECADES = 12 /* with a line each */
};

/* What a log may hold by accident or on purpose, but no training: it is not drawn. Within these no
 * axis overflows, and none has steps too small to count in. */
static const double smallest = 1e-100, largest = 1e100, longest = 1e12 /* epochs */;

typedef struct series {
    const char *name;
    int colour;    /* .c0 .c1 .c2 of the style */
    bool faint;    /* a thin line without dots */
    double *x, *y; /* [n] */
    size_t n;
} series;

typedef struct chart {
    const char *title, *unit; /* unit of y */
    bool log;
    series s[MOST_SERIES];
    size_t count;
} chart;

typedef struct frame {
    double x0, x1, y0, y1; /* of the data */
    bool log;
} frame;

static double at_x(const frame *f, double x)
{
    return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const frame *f, double y)
{
    double part = (y - f->y0) / (f->y1 - f->y0);
    if (f->log)
        part = log(fmax(y, f->y0) / f->y0) / log(f->y1 / f->y0);
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

/* A round step for about `most` of them in `range`. */
static double round_step(double range, double most)
{
    const double rough = range / most, power = pow(10, floor(log10(rough)));
    const double part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

/* What is drawn of y: with a log scale, only what is more than 0. */
static bool drawn(const chart *c, double y)
{
    const double size = fabs(y);
    return size <= largest && (size >= smallest || !(c->log || size > 0)) && (!c->log || y > 0);
}

static bool make_frame(frame *f, const chart *c)
{
    *f = (frame){0, 0, INFINITY, -INFINITY, c->log};
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->s[i].n; k++) {
            f->x1 = fmax(f->x1, c->s[i].x[k]);
            if (!drawn(c, c->s[i].y[k]))
                continue;
            f->y0 = fmin(f->y0, c->s[i].y[k]);
            f->y1 = fmax(f->y1, c->s[i].y[k]);
        }
    if (!(f->y0 <= f->y1) || !(f->x1 > 0))
        return false;
    if (c->log) {
        f->y0 /= 1.15;
        f->y1 *= 1.15;
    } else {
        f->y0 = 0;
        f->y1 = f->y1 > 0 ? 1.08 * f->y1 : 1;
    }
    return true;
}

static void put_grid(caps_textbuf *h, const frame *f, double y)
{
    caps_textbuf_put(h,
        "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
        "<text class=\"tick\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">%g</text>",
        LEFT, WIDTH - RIGHT, at_y(f, y), at_y(f, y), LEFT - 6, at_y(f, y) + 4, y);
}

/* Lines at 1, 2, 5 of each decade, over more than three of these at the powers of ten; where fewer
 * than three would be in sight, at round steps. Returns how many there are. h NULL: only counts. */
static size_t put_log_grid(caps_textbuf *h, const frame *f, bool steps)
{
    static const double parts[] = {1, 2, 5};
    const size_t each = log10(f->y1 / f->y0) > 3 ? 1 : 3;
    const double step = round_step(f->y1 - f->y0, 8);
    size_t count = 0;
    const double first = ceil(f->y0 / step);
    for (int i = 0; steps && i < MOST_TICKS && (first + i) * step <= f->y1; i++, count++)
        if (h)
            put_grid(h, f, (first + i) * step);
    const int low = (int)floor(log10(f->y0)), high = (int)floor(log10(f->y1));
    for (int k = low; !steps && k <= high; k += 1 + (high - low) / MOST_DECADES)
        for (size_t i = 0; i < each; i++) {
            const double y = pow(10, k) * parts[i];
            if (y >= f->y0 && y <= f->y1) {
                count++;
                if (h)
                    put_grid(h, f, y);
            }
        }
    return count;
}

static void put_axes(caps_textbuf *h, const chart *c, const frame *f)
{
    if (c->log) {
        put_log_grid(h, f, put_log_grid(NULL, f, false) < 3);
    } else {
        const double step = round_step(f->y1, 5);
        for (int i = 0; i < MOST_TICKS && i * step <= f->y1; i++)
            put_grid(h, f, i * step);
    }
    const double step = fmax(round_step(f->x1, 8), f->x1 >= 3 ? 1 : 0);
    for (int i = 0; i < MOST_TICKS && i * step <= f->x1 * 1.0001; i++)
        caps_textbuf_put(h,
            "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%g</text>",
            at_x(f, i * step), HEIGHT - BOTTOM + 16, i * step);
    caps_textbuf_put(h,
        "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>"
        "<text class=\"tick\" text-anchor=\"middle\" x=\"%d\" y=\"%d\">epochs</text>",
        LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) / 2,
        HEIGHT - 5);
}

static void put_series(caps_textbuf *h, const chart *c, const frame *f, const series *s)
{
    size_t points = 0;
    const size_t stride = (s->n + MOST_POINTS - 1) / MOST_POINTS;
    caps_textbuf_put(h, "<path class=\"%s c%d\" d=\"", s->faint ? "thin" : "line", s->colour);
    for (size_t k = 0; k < s->n; k += stride)
        if (drawn(c, s->y[k]))
            caps_textbuf_put(
                h, "%s%.1f %.1f", points++ ? " L" : "M", at_x(f, s->x[k]), at_y(f, s->y[k]));
    caps_textbuf_put(h, "\"/>");
    for (size_t k = 0; !s->faint && k < s->n; k++)
        if (drawn(c, s->y[k]))
            caps_textbuf_put(h,
                "<circle class=\"dot c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"><title>%s, epoch "
                "%.4g: "
                "%.4g %s</title></circle>",
                s->colour, at_x(f, s->x[k]), at_y(f, s->y[k]), s->name, s->x[k], s->y[k], c->unit);
}

static void put_chart(caps_textbuf *h, const chart *c)
{
    frame f;
    if (!make_frame(&f, c))
        return;
    caps_textbuf_put(h, "<figure class=\"chart\"><figcaption><b>%s</b>%s", c->title,
        c->log ? " <span class=\"muted\">(log scale)</span>" : "");
    for (size_t i = 0; i < c->count; i++)
        if (c->s[i].n && !c->s[i].faint)
            caps_textbuf_put(h, " <span class=\"key k%d\">%s</span>", c->s[i].colour, c->s[i].name);
    for (size_t i = 0; i < c->count; i++)
        if (c->s[i].faint)
            caps_textbuf_put(h, " <span class=\"muted note\">thin: %s</span>", c->s[i].name);
    caps_textbuf_put(h, "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">",
        WIDTH, HEIGHT, c->title);
    put_axes(h, c, &f);
    for (size_t i = 0; i < c->count; i++)
        put_series(h, c, &f, &c->s[i]);
    caps_textbuf_put(h, "</svg></figure>\n");
}

/* ---- from the lines ------------------------------------------------------------------------- */

typedef double value_of(const caps_metric *m);

static double loss(const caps_metric *m)
{
    return m->loss;
}
static double train_error(const caps_metric *m)
{
    return m->train_error;
}
static double test_error(const caps_metric *m)
{
    return m->test_error;
}
static double validation_error(const caps_metric *m)
{
    return m->validation_error;
}
static double sse(const caps_metric *m)
{
    return m->sse;
}
static double learning_rate(const caps_metric *m)
{
    return m->lr;
}
static double speed(const caps_metric *m)
{
    return m->images_per_second;
}

/* Lines hold means since their epoch's beginning: what the images between two of them had. */
static double between(const caps_metric *before, const caps_metric *m, value_of *value)
{
    if (!before || before->epoch_number != m->epoch_number || before->epoch ||
        !(m->images_done > before->images_done))
        return value(m);
    return (value(m) * m->images_done - value(before) * before->images_done) /
           (m->images_done - before->images_done);
}

/* Adds a series where there is anything to show; a chart of 3 at most. */
/* Out of memory: the page fails at its end. */
static void add_series(caps_textbuf *h, chart *c, const caps_run_record *run, const char *name,
    int colour, bool epochs, bool faint, value_of *value)
{
    series s = {name, colour, faint, calloc(run->count, sizeof(double)),
        calloc(run->count, sizeof(double)), 0};
    if (!s.x || !s.y)
        h->out_of_memory = true;
    for (size_t i = 0; s.x && s.y && i < run->count; i++) {
        const caps_metric *m = &run->rows[i];
        if (epochs && !m->epoch)
            continue;
        const double y = faint ? between(i ? m - 1 : NULL, m, value) : value(m);
        const double x = m->step / run->steps_per_epoch;
        if (!isfinite(y) || (faint && m->epoch && i && m->step == m[-1].step) || !(x >= 0) ||
            x > longest)
            continue;
        s.x[s.n] = x;
        s.y[s.n++] = y;
    }
    if (s.n && c->count < MOST_SERIES) {
        c->s[c->count++] = s;
        return;
    }
    free(s.x);
    free(s.y);
}

static void finish_chart(caps_textbuf *h, chart *c)
{
    put_chart(h, c);
    for (size_t i = 0; i < c->count; i++) {
        free(c->s[i].x);
        free(c->s[i].y);
    }
    *c = (chart){0};
}

void caps_page_put_curves(caps_textbuf *h, const caps_run_record *run, bool decoder)
{
    if (run->count == 0 || !(run->steps_per_epoch > 0)) {
        caps_textbuf_put(h, "<p class=\"muted\">No step has been logged yet.</p>\n");
        return;
    }
    caps_textbuf_put(h, "<div class=\"charts\">\n");
    chart c = {.title = "Loss", .unit = "", .log = true};
    add_series(h, &c, run, "between two lines of the log", 0, false, true, loss);
    add_series(h, &c, run, "training, mean of the epoch", 0, true, false, loss);
    finish_chart(h, &c);
    c = (chart){.title = "Error, %", .unit = "%", .log = true};
    add_series(h, &c, run, "training", 0, true, false, train_error);
    add_series(h, &c, run, "test", 1, true, false, test_error);
    add_series(h, &c, run, "validation", 2, true, false, validation_error);
    finish_chart(h, &c);
    if (decoder) {
        c = (chart){.title = "Squared reconstruction error", .unit = ""};
        add_series(h, &c, run, "between two lines of the log", 0, false, true, sse);
        add_series(h, &c, run, "training, mean of the epoch", 0, true, false, sse);
    } else {
        c = (chart){.title = "Learning rate", .unit = ""};
        add_series(h, &c, run, "learning rate", 0, true, false, learning_rate);
    }
    finish_chart(h, &c);
    c = (chart){.title = "Throughput, images/s", .unit = "images/s"};
    add_series(h, &c, run, "training steps, by epoch", 2, true, false, speed);
    finish_chart(h, &c);
    caps_textbuf_put(h, "</div>\n");
}
