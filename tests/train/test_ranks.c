/* Ranks and their messages: this program runs itself under mpirun, as 1 to 4 ranks. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bf16_support.h"
#include "link_load.h"
#include "ranks.h"
#include "support.h"

/* ---- a rank --------------------------------------------------------------------------------- */

#define MODULE TEST_BINARY_DIR "/capscl-mpi.so"

enum { PIECES = 5, STEPS = 3, MOST_RANKS = 8 };
static const size_t counts[PIECES] = {100000, 1, 17, 4096, 100003};

static caps_error err;

#define need(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, err.message);               \
            _exit(70);                                                                             \
        }                                                                                          \
    } while (0)

/* What rank k has at element i of a piece in a step: its sum depends on the order. */
static float part(int k, size_t piece, size_t i, int step)
{
    return sinf((float)(i * 7 + piece * 13 + (size_t)step)) *
           powf(10, (float)((k * 5 + (int)i) % 7));
}

/* In step 2 rank 0 of several has no images, nor has any but rank 1 in step 3. */
static bool takes(int k, int n, int step)
{
    return n == 1 || (step == 1 ? k > 0 : step == 2 ? k == 1 : true);
}

/* What is sent of g by bfloat16, and what is left of it. */
static float round_of(float g, float *left)
{
    const float whole = g + *left, sent = test_bf16_value(test_bf16_nearest((double)whole));
    *left = whole - sent;
    return sent;
}

/* The sum as bfloat16, with what all ranks have left in `left` [n + 1]. */
static float half_sum(int n, const bool *takes_part, size_t p, size_t i, int step, float *left)
{
    float sum = 0;
    bool any = false;
    for (int k = 0; k < n; k++)
        if (takes_part[k]) {
            const float sent = round_of(part(k, p, i, step), &left[k]);
            sum = any ? sum + sent : sent;
            any = true;
        }
    return round_of(sum, &left[n]);
}

/* With what rounding leaves over the steps, each rank's and each sum's; the bits are those that one
 * loop over the ranks gives, and so the same on all. */
static void half_steps(caps_ranks *r)
{
    const int n = caps_ranks_count(r), me = caps_ranks_rank(r);
    const size_t all = (size_t)n + 1;
    float *data[PIECES], *left[PIECES];
    need(caps_ranks_sum_init(r, counts, PIECES, CAPS_REDUCE_BF16, &err) == CAPS_OK);
    for (size_t p = 0; p < PIECES; p++) {
        data[p] = malloc(counts[p] * sizeof(float));
        left[p] = calloc(counts[p] * all, sizeof(float));
    }
    for (int step = 0; step < 2 * STEPS; step++) {
        bool takes_part[MOST_RANKS];
        for (int k = 0; k < n; k++)
            takes_part[k] = takes(k, n, step);
        caps_ranks_sum_begin(r, takes_part);
        for (size_t p = 0; p < PIECES; p++) {
            for (size_t i = 0; i < counts[p]; i++)
                data[p][i] = part(me, p, i, step);
            caps_ranks_sum_put(r, p, data[p]);
        }
        for (size_t p = 0; p < PIECES; p++)
            need(caps_ranks_sum_wait(r, p));
        need(caps_ranks_sum_end(r));
        for (size_t p = 0; p < PIECES; p++)
            for (size_t i = 0; i < counts[p]; i++)
                need(data[p][i] ==
                     (n == 1 ? part(0, p, i, step)
                             : half_sum(n, takes_part, p, i, step, left[p] + i * all)));
    }
    /* One rank's NaN is every rank's. */
    bool everyone[MOST_RANKS];
    for (int k = 0; k < n; k++)
        everyone[k] = true;
    caps_ranks_sum_begin(r, everyone);
    for (size_t p = 0; p < PIECES; p++) {
        for (size_t i = 0; i < counts[p]; i++)
            data[p][i] = i == 0 && me == n - 1 ? (p == 0 ? NAN : INFINITY) : 1;
        caps_ranks_sum_put(r, p, data[p]);
    }
    for (size_t p = 0; p < PIECES; p++)
        need(caps_ranks_sum_wait(r, p));
    need(caps_ranks_sum_end(r));
    for (size_t p = 0; p < PIECES; p++) {
        need(p == 0 ? isnan(data[p][0]) : isinf(data[p][0]));
        need(counts[p] == 1 || isfinite(data[p][1]));
        free(data[p]);
        free(left[p]);
    }
    caps_ranks_sum_release(r);
}

static void sum_steps(caps_ranks *r, bool fast)
{
    const int n = caps_ranks_count(r), me = caps_ranks_rank(r);
    float *data[PIECES];
    need(caps_ranks_sum_init(
             r, counts, PIECES, fast ? CAPS_REDUCE_FAST : CAPS_REDUCE_EXACT, &err) == CAPS_OK);
    for (size_t p = 0; p < PIECES; p++)
        data[p] = malloc(counts[p] * sizeof(float));
    for (int step = 0; step < STEPS; step++) {
        bool takes_part[MOST_RANKS];
        for (int k = 0; k < n; k++)
            takes_part[k] = takes(k, n, step);
        caps_ranks_sum_begin(r, takes_part);
        for (size_t p = 0; p < PIECES; p++) {
            for (size_t i = 0; i < counts[p]; i++)
                data[p][i] = part(me, p, i, step);
            if (me == n - 1) { /* they do not come at the same time */
                const struct timespec pause = {0, 2000000};
                nanosleep(&pause, NULL);
            }
            caps_ranks_sum_put(r, p, data[p]);
        }
        for (size_t p = 0; p < PIECES; p++)
            need(caps_ranks_sum_wait(r, p));
        need(caps_ranks_sum_end(r));
        for (size_t p = 0; p < PIECES; p++)
            for (size_t i = 0; i < counts[p]; i++) {
                float sum = 0;
                double size = 0;
                bool any = false;
                for (int k = 0; k < n; k++)
                    if (takes_part[k]) {
                        sum = any ? sum + part(k, p, i, step) : part(k, p, i, step);
                        size += fabs((double)part(k, p, i, step));
                        any = true;
                    }
                need(fast ? fabs((double)(data[p][i] - sum)) <= 1e-6 * size : data[p][i] == sum);
            }
    }
    for (size_t p = 0; p < PIECES; p++)
        free(data[p]);
    caps_ranks_sum_release(r);
    need(!caps_ranks_is_busy(r));
}

/* A sharded optimizer's: the owner has the sum, makes a value of it, and all have all values. */
static void shard_steps(caps_ranks *r)
{
    const int n = caps_ranks_count(r), me = caps_ranks_rank(r);
    float *data[PIECES], *values[PIECES];
    size_t first, own;
    need(caps_ranks_sum_init(r, counts, PIECES, CAPS_REDUCE_EXACT, &err) == CAPS_OK);
    caps_ranks_sum_shard(r, true);
    for (size_t p = 0; p < PIECES; p++) {
        data[p] = malloc(counts[p] * sizeof(float));
        values[p] = malloc(counts[p] * sizeof(float));
    }
    for (int step = 0; step < 2 * STEPS; step++) {
        bool takes_part[MOST_RANKS];
        for (int k = 0; k < n; k++)
            takes_part[k] = takes(k, n, step);
        caps_ranks_sum_begin(r, takes_part);
        for (size_t p = 0; p < PIECES; p++) {
            for (size_t i = 0; i < counts[p]; i++)
                data[p][i] = part(me, p, i, step);
            caps_ranks_sum_put(r, p, data[p]);
        }
        for (size_t p = 0; p < PIECES; p++) {
            need(caps_ranks_sum_wait_own(r, p) && caps_ranks_sum_own_is_done(r, p));
            own = caps_ranks_sum_slice(r, p, me, &first);
            for (size_t i = 0; i < counts[p]; i++)
                values[p][i] = i - first < own ? -data[p][i] : NAN;
            caps_ranks_sum_show(r, p, values[p]);
        }
        for (size_t p = 0; p < PIECES; p++)
            need(caps_ranks_sum_wait(r, p));
        need(caps_ranks_sum_end(r));
        for (size_t p = 0; p < PIECES; p++)
            for (size_t i = 0; i < counts[p]; i++) {
                float sum = 0;
                bool any = false;
                for (int k = 0; k < n; k++)
                    if (takes_part[k]) {
                        sum = any ? sum + part(k, p, i, step) : part(k, p, i, step);
                        any = true;
                    }
                need(values[p][i] == -sum);
            }
    }
    for (size_t p = 0; p < PIECES; p++) {
        size_t all = 0;
        for (int k = 0; k < n; k++) {
            own = caps_ranks_sum_slice(r, p, k, &first);
            need(own == 0 || first == all);
            all += own;
        }
        need(all == counts[p]);
        free(data[p]);
        free(values[p]);
    }
    caps_ranks_sum_release(r);
    need(!caps_ranks_is_busy(r));
}

static void share_and_gather(caps_ranks *r)
{
    const int n = caps_ranks_count(r), me = caps_ranks_rank(r);
    const size_t many = 3000000;
    int all[MOST_RANKS] = {0}, mine = 10 * me;
    char *text = me == 0 ? strdup("from rank 0") : NULL;
    float *array = malloc(many * sizeof *array);
    for (size_t i = 0; i < many; i++)
        array[i] = me == 0 ? (float)i : 0;
    need(caps_ranks_share(r, array, many * sizeof *array, &err) == CAPS_OK);
    for (size_t i = 0; i < many; i++)
        need(array[i] == (float)i);
    need(caps_ranks_share_text(r, &text, &err) == CAPS_OK);
    need(strcmp(text, "from rank 0") == 0);
    for (int turn = 0; turn < 100; turn++)
        need(caps_ranks_gather(r, &mine, all, sizeof mine, &err) == CAPS_OK);
    for (int k = 0; me == 0 && k < n; k++)
        need(all[k] == 10 * k);
    free(text);
    free(array);
}

/* Rank `which` does something else than the others, who wait for it. */
static caps_status one_fails(caps_ranks *r, int which, const char *how)
{
    caps_status status = CAPS_OK;
    int ignored = 0;
    status = caps_ranks_share(r, &ignored, sizeof ignored, &err);
    const struct timespec pause = {0, 200000000}; /* until all know of each other */
    nanosleep(&pause, NULL);
    if (caps_ranks_rank(r) != which)
        for (int all[MOST_RANKS], mine = 0; status == CAPS_OK;) {
            status = caps_ranks_gather(r, &mine, all, sizeof mine, &err);
            if (status == CAPS_OK)
                status = caps_ranks_share(r, &mine, sizeof mine, &err);
        }
    else if (strcmp(how, "killed") == 0)
        raise(SIGKILL);
    else if (strcmp(how, "stopped") == 0)
        raise(SIGSTOP);
    else {
        snprintf(err.message, sizeof err.message, "device 0:0: out of order");
        status = CAPS_ERR_OPENCL;
    }
    return status;
}

/* `sum`, `fast`, `bf16`, `shards`, `messages`, `fails 1`, `killed 1`, `stopped 1`. Exits with the
 * status. */
static void rank_run(const char *task)
{
    const caps_link *link;
    caps_ranks *r;
    char how[32];
    int which = 0;
    signal(SIGTERM, SIG_IGN); /* mpirun's, once it sees that one has ended */
    need(caps_link_load(&link, MODULE, &err) == CAPS_OK);
    need(caps_ranks_begin(&r, link, 4, &err) == CAPS_OK);
    caps_status status = CAPS_OK;
    if (sscanf(task, "%31s %d", how, &which) == 2)
        status = one_fails(r, which, how);
    else if (strcmp(task, "messages") == 0)
        share_and_gather(r);
    else if (strcmp(task, "bf16") == 0)
        half_steps(r);
    else if (strcmp(task, "shards") == 0)
        shard_steps(r);
    else
        sum_steps(r, strcmp(task, "fast") == 0);
    status = caps_ranks_end(r, status, &err);
    if (status != CAPS_OK && err.message[0])
        fprintf(stderr, "said: %s\n", err.message);
    if (!caps_ranks_free(r)) {
        caps_ranks_stop(r, (int)status);
        _exit((int)status);
    }
    exit((int)status);
}

/* ---- the tests ------------------------------------------------------------------------------ */

static test_process ranks_run(int n, const char *task)
{
    char count[8], setting[64], program[4096] = "";
    snprintf(count, sizeof count, "%d", n);
    snprintf(setting, sizeof setting, "CAPS_TEST_RANK=%s", task);
    ck_assert(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    char *argv[] = {"/usr/bin/env", "mpirun", "--allow-run-as-root", "--oversubscribe", "-n", count,
        program, NULL};
    char *environment[] = {setting, "TMPDIR=/tmp", NULL};
    return test_run(argv, environment);
}

static void expect_done(int n, const char *task)
{
    test_process p = ranks_run(n, task);
    ck_assert_msg(p.exit_code == 0, "%d ranks, %s: %d\n%s", n, task, p.exit_code, p.err);
    test_process_release(&p);
}

START_TEST(sums_are_those_of_the_order_of_the_ranks)
{
    expect_done(_i, "sum");
}
END_TEST

START_TEST(fast_sums_are_right_within_rounding)
{
    expect_done(_i, "fast");
}
END_TEST

START_TEST(sums_as_bfloat16_keep_what_is_left)
{
    expect_done(_i, "bf16");
}
END_TEST

START_TEST(parameters_are_those_of_the_owners)
{
    expect_done(_i, "shards");
}
END_TEST

START_TEST(messages_reach_all)
{
    expect_done(_i, "messages");
}
END_TEST

/* Lines of `text` that begin so. */
static int lines_of(const char *text, const char *beginning)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, beginning)) != NULL; at++)
        n += at == text || at[-1] == '\n';
    return n;
}

static void expect_failure(const char *task, int code, const char *says)
{
    test_process p = ranks_run(3, task);
    ck_assert_msg(lines_of(p.err, "said: ") == 1, "%s", p.err);
    ck_assert_msg(strstr(p.err, says) != NULL, "%s", p.err);
    if (code >= 0)
        ck_assert_int_eq(p.exit_code, code);
    test_process_release(&p);
}

START_TEST(a_rank_that_fails_is_named)
{
    expect_failure("fails 0", CAPS_ERR_OPENCL, "said: device 0:0: out of order");
    expect_failure("fails 1", CAPS_ERR_OPENCL, "said: rank 1 (");
    expect_failure("fails 2", CAPS_ERR_OPENCL, "): device 0:0: out of order");
}
END_TEST

START_TEST(a_rank_that_is_lost_is_named)
{
    expect_failure("killed 1", -1, "): its process has ended");
    expect_failure("stopped 2", CAPS_ERR_RANK, "): nothing was heard of it for 4 s");
    expect_failure("stopped 0", -1, "said: rank 0 (");
}
END_TEST

static bool has_mpi(void)
{
    return access(MODULE, R_OK) == 0 && system("command -v mpirun >/dev/null 2>&1") == 0;
}

Suite *suite(void)
{
    const char *task = getenv("CAPS_TEST_RANK");
    if (task)
        rank_run(task);
    Suite *s = suite_create("ranks");
    TCase *tc = tcase_create("ranks");
    tcase_set_timeout(tc, 120);
    suite_add_tcase(s, tc);
    if (!has_mpi()) {
        fprintf(stderr, "ranks: SKIPPED: there is no mpirun, or no MPI in this build\n");
        return s;
    }
    tcase_add_loop_test(tc, sums_are_those_of_the_order_of_the_ranks, 1, 5);
    tcase_add_loop_test(tc, fast_sums_are_right_within_rounding, 1, 4);
    tcase_add_loop_test(tc, sums_as_bfloat16_keep_what_is_left, 1, 5);
    tcase_add_loop_test(tc, parameters_are_those_of_the_owners, 2, 5);
    tcase_add_loop_test(tc, messages_reach_all, 1, 5);
    tcase_add_test(tc, a_rank_that_fails_is_named);
    tcase_add_test(tc, a_rank_that_is_lost_is_named);
    return s;
}
