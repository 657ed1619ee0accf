/* test_trace.c: the trace of a runtime: names of any bytes, spans, its limit, its ends. */
#include <jansson.h>
#include <stdio.h>

#include "device_support.h"
#include "file.h"
#include "trace.h"

static char *work, *path;
static caps_runtime *rt;

static void open_traced(uint64_t events)
{
    const caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = work,
        .trace = path, .trace_events = events};
    rt = open_runtime(&options);
}

static void set_up(void)
{
    environment_take();
    work = test_directory();
    path = caps_path_join(work, "trace.json");
}

static void tear_down(void)
{
    caps_runtime_free(rt);
    rt = NULL;
    free(path);
    free(work);
    environment_give_back();
}

static json_t *read_trace(void)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(root != NULL, "%s (line %d)", error.text, error.line);
    return root;
}

/* The i-th event that took time; NULL past the last. */
static const json_t *event_at(const json_t *root, size_t at)
{
    size_t i;
    const json_t *e;
    json_array_foreach(json_object_get(root, "traceEvents"), i, e)
    {
        if (strcmp(json_string_value(json_object_get(e, "ph")), "X") == 0 && at-- == 0)
            return e;
    }
    return NULL;
}

static const char *name_at(const json_t *root, size_t at)
{
    const json_t *e = event_at(root, at);
    ck_assert_msg(e != NULL, "event %zu is missing", at);
    return json_string_value(json_object_get(e, "name"));
}

static size_t events_in(const json_t *root)
{
    size_t n = 0;
    while (event_at(root, n))
        n++;
    return n;
}

static json_int_t other(const json_t *root, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(root, "otherData"), key));
}

/* ---- names ---------------------------------------------------------------------------------- */

static const struct {
    const char *text, *quoted, *read;
} names[] = {
    {"squash_forward", "\"squash_forward\"", "squash_forward"},
    {"", "\"\"", ""},
    {"say \"hi\"", "\"say \\\"hi\\\"\"", "say \"hi\""},
    {"a\\b/c", "\"a\\\\b/c\"", "a\\b/c"},
    {"two\nlines\ttab", "\"two\\nlines\\ttab\"", "two\nlines\ttab"},
    {"bell\a\x01\x1f", "\"bell\\u0007\\u0001\\u001F\"", "bell\a\x01\x1f"},
    {"caf\xc3\xa9", "\"caf\xc3\xa9\"", "caf\xc3\xa9"},
    {"latin \xe9 \xff\"", "\"latin ? ?\\\"\"", "latin ? ?\""},
    {"cut \xe2\x82", "\"cut ??\"", "cut ??"},
};
enum { NAMES = sizeof names / sizeof *names };

START_TEST(any_bytes_become_a_string)
{
    for (size_t i = 0; i < NAMES; i++) {
        char *quoted = caps_trace_quote(names[i].text);
        ck_assert_ptr_nonnull(quoted);
        ck_assert_str_eq(quoted, names[i].quoted);
        free(quoted);
    }
}
END_TEST

START_TEST(names_are_read_back)
{
    caps_error err = {0};
    char *copies[NAMES];
    open_traced(0);
    for (size_t i = 0; i < NAMES; i++) {
        /* The trace keeps no pointer to a name. */
        copies[i] = strdup(names[i].text);
        caps_trace_begin(rt, copies[i]);
        memset(copies[i], '!', strlen(copies[i]));
        caps_trace_end(rt);
        free(copies[i]);
    }
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    ck_assert_uint_eq(events_in(root), NAMES);
    for (size_t i = 0; i < NAMES; i++)
        ck_assert_str_eq(name_at(root, i), names[i].read);
    json_decref(root);
}
END_TEST

/* What a template was built with is no part of a kernel's name. */
START_TEST(options_stand_apart)
{
    caps_error err = {0};
    cl_event event = NULL;
    open_traced(0);
    ck_assert_ptr_eq(caps_trace_request(rt, &event), &event);
    ck_assert_int_eq(
        clEnqueueMarkerWithWaitList(caps_runtime_queue(rt), 0, NULL, &event), CL_SUCCESS);
    caps_trace_take(rt, "conv -DA=1 -DB=\"x\"", 12, event);
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    ck_assert_uint_eq(events_in(root), 1);
    ck_assert_str_eq(name_at(root, 0), "conv");
    const json_t *args = json_object_get(event_at(root, 0), "args");
    ck_assert_str_eq(json_string_value(json_object_get(args, "options")), "-DA=1 -DB=\"x\"");
    ck_assert_int_eq(json_integer_value(json_object_get(args, "bytes")), 12);
    json_decref(root);
}
END_TEST

/* ---- spans ---------------------------------------------------------------------------------- */

/* Deeper than the trace keeps, ends too many, and one that is open when the trace ends. */
START_TEST(spans_need_no_care)
{
    enum { DEEP = 40, KEPT = 32 };
    caps_error err = {0};
    open_traced(0);
    caps_trace_end(rt);
    for (int i = 0; i < DEEP; i++) {
        char name[16];
        snprintf(name, sizeof name, "level %d", i);
        caps_trace_begin(rt, name);
    }
    for (int i = 0; i < DEEP + 3; i++)
        caps_trace_end(rt);
    caps_trace_begin(rt, "open");
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    ck_assert_uint_eq(events_in(root), KEPT + 1);
    ck_assert_str_eq(name_at(root, 0), "level 31");
    ck_assert_str_eq(name_at(root, KEPT - 1), "level 0");
    ck_assert_str_eq(name_at(root, KEPT), "open");
    json_decref(root);
}
END_TEST

/* ---- limit and ends ------------------------------------------------------------------------- */

START_TEST(the_limit_holds)
{
    caps_error err = {0};
    open_traced(3);
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_null(caps_runtime_take_warning(rt));
        caps_trace_begin(rt, "span");
        caps_trace_end(rt);
    }
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    caps_trace_begin(rt, "one more");
    caps_trace_end(rt);
    const char *warning = caps_runtime_take_warning(rt);
    ck_assert_ptr_nonnull(warning);
    ck_assert_str_eq(warning, "the trace has its 3 events, what comes after them is not in it "
                              "(--trace-events takes more)");
    test_ok(squash_runs(rt, &err));
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    ck_assert_uint_eq(events_in(root), 3);
    ck_assert_int_eq(other(root, "events"), 3);
    ck_assert_int_ge(other(root, "left_out"), 2);
    json_decref(root);
}
END_TEST

/* More commands in flight than the trace keeps events for: none is lost. */
START_TEST(many_commands_in_flight)
{
    enum { COMMANDS = 20000 };
    caps_error err = {0};
    open_traced(0);
    for (int i = 0; i < COMMANDS; i++) {
        cl_event event = NULL;
        ck_assert_int_eq(clEnqueueMarkerWithWaitList(
                             caps_runtime_queue(rt), 0, NULL, caps_trace_request(rt, &event)),
            CL_SUCCESS);
        caps_trace_take(rt, i % 2 ? "odd" : "even", 0, event);
    }
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    ck_assert_int_eq(other(root, "events"), COMMANDS);
    ck_assert_int_eq(other(root, "left_out"), 0);
    json_decref(root);
}
END_TEST

/* A command that waits for the host holds up the queue: nothing of the trace waits for it. */
START_TEST(a_trace_waits_for_nothing)
{
    enum { COMMANDS = 1000 };
    caps_error err = {0};
    cl_int code;
    open_traced(0);
    cl_event gate = clCreateUserEvent(caps_runtime_context(rt), &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    for (int i = 0; i < COMMANDS; i++) {
        cl_event event = NULL;
        ck_assert_int_eq(clEnqueueMarkerWithWaitList(caps_runtime_queue(rt), i == 0,
                             i == 0 ? &gate : NULL, caps_trace_request(rt, &event)),
            CL_SUCCESS);
        caps_trace_begin(rt, "book");
        caps_trace_take(rt, "command", 0, event);
        caps_trace_end(rt);
    }
    ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
    clReleaseEvent(gate);
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    ck_assert_int_eq(other(root, "events"), 2 * COMMANDS);
    json_decref(root);
}
END_TEST

START_TEST(a_runtime_goes_on_after_its_trace)
{
    caps_error err = {0};
    open_traced(0);
    ck_assert(!caps_path_exists(path));
    test_ok(squash_runs(rt, &err));
    test_ok(caps_runtime_trace_end(rt, &err));
    json_t *root = read_trace();
    const json_int_t events = other(root, "events");
    ck_assert_int_ge(events, 1);
    json_decref(root);
    test_ok(squash_runs(rt, &err));
    caps_trace_begin(rt, "nothing");
    caps_trace_end(rt);
    test_ok(caps_runtime_trace_end(rt, &err));
    test_ok(caps_runtime_trace_end(NULL, &err));
    root = read_trace();
    ck_assert_int_eq(other(root, "events"), events);
    json_decref(root);
    /* Freed without an end, a runtime ends its trace. */
    ck_assert_int_eq(remove(path), 0);
    caps_runtime_free(rt);
    open_traced(0);
    test_ok(squash_runs(rt, &err));
    caps_runtime_free(rt);
    rt = NULL;
    root = read_trace();
    ck_assert_int_eq(other(root, "events"), events);
    json_decref(root);
}
END_TEST

START_TEST(what_cannot_be_is_said)
{
    caps_error err = {0};
    caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .cache_dir = work, .trace = "/nonexistent/trace.json"};
    caps_runtime *other_rt = NULL;
    const char *id = caps_runtime_device(test_runtime())->id;
    ck_assert_int_eq(caps_runtime_create(&other_rt, id, &options, &err), CAPS_ERR_IO);
    ck_assert_ptr_null(other_rt);
    ck_assert_str_eq(
        err.message, "/nonexistent/trace.json: cannot write: No such file or directory");
    /* The shared runtime's queue keeps no times. */
    options.trace = path;
    ck_assert_int_eq(caps_runtime_create_from(&other_rt, caps_runtime_context(test_runtime()),
                         caps_runtime_device(test_runtime())->handle,
                         caps_runtime_queue(test_runtime()), &options, &err),
        CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(
        err.message, "runtime: a trace needs a queue made with CL_QUEUE_PROFILING_ENABLE");
    ck_assert(!caps_path_exists(path));
    /* A disk that is full fails the end, and no other call. */
    options.trace = "/dev/full";
    rt = open_runtime(&options);
    for (int i = 0; i < 2000; i++) {
        caps_trace_begin(rt, "span");
        caps_trace_end(rt);
    }
    test_ok(squash_runs(rt, &err));
    ck_assert_int_eq(caps_runtime_trace_end(rt, &err), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, "/dev/full: cannot write: No space left on device");
    test_ok(caps_runtime_trace_end(rt, &err));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("trace");
    TCase *t = tcase_create("trace");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, any_bytes_become_a_string);
    tcase_add_test(t, names_are_read_back);
    tcase_add_test(t, options_stand_apart);
    tcase_add_test(t, spans_need_no_care);
    tcase_add_test(t, the_limit_holds);
    tcase_add_test(t, many_commands_in_flight);
    tcase_add_test(t, a_trace_waits_for_nothing);
    tcase_add_test(t, a_runtime_goes_on_after_its_trace);
    tcase_add_test(t, what_cannot_be_is_said);
    suite_add_tcase(s, t);
    return s;
}
