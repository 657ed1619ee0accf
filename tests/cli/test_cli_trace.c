/* --trace: the file that train and eval write, what it says, and what happens where it cannot be
 * written. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_support.h"

enum {
    TRAIN_IMAGES = 80,
    TEST_IMAGES = 42,
    STEPS = 4, /* of an epoch of batches of 20 */
    HOST = 1,
    QUEUE = 2,
    MOST_NAMES = 256,
};

/* Made once: data, a spec, and a run of one epoch with its trace. */
static char *work, *data, *spec, *run, *model, *trace;

#define TINY "--data", data, "--arch", spec, "--batch", "20", "--lr", "0.01"

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", TRAIN_IMAGES, TEST_IMAGES, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    model = cli_path(run, "model.safetensors");
    trace = cli_path(work, "trace.json");
    test_process p = cli_run("train", TINY, "--out", run, "--epochs", "1", "--trace", trace,
        "--kernel-times", "--json", "--quiet");
    cli_expect_ok(p);
    json_decref(cli_json(&p));
    /* The kernels and how often each was launched, by another way of counting. */
    cli_write_text(work, "times.txt", p.err);
    test_process_release(&p);
}

static void tear_down(void)
{
    free(work);
}

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct event {
    const char *name;
    double start, end; /* us */
    double asked;      /* the queue's: when it was enqueued */
} event;

typedef struct lanes {
    json_t *root;
    event *host, *queue; /* in the order of the file */
    size_t host_count, queue_count;
} lanes;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    ck_assert_msg(text != NULL, "%s is no string", key);
    return text;
}

/* Reads a trace, and checks what holds for every one. */
static lanes read_trace(const char *path)
{
    json_error_t error;
    lanes l = {.root = json_load_file(path, JSON_REJECT_DUPLICATES, &error)};
    ck_assert_msg(l.root != NULL, "%s: %s (line %d)", path, error.text, error.line);
    const json_t *events = json_object_get(l.root, "traceEvents"), *e;
    const size_t n = json_array_size(events);
    size_t i, named = 0;
    l.host = calloc(n + 1, sizeof *l.host);
    l.queue = calloc(n + 1, sizeof *l.queue);
    ck_assert(l.host && l.queue);
    bool lane[3] = {false};
    const double process = cli_number(json_array_get(events, 0), "pid");
    json_array_foreach(events, i, e)
    {
        const char *phase = text_of(e, "ph"), *name = text_of(e, "name");
        ck_assert(cli_number(e, "pid") == process);
        if (strcmp(phase, "M") == 0) {
            const json_t *args = json_object_get(e, "args");
            named += strcmp(name, "process_name") == 0;
            if (strcmp(name, "thread_name") == 0) {
                const char *of = text_of(args, "name");
                const int tid = (int)cli_number(e, "tid");
                ck_assert(tid == HOST || tid == QUEUE);
                ck_assert_ptr_nonnull(strstr(of, tid == HOST ? "host" : "OpenCL queue"));
                lane[tid] = true;
            }
            continue;
        }
        ck_assert_str_eq(phase, "X");
        event x = {.name = name, .start = cli_number(e, "ts")};
        const double duration = cli_number(e, "dur");
        ck_assert_msg(x.start >= 0 && duration >= 0, "%s: at %g for %g", name, x.start, duration);
        x.end = x.start + duration;
        if (cli_number(e, "tid") == HOST) {
            l.host[l.host_count++] = x;
        } else {
            ck_assert(cli_number(e, "tid") == QUEUE);
            const double waited = cli_number(json_object_get(e, "args"), "waited_us");
            ck_assert_msg(waited >= 0, "%s waited %g us", name, waited);
            x.asked = x.start - waited;
            l.queue[l.queue_count++] = x;
        }
    }
    ck_assert_uint_eq(named, 1);
    ck_assert(lane[HOST] && lane[QUEUE]);
    const json_t *other = json_object_get(l.root, "otherData");
    ck_assert(cli_number(other, "events") == (double)(l.host_count + l.queue_count));
    /* Times have three digits behind the point. */
    for (i = 1; i < l.queue_count; i++)
        ck_assert_msg(l.queue[i].start > l.queue[i - 1].end - 1e-3,
            "%s begins at %.3f, %s before it ends at %.3f", l.queue[i].name, l.queue[i].start,
            l.queue[i - 1].name, l.queue[i - 1].end);
    return l;
}

static void lanes_release(lanes *l)
{
    free(l->host);
    free(l->queue);
    json_decref(l->root);
}

static double left_out(const lanes *l)
{
    return cli_number(json_object_get(l->root, "otherData"), "left_out");
}

static size_t count(const event *events, size_t n, const char *name)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += strcmp(events[i].name, name) == 0;
    return found;
}
#define COUNT(l, lane, name) count((l).lane, (l).lane##_count, name)

static int earlier(const void *a, const void *b)
{
    const event *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->end < y->end) - (x->end > y->end);
}

/* Any two spans of the host are apart, or one lies within the other. */
static void expect_nested(const lanes *l)
{
    double open[64];
    size_t depth = 0;
    event *sorted = malloc((l->host_count + 1) * sizeof *sorted);
    ck_assert_ptr_nonnull(sorted);
    memcpy(sorted, l->host, l->host_count * sizeof *sorted);
    qsort(sorted, l->host_count, sizeof *sorted, earlier);
    for (size_t i = 0; i < l->host_count; i++) {
        while (depth > 0 && open[depth - 1] <= sorted[i].start + 1e-3)
            depth--;
        ck_assert_msg(depth == 0 || sorted[i].end <= open[depth - 1] + 1e-3,
            "%s ends at %.3f, what it began in at %.3f", sorted[i].name, sorted[i].end,
            open[depth - 1]);
        ck_assert_uint_lt(depth, 64);
        open[depth++] = sorted[i].end;
    }
    free(sorted);
}

static bool is_within(double time, const event *e)
{
    return time >= e->start && time <= e->end;
}

/* Commands of this name (NULL: any) that were enqueued while the span was open. */
static size_t asked_within(const lanes *l, const event *span, const char *name)
{
    size_t found = 0;
    for (size_t i = 0; i < l->queue_count; i++)
        found += is_within(l->queue[i].asked, span) &&
                 (!name || strcmp(l->queue[i].name, name) == 0);
    return found;
}

/* The spans of this name; returns how many there are. */
static size_t spans_of(const lanes *l, const char *name, event *spans, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < l->host_count; i++)
        if (strcmp(l->host[i].name, name) == 0 && n < room)
            spans[n++] = l->host[i];
    return n;
}
