/* test_pinned.c: memory that a GPU reads by itself, and batches in it. */
#include <stdlib.h>
#include <string.h>

#include "batcher.h"
#include "launch.h"
#include "pinned.h"
#include "support.h"

enum { N = 23, SIDE = 6, IMAGE = SIDE * SIDE, BATCH = 5, BATCHES = 40 };

static uint8_t images[N * IMAGE], labels[N];

static caps_dataset set_of_images(void)
{
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)(i * 37 % 251);
    for (size_t i = 0; i < N; i++)
        labels[i] = (uint8_t)(i % 10);
    return (caps_dataset){.path = (char *)"memory",
        .n = N,
        .channels = 1,
        .height = SIDE,
        .width = SIDE,
        .classes = 10,
        .images = images,
        .labels = labels};
}

START_TEST(the_device_reads_it)
{
    enum { COUNT = 1000 };
    caps_error err = {0};
    caps_runtime *rt = test_runtime();
    caps_pinned p = {.rt = rt};
    float have[COUNT] = {0}, *host = caps_pinned_take(&p, COUNT * sizeof *host);
    caps_tensor t = test_tensor(NULL, 1, (size_t[]){COUNT});
    ck_assert_ptr_nonnull(host);
    for (int round = 0; round < 2; round++) { /* it is written again and again */
        for (size_t i = 0; i < COUNT; i++)
            host[i] = (float)i + 0.5f * (float)round;
        test_ok(caps_tensor_put(rt, &t, host, &err));
        test_ok(caps_tensor_download(rt, &t, have, &err));
        ck_assert_mem_eq(have, host, sizeof have);
    }
    caps_pinned_give(&p);
    ck_assert_ptr_null(p.host);
    ck_assert_ptr_null(p.buffer);
    caps_pinned_give(&p); /* nothing */
    test_tensor_release(&t);
}
END_TEST

/* More than any device has: there is none, and nothing is left behind. */
START_TEST(what_is_too_much_is_refused)
{
    caps_pinned p = {.rt = test_runtime()};
    ck_assert_ptr_null(caps_pinned_take(&p, SIZE_MAX / 2));
    ck_assert_ptr_null(p.buffer);
    caps_pinned_give(&p);
}
END_TEST

/* ---- batches -------------------------------------------------------------------------------- */

typedef struct lender {
    caps_pinned pinned;
    size_t bytes, taken, given;
    bool refuses;
} lender;

static void *lender_take(void *user, size_t bytes)
{
    lender *l = user;
    l->taken++;
    l->bytes = bytes;
    return l->refuses ? NULL : caps_pinned_take(&l->pinned, bytes);
}

static void lender_give(void *user)
{
    lender *l = user;
    l->given++;
    caps_pinned_give(&l->pinned);
}

/* Batches in memory that is lent, or that was refused, are those in memory of their own. */
START_TEST(batches_lie_in_it)
{
    caps_error err = {0};
    const caps_dataset ds = set_of_images();
    lender l = {.pinned = {.rt = test_runtime()}, .refuses = _i == 1};
    caps_batcher *own = NULL, *lent = NULL;
    caps_batcher_options o = {
        .batch = BATCH, .augment = CAPS_AUGMENT_SHIFT2, .shuffle = 1, .seed = 3};
    caps_tensor t = test_tensor(NULL, 2, (size_t[]){BATCH, IMAGE});
    float have[BATCH * IMAGE];
    test_ok(caps_batcher_create(&own, &ds, &o, &err));
    o.memory = (caps_batch_memory){&l, lender_take, lender_give};
    test_ok(caps_batcher_create(&lent, &ds, &o, &err));
    ck_assert_uint_eq(l.taken, 1);
    for (size_t i = 0; i < BATCHES; i++) {
        const caps_batch *a = caps_batcher_next(own), *b = caps_batcher_next(lent);
        const caps_tensor rows = caps_tensor_rows(&t, 0, b->n);
        const char *at = (const char *)b->images, *block = l.pinned.host;
        ck_assert_uint_eq(a->n, b->n);
        ck_assert_mem_eq(a->labels, b->labels, a->n * sizeof *a->labels);
        test_ok(caps_tensor_upload(test_runtime(), &rows, b->images, &err));
        test_ok(caps_tensor_download(test_runtime(), &rows, have, &err));
        ck_assert_mem_eq(have, a->images, a->n * IMAGE * sizeof(float));
        if (!l.refuses)
            ck_assert(at >= block && at + b->n * IMAGE * sizeof(float) <= block + l.bytes);
    }
    caps_batcher_free(own);
    caps_batcher_free(lent);
    ck_assert_uint_eq(l.given, !l.refuses);
    test_tensor_release(&t);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("pinned memory");
    TCase *tc = tcase_create("pinned");
    tcase_set_timeout(tc, 0);
    tcase_add_test(tc, the_device_reads_it);
    tcase_add_test(tc, what_is_too_much_is_refused);
    tcase_add_loop_test(tc, batches_lie_in_it, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
