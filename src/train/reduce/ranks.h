/* ranks.h: the processes that a launcher started, as one training.
 *
 * Each is a rank, with devices of its own; rank 0 reads and writes the run directory. A thread, the
 * courier, carries all messages (link.h), sums gradients, and gives signs of life:
 *
 *     trains     | step n: forward, backward ...          | optimizer |
 *     members    |       piece 0   piece 1   piece 2      |
 *     courier    |          +---------+---------+-- to the others, sums, back
 *
 * The sum of a piece of the gradients: it is cut into as many slices as there are ranks, and each
 * rank owns one. Every rank sends its part of each slice to the owner, who adds the parts in the
 * order of the ranks and sends the sum to all. So the bits do not depend on time.
 *
 * A rank that fails tells rank 0, which tells the others; one that is not heard for some time, or
 * whose process has ended, is lost. From then on every wait here fails, and its error names the rank.
 *
 * Where the ranks do not do the same, as rank 0 that writes files, the others are in their next call
 * here meanwhile. All ranks make the same calls in the same order. */
#ifndef CAPS_RANKS_H
#define CAPS_RANKS_H

#include <capscl/train.h>
#include <stdint.h>

#include "link.h"

typedef struct caps_ranks caps_ranks;

/* A rank that is not heard for so long is lost: seconds. */
#define CAPS_RANKS_SILENCE 20.0
/* And all must have begun after so long, or, where that is set, after the larger of both. */
#define CAPS_RANKS_BEGIN 120.0

/* Starts the courier, which begins the link, and waits until all ranks are known. silence: seconds
 * after which a rank is lost, 0: CAPS_RANKS_SILENCE. CAPS_ERR_RANK, CAPS_ERR_MEMORY. */
caps_status caps_ranks_begin(
    caps_ranks **out, const caps_link *link, double silence, caps_error *err);
/* The end of all. `status` and *err are this rank's; on rank 0 the result is that of the first rank
 * that failed, with its name in *err; on the others it is rank 0's result, and *err has no message.
 * Frees nothing: messages may still be on their way (caps_ranks_free). */
caps_status caps_ranks_end(caps_ranks *r, caps_status status, caps_error *err);
/* After the end. True: the ranks have parted in peace; false: some did not answer, and the process
 * must end without more ado, with caps_ranks_stop. NULL is allowed. */
bool caps_ranks_free(caps_ranks *r);
/* Ends this process and all others, where the launcher can; else the caller ends its own. */
void caps_ranks_stop(caps_ranks *r, int code);

/* NULL: this process is alone, rank 0 of 1. */
int caps_ranks_rank(const caps_ranks *r);
int caps_ranks_count(const caps_ranks *r);
const caps_place *caps_ranks_place(const caps_ranks *r); /* not NULL */
const char *caps_ranks_host(const caps_ranks *r, int rank);

/* ---- messages ------------------------------------------------------------------------------- */

/* Rank 0's bytes become those of all. */
caps_status caps_ranks_share(caps_ranks *r, void *data, size_t bytes, caps_error *err);
/* The same of a text: *text is freed with free(); on rank 0 it is what is sent, NULL as "". */
caps_status caps_ranks_share_text(caps_ranks *r, char **text, caps_error *err);
/* As share, for what rank 0 says at another time than the others hear it: it may make other calls
 * between. */
caps_status caps_ranks_share_aside(caps_ranks *r, void *data, size_t bytes, caps_error *err);
/* all[count * bytes] on rank 0: each rank's bytes, in the order of the ranks; elsewhere `all` is not
 * used, and nothing is waited for. At most CAPS_GATHER_MOST bytes of each. */
enum { CAPS_GATHER_MOST = 65536 };
caps_status caps_ranks_gather(
    caps_ranks *r, const void *mine, void *all, size_t bytes, caps_error *err);
/* Lists of n elements of `bytes` each, n another on each rank, one behind the other: *all on rank 0,
 * freed with free(), elsewhere NULL. firsts[count + 1], on all ranks: where each begins, and their
 * number. mine NULL: only that. */
caps_status caps_ranks_collect(caps_ranks *r, const void *mine, size_t n, size_t bytes, void **all,
    size_t *firsts, caps_error *err);

/* A rank has failed, or is lost: *err says which and why, and the status is that of its failure. On
 * other ranks than 0 it may be that rank 0 has ended the run: CAPS_ERR_INTERRUPTED. */
caps_status caps_ranks_check(caps_ranks *r, caps_error *err);

/* This rank would like to stop, as it got a signal: rank 0 hears it. */
void caps_ranks_request_stop(caps_ranks *r);
bool caps_ranks_stop_requested(caps_ranks *r); /* of rank 0: some rank does */

/* ---- the sum of gradients ------------------------------------------------------------------- */

/* Pieces of the flat gradients, the same on all ranks. Of one rank, bf16 is exact.
 * CAPS_ERR_MEMORY. */
caps_status caps_ranks_sum_init(
    caps_ranks *r, const size_t *counts, size_t pieces, caps_reduce way, caps_error *err);
/* Waits for what is on its way, and forgets the pieces. */
void caps_ranks_sum_release(caps_ranks *r);
/* A step begins; takes_part[count]: the ranks whose gradients count. The step before has ended. */
void caps_ranks_sum_begin(caps_ranks *r, const bool *takes_part);
/* Piece i of this rank is here, data[counts[i]]; pieces are put in their order, from any thread. */
void caps_ranks_sum_put(caps_ranks *r, size_t i, float *data);
bool caps_ranks_sum_is_done(caps_ranks *r, size_t i);
/* Waits until `data` of piece i is the sum over all ranks; false: it never will be. */
bool caps_ranks_sum_wait(caps_ranks *r, size_t i);
/* A sharded optimizer, from the next step on (of exact sums): the sum of a slice stays with its
 * owner, who updates these parameters and sends them in place of the sum.
 *
 *     put(i)   parts to the owners    wait_own(i)   the own slice of the gradients is summed
 *     show(i)  the own slice's new parameters to all    wait(i)   all of the piece's are here */
void caps_ranks_sum_shard(caps_ranks *r, bool sharded);
/* The slice of piece i that a rank owns: its first element and their number. */
size_t caps_ranks_sum_slice(const caps_ranks *r, size_t i, int rank, size_t *first);
/* The own slice of `data` is the sum, and the rest of it was sent: it may be written again. */
bool caps_ranks_sum_own_is_done(caps_ranks *r, size_t i);
bool caps_ranks_sum_wait_own(caps_ranks *r, size_t i); /* false: it never will be */
/* values[counts[i]]: parameters, of which the own slice is updated; the others are received. */
void caps_ranks_sum_show(caps_ranks *r, size_t i, float *values);
/* Waits until all of it may be written again. */
bool caps_ranks_sum_end(caps_ranks *r);
/* Nobody waits any more: a device of this rank has failed. */
void caps_ranks_sum_abort(caps_ranks *r);
/* Messages of a step that was not ended may still be on their way: its arrays must stay. */
bool caps_ranks_is_busy(caps_ranks *r);

#endif
