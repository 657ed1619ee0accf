/* test_device.c: enumeration, and the grammar of `--device` on a made-up list of devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* ---- a machine that does not exist ---------------------------------------------------------- */

static caps_device_info machine[6];
enum { DEVICES = sizeof machine / sizeof *machine };

static void set_device(int at, int platform, int device, const char *platform_name,
    const char *name, caps_device_type type, uint32_t units, uint64_t memory, bool available)
{
    caps_device_info *d = &machine[at];
    memset(d, 0, sizeof *d);
    d->platform_index = platform;
    d->device_index = device;
    snprintf(d->id, sizeof d->id, "%d:%d", platform, device);
    snprintf(d->platform, sizeof d->platform, "%s", platform_name);
    snprintf(d->name, sizeof d->name, "%s", name);
    d->type = type;
    d->compute_units = units;
    d->global_mem_bytes = memory;
    d->available = available;
}

static char *own_device; /* the user's CAPSCL_DEVICE, put back after each test */

static void set_up(void)
{
    const char *set = getenv("CAPSCL_DEVICE");
    own_device = set ? strdup(set) : NULL;
    unsetenv("CAPSCL_DEVICE");
    set_device(0, 0, 0, "Northern OpenCL", "Aurora 10", CAPS_DEVICE_GPU, 16, 8, true);
    set_device(1, 0, 1, "Northern OpenCL", "Aurora 20", CAPS_DEVICE_GPU, 40, 8, true);
    set_device(2, 0, 2, "Northern OpenCL", "Aurora 99", CAPS_DEVICE_GPU, 99, 8, false);
    set_device(3, 1, 0, "Portable CL", "Cobalt x8", CAPS_DEVICE_CPU, 8, 64, true);
    /* Platform 2 has no device; its number is kept. */
    set_device(4, 3, 0, "Boards", "Dune", CAPS_DEVICE_ACCELERATOR, 1, 4, true);
    set_device(5, 3, 11, "Boards", "Dune", CAPS_DEVICE_ACCELERATOR, 1, 6, true);
}

static void tear_down(void)
{
    if (own_device)
        setenv("CAPSCL_DEVICE", own_device, 1);
    else
        unsetenv("CAPSCL_DEVICE");
    free(own_device);
    own_device = NULL;
}

static void expect_choice(const char *selector, size_t expected, const char *why)
{
    caps_error err = {0};
    size_t index = 12345;
    char reason[256] = "";
    test_ok(caps_device_select(machine, DEVICES, selector, &index, reason, &err));
    ck_assert_msg(index == expected, "\"%s\" chose %zu, not %zu", selector ? selector : "NULL",
        index, expected);
    ck_assert_str_eq(reason, why);
    ck_assert_int_eq(err.status, CAPS_OK);
}

static void expect_refusal(
    const caps_device_info *list, size_t n, const char *selector, caps_status status, const char *m)
{
    caps_error err = {0};
    size_t index = 0;
    char reason[256] = "";
    ck_assert_int_eq(caps_device_select(list, n, selector, &index, reason, &err), status);
    ck_assert_int_eq(err.status, status);
    ck_assert_str_eq(err.message, m);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    /* The error and the reason are optional. */
    ck_assert_int_eq(caps_device_select(list, n, selector, &index, NULL, NULL), status);
}

/* ---- the grammar ---------------------------------------------------------------------------- */

START_TEST(numbers_name_one_device)
{
    expect_choice("0:0", 0, "requested as 0:0");
    expect_choice("0:1", 1, "requested as 0:1");
    expect_choice("1:0", 3, "requested as 1:0");
    expect_choice("3:11", 5, "requested as 3:11");
    expect_refusal(machine, DEVICES, "1:1", CAPS_ERR_NO_DEVICE,
        "device \"1:1\": platform 1 has 1 device, need 1:0");
    expect_refusal(machine, DEVICES, "0:3", CAPS_ERR_NO_DEVICE,
        "device \"0:3\": platform 0 has 3 devices, need 0:0 to 0:2");
    expect_refusal(machine, DEVICES, "2:0", CAPS_ERR_NO_DEVICE,
        "device \"2:0\": there is no platform 2 with a device");
    expect_refusal(machine, DEVICES, "99999999999999999999:0", CAPS_ERR_NO_DEVICE,
        "device \"99999999999999999999:0\": there is no platform 18446744073709551615 with a "
        "device");
    expect_refusal(machine, DEVICES, "0:2", CAPS_ERR_NO_DEVICE,
        "device 0:2 (Aurora 99) is not available or has no OpenCL compiler");
}
END_TEST

/* What only looks like a number is a part of a name, and no name has it. */
START_TEST(numbers_are_whole)
{
    static const char *const wrong[] = {"0:", ":0", "0:1x", "0:1 ", " 0:1", "0:-1", "-0:1", "+0:1",
        "0:1:0", "0 :1", "0x0:1", "1.0:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        caps_error err = {0};
        size_t index;
        ck_assert_msg(caps_device_select(machine, DEVICES, wrong[i], &index, NULL, &err) ==
                          CAPS_ERR_NO_DEVICE,
            "\"%s\" was taken", wrong[i]);
        ck_assert_ptr_nonnull(strstr(err.message, "no device or platform has it in its name"));
        ck_assert_ptr_nonnull(strstr(err.message, "1:0 Cobalt x8 (Portable CL)"));
    }
}
END_TEST

START_TEST(type_words_take_the_best)
{
    /* 0:2 has the most compute units but is not available. */
    expect_choice("gpu", 1, "the best of type gpu, requested");
    expect_choice("GPU", 1, "the best of type gpu, requested");
    expect_choice("cpu", 3, "the best of type cpu, requested");
    /* Equal compute units: more memory. */
    expect_choice("accelerator", 5, "the best of type accelerator, requested");
    machine[5].global_mem_bytes = 4;
    expect_choice("accelerator", 4, "the best of type accelerator, requested");
    /* "gpu" never falls back to something else. */
    expect_refusal(machine + 3, 1, "gpu", CAPS_ERR_NO_DEVICE,
        "device \"gpu\": there is none of that type (there is: 1:0 Cobalt x8 (Portable CL))");
    /* "other" is no word of the grammar. */
    ck_assert_int_eq(caps_device_select(machine, DEVICES, "other", &(size_t){0}, NULL, NULL),
        CAPS_ERR_NO_DEVICE);
}
END_TEST

START_TEST(parts_of_names_fit_one)
{
    expect_choice("Cobalt", 3, "requested by the name \"Cobalt\"");
    expect_choice("cObAlT X8", 3, "requested by the name \"cObAlT X8\"");
    expect_choice("a 2", 1, "requested by the name \"a 2\"");
    expect_choice("portable", 3, "requested by the name \"portable\"");
    /* In both names of one device: it counts once. */
    snprintf(machine[3].name, sizeof machine[3].name, "Portable x8");
    expect_choice("portable", 3, "requested by the name \"portable\"");
}
END_TEST

START_TEST(a_name_that_fits_several_is_refused)
{
    expect_refusal(machine, DEVICES, "aurora", CAPS_ERR_AMBIGUOUS_DEVICE,
        "device \"aurora\" fits 3 devices: 0:0 Aurora 10 (Northern OpenCL), 0:1 Aurora 20 "
        "(Northern OpenCL), 0:2 Aurora 99 (Northern OpenCL); name one of them by its number");
    expect_refusal(machine, DEVICES, "Boards", CAPS_ERR_AMBIGUOUS_DEVICE,
        "device \"Boards\" fits 2 devices: 3:0 Dune (Boards), 3:11 Dune (Boards); name one of them "
        "by its number");
}
END_TEST

START_TEST(no_request_takes_gpu_then_cpu_then_any)
{
    expect_choice(NULL, 1, "the best GPU");
    expect_choice("", 1, "the best GPU");
    machine[0].type = machine[1].type = machine[2].type = CAPS_DEVICE_OTHER;
    expect_choice(NULL, 3, "no GPU found: the CPU");
    machine[3].available = false;
    expect_choice(NULL, 5, "neither GPU nor CPU found: what there is");
    machine[4].available = machine[5].available = false;
    expect_choice(NULL, 1, "neither GPU nor CPU found: what there is");
    machine[0].available = machine[1].available = false;
    expect_refusal(machine, DEVICES, NULL, CAPS_ERR_NO_DEVICE,
        "none of the 6 OpenCL devices is available with a compiler");
}
END_TEST

START_TEST(the_environment_stands_in)
{
    setenv("CAPSCL_DEVICE", "1:0", 1);
    expect_choice(NULL, 3, "requested by CAPSCL_DEVICE as 1:0");
    expect_choice("", 3, "requested by CAPSCL_DEVICE as 1:0");
    expect_choice("0:0", 0, "requested as 0:0");
    setenv("CAPSCL_DEVICE", "cpu", 1);
    expect_choice(NULL, 3, "the best of type cpu, requested by CAPSCL_DEVICE");
    setenv("CAPSCL_DEVICE", "cobalt", 1);
    expect_choice(NULL, 3, "requested by CAPSCL_DEVICE by the name \"cobalt\"");
    setenv("CAPSCL_DEVICE", "", 1);
    expect_choice(NULL, 1, "the best GPU");
    setenv("CAPSCL_DEVICE", "zinc", 1);
    ck_assert_int_eq(
        caps_device_select(machine, DEVICES, NULL, &(size_t){0}, NULL, NULL), CAPS_ERR_NO_DEVICE);
    /* The message says where the request comes from. */
    setenv("CAPSCL_DEVICE", "2:0", 1);
    expect_refusal(machine, DEVICES, NULL, CAPS_ERR_NO_DEVICE,
        "CAPSCL_DEVICE: device \"2:0\": there is no platform 2 with a device");
}
END_TEST

START_TEST(no_platform_at_all)
{
    static const char *const selectors[] = {NULL, "", "gpu", "0:0", "any name"};
    for (size_t i = 0; i < sizeof selectors / sizeof *selectors; i++)
        expect_refusal(NULL, 0, selectors[i], CAPS_ERR_NO_DEVICE,
            "no OpenCL platform with a device found; install a driver, for instance "
            "pocl-opencl-icd for the CPU");
}
END_TEST

/* A list that does not fit the message is cut, not run over. */
START_TEST(many_devices_fit_the_message)
{
    enum { MANY = 200 };
    caps_device_info *many = calloc(MANY, sizeof *many);
    caps_error err = {0};
    ck_assert_ptr_nonnull(many);
    for (int i = 0; i < MANY; i++) {
        many[i] = machine[0];
        many[i].device_index = i;
        snprintf(many[i].id, sizeof many[i].id, "0:%d", i);
        memset(many[i].name, 'n', sizeof many[i].name - 1);
    }
    ck_assert_int_eq(caps_device_select(many, MANY, "nnnn", &(size_t){0}, NULL, &err),
        CAPS_ERR_AMBIGUOUS_DEVICE);
    ck_assert_ptr_nonnull(strstr(err.message, "fits 200 devices: 0:0 nnnn"));
    ck_assert_uint_lt(strlen(err.message), sizeof err.message);
    ck_assert_int_eq(
        caps_device_select(many, MANY, "gpus", &(size_t){0}, NULL, &err), CAPS_ERR_NO_DEVICE);
    free(many);
}
END_TEST

/* ---- this machine --------------------------------------------------------------------------- */

START_TEST(the_list_describes_each_device)
{
    caps_error err = {0};
    caps_device_info *list = NULL;
    size_t n = 0;
    test_ok(caps_device_list(&list, &n, &err));
    ck_assert_msg(n > 0, "no OpenCL device on this machine");
    for (size_t i = 0; i < n; i++) {
        const caps_device_info *d = &list[i];
        char id[24];
        cl_uint units = 0;
        size_t index = n;
        snprintf(id, sizeof id, "%d:%d", d->platform_index, d->device_index);
        ck_assert_str_eq(d->id, id);
        ck_assert_str_ne(d->platform, "");
        ck_assert_str_ne(d->name, "");
        ck_assert_str_ne(d->version, "");
        ck_assert(d->name[0] != ' ' && d->name[strlen(d->name) - 1] != ' ');
        ck_assert_int_eq(
            clGetDeviceInfo(d->handle, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL),
            CL_SUCCESS);
        ck_assert_uint_eq(d->compute_units, units);
        ck_assert_uint_gt(d->global_mem_bytes, 0);
        ck_assert_uint_gt(d->max_alloc_bytes, 0);
        ck_assert_uint_le(d->max_alloc_bytes, d->global_mem_bytes);
        if (d->available) {
            test_ok(caps_device_select(list, n, d->id, &index, NULL, &err));
            ck_assert_uint_eq(index, i);
        }
    }
    caps_device_list_free(list);
    caps_device_list_free(NULL);
}
END_TEST

START_TEST(types_have_names)
{
    ck_assert_str_eq(caps_device_type_name(CAPS_DEVICE_GPU), "gpu");
    ck_assert_str_eq(caps_device_type_name(CAPS_DEVICE_CPU), "cpu");
    ck_assert_str_eq(caps_device_type_name(CAPS_DEVICE_ACCELERATOR), "accelerator");
    ck_assert_str_eq(caps_device_type_name(CAPS_DEVICE_OTHER), "other");
    ck_assert_str_eq(caps_device_type_name((caps_device_type)77), "other");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("device");
    TCase *grammar = tcase_create("grammar");
    tcase_add_checked_fixture(grammar, set_up, tear_down);
    tcase_add_test(grammar, numbers_name_one_device);
    tcase_add_test(grammar, numbers_are_whole);
    tcase_add_test(grammar, type_words_take_the_best);
    tcase_add_test(grammar, parts_of_names_fit_one);
    tcase_add_test(grammar, a_name_that_fits_several_is_refused);
    tcase_add_test(grammar, no_request_takes_gpu_then_cpu_then_any);
    tcase_add_test(grammar, the_environment_stands_in);
    tcase_add_test(grammar, no_platform_at_all);
    tcase_add_test(grammar, many_devices_fit_the_message);
    suite_add_tcase(s, grammar);
    TCase *here = tcase_create("here");
    tcase_add_test(here, the_list_describes_each_device);
    tcase_add_test(here, types_have_names);
    suite_add_tcase(s, here);
    return s;
}
