/* `devices --verbose` and `--report`, and devices that cannot be used. */
#include "cli_support.h"

static caps_device_info *list;
static size_t count;

static void set_up(void)
{
    caps_error err = {0};
    test_ok(caps_device_list(&list, &count, &err));
}

static void tear_down(void)
{
    caps_device_list_free(list);
    list = NULL;
}

/* Every line begins so, once for each device. */
static void expect_lines(const char *text, const char *begin, size_t times)
{
    size_t found = 0;
    for (const char *at = text; (at = strstr(at, begin)) != NULL; at++)
        found += at == text || at[-1] == '\n';
    ck_assert_msg(found == times, "%zu lines begin '%s', not %zu:\n%s", found, begin, times, text);
}

START_TEST(verbose_tells_what_is_known)
{
    static const char *const lines[] = {"    driver    ", "    memory    ", "    speed     ",
        "    limits    groups of ", "    extensions  ", "    kernels cpu  ", "    kernels gpu  "};
    test_process p = cli_run("devices", "--verbose");
    cli_expect_ok(p);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect_lines(p.out, lines[i], count);
    for (size_t i = 0; i < count; i++) {
        char units[64], peak[64];
        snprintf(units, sizeof units, "    speed     %u unit", list[i].compute_units);
        snprintf(peak, sizeof peak, ": at most %.0f Gflop/s (computed)", list[i].peak_gflops);
        ck_assert_msg(strstr(p.out, units) && strstr(p.out, peak), "%s", p.out);
    }
    test_process_release(&p);
}
END_TEST

/* What a selftest leaves in the cache is shown, and what was tuned there. */
START_TEST(verbose_tells_what_was_checked)
{
    char *cache = test_directory(), variable[512];
    snprintf(variable, sizeof variable, "CAPSCL_CACHE=%s", cache);
    char *environment[] = {variable, "CAPSCL_KERNELS=gpu", "CAPSCL_TRUST=on", NULL};
    test_process p = cli_run_env(environment, "devices", "--verbose", (char *)NULL);
    cli_expect_ok(p);
    expect_lines(p.out, "    kernels cpu  not checked here yet; not tuned", count);
    expect_lines(p.out, "    kernels gpu  not checked here yet; not tuned", count);
    test_process_release(&p);
    p = cli_run_env(environment, "selftest", "squash", "--small", (char *)NULL);
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run_env(environment, "devices", "--verbose", (char *)NULL);
    cli_expect_ok(p);
    expect_lines(p.out, "    kernels cpu  not checked here yet; not tuned", count);
    expect_lines(p.out, "    kernels gpu  not checked here yet; not tuned", count - 1);
    ck_assert_msg(strstr(p.out, " variants trusted; not tuned") != NULL, "%s", p.out);
    test_process_release(&p);
    free(cache);
}
END_TEST

static void check_family(const json_t *kernels, const char *family)
{
    const json_t *of = json_object_get(kernels, family), *test = json_object_get(of, "selftest");
    cli_expect_keys(of, "selftest variants tuned");
    cli_expect_keys(test, "end exit_code signal passed cases failed log");
    ck_assert_str_eq(json_string_value(json_object_get(test, "end")), "exit");
    ck_assert(cli_number(test, "exit_code") == 0);
    ck_assert(cli_number(test, "cases") > 20);
    ck_assert(cli_number(test, "passed") == cli_number(test, "cases"));
    ck_assert_uint_eq(json_array_size(json_object_get(test, "failed")), 0);
    ck_assert_uint_gt(json_array_size(json_object_get(of, "variants")), 0);
}

START_TEST(a_report_has_everything)
{
    char *environment[] = {"CAPSCL_TRUST=on", NULL};
    test_process p = cli_run_env(environment, "devices", "--report", "--quiet", (char *)NULL);
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    json_t *report = cli_json(&p);
    cli_expect_keys(report, "capscl_report version system environment drivers devices");
    const json_t *devices = json_object_get(report, "devices");
    ck_assert_uint_eq(json_array_size(devices), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *d = json_array_get(devices, i);
        const json_t *limits = json_object_get(d, "limits");
        cli_expect_keys(d, "id platform vendor name type version driver compute_units "
                           "global_mem_bytes max_alloc_bytes local_mem_bytes selected "
                           "shares_host_memory clock_mhz peak_gflops usable unusable_because "
                           "limits extensions kernels");
        cli_expect_keys(limits,
            "max_group max_items_0 max_items_1 max_items_2 constant_bytes cache_bytes "
            "cache_line_bytes float_width lanes address_bits alignment_bits timer_ns local_is_own "
            "vendor_id");
        ck_assert_str_eq(json_string_value(json_object_get(d, "id")), list[i].id);
        ck_assert(cli_number(limits, "max_group") >= 1);
        if (list[i].available) {
            check_family(json_object_get(d, "kernels"), "cpu");
            check_family(json_object_get(d, "kernels"), "gpu");
        }
    }
    json_decref(report);
    test_process_release(&p);
}
END_TEST

/* A device of 1 MiB: its driver's answer is exchanged by the library of tests/faults. */
START_TEST(what_cannot_be_used_says_why)
{
    static const char library[] = TEST_BINARY_DIR "/tests/faults/fault_opencl.so";
    if (!caps_path_exists(library)) { /* not beside the sanitizers */
        printf("SKIPPED: devices that cannot be used: %s is not built\n", library);
        return;
    }
    char *environment[] = {"LD_PRELOAD=" TEST_BINARY_DIR "/tests/faults/fault_opencl.so",
        "FAULT_DEVICE=memory:1048576", NULL};
    test_process p = cli_run_env(environment, "devices", (char *)NULL);
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_msg(
        strstr(p.out, "  (cannot be used: its memory is 1.0 MiB, need >= 64 MiB)\n") != NULL, "%s",
        p.out);
    ck_assert_msg(strstr(p.err, "warning: no device is selected: ") != NULL, "%s", p.err);
    test_process_release(&p);
    p = cli_run_env(environment, "devices", "--json", (char *)NULL);
    json_t *devices = cli_json(&p);
    for (size_t i = 0; i < count; i++) {
        const json_t *d = json_array_get(devices, i);
        ck_assert(json_is_false(json_object_get(d, "usable")));
        ck_assert_str_eq(json_string_value(json_object_get(d, "unusable_because")),
            "its memory is 1.0 MiB, need >= 64 MiB");
    }
    json_decref(devices);
    test_process_release(&p);
    cli_expect_error(cli_run_env(environment, "selftest", "--device", list[0].id, (char *)NULL), 4,
        "cannot be used: its memory is 1.0 MiB, need >= 64 MiB", "selftest");
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli devices");
    TCase *tc = tcase_create("devices");
    tcase_set_timeout(tc, 600);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, verbose_tells_what_is_known);
    tcase_add_test(tc, verbose_tells_what_was_checked);
    tcase_add_test(tc, a_report_has_everything);
    tcase_add_test(tc, what_cannot_be_used_says_why);
    suite_add_tcase(s, tc);
    return s;
}
