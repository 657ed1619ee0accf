/* What `capscl serve` is made of, without a device and without HTTP: who may ask, numbers as JSON,
 * requests, the queue's order, slow clients. tests/serve/routes has the whole. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "assets.h"
#include "clock.h"
#include "connections.h"
#include "guard.h"
#include "queue.h"
#include "serve.h"

/* ---- numbers -------------------------------------------------------------------------------- */

static const char *number(float x)
{
    static char text[64];
    caps_textbuf t = {0};
    caps_put_number(&t, x);
    snprintf(text, sizeof text, "%s", t.text);
    caps_textbuf_release(&t);
    return text;
}

START_TEST(numbers_as_they_are_written)
{
    ck_assert_str_eq(number(0), "0");
    ck_assert_str_eq(number(-0.0f), "0");
    ck_assert_str_eq(number(1), "1");
    ck_assert_str_eq(number(-0.5f), "-0.5");
    ck_assert_str_eq(number(0.1f), "0.100000001");
    ck_assert_str_eq(number(10), "10");
    ck_assert_str_eq(number(100.25f), "100.25");
    ck_assert_str_eq(number(123456792), "123456792");
    ck_assert_str_eq(number(0.0009765625f), "0.0009765625");
    ck_assert_str_eq(number(0.99999994f), "0.99999994");
    ck_assert_str_eq(number(9.9999995e8f), "999999936");
    ck_assert_str_eq(number(1e9f), "1e+09");
    ck_assert_str_eq(number(NAN), "null");
    ck_assert_str_eq(number(-INFINITY), "null");
}
END_TEST

START_TEST(numbers_come_back_as_they_were)
{
    uint32_t bits = 12345;
    for (int i = 0; i < 300000; i++) {
        bits = bits * 1664525u + 1013904223u;
        /* Half of them from 0 to 2, where nearly all numbers are. */
        uint32_t chosen = i % 2 ? bits : 0x30000000u + bits % 0x10000000u;
        float x;
        memcpy(&x, &chosen, sizeof x);
        if (!isfinite(x))
            continue;
        const char *text = number(x);
        ck_assert_msg(strtof(text, NULL) == x, "%.9g became %s", (double)x, text);
        ck_assert_msg(strlen(text) < 32, "%s", text);
    }
}
END_TEST

START_TEST(lists)
{
    const float x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int32_t labels[] = {3, -1};
    caps_textbuf t = {0};
    caps_put_numbers(&t, x, 0);
    caps_put_rows(&t, x, 2, 2);
    caps_put_blocks(&t, x, 2, 2, 2);
    caps_put_labels(&t, labels, 2);
    ck_assert_str_eq(t.text, "[][[1,2],[3,4]][[[1,2],[3,4]],[[5,6],[7,8]]][3,-1]");
    caps_textbuf_release(&t);
}
END_TEST

/* ---- who may ask ---------------------------------------------------------------------------- */

static bool allowed(bool loopback, const char *host, const char *origin, const char *site)
{
    caps_guard g = {.loopback = loopback, .host_name = "mill"};
    caps_error err = {0};
    const caps_status status = caps_guard_check(&g, host, origin, site, false, &err);
    ck_assert(status == CAPS_OK || (status == CAPS_ERR_ARGUMENT && err.message[0]));
    return status == CAPS_OK;
}

START_TEST(hosts)
{
    static const struct {
        const char *host;
        bool here, everywhere; /* allowed where it listens to this machine, to all */
    } rows[] = {{"localhost", true, true}, {"localhost:8080", true, true},
        {"LocalHost:1", true, true}, {"127.0.0.1:8080", true, true}, {"127.1.2.3", true, true},
        {"[::1]", true, true}, {"[::1]:65535", true, true}, {"10.0.0.7:8080", false, true},
        {"[fe80::1]:80", false, true}, {"mill", false, true}, {"MILL:8080", false, true},
        {"0.0.0.0", false, true}, {"evil.example", false, false},
        {"mill.evil.example", false, false}, {"localhost.evil.example", false, false},
        {"127.0.0.1.evil.example", false, false}, {"", false, false}, {":80", false, false},
        {"localhost:", false, false}, {"localhost:8x", false, false},
        {"localhost:80:80", false, false}, {"localhost:123456", false, false},
        {"[::1", false, false}, {"[]", false, false}, {"[::1]x", false, false},
        {"[127.0.0.1]", false, false}, {"::1", false, false}, {"127.1", false, false},
        {"2130706433", false, false}, {"localhost ", false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(allowed(true, rows[i].host, NULL, NULL) == rows[i].here, "%s", rows[i].host);
        ck_assert_msg(
            allowed(false, rows[i].host, NULL, NULL) == rows[i].everywhere, "%s", rows[i].host);
    }
    ck_assert(!allowed(true, NULL, NULL, NULL));
    char longer[600];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    ck_assert(!allowed(false, longer, NULL, NULL));
}
END_TEST

START_TEST(origins)
{
    ck_assert(allowed(true, "localhost:80", "http://localhost:80", NULL));
    ck_assert(!allowed(true, "localhost:80", "http://localhost", NULL));
    ck_assert(!allowed(true, "localhost:80", "https://localhost:80", NULL));
    ck_assert(!allowed(true, "localhost:80", "http://localhost:80.evil", NULL));
    ck_assert(!allowed(true, "localhost:80", "null", NULL));
    ck_assert(!allowed(true, "localhost:80", "", NULL));
    ck_assert(allowed(true, "localhost", NULL, "same-origin"));
    ck_assert(allowed(true, "localhost", NULL, "none"));
    ck_assert(!allowed(true, "localhost", NULL, "same-site"));
    ck_assert(!allowed(true, "localhost", NULL, "cross-site"));
    ck_assert(!allowed(true, "localhost", NULL, ""));
}
END_TEST

START_TEST(addresses)
{
    static const struct {
        const char *address;
        bool right, loopback;
    } rows[] = {{"127.0.0.1", true, true}, {"127.8.8.8", true, true}, {"localhost", true, true},
        {"::1", true, true}, {"0.0.0.0", true, false}, {"::", true, false},
        {"192.168.1.7", true, false}, {"fe80::1", true, false}, {"", false, false},
        {"example.org", false, false}, {"127.0.0.1:80", false, false}, {"1.2.3", false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool loopback = false;
        caps_error err = {0};
        const caps_status status = caps_serve_check_address(&loopback, rows[i].address, &err);
        ck_assert_msg((status == CAPS_OK) == rows[i].right, "%s", rows[i].address);
        if (rows[i].right)
            ck_assert_msg(loopback == rows[i].loopback, "%s", rows[i].address);
    }
}
END_TEST

/* ---- the page ------------------------------------------------------------------------------- */

START_TEST(the_page_is_in_the_program)
{
    const caps_asset *page = caps_asset_find("index.html");
    ck_assert_ptr_nonnull(page);
    ck_assert_uint_gt(page->count, 20);
    ck_assert_str_eq(caps_asset_type(page), "text/html; charset=utf-8");
    ck_assert_ptr_null(caps_asset_find(""));
    ck_assert_ptr_null(caps_asset_find("no.js"));
    const caps_asset named[] = {{"a.js", NULL, 0}, {"b.min.css", NULL, 0}, {"c", NULL, 0}};
    ck_assert_str_eq(caps_asset_type(&named[0]), "text/javascript; charset=utf-8");
    ck_assert_str_eq(caps_asset_type(&named[1]), "text/css; charset=utf-8");
    ck_assert_str_eq(caps_asset_type(&named[2]), "application/octet-stream");
}
END_TEST

/* ---- requests ------------------------------------------------------------------------------- */

/* An explorer of one model without a device: enough to read requests. */
static caps_model_spec *spec;
static caps_serve_options served;
static caps_explored explored;
static caps_explorer explorer;

static void set_up(void)
{
    caps_error err = {0};
    test_ok(caps_model_spec_parse(&spec,
        "{\"input\": [1,2,3], \"classes\": 3, \"layers\": [{\"kind\": \"conv\", \"channels\": 4,"
        "\"kernel\": 1}, {\"kind\": \"primary_caps\", \"types\": 2, \"dim\": 2, \"kernel\": 1,"
        "\"stride\": 1}, {\"kind\": \"caps\", \"capsules\": 3, \"dim\": 2, \"routing\":"
        "{\"kind\": \"dynamic\", \"iterations\": 2}}], \"decoder\": {\"hidden\": [4]}}",
        "test", &err));
    served = (caps_serve_options){.count = 1};
    explored = (caps_explored){.spec = spec, .info = caps_model_spec_info(spec)};
    explorer = (caps_explorer){.options = &served, .models = &explored};
}

static void tear_down(void)
{
    caps_model_spec_free(spec);
}

static caps_status reads(caps_request *r, caps_task task, const char *body)
{
    caps_error err = {0};
    *r = (caps_request){.task = task};
    const caps_status status = caps_request_read(r, &explorer, body, strlen(body), &err);
    ck_assert(status == CAPS_OK || (err.message[0] && !strchr(err.message, '\n')));
    return status;
}

START_TEST(requests_are_read)
{
    caps_request r;
    ck_assert_int_eq(reads(&r, CAPS_TASK_PREDICT,
                         "{\"image\": [0, 0.5, 1, 0.25, 1e-3, 1], \"routing\": true,"
                         " \"stream\": \"a\", \"sequence\": 7, \"more\": []}"),
        CAPS_OK);
    ck_assert(r.image[1] == 0.5f && r.image[4] == 1e-3f && r.routing && r.class == -1);
    ck_assert_str_eq(r.stream, "a");
    ck_assert_int_eq(r.sequence, 7);
    caps_request_release(&r);
    ck_assert_int_eq(reads(&r, CAPS_TASK_SWEEP,
                         "{\"capsules\": [[1, 2], [3, 4], [5, -6]], \"class\": 2,"
                         " \"dimension\": 1, \"values\": [-0.25, 0]}"),
        CAPS_OK);
    ck_assert(r.capsules[5] == -6 && r.class == 2 && r.dimension == 1 && r.count == 2);
    ck_assert(r.values[0] == -0.25);
    ck_assert_int_eq(r.sequence, -1);
    caps_request_release(&r);
}
END_TEST

START_TEST(a_body_of_the_longest_numbers_is_short_enough)
{
    char body[8192] = "{\"image\": [", one[32];
    for (int i = 0; i < 6; i++) {
        snprintf(one, sizeof one, "%s%.17g", i ? ", " : "", 1.2345678901234567e-101);
        strcat(body, one);
    }
    strcat(body, "]}");
    ck_assert_uint_lt(strlen(body), caps_request_limit(&explorer));
    caps_request r;
    ck_assert_int_eq(reads(&r, CAPS_TASK_PREDICT, body), CAPS_OK);
    caps_request_release(&r);
}
END_TEST

/* Each prefix of a right body, and each of its bytes replaced: refused or read, no more. */
START_TEST(spoilt_requests_are_refused)
{
    static const char *const bodies[] = {
        "{\"image\":[0,0.5,1,0.25,1e-3,1],\"routing\":true,\"model\":0,\"reconstruct_class\":1}",
        "{\"capsules\":[[1,2],[3,4],[5,6]],\"class\":2,\"dimension\":1,\"values\":[-0.25,0]}",
        "{\"image\":[0,0,0,0,0,0],\"kind\":\"rotate\",\"values\":[1],\"class\":0}",
        "{\"image\":[0,0,0,0,0,0],\"label\":1,\"epsilon\":0.5,\"stream\":\"s\",\"sequence\":1}"};
    static const caps_task tasks[] = {
        CAPS_TASK_PREDICT, CAPS_TASK_SWEEP, CAPS_TASK_TRANSFORM, CAPS_TASK_ATTACK};
    static const char others[] = "\"[]{},:-0e.\\\xff\x01 tn";
    for (size_t b = 0; b < 4; b++) {
        const size_t n = strlen(bodies[b]);
        caps_request r;
        ck_assert_int_eq(reads(&r, tasks[b], bodies[b]), CAPS_OK);
        caps_request_release(&r);
        for (size_t i = 0; i < n; i++) {
            char *copy = strndup(bodies[b], i);
            ck_assert_int_eq(reads(&r, tasks[b], copy), CAPS_ERR_ARGUMENT);
            free(copy);
            for (size_t k = 0; k < sizeof others - 1; k++) {
                copy = strdup(bodies[b]);
                copy[i] = others[k];
                const caps_status status = reads(&r, tasks[b], copy);
                ck_assert_msg(status == CAPS_OK || status == CAPS_ERR_ARGUMENT, "%s", copy);
                caps_request_release(&r);
                free(copy);
            }
        }
    }
}
END_TEST

START_TEST(numbers_of_queries)
{
    size_t n;
    ck_assert_int_eq(caps_query_number(&n, "index", "7", 0, 8, NULL), CAPS_OK);
    ck_assert_uint_eq(n, 7);
    ck_assert_int_eq(caps_query_number(&n, "index", NULL, 3, 8, NULL), CAPS_OK);
    ck_assert_uint_eq(n, 3);
    static const char *const wrong[] = {"8", "", "-1", "+1", " 1", "1 ", "1e0", "0x1", "1.0",
        "99999999999999999999", "999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(caps_query_number(&n, "index", wrong[i], 0, 8, NULL) == CAPS_ERR_ARGUMENT,
            "%s", wrong[i]);
    ck_assert_int_eq(caps_query_number(&n, "index", NULL, 0, 0, NULL), CAPS_ERR_ARGUMENT);
}
END_TEST

/* ---- the queue ------------------------------------------------------------------------------ */

enum { JOBS = CAPS_QUEUE_MOST + 4 };

typedef struct tracked {
    caps_job job;
    int held, released;
} tracked;

static tracked jobs[JOBS];

static void on_hold(void *user)
{
    ((tracked *)user)->held++;
}

static void on_release(void *user)
{
    ((tracked *)user)->released++;
}

/* A queue whose thread does not run, so that everything waits. */
static void idle_queue(caps_queue *q)
{
    memset(jobs, 0, sizeof jobs);
    *q = (caps_queue){.explorer = &explorer, .has_lock = true, .has_changed = true};
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
}

static caps_queued push(caps_queue *q, size_t i, caps_task task, const char *stream, int sequence)
{
    caps_job *job = &jobs[i].job;
    job->request.task = task;
    job->request.sequence = sequence;
    snprintf(job->request.stream, sizeof job->request.stream, "%s", stream);
    job->hold = on_hold;
    job->release = on_release;
    job->user = &jobs[i];
    return caps_queue_push(q, job);
}

static void expect(size_t i, int held, int released, bool superseded)
{
    ck_assert_msg(jobs[i].held == held && jobs[i].released == released &&
                      jobs[i].job.superseded == superseded,
        "job %zu: held %d, released %d", i, jobs[i].held, jobs[i].released);
    if (superseded)
        ck_assert_str_eq(jobs[i].job.error.message, "superseded");
}

START_TEST(the_newest_of_a_stream_counts)
{
    caps_queue q;
    idle_queue(&q);
    ck_assert_int_eq(push(&q, 0, CAPS_TASK_PREDICT, "a", 1), CAPS_QUEUED);
    ck_assert_int_eq(push(&q, 1, CAPS_TASK_PREDICT, "b", 1), CAPS_QUEUED);
    ck_assert_int_eq(push(&q, 2, CAPS_TASK_DECODE, "a", 1), CAPS_QUEUED);
    ck_assert_int_eq(push(&q, 3, CAPS_TASK_PREDICT, "", -1), CAPS_QUEUED);
    ck_assert_int_eq(push(&q, 4, CAPS_TASK_PREDICT, "a", 3), CAPS_QUEUED);
    expect(0, 1, 1, true);
    /* One that was overtaken on its way is late itself, and was never taken in. */
    ck_assert_int_eq(push(&q, 5, CAPS_TASK_PREDICT, "a", 2), CAPS_QUEUE_SUPERSEDED);
    expect(5, 0, 0, false);
    expect(4, 1, 0, false);
    ck_assert_int_eq(push(&q, 6, CAPS_TASK_PREDICT, "", -1), CAPS_QUEUED);
    ck_assert_int_eq(push(&q, 7, CAPS_TASK_PREDICT, "b", -1), CAPS_QUEUED); /* by its coming */
    expect(1, 1, 1, true);
    jobs[8].job.request.model = 1;
    ck_assert_int_eq(push(&q, 8, CAPS_TASK_PREDICT, "b", 9), CAPS_QUEUED);
    for (size_t i = 2; i < 9; i++)
        if (i != 5)
            expect(i, 1, 0, false);
    ck_assert_uint_eq(q.count, 6);
    caps_queue_release(&q);
}
END_TEST

START_TEST(a_running_request_in_batches_is_told)
{
    caps_queue q;
    idle_queue(&q);
    ck_assert_int_eq(push(&q, 0, CAPS_TASK_TRANSFORM, "a", 4), CAPS_QUEUED);
    q.running[1] = q.slow; /* as the thread would */
    q.slow = NULL;
    ck_assert_int_eq(push(&q, 1, CAPS_TASK_TRANSFORM, "a", 3), CAPS_QUEUE_SUPERSEDED);
    ck_assert(!jobs[0].job.superseded);
    ck_assert_int_eq(push(&q, 2, CAPS_TASK_SWEEP, "a", 5), CAPS_QUEUED);
    ck_assert(!jobs[0].job.superseded);
    ck_assert_int_eq(push(&q, 3, CAPS_TASK_TRANSFORM, "a", 5), CAPS_QUEUED);
    ck_assert(jobs[0].job.superseded);
    ck_assert_int_eq(jobs[0].released, 0);
    caps_queue_release(&q);
}
END_TEST

START_TEST(the_queue_is_bounded)
{
    caps_queue q;
    idle_queue(&q);
    for (size_t i = 0; i < CAPS_QUEUE_MOST; i++)
        ck_assert_int_eq(
            push(&q, i, i % 2 ? CAPS_TASK_PREDICT : CAPS_TASK_RANGES, i ? "" : "a", -1),
            CAPS_QUEUED);
    ck_assert_int_eq(push(&q, CAPS_QUEUE_MOST, CAPS_TASK_DECODE, "", -1), CAPS_QUEUE_FULL);
    expect(CAPS_QUEUE_MOST, 0, 0, false);
    /* One that takes the place of another finds room. */
    ck_assert_int_eq(push(&q, CAPS_QUEUE_MOST + 1, CAPS_TASK_RANGES, "a", -1), CAPS_QUEUED);
    expect(0, 1, 1, true);
    q.stopped = true;
    ck_assert_int_eq(push(&q, CAPS_QUEUE_MOST + 2, CAPS_TASK_DECODE, "", -1), CAPS_QUEUE_ENDED);
    caps_queue_release(&q);
}
END_TEST

/* ---- slow clients --------------------------------------------------------------------------- */

static bool is_open(int fd)
{
    char c;
    const ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
    return n < 0;
}

START_TEST(slow_clients_are_ended)
{
    caps_connections all;
    int ends[3][2];
    caps_connection *c[3];
    caps_connections_init(&all);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]), 0);
        c[i] = caps_connections_add(&all, ends[i][0]);
        ck_assert_ptr_nonnull(c[i]);
    }
    caps_connections_set(&all, c[1], CAPS_PHASE_COMPUTING);
    ck_assert(caps_connections_busy(&all));
    caps_connections_set(&all, c[2], CAPS_PHASE_SENDING);
    for (int i = 0; i < 3; i++)
        c[i]->since -= CAPS_REQUEST_SECONDS + 1;
    caps_connections_tend(&all);
    ck_assert(!is_open(ends[0][1]) && is_open(ends[1][1]) && is_open(ends[2][1]));
    for (int i = 0; i < 3; i++)
        c[i]->since -= CAPS_ANSWER_SECONDS;
    caps_connections_tend(&all);
    ck_assert(is_open(ends[1][1]) && !is_open(ends[2][1]));
    caps_connections_remove(&all, c[1]);
    caps_connections_remove(&all, c[2]);
    ck_assert(!caps_connections_busy(&all));
    caps_connections_release(&all);
    for (int i = 0; i < 3; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}
END_TEST

Suite *suite(void)
{
    TCase *parts = tcase_create("parts"), *reading = tcase_create("requests");
    tcase_add_test(parts, numbers_as_they_are_written);
    tcase_add_test(parts, numbers_come_back_as_they_were);
    tcase_add_test(parts, lists);
    tcase_add_test(parts, hosts);
    tcase_add_test(parts, origins);
    tcase_add_test(parts, addresses);
    tcase_add_test(parts, the_page_is_in_the_program);
    tcase_add_test(parts, slow_clients_are_ended);
    tcase_add_checked_fixture(reading, set_up, tear_down);
    tcase_add_test(reading, requests_are_read);
    tcase_add_test(reading, a_body_of_the_longest_numbers_is_short_enough);
    tcase_add_test(reading, spoilt_requests_are_refused);
    tcase_add_test(reading, numbers_of_queries);
    tcase_add_test(reading, the_newest_of_a_stream_counts);
    tcase_add_test(reading, a_running_request_in_batches_is_told);
    tcase_add_test(reading, the_queue_is_bounded);
    Suite *s = suite_create("serve_parts");
    suite_add_tcase(s, parts);
    suite_add_tcase(s, reading);
    return s;
}
