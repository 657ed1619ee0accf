/* test_program_cache.c: where compiled kernels are kept, what becomes of damaged files, two
 * processes at once, and kernel sources from a directory.
 *
 * Whether a runtime loaded a program or built it shows in the cache file: what is built is written
 * anew, under another inode, and what is loaded is left alone. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "device_support.h"
#include "file.h"
#include "launch.h"
#include "sources.h"

#define CHILD       "CAPSCL_TEST_CACHE_CHILD"
#define MAGIC_BYTES 16 /* of a cache file, see registry.c */

/* ---- the only program of a cache ------------------------------------------------------------ */

static char *only_file(const char *directory)
{
    char *path = NULL;
    size_t n = 0;
    DIR *d = opendir(directory);
    ck_assert_msg(d != NULL, "no directory %s", directory);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' && strspn(e->d_name, ".") == strlen(e->d_name))
            continue;
        if (strncmp(e->d_name, "objects-", 8) == 0) /* sums of what PoCL keeps */
            continue;
        n++;
        free(path);
        path = caps_path_join(directory, e->d_name);
    }
    closedir(d);
    ck_assert_msg(n == 1, "%zu files in the cache, not 1", n);
    return path;
}

static ino_t inode(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_ino;
}

/* Opens a runtime with this cache, runs an operation, and closes it. */
static void use_cache(const char *cache)
{
    caps_error err = {0};
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache};
    caps_runtime *rt = open_runtime(&options);
    test_ok(squash_runs(rt, &err));
    const char *warning = caps_runtime_take_warning(rt);
    ck_assert_msg(!warning, "%s", warning);
    caps_runtime_free(rt);
}

/* ---- small sources: builds are quick -------------------------------------------------------- */

/* A directory with every source file the library asks for: common.clh and the squash kernels as
 * they are (with `extra` after the latter), the others empty. */
static char *make_sources(const char *extra)
{
    caps_error err = {0};
    char *directory = test_directory();
    for (const caps_source *s = caps_sources; s->name; s++) {
        bool squash = strncmp(s->name, "squash", 6) == 0;
        bool whole = squash || strcmp(s->name, "common.clh") == 0;
        char *path = caps_path_join(directory, s->name);
        char *text = caps_format("%s%s", whole ? s->text : "", squash ? extra : "");
        test_ok(caps_file_write(path, text, strlen(text), &err));
        free(text);
        free(path);
    }
    return directory;
}

static char *small_sources;

static void sources_take(void)
{
    environment_take();
    small_sources = make_sources("");
    setenv("CAPSCL_CL_PATH", small_sources, 1);
}

static void sources_give_back(void)
{
    environment_give_back();
    free(small_sources);
}

/* ---- keeping and loading -------------------------------------------------------------------- */

START_TEST(the_second_start_loads)
{
    caps_error err = {0};
    char *root = test_directory();
    char *cache = caps_format("%s/made/on the way", root);
    use_cache(cache);
    char *file = only_file(cache);
    ino_t first = inode(file);
    use_cache(cache);
    ck_assert_msg(inode(file) == first, "the program was built again");
    /* The other family has a file of its own. */
    caps_runtime *rt = test_runtime();
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache,
        .kernels = caps_runtime_family(rt) == CAPS_FAMILY_CPU ? "gpu" : "cpu"};
    caps_runtime *other = open_runtime(&options);
    test_ok(squash_runs(other, &err));
    caps_runtime_free(other);
    ck_assert(inode(file) == first);
    free(file);
    free(cache);
    free(root);
}
END_TEST

START_TEST(other_sources_are_another_program)
{
    char *cache = test_directory(), *sources = make_sources("// a comment\n");
    use_cache(cache);
    char *file = only_file(cache);
    ino_t first = inode(file);
    setenv("CAPSCL_CL_PATH", sources, 1);
    use_cache(cache);
    ck_assert(inode(file) == first);
    ck_assert_int_eq(unlink(file), 0);
    free(file);
    file = only_file(cache); /* the second program's */
    free(file);
    free(sources);
    free(cache);
}
END_TEST

static uint64_t get64(const unsigned char *at)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | at[i];
    return x;
}

static void put64(unsigned char *at, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(x >> (8 * i));
}

/* Damages the good file `data` of n bytes in way `way`; the new length. false: no such way. */
static bool damage(int way, unsigned char *data, size_t *n)
{
    size_t key_bytes = (size_t)get64(data + MAGIC_BYTES);
    size_t sizes = MAGIC_BYTES + 8 + key_bytes, binary = sizes + 16;
    ck_assert_uint_lt(binary, *n);
    switch (way) {
    case 0: /* empty */
        *n = 0;
        return true;
    case 1: /* torn: a byte is missing */
        *n -= 1;
        return true;
    case 2: /* torn within the header */
        *n = MAGIC_BYTES + 4;
        return true;
    case 3: /* torn within the key */
        *n = MAGIC_BYTES + 8 + key_bytes / 2;
        return true;
    case 4: /* torn before the binary */
        *n = binary;
        return true;
    case 5: /* one bit of the binary */
        data[binary + (*n - binary) / 2] ^= 4;
        return true;
    case 6: /* another device's file under this name */
        data[MAGIC_BYTES + 8 + key_bytes / 2] ^= 1;
        return true;
    case 7: /* another version of the format */
        data[MAGIC_BYTES - 1]++;
        return true;
    case 8: /* a key length beyond the file */
        put64(data + MAGIC_BYTES, UINT64_MAX - 40);
        return true;
    case 9: /* a binary length beyond the file */
        put64(data + sizes, UINT64_MAX - 40);
        return true;
    case 10: /* noise of the same length */
        for (size_t i = 0; i < *n; i++)
            data[i] = (unsigned char)(i * 167 + 13);
        return true;
    case 11: /* all is well but for the binary, which the driver has to refuse */
        for (size_t i = binary; i < *n; i++)
            data[i] = (unsigned char)(i * 31 + 7);
        put64(data + sizes + 8, crc32_z(0, data + binary, *n - binary));
        return true;
    default:
        return false;
    }
}

START_TEST(damaged_files_are_written_anew)
{
    caps_error err = {0};
    char *cache = test_directory();
    unsigned char *good = NULL;
    size_t n = 0;
    use_cache(cache);
    char *file = only_file(cache);
    test_ok(caps_file_read(&good, &n, file, (size_t)1 << 30, &err));
    for (int way = 0;; way++) {
        unsigned char *bad = malloc(n);
        size_t bytes = n;
        ck_assert_ptr_nonnull(bad);
        memcpy(bad, good, n);
        if (!damage(way, bad, &bytes)) {
            free(bad);
            break;
        }
        test_ok(caps_file_write(file, bad, bytes, &err));
        free(bad);
        ino_t damaged = inode(file);
        use_cache(cache);
        ino_t mended = inode(file);
        ck_assert_msg(mended != damaged, "damage %d was taken for a program", way);
        use_cache(cache);
        ck_assert_msg(inode(file) == mended, "after damage %d the new file is not used", way);
    }
    free(good);
    free(file);
    free(cache);
}
END_TEST

/* A file where a directory should be, which not even root can write into. */
START_TEST(a_cache_that_cannot_be_written_is_a_warning)
{
    caps_error err = {0};
    char *root = test_directory();
    char *file = caps_path_join(root, "file"), *below = caps_path_join(file, "cache");
    test_ok(caps_file_write(file, "x", 1, &err));
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = below};
    caps_runtime *rt = open_runtime(&options);
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    test_ok(squash_runs(rt, &err));
    const char *warning = caps_runtime_take_warning(rt);
    ck_assert_ptr_nonnull(warning);
    ck_assert_msg(
        strncmp(warning, "kernels are not cached, every start will build them again: ", 59) == 0,
        "%s", warning);
    ck_assert_ptr_nonnull(strstr(warning, file));
    ck_assert_ptr_null(strchr(warning, '\n'));
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    test_ok(squash_runs(rt, &err));
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    caps_runtime_free(rt);
    free(file);
    free(below);
    free(root);
}
END_TEST

/* ---- whose cache it is ---------------------------------------------------------------------- */

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* A file that others could have written goes to no driver: it is built anew. */
START_TEST(only_files_of_this_user_are_loaded)
{
    char *root = test_directory(), *cache = caps_path_join(root, "cache");
    const mode_t before = umask(0);
    use_cache(cache);
    umask(before);
    char *file = only_file(cache), *aside = caps_path_join(root, "aside");
    ck_assert_uint_eq(mode_of(file), 0600);
    ck_assert_uint_eq(mode_of(cache), 0700);
    const mode_t modes[] = {0620, 0602, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const ino_t first = inode(file);
        ck_assert_int_eq(chmod(file, modes[i]), 0);
        use_cache(cache);
        ck_assert_msg(inode(file) != first, "a file of mode %o was loaded", modes[i]);
        ck_assert_uint_eq(mode_of(file), 0600);
    }
    ck_assert_int_eq(rename(file, aside), 0);
    ck_assert_int_eq(symlink(aside, file), 0);
    use_cache(cache);
    struct stat st;
    ck_assert_int_eq(lstat(file, &st), 0);
    ck_assert_msg(S_ISREG(st.st_mode), "a link was loaded");
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(mkfifo(file, 0600), 0); /* which must not wait for a writer */
    caps_error err = {0};
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache};
    caps_runtime *rt = open_runtime(&options);
    test_ok(squash_runs(rt, &err));
    const char *warning = caps_runtime_take_warning(rt);
    ck_assert_msg(warning && strstr(warning, "is a pipe or a device"), "%s", warning);
    caps_runtime_free(rt);
    ck_assert_int_eq(unlink(file), 0);
    use_cache(cache);
    if (geteuid() == 0) { /* only root can give a file away */
        const ino_t first = inode(file);
        ck_assert_int_eq(chown(file, 12345, 12345), 0);
        use_cache(cache);
        ck_assert_msg(inode(file) != first, "a file of another user was loaded");
    }
    free(aside);
    free(file);
    free(cache);
    free(root);
}
END_TEST

START_TEST(a_directory_of_others_is_not_used)
{
    static const struct {
        mode_t mode;
        uid_t owner;
        const char *why;
    } rows[] = {{0777, 0, "everybody may write to it"}, {01777, 0, NULL}, {0775, 0, NULL},
        {0755, 12345, "it belongs to another user"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        caps_error err = {0};
        char *cache = test_directory();
        ck_assert_int_eq(chmod(cache, rows[i].mode), 0);
        if (rows[i].owner && chown(cache, rows[i].owner, rows[i].owner) != 0) {
            free(cache); /* only root can */
            continue;
        }
        caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache};
        caps_runtime *rt = open_runtime(&options);
        test_ok(squash_runs(rt, &err));
        const char *warning = caps_runtime_take_warning(rt);
        if (rows[i].why)
            ck_assert_msg(warning && strstr(warning, rows[i].why) && strstr(warning, cache) &&
                              strstr(warning, "CAPSCL_CACHE"),
                "mode %o: %s", rows[i].mode, warning ? warning : "no warning");
        else
            ck_assert_msg(!warning, "mode %o: %s", rows[i].mode, warning);
        caps_runtime_free(rt);
        if (rows[i].why)
            ck_assert_int_eq(rmdir(cache), 0); /* nothing was written there */
        free(cache);
    }
}
END_TEST

/* ---- where the cache is --------------------------------------------------------------------- */

START_TEST(the_place_is_chosen)
{
    char *option = test_directory(), *own = test_directory(), *xdg = test_directory();
    char *home = test_directory();
    char *below_xdg = caps_path_join(xdg, "capscl");
    char *below_home = caps_path_join(home, ".cache/capscl");
    setenv("HOME", home, 1);
    use_cache(NULL);
    free(only_file(below_home));
    setenv("XDG_CACHE_HOME", xdg, 1);
    use_cache(NULL);
    free(only_file(below_xdg));
    setenv("CAPSCL_CACHE", own, 1);
    use_cache("");
    free(only_file(own));
    use_cache(option);
    free(only_file(option));
    /* No home at all: nothing is kept, and that is no fault. */
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("CAPSCL_CACHE");
    use_cache(NULL);
    free(option);
    free(own);
    free(xdg);
    free(home);
    free(below_xdg);
    free(below_home);
}
END_TEST

/* ---- two processes -------------------------------------------------------------------------- */

/* This program again, with only the test below: see the_child_builds. The ends of the pipes that it
 * uses are in its environment. */
static pid_t start_child(int ready, int go, const char *cache)
{
    char ends[64];
    char *argv[] = {(char[]){"/proc/self/exe"}, NULL};
    snprintf(ends, sizeof ends, "%d %d", ready, go);
    setenv(CHILD, ends, 1);
    setenv("CAPSCL_CACHE", cache, 1);
    setenv("CAPSCL_DEVICE", caps_runtime_device(test_runtime())->id, 1);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0);
    unsetenv(CHILD);
    unsetenv("CAPSCL_CACHE");
    unsetenv("CAPSCL_DEVICE");
    return pid;
}

/* Both have opened the device before either may build. */
START_TEST(two_processes_share_a_cold_cache)
{
    enum { CHILDREN = 2 };
    char *cache = test_directory();
    int ready[2], go[2];
    pid_t pids[CHILDREN];
    char byte;
    unsetenv("CAPSCL_CL_PATH"); /* the whole program: long enough for the builds to overlap */
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(go), 0);
    fcntl(ready[0], F_SETFD, FD_CLOEXEC);
    fcntl(go[1], F_SETFD, FD_CLOEXEC);
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = start_child(ready[1], go[0], cache);
    close(ready[1]);
    for (int i = 0; i < CHILDREN; i++)
        ck_assert_msg(read(ready[0], &byte, 1) == 1, "a child ended early");
    ck_assert_int_eq(write(go[1], "go", CHILDREN), CHILDREN);
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_msg(
            WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: status %d", i, status);
    }
    close(ready[0]);
    close(go[0]);
    close(go[1]);
    char *file = only_file(cache);
    ino_t kept = inode(file);
    use_cache(cache);
    ck_assert_msg(inode(file) == kept, "what they left is not a good file");
    free(file);
    free(cache);
}
END_TEST

/* Only in a child. */
START_TEST(the_child_builds)
{
    caps_error err = {0};
    int ready = -1, go = -1;
    char byte;
    ck_assert_int_eq(sscanf(getenv(CHILD), "%d %d", &ready, &go), 2);
    caps_runtime *rt = test_runtime();
    ck_assert_int_eq(write(ready, "r", 1), 1);
    close(ready);
    ck_assert_int_eq(read(go, &byte, 1), 1);
    test_ok(squash_runs(rt, &err));
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
}
END_TEST

/* ---- sources from a directory --------------------------------------------------------------- */

START_TEST(sources_come_from_the_directory)
{
    caps_error err = {0};
    char *cache = test_directory(), *option = make_sources("");
    char *marked = make_sources("__kernel void marker(__global float *to, const ulong offset)\n"
                                "{ to[offset + get_global_id(0)] = 42.0f; }\n");
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache};
    const size_t n = 3, one = 1;
    float values[3] = {0, 0, 0};
    caps_tensor t = {0};
    setenv("CAPSCL_CL_PATH", marked, 1);
    caps_runtime *rt = open_runtime(&options);
    test_ok(caps_tensor_init(&t, rt, CAPS_F32, 1, &n, &err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(&t)};
    test_ok(caps_launch(rt, "marker", CAPS_ARGS(args), 1, &n, &one, &err));
    test_ok(caps_tensor_download(rt, &t, values, &err));
    for (size_t i = 0; i < n; i++)
        ck_assert(values[i] == 42.0f);
    caps_tensor_release(&t);
    caps_runtime_free(rt);
    /* The option goes before the variable. */
    options.cl_path = option;
    rt = open_runtime(&options);
    test_ok(caps_tensor_init(&t, rt, CAPS_F32, 1, &n, &err));
    ck_assert_int_eq(
        caps_launch(rt, "marker", CAPS_ARGS(args), 1, &n, &one, &err), CAPS_ERR_OPENCL);
    caps_tensor_release(&t);
    caps_runtime_free(rt);
    free(cache);
    free(option);
    free(marked);
}
END_TEST

START_TEST(a_broken_source_gives_the_build_log)
{
    caps_error err = {0};
    char *cache = test_directory(), *broken = make_sources("\nno_such_type wrong;\n");
    for (int f = 0; f < 2; f++) {
        caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache,
            .cl_path = broken, .kernels = f ? "gpu" : "cpu"};
        caps_runtime *rt = open_runtime(&options);
        char *start = caps_format("kernels of family %s do not build: ", options.kernels);
        ck_assert_int_eq(squash_runs(rt, &err), CAPS_ERR_BUILD);
        ck_assert_msg(strncmp(err.message, start, strlen(start)) == 0, "%s", err.message);
        ck_assert_msg(strstr(err.message, "no_such_type") != NULL, "%s", err.message);
        ck_assert_ptr_null(strchr(err.message, '\n'));
        ck_assert_msg(strstr(err.build_log, "no_such_type") != NULL, "log: %s", err.build_log);
        ck_assert_int_ne(err.cl_code, CL_SUCCESS);
        /* Not only the first time, and without a report too. */
        ck_assert_int_eq(squash_runs(rt, NULL), CAPS_ERR_BUILD);
        caps_runtime_free(rt);
        free(start);
    }
    DIR *d = opendir(cache);
    int entries = 0;
    while (readdir(d))
        entries++;
    closedir(d);
    ck_assert_msg(entries == 2, "something was kept");
    free(cache);
    free(broken);
}
END_TEST

START_TEST(a_missing_source_is_named)
{
    caps_error err = {0};
    char *sources = make_sources(""), *path = caps_path_join(sources, "common.clh");
    caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .cl_path = sources, .cache_dir = sources};
    ck_assert_int_eq(unlink(path), 0);
    caps_runtime *rt = open_runtime(&options);
    ck_assert_int_eq(squash_runs(rt, &err), CAPS_ERR_NOT_FOUND);
    ck_assert_msg(
        strncmp(err.message, "kernel sources (CAPSCL_CL_PATH): ", 33) == 0, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    caps_runtime_free(rt);
    free(path);
    free(sources);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("program cache");
    TCase *tc = tcase_create("cache");
    tcase_set_timeout(tc, 0);
    suite_add_tcase(s, tc);
    if (getenv(CHILD)) {
        tcase_add_test(tc, the_child_builds);
        return s;
    }
    tcase_add_checked_fixture(tc, sources_take, sources_give_back);
    tcase_add_test(tc, the_second_start_loads);
    tcase_add_test(tc, other_sources_are_another_program);
    tcase_add_test(tc, damaged_files_are_written_anew);
    tcase_add_test(tc, a_cache_that_cannot_be_written_is_a_warning);
    tcase_add_test(tc, only_files_of_this_user_are_loaded);
    tcase_add_test(tc, a_directory_of_others_is_not_used);
    tcase_add_test(tc, the_place_is_chosen);
    tcase_add_test(tc, two_processes_share_a_cold_cache);
    tcase_add_test(tc, sources_come_from_the_directory);
    tcase_add_test(tc, a_broken_source_gives_the_build_log);
    tcase_add_test(tc, a_missing_source_is_named);
    return s;
}
