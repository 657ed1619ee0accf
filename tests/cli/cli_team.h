/* cli_team.h: what the tests of several devices share. Two devices of PoCL stand for several; without
 * PoCL, two halves of the default device. */
#ifndef CAPS_TEST_CLI_TEAM_H
#define CAPS_TEST_CLI_TEAM_H

#include <math.h>

#include "cli_support.h"

static char a[64], b[64], halves[64]; /* --device; halves: "" where a device has one unit alone */
static size_t usable;                 /* devices that `all` means */

/* Finds two devices; false: this machine has none to spare. */
static inline bool find_devices(void)
{
    setenv("POCL_DEVICES", "pthread pthread", 1);
    caps_device_info *list = NULL;
    size_t n = 0, found = 0, best = 0;
    const char *platform = NULL;
    if (caps_device_list(&list, &n, NULL) != CAPS_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        const caps_device_info *d = &list[i];
        usable += d->available;
        if (!d->available || !strstr(d->platform, "Portable Computing Language") ||
            (platform && strcmp(d->platform, platform) != 0))
            continue;
        platform = d->platform;
        if (++found <= 2)
            snprintf(found == 1 ? a : b, sizeof a, "%s", d->id);
        if (found == 1 && d->compute_units >= 2)
            snprintf(halves, sizeof halves, "%s/2", d->id);
    }
    if (found < 2 && caps_device_select(list, n, NULL, &best, NULL, NULL) == CAPS_OK &&
        list[best].compute_units >= 2) {
        snprintf(a, sizeof a, "%s/2:0", list[best].id);
        snprintf(b, sizeof b, "%s/2:1", list[best].id);
        found = 2;
    }
    caps_device_list_free(list);
    return found >= 2;
}

static inline char *model_of(const char *out)
{
    return cli_path(out, "model.safetensors");
}

/* The lines of RUN/metrics.jsonl, without what depends on time. */
static inline json_t *metrics_of(const char *out)
{
    json_t *rows = json_array();
    size_t n = 0;
    char *text = (char *)cli_read(cli_path(out, "metrics.jsonl"), &n), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line;) {
        json_t *row = json_loads(line, 0, NULL);
        ck_assert_ptr_nonnull(row);
        static const char *const timed[] = {
            "seconds", "total_seconds", "images_per_second", "busy_seconds", "waiting_seconds"};
        json_t *devices = json_object_get(row, "devices");
        for (size_t i = 0; i < sizeof timed / sizeof *timed; i++) {
            json_object_del(row, timed[i]);
            for (size_t k = 0; k < json_array_size(devices); k++)
                json_object_del(json_array_get(devices, k), timed[i]);
        }
        json_array_append_new(rows, row);
    }
    free(text);
    return rows;
}

static inline void expect_near(const json_t *x, const json_t *y, const char *key, double tolerance)
{
    const double p = cli_number(x, key), q = cli_number(y, key);
    ck_assert_msg(fabs(p - q) <= tolerance * fabs(q), "%s: %.9g, need %.9g", key, p, q);
}

/* Goes on with a run; its document. */
static inline json_t *resume(const char *out, const char *flags)
{
    return cli_run_json(cli_line("train --resume --out %s --quiet --json %s", out, flags));
}

/* All parameters of a file; freed with free(). */
static inline float *parameters_of(const char *path, size_t *n)
{
    caps_error err = {0};
    caps_checkpoint c = {0};
    test_ok(caps_checkpoint_load(&c, path, NULL, &err));
    float *values = c.parameters;
    *n = c.count;
    c.parameters = NULL;
    caps_checkpoint_release(&c);
    return values;
}

/* |x - y| / |y - origin|: two steps from one place. */
static inline double step_error(const char *x, const char *y, const char *origin)
{
    size_t nx, ny, n;
    float *px = parameters_of(x, &nx), *py = parameters_of(y, &ny), *p = parameters_of(origin, &n);
    double difference = 0, step = 0;
    ck_assert(nx == n && ny == n);
    for (size_t i = 0; i < n; i++) {
        difference += pow((double)px[i] - (double)py[i], 2);
        step += pow((double)py[i] - (double)p[i], 2);
    }
    free(px);
    free(py);
    free(p);
    ck_assert(step > 0);
    return sqrt(difference / step);
}

/* The page about a run draws both, with a bar an epoch. */
static inline void expect_page(const char *out, size_t epochs)
{
    size_t n;
    test_process p = cli_run("report", out);
    cli_expect_ok(p);
    test_process_release(&p);
    char *html = (char *)cli_read(cli_path(out, "report.html"), &n);
    const char *at = strstr(html, "<h2>Devices</h2>"), *bar = at;
    ck_assert_msg(at != NULL, "no chapter about devices");
    static const char *const names[] = {a, b};
    for (int i = 0; i < 2; i++) {
        char row[96];
        snprintf(row, sizeof row, "<tr><td>%s</td>", names[i]);
        ck_assert_msg(strstr(at, row) != NULL, "no row of %s", names[i]);
    }
    size_t bars = 0;
    while ((bar = strstr(bar, ": 10 images of a batch, ")) != NULL)
        bar++, bars++;
    ck_assert_uint_eq(bars, 2 * epochs);
    free(html);
}

#endif
