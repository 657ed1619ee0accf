/* trust_process.c: see trust_process.h.
 *
 * A child is of use only if it was forked before the first OpenCL call: drivers have threads, which
 * no child inherits. So where a device may turn out to be unknown a fork server is begun then,
 * which waits on a socket. For a task it forks a worker; the worker opens the device, checks, and
 * reports each check before and after. When the worker ends before its time, or says nothing for
 * too long, the check that it had begun is the one that is refused, and the next worker goes on
 * behind it.
 *
 * The server ends when its socket is closed, and so at the latest with the program. */
#include "trust_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "driver_objects.h"
#include "drivers.h"
#include "file.h"
#include "runtime_state.h"
#include "text.h"
#include "trust_file.h"

enum { MOST_WORKERS = 2 * CAPS_TRUST_MOST };

/* -1: there is no fork server. */
static int server = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one task at a time */

/* ---- bytes through a socket or pipe --------------------------------------------------------- */

/* socket: fd is one; that its other end is gone raises no signal. */
static bool send_all(int fd, bool socket, const void *data, size_t n)
{
    const char *at = data;
    while (n > 0) {
        const ssize_t sent = socket ? send(fd, at, n, MSG_NOSIGNAL) : write(fd, at, n);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t n)
{
    char *at = data;
    while (n > 0) {
        const ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* ---- the worker ----------------------------------------------------------------------------- */

/* Smaller than what a pipe takes in one piece. */
typedef enum report_kind { BEGUN, ENDED, LISTED, FINISHED, NO_DEVICE } report_kind;
typedef struct report {
    report_kind kind;
    caps_verdict verdict; /* BEGUN: its name alone */
    uint64_t hash[2];     /* LISTED: see caps_trust_answer */
    caps_family family;
} report;

static void worker_begin(void *user, const char *variant)
{
    report r = {.kind = BEGUN};
    snprintf(r.verdict.variant, sizeof r.verdict.variant, "%.*s", CAPS_TRUST_VARIANT - 1, variant);
    if (!send_all(*(const int *)user, false, &r, sizeof r))
        _exit(1);
}

static void worker_end(void *user, const caps_verdict *verdict)
{
    const report r = {.kind = ENDED, .verdict = *verdict};
    if (!send_all(*(const int *)user, false, &r, sizeof r))
        _exit(1);
}

static void worker_finish(int out, report_kind kind)
{
    const report r = {.kind = kind};
    (void)send_all(out, false, &r, sizeof r);
    _exit(0);
}

/* Is it the device that is meant? */
static bool is_device(const caps_runtime *rt, const caps_trust_task *task)
{
    return caps_trust_device_hash(&rt->device, task->family) == task->device;
}

static void work_list(int out)
{
    caps_device_info *list;
    size_t n;
    worker_begin(&out, "list");
    if (caps_device_list(&list, &n, NULL) != CAPS_OK)
        n = 0; /* said where they are listed again */
    for (size_t i = 0; i < n; i++) {
        report r = {.kind = LISTED,
            .family = list[i].type == CAPS_DEVICE_CPU ? CAPS_FAMILY_CPU : CAPS_FAMILY_GPU};
        for (int family = 0; family < 2; family++)
            r.hash[family] = caps_trust_device_hash(&list[i], (caps_family)family);
        (void)send_all(out, false, &r, sizeof r);
    }
    worker_finish(out, FINISHED);
}

/* Is it one variant, which is not known yet? */
static bool is_named(const char *only, const caps_verdict *known, size_t n)
{
    bool is = *only && strcmp(only, CAPS_TRUST_ALL) != 0;
    for (size_t i = 0; i < n; i++)
        is = is && strcmp(known[i].variant, only) != 0;
    return is;
}

static void work(const caps_trust_task *task, const caps_verdict *known, size_t n, int out)
{
    char family[CAPS_TRUST_VARIANT];
    const caps_trust_watch watch = {worker_begin, worker_end, &out};
    const caps_runtime_options o = {CAPS_OPTIONS(caps_runtime_options),
        .kernels = caps_family_name(task->family), .algorithms = caps_trust_algorithms(),
        .cache_dir = task->cache_dir, .cl_path = task->cl_path};
    caps_runtime *rt = NULL;
    caps_error err = {0};
    caps_trust_suspend();
    if (task->vendors[0])
        setenv("OCL_ICD_VENDORS", task->vendors, 1);
    if (task->lists)
        work_list(out);
    snprintf(family, sizeof family, "family %s", caps_family_name(task->family));
    if (n == 0 || is_named(task->only, known, n)) /* a driver may end here already */
        worker_begin(&out, n == 0 ? family : task->only);
    if (caps_runtime_create(&rt, task->selector, &o, &err) != CAPS_OK || !is_device(rt, task))
        worker_finish(out, NO_DEVICE);
    caps_trust_adopt(rt, known, n);
    const bool whole = caps_trust_check_rest(rt, task->only, &watch);
    caps_registry_keep(rt);
    if (whole)
        worker_finish(out, FINISHED);
    _exit(0); /* another one goes on */
}

/* ---- the fork server ------------------------------------------------------------------------ */

typedef struct worker {
    pid_t id;
    int reports, words; /* what it tells, and what its driver says on standard error */
    char said[160];     /* the last line of that */
    size_t said_bytes;
} worker;

static bool worker_fork(worker *w, const caps_trust_task *task, const caps_verdict *known, size_t n)
{
    int reports[2] = {-1, -1}, words[2] = {-1, -1};
    const bool piped = pipe(reports) == 0 && pipe(words) == 0;
    *w = (worker){.id = piped ? fork() : -1, .reports = reports[0], .words = words[0]};
    if (w->id == 0) {
        const int nowhere = open("/dev/null", O_RDWR);
        dup2(nowhere, 0);
        dup2(nowhere, 1);
        dup2(words[1], 2);
        close(reports[0]);
        close(words[0]);
        close(words[1]);
        work(task, known, n, reports[1]);
        _exit(1);
    }
    if (reports[1] >= 0)
        close(reports[1]);
    if (words[1] >= 0)
        close(words[1]);
    if (w->id > 0)
        return true;
    if (reports[0] >= 0)
        close(reports[0]);
    if (words[0] >= 0)
        close(words[0]);
    return false;
}

/* Retains the last line that has letters. */
static void hear(worker *w)
{
    char text[512];
    const ssize_t n = read(w->words, text, sizeof text);
    if (n <= 0) {
        if (n == 0 || errno != EINTR) {
            close(w->words);
            w->words = -1;
        }
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (text[i] == '\n' || text[i] == 0) {
            w->said_bytes = SIZE_MAX; /* the next byte begins a line */
            continue;
        }
        if (w->said_bytes == SIZE_MAX)
            w->said_bytes = 0;
        if (w->said_bytes < sizeof w->said - 1) {
            w->said[w->said_bytes++] = text[i];
            w->said[w->said_bytes] = 0;
        }
    }
}

/* How it ended, for people. */
static void explain_end(char *to, size_t bytes, const worker *w, int state, bool late)
{
    char said[sizeof w->said];
    int used;
    if (late)
        used = snprintf(to, bytes, "the driver did not answer in time, and was ended");
    else if (WIFSIGNALED(state))
        used = snprintf(to, bytes, "the driver crashed (%s)", strsignal(WTERMSIG(state)));
    else
        used =
            snprintf(to, bytes, "the driver ended the process (exit code %d)", WEXITSTATUS(state));
    if (w->said[0] && used > 0 && (size_t)used < bytes)
        snprintf(to + used, bytes - (size_t)used, ", saying: %s",
            caps_text_clean(said, sizeof said, w->said));
}

/* A driver that compiles for minutes on a busy machine does not hang: its process computes. One
 * that waits does not, and one that turns in a loop comes to an end of its processor time. */
enum { IDLE_S = 120, BUSY_S = 900, SLICE_MS = 500 };

typedef struct patience {
    double cpu;        /* seconds that the worker had computed when last looked at */
    double idle, busy; /* seconds since its last report: not computing; computing */
    double most_idle;
} patience;

static patience patience_of(void)
{
    const char *value = getenv("CAPSCL_TRUST_SECONDS"); /* for tests */
    const long seconds = value ? strtol(value, NULL, 10) : 0;
    return (patience){.most_idle = seconds > 0 && seconds < 86400 ? (double)seconds : IDLE_S};
}

static double cpu_of(pid_t id)
{
    clockid_t clock;
    struct timespec t = {0};
    if (clock_getcpuclockid(id, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A slice has passed in which nothing came. */
static bool patience_ends(patience *p, pid_t id)
{
    const double now = cpu_of(id), more = now - p->cpu;
    p->cpu = now;
    if (more < 0.0005)
        p->idle += 1e-3 * SLICE_MS;
    else
        p->idle = 0;
    p->busy += more;
    return p->idle >= p->most_idle || p->busy >= BUSY_S;
}

typedef struct state {
    caps_trust_answer answer;
    char begun[CAPS_TRUST_VARIANT]; /* "": no check is under way */
    bool failed;
} state;

static void take_report(state *s, const report *r)
{
    caps_trust_answer *a = &s->answer;
    if (r->kind == BEGUN)
        memcpy(s->begun, r->verdict.variant, sizeof s->begun);
    if (r->kind == ENDED && a->verdicts < CAPS_TRUST_MOST)
        a->list[a->verdicts++] = r->verdict;
    if (r->kind == LISTED && a->devices < CAPS_TRUST_DEVICES) {
        memcpy(a->device[a->devices].hash, r->hash, sizeof r->hash);
        a->device[a->devices++].family = r->family;
    }
    if (r->kind != BEGUN && r->kind != LISTED)
        s->begun[0] = 0;
    a->finished = a->finished || r->kind == FINISHED;
    s->failed = s->failed || r->kind == NO_DEVICE;
}

/* Listens until the worker has nothing more to say; *late: it had to be ended. False: whoever gave
 * the task is gone. */
static bool worker_attend(worker *w, state *s, int socket, bool *late)
{
    bool asked = true;
    patience waits = patience_of();
    *late = false;
    for (bool more = true; more;) {
        struct pollfd at[3] = {{w->reports, POLLIN, 0}, {w->words, POLLIN, 0}, {socket, 0, 0}};
        const int ready = poll(at, 3, SLICE_MS);
        report r;
        if ((ready < 0 && errno == EINTR) || (ready == 0 && !patience_ends(&waits, w->id)))
            continue;
        if (ready <= 0 || at[2].revents) {
            *late = ready == 0;
            asked = !at[2].revents;
            kill(w->id, SIGKILL);
            break;
        }
        if (at[1].revents)
            hear(w);
        if (at[0].revents) {
            more = receive_all(w->reports, &r, sizeof r);
            if (more)
                take_report(s, &r);
            waits.idle = waits.busy = 0;
        }
    }
    return asked;
}

/* What the worker had begun when it ended is refused. */
static void refuse_begun(state *s, const caps_trust_task *task, const worker *w, int how, bool late)
{
    caps_trust_answer *a = &s->answer;
    if (task->lists) {
        explain_end(a->why, sizeof a->why, w, how, late);
    } else if (a->verdicts < CAPS_TRUST_MOST) {
        caps_verdict *v = &a->list[a->verdicts++];
        *v = (caps_verdict){0};
        memcpy(v->variant, s->begun, sizeof v->variant);
        explain_end(v->why, sizeof v->why, w, how, late);
        a->finished = a->verdicts == 1; /* the family: nothing is left to be checked */
    }
    s->begun[0] = 0;
}

/* A driver may have failed by a damaged object in its own cache. So a check that it does not survive,
 * or does not do, is run again without the objects that it found there. */
static bool begin_again(state *s, const struct timespec *begun)
{
    caps_trust_answer *a = &s->answer;
    const caps_verdict *last = a->verdicts > 0 ? &a->list[a->verdicts - 1] : NULL;
    const bool ended = s->begun[0] != 0, failed = last && !last->passed && last->tolerance <= 0;
    if (!(ended || failed) || !caps_objects_remove_since(begun))
        return false;
    a->verdicts -= !ended;
    s->begun[0] = 0;
    return true;
}

/* *again: one more is to do the same. */
static bool worker_run(state *s, const caps_trust_task *task, int socket, bool *again)
{
    worker w;
    bool late = false;
    int how = 0;
    const struct timespec begun = caps_objects_time();
    *again = false;
    if (!worker_fork(&w, task, s->answer.list, s->answer.verdicts))
        return false;
    const bool asked = worker_attend(&w, s, socket, &late);
    while (waitpid(w.id, &how, 0) < 0 && errno == EINTR)
        ;
    if (w.words >= 0) {
        fcntl(w.words, F_SETFL, O_NONBLOCK);
        hear(&w);
        if (w.words >= 0)
            close(w.words);
    }
    close(w.reports);
    *again = asked && !late && !task->lists && !s->answer.finished && begin_again(s, &begun);
    if (s->begun[0])
        refuse_begun(s, task, &w, how, late);
    return asked;
}

/* Until all is checked. */
static bool server_answer(state *s, const caps_trust_task *task, int socket)
{
    *s = (state){.answer = {.verdicts = task->verdicts}};
    memcpy(s->answer.list, task->list, sizeof task->list);
    for (int i = 0; i < MOST_WORKERS && !s->answer.finished && !s->failed; i++) {
        const size_t before = s->answer.verdicts;
        bool again;
        const bool asked = worker_run(s, task, socket, &again);
        s->failed = !asked || s->failed || task->lists ||
                    (s->answer.verdicts == before && !s->answer.finished && !again);
    }
    return send_all(socket, true, &s->answer, sizeof s->answer);
}

static void server_run(int socket)
{
    static state s; /* 30 KiB */
    caps_trust_task task;
    const int nowhere = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(nowhere, i); /* who reads what the program writes does not wait for the server */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* whoever gave the task decides; a worker ends with the server */
    signal(SIGTERM, SIG_DFL);
    while (receive_all(socket, &task, sizeof task) && server_answer(&s, &task, socket))
        ;
    _exit(0);
}

/* ---- for the program ------------------------------------------------------------------------ */

/* Whoever has loaded a driver before may have begun its threads. */
static bool is_opencl_in_use(void)
{
    caps_driver list[CAPS_MOST_DRIVERS];
    const size_t n = caps_drivers_list(list, CAPS_MOST_DRIVERS);
    bool loaded = false;
    for (size_t i = 0; i < n; i++)
        loaded = loaded || caps_driver_is_loaded(&list[i]);
    return loaded;
}

static pid_t server_id, server_maker;

/* At the program's end; a child that was forked from it has no part in this. */
static void server_end(void)
{
    if (server < 0 || server_maker != getpid())
        return;
    close(server);
    server = -1;
    while (waitpid(server_id, NULL, 0) < 0 && errno == EINTR)
        ;
}

bool caps_trust_process_begin(void)
{
    int ends[2];
    if (is_opencl_in_use() || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    server_id = fork();
    if (server_id == 0) {
        close(ends[0]);
        server_run(ends[1]);
    }
    close(ends[1]);
    if (server_id < 0 || atexit(server_end) != 0) {
        close(ends[0]);
        return false;
    }
    server_maker = getpid();
    server = ends[0];
    return true;
}

bool caps_trust_process_run(const caps_trust_task *task, caps_trust_answer *answer)
{
    pthread_mutex_lock(&lock);
    const bool got = server >= 0 && server_maker == getpid() &&
                     send_all(server, true, task, sizeof *task) &&
                     receive_all(server, answer, sizeof *answer);
    pthread_mutex_unlock(&lock);
    return got;
}
