/* What the program makes of an environment that is not as it should be: no place for caches, no
 * driver, a driver without a device. */
#include "cli_support.h"

static char *work, *spec, *data, *temporary;

static void set_up(void)
{
    work = test_directory();
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    data = cli_make_data(work, "data", 40, 20, 1, 12, 12, 4);
    temporary = cli_make_directory(work, "tmp");
    ck_assert_int_eq(chmod(temporary, 0777), 0);
}

static void tear_down(void)
{
    free(work);
}

static bool is_empty(const char *path)
{
    DIR *directory = opendir(path);
    size_t n = 0;
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n == 2; /* . and .. */
}

/* NAME=VALUE; of the last eight calls. */
static char *variable(const char *name, const char *value)
{
    static char texts[8][512];
    static size_t next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%s=%s", name, value);
    return text;
}

/* ---- caches --------------------------------------------------------------------------------- */

/* A file in the way of the directory: nobody, root included, can make a cache there. */
#define NOWHERE "/dev/null"

START_TEST(no_place_for_caches)
{
    static char *const places[][4] = {
        {"HOME=" NOWHERE, "XDG_CACHE_HOME", "CAPSCL_CACHE", "POCL_CACHE_DIR"},
        {"HOME=/tmp", "XDG_CACHE_HOME=" NOWHERE "/cache", "CAPSCL_CACHE", "POCL_CACHE_DIR"},
        {"HOME", "XDG_CACHE_HOME", "CAPSCL_CACHE", "POCL_CACHE_DIR=" NOWHERE}};
    char *environment[] = {places[_i][0], places[_i][1], places[_i][2], places[_i][3],
        variable("TMPDIR", temporary), NULL};
    char name[32];
    snprintf(name, sizeof name, "run-%d", _i);
    test_process p = cli_run_env(environment, "train", "--data", data, "--arch", spec, "--out",
        cli_path(work, name), "--batch", "20", "--max-steps", "2", (char *)NULL);
    cli_expect_ok(p);
    const char *note = strstr(p.err, "note: compiled kernels are kept in ");
    ck_assert_msg(note != NULL, "%s", p.err);
    ck_assert_msg(strncmp(note + 35, temporary, strlen(temporary)) == 0, "%s", p.err);
    ck_assert_msg(strstr(note, " to a directory of your own to keep them\n") != NULL, "%s", note);
    ck_assert_msg(strstr(note, "CAPSCL_CACHE") != NULL, "%s", note);
    ck_assert_ptr_null(strstr(note + 1, "note: compiled kernels"));
    ck_assert_ptr_null(strstr(p.err, "warning: "));
    test_process_release(&p);
    ck_assert_msg(is_empty(temporary), "%s is not empty", temporary);
}
END_TEST

/* Where there is a place nothing is said, and nothing made. */
START_TEST(a_place_for_caches)
{
    char *environment[] = {"HOME=" NOWHERE, variable("XDG_CACHE_HOME", cli_path(work, "cache")),
        "POCL_CACHE_DIR", variable("TMPDIR", temporary), NULL};
    test_process p = cli_run_env(environment, "devices", (char *)NULL);
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.err, "note: ") == NULL, "%s", p.err);
    test_process_release(&p);
    ck_assert(is_empty(temporary));
}
END_TEST

/* ---- drivers -------------------------------------------------------------------------------- */

static void expect_no_device(char *const environment[], const char *needle)
{
    cli_expect_error(cli_run_env((char **)(uintptr_t)environment, "devices", (char *)NULL), 4,
        needle, environment[0]);
    cli_expect_error(cli_run_env((char **)(uintptr_t)environment, "train", "--data", data, "--arch",
                         spec, "--out", cli_path(work, "never"), (char *)NULL),
        4, needle, environment[0]);
    ck_assert(!caps_path_exists(cli_path(work, "never")));
}

START_TEST(drivers_that_are_not_there)
{
    char *empty = cli_make_directory(work, "empty"), *broken = cli_make_directory(work, "broken");
    cli_write_text(broken, "lost.icd", "libnothing-of-this-name.so.7\n");
    expect_no_device((char *[]){variable("OCL_ICD_VENDORS", "/nowhere/at/all"), NULL},
        "no OpenCL driver: OCL_ICD_VENDORS is '/nowhere/at/all', where there is none (*.icd); "
        "unset it");
    expect_no_device((char *[]){variable("OCL_ICD_VENDORS", empty), NULL},
        "where there is none (*.icd); unset it");
    expect_no_device((char *[]){variable("OCL_ICD_VENDORS", broken), NULL},
        "driver lost.icd names the library libnothing-of-this-name.so.7, which cannot be loaded");
    expect_no_device((char *[]){variable("OCL_ICD_VENDORS", cli_path(broken, "lost.icd")), NULL},
        "driver lost.icd names the library libnothing-of-this-name.so.7, which cannot be loaded");
}
END_TEST

START_TEST(a_driver_without_a_device)
{
    char *vendors = cli_make_directory(work, "vendors");
    cli_write_text(vendors, "other.icd", "libm.so.6\n"); /* loads, and offers nothing */
    expect_no_device((char *[]){variable("OCL_ICD_VENDORS", vendors), NULL},
        "no OpenCL device: driver other.icd (libm.so.6) is installed but offers no device: is the "
        "hardware there, and may this user open it");
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli environment");
    TCase *tc = tcase_create("environment");
    tcase_set_timeout(tc, 300);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, no_place_for_caches, 0, 3);
    tcase_add_test(tc, a_place_for_caches);
    tcase_add_test(tc, drivers_that_are_not_there);
    tcase_add_test(tc, a_driver_without_a_device);
    suite_add_tcase(s, tc);
    return s;
}
