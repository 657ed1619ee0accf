/* test_file.c: paths and strings, whole reads, writes that are whole or not there at all. */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"

/* ---- strings, hash, directories ------------------------------------------------------------- */

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
    static const char *const words[][2] = {{"run/a-1.model", "run/a-1.model"}, {"", "''"},
        {"my run", "'my run'"}, {"it's", "'it'\\''s'"}, {"$HOME", "'$HOME'"}, {"'", "''\\'''"},
        {"~", "'~'"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char *quoted = caps_shell_quoted(words[i][0]);
        ck_assert_str_eq(quoted, words[i][1]);
        free(quoted);
    }
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

/* ---- reading -------------------------------------------------------------------------------- */

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
    /* One whose size is told as 0. */
    test_ok(caps_file_read(&data, &n, "/proc/self/status", 300000, &err));
    ck_assert_uint_gt(n, 100);
    free(data);
    free(path);
    free(root);
}
END_TEST

/* A pipe of a shell's process substitution: its writer is there, and may be slow. */
START_TEST(read_from_a_pipe)
{
    caps_error err = {0};
    char path[32];
    const size_t total = 200001; /* more than a pipe holds and than the first buffer */
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        char block[3] = "abc";
        close(ends[0]);
        usleep(50000);
        for (size_t i = 0; i < total; i += 3)
            if (write(ends[1], block, 3) != 3)
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
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
    close(ends[0]);
}
END_TEST

/* At once, also where nobody writes to the pipe. */
START_TEST(read_from_no_file)
{
    caps_error err = {0};
    unsigned char *data;
    size_t n;
    int fd;
    char *root = test_directory(), *path = caps_path_join(root, "pipe");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(caps_file_read(&data, &n, path, SIZE_MAX, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "pipe: is a pipe that nobody writes to"));
    ck_assert_ptr_null(data);
    ck_assert_int_eq(caps_file_open(&fd, path, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "pipe: is a pipe or a device, need a regular file"));
    ck_assert_int_eq(caps_file_read(&data, &n, "/dev/zero", 300000, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "/dev/zero: is a pipe or a device"));
    free(path);
    free(root);
}
END_TEST

/* ---- atomic writing ------------------------------------------------------------------------- */

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

/* An output is checked before long work; nothing is left behind, and what is there stays. */
static void make_link(const char *target, const char *path)
{
    unlink(path);
    ck_assert_int_eq(symlink(target, path), 0);
}

/* What a program writes in a directory of its own goes nowhere else. */
START_TEST(own_files_are_not_written_through_links)
{
    caps_error err = {0};
    struct stat st;
    char *root = test_directory(), *own = caps_path_join(root, "own");
    char *victim = caps_path_join(root, "victim"), *missing = caps_path_join(root, "missing");
    put(victim, "precious");
    ck_assert_int_eq(chmod(victim, 0400), 0);
    const char *const targets[] = {victim, missing, "/dev/null", root, own};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        make_link(targets[i], own);
        test_ok(caps_file_write_own(own, "new", 3, &err));
        ck_assert_int_eq(lstat(own, &st), 0);
        ck_assert_msg(S_ISREG(st.st_mode), "target %zu", i);
        expect_content(own, "new");
        expect_content(victim, "precious");
        ck_assert(!caps_path_exists(missing));
    }
    ck_assert_int_eq(unlink(own), 0);
    ck_assert_int_eq(mkfifo(own, 0600), 0);
    char *message = caps_format("%s: is a pipe or a device, need a regular file", own);
    unsigned char *data;
    size_t n;
    ck_assert_int_eq(caps_file_write_own(own, "x", 1, &err), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, message);
    ck_assert_int_eq(caps_file_check_own(own, CAPS_ERR_FORMAT, &err), CAPS_ERR_FORMAT);
    ck_assert_str_eq(err.message, message);
    const int writer = open(own, O_RDWR | O_NONBLOCK); /* one that says nothing */
    ck_assert_int_eq(caps_file_read_own(&data, &n, own, 100, &err), CAPS_ERR_FORMAT);
    ck_assert_str_eq(err.message, message);
    close(writer);
    free(message);
    free(missing);
    free(victim);
    free(own);
    free(root);
}
END_TEST

START_TEST(outputs_are_checked)
{
    caps_error err = {0};
    char *dir = test_directory(), *path = caps_path_join(dir, "out"),
         *below = caps_path_join(path, "x");
    test_ok(caps_file_check_output(path, &err));
    ck_assert(!caps_path_exists(path));
    test_ok(caps_file_write(path, "old", 3, &err));
    test_ok(caps_file_check_output(path, &err));
    unsigned char *data;
    size_t n;
    test_ok(caps_file_read(&data, &n, path, 100, &err));
    ck_assert_uint_eq(n, 3);
    free(data);
    ck_assert_int_eq(caps_file_check_output(dir, &err), CAPS_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "is a directory"));
    ck_assert_int_eq(caps_file_check_output(below, &err), CAPS_ERR_IO);
    free(below);
    free(path);
    free(dir);
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

/* Only what the system calls missing is nothing; what it cannot look at is an error. */
START_TEST(looks_at_paths)
{
    caps_error err = {0};
    caps_path_kind kind;
    char *dir = test_directory(), *file = caps_path_join(dir, "file");
    char *below = caps_path_join(file, "x"), *loop = caps_path_join(dir, "loop");
    char *nothing = caps_path_join(dir, "nothing"), *dangling = caps_path_join(dir, "dangling");
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    char *longest = caps_path_join(dir, name);
    test_ok(caps_file_write(file, "x", 1, &err));
    ck_assert_int_eq(symlink("loop", loop), 0);
    ck_assert_int_eq(symlink("nothing", dangling), 0);
    const struct {
        const char *path;
        caps_path_kind kind;
    } found[] = {{dir, CAPS_PATH_DIRECTORY}, {file, CAPS_PATH_FILE}, {nothing, CAPS_PATH_NOTHING},
        {dangling, CAPS_PATH_NOTHING}, {"/dev/null", CAPS_PATH_FILE}};
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        test_ok(caps_path_look(&kind, found[i].path, CAPS_ERR_IO, &err));
        ck_assert_int_eq(kind, found[i].kind);
    }
    const struct {
        const char *path, *why;
    } refused[] = {{below, ": cannot look there: Not a directory"},
        {loop, ": cannot look there: Too many levels of symbolic links"},
        {longest, ": cannot look there: File name too long"}};
    static const caps_status statuses[] = {CAPS_ERR_NOT_FOUND, CAPS_ERR_IO};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        for (size_t k = 0; k < 2; k++) {
            ck_assert_int_eq(
                caps_path_look(&kind, refused[i].path, statuses[k], &err), statuses[k]);
            ck_assert_ptr_nonnull(strstr(err.message, refused[i].why));
        }
    free(longest);
    free(dangling);
    free(nothing);
    free(loop);
    free(below);
    free(file);
    free(dir);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("file");
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 60);
    tcase_add_test(files, paths_and_hash);
    tcase_add_test(files, looks_at_paths);
    tcase_add_test(files, directories);
    tcase_add_test(files, read_whole_files);
    tcase_add_test(files, read_from_a_pipe);
    tcase_add_test(files, read_from_no_file);
    tcase_add_test(files, atomic_commit_and_abort);
    tcase_add_test(files, atomic_names);
    tcase_add_test(files, atomic_refusals);
    tcase_add_test(files, outputs_are_checked);
    tcase_add_test(files, own_files_are_not_written_through_links);
    tcase_add_test(files, atomic_write_that_fails_half_way);
    tcase_add_test(files, killed_writers_leave_the_old_file);
    tcase_add_test(files, threads_writing_one_file);
    suite_add_tcase(s, files);
    return s;
}
