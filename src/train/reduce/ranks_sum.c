/* ranks_sum.c: sums of gradients over ranks. See ranks.h. */
#include "ranks_state.h"

#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "fail.h"
#include "slices.h"

typedef struct piece {
    size_t count;
    float *data;   /* this rank's, in place of which the sum comes */
    bool put;      /* it is here */
    size_t parts;  /* of the own slice: those of other ranks that are missing */
    size_t slices; /* sums that are missing, and those of the own that are not sent yet */
    size_t sends;  /* sharded: parts of other slices that are not sent yet, and the own sum */
    bool summed;   /* under the lock: these are done */
    void **others; /* [ranks]: parts of the own slice; NULL of this rank and of an empty slice */
    /* Of sums in bfloat16: what is sent and received, and what rounding has left of this rank's
     * gradients and of the own slice's sums (bf16.h). */
    uint16_t *halves;        /* [count] */
    float *left, *left_sums; /* [count], [own slice] */
    bool done;               /* under the lock */
} piece;

struct caps_sums {
    size_t n;
    piece *pieces;    /* [n] */
    bool *takes_part; /* [ranks] */
    caps_reduce way;
    bool sharded; /* parameters go back in place of sums */
    size_t busy;  /* messages on their way, under the lock, as are */
    size_t calls; /* that the courier has not come to yet, and whether */
    bool aborted; /* nobody waits any more */
};

/* ---- the courier's -------------------------------------------------------------------------- */

/* bytes: floats of a sum. */
static void start_of(caps_ranks *r, caps_op_kind kind, void *data, size_t bytes, int peer, size_t i,
    void (*done)(caps_ranks *r, caps_op *op))
{
    caps_sums *s = r->sums;
    caps_op *op = calloc(1, sizeof *op);
    if (!op) {
        caps_ranks_fail(
            r, r->place.rank, CAPS_ERR_MEMORY, false, "%s", "out of memory for messages");
        return;
    }
    *op = (caps_op){.kind = kind,
        .data = data,
        .bytes = bytes,
        .peer = peer,
        .tag = CAPS_TAG_PIECES + (int)i,
        .done = done,
        .piece = i,
        .pending = &s->busy,
        .borrowed = true};
    pthread_mutex_lock(&r->lock);
    s->busy++;
    pthread_mutex_unlock(&r->lock);
    caps_ranks_start(r, op);
}

/* From element `first` on of what goes between the ranks. */
static void start(caps_ranks *r, caps_op_kind kind, size_t first, size_t count, int peer, size_t i,
    void (*done)(caps_ranks *r, caps_op *op))
{
    const piece *p = &r->sums->pieces[i];
    if (r->sums->way == CAPS_REDUCE_BF16)
        start_of(r, kind, p->halves + first, count * sizeof *p->halves, peer, i, done);
    else
        start_of(r, kind, p->data + first, kind == CAPS_OP_SUM ? count : count * sizeof *p->data,
            peer, i, done);
}

static void piece_done(caps_ranks *r, size_t i)
{
    pthread_mutex_lock(&r->lock);
    r->sums->pieces[i].done = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void slice_done(caps_ranks *r, size_t i)
{
    if (--r->sums->pieces[i].slices == 0)
        piece_done(r, i);
}

/* A sum has come, or this rank's own has been sent. */
static void on_sum(caps_ranks *r, caps_op *op)
{
    piece *p = &r->sums->pieces[op->piece];
    if (r->sums->way == CAPS_REDUCE_BF16 && op->kind == CAPS_OP_RECEIVE) {
        const uint16_t *halves = op->data;
        caps_bf16_read(p->data + (halves - p->halves), halves, op->bytes / sizeof *halves);
    }
    slice_done(r, op->piece);
    caps_op_free(r, op);
}

static void on_whole(caps_ranks *r, caps_op *op)
{
    piece_done(r, op->piece);
    caps_op_free(r, op);
}

/* The sum comes in place of this rank's part, which has been sent. */
static void receive_sum(caps_ranks *r, size_t i, int owner)
{
    size_t first;
    const size_t count = caps_slice_get(&first, r->sums->pieces[i].count, r->place.count, owner);
    start(r, CAPS_OP_RECEIVE, first, count, owner, i, on_sum);
}

/* Sharded: a part was sent, or the own slice is summed. */
static void send_done(caps_ranks *r, size_t i)
{
    piece *p = &r->sums->pieces[i];
    if (--p->sends > 0)
        return;
    pthread_mutex_lock(&r->lock);
    p->summed = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_part_sent(caps_ranks *r, caps_op *op)
{
    if (r->sums->sharded)
        send_done(r, op->piece);
    else
        receive_sum(r, op->piece, op->peer);
    caps_op_free(r, op);
}

enum { BLOCK = 2048 }; /* floats that stay in the first cache while they are summed */

/* Parts of the own slice, in the order of the ranks. */
static void add_parts(const caps_ranks *r, const piece *p, size_t first, size_t count)
{
    const caps_sums *s = r->sums;
    const bool half = s->way == CAPS_REDUCE_BF16;
    const void *own = half ? (const void *)(p->halves + first) : p->data + first;
    float sum[BLOCK];
    for (size_t at = 0, length; at < count; at += length) {
        bool any = false;
        length = count - at < BLOCK ? count - at : BLOCK;
        for (int k = 0; k < r->place.count; k++)
            if (s->takes_part[k]) {
                caps_slice_add(
                    s->way, k == r->place.rank ? own : p->others[k], sum, at, length, !any);
                any = true;
            }
        float *to = p->data + first + at;
        if (half) { /* what is sent is also what this rank goes on with */
            caps_bf16_round(p->halves + first + at, p->left_sums + at, sum, length);
            caps_bf16_read(to, p->halves + first + at, length);
        } else
            memcpy(to, sum, length * sizeof *sum);
    }
}

/* The own slice, to all. */
static void send_own(caps_ranks *r, size_t i)
{
    size_t first;
    const size_t count =
        caps_slice_get(&first, r->sums->pieces[i].count, r->place.count, r->place.rank);
    for (int k = 0; k < r->place.count; k++)
        if (k != r->place.rank)
            start(r, CAPS_OP_SEND, first, count, k, i, on_sum);
    slice_done(r, i);
}

/* Once all parts of the own slice are here: its sum, to all. */
static void try_own(caps_ranks *r, size_t i)
{
    piece *p = &r->sums->pieces[i];
    size_t first;
    const size_t count = caps_slice_get(&first, p->count, r->place.count, r->place.rank);
    if (!p->put || p->parts > 0 || count == 0)
        return;
    add_parts(r, p, first, count);
    if (r->sums->sharded)
        send_done(r, i);
    else
        send_own(r, i);
}

static void on_part(caps_ranks *r, caps_op *op)
{
    r->sums->pieces[op->piece].parts--;
    try_own(r, op->piece);
    caps_op_free(r, op);
}

/* A step: the parts of the own slices may come. */
static void sums_begin(caps_ranks *r, caps_op *op)
{
    caps_sums *s = r->sums;
    const int me = r->place.rank;
    for (size_t i = 0; i < s->n && s->way != CAPS_REDUCE_FAST; i++) {
        size_t first;
        const size_t count = caps_slice_get(&first, s->pieces[i].count, r->place.count, me);
        for (int k = 0; k < r->place.count && count > 0; k++)
            if (k != me && s->takes_part[k])
                start_of(r, CAPS_OP_RECEIVE, s->pieces[i].others[k],
                    count * caps_slice_width(s->way), k, i, on_part);
    }
    free(op);
}

static void sums_put(caps_ranks *r, caps_op *op)
{
    caps_sums *s = r->sums;
    const size_t i = op->piece;
    piece *p = &s->pieces[i];
    const bool takes_part = s->takes_part[r->place.rank];
    p->data = op->data;
    p->put = true;
    free(op);
    if (s->way == CAPS_REDUCE_FAST) {
        if (!takes_part)
            memset(p->data, 0, p->count * sizeof *p->data);
        start(r, CAPS_OP_SUM, 0, p->count, 0, i, on_whole);
        return;
    }
    if (s->way == CAPS_REDUCE_BF16 && takes_part)
        caps_bf16_round(p->halves, p->left, p->data, p->count);
    for (int k = 0; k < r->place.count; k++) {
        size_t first;
        const size_t count = caps_slice_get(&first, p->count, r->place.count, k);
        if (k == r->place.rank || count == 0)
            continue;
        if (takes_part)
            start(r, CAPS_OP_SEND, first, count, k, i, on_part_sent);
        else if (!s->sharded)
            receive_sum(r, i, k);
    }
    try_own(r, i);
    if (s->sharded)
        send_done(r, i); /* of what was to be started */
}

/* Sharded: the own slice has its new parameters, those of the others come. */
static void sums_show(caps_ranks *r, caps_op *op)
{
    const size_t i = op->piece;
    piece *p = &r->sums->pieces[i];
    size_t first;
    p->data = op->data;
    free(op);
    for (int k = 0; k < r->place.count; k++)
        if (k != r->place.rank && caps_slice_get(&first, p->count, r->place.count, k) > 0)
            receive_sum(r, i, k);
    if (caps_slice_get(&first, p->count, r->place.count, r->place.rank) > 0)
        send_own(r, i);
}

/* ---- of any thread -------------------------------------------------------------------------- */

static void call(caps_ranks *r, void (*what)(caps_ranks *r, caps_op *op), size_t i, float *data)
{
    caps_op *op = calloc(1, sizeof *op);
    if (!op) {
        caps_ranks_fail(
            r, r->place.rank, CAPS_ERR_MEMORY, false, "%s", "out of memory for messages");
        return;
    }
    *op = (caps_op){
        .kind = CAPS_OP_CALL, .done = what, .piece = i, .data = data, .pending = &r->sums->calls};
    pthread_mutex_lock(&r->lock);
    r->sums->calls++;
    pthread_mutex_unlock(&r->lock);
    caps_ranks_submit(r, op);
}

/* The courier needs what it is called for: waits until it has come to all of it. Under the lock. */
static void wait_for_calls(caps_ranks *r)
{
    while (r->sums && r->sums->calls > 0 && !r->gone)
        pthread_cond_wait(&r->changed, &r->lock);
}

static void sums_free(caps_ranks *r, caps_sums *s)
{
    for (size_t i = 0; s && s->pieces && i < s->n; i++) {
        for (int k = 0; s->pieces[i].others && k < r->place.count; k++)
            free(s->pieces[i].others[k]);
        free(s->pieces[i].others);
        free(s->pieces[i].halves);
        free(s->pieces[i].left);
        free(s->pieces[i].left_sums);
    }
    if (s) {
        free(s->pieces);
        free(s->takes_part);
    }
    free(s);
}

static bool piece_make(const caps_ranks *r, piece *p, size_t count, caps_reduce way)
{
    size_t first;
    const size_t own = caps_slice_get(&first, count, r->place.count, r->place.rank);
    p->count = count;
    p->others = calloc((size_t)r->place.count, sizeof *p->others);
    for (int k = 0; p->others && way != CAPS_REDUCE_FAST && own > 0 && k < r->place.count; k++)
        if (k != r->place.rank && !(p->others[k] = malloc(own * caps_slice_width(way))))
            return false;
    if (way != CAPS_REDUCE_BF16)
        return p->others != NULL;
    p->halves = malloc(count * sizeof *p->halves);
    p->left = calloc(count, sizeof *p->left);
    p->left_sums = calloc(own + 1, sizeof *p->left_sums); /* never of nothing */
    return p->others && p->halves && p->left && p->left_sums;
}

caps_status caps_ranks_sum_init(
    caps_ranks *r, const size_t *counts, size_t pieces, caps_reduce way, caps_error *err)
{
    caps_sums *s = calloc(1, sizeof *s);
    bool made = s != NULL;
    if (s) {
        s->way = way == CAPS_REDUCE_BF16 && r->place.count == 1 ? CAPS_REDUCE_EXACT : way;
        s->n = pieces;
        s->pieces = calloc(pieces, sizeof *s->pieces);
        s->takes_part = calloc((size_t)r->place.count, sizeof *s->takes_part);
        made = s->pieces && s->takes_part;
    }
    for (size_t i = 0; made && i < pieces; i++)
        made = piece_make(r, &s->pieces[i], counts[i], s->way);
    if (!made) {
        sums_free(r, s);
        return caps_fail(
            err, CAPS_ERR_MEMORY, "out of memory for the gradients of %d ranks", r->place.count);
    }
    r->sums = s;
    return CAPS_OK;
}

void caps_ranks_sum_release(caps_ranks *r)
{
    if (!r || !r->sums || !caps_ranks_sum_end(r)) /* messages may still come */
        return;
    sums_free(r, r->sums);
    r->sums = NULL;
}

void caps_ranks_sum_begin(caps_ranks *r, const bool *takes_part)
{
    caps_sums *s = r->sums;
    memcpy(s->takes_part, takes_part, (size_t)r->place.count * sizeof *takes_part);
    size_t parts = 0;
    for (int k = 0; k < r->place.count; k++)
        parts += k != r->place.rank && takes_part[k];
    for (size_t i = 0; i < s->n; i++) {
        piece *p = &s->pieces[i];
        size_t first;
        p->put = p->done = p->summed = false;
        p->parts = parts;
        p->slices = 0;
        p->sends = 1;
        for (int k = 0; k < r->place.count; k++) {
            const bool any = caps_slice_get(&first, p->count, r->place.count, k) > 0;
            p->slices += !any ? 0 : k == r->place.rank ? (size_t)r->place.count : 1;
            p->sends += any && (k == r->place.rank || takes_part[r->place.rank]);
        }
    }
    call(r, sums_begin, 0, NULL);
}

void caps_ranks_sum_put(caps_ranks *r, size_t i, float *data)
{
    call(r, sums_put, i, data);
}

static bool is_set(caps_ranks *r, const bool *flag)
{
    pthread_mutex_lock(&r->lock);
    const bool set = *flag;
    pthread_mutex_unlock(&r->lock);
    return set;
}

static bool wait_for(caps_ranks *r, const bool *flag)
{
    const caps_sums *s = r->sums;
    pthread_mutex_lock(&r->lock);
    r->waiting++;
    caps_ranks_wake(r);
    while (!*flag && !r->failed && !s->aborted)
        pthread_cond_wait(&r->changed, &r->lock);
    r->waiting--;
    const bool set = *flag && !s->aborted;
    pthread_mutex_unlock(&r->lock);
    return set;
}

bool caps_ranks_sum_is_done(caps_ranks *r, size_t i)
{
    return is_set(r, &r->sums->pieces[i].done);
}

bool caps_ranks_sum_wait(caps_ranks *r, size_t i)
{
    return wait_for(r, &r->sums->pieces[i].done);
}

/* ---- a sharded optimizer's ------------------------------------------------------------------ */

void caps_ranks_sum_shard(caps_ranks *r, bool sharded)
{
    r->sums->sharded = sharded;
}

size_t caps_ranks_sum_slice(const caps_ranks *r, size_t i, int rank, size_t *first)
{
    return caps_slice_get(first, r->sums->pieces[i].count, r->place.count, rank);
}

bool caps_ranks_sum_own_is_done(caps_ranks *r, size_t i)
{
    return is_set(r, &r->sums->pieces[i].summed);
}

bool caps_ranks_sum_wait_own(caps_ranks *r, size_t i)
{
    return wait_for(r, &r->sums->pieces[i].summed);
}

void caps_ranks_sum_show(caps_ranks *r, size_t i, float *values)
{
    call(r, sums_show, i, values);
}

/* --------------------------------------------------------------------------------------------- */

bool caps_ranks_sum_end(caps_ranks *r)
{
    caps_sums *s = r->sums;
    pthread_mutex_lock(&r->lock);
    r->waiting++;
    caps_ranks_wake(r);
    while (s->busy > 0 && !r->failed && !s->aborted)
        pthread_cond_wait(&r->changed, &r->lock);
    r->waiting--;
    wait_for_calls(r);
    const bool ended = s->busy == 0;
    pthread_mutex_unlock(&r->lock);
    return ended;
}

void caps_ranks_sum_abort(caps_ranks *r)
{
    pthread_mutex_lock(&r->lock);
    if (r->sums)
        r->sums->aborted = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

bool caps_ranks_is_busy(caps_ranks *r)
{
    if (!r)
        return false;
    pthread_mutex_lock(&r->lock);
    wait_for_calls(r);
    const bool busy = r->borrowed > 0;
    pthread_mutex_unlock(&r->lock);
    return busy;
}
