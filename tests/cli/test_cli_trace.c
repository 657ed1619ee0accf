/* --trace: the file that train and eval write, what it says, and what happens where it cannot be
 * written. */
#include <fcntl.h>
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
        found +=
            is_within(l->queue[i].asked, span) && (!name || strcmp(l->queue[i].name, name) == 0);
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

/* ---- train ---------------------------------------------------------------------------------- */

START_TEST(every_kernel_of_a_run_is_there)
{
    lanes l = read_trace(trace);
    ck_assert(left_out(&l) == 0);
    size_t n = 0, kernels = 0, launches = 0;
    char *table = (char *)cli_read(cli_path(work, "times.txt"), &n);
    for (char *line = strtok(table, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128];
        size_t calls;
        if (strncmp(line, "all kernels", 11) == 0 || sscanf(line, "%127s %zu", name, &calls) != 2)
            continue;
        ck_assert_msg(COUNT(l, queue, name) == calls, "%s: %zu in the trace, %zu launches", name,
            COUNT(l, queue, name), calls);
        kernels++;
        launches += calls;
    }
    ck_assert_uint_gt(kernels, 10);
    /* Nothing else is there but what moves bytes. */
    static const char *const moves[] = {"upload", "download", "zero", "copy", "map"};
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        launches += COUNT(l, queue, moves[i]);
    ck_assert_uint_eq(l.queue_count, launches);
    free(table);
    lanes_release(&l);
}
END_TEST

/* The device's clock is brought to the host's: what was enqueued while a step was given is that
 * step's, all of it, and it has ended when the wait for the step has. */
START_TEST(steps_are_alike_and_in_their_place)
{
    lanes l = read_trace(trace);
    event steps[STEPS + 1], waits[STEPS + 1];
    ck_assert_uint_eq(spans_of(&l, "enqueue step", steps, STEPS + 1), STEPS);
    ck_assert_uint_eq(spans_of(&l, "wait for a step", waits, STEPS + 1), STEPS);
    ck_assert_uint_eq(COUNT(l, queue, "adam_step"), STEPS);
    for (size_t k = 0; k < STEPS; k++) {
        ck_assert_uint_eq(asked_within(&l, &steps[k], "adam_step"), 1);
        ck_assert_uint_eq(asked_within(&l, &steps[k], NULL), asked_within(&l, &steps[0], NULL));
        for (size_t i = 0; i < l.queue_count; i++) {
            const event *c = &l.queue[i];
            if (!is_within(c->asked, &steps[k]))
                continue;
            ck_assert_uint_eq(
                asked_within(&l, &steps[k], c->name), asked_within(&l, &steps[0], c->name));
            ck_assert_msg(c->end <= waits[k].end, "%s of step %zu ends %.3f us after the wait",
                c->name, k + 1, c->end - waits[k].end);
        }
    }
    lanes_release(&l);
}
END_TEST

START_TEST(the_host_says_what_it_does)
{
    lanes l = read_trace(trace);
    expect_nested(&l);
    event steps[STEPS], evaluations[2], puts[STEPS + 64];
    ck_assert_uint_eq(spans_of(&l, "evaluate", evaluations, 2), 1);
    ck_assert_uint_ge(COUNT(l, host, "make batch"), STEPS + 1);
    ck_assert_uint_ge(COUNT(l, host, "build kernels"), 1);
    ck_assert_uint_ge(COUNT(l, host, "log"), 1);
    ck_assert_uint_ge(COUNT(l, host, "save"), 1);
    ck_assert_uint_eq(COUNT(l, host, "wait for a batch"), COUNT(l, host, "enqueue batch"));
    const size_t n = spans_of(&l, "put batch", puts, STEPS + 64);
    spans_of(&l, "enqueue step", steps, STEPS);
    for (size_t k = 0; k < STEPS; k++) {
        size_t within = 0;
        for (size_t i = 0; i < n; i++)
            within += is_within(puts[i].start, &steps[k]) && is_within(puts[i].end, &steps[k]);
        ck_assert_uint_eq(within, 1);
        ck_assert(!is_within(steps[k].start, &evaluations[0]));
    }
    ck_assert_uint_gt(asked_within(&l, &evaluations[0], "argmax"), 0);
    lanes_release(&l);
}
END_TEST

START_TEST(a_traced_run_has_the_same_bytes)
{
    char *out = cli_path(work, "untraced");
    test_process p = cli_run("train", TINY, "--out", out, "--epochs", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(cli_same_file(model, cli_path(out, "model.safetensors")));
    /* A run goes on with a trace, or without, whatever it began with. */
    char *more = cli_path(work, "more.json");
    p = cli_run("train", "--resume", "--out", out, "--epochs", "2", "--trace", more, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("train", "--resume", "--out", run, "--epochs", "2", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(cli_same_file(model, cli_path(out, "model.safetensors")));
    lanes l = read_trace(more);
    ck_assert_uint_eq(COUNT(l, host, "enqueue step"), STEPS);
    lanes_release(&l);
}
END_TEST

/* A batch in parts: every part is put by itself. */
START_TEST(parts_of_a_batch_are_seen)
{
    char *out = cli_path(work, "parts"), *path = cli_path(work, "parts.json");
    /* A library's scratch memory would ask for a larger limit. */
    test_process p =
        cli_run_env((char *[]){"CAPSCL_GEMM=direct", NULL}, "train", TINY, "--out", out,
            "--max-steps", "2", "--memory-limit", "300K", "--trace", path, "--quiet", (char *)NULL);
    cli_expect_ok(p);
    test_process_release(&p);
    lanes l = read_trace(path);
    event steps[2], puts[256];
    ck_assert_uint_eq(spans_of(&l, "enqueue step", steps, 2), 2);
    const size_t n = spans_of(&l, "put batch", puts, 256);
    size_t within = 0;
    for (size_t i = 0; i < n; i++)
        within += is_within(puts[i].start, &steps[1]);
    ck_assert_uint_gt(within, 1);
    ck_assert_uint_eq(asked_within(&l, &steps[1], "lengths_forward"), within);
    lanes_release(&l);
}
END_TEST

/* A library enqueues its kernels itself: a product is one command, whatever it consists of. */
START_TEST(products_of_a_library_are_seen)
{
    char *out = cli_path(work, "library"), *path = cli_path(work, "library.json");
    test_process p = cli_run_env((char *[]){"CAPSCL_GEMM=clblast", NULL}, "train", TINY, "--out",
        out, "--max-steps", "3", "--trace", path, "--quiet", (char *)NULL);
    cli_expect_ok(p);
    test_process_release(&p);
    lanes l = read_trace(path);
    event steps[3];
    ck_assert_uint_eq(spans_of(&l, "enqueue step", steps, 3), 3);
    const size_t products = asked_within(&l, &steps[0], "gemm:clblast");
    ck_assert_uint_gt(products, 0);
    for (size_t k = 1; k < 3; k++)
        ck_assert_uint_eq(asked_within(&l, &steps[k], "gemm:clblast"), products);
    lanes_release(&l);
}
END_TEST

/* ---- eval ----------------------------------------------------------------------------------- */

START_TEST(eval_is_traced)
{
    char *path = cli_path(work, "eval.json");
    test_process plain = cli_run("eval", "--model", model, "--data", data, "--batch", "10");
    test_process p =
        cli_run("eval", "--model", model, "--data", data, "--batch", "10", "--trace", path);
    cli_expect_ok(p);
    /* The error's line, and no other result than without a trace. */
    ck_assert_int_eq(strncmp(p.out, plain.out, strcspn(plain.out, "\n")), 0);
    test_process_release(&plain);
    test_process_release(&p);
    const size_t batches = (TEST_IMAGES + 9) / 10;
    lanes l = read_trace(path);
    expect_nested(&l);
    ck_assert_uint_eq(COUNT(l, host, "evaluate"), 1);
    ck_assert_uint_eq(COUNT(l, host, "load model"), 1);
    ck_assert_uint_eq(COUNT(l, host, "load data"), 1);
    ck_assert_uint_eq(COUNT(l, host, "make batch"), batches);
    ck_assert_uint_eq(COUNT(l, host, "enqueue batch"), batches);
    ck_assert_uint_eq(COUNT(l, host, "wait for a batch"), batches);
    ck_assert_uint_eq(COUNT(l, queue, "argmax"), batches);
    lanes_release(&l);
}
END_TEST

/* ---- ends ----------------------------------------------------------------------------------- */

START_TEST(a_full_trace_is_said_once)
{
    char *out = cli_path(work, "full"), *path = cli_path(work, "full.json");
    test_process p = cli_run(
        "train", TINY, "--out", out, "--epochs", "1", "--trace", path, "--trace-events", "150");
    cli_expect_ok(p);
    const char *said = strstr(p.err, "warning: the trace has its 150 events");
    ck_assert_msg(said != NULL, "%s", p.err);
    ck_assert_ptr_null(strstr(said + 20, "the trace has"));
    test_process_release(&p);
    lanes l = read_trace(path);
    ck_assert_uint_eq(l.host_count + l.queue_count, 150);
    ck_assert(left_out(&l) > 0);
    lanes_release(&l);
}
END_TEST

/* Enough that the trace is written many times: what stopped it does not tear it. */
START_TEST(a_stopped_run_leaves_a_whole_trace)
{
    char *out = cli_path(work, "stopped"), *path = cli_path(work, "stopped.json");
    char *state = cli_path(out, "state.safetensors");
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int fd = open("/dev/null", O_WRONLY);
        dup2(fd, 1);
        dup2(fd, 2);
        execl(TEST_PROGRAM, TEST_PROGRAM, "train", TINY, "--out", out, "--max-steps", "1000000",
            "--trace", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 3000 && !caps_path_exists(state); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 500 * 1000 * 1000}, NULL);
    ck_assert(!caps_path_exists(path));
    ck_assert_int_eq(kill(child, SIGINT), 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    lanes l = read_trace(path);
    expect_nested(&l);
    ck_assert_uint_ge(COUNT(l, host, "enqueue step"), 1);
    ck_assert_uint_eq(COUNT(l, host, "wait for a step"), COUNT(l, host, "enqueue step"));
    ck_assert_uint_ge(COUNT(l, host, "save"), 1);
    lanes_release(&l);
}
END_TEST

START_TEST(a_failed_run_leaves_a_whole_trace)
{
    char *out = cli_path(work, "failed"), *path = cli_path(work, "failed.json");
    cli_expect_error(cli_run("train", "--data", data, "--arch", spec, "--batch", "20", "--out", out,
                         "--lr", "1e30", "--epochs", "5", "--trace", path, "--quiet"),
        1, "not finite", "train");
    lanes l = read_trace(path);
    expect_nested(&l);
    ck_assert_uint_ge(COUNT(l, host, "enqueue step"), 1);
    lanes_release(&l);
}
END_TEST

START_TEST(a_bad_place_is_refused_before_all)
{
    uint64_t before = cli_tree_hash(work);
    char *gone = cli_path(work, "not/there.json");
    const char *const places[][2] = {
        {gone, "not/there.json"}, {work, "is a directory"}, {"/proc/self/x", "/proc/self/x"}};
    for (size_t i = 0; i < 3; i++) {
        char *place = (char *)(uintptr_t)places[i][0];
        cli_expect_error(cli_run("train", TINY, "--out", run, "--overwrite", "--trace", place), 1,
            places[i][1], "train --overwrite");
        cli_expect_error(cli_run("train", "--resume", "--out", run, "--trace", place), 1,
            places[i][1], "train --resume");
        cli_expect_error(cli_run("eval", "--model", model, "--data", data, "--trace", place), 1,
            places[i][1], "eval");
    }
    cli_expect_error(cli_run("train", TINY, "--out", run, "--overwrite", "--trace-events", "5"), 2,
        "--trace FILE", "train");
    cli_expect_error(
        cli_run("eval", "--model", model, "--data", data, "--trace", "x", "--trace-events", "0"), 2,
        "--trace-events", "eval");
    ck_assert_uint_eq(cli_tree_hash(work), before);
}
END_TEST

/* The disk is full: the trace is lost, and said so; the run is not. */
START_TEST(a_trace_that_cannot_be_written_stops_nothing)
{
    char *out = cli_path(work, "no-room"), *other = cli_path(work, "room");
    test_process p = cli_run(
        "train", TINY, "--out", out, "--epochs", "4", "--trace", "/dev/full", "--json", "--quiet");
    ck_assert_int_eq(p.exit_code, 1);
    ck_assert_str_eq(p.err, "capscl: /dev/full: cannot write: No space left on device\n");
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "step") == 4 * STEPS);
    json_decref(value);
    test_process_release(&p);
    p = cli_run("train", TINY, "--out", other, "--epochs", "4", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(
        cli_same_file(cli_path(out, "model.safetensors"), cli_path(other, "model.safetensors")));
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli_trace");
    TCase *t = tcase_create("cli_trace");
    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, every_kernel_of_a_run_is_there);
    tcase_add_test(t, steps_are_alike_and_in_their_place);
    tcase_add_test(t, the_host_says_what_it_does);
    tcase_add_test(t, a_traced_run_has_the_same_bytes);
    tcase_add_test(t, parts_of_a_batch_are_seen);
    tcase_add_test(t, products_of_a_library_are_seen);
    tcase_add_test(t, eval_is_traced);
    tcase_add_test(t, a_full_trace_is_said_once);
    tcase_add_test(t, a_stopped_run_leaves_a_whole_trace);
    tcase_add_test(t, a_failed_run_leaves_a_whole_trace);
    tcase_add_test(t, a_bad_place_is_refused_before_all);
    tcase_add_test(t, a_trace_that_cannot_be_written_stops_nothing);
    suite_add_tcase(s, t);
    return s;
}
