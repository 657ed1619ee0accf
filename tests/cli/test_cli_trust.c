/* What a driver that computes wrongly, ends the process, crashes or hangs costs: one line, and the
 * next choice. The driver is tests/drivers/driver_faulty.c. */
#include "cli_support.h"

#include "drivers.h"

static char *work;

/* The environment of a run: its own cache, checks on, and a driver (NULL: those of the system). */
enum { MOST = 10 };
typedef struct place {
    char *environment[MOST + 1];
    size_t n;
} place;

CAPS_PRINTF(2, 3) static void place_add(place *p, const char *format, ...)
{
    static char texts[256][1200]; /* they live as long as the program */
    static size_t count;
    va_list arguments;
    ck_assert(count < 256 && p->n < MOST);
    va_start(arguments, format);
    vsnprintf(texts[count], sizeof texts[0], format, arguments);
    va_end(arguments);
    p->environment[p->n++] = texts[count++];
}

static place place_new(void)
{
    place p = {.n = 0};
    static int count;
    char name[32];
    snprintf(name, sizeof name, "cache%d", count++);
    place_add(&p, "CAPSCL_CACHE=%s", cli_path(work, name));
    place_add(&p, "CAPSCL_TRUST=on");
    return p;
}

/* PoCL's library, or NULL where it is not there. */
static const char *find_pocl(void)
{
    static caps_driver drivers[CAPS_MOST_DRIVERS];
    const size_t n = caps_drivers_list(drivers, CAPS_MOST_DRIVERS);
    for (size_t i = 0; i < n; i++)
        if (strstr(drivers[i].library, "pocl"))
            return drivers[i].library;
    return NULL;
}

/* A directory of registrations: the faulty driver and, where `both`, PoCL itself. */
static const char *vendors_of(bool both)
{
    static char *made[2];
    if (!made[both]) {
        char line[1100];
        made[both] = cli_make_directory(work, both ? "both" : "one");
        cli_write_text(
            made[both], "faulty.icd", TEST_BINARY_DIR "/tests/drivers/driver_faulty.so\n");
        snprintf(line, sizeof line, "%s\n", find_pocl());
        if (both)
            cli_write_text(made[both], "pocl.icd", line);
    }
    return made[both];
}

static place place_faulty(const char *how, const char *at, bool both)
{
    place p = place_new();
    place_add(&p, "OCL_ICD_VENDORS=%s", vendors_of(both));
    place_add(&p, "CAPSCL_TEST_POCL=%s", find_pocl());
    place_add(&p, "CAPSCL_TEST_FAULT=%s", how);
    place_add(&p, "CAPSCL_TEST_FAULT_AT=%s", at);
    if (strcmp(how, "hang") == 0)
        place_add(&p, "CAPSCL_TRUST_SECONDS=%d", 5);
    return p;
}

static void expect_text(const char *text, const char *needle)
{
    ck_assert_msg(strstr(text, needle) != NULL, "no '%s' in: %s", needle, text);
}

static size_t lines_with(const char *text, const char *needle)
{
    size_t n = 0;
    while ((text = strstr(text, needle)) != NULL) {
        n++;
        text += strlen(needle);
    }
    return n;
}

/* ---- wrong results -------------------------------------------------------------------------- */

/* A directory of kernels in which `from` (for sed) of a file is `to`. */
static char *kernels_with(const char *name, const char *file, const char *from, const char *to)
{
    char *kernels = cli_make_directory(work, name), command[2048];
    snprintf(command, sizeof command, "cp '%s'/cl/*.cl* '%s' && sed -i 's/%s/%s/' '%s/%s'",
        TEST_SOURCE_DIR, kernels, from, to, kernels, file);
    ck_assert_int_eq(system(command), 0);
    return kernels;
}

START_TEST(a_wrong_algorithm_is_replaced)
{
    static const struct {
        const char *family, *file, *from, *to, *variant, *request, *next;
    } rows[] = {
        {"cpu", "gemm_packed_cpu.cl", "x = fma(job->beta, \\*to, x);",
            "x = fma(job->beta, *to, x) * 1.01f;", "gemm packed", "CAPSCL_GEMM=packed",
            "by direct"},
        {"gpu", "gemm_tiled_gpu.clt", "x = fma(beta, \\*c, x);", "x = fma(beta, *c, x) * 1.01f;",
            "tile 64x2 vectors", "CAPSCL_GEMM=tiled", "by direct"},
    };
    char name[32], refused[100];
    snprintf(name, sizeof name, "wrong%d", _i);
    place p = place_new();
    place_add(&p, "CAPSCL_KERNELS=%s", rows[_i].family);
    place_add(
        &p, "CAPSCL_CL_PATH=%s", kernels_with(name, rows[_i].file, rows[_i].from, rows[_i].to));
    test_process r = cli_run_env(p.environment, "selftest", "gemm", "linear", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    snprintf(refused, sizeof refused, "refused: %s: its results are wrong", rows[_i].variant);
    expect_text(r.out, refused);
    expect_text(r.out, rows[_i].next);
    expect_text(r.err, " is set aside: its results are wrong on this device, by 0.01");
    expect_text(r.err, "are checked once");
    ck_assert_uint_eq(lines_with(r.err, "warning: "), 1);
    test_process_release(&r);

    /* The verdict is kept: nothing is said again, and the numbers are there. */
    r = cli_run_env(p.environment, "selftest", "sgd", "--verbose", (char *)NULL);
    ck_assert_int_eq(r.exit_code, 0);
    ck_assert_uint_eq(lines_with(r.err, "checked once") + lines_with(r.err, "warning: "), 0);
    expect_text(r.err, "refused: its results are wrong");
    expect_text(r.err, "variant conv im2col: error ");
    test_process_release(&r);

    r = cli_run_env(p.environment, "selftest", "sgd", "--json", "--quiet", (char *)NULL);
    json_t *all = cli_json(&r);
    bool found = false;
    for (size_t i = 0; i < json_array_size(all); i++)
        found = found || json_object_get(json_array_get(all, i), "refused");
    ck_assert(found);
    json_decref(all);
    test_process_release(&r);

    if (_i == 0) {
        place_add(&p, "%s", rows[_i].request);
        cli_expect_error(
            cli_run_env(p.environment, "bench", "gemm", "--time", "0.01", (char *)NULL), 4,
            "packed cannot take", "a request of it");
    }
}
END_TEST

START_TEST(a_wrong_family_is_replaced)
{
    place p = place_new();
    place_add(&p, "CAPSCL_DEVICE=cpu");
    place_add(&p, "CAPSCL_CL_PATH=%s",
        kernels_with("family", "optimizer_cpu.cl", "(float16)(-learning_rate)",
            "(float16)(-1.5f * learning_rate)"));
    test_process r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    expect_text(r.err, "kernels gpu");
    expect_text(r.err, "family cpu is set aside: its results are wrong on this device");
    test_process_release(&r);
    place_add(&p, "CAPSCL_KERNELS=cpu");
    cli_expect_error(cli_run_env(p.environment, "selftest", "sgd", (char *)NULL), 4,
        "the cpu kernels are refused: its results are wrong", "a request of it");
}
END_TEST

/* ---- what is checked when ------------------------------------------------------------------- */

static size_t kept_variants(const char *cache)
{
    char command[1200];
    snprintf(command, sizeof command, "cat '%s'/trust-*.json | grep -c '\"variant\"'", cache);
    FILE *f = popen(command, "r");
    size_t n = 0;
    ck_assert(f && fscanf(f, "%zu", &n) == 1);
    pclose(f);
    return n;
}

/* An algorithm that is not the usual one: it is checked when it is requested, and refused then. */
START_TEST(others_are_checked_when_they_are_chosen)
{
    place p = place_new();
    const char *cache = strchr(p.environment[0], '=') + 1;
    place_add(&p, "CAPSCL_KERNELS=cpu");
    place_add(&p, "CAPSCL_CL_PATH=%s",
        kernels_with(
            "other", "gemm_direct_cpu.cl", "x = alpha \\* fin", "x = 1.01f * alpha * fin"));
    test_process r =
        cli_run_env(p.environment, "bench", "gemm", "--time", "0.01", "--json", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    test_process_release(&r);
    const size_t few = kept_variants(cache);
    ck_assert_uint_lt(few, 8);
    place_add(&p, "CAPSCL_GEMM=direct");
    for (int run = 0; run < 2; run++) /* as found, and as kept */
        cli_expect_error(
            cli_run_env(p.environment, "bench", "gemm", "--time", "0.01", (char *)NULL), 4,
            "direct cannot take", "a request of it");
    ck_assert_uint_eq(kept_variants(cache), few + 1);
    p.n--;
    r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    expect_text(r.out, "refused: gemm direct: its results are wrong");
    test_process_release(&r);
    ck_assert_uint_ge(kept_variants(cache), 9);
}
END_TEST

/* ---- drivers -------------------------------------------------------------------------------- */

static const struct {
    const char *how, *message;
} faults[] = {
    {"exit",
        "the driver ended the process (exit code 1), saying: LLVM ERROR: Cannot select: intrinsic"},
    {"crash", "the driver crashed (Aborted)"},
    {"hang", "the driver did not answer in time"},
};

START_TEST(a_driver_that_fails_at_a_family)
{
    place p = place_faulty(faults[_i].how, "CAPS_FAMILY_CPU", false);
    char line[300];
    for (int run = 0; run < 2; run++) {
        test_process r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
        ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
        expect_text(r.err, "kernels gpu");
        snprintf(line, sizeof line, "family cpu is set aside: %s", faults[_i].message);
        if (run == 0)
            expect_text(r.err, line);
        ck_assert_uint_eq(lines_with(r.err, "warning: "), run == 0);
        test_process_release(&r);
    }
}
END_TEST

START_TEST(a_driver_that_fails_at_an_algorithm)
{
    place p = place_faulty(faults[_i].how, "TOOM_COOK_", false);
    char line[300];
    test_process r = cli_run_env(p.environment, "selftest", "conv", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    expect_text(r.err, "kernels cpu");
    snprintf(line, sizeof line, "refused: conv toom-cook: %s", faults[_i].message);
    expect_text(r.out, line);
    expect_text(r.out, "conv           by ");
    ck_assert_ptr_null(strstr(r.out, "by toom-cook"));
    test_process_release(&r);
}
END_TEST

START_TEST(a_driver_that_fails_when_it_is_loaded)
{
    place p = place_faulty(faults[_i].how, "load", _i != 2);
    test_process r;
    for (int run = 0; run < 2; run++) {
        r = cli_run_env(p.environment, "devices", (char *)NULL);
        char line[300];
        snprintf(line, sizeof line, "is passed over: %s", faults[_i].message);
        expect_text(r.err, line);
        ck_assert_int_eq(r.exit_code, _i == 2 ? 4 : 0);
        if (_i != 2)
            expect_text(r.out, "* 0:0");
        test_process_release(&r);
    }
    if (_i == 2)
        return;
    r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    test_process_release(&r);
}
END_TEST

START_TEST(nothing_is_left)
{
    place p = place_faulty("exit", "-cl-std", false);
    for (int run = 0; run < 2; run++)
        cli_expect_error(cli_run_env(p.environment, "selftest", "sgd", (char *)NULL), 4,
            "cannot be trusted: cpu kernels: the driver ended the process", "no family");
}
END_TEST

/* PoCL's two devices have names of their own. */
START_TEST(the_next_device_takes_the_place)
{
    place p = place_faulty("exit", "-cl-std", false);
    place_add(&p, "POCL_DEVICES=basic pthread");
    place_add(&p, "CAPSCL_TEST_FAULT_DEVICE=basic");
    test_process r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
    if (r.exit_code == 4 && strstr(r.err, "offers no device")) { /* this PoCL has but one of them */
        test_process_release(&r);
        return;
    }
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    expect_text(r.out, "pthread");
    test_process_release(&r);
    cli_expect_error(cli_run_env(p.environment, "selftest", "sgd", "--device", "0:0", (char *)NULL),
        4, "cannot be trusted", "a request of it");
}
END_TEST

/* A kernel that takes smaller groups than the device: all of its family's program do then. */
START_TEST(groups_are_as_small_as_a_kernel_needs)
{
    place p = place_faulty("no", "nowhere", false);
    place_add(&p, "CAPSCL_KERNELS=gpu");
    place_add(&p, "CAPSCL_TEST_GROUPS=%d", 16);
    place_add(&p, "CAPSCL_TEST_GROUPS_OF=squash_forward");
    for (int run = 0; run < 2; run++) { /* as found, and as kept */
        test_process r = cli_run_env(p.environment, "selftest", (char *)NULL);
        ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
        ck_assert_uint_eq(lines_with(r.err, "warning: "), 0);
        test_process_release(&r);
    }
    /* Without that it could not be launched. */
    p.environment[1] = (char *)"CAPSCL_TRUST=off";
    cli_expect_error(cli_run_env(p.environment, "selftest", "squash", (char *)NULL), 4,
        "kernel squash_forward: groups of 128 items, need <= 16", "larger groups");
}
END_TEST

/* ---- damaged objects ------------------------------------------------------------------------ */

/* What may happen to a file "$1" of PoCL's own cache, as a shell has it. */
static const struct {
    const char *name, *files, *command;
} damages[] = {
    {"an empty object", "sgd_step.so", ": > \"$1\""},
    {"half of each object", "*.so", "truncate -s $(($(stat -c %s \"$1\") / 2)) \"$1\""},
    {"an object without its end", "sgd_step.so", "truncate -s -300 \"$1\""},
    {"other bytes", "sgd_step.so", "n=$(stat -c %s \"$1\"); yes damaged | head -c $n > \"$1\""},
    {"other bytes within", "sgd_step.so",
        "yes damaged | dd of=\"$1\" bs=1000 seek=4 count=4 conv=notrunc 2> /dev/null"},
    {"no bitcode", "program.bc", ": > \"$1\""},
    {"half of the bitcode", "program.bc", "truncate -s $(($(stat -c %s \"$1\") / 2)) \"$1\""},
    {"other bytes within the bitcode", "program.bc",
        "yes damaged | dd of=\"$1\" bs=1000 seek=50 count=50 conv=notrunc 2> /dev/null"},
};

static void damage(const char *directory, size_t how)
{
    char command[1500];
    snprintf(command, sizeof command,
        "cd '%s' && test -n \"$(find . -name '%s')\" && find . -name '%s' -exec sh -c '%s' sh {} "
        "\\;",
        directory, damages[how].files, damages[how].files, damages[how].command);
    ck_assert_int_eq(system(command), 0);
}

static place place_of_pocl(const char *cache)
{
    place p = place_new();
    place_add(&p, "OCL_ICD_VENDORS=%s", find_pocl());
    place_add(&p, "POCL_CACHE_DIR=%s", cache);
    place_add(&p, "CAPSCL_KERNELS=cpu");
    return p;
}

START_TEST(a_damaged_object_is_compiled_again)
{
    const char *cache = cli_make_directory(work, "kept");
    place p = place_of_pocl(cache);
    test_process r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    test_process_release(&r);
    const size_t step = getenv("CAPSCL_TEST_LONG") ? 1 : 3;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i += step) {
        damage(cache, i);
        for (int run = 0; run < 2; run++) {
            r = cli_run_env(p.environment, "selftest", "sgd", (char *)NULL);
            ck_assert_msg(r.exit_code == 0, "%s: %s%s", damages[i].name, r.out, r.err);
            expect_text(r.out, "2 of 2 passed");
            ck_assert_msg(
                lines_with(r.err, "warning: damaged in the driver's cache: ") == (run == 0),
                "%s: %s", damages[i].name, r.err);
            ck_assert_uint_eq(lines_with(r.err, "\n"), run == 0 ? 2 : 1);
            test_process_release(&r);
        }
    }
}
END_TEST

/* Neither sums nor verdicts: the check meets the damage, and no variant is refused for it. */
START_TEST(a_damaged_object_refuses_nothing)
{
    const char *cache = cli_make_directory(work, "found");
    place p = place_of_pocl(cache);
    test_process r = cli_run_env(p.environment, "selftest", (char *)NULL);
    ck_assert_msg(r.exit_code == 0, "%s%s", r.out, r.err);
    test_process_release(&r);
    for (size_t i = 0; i < 7; i += i == 1 ? 4 : 1) { /* 0, 1, 5, 6 */
        damage(cache, i);
        p = place_of_pocl(cache);
        r = cli_run_env(p.environment, "selftest", "sgd", "conv", (char *)NULL);
        ck_assert_msg(r.exit_code == 0, "%s: %s%s", damages[i].name, r.out, r.err);
        ck_assert_msg(lines_with(r.err, "warning: ") + lines_with(r.out, "refused") == 0,
            "%s: %s%s", damages[i].name, r.out, r.err);
        test_process_release(&r);
    }
}
END_TEST

static void set_up(void)
{
    work = test_directory();
}

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli_trust");
    TCase *t = tcase_create("trust");
    tcase_add_unchecked_fixture(t, set_up, NULL);
    tcase_set_timeout(t, 900);
    /* A family is checked anew each time, which takes a minute: of those a sample has one. */
    const bool all = !getenv("CAPSCL_TEST_SAMPLE");
    tcase_add_loop_test(t, a_wrong_algorithm_is_replaced, 0, all ? 2 : 1);
    tcase_add_test(t, a_wrong_family_is_replaced);
    tcase_add_test(t, others_are_checked_when_they_are_chosen);
    if (find_pocl()) {
        for (int i = 0; i < (int)(sizeof faults / sizeof faults[0]); i++) {
            if (all || i == 0)
                tcase_add_loop_test(t, a_driver_that_fails_at_a_family, i, i + 1);
            if (test_takes((size_t)i + 1))
                tcase_add_loop_test(t, a_driver_that_fails_at_an_algorithm, i, i + 1);
            tcase_add_loop_test(t, a_driver_that_fails_when_it_is_loaded, i, i + 1);
        }
        tcase_add_test(t, nothing_is_left);
        tcase_add_test(t, groups_are_as_small_as_a_kernel_needs);
        tcase_add_test(t, a_damaged_object_is_compiled_again);
        if (getenv("CAPSCL_TEST_LONG")) /* a whole selftest from an empty cache */
            tcase_add_test(t, a_damaged_object_refuses_nothing);
        tcase_add_test(t, the_next_device_takes_the_place);
    }
    suite_add_tcase(s, t);
    return s;
}
