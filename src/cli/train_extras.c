/* train_extras.c: see train_extras.h. */
#define _GNU_SOURCE /* nl_langinfo_l */
#include "train_extras.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "events.h"
#include "fail.h"
#include "file.h"
#include "progress.h"
#include "run_record.h"
#include "text_curve.h"

/* ---- events for TensorBoard ----------------------------------------------------------------- */

/* The run's directory below --tensorboard; freed with free(). */
static char *events_directory(const caps_train_flags *o, bool several, uint64_t seed)
{
    return several ? caps_format("%s/seed-%llu", o->tensorboard, (unsigned long long)seed)
                   : caps_format("%s", o->tensorboard);
}

static caps_status check_events_of(const char *directory, caps_error *err)
{
    char *path = directory ? caps_path_join(directory, CAPS_EVENTS_FILE) : NULL;
    caps_path_kind kind = CAPS_PATH_NOTHING;
    caps_status status;
    if (!path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory"));
    CAPS_TRY(caps_path_look(&kind, path, CAPS_ERR_IO, err));
    if (kind != CAPS_PATH_NOTHING)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds events of a run already, need another directory, or --overwrite",
            directory));
done:
    free(path);
    return status;
}

caps_status caps_train_check_events(
    const caps_train_flags *o, const uint64_t *seeds, size_t count, caps_error *err)
{
    caps_path_kind kind;
    caps_status status;
    if (!o->tensorboard)
        return CAPS_OK;
    CAPS_TRY(caps_path_look(&kind, o->tensorboard, CAPS_ERR_IO, err));
    if (kind == CAPS_PATH_FILE)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_IO, "%s: is no directory, need one for --tensorboard", o->tensorboard));
    CAPS_TRY(caps_run_check_writable(o->tensorboard, err));
    for (size_t i = 0; !o->resume && !o->overwrite && i < (seeds ? count : 1); i++) {
        char *directory = events_directory(o, seeds != NULL, seeds ? seeds[i] : 0);
        status = check_events_of(directory, err);
        free(directory);
        CAPS_TRY(status);
    }
done:
    return status;
}

/* The first failure. */
static void keep_failure(caps_train_watch *w, caps_status status, const caps_error *err)
{
    if (status == CAPS_OK || w->events_status != CAPS_OK)
        return;
    w->events_status = status;
    w->events_error = *err;
    caps_events_free(w->events);
    w->events = NULL;
}

void caps_train_begin_events(caps_train_watch *w)
{
    const caps_train_flags *o = w->session->flags;
    caps_error err = {0};
    if (!o->tensorboard || caps_ranks_rank(w->session->ranks) > 0)
        return;
    caps_events_free(w->events); /* a run that goes on on other devices begins once more */
    w->events = NULL;
    char *directory = events_directory(o, w->session->several, w->config->seed);
    char *metrics = caps_path_join(w->out, CAPS_RUN_METRICS);
    const caps_status status =
        directory && metrics ? caps_events_open(&w->events, directory, metrics, !w->resume, &err)
                             : caps_fail(&err, CAPS_ERR_MEMORY, "train: out of memory");
    keep_failure(w, status, &err);
    if (status != CAPS_OK)
        w->session->stop();
    free(directory);
    free(metrics);
}

void caps_train_update_events(caps_train_watch *w)
{
    caps_error err = {0};
    if (w->events)
        keep_failure(w, caps_events_update(w->events, &err), &err);
}

caps_status caps_train_end_events(caps_train_watch *w, caps_status status, caps_error *err)
{
    caps_train_update_events(w);
    caps_events_free(w->events);
    w->events = NULL;
    /* The run was stopped because of them. */
    if (w->events_status != CAPS_OK && (status == CAPS_OK || status == CAPS_ERR_INTERRUPTED)) {
        *err = w->events_error;
        return w->events_status;
    }
    return status;
}

/* ---- the curve ------------------------------------------------------------------------------ */

static bool is_utf8(void)
{
    const locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    const bool is = locale && strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
    if (locale)
        freelocale(locale);
    return is;
}

/* Points of the rows whose y is there; x, y: [run->count]. */
static caps_points take_points(
    const caps_run_record *run, double *x, double *y, double (*value)(const caps_metric *row))
{
    caps_points points = {x, y, 0};
    for (size_t i = 0; i < run->count; i++) {
        const double v = value(&run->rows[i]);
        if (!isfinite(v) || !isfinite(run->rows[i].step))
            continue;
        x[points.n] = run->rows[i].step;
        y[points.n++] = v;
    }
    return points;
}

static double train_error_of(const caps_metric *row)
{
    return row->train_error;
}

static double test_error_of(const caps_metric *row)
{
    return row->epoch ? row->test_error : NAN;
}

static double validation_error_of(const caps_metric *row)
{
    return row->epoch ? row->validation_error : NAN;
}

static void draw_curve(const caps_run_record *run, double *x, double *y)
{
    const size_t n = run->count;
    const caps_points train = take_points(run, x, y, train_error_of);
    caps_points marks = take_points(run, x + n, y + n, test_error_of);
    const char *split = "test";
    if (marks.n == 0) {
        marks = take_points(run, x + n, y + n, validation_error_of);
        split = "validation";
    }
    caps_textbuf text = {0};
    if (caps_text_curve(&text, &train, &marks, is_utf8()) && !text.out_of_memory) {
        caps_progress_clear();
        fprintf(stderr, "\nerror in percent: training (line)");
        if (marks.n > 0)
            fprintf(stderr, ", %s (o)", split);
        fprintf(stderr, "\n%s%8s 0%*.0f steps\n\n", text.text, "", CAPS_CURVE_COLUMNS - 1,
            run->rows[n - 1].step);
    }
    caps_textbuf_release(&text);
}

void caps_train_draw_curve(const char *out)
{
    caps_run_record run = {0};
    const int front = 10; /* values and the axis */
    if (!caps_progress_enabled() || caps_progress_columns() < front + CAPS_CURVE_COLUMNS ||
        caps_run_record_read(&run, out, NULL) != CAPS_OK)
        return;
    double *x = calloc(2 * run.count + 1, sizeof *x), *y = calloc(2 * run.count + 1, sizeof *y);
    if (x && y && run.count > 0)
        draw_curve(&run, x, y);
    free(x);
    free(y);
    caps_run_record_release(&run);
}
