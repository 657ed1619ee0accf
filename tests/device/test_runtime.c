/* test_runtime.c: making runtimes, their options, launches, the profile, and counted memory. */
#include <capscl/experimental.h>

#include <stdio.h>
#include <time.h>

#include "choice.h"
#include "device_support.h"
#include "launch.h"

static void expect_message(const caps_error *err, caps_status status, const char *message)
{
    ck_assert_int_eq(err->status, status);
    ck_assert_str_eq(err->message, message);
}

static caps_runtime_options in(const char *cache)
{
    return (caps_runtime_options){CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache};
}

/* ---- creation ------------------------------------------------------------------------------- */

START_TEST(a_runtime_of_our_own_works)
{
    caps_error err = {0};
    char *cache = test_directory();
    caps_runtime_options options = in(cache);
    caps_runtime *rt = open_runtime(&options);
    const caps_device_info *device = caps_runtime_device(rt);
    cl_device_id of_queue = NULL;
    ck_assert_str_eq(device->id, caps_runtime_device(test_runtime())->id);
    ck_assert_ptr_nonnull(strstr(caps_runtime_reason(rt), device->id));
    ck_assert_int_eq(clGetCommandQueueInfo(
                         caps_runtime_queue(rt), CL_QUEUE_DEVICE, sizeof of_queue, &of_queue, NULL),
        CL_SUCCESS);
    ck_assert_ptr_eq(of_queue, device->handle);
    test_ok(squash_runs(rt, &err));
    test_ok(caps_runtime_finish(rt, &err));
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    caps_runtime_free(rt);
    caps_runtime_free(NULL);
    free(cache);
}
END_TEST

START_TEST(creation_says_why_it_fails)
{
    caps_error err = {0};
    caps_runtime *rt = (caps_runtime *)&err;
    ck_assert_int_eq(caps_runtime_create(&rt, "99:0", NULL, &err), CAPS_ERR_NO_DEVICE);
    expect_message(
        &err, CAPS_ERR_NO_DEVICE, "device \"99:0\": there is no platform 99 with a device");
    ck_assert_ptr_null(rt);
    ck_assert_int_eq(caps_runtime_create(&rt, "99:0", NULL, NULL), CAPS_ERR_NO_DEVICE);
    static const struct {
        caps_runtime_options options;
        const char *message;
    } wrong[] = {
        {{CAPS_OPTIONS(caps_runtime_options), .kernels = "simd"},
            "kernel family \"simd\" is unknown, need auto, cpu or gpu"},
        {{CAPS_OPTIONS(caps_runtime_options), .kernels = "CPU"},
            "kernel family \"CPU\" is unknown, need auto, cpu or gpu"},
        {{CAPS_OPTIONS(caps_runtime_options), .algorithms = "gemm=blas"},
            "GEMM algorithm \"blas\" is unknown, need auto, tiled, clblast, packed or direct"},
        {{CAPS_OPTIONS(caps_runtime_options), .algorithms = "routing=kept"},
            "routing variant \"kept\" is unknown, need auto, stored or fused"},
        {{CAPS_OPTIONS(caps_runtime_options), .algorithms = "gemm=direct,conv=fast"},
            "conv: algorithm 'fast' is unknown, need auto, im2col, direct, winograd, toom-cook or "
            "implicit"},
        {{CAPS_OPTIONS(caps_runtime_options), .algorithms = "gemm=direct,gem=auto"},
            "algorithms: \"gem=auto\" is not CHOICE=ALGORITHM, need a choice of gemm, conv or "
            "routing"},
        {{CAPS_OPTIONS(caps_runtime_options), .algorithms = "direct"},
            "algorithms: \"direct\" is not CHOICE=ALGORITHM, need a choice of gemm, conv or "
            "routing"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(
            caps_runtime_create(&rt, NULL, &wrong[i].options, &err), CAPS_ERR_ARGUMENT);
        expect_message(&err, CAPS_ERR_ARGUMENT, wrong[i].message);
        ck_assert_ptr_null(rt);
    }
    setenv("CAPSCL_GEMM", "blas", 1);
    ck_assert_int_eq(caps_runtime_create(&rt, NULL, NULL, &err), CAPS_ERR_ARGUMENT);
    expect_message(&err, CAPS_ERR_ARGUMENT,
        "CAPSCL_GEMM: GEMM algorithm \"blas\" is unknown, need auto, tiled, clblast, packed or "
        "direct");
    unsetenv("CAPSCL_GEMM");
    const caps_runtime_options unsized = {.kernels = "cpu"};
    ck_assert_int_eq(caps_runtime_create(&rt, NULL, &unsized, &err), CAPS_ERR_ARGUMENT);
    ck_assert_msg(
        strncmp(err.message, "caps_runtime_options: size is 0, need ", 38) == 0, "%s", err.message);
    setenv("CAPSCL_KERNELS", "tpu", 1);
    ck_assert_int_eq(caps_runtime_create(&rt, NULL, NULL, &err), CAPS_ERR_ARGUMENT);
    expect_message(&err, CAPS_ERR_ARGUMENT,
        "CAPSCL_KERNELS: kernel family \"tpu\" is unknown, need auto, cpu or gpu");
}
END_TEST

/* option, else variable, else the device's type. */
/* The option counts before the environment, and "auto" is a request for nothing. */
START_TEST(algorithms_are_requested)
{
    static const struct {
        const char *option, *gemm_variable, *conv_variable, *gemm, *conv;
    } cases[] = {
        {NULL, NULL, NULL, NULL, NULL},
        {"gemm=direct,conv=im2col", NULL, NULL, "direct", "im2col"},
        {NULL, "packed", "spectral", "packed", "toom-cook"},
        {NULL, "", "conv1=direct,primary=auto", NULL, "conv1=direct,primary=auto"},
        {"gemm=auto", "packed", "auto", NULL, NULL},
        {"conv=auto,", "packed", "im2col", "packed", NULL},
        {"gemm=packed,gemm=direct", NULL, NULL, "direct", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const caps_runtime_options options = {
            CAPS_OPTIONS(caps_runtime_options), .algorithms = cases[i].option};
        cases[i].gemm_variable ? setenv("CAPSCL_GEMM", cases[i].gemm_variable, 1)
                               : unsetenv("CAPSCL_GEMM");
        cases[i].conv_variable ? setenv("CAPSCL_CONV", cases[i].conv_variable, 1)
                               : unsetenv("CAPSCL_CONV");
        caps_runtime *rt = open_runtime(&options);
        const char *gemm = caps_runtime_requested(rt, "gemm");
        const char *conv = caps_runtime_requested(rt, "conv");
        ck_assert_pstr_eq(gemm, cases[i].gemm);
        ck_assert_pstr_eq(conv, cases[i].conv);
        ck_assert_ptr_null(caps_runtime_requested(rt, "routing"));
        ck_assert_ptr_null(caps_runtime_requested(rt, "no such choice"));
        caps_runtime_free(rt);
    }
    caps_error err = {0};
    caps_runtime *rt = NULL;
    setenv("CAPSCL_CONV", "conv1=direct,primary=fast", 1);
    ck_assert_int_eq(caps_runtime_create(&rt, NULL, NULL, &err), CAPS_ERR_ARGUMENT);
    expect_message(&err, CAPS_ERR_ARGUMENT,
        "CAPSCL_CONV: conv: algorithm 'fast' is unknown, need auto, im2col, direct, winograd, "
        "toom-cook "
        "or implicit");
    ck_assert_ptr_null(caps_runtime_requested(NULL, "conv"));
}
END_TEST

START_TEST(the_family_is_chosen)
{
    caps_family natural = caps_runtime_device(test_runtime())->type == CAPS_DEVICE_CPU
                              ? CAPS_FAMILY_CPU
                              : CAPS_FAMILY_GPU;
    const struct {
        const char *variable, *option;
        caps_family expected;
    } cases[] = {
        {NULL, NULL, natural},
        {"", "", natural},
        {"auto", NULL, natural},
        {"gpu", NULL, CAPS_FAMILY_GPU},
        {"cpu", NULL, CAPS_FAMILY_CPU},
        {"gpu", "cpu", CAPS_FAMILY_CPU},
        {"cpu", "gpu", CAPS_FAMILY_GPU},
        {"nonsense", "gpu", CAPS_FAMILY_GPU},
        {"gpu", "auto", natural},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        caps_runtime_options options = {
            CAPS_OPTIONS(caps_runtime_options), .kernels = cases[i].option};
        if (cases[i].variable)
            setenv("CAPSCL_KERNELS", cases[i].variable, 1);
        caps_runtime *rt = open_runtime(&options);
        ck_assert_msg(caps_runtime_family(rt) == cases[i].expected, "case %zu", i);
        caps_runtime_free(rt);
    }
    ck_assert_str_eq(caps_family_name(CAPS_FAMILY_CPU), "cpu");
    ck_assert_str_eq(caps_family_name(CAPS_FAMILY_GPU), "gpu");
}
END_TEST

/* ---- on the caller's context ---------------------------------------------------------------- */

typedef struct own {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
} own;

static own make_own(cl_command_queue_properties properties)
{
    own o = {.device = caps_runtime_device(test_runtime())->handle};
    cl_int code = CL_SUCCESS;
    o.context = clCreateContext(NULL, 1, &o.device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    o.queue = clCreateCommandQueue(o.context, o.device, properties, &code);
    if (code != CL_SUCCESS)
        o.queue = NULL;
    return o;
}

static void release_own(own *o)
{
    if (o->queue)
        clReleaseCommandQueue(o->queue);
    if (o->context)
        clReleaseContext(o->context);
    *o = (own){0};
}

static cl_uint references(cl_command_queue queue)
{
    cl_uint n = 0;
    clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT, sizeof n, &n, NULL);
    return n;
}

START_TEST(a_runtime_on_the_callers_queue)
{
    caps_error err = {0};
    caps_runtime *rt = NULL;
    char *cache = test_directory();
    caps_runtime_options options = in(cache);
    own o = make_own(0);
    cl_uint contexts = 0, queues = references(o.queue), after = 0;
    clGetContextInfo(o.context, CL_CONTEXT_REFERENCE_COUNT, sizeof contexts, &contexts, NULL);
    test_ok(caps_runtime_create_from(&rt, o.context, o.device, o.queue, &options, &err));
    ck_assert_ptr_eq(caps_runtime_context(rt), o.context);
    ck_assert_ptr_eq(caps_runtime_queue(rt), o.queue);
    ck_assert_ptr_eq(caps_runtime_device(rt)->handle, o.device);
    ck_assert_str_eq(caps_runtime_device(rt)->id, caps_runtime_device(test_runtime())->id);
    ck_assert_str_eq(caps_runtime_reason(rt), "the caller's own");
    test_ok(squash_runs(rt, &err));
    caps_runtime_free(rt);
    /* All that the runtime held it gave back. A driver's thread may hold the queue for a moment
     * after a command has ended. */
    for (int i = 0; i < 500 && references(o.queue) != queues; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    ck_assert_uint_eq(references(o.queue), queues);
    clGetContextInfo(o.context, CL_CONTEXT_REFERENCE_COUNT, sizeof after, &after, NULL);
    ck_assert_uint_eq(after, contexts);
    /* The caller may let go first. */
    test_ok(caps_runtime_create_from(&rt, o.context, o.device, o.queue, &options, &err));
    release_own(&o);
    test_ok(squash_runs(rt, &err));
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

START_TEST(a_queue_must_be_in_order)
{
    caps_error err = {0};
    caps_runtime *rt = NULL;
    own o = make_own(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    if (!o.queue) {
        printf("SKIPPED a_queue_must_be_in_order: the device has no out-of-order queues\n");
    } else {
        ck_assert_int_eq(caps_runtime_create_from(&rt, o.context, o.device, o.queue, NULL, &err),
            CAPS_ERR_ARGUMENT);
        expect_message(
            &err, CAPS_ERR_ARGUMENT, "runtime: the queue is out-of-order, need in-order");
        ck_assert_ptr_null(rt);
    }
    release_own(&o);
}
END_TEST

START_TEST(handles_and_profiling_are_checked)
{
    caps_error err = {0};
    caps_runtime *rt = NULL;
    own o = make_own(0);
    const own missing[] = {
        {NULL, o.device, o.queue}, {o.context, NULL, o.queue}, {o.context, o.device, NULL}};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(caps_runtime_create_from(&rt, missing[i].context, missing[i].device,
                             missing[i].queue, NULL, &err),
            CAPS_ERR_ARGUMENT);
        expect_message(&err, CAPS_ERR_ARGUMENT, "runtime: context, device and queue are needed");
    }
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .profile = true};
    ck_assert_int_eq(caps_runtime_create_from(&rt, o.context, o.device, o.queue, &options, &err),
        CAPS_ERR_ARGUMENT);
    expect_message(&err, CAPS_ERR_ARGUMENT,
        "runtime: profiling needs a queue made with CL_QUEUE_PROFILING_ENABLE");
    release_own(&o);
}
END_TEST

/* ---- launches ------------------------------------------------------------------------------- */

START_TEST(launch_errors_name_the_kernel)
{
    caps_error err = {0};
    char *cache = test_directory();
    caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache, .kernels = "cpu"};
    caps_runtime *rt = open_runtime(&options);
    caps_tensor v = {0};
    test_ok(caps_tensor_init(&v, rt, CAPS_F32, 1, (size_t[]){64}, &err));
    const caps_arg many[] = {CAPS_ARG_TENSOR(&v), CAPS_ARG_TENSOR(&v), CAPS_ARG_UINT(1),
        CAPS_ARG_UINT(1), CAPS_ARG_UINT(1), CAPS_ARG_UINT(1), CAPS_ARG_UINT(1)};
    const size_t one = 1, none = 0, huge = (size_t)1 << 28;

    ck_assert_int_ne(caps_launch(rt, "no_such", many, 1, 1, &one, NULL, &err), CAPS_OK);
    expect_message(
        &err, CAPS_ERR_OPENCL, "kernel no_such of family cpu: CL_INVALID_KERNEL_NAME (-46)");
    ck_assert_int_eq(err.cl_code, CL_INVALID_KERNEL_NAME);

    ck_assert_int_eq(
        caps_launch(rt, "squash_forward", many, 1, 1, &one, NULL, &err), CAPS_ERR_INTERNAL);
    expect_message(&err, CAPS_ERR_INTERNAL, "kernel squash_forward takes 8 arguments, 2 are given");
    ck_assert_int_eq(
        caps_launch(rt, "squash_forward", many, 7, 1, &one, NULL, &err), CAPS_ERR_INTERNAL);
    expect_message(
        &err, CAPS_ERR_INTERNAL, "kernel squash_forward takes 8 arguments, more are given");

    ck_assert_int_eq(
        caps_launch(rt, "squash_forward", many, 6, 1, &huge, &huge, &err), CAPS_ERR_OPENCL);
    ck_assert_msg(strncmp(err.message, "kernel squash_forward: ", 23) == 0, "%s", err.message);

    /* Nothing to do is done, even by a kernel that there is not. */
    test_ok(caps_launch(rt, "no_such", NULL, 0, 1, &none, NULL, &err));
    test_ok(squash_runs(rt, &err));
    caps_tensor_release(&v);
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

START_TEST(group_sizes_are_powers_of_two_that_fit)
{
    size_t most = 0;
    caps_runtime *rt = test_runtime();
    clGetDeviceInfo(
        caps_runtime_device(rt)->handle, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof most, &most, NULL);
    ck_assert_uint_eq(caps_group_size(rt, 1), 1);
    ck_assert_uint_eq(caps_group_size(rt, 0), 1);
    ck_assert_uint_eq(caps_group_size(rt, 31), most < 16 ? most : 16);
    size_t large = caps_group_size(rt, SIZE_MAX / 4);
    ck_assert(large <= most && large * 2 > most && (large & (large - 1)) == 0);
    ck_assert_uint_eq(caps_round_up(0, 8), 0);
    ck_assert_uint_eq(caps_round_up(9, 8), 16);
    ck_assert_uint_eq(caps_div_up(9, 8), 2);
}
END_TEST

/* ---- the profile ---------------------------------------------------------------------------- */

static uint64_t calls_of(const caps_profile_entry *entries, size_t n, const char *kernel)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i].kernel, kernel) == 0)
            return entries[i].calls;
    return 0;
}

START_TEST(the_profile_counts_calls_and_time)
{
    enum { MANY = 4200 }; /* more than the events that are kept unread */
    caps_error err = {0};
    char *cache = test_directory();
    caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache, .profile = true};
    caps_runtime *rt = open_runtime(&options);
    const caps_profile_entry *entries = NULL;
    size_t n = 7;
    caps_tensor small = {0}, large = {0}, to = {0};
    test_ok(caps_runtime_profile_get(rt, &entries, &n, &err));
    ck_assert_uint_eq(n, 0);
    test_ok(caps_tensor_init(&small, rt, CAPS_F32, 2, (size_t[]){1, 1}, &err));
    test_ok(caps_tensor_init(&large, rt, CAPS_F32, 3, (size_t[]){16, 64, 512}, &err));
    test_ok(caps_tensor_init(&to, rt, CAPS_F32, 2, (size_t[]){16, 64}, &err));
    test_ok(caps_tensor_zero(rt, &small, &err));
    test_ok(caps_tensor_zero(rt, &large, &err));
    for (int i = 0; i < 3; i++)
        test_ok(caps_squash_forward(rt, &small, &small, CAPS_SQUASH_PAPER, &err));
    for (int i = 0; i < 2; i++)
        test_ok(caps_lengths_forward(rt, &to, &large, &err));
    test_ok(caps_runtime_profile_get(rt, &entries, &n, &err));
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(calls_of(entries, n, "squash_forward"), 3);
    ck_assert_uint_eq(calls_of(entries, n, "lengths_forward"), 2);
    ck_assert_uint_gt(entries[0].time_ns, 0);
    ck_assert_uint_ge(entries[0].time_ns, entries[1].time_ns);

    uint64_t start = 0;
    test_ok(caps_profile_begin(rt, &start, &err));
    test_ok(caps_profile_end(rt, "gemm:library", start, &err));
    test_ok(caps_squash_forward(rt, &small, &small, CAPS_SQUASH_PAPER, &err));
    test_ok(caps_runtime_profile_get(rt, &entries, &n, &err));
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(calls_of(entries, n, "gemm:library"), 1);
    ck_assert_uint_eq(calls_of(entries, n, "squash_forward"), 4);

    test_ok(caps_squash_forward(rt, &small, &small, CAPS_SQUASH_PAPER, &err));
    caps_runtime_profile_reset(rt);
    test_ok(caps_runtime_profile_get(rt, &entries, &n, &err));
    ck_assert_uint_eq(n, 0);
    for (int i = 0; i < MANY; i++)
        test_ok(caps_squash_forward(rt, &small, &small, CAPS_SQUASH_PAPER, &err));
    test_ok(caps_runtime_profile_get(rt, &entries, &n, &err));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(entries[0].calls, MANY);
    caps_tensor_release(&small);
    caps_tensor_release(&large);
    caps_tensor_release(&to);
    /* Events that were never read are the runtime's to release. */
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

START_TEST(no_profile_unless_asked)
{
    caps_error err = {0};
    char *cache = test_directory();
    caps_runtime_options options = in(cache);
    caps_runtime *rt = open_runtime(&options);
    const caps_profile_entry *entries = NULL;
    size_t n = 7;
    uint64_t start = 7;
    test_ok(squash_runs(rt, &err));
    test_ok(caps_profile_begin(rt, &start, &err));
    test_ok(caps_profile_end(rt, "gemm:library", start, &err));
    test_ok(caps_runtime_profile_get(rt, &entries, &n, &err));
    ck_assert_uint_eq(n, 0);
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

/* ---- memory --------------------------------------------------------------------------------- */

START_TEST(bytes_are_counted_with_their_peak)
{
    caps_error err = {0};
    caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options)};
    caps_runtime *rt = open_runtime(&options);
    caps_tensor a = {0}, b = {0}, c = {0};
    ck_assert_uint_eq(caps_runtime_bytes(rt), 0);
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 0);
    test_ok(caps_tensor_init(&a, rt, CAPS_F32, 1, (size_t[]){1000}, &err));
    test_ok(caps_tensor_init(&b, rt, CAPS_I32, 2, (size_t[]){10, 50}, &err));
    ck_assert_uint_eq(caps_runtime_bytes(rt), 6000);
    caps_tensor_release(&a);
    ck_assert_uint_eq(caps_runtime_bytes(rt), 2000);
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 6000);
    test_ok(caps_tensor_init(&c, rt, CAPS_F32, 1, (size_t[]){500}, &err));
    ck_assert_uint_eq(caps_runtime_bytes(rt), 4000);
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 6000);
    caps_tensor_release(&b);
    caps_tensor_release(&c);
    ck_assert_uint_eq(caps_runtime_bytes(rt), 0);
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 6000);
    caps_runtime_free(rt);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("runtime");
    TCase *tc = tcase_create("runtime");
    tcase_set_timeout(tc, 0);
    tcase_add_checked_fixture(tc, environment_take, environment_give_back);
    tcase_add_test(tc, a_runtime_of_our_own_works);
    tcase_add_test(tc, creation_says_why_it_fails);
    tcase_add_test(tc, algorithms_are_requested);
    tcase_add_test(tc, the_family_is_chosen);
    tcase_add_test(tc, a_runtime_on_the_callers_queue);
    tcase_add_test(tc, a_queue_must_be_in_order);
    tcase_add_test(tc, handles_and_profiling_are_checked);
    tcase_add_test(tc, launch_errors_name_the_kernel);
    tcase_add_test(tc, group_sizes_are_powers_of_two_that_fit);
    tcase_add_test(tc, the_profile_counts_calls_and_time);
    tcase_add_test(tc, no_profile_unless_asked);
    tcase_add_test(tc, bytes_are_counted_with_their_peak);
    suite_add_tcase(s, tc);
    return s;
}
