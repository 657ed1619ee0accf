/* support.c: see support.h. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rng.h"

#define GUARD           37 /* elements before and after a tensor: odd, so that nothing is aligned */
#define PROCESS_SECONDS 300

static caps_runtime *shared_runtime;
static char *directories[64];
static size_t directory_count;

bool test_small(void)
{
    const char *small = getenv("CAPSCL_TEST_SMALL");
    return small && *small && strcmp(small, "0") != 0;
}

bool test_takes(size_t i)
{
    const char *sample = getenv("CAPSCL_TEST_SAMPLE");
    return !sample || !*sample || strcmp(sample, "0") == 0 || i % 3 == 0;
}

bool test_has_family(const char *family)
{
    const char *only = getenv("CAPSCL_TEST_FAMILY");
    return !only || !*only || strcmp(only, family) == 0;
}

caps_runtime *test_runtime(void)
{
    caps_error err = {0};
    if (!shared_runtime && caps_runtime_create(&shared_runtime, NULL, NULL, &err) != CAPS_OK) {
        fprintf(stderr, "no device to test on: %s\n", err.message);
        exit(1);
    }
    return shared_runtime;
}

caps_status test_dataset_load(
    caps_dataset *ds, const char *name, caps_split split, size_t limit, caps_error *err)
{
    const caps_dataset_options options = {
        CAPS_OPTIONS(caps_dataset_options), .split = split, .limit = limit};
    return caps_dataset_open(ds, name, &options, err);
}

double *test_random(size_t n, uint64_t seed, double lo, double hi)
{
    double *x = malloc((n ? n : 1) * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(lo + (hi - lo) * caps_rng_uniform(seed, CAPS_RNG_TEST, 0, i));
    return x;
}

double *test_zeros(size_t n)
{
    double *x = calloc(n ? n : 1, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

/* The tensor's words inside a larger buffer of NaNs (as int32 they are a large odd number). */
static caps_tensor guarded(const uint32_t *words, caps_dtype dtype, int ndim, const size_t *shape)
{
    caps_error err = {0};
    caps_runtime *rt = test_runtime();
    size_t count = 1;
    for (int d = 0; d < ndim; d++)
        count *= shape[d];
    size_t all = count + 2 * GUARD;
    uint32_t *host = malloc(all * sizeof *host);
    ck_assert_ptr_nonnull(host);
    for (size_t i = 0; i < all; i++)
        host[i] = 0x7fc12345u;
    if (words)
        memcpy(host + GUARD, words, count * sizeof *host);
    cl_mem buffer = NULL;
    cl_int code = CL_SUCCESS;
    buffer = clCreateBuffer(caps_runtime_context(rt), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
        all * sizeof *host, host, &code);
    free(host);
    ck_assert_msg(code == CL_SUCCESS, "clCreateBuffer: %s", caps_cl_error_name(code));
    caps_tensor t = caps_tensor_wrap(buffer, GUARD, dtype, ndim, shape);
    (void)err;
    return t;
}

caps_tensor test_tensor(const double *values, int ndim, const size_t *shape)
{
    size_t count = 1;
    for (int d = 0; d < ndim; d++)
        count *= shape[d];
    uint32_t *words = NULL;
    if (values) {
        words = malloc(count * sizeof *words);
        ck_assert_ptr_nonnull(words);
        for (size_t i = 0; i < count; i++) {
            float x = (float)values[i];
            memcpy(words + i, &x, sizeof x);
        }
    }
    caps_tensor t = guarded(words, CAPS_F32, ndim, shape);
    free(words);
    return t;
}

caps_tensor test_tensor_i32(const int32_t *values, int ndim, const size_t *shape)
{
    return guarded((const uint32_t *)values, CAPS_I32, ndim, shape);
}

void test_tensor_release(caps_tensor *t)
{
    if (!t->buffer)
        return;
    caps_error err = {0};
    uint32_t before[GUARD], after[GUARD];
    size_t guard = GUARD, count = caps_tensor_count(t);
    caps_tensor head = caps_tensor_wrap(t->buffer, 0, CAPS_I32, 1, &guard);
    caps_tensor tail = caps_tensor_wrap(t->buffer, GUARD + count, CAPS_I32, 1, &guard);
    test_ok(caps_tensor_download(test_runtime(), &head, before, &err));
    test_ok(caps_tensor_download(test_runtime(), &tail, after, &err));
    for (size_t i = 0; i < GUARD; i++)
        ck_assert_msg(before[i] == 0x7fc12345u && after[i] == 0x7fc12345u,
            "a kernel wrote outside its tensor of %zu elements", count);
    clReleaseMemObject(t->buffer);
    memset(t, 0, sizeof *t);
}

double *test_download(const caps_tensor *t)
{
    caps_error err = {0};
    size_t count = caps_tensor_count(t);
    uint32_t *words = malloc(count * sizeof *words);
    double *x = malloc(count * sizeof *x);
    ck_assert_ptr_nonnull(words);
    ck_assert_ptr_nonnull(x);
    test_ok(caps_tensor_download(test_runtime(), t, words, &err));
    for (size_t i = 0; i < count; i++) {
        float f;
        memcpy(&f, words + i, sizeof f);
        x[i] = t->dtype == CAPS_I32 ? (double)(int32_t)words[i] : (double)f;
    }
    free(words);
    return x;
}

double test_relative_error(const double *a, const double *b, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) || isnan(b[i]))
            return INFINITY;
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

void test_expect(const caps_tensor *t, const double *expected, double tolerance, const char *what)
{
    double *have = test_download(t);
    double error = test_relative_error(have, expected, caps_tensor_count(t));
    free(have);
    ck_assert_msg(error <= tolerance, "%s: relative error %g, allowed %g", what, error, tolerance);
}

double test_finite_difference(double (*loss)(const double *x, void *context), void *context,
    double *x, const double *gradient, size_t n, double step)
{
    double worst = 0, scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(gradient[i]));
    for (size_t i = 0; i < n; i++) {
        double was = x[i];
        x[i] = was + step;
        double above = loss(x, context);
        x[i] = was - step;
        double below = loss(x, context);
        x[i] = was;
        double numeric = (above - below) / (2 * step);
        double off = fabs(numeric - gradient[i]) / fmax(scale, 1e-12);
        worst = isnan(off) ? INFINITY : fmax(worst, off);
    }
    return worst;
}

/* ---- directories and processes */

static void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return;
    if (S_ISDIR(st.st_mode)) {
        chmod(path, 0700);
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            char child[4096];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            snprintf(child, sizeof child, "%s/%s", path, e->d_name);
            remove_tree(child);
        }
        if (d)
            closedir(d);
        rmdir(path);
    } else {
        unlink(path);
    }
}

static pid_t directories_owner;

static void remove_directories(void)
{
    if (getpid() != directories_owner)
        return;
    for (size_t i = 0; i < directory_count; i++) {
        remove_tree(directories[i]);
        free(directories[i]);
    }
    directory_count = 0;
}

char *test_directory(void)
{
    const char *base = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/capscl-test-XXXXXX", base && *base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
    if (directories_owner != getpid()) {
        directories_owner = getpid();
        directory_count = 0;
        atexit(remove_directories);
    }
    ck_assert_uint_lt(directory_count, sizeof directories / sizeof *directories);
    directories[directory_count++] = strdup(path);
    return strdup(path);
}

typedef struct growing {
    char *text;
    size_t bytes;
} growing;

/* Reads what there is; false at the end of the stream. */
static bool read_some(int fd, growing *to)
{
    char chunk[65536];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return false;
    to->text = realloc(to->text, to->bytes + (size_t)n + 1);
    ck_assert_ptr_nonnull(to->text);
    memcpy(to->text + to->bytes, chunk, (size_t)n);
    to->bytes += (size_t)n;
    to->text[to->bytes] = 0;
    return true;
}

static void child(char *const argv[], char *const environment[], int out, int err)
{
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, 0);
    dup2(out, 1);
    dup2(err, 2);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    for (size_t i = 0; environment && environment[i]; i++) {
        if (strchr(environment[i], '='))
            putenv(environment[i]);
        else
            unsetenv(environment[i]);
    }
    execv(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

test_process test_run(char *const argv[], char *const environment[])
{
    int out[2], err[2], status = 0;
    growing text[2] = {{0}};
    time_t end = time(NULL) + PROCESS_SECONDS;
    ck_assert_int_eq(pipe(out), 0);
    ck_assert_int_eq(pipe(err), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        child(argv, environment, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    struct pollfd fds[2] = {{.fd = out[0], .events = POLLIN}, {.fd = err[0], .events = POLLIN}};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (time(NULL) > end) {
            kill(pid, SIGKILL);
            fprintf(stderr, "%s: stopped after %d s\n", argv[0], PROCESS_SECONDS);
            break;
        }
        poll(fds, 2, 1000);
        for (int i = 0; i < 2; i++)
            if (fds[i].fd >= 0 && fds[i].revents && !read_some(fds[i].fd, &text[i]))
                fds[i].fd = -1;
    }
    close(out[0]);
    close(err[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    test_process p = {
        .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    p.out = text[0].text ? text[0].text : strdup("");
    p.err = text[1].text ? text[1].text : strdup("");
    return p;
}

void test_process_release(test_process *p)
{
    free(p->out);
    free(p->err);
    memset(p, 0, sizeof *p);
}

/* Checks and failures, as "N N", in $CAPSCL_TEST_COUNTS/<program>, for scripts/test. */
static void write_counts(const char *program, int run, int failed)
{
    const char *directory = getenv("CAPSCL_TEST_COUNTS"), *name = strrchr(program, '/');
    char path[4096];
    if (!directory || !*directory)
        return;
    snprintf(path, sizeof path, "%s/%s", directory, name ? name + 1 : program);
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%d %d\n", run, failed);
        fclose(file);
    }
}

/* Devices do not survive a fork, so Check does not fork unless requested. */
int main(int argc, char **argv)
{
    /* What a program printed is shown where a check fails, a long text too; but Check moves that
     * many bytes an assertion. The user's caches are not touched. */
    setenv("CK_MAX_MSG_SIZE", "20000", 0);
    setenv("CAPSCL_CACHE", TEST_BINARY_DIR "/tests/cache", 0);
    /* Tests look at every variant themselves; test_trust and test_cli_trust set it otherwise. */
    setenv("CAPSCL_TRUST", "off", 0);
    SRunner *runner = srunner_create(suite());
    const char *fork_requested = getenv("CK_FORK");
    if (!fork_requested || strcmp(fork_requested, "yes") != 0)
        srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
    srunner_free(runner);
    caps_runtime_free(shared_runtime);
    write_counts(argc > 0 ? argv[0] : "", run, failed);
    return failed == 0 && run > 0 ? 0 : 1;
}
