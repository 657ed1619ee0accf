/* ranks_messages.c: arrays from rank to rank, outside of steps. See ranks.h. */
#include "ranks_state.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"

enum { MOST_AT_ONCE = 1 << 28 }; /* bytes of a message */

static caps_status messages_failed(caps_ranks *r, caps_error *err)
{
    caps_status status = caps_ranks_check(r, err);
    return status != CAPS_OK ? status
                             : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages");
}

/* Keeps a received array until its reader has it: an op whose array was the reader's could be
 * written after that has gone. */
static void keep(caps_ranks *r, caps_op *op)
{
    (void)r;
    (void)op;
}

/* One message; a received one is then in `data`, a sent one is copied and not waited for. */
static caps_status transfer(
    caps_ranks *r, caps_op_kind kind, void *data, size_t bytes, int peer, int tag, caps_error *err)
{
    const bool receives = kind == CAPS_OP_RECEIVE;
    caps_op *op = caps_op_make(kind, receives ? NULL : data, bytes, peer, tag);
    size_t *pending = calloc(1, sizeof *pending);
    if (!op || !pending) {
        if (op)
            caps_op_free(r, op);
        free(pending);
        return messages_failed(r, err);
    }
    *pending = 1;
    if (receives) {
        op->pending = pending;
        op->done = keep;
    }
    caps_ranks_submit(r, op);
    if (!receives) {
        free(pending);
        return CAPS_OK;
    }
    if (!caps_ranks_wait(r, pending)) /* the op may be used still: it stays */
        return messages_failed(r, err);
    memcpy(data, op->data, bytes);
    caps_op_free(r, op);
    free(pending);
    return CAPS_OK;
}

/* A binomial tree: rank 12 = 1100b gets it from 8 = 1000b, and sends it to 13 and 14. */
static caps_status share_some(caps_ranks *r, void *data, size_t bytes, int tag, caps_error *err)
{
    const int rank = r->place.rank, count = r->place.count;
    caps_status status = CAPS_OK;
    int low = rank & -rank;
    if (rank > 0)
        CAPS_TRY(transfer(r, CAPS_OP_RECEIVE, data, bytes, rank & (rank - 1), tag, err));
    for (low = rank > 0 ? low >> 1 : 1 << 30; low > 0; low >>= 1)
        if (low < count && rank + low < count)
            CAPS_TRY(transfer(r, CAPS_OP_SEND, data, bytes, rank + low, tag, err));
done:
    return status;
}

caps_status caps_ranks_share(caps_ranks *r, void *data, size_t bytes, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (!r)
        return CAPS_OK;
    for (size_t at = 0; at < bytes; at += MOST_AT_ONCE)
        CAPS_TRY(share_some(r, (char *)data + at,
            bytes - at < MOST_AT_ONCE ? bytes - at : MOST_AT_ONCE, CAPS_TAG_BYTES, err));
done:
    return status;
}

caps_status caps_ranks_share_aside(caps_ranks *r, void *data, size_t bytes, caps_error *err)
{
    return r ? share_some(r, data, bytes, CAPS_TAG_ASIDE, err) : CAPS_OK;
}

caps_status caps_ranks_share_text(caps_ranks *r, char **text, caps_error *err)
{
    caps_status status;
    if (!r)
        return CAPS_OK;
    char *read = NULL;
    uint64_t bytes = r->place.rank == 0 && *text ? strlen(*text) : 0;
    CAPS_TRY(caps_ranks_share(r, &bytes, sizeof bytes, err));
    if (r->place.rank == 0) {
        CAPS_TRY(caps_ranks_share(r, *text, bytes, err));
        return CAPS_OK;
    }
    read = calloc(1, bytes + 1);
    if (!read)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
    CAPS_TRY(caps_ranks_share(r, read, bytes, err));
    *text = read;
    read = NULL;
done:
    free(read);
    return status;
}

caps_status caps_ranks_gather(
    caps_ranks *r, const void *mine, void *all, size_t bytes, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (caps_ranks_rank(r) == 0)
        memcpy(all, mine, bytes);
    if (!r)
        return CAPS_OK;
    if (r->place.rank > 0)
        return transfer(r, CAPS_OP_SEND, (void *)mine, bytes, 0, CAPS_TAG_GATHER, err);
    for (int i = 1; i < r->place.count; i++)
        CAPS_TRY(transfer(
            r, CAPS_OP_RECEIVE, (char *)all + (size_t)i * bytes, bytes, i, CAPS_TAG_GATHER, err));
done:
    return status;
}

caps_status caps_ranks_collect(caps_ranks *r, const void *mine, size_t n, size_t bytes, void **all,
    size_t *firsts, caps_error *err)
{
    const size_t count = (size_t)caps_ranks_count(r);
    caps_status status = CAPS_OK;
    uint64_t own = n, *counts = calloc(count, sizeof *counts);
    char *list = NULL;
    if (!counts)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
    CAPS_TRY(caps_ranks_gather(r, &own, counts, sizeof own, err));
    CAPS_TRY(caps_ranks_share(r, counts, count * sizeof *counts, err));
    firsts[0] = 0;
    for (size_t k = 0; k < count; k++)
        firsts[k + 1] = firsts[k] + (size_t)counts[k];
    if (!mine)
        goto done;
    *all = NULL;
    if (caps_ranks_rank(r) > 0) {
        status = transfer(r, CAPS_OP_SEND, (void *)mine, n * bytes, 0, CAPS_TAG_GATHER, err);
        goto done;
    }
    list = malloc(firsts[count] * bytes + 1);
    if (!list)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for messages"));
    memcpy(list, mine, n * bytes);
    for (size_t k = 1; k < count; k++)
        CAPS_TRY(transfer(r, CAPS_OP_RECEIVE, list + firsts[k] * bytes, (size_t)counts[k] * bytes,
            (int)k, CAPS_TAG_GATHER, err));
    *all = list;
    list = NULL;
done:
    free(list);
    free(counts);
    return status;
}
