/* batcher.c: a thread that fills a ring of batches; the caller takes them in order. */
#include "batcher.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "rng.h"

/* Those with the caller, one ready, one in the making. */
#define SLOTS (CAPS_BATCHES_HELD + 2)
#define LINE  64 /* bytes */

typedef struct slot {
    caps_batch batch;
    float *images, *targets; /* with room for the labels behind the images */
} slot;

struct caps_batcher {
    const caps_dataset *ds;
    caps_batcher_options options;
    uint64_t batches_per_epoch;
    size_t image_floats, labels_per_image;
    uint32_t *order; /* [n], only the thread's */
    void *block;     /* of all slots' arrays, */
    bool lent;       /* from options.memory */
    slot slots[SLOTS];

    pthread_t thread;
    bool started, mutex_made, filled_made, emptied_made;
    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t filled, emptied;
    uint64_t made, given; /* batches since the start; slot = number modulo SLOTS */
    uint64_t held;        /* the caller still reads so many before `given` */
    bool stop;
};

static void order_make(caps_batcher *b, uint64_t epoch)
{
    uint32_t n = (uint32_t)b->ds->n;
    if (b->options.shuffle) {
        caps_rng_shuffle(b->order, n, b->options.seed, (uint32_t)epoch);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        b->order[i] = i;
}

static void fill(caps_batcher *b, slot *s, uint64_t epoch, uint64_t index)
{
    size_t first = (size_t)index * b->options.batch, left = b->ds->n - first;
    size_t total = left < b->options.batch ? left : b->options.batch, at = 0, n = total;
    if (b->options.part)
        b->options.part(b->options.part_user, total, &at, &n);
    first += at;
    int32_t *labels = (void *)(s->images + n * b->image_floats);
    for (size_t i = 0; i < n; i++) {
        uint32_t which = b->order[first + i];
        size_t label = i * b->labels_per_image;
        caps_dataset_draw(b->ds, which, b->options.augment, b->options.seed, epoch,
            s->images + i * b->image_floats, labels + label,
            s->targets ? s->targets + label * b->image_floats : NULL);
    }
    s->batch = (caps_batch){.n = n,
        .total = total,
        .labels_per_image = b->labels_per_image,
        .images = s->images,
        .labels = labels,
        .targets = s->targets,
        .epoch = epoch,
        .index = index};
}

static void *batcher_run(void *context)
{
    caps_batcher *b = context;
    uint64_t epoch = b->options.first_epoch, index = b->options.first_batch;
    order_make(b, epoch);
    pthread_mutex_lock(&b->mutex);
    for (;;) {
        /* The held batches occupy slots still. */
        while (!b->stop && b->made - b->given + b->held >= SLOTS)
            pthread_cond_wait(&b->emptied, &b->mutex);
        if (b->stop)
            break;
        slot *s = &b->slots[b->made % SLOTS];
        pthread_mutex_unlock(&b->mutex);
        fill(b, s, epoch, index);
        for (index += b->options.every ? b->options.every : 1; index >= b->batches_per_epoch;) {
            index -= b->batches_per_epoch;
            order_make(b, ++epoch);
        }
        pthread_mutex_lock(&b->mutex);
        b->made++;
        pthread_cond_signal(&b->filled);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

/* The next of the arrays that follow each other, each on a cache line of its own. */
static void *carve(unsigned char **at, size_t bytes)
{
    void *array = *at;
    *at += (bytes + LINE - 1) / LINE * LINE;
    return array;
}

/* The arrays of all slots, in one block; false: out of memory. */
static bool slots_make(caps_batcher *b)
{
    const caps_batch_memory *memory = &b->options.memory;
    const size_t n = b->options.batch, l = b->labels_per_image;
    if (b->image_floats > SIZE_MAX / 64 / sizeof(float) / n)
        return false;
    const size_t images = n * b->image_floats * sizeof(float), labels = n * l * sizeof(int32_t);
    const size_t targets = b->ds->pairs ? l * images : 0;
    const size_t bytes = SLOTS * (images + labels + targets + 2 * LINE) + LINE;
    if (memory->take)
        b->block = memory->take(memory->user, bytes);
    b->lent = b->block != NULL;
    if (!b->lent)
        b->block = malloc(bytes);
    if (!b->block)
        return false;
    unsigned char *at = b->block;
    at += (LINE - (uintptr_t)at % LINE) % LINE;
    for (size_t i = 0; i < SLOTS; i++) {
        b->slots[i].images = carve(&at, images + labels);
        if (targets)
            b->slots[i].targets = carve(&at, targets);
    }
    return true;
}

/* Starts the thread with all signals blocked: Ctrl-C is for the thread that trains. */
static int batcher_start(caps_batcher *b)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&b->thread, NULL, batcher_run, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    b->started = code == 0;
    return code;
}

caps_status caps_batcher_create(caps_batcher **out, const caps_dataset *ds,
    const caps_batcher_options *options, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t chw[3];
    *out = NULL;
    if (options->batch == 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "batcher: batch is 0, need >= 1");
    status = caps_dataset_view_size(ds, options->augment, chw, err);
    if (status != CAPS_OK)
        return status;
    if (ds->n == 0 || ds->n > UINT32_MAX)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "batcher: %zu images, need 1..%u", ds->n, UINT32_MAX);

    caps_batcher *b = calloc(1, sizeof *b);
    if (!b)
        return caps_fail(err, CAPS_ERR_MEMORY, "batcher: out of memory");
    b->ds = ds;
    b->options = *options;
    b->image_floats = chw[0] * chw[1] * chw[2];
    b->labels_per_image = ds->pairs ? 2 : 1;
    if (b->options.batch > ds->n)
        b->options.batch = ds->n; /* the same sequence, without memory that stays unused */
    b->batches_per_epoch = (ds->n + b->options.batch - 1) / b->options.batch;
    /* "After the last batch of an epoch" is the start of the next. */
    b->options.first_epoch += options->first_batch / b->batches_per_epoch;
    b->options.first_batch = options->first_batch % b->batches_per_epoch;

    b->order = malloc(ds->n * sizeof *b->order);
    if (!b->order || !slots_make(b))
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY,
            "batcher: out of memory for %d batches of %zu images of %zux%zux%zu", SLOTS,
            b->options.batch, chw[0], chw[1], chw[2]));
    b->mutex_made = pthread_mutex_init(&b->mutex, NULL) == 0;
    b->filled_made = pthread_cond_init(&b->filled, NULL) == 0;
    b->emptied_made = pthread_cond_init(&b->emptied, NULL) == 0;
    if (!b->mutex_made || !b->filled_made || !b->emptied_made || batcher_start(b) != 0)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_MEMORY, "data: cannot start the thread that prepares batches"));
    *out = b;
    b = NULL;
done:
    caps_batcher_free(b);
    return status;
}

const caps_batch *caps_batcher_next(caps_batcher *b)
{
    pthread_mutex_lock(&b->mutex);
    if (b->held == CAPS_BATCHES_HELD) {
        b->held--;
        pthread_cond_signal(&b->emptied);
    }
    while (b->made == b->given)
        pthread_cond_wait(&b->filled, &b->mutex);
    const caps_batch *batch = &b->slots[b->given % SLOTS].batch;
    b->given++;
    b->held++;
    pthread_mutex_unlock(&b->mutex);
    return batch;
}

void caps_batcher_stop(caps_batcher *b)
{
    if (!b || !b->started)
        return;
    pthread_mutex_lock(&b->mutex);
    b->stop = true;
    pthread_cond_signal(&b->emptied);
    pthread_mutex_unlock(&b->mutex);
    pthread_join(b->thread, NULL);
    b->started = false;
}

void caps_batcher_free(caps_batcher *b)
{
    if (!b)
        return;
    caps_batcher_stop(b);
    if (b->emptied_made)
        pthread_cond_destroy(&b->emptied);
    if (b->filled_made)
        pthread_cond_destroy(&b->filled);
    if (b->mutex_made)
        pthread_mutex_destroy(&b->mutex);
    if (b->lent)
        b->options.memory.give(b->options.memory.user);
    else
        free(b->block);
    free(b->order);
    free(b);
}
