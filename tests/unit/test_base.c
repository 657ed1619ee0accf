/* test_base.c: errors, generator, files, JSON helpers. */
#include "support.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "rng.h"

/* ---- errors -----------------------------------------------------------------------------------
 */

START_TEST(status_names)
{
#define EXPECT_NAMED(name, text)                                                                   \
    ck_assert_str_eq(caps_status_name(name), #name);                                               \
    ck_assert_str_eq(caps_status_text(name), text);
    CAPS_STATUS_TABLE(EXPECT_NAMED)
    ck_assert_ptr_nonnull(caps_status_name((caps_status)999));
    ck_assert_ptr_nonnull(caps_status_text((caps_status)-5));
    ck_assert_str_eq(caps_cl_error_name(-5), "CL_OUT_OF_RESOURCES");
    ck_assert_str_eq(caps_cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
    ck_assert_str_eq(caps_cl_error_name(-4242), "CL_ERROR");
}
END_TEST

START_TEST(fail_fills_the_report)
{
    caps_error err = {.cl_code = -3, .build_log = "old"};
    ck_assert_int_eq(
        caps_fail(&err, CAPS_ERR_SPEC, "routing: iterations is %d, need >= 1", 0), CAPS_ERR_SPEC);
    ck_assert_int_eq(err.status, CAPS_ERR_SPEC);
    ck_assert_str_eq(err.message, "routing: iterations is 0, need >= 1");
    ck_assert_int_eq(err.cl_code, 0);
    ck_assert_str_eq(err.build_log, "");
    ck_assert_int_eq(caps_fail(NULL, CAPS_ERR_IO, "x"), CAPS_ERR_IO);
    ck_assert_int_eq(caps_fail_cl(NULL, -4, "x"), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_int_eq(caps_fail_prefix(NULL, CAPS_ERR_IO, "x"), CAPS_ERR_IO);
    ck_assert_int_eq(caps_fail_errno(NULL, CAPS_ERR_IO, "x"), CAPS_ERR_IO);
}
END_TEST

START_TEST(fail_cl_names_the_code)
{
    caps_error err = {0};
    ck_assert_int_eq(caps_fail_cl(&err, -5, "launch %s", "squash"), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "launch squash: CL_OUT_OF_RESOURCES (-5)");
    ck_assert_int_eq(err.cl_code, -5);
    const int memory_codes[] = {-4, -6, -61};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(caps_fail_cl(&err, memory_codes[i], "buffer"), CAPS_ERR_DEVICE_MEMORY);
        ck_assert_int_eq(err.status, CAPS_ERR_DEVICE_MEMORY);
    }
}
END_TEST

START_TEST(fail_prefix_keeps_the_rest)
{
    caps_error err = {0};
    caps_fail_cl(&err, -54, "launch");
    strcpy(err.build_log, "log");
    ck_assert_int_eq(caps_fail_prefix(&err, CAPS_ERR_OPENCL, "layer %d", 3), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "layer 3: launch: CL_INVALID_WORK_GROUP_SIZE (-54)");
    ck_assert_int_eq(err.cl_code, -54);
    ck_assert_str_eq(err.build_log, "log");
    /* An argument may be the old message itself. */
    caps_fail(&err, CAPS_ERR_IO, "again: %s", err.message);
    ck_assert_str_eq(err.message, "again: layer 3: launch: CL_INVALID_WORK_GROUP_SIZE (-54)");
}
END_TEST

START_TEST(messages_are_one_line_and_keep_both_ends)
{
    caps_error err = {0};
    caps_fail(&err, CAPS_ERR_IO, "a\nb\tc\x01 d\x7f: need");
    ck_assert_str_eq(err.message, "a b c  d : need");

    /* Two-byte characters: a cut must not leave half of one. Each length shifts the cut. */
    for (size_t n = 700; n < 900; n++) {
        char *long_name = malloc(2 * n + 1);
        for (size_t i = 0; i < n; i++)
            memcpy(long_name + 2 * i, "\xc3\xa9", 2);
        long_name[2 * n] = '\0';
        caps_fail(&err, CAPS_ERR_IO, "%.*s%s: cannot write", (int)(n % 2), "x", long_name);
        size_t length = strlen(err.message);
        ck_assert_uint_lt(length, CAPS_ERROR_MESSAGE_BYTES);
        ck_assert_uint_gt(length, CAPS_ERROR_MESSAGE_BYTES - 8);
        ck_assert_str_eq(err.message + length - strlen(": cannot write"), ": cannot write");
        size_t leads = 0, trails = 0;
        for (size_t i = 0; i < length; i++) {
            leads += (unsigned char)err.message[i] == 0xc3;
            trails += (unsigned char)err.message[i] == 0xa9;
        }
        ck_assert_uint_eq(leads, trails);
        ck_assert_ptr_nonnull(strstr(err.message, "\xa9 ... \xc3"));
        free(long_name);
    }
}
END_TEST

START_TEST(fail_errno_gives_the_reason)
{
    caps_error err = {0};
    errno = ENOSPC;
    ck_assert_int_eq(caps_fail_errno(&err, CAPS_ERR_IO, "%s: cannot write", "f"), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, "f: cannot write: No space left on device");
}
END_TEST

/* ---- generator --------------------------------------------------------------------------------
 */

START_TEST(philox_known_answers)
{
    /* From kat_vectors of the Random123 distribution. */
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t out[4];
        caps_philox(out, vectors[i].counter, vectors[i].key);
        for (int w = 0; w < 4; w++)
            ck_assert_uint_eq(out[w], vectors[i].out[w]);
    }
    /* The layout that rng.h promises: seed, stream and counters of the second half of pi's digits.
     */
    uint32_t out[4];
    caps_rng_words(
        out, 0x299f31d0a4093822u, (caps_rng_stream)0x243f6a88, 0x85a308d3, 0x0370734413198a2eu);
    for (int w = 0; w < 4; w++)
        ck_assert_uint_eq(out[w], vectors[2].out[w]);
}
END_TEST

START_TEST(every_argument_counts)
{
    uint32_t base[4], other[4];
    caps_rng_words(base, 1, CAPS_RNG_TEST, 2, 3);
    caps_rng_words(other, 1, CAPS_RNG_TEST, 2, 3);
    ck_assert_mem_eq(base, other, sizeof base);
    for (int bit = 0; bit < 64; bit++) {
        caps_rng_words(other, 1 ^ 1ull << bit, CAPS_RNG_TEST, 2, 3);
        ck_assert_mem_ne(base, other, sizeof base);
        caps_rng_words(other, 1, CAPS_RNG_TEST, 2, 3 ^ 1ull << bit);
        ck_assert_mem_ne(base, other, sizeof base);
    }
    for (int bit = 0; bit < 32; bit++) {
        caps_rng_words(other, 1, CAPS_RNG_TEST, 2 ^ 1u << bit, 3);
        ck_assert_mem_ne(base, other, sizeof base);
    }
    caps_rng_words(other, 1, CAPS_RNG_SHIFT, 2, 3);
    ck_assert_mem_ne(base, other, sizeof base);
}
END_TEST

static double chi_square(const size_t *counts, size_t cells, size_t draws)
{
    double expected = (double)draws / (double)cells, sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    return sum;
}

/* Limits: the 0.999 quantiles of chi-square with 9 and 2 degrees of freedom. */
START_TEST(below_is_unbiased)
{
    const size_t draws = 100000;
    size_t counts[10] = {0};
    for (size_t i = 0; i < draws; i++) {
        uint64_t x = caps_rng_below(10, 7, CAPS_RNG_TEST, 0, i);
        ck_assert_uint_lt(x, 10);
        counts[x]++;
    }
    ck_assert_double_lt(chi_square(counts, 10, draws), 27.88);

    /* At n = 3 * 2^62 a bare remainder would fall into the lowest third twice as often. */
    const uint64_t n = 3ull << 62;
    size_t thirds[3] = {0};
    for (size_t i = 0; i < draws; i++) {
        uint64_t x = caps_rng_below(n, 7, CAPS_RNG_TEST, 1, i);
        ck_assert_uint_lt(x, n);
        thirds[x >> 62]++;
    }
    ck_assert_double_lt(chi_square(thirds, 3, draws), 13.82);

    /* One value in two is refused here, so that further attempts occur. */
    const uint64_t half = (1ull << 63) + 1;
    size_t halves[2] = {0};
    for (size_t i = 0; i < draws; i++)
        halves[caps_rng_below(half, 7, CAPS_RNG_TEST, 2, i) >> 62]++;
    ck_assert_double_lt(chi_square(halves, 2, draws), 10.83);
    ck_assert_uint_eq(caps_rng_below(1, 7, CAPS_RNG_TEST, 3, 4), 0);
}
END_TEST

START_TEST(shuffle_is_a_permutation)
{
    enum { N = 1000 };
    uint32_t order[N], again[N], other[N];
    unsigned char seen[N] = {0};
    caps_rng_shuffle(order, N, 5, 0);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_lt(order[i], N);
        ck_assert_int_eq(seen[order[i]]++, 0);
    }
    caps_rng_shuffle(again, N, 5, 0);
    ck_assert_mem_eq(order, again, sizeof order);
    caps_rng_shuffle(other, N, 5, 1);
    ck_assert_mem_ne(order, other, sizeof order);
    caps_rng_shuffle(other, N, 6, 0);
    ck_assert_mem_ne(order, other, sizeof order);

    /* Of three elements all six orders, equally often: 20.52 is the 0.999 quantile at five. */
    size_t counts[6] = {0};
    for (uint32_t e = 0; e < 6000; e++) {
        caps_rng_shuffle(order, 3, 9, e);
        counts[order[0] * 2 + (order[1] > order[2])]++;
    }
    ck_assert_double_lt(chi_square(counts, 6, 6000), 20.52);
    caps_rng_shuffle(order, 1, 1, 1);
    ck_assert_uint_eq(order[0], 0);
    caps_rng_shuffle(order, 0, 1, 1); /* nothing to do */
}
END_TEST

/* Limits: four standard errors of each moment. */
START_TEST(normal_and_uniform_moments)
{
    const int n = 200000;
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, tail = 0, u1 = 0, u2 = 0;
    for (int i = 0; i < n; i++) {
        double x = caps_rng_normal(3, CAPS_RNG_TEST, 0, (uint64_t)i);
        ck_assert(isfinite(x));
        m1 += x;
        m2 += x * x;
        m3 += x * x * x;
        m4 += x * x * x * x;
        tail += fabs(x) > 1.959964;
        double u = caps_rng_uniform(3, CAPS_RNG_TEST, 1, (uint64_t)i);
        ck_assert(u >= 0 && u < 1);
        u1 += u;
        u2 += u * u;
    }
    ck_assert_double_lt(fabs(m1 / n), 4 / sqrt(n));
    ck_assert_double_lt(fabs(m2 / n - 1), 4 * sqrt(2.0 / n));
    ck_assert_double_lt(fabs(m3 / n), 4 * sqrt(15.0 / n));
    ck_assert_double_lt(fabs(m4 / n - 3), 4 * sqrt(96.0 / n));
    ck_assert_double_lt(fabs(tail / n - 0.05), 4 * sqrt(0.05 * 0.95 / n));
    ck_assert_double_lt(fabs(u1 / n - 0.5), 4 * sqrt(1.0 / 12 / n));
    ck_assert_double_lt(fabs(u2 / n - 1.0 / 3), 4 * sqrt(4.0 / 45 / n));
}
END_TEST

START_TEST(clock_goes_forward)
{
    uint64_t before = caps_clock_ns();
    usleep(2000);
    uint64_t after = caps_clock_ns();
    ck_assert_uint_ge(after - before, 2000000);
    ck_assert_double_eq_tol(caps_clock_seconds(), (double)caps_clock_ns() * 1e-9, 1.0);
}
END_TEST

/* ---- strings, hash, directories ---------------------------------------------------------------
 */

START_TEST(paths_and_hash)
{
    static const char *const joins[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < 4; i++) {
        char *joined = caps_path_join(joins[i][0], joins[i][1]);
        ck_assert_str_eq(joined, joins[i][2]);
        free(joined);
    }
    char *text = caps_format("%s-%03d", "x", 7);
    ck_assert_str_eq(text, "x-007");
    free(text);
    /* Published FNV-1a values. */
    ck_assert(caps_hash(CAPS_HASH_START, "", 0) == 0xcbf29ce484222325u);
    ck_assert(caps_hash(CAPS_HASH_START, "a", 1) == 0xaf63dc4c8601ec8cu);
    ck_assert(caps_hash(CAPS_HASH_START, "foobar", 6) == 0x85944171f73967e8u);
    ck_assert(caps_hash(caps_hash(CAPS_HASH_START, "foo", 3), "bar", 3) == 0x85944171f73967e8u);
}
END_TEST

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void expect_content(const char *path, const char *text)
{
    caps_error err = {0};
    unsigned char *data;
    size_t n;
    test_ok(caps_file_read(&data, &n, path, 1 << 20, &err));
    ck_assert_str_eq((char *)data, text);
    ck_assert_uint_eq(n, strlen(text));
    free(data);
}

static size_t entries(const char *directory)
{
    size_t n = 0;
    DIR *d = opendir(directory);
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

START_TEST(directories)
{
    caps_error err = {0};
    char *root = test_directory();
    char *deep = caps_format("%s/a//b/c/", root), *file = caps_format("%s/file", root);
    char *under = caps_format("%s/file/x/y", root);
    test_ok(caps_directory_make(deep, &err));
    test_ok(caps_directory_make(deep, &err));
    test_ok(caps_directory_make("/", &err));
    ck_assert(caps_path_is_directory(deep));
    put(file, "x");
    ck_assert(caps_path_exists(file) && !caps_path_is_directory(file));
    ck_assert_int_eq(caps_directory_make(file, &err), CAPS_ERR_IO);
    ck_assert_msg(strncmp(err.message, file, strlen(file)) == 0, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.message, "is a file, need a directory"));
    ck_assert_int_eq(caps_directory_make(under, &err), CAPS_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "is a file, need a directory"));
    ck_assert_int_eq(caps_directory_make("", &err), CAPS_ERR_IO);
    free(under);
    free(file);
    free(deep);
    free(root);
}
END_TEST

/* ---- reading ----------------------------------------------------------------------------------
 */

START_TEST(read_whole_files)
{
    caps_error err = {0};
    unsigned char *data;
    size_t n;
    char *root = test_directory(), *path = caps_path_join(root, "f");
    put(path, "0123456789");
    expect_content(path, "0123456789");
    test_ok(caps_file_read(&data, &n, path, 10, &err));
    ck_assert_int_eq(data[10], 0);
    free(data);
    ck_assert_int_eq(caps_file_read(&data, &n, path, 9, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_null(data);
    ck_assert_ptr_nonnull(strstr(err.message, ": 10 bytes, need <= 9"));
    put(path, "");
    expect_content(path, "");
    ck_assert_int_eq(caps_file_read(&data, &n, root, 99, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, ": is a directory, need a file"));
    unlink(path);
    ck_assert_int_eq(caps_file_read(&data, &n, path, 99, &err), CAPS_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "f: cannot open: No such file or directory"));
    /* Without an end, but with a limit. */
    ck_assert_int_eq(caps_file_read(&data, &n, "/dev/zero", 300000, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "/dev/zero: more than 300000 bytes"));
    free(path);
    free(root);
}
END_TEST

START_TEST(read_from_a_pipe)
{
    caps_error err = {0};
    char *root = test_directory(), *path = caps_path_join(root, "pipe");
    const size_t total = 200001; /* more than a pipe holds and than the first buffer */
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        char block[3] = "abc";
        int fd = open(path, O_WRONLY);
        for (size_t i = 0; i < total; i += 3)
            if (write(fd, block, 3) != 3)
                _exit(1);
        _exit(0);
    }
    unsigned char *data;
    size_t n;
    test_ok(caps_file_read(&data, &n, path, SIZE_MAX, &err));
    ck_assert_uint_eq(n, total);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(data[i], "abc"[i % 3]);
    free(data);
    int state;
    waitpid(child, &state, 0);
    ck_assert_int_eq(state, 0);
    free(path);
    free(root);
}
END_TEST

/* ---- atomic writing ---------------------------------------------------------------------------
 */

START_TEST(atomic_commit_and_abort)
{
    caps_error err = {0};
    caps_atomic_file f;
    char *root = test_directory(), *path = caps_path_join(root, "out");
    test_ok(caps_file_write(path, "first", 5, &err));
    expect_content(path, "first");
    ck_assert_int_eq(chmod(path, 0640), 0);

    test_ok(caps_atomic_init(&f, path, &err));
    test_ok(caps_atomic_write(&f, "sec", 3, &err));
    expect_content(path, "first");
    ck_assert_uint_eq(entries(root), 2);
    test_ok(caps_atomic_write(&f, "", 0, &err));
    test_ok(caps_atomic_write(&f, "ond", 3, &err));
    test_ok(caps_atomic_commit(&f, &err));
    caps_atomic_abort(&f); /* does nothing any more */
    expect_content(path, "second");
    ck_assert_uint_eq(entries(root), 1);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);

    test_ok(caps_atomic_init(&f, path, &err));
    test_ok(caps_atomic_write(&f, "third", 5, &err));
    caps_atomic_abort(&f);
    expect_content(path, "second");
    ck_assert_uint_eq(entries(root), 1);

    caps_atomic_file zero = {0};
    const int standard_input = fcntl(0, F_GETFD);
    caps_atomic_abort(&zero);
    ck_assert_int_eq(fcntl(0, F_GETFD), standard_input); /* was not closed as "fd 0" */
    ck_assert_int_eq(caps_atomic_write(&zero, "x", 1, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_atomic_commit(&zero, &err), CAPS_ERR_ARGUMENT);
    free(path);
    free(root);
}
END_TEST

START_TEST(atomic_names)
{
    caps_error err = {0};
    char *root = test_directory();
    /* The longest name a file system takes. */
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    char *path = caps_path_join(root, name);
    test_ok(caps_file_write(path, "x", 1, &err));
    test_ok(caps_file_write(path, "long", 4, &err));
    expect_content(path, "long");
    ck_assert_uint_eq(entries(root), 1);
    free(path);

    /* Without a directory. */
    char *before = getcwd(NULL, 0);
    ck_assert_int_eq(chdir(root), 0);
    test_ok(caps_file_write("bare", "y", 1, &err));
    expect_content("bare", "y");

    /* A link stays one, and its target gets the content. */
    ck_assert_int_eq(mkdir("elsewhere", 0700), 0);
    put("elsewhere/target", "old");
    ck_assert_int_eq(symlink("elsewhere/target", "link"), 0);
    test_ok(caps_file_write("link", "new", 3, &err));
    struct stat st;
    ck_assert_int_eq(lstat("link", &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    expect_content("elsewhere/target", "new");
    ck_assert_uint_eq(entries("elsewhere"), 1);
    ck_assert_int_eq(chdir(before), 0);
    free(before);
    free(root);
}
END_TEST

static void expect_refused(const char *path, const char *reason)
{
    caps_error err = {0};
    char *expected = caps_format("%s: cannot write: %s", path, reason);
    ck_assert_int_eq(caps_file_write(path, "x", 1, &err), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, expected);
    free(expected);
}

START_TEST(atomic_refusals)
{
    caps_error err = {0};
    char *root = test_directory();
    char *missing = caps_format("%s/none/out", root), *out = caps_format("%s/out", root);
    char *slash = caps_format("%s/out/", root), *through = caps_format("%s/out/x", root);
    expect_refused(root, "Is a directory");
    expect_refused(missing, "No such file or directory");
    expect_refused(slash, "Is a directory");
    expect_refused("", "No such file or directory");
    put(out, "kept");
    expect_refused(through, "Not a directory");

    /* A device is written to, not replaced; /dev/full has no space. */
    expect_refused("/dev/full", "No space left on device");
    test_ok(caps_file_write("/dev/null", "x", 1, &err));
    struct stat st;
    ck_assert_int_eq(stat("/dev/null", &st), 0);
    ck_assert(S_ISCHR(st.st_mode));
    ck_assert_int_eq(stat("/dev/full", &st), 0);
    ck_assert(S_ISCHR(st.st_mode));

    /* A directory and a file that may not be written; root may write anywhere, so as another user.
     */
    bool is_root = geteuid() == 0;
    ck_assert_int_eq(chmod(root, 0555), 0);
    if (is_root)
        ck_assert_int_eq(seteuid(65534), 0);
    char *fresh = caps_format("%s/fresh", root);
    expect_refused(fresh, "Permission denied");
    if (is_root)
        ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(chmod(root, 0777), 0);
    ck_assert_int_eq(chmod(out, 0444), 0);
    if (is_root)
        ck_assert_int_eq(seteuid(65534), 0);
    expect_refused(out, "Permission denied");
    if (is_root)
        ck_assert_int_eq(seteuid(0), 0);
    expect_content(out, "kept");
    ck_assert_uint_eq(entries(root), 1);
    free(fresh);
    free(through);
    free(slash);
    free(out);
    free(missing);
    free(root);
}
END_TEST

START_TEST(atomic_write_that_fails_half_way)
{
    caps_error err = {0};
    char *root = test_directory(), *path = caps_path_join(root, "out");
    put(path, "good");
    struct rlimit before, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    char block[10000];
    memset(block, 'b', sizeof block);
    caps_atomic_file f;
    caps_status begun = caps_atomic_init(&f, path, &err);
    caps_status first = caps_atomic_write(&f, block, 3000, &err);
    caps_status second = caps_atomic_write(&f, block, sizeof block, &err); /* short, then fails */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    ck_assert_int_eq(begun, CAPS_OK);
    ck_assert_int_eq(first, CAPS_OK);
    ck_assert_int_eq(second, CAPS_ERR_IO);
    char *expected = caps_format("%s: cannot write: File too large", path);
    ck_assert_str_eq(err.message, expected);
    free(expected);
    expect_content(path, "good");
    ck_assert_uint_eq(entries(root), 1); /* the temporary is gone already */
    caps_atomic_abort(&f);
    test_ok(caps_file_write(path, block, sizeof block, &err));
    free(path);
    free(root);
}
END_TEST

START_TEST(killed_writers_leave_the_old_file)
{
    caps_error err = {0};
    char *root = test_directory(), *path = caps_path_join(root, "state.safetensors");
    put(path, "good");
    pid_t dead = 0;
    for (int i = 0; i < 3; i++) {
        dead = fork();
        if (dead == 0) {
            caps_atomic_file f;
            if (caps_atomic_init(&f, path, NULL) || caps_atomic_write(&f, "torn", 4, NULL))
                _exit(1);
            raise(SIGKILL);
        }
        int state;
        waitpid(dead, &state, 0);
        ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
        expect_content(path, "good");
        ck_assert_uint_eq(entries(root), 2); /* one leftover, never more */
    }
    /* What an earlier process of our own number left, and what is none of ours. */
    char *same = caps_format("%s/.state.safetensors.tmp-%ld-9", root, (long)getpid());
    char *other = caps_format("%s/.other.tmp-%ld-0", root, (long)dead);
    char *odd = caps_format("%s/.state.safetensors.tmp-mine", root);
    put(same, "");
    put(other, "");
    put(odd, "");
    test_ok(caps_file_write(path, "better", 6, &err));
    expect_content(path, "better");
    ck_assert_uint_eq(entries(root), 3);
    ck_assert(caps_path_exists(other) && caps_path_exists(odd));

    /* A living writer's file is left alone. */
    caps_atomic_file slow;
    test_ok(caps_atomic_init(&slow, path, &err));
    test_ok(caps_atomic_write(&slow, "slow", 4, &err));
    pid_t child = fork();
    if (child == 0)
        _exit(caps_file_write(path, "quick", 5, NULL) == CAPS_OK ? 0 : 1);
    int state;
    waitpid(child, &state, 0);
    ck_assert_int_eq(state, 0);
    expect_content(path, "quick");
    test_ok(caps_file_write(path, "own", 3, &err));
    expect_content(path, "own");
    test_ok(caps_atomic_commit(&slow, &err));
    expect_content(path, "slow");
    free(odd);
    free(other);
    free(same);
    free(path);
    free(root);
}
END_TEST

typedef struct writer {
    const char *path;
    char letter;
    bool failed;
} writer;

static void *write_often(void *context)
{
    writer *w = context;
    char block[5000];
    memset(block, w->letter, sizeof block);
    for (int i = 0; i < 20; i++)
        if (caps_file_write(w->path, block, sizeof block, NULL) != CAPS_OK)
            w->failed = true;
    return NULL;
}

START_TEST(threads_writing_one_file)
{
    caps_error err = {0};
    char *root = test_directory(), *path = caps_path_join(root, "out");
    writer writers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        writers[i] = (writer){path, (char)('a' + i), false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_often, &writers[i]), 0);
    }
    for (int i = 0; i < 200; i++) {
        unsigned char *data;
        size_t n;
        if (caps_file_read(&data, &n, path, 1 << 20, &err) != CAPS_OK)
            continue; /* not there yet */
        ck_assert_uint_eq(n, 5000);
        for (size_t k = 1; k < n; k++)
            ck_assert_int_eq(data[k], data[0]);
        free(data);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(!writers[i].failed);
    }
    ck_assert_uint_eq(entries(root), 1);
    free(path);
    free(root);
}
END_TEST

/* ---- JSON -------------------------------------------------------------------------------------
 */

START_TEST(json_parse)
{
    caps_error err = {0};
    json_t *value = NULL;
    const char *text = "{\"a\": [1, 2.5, null]} trailing";
    test_ok(caps_json_parse(&value, text, 21, "spec", CAPS_ERR_SPEC, &err));
    ck_assert_uint_eq(json_array_size(json_object_get(value, "a")), 3);
    json_decref(value);

    static const char *const bad[] = {"", "{", "{\"a\":1,\n\"a\":2}", "nothing", "[1,]", "\xff\xfe",
        "{\"a\": 1e999}", "[\"\n\"]", "{\"a\":1} x", "{\"a\\u0000b\": 1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (caps_error){0};
        ck_assert_int_eq(
            caps_json_parse(&value, bad[i], strlen(bad[i]), "x.json", CAPS_ERR_SPEC, &err),
            CAPS_ERR_SPEC);
        ck_assert_ptr_null(value);
        ck_assert_msg(strncmp(err.message, "x.json: line ", 13) == 0, "%s", err.message);
        ck_assert_ptr_null(strchr(err.message, '\n'));
    }
    ck_assert_int_eq(
        caps_json_parse(&value, "[1,\n2,\n]", 8, "x", CAPS_ERR_FORMAT, &err), CAPS_ERR_FORMAT);
    ck_assert_msg(strncmp(err.message, "x: line 3: ", 11) == 0, "%s", err.message);
    /* Deep nesting is refused, not followed down the stack. */
    char *deep = malloc(1000001);
    memset(deep, '[', 1000000);
    deep[1000000] = '\0';
    ck_assert_int_eq(
        caps_json_parse(&value, deep, 1000000, "x", CAPS_ERR_FORMAT, &err), CAPS_ERR_FORMAT);
    free(deep);
}
END_TEST

START_TEST(json_numbers_come_back)
{
    for (uint64_t i = 0; i < 2000; i++) {
        uint32_t w[4];
        caps_rng_words(w, 1, CAPS_RNG_TEST, 0, i);
        float f;
        double d;
        memcpy(&f, w, sizeof f);
        memcpy(&d, w + 2, sizeof d);
        if (!isfinite(f) || !isfinite(d))
            continue;
        json_t *single = caps_json_float(f), *real = caps_json_double(d);
        char *single_text = caps_json_format(single, 0, 9), *text = caps_json_format(real, 0, 17);
        ck_assert_float_eq(strtof(single_text, NULL), f);
        ck_assert_double_eq(strtod(text, NULL), d);
        free(text);
        free(single_text);
        json_decref(real);
        json_decref(single);
    }
    json_t *value = json_pack("{s:o, s:o, s:o}", "z", caps_json_float(NAN), "a",
        caps_json_double(-INFINITY), "m", caps_json_float(0.5f));
    char *compact = caps_json_format(value, 0, 9), *wide = caps_json_format(value, 2, 9);
    ck_assert_str_eq(compact, "{\"z\":null,\"a\":null,\"m\":0.5}");
    ck_assert_str_eq(wide, "{\n  \"z\": null,\n  \"a\": null,\n  \"m\": 0.5\n}");
    free(wide);
    free(compact);
    json_decref(value);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("base");
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, status_names);
    tcase_add_test(errors, fail_fills_the_report);
    tcase_add_test(errors, fail_cl_names_the_code);
    tcase_add_test(errors, fail_prefix_keeps_the_rest);
    tcase_add_test(errors, messages_are_one_line_and_keep_both_ends);
    tcase_add_test(errors, fail_errno_gives_the_reason);
    suite_add_tcase(s, errors);
    TCase *rng = tcase_create("rng");
    tcase_set_timeout(rng, 60);
    tcase_add_test(rng, philox_known_answers);
    tcase_add_test(rng, every_argument_counts);
    tcase_add_test(rng, below_is_unbiased);
    tcase_add_test(rng, shuffle_is_a_permutation);
    tcase_add_test(rng, normal_and_uniform_moments);
    tcase_add_test(rng, clock_goes_forward);
    suite_add_tcase(s, rng);
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 60);
    tcase_add_test(files, paths_and_hash);
    tcase_add_test(files, directories);
    tcase_add_test(files, read_whole_files);
    tcase_add_test(files, read_from_a_pipe);
    tcase_add_test(files, atomic_commit_and_abort);
    tcase_add_test(files, atomic_names);
    tcase_add_test(files, atomic_refusals);
    tcase_add_test(files, atomic_write_that_fails_half_way);
    tcase_add_test(files, killed_writers_leave_the_old_file);
    tcase_add_test(files, threads_writing_one_file);
    suite_add_tcase(s, files);
    TCase *json = tcase_create("json");
    tcase_add_test(json, json_parse);
    tcase_add_test(json, json_numbers_come_back);
    suite_add_tcase(s, json);
    return s;
}
