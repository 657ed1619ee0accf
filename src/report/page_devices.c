/* page_devices.c: what each of several devices did, epoch by epoch. */
#include <math.h>
#include <string.h>

#include "page.h"

enum {
    WIDTH = 460,
    LEFT = 54,
    RIGHT = 14,
    TOP = 6,
    ROW = 34, /* of a device: its bars, and a gap */
    BAR = 26,
    BOTTOM = 22,
    MOST_DEVICES = 64,
    MOST_EPOCHS = 200 /* with a bar each; of more the last ones */
};

static double number_of(const json_t *device, const char *key)
{
    const json_t *value = json_object_get(device, key);
    const double x = json_is_number(value) ? json_number_value(value) : NAN;
    return x >= 0 && x < 1e15 ? x : NAN;
}

static const char *text_of(const json_t *device, const char *key)
{
    const char *text = json_string_value(json_object_get(device, key));
    return text ? text : "?";
}

static bool is_same(const json_t *a, const json_t *b)
{
    return strcmp(text_of(a, "id"), text_of(b, "id")) == 0 &&
           json_integer_value(json_object_get(a, "rank")) ==
               json_integer_value(json_object_get(b, "rank"));
}

/* What this device did in that epoch; NULL: it took no part. */
static const json_t *find_device(const caps_metric *m, const json_t *device)
{
    for (size_t i = 0; i < json_array_size(m->devices); i++)
        if (is_same(json_array_get(m->devices, i), device))
            return json_array_get(m->devices, i);
    return NULL;
}

/* Everyone that took part in some epoch, as it was in its last one: their number. */
static size_t list_devices(const json_t *list[MOST_DEVICES], const caps_run_record *run)
{
    size_t count = 0;
    for (size_t r = 0; r < run->count; r++)
        for (size_t i = 0; i < json_array_size(run->rows[r].devices); i++) {
            const json_t *device = json_array_get(run->rows[r].devices, i);
            size_t k = 0;
            while (k < count && !is_same(list[k], device))
                k++;
            if (k < MOST_DEVICES)
                list[k] = device;
            count += k == count && k < MOST_DEVICES;
        }
    return count;
}

/* "0:1", or "1 / 0:1" where there are several ranks. */
static void put_name(caps_textbuf *h, const json_t *device, bool ranks)
{
    if (ranks)
        caps_textbuf_put(h, "%.0f / ", number_of(device, "rank"));
    caps_html_text(h, text_of(device, "id"));
}

/* A bar of an epoch: busy below, in the device's colour, waiting above. */
static void put_bar(
    caps_textbuf *h, const json_t *d, const caps_metric *m, size_t device, double x, double width)
{
    const double busy = number_of(d, "busy_seconds"), waiting = number_of(d, "waiting_seconds");
    const double top = TOP + (double)device * ROW, all = busy + waiting;
    if (!(all > 0))
        return;
    const double rest = BAR * waiting / all;
    caps_textbuf_put(h,
        "<g><title>epoch %.0f: %.0f images of a batch, %.1f images/s, busy %.1f s, waiting "
        "%.1f s (%.1f %%)</title>"
        "<rect class=\"rest\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
        "<rect class=\"c%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></g>",
        m->epoch_number, number_of(d, "share"), number_of(d, "images_per_second"), busy, waiting,
        100 * waiting / all, x, top, width, rest, device % 3, x, top + rest, width, BAR - rest);
}

static void put_figure(caps_textbuf *h, const caps_run_record *run, const json_t *const *list,
    size_t count, bool ranks)
{
    size_t epochs = 0, seen = 0;
    for (size_t r = 0; r < run->count; r++)
        epochs += run->rows[r].devices != NULL;
    const size_t first = epochs > MOST_EPOCHS ? epochs - MOST_EPOCHS : 0;
    const double step = (double)(WIDTH - LEFT - RIGHT) / (double)(epochs - first);
    const int height = TOP + (int)count * ROW + BOTTOM;
    caps_textbuf_put(h,
        "<figure class=\"chart\"><figcaption><b>Devices by epoch</b> <span class=\"muted note\">"
        "colour: busy; grey: waiting for the others</span></figcaption>"
        "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Devices by epoch\">",
        WIDTH, height);
    for (size_t k = 0; k < count; k++) {
        caps_textbuf_put(h, "<text class=\"tick\" text-anchor=\"end\" x=\"%d\" y=\"%zu\">",
            LEFT - 6, TOP + k * ROW + BAR / 2 + 4);
        put_name(h, list[k], ranks);
        caps_textbuf_put(h, "</text>");
    }
    for (size_t r = 0; r < run->count; r++) {
        if (!run->rows[r].devices || seen++ < first)
            continue;
        const double x = LEFT + step * (double)(seen - 1 - first);
        for (size_t k = 0; k < count; k++)
            put_bar(h, find_device(&run->rows[r], list[k]), &run->rows[r], k, x,
                step > 3 ? step - 1 : step);
    }
    caps_textbuf_put(h,
        "<text class=\"tick\" text-anchor=\"middle\" x=\"%d\" y=\"%d\">epochs</text></svg>"
        "</figure>\n",
        (LEFT + WIDTH - RIGHT) / 2, height - 5);
}

static void put_table(caps_textbuf *h, const json_t *const *list, size_t count, bool ranks)
{
    caps_textbuf_put(h,
        "<div class=\"scroll\"><table><tr><th>device</th><th>name</th><th class=\"n\">images of a "
        "batch</th><th class=\"n\">images/s</th><th class=\"n\">waiting, %%</th></tr>\n");
    for (size_t k = 0; k < count; k++) {
        const json_t *d = list[k];
        const double busy = number_of(d, "busy_seconds"), waiting = number_of(d, "waiting_seconds");
        const double speed = number_of(d, "images_per_second");
        caps_textbuf_put(h, "<tr><td>");
        put_name(h, d, ranks);
        caps_textbuf_put(h, "</td><td>");
        caps_html_text(h, text_of(d, "name"));
        caps_textbuf_put(h, "</td><td class=\"n\">%.0f</td>", number_of(d, "share"));
        if (speed > 0 && busy + waiting > 0)
            caps_textbuf_put(h, "<td class=\"n\">%.1f</td><td class=\"n\">%.1f</td></tr>\n", speed,
                100 * waiting / (busy + waiting));
        else
            caps_textbuf_put(h, "<td class=\"n\"></td><td class=\"n\"></td></tr>\n");
    }
    caps_textbuf_put(h, "</table></div>\n");
}

void caps_page_put_devices(caps_textbuf *h, const caps_run_record *run)
{
    const json_t *list[MOST_DEVICES];
    const size_t count = list_devices(list, run);
    bool ranks = false;
    for (size_t k = 0; k < count; k++)
        ranks = ranks || number_of(list[k], "rank") > 0;
    if (count == 0)
        return;
    caps_textbuf_put(h, "<h2>Devices</h2>\n<div class=\"charts\">\n");
    put_figure(h, run, list, count, ranks);
    put_table(h, list, count, ranks);
    caps_textbuf_put(h, "</div>\n");
}
