/* test_device.c: enumeration, and the grammar of `--device` on a made-up list of devices. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peak.h"
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
        "device 0:2 (Aurora 99) cannot be used: it is not available or has no OpenCL compiler");
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

/* ---- the best of a type --------------------------------------------------------------------- */

/* As their drivers describe them. */
static const struct known {
    const char *name;
    caps_peak_facts facts;
    double tflops; /* in the maker's data sheet, or by its lanes and clock */
} known[] = {
    {"GeForce RTX 4090 Laptop GPU",
        {CAPS_DEVICE_GPU, "NVIDIA Corporation", 0x10de, 76, 2040, 1, .nv_major = 8, .nv_minor = 9},
        39.7},
    {"H100 PCIe", {CAPS_DEVICE_GPU, "NVIDIA Corporation", 0x10de, 114, 1755, 1, .nv_major = 9},
        51.2},
    {"A100-SXM4", {CAPS_DEVICE_GPU, "NVIDIA Corporation", 0x10de, 108, 1410, 1, .nv_major = 8},
        19.5},
    {"Tesla T4",
        {CAPS_DEVICE_GPU, "NVIDIA Corporation", 0x10de, 40, 1590, 1, .nv_major = 7, .nv_minor = 5},
        8.1},
    {"gfx90a",
        {CAPS_DEVICE_GPU, "Advanced Micro Devices, Inc.", 0x1002, 104, 1700, 1, .amd_simds = 4,
            .amd_width = 16},
        22.6},
    {"gfx1030 (pairs of units)",
        {CAPS_DEVICE_GPU, "Advanced Micro Devices, Inc.", 0x1002, 36, 2250, 1, .amd_simds = 4,
            .amd_width = 32},
        20.7},
    {"RX 6800 XT (radeonsi)", {CAPS_DEVICE_GPU, "AMD", 0x1002, 72, 2250, 4, .nv_major = 0}, 20.7},
    {"Iris Xe Graphics",
        {CAPS_DEVICE_GPU, "Intel(R) Corporation", 0x8086, 96, 1300, 1,
            .intel_smallest_subgroup = 8},
        2.0},
    {"Arc A770",
        {CAPS_DEVICE_GPU, "Intel(R) Corporation", 0x8086, 512, 2400, 1,
            .intel_smallest_subgroup = 8},
        19.7},
    {"Data Center GPU Max 1100",
        {CAPS_DEVICE_GPU, "Intel(R) Corporation", 0x8086, 448, 1550, 1,
            .intel_smallest_subgroup = 16},
        22.2},
    {"Apple M1", {CAPS_DEVICE_GPU, "Apple", 0x1027f00, 8, 1278, 1, .nv_major = 0}, 2.6},
    {"a GPU that says nothing", {CAPS_DEVICE_GPU, "", 0, 10, 0, 0, .nv_major = 0}, 0.64},
    {"a processor", {CAPS_DEVICE_CPU, "GenuineIntel", 0x8086, 8, 3000, 8, .nv_major = 0}, 0.384},
};

START_TEST(peaks_are_those_of_data_sheets)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const double tflops = caps_peak_gflops(&known[i].facts) * 1e-3;
        ck_assert_msg(fabs(tflops - known[i].tflops) < 0.03 * known[i].tflops,
            "%s: %.2f Tflop/s, not %.2f", known[i].name, tflops, known[i].tflops);
    }
}
END_TEST

/* The GPU at index i of the machine as known[which]. */
static void set_known(int i, size_t which, bool shares, uint64_t memory)
{
    machine[i].type = CAPS_DEVICE_GPU;
    machine[i].compute_units = known[which].facts.units;
    machine[i].peak_gflops = caps_peak_gflops(&known[which].facts);
    machine[i].shares_host_memory = shares;
    machine[i].global_mem_bytes = memory;
}

START_TEST(the_best_gpu_is_not_that_of_most_units)
{
    enum { RTX_4090 = 0, T4 = 3, IRIS = 7, ARC = 8, NOTHING = 11 };
    set_known(0, IRIS, true, 30);
    set_known(1, RTX_4090, false, 16);
    expect_choice("gpu", 1, "the best of type gpu, requested");
    /* More units, of less. */
    set_known(0, ARC, false, 16);
    expect_choice(NULL, 1, "the best GPU");
    set_known(1, T4, false, 16);
    expect_choice(NULL, 0, "the best GPU");
    /* Memory of its own comes before peak. */
    set_known(0, ARC, true, 64);
    expect_choice(NULL, 1, "the best GPU");
    set_known(1, NOTHING, false, 4);
    expect_choice(NULL, 1, "the best GPU");
    machine[1].available = false;
    expect_choice(NULL, 0, "the best GPU");
    /* Of two alike the one with more memory, else the first. */
    set_known(0, T4, false, 16);
    set_known(1, T4, false, 16);
    machine[1].available = true;
    expect_choice(NULL, 0, "the best GPU");
    machine[1].global_mem_bytes++;
    expect_choice(NULL, 1, "the best GPU");
}
END_TEST

START_TEST(what_cannot_be_used_is_refused_with_the_reason)
{
    machine[0].available = machine[1].available = false;
    snprintf(
        machine[0].unusable, sizeof machine[0].unusable, "it has OpenCL 1.1, need 1.2 or newer");
    expect_refusal(machine, DEVICES, "gpu", CAPS_ERR_NO_DEVICE,
        "device 0:0 (Aurora 10) cannot be used: it has OpenCL 1.1, need 1.2 or newer");
    expect_refusal(machine, DEVICES, "0:0", CAPS_ERR_NO_DEVICE,
        "device 0:0 (Aurora 10) cannot be used: it has OpenCL 1.1, need 1.2 or newer");
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
        "none of the 6 OpenCL devices can be used ('capscl devices' says why)");
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
    setenv("OCL_ICD_VENDORS", "/nowhere/at-all", 1);
    for (size_t i = 0; i < sizeof selectors / sizeof *selectors; i++)
        expect_refusal(NULL, 0, selectors[i], CAPS_ERR_NO_DEVICE,
            "no OpenCL driver: OCL_ICD_VENDORS is '/nowhere/at-all', where there is none (*.icd); "
            "unset it, or set it to the directory that has them, usually /etc/OpenCL/vendors");
    unsetenv("OCL_ICD_VENDORS");
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
        ck_assert_msg(d->available == !d->unusable[0], "%s", d->unusable);
        ck_assert(d->peak_gflops > 0);
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
    tcase_add_test(grammar, peaks_are_those_of_data_sheets);
    tcase_add_test(grammar, the_best_gpu_is_not_that_of_most_units);
    tcase_add_test(grammar, what_cannot_be_used_is_refused_with_the_reason);
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
