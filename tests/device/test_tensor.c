/* test_tensor.c: tensors, views, transfers; and arenas. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/ops.h>

#include "arena.h"
#include "runtime_state.h"
#include "support.h"

static caps_runtime *rt; /* of its own: its memory limits are set below */

static void open_own(void)
{
    caps_error err = {0};
    caps_runtime *shared = test_runtime();
    test_ok(caps_runtime_create_from(&rt, caps_runtime_context(shared),
        caps_runtime_device(shared)->handle, caps_runtime_queue(shared), NULL, &err));
}

static void close_own(void)
{
    ck_assert_uint_eq(caps_runtime_bytes(rt), 0); /* every test gives back what it took */
    caps_runtime_free(rt);
    rt = NULL;
}

/* A device that has less than this one. */
static void limit_memory(uint64_t all_bytes, uint64_t buffer_bytes)
{
    rt->device.global_mem_bytes = all_bytes;
    rt->device.max_alloc_bytes = buffer_bytes;
    snprintf(rt->device.id, sizeof rt->device.id, "0:0");
    snprintf(rt->device.name, sizeof rt->device.name, "Small");
}

/* ---- tensors -------------------------------------------------------------------------------- */

START_TEST(init_gives_a_tensor)
{
    caps_error err = {0};
    caps_tensor t;
    memset(&t, 0x55, sizeof t); /* what was there does not matter */
    test_ok(caps_tensor_init(&t, rt, CAPS_I32, 6, (size_t[]){1, 2, 3, 4, 5, 6}, &err));
    ck_assert_int_eq(t.ndim, 6);
    ck_assert_int_eq(t.dtype, CAPS_I32);
    ck_assert_uint_eq(t.offset, 0);
    ck_assert_ptr_eq(t.owner, rt);
    ck_assert_uint_eq(caps_tensor_count(&t), 720);
    ck_assert_uint_eq(caps_tensor_bytes(&t), 2880);
    ck_assert_uint_eq(caps_runtime_bytes(rt), 2880);
    caps_tensor_release(&t);
    ck_assert_ptr_null(t.buffer);
    caps_tensor_release(&t); /* zeroed: allowed */
}
END_TEST

START_TEST(init_refuses)
{
    caps_error err = {0};
    caps_tensor t;
    static const struct {
        int ndim;
        size_t shape[7];
        caps_status status;
        const char *message;
    } wrong[] = {
        {0, {1}, CAPS_ERR_ARGUMENT, "tensor: 0 dimensions, need 1 to 6"},
        {-1, {1}, CAPS_ERR_ARGUMENT, "tensor: -1 dimensions, need 1 to 6"},
        {7, {1, 1, 1, 1, 1, 1, 1}, CAPS_ERR_ARGUMENT, "tensor: 7 dimensions, need 1 to 6"},
        {3, {4, 0, 2}, CAPS_ERR_ARGUMENT, "tensor: dimension 1 is 0, need >= 1"},
        {3, {SIZE_MAX, SIZE_MAX, 0}, CAPS_ERR_DEVICE_MEMORY,
            "tensor: dimension 0 of 18446744073709551615 makes it larger than memory can be"},
        {2, {(size_t)1 << 32, (size_t)1 << 31}, CAPS_ERR_DEVICE_MEMORY,
            "tensor: dimension 1 of 2147483648 makes it larger than memory can be"},
        {2, {1024, 257}, CAPS_ERR_DEVICE_MEMORY,
            "a tensor needs one buffer of 1.0 MiB; the largest that device 0:0 gives is 1.0 MiB"},
        {1, {(size_t)1 << 40}, CAPS_ERR_DEVICE_MEMORY,
            "a tensor needs one buffer of 4194304.0 MiB; the largest that device 0:0 gives is 1.0 "
            "MiB"},
    };
    limit_memory(2 << 20, 1 << 20);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&t, 0x55, sizeof t);
        ck_assert_int_eq(caps_tensor_init(&t, rt, CAPS_F32, wrong[i].ndim, wrong[i].shape, &err),
            wrong[i].status);
        ck_assert_str_eq(err.message, wrong[i].message);
        ck_assert_ptr_null(t.buffer);
        ck_assert_ptr_null(t.owner);
        caps_tensor_release(&t);
    }
}
END_TEST

START_TEST(memory_in_use_counts)
{
    caps_error err = {0};
    caps_tensor a = {0}, b = {0}, c = {0};
    const size_t mib = (1 << 20) / 4;
    limit_memory(5 << 19, 2 << 20); /* 2.5 MiB, 2 MiB in one */
    test_ok(caps_tensor_init(&a, rt, CAPS_F32, 1, (size_t[]){mib}, &err));
    test_ok(caps_tensor_init(&b, rt, CAPS_F32, 1, (size_t[]){mib}, &err));
    ck_assert_int_eq(
        caps_tensor_init(&c, rt, CAPS_F32, 1, (size_t[]){mib}, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_str_eq(
        err.message, "a tensor needs 1.0 MiB beside 2.0 MiB in use; device 0:0 has 2.5 MiB");
    caps_tensor_release(&a);
    test_ok(caps_tensor_init(&c, rt, CAPS_F32, 1, (size_t[]){mib}, &err));
    caps_tensor_release(&b);
    caps_tensor_release(&c);
}
END_TEST

/* ---- views ---------------------------------------------------------------------------------- */

START_TEST(views_share_the_buffer)
{
    caps_error err = {0};
    enum { N = 2 * 3 * 4 };
    int32_t all[N + 5], part[N];
    caps_tensor t = {0};
    for (int i = 0; i < N + 5; i++)
        all[i] = 1000 + i;
    test_ok(caps_tensor_init(&t, rt, CAPS_I32, 1, (size_t[]){N + 5}, &err));
    test_ok(caps_tensor_upload(rt, &t, all, &err));

    caps_tensor w = caps_tensor_wrap(t.buffer, 5, CAPS_I32, 3, (size_t[]){2, 3, 4});
    ck_assert_ptr_null(w.owner);
    ck_assert_uint_eq(caps_tensor_count(&w), N);
    test_ok(caps_tensor_download(rt, &w, part, &err));
    ck_assert_int_eq(memcmp(part, all + 5, sizeof part), 0);

    caps_tensor second = caps_tensor_rows(&w, 1, 1);
    ck_assert(second.ndim == 3 && second.shape[0] == 1 && second.shape[1] == 3);
    test_ok(caps_tensor_download(rt, &second, part, &err));
    ck_assert_int_eq(memcmp(part, all + 5 + 12, 12 * sizeof *part), 0);

    caps_tensor six = caps_tensor_reshape(&w, 2, (size_t[]){6, 4});
    ck_assert(six.ndim == 2 && six.shape[0] == 6 && six.shape[1] == 4 && six.dtype == CAPS_I32);
    caps_tensor middle = caps_tensor_rows(&six, 2, 3);
    ck_assert_uint_eq(middle.offset, 5 + 8);
    test_ok(caps_tensor_download(rt, &middle, part, &err));
    ck_assert_int_eq(memcmp(part, all + 5 + 8, 12 * sizeof *part), 0);
    ck_assert_uint_eq(caps_tensor_count(&(caps_tensor){.ndim = 1, .shape = {0}}), 0);
    caps_tensor none = caps_tensor_rows(&six, 6, 0);
    ck_assert_uint_eq(caps_tensor_count(&none), 0);

    /* What is written through a view is in the tensor; views of an owner own nothing. */
    const int32_t fresh[4] = {-1, -2, -3, INT32_MIN};
    caps_tensor row = caps_tensor_rows(&six, 5, 1);
    test_ok(caps_tensor_upload(rt, &row, fresh, &err));
    memcpy(all + 5 + 20, fresh, sizeof fresh);
    int32_t back[N + 5];
    test_ok(caps_tensor_download(rt, &t, back, &err));
    ck_assert_int_eq(memcmp(back, all, sizeof all), 0);
    caps_tensor whole = caps_tensor_rows(&t, 0, N + 5);
    caps_tensor flat = caps_tensor_reshape(&t, 1, (size_t[]){N + 5});
    caps_tensor_release(&whole);
    caps_tensor_release(&flat);
    test_ok(caps_tensor_download(rt, &t, back, &err));
    caps_tensor_release(&t);
}
END_TEST

/* ---- transfers: tensors of test_tensor begin at an odd offset, between guards ---------------- */

START_TEST(zero_and_copy_at_odd_offsets)
{
    caps_error err = {0};
    const size_t shape[] = {7, 3}, flat[] = {21}, wrong[] = {20};
    double *values = test_random(21, 5, -1, 1), *zero = test_zeros(21);
    caps_tensor from = test_tensor(values, 2, shape), to = test_tensor(NULL, 1, flat);
    caps_tensor shorter = test_tensor(NULL, 1, wrong);
    test_ok(caps_tensor_copy(rt, &to, &from, &err));
    test_expect(&to, values, 0, "a copy");
    test_expect(&from, values, 0, "what was copied");
    test_ok(caps_tensor_zero(rt, &from, &err));
    test_expect(&from, zero, 0, "a zeroed tensor");
    test_expect(&to, values, 0, "the copy");
    /* Three rows of the one onto another three. */
    caps_tensor square = caps_tensor_reshape(&to, 2, shape);
    caps_tensor first = caps_tensor_rows(&square, 1, 3), last = caps_tensor_rows(&from, 4, 3);
    test_ok(caps_tensor_copy(rt, &last, &first, &err));
    memcpy(zero + 12, values + 3, 9 * sizeof *zero);
    test_expect(&from, zero, 0, "copied rows");
    ck_assert_int_eq(caps_tensor_copy(rt, &shorter, &to, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "copy: 21 elements into 20");
    test_tensor_release(&from); /* checks the guards */
    test_tensor_release(&to);
    test_tensor_release(&shorter);
    free(values);
    free(zero);
}
END_TEST

START_TEST(every_bit_comes_back)
{
    caps_error err = {0};
    /* A signalling NaN, infinities, the least denormal, -0: transfers are of words. */
    static const uint32_t words[5] = {0x7fa00001u, 0x7f800000u, 0xff800000u, 1u, 0x80000000u};
    uint32_t back[5] = {0};
    caps_tensor t = test_tensor(NULL, 1, (size_t[]){5}), u = test_tensor(NULL, 1, (size_t[]){5});
    test_ok(caps_tensor_upload(rt, &t, words, &err));
    test_ok(caps_tensor_copy(rt, &u, &t, &err));
    test_ok(caps_tensor_download(rt, &u, back, &err));
    ck_assert_int_eq(memcmp(words, back, sizeof words), 0);
    test_tensor_release(&t);
    test_tensor_release(&u);
}
END_TEST

START_TEST(transfers_beyond_the_buffer_fail)
{
    caps_error err = {0};
    float host[16] = {0};
    caps_tensor t = {0};
    test_ok(caps_tensor_init(&t, rt, CAPS_F32, 1, (size_t[]){8}, &err));
    caps_tensor beyond = caps_tensor_wrap(t.buffer, 4, CAPS_F32, 1, (size_t[]){5});
    ck_assert_int_eq(caps_tensor_upload(rt, &beyond, host, &err), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "upload of 20 bytes: CL_INVALID_VALUE (-30)");
    ck_assert_int_eq(caps_tensor_download(rt, &beyond, host, &err), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "download of 20 bytes: CL_INVALID_VALUE (-30)");
    ck_assert_int_eq(caps_tensor_zero(rt, &beyond, &err), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "zeroing of 20 bytes: CL_INVALID_VALUE (-30)");
    caps_tensor other = caps_tensor_wrap(t.buffer, 0, CAPS_F32, 1, (size_t[]){5});
    ck_assert_int_eq(caps_tensor_copy(rt, &other, &beyond, &err), CAPS_ERR_OPENCL);
    ck_assert_int_eq(err.cl_code, CL_INVALID_VALUE);
    caps_tensor_release(&t);
}
END_TEST

/* ---- arenas --------------------------------------------------------------------------------- */

#define ALIGN 256 /* bytes; see arena.c */

START_TEST(an_arena_is_planned_then_allocated)
{
    caps_error err = {0};
    enum { TENSORS = 5 };
    static const size_t counts[TENSORS] = {1, 64, 65, 300, 7};
    static const caps_purpose purposes[TENSORS] = {CAPS_PURPOSE_PARAMETERS, CAPS_PURPOSE_PARAMETERS,
        CAPS_PURPOSE_GRADIENTS, CAPS_PURPOSE_WORKSPACE, CAPS_PURPOSE_PARAMETERS};
    caps_tensor t[TENSORS];
    caps_arena *arena = NULL;
    test_ok(caps_arena_create(&arena, &err));
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_COUNT), 0);
    for (int i = 0; i < TENSORS; i++) {
        test_ok(
            caps_arena_add(arena, &t[i], purposes[i], CAPS_I32, 2, (size_t[]){1, counts[i]}, &err));
        ck_assert(t[i].ndim == 2 && t[i].shape[1] == counts[i] && t[i].dtype == CAPS_I32);
        ck_assert_ptr_null(t[i].buffer);
    }
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_PARAMETERS), 3 * ALIGN);
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_GRADIENTS), 2 * ALIGN);
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_MOMENTS), 0);
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_WORKSPACE), 5 * ALIGN);
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_COUNT), 10 * ALIGN);
    ck_assert_uint_eq(caps_runtime_bytes(rt), 0);
    test_ok(caps_arena_commit(arena, rt, &err));
    ck_assert_uint_eq(caps_runtime_bytes(rt), 10 * ALIGN);

    /* Aligned, and no two share an element: each keeps what is written to it. */
    int32_t values[TENSORS][300], back[300];
    for (int i = 0; i < TENSORS; i++) {
        ck_assert_ptr_eq(t[i].buffer, t[0].buffer);
        ck_assert_uint_eq(t[i].offset * 4 % ALIGN, 0);
        for (size_t n = 0; n < counts[i]; n++)
            values[i][n] = (int32_t)(1000 * i + (int)n);
        test_ok(caps_tensor_upload(rt, &t[i], values[i], &err));
    }
    for (int i = 0; i < TENSORS; i++) {
        test_ok(caps_tensor_download(rt, &t[i], back, &err));
        ck_assert_int_eq(memcmp(back, values[i], counts[i] * sizeof *back), 0);
        caps_tensor_release(&t[i]); /* a view: frees nothing */
    }
    ck_assert_uint_eq(caps_runtime_bytes(rt), 10 * ALIGN);
    caps_arena_free(arena);
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 10 * ALIGN);
}
END_TEST

/* More than one allocation can give: as few buffers as hold it, each within the limit. */
START_TEST(an_arena_takes_several_buffers)
{
    caps_error err = {0};
    enum { TENSORS = 40 }; /* more than a plan has room for at first */
    caps_tensor t[TENSORS];
    size_t used[TENSORS] = {0}, buffers = 0;
    cl_mem seen[TENSORS];
    caps_arena *arena = NULL;
    limit_memory(1 << 20, 10 * ALIGN);
    test_ok(caps_arena_create(&arena, &err));
    /* 1, 2, 3, 4, 1, 2, ... units of ALIGN: ten of each size, 100 units in all. */
    for (size_t i = 0; i < TENSORS; i++)
        test_ok(caps_arena_add(arena, &t[i], CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1,
            (size_t[]){(i % 4 + 1) * ALIGN / 4}, &err));
    test_ok(caps_arena_commit(arena, rt, &err));
    ck_assert_uint_eq(caps_runtime_bytes(rt), 100 * ALIGN);
    for (size_t i = 0; i < TENSORS; i++) {
        size_t b = 0, end = t[i].offset * 4 + caps_tensor_bytes(&t[i]);
        while (b < buffers && seen[b] != t[i].buffer)
            b++;
        if (b == buffers)
            seen[buffers++] = t[i].buffer;
        ck_assert_uint_ge(t[i].offset * 4, used[b]); /* in order: none overlaps the one before */
        ck_assert_uint_le(end, 10 * ALIGN);
        used[b] = end;
    }
    ck_assert_uint_eq(buffers, 10);
    caps_arena_free(arena);
}
END_TEST

START_TEST(an_arena_that_does_not_fit_says_so)
{
    caps_error err = {0};
    const size_t mib = (1 << 20) / 4;
    caps_tensor t[4];
    caps_arena *arena = NULL;
    limit_memory(7 << 19, 2 << 20); /* 3.5 MiB, 2 MiB in one */
    test_ok(caps_arena_create(&arena, &err));
    for (int i = 0; i < 4; i++)
        test_ok(caps_arena_add(
            arena, &t[i], CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, (size_t[]){mib}, &err));
    ck_assert_int_eq(caps_arena_commit(arena, rt, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_str_eq(
        err.message, "4.0 MiB of device memory needed, device 0:0 (Small) has 3.5 MiB");
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 0);
    ck_assert_ptr_null(t[0].buffer);
    caps_arena_free(arena);

    test_ok(caps_arena_create(&arena, &err));
    test_ok(caps_arena_add(arena, &t[0], CAPS_PURPOSE_WORKSPACE, CAPS_F32, 1, (size_t[]){4}, &err));
    test_ok(caps_arena_add(
        arena, &t[1], CAPS_PURPOSE_WORKSPACE, CAPS_F32, 2, (size_t[]){3, mib}, &err));
    ck_assert_int_eq(caps_arena_commit(arena, rt, &err), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_str_eq(err.message, "one tensor of 3.0 MiB needed, the largest that device 0:0 "
                                  "(Small) gives is 2.0 MiB");
    ck_assert_uint_eq(caps_runtime_peak_bytes(rt), 0);
    caps_arena_free(arena);
}
END_TEST

START_TEST(an_arena_refuses_impossible_shapes)
{
    caps_error err = {0};
    caps_tensor t;
    caps_arena *arena = NULL;
    test_ok(caps_arena_create(&arena, &err));
    ck_assert_int_eq(
        caps_arena_add(arena, &t, CAPS_PURPOSE_MOMENTS, CAPS_F32, 3, (size_t[]){2, 3, 0}, &err),
        CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "arena: dimension 2 is 0, need >= 1");
    ck_assert_int_eq(caps_arena_add(arena, &t, CAPS_PURPOSE_MOMENTS, CAPS_F32, 3,
                         (size_t[]){SIZE_MAX / 2, SIZE_MAX / 2, SIZE_MAX / 2}, &err),
        CAPS_ERR_DEVICE_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message, "is larger than any memory"));
    ck_assert_uint_eq(caps_arena_bytes(arena, CAPS_PURPOSE_COUNT), 0);
    test_ok(caps_arena_commit(arena, rt, &err)); /* an empty one is no fault */
    caps_arena_free(arena);
    caps_arena_free(NULL);
    /* Planned, never committed. */
    test_ok(caps_arena_create(&arena, &err));
    test_ok(caps_arena_add(arena, &t, CAPS_PURPOSE_MOMENTS, CAPS_F32, 1, (size_t[]){9}, &err));
    caps_arena_free(arena);
}
END_TEST

/* ---- memory of the caller ------------------------------------------------------------------- */

enum { HOST_ROWS = 5, HOST_COLUMNS = 24 };

/* Squashes rows of `x` into `v`, both in host memory, and expects what the reference says. */
static void squash_in(float *v, float *x)
{
    caps_error err = {0};
    caps_tensor tv, tx;
    const size_t shape[] = {HOST_ROWS, HOST_COLUMNS};
    for (size_t i = 0; i < HOST_ROWS * HOST_COLUMNS; i++)
        x[i] = (float)(i % 7) - 3;
    test_ok(caps_tensor_init_host(&tv, rt, CAPS_F32, 2, shape, v, &err));
    test_ok(caps_tensor_init_host(&tx, rt, CAPS_F32, 2, shape, x, &err));
    ck_assert_uint_eq(caps_runtime_bytes(rt), 2 * caps_tensor_bytes(&tv));
    test_ok(caps_squash_forward(rt, &tv, &tx, CAPS_SQUASH_PAPER, &err));
    test_ok(caps_tensor_read_host(rt, &tv, v, &err));
    caps_tensor_release(&tv);
    caps_tensor_release(&tx);
    for (size_t r = 0; r < HOST_ROWS; r++) {
        double square = 0;
        for (size_t k = 0; k < HOST_COLUMNS; k++)
            square += (double)x[r * HOST_COLUMNS + k] * (double)x[r * HOST_COLUMNS + k];
        for (size_t k = 0; k < HOST_COLUMNS; k++) {
            const size_t i = r * HOST_COLUMNS + k;
            ck_assert_double_eq_tol((double)v[i], (double)x[i] * sqrt(square) / (1 + square), 1e-6);
        }
    }
}

START_TEST(tensors_in_memory_of_the_caller)
{
    const size_t unit = CAPS_HOST_ALIGNMENT, values = HOST_ROWS * HOST_COLUMNS * sizeof(float);
    const size_t bytes = (values + unit - 1) / unit * unit + 2 * unit; /* a multiple, as C11 asks */
    float *v = aligned_alloc(unit, bytes), *x = aligned_alloc(unit, bytes);
    ck_assert(v && x);
    for (size_t i = 0; i < bytes / sizeof *v; i++)
        v[i] = x[i] = NAN;
    squash_in(v, x);
    squash_in(v + 1, x + 3); /* not aligned: copied */
    squash_in(v, x + 1);
    const size_t end = HOST_ROWS * HOST_COLUMNS;
    ck_assert(isnan(v[end + 1]) && isnan(x[end + 3])); /* nothing else is touched */
    free(v);
    free(x);
}
END_TEST

START_TEST(memory_of_the_caller_is_not_copied)
{
    caps_error err = {0};
    caps_tensor t;
    if (!caps_runtime_device(rt)->shares_host_memory || caps_is_simulated(rt))
        return; /* a device with memory of its own copies */
    int32_t *host = aligned_alloc(CAPS_HOST_ALIGNMENT, 1024 * sizeof *host);
    ck_assert_ptr_nonnull(host);
    for (int i = 0; i < 1024; i++)
        host[i] = 7;
    test_ok(caps_tensor_init_host(&t, rt, CAPS_I32, 1, (size_t[]){1024}, host, &err));
    void *own = NULL;
    ck_assert_int_eq(clGetMemObjectInfo(t.buffer, CL_MEM_HOST_PTR, sizeof own, &own, NULL), 0);
    ck_assert_ptr_eq(own, host);
    test_ok(caps_tensor_zero(rt, &t, &err));
    test_ok(caps_tensor_read_host(rt, &t, host, &err));
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(host[i], 0);
    caps_tensor_release(&t);
    free(host);
}
END_TEST

START_TEST(memory_of_the_caller_is_refused)
{
    caps_error err = {0};
    caps_tensor t;
    float x[4] = {0};
    ck_assert_int_eq(
        caps_tensor_init_host(&t, rt, CAPS_F32, 1, (size_t[]){4}, NULL, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "tensor: the host memory is NULL, need some");
    ck_assert_int_eq(
        caps_tensor_init_host(&t, rt, CAPS_F32, 2, (size_t[]){4, 0}, x, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "tensor: dimension 1 is 0, need >= 1");
    ck_assert_ptr_null(t.buffer);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("tensor");
    TCase *tc = tcase_create("tensor");
    tcase_set_timeout(tc, 0);
    tcase_add_checked_fixture(tc, open_own, close_own);
    tcase_add_test(tc, init_gives_a_tensor);
    tcase_add_test(tc, init_refuses);
    tcase_add_test(tc, memory_in_use_counts);
    tcase_add_test(tc, views_share_the_buffer);
    tcase_add_test(tc, zero_and_copy_at_odd_offsets);
    tcase_add_test(tc, every_bit_comes_back);
    tcase_add_test(tc, transfers_beyond_the_buffer_fail);
    tcase_add_test(tc, an_arena_is_planned_then_allocated);
    tcase_add_test(tc, an_arena_takes_several_buffers);
    tcase_add_test(tc, an_arena_that_does_not_fit_says_so);
    tcase_add_test(tc, an_arena_refuses_impossible_shapes);
    tcase_add_test(tc, tensors_in_memory_of_the_caller);
    tcase_add_test(tc, memory_of_the_caller_is_not_copied);
    tcase_add_test(tc, memory_of_the_caller_is_refused);
    suite_add_tcase(s, tc);
    return s;
}
