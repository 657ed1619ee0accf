/* repeat.h: `train --repeat N`, the same training with N seeds.
 *
 *     RUN/repeat.json   {"seeds": [1, 2, 3], "config": settings, as in a run's config.json}
 *     RUN/seed-1/ ...   an ordinary run each, which may also be resumed alone
 *
 * repeat.json is written when the first run has its first files, so that a seed that has not begun
 * can begin in another process. */
#ifndef CAPS_REPEAT_H
#define CAPS_REPEAT_H

#include "train_session.h"

#define CAPS_REPEAT_FILE "repeat.json"

typedef struct caps_repeat {
    uint64_t *seeds; /* [count] */
    size_t count;
    caps_train_config config; /* of every seed, but for the seed */
    uint64_t *stale;          /* seeds of a repetition that --overwrite replaces */
    size_t stale_count;
    const caps_train_flags *flags;
    const caps_args *args;
} caps_repeat;

/* Is there a repetition in `out`? */
bool caps_repeat_exists(const char *out);
/* Its first seed. False: there is none, or it cannot be read. */
bool caps_repeat_first(const char *out, uint64_t *seed);

/* Reads, or begins, what the flags ask for; checks all that can be checked, touches nothing. *init
 * is that of --init. CAPS_ERR_EXISTS, and what settings and files of runs give. */
caps_status caps_repeat_init(caps_repeat *r, const caps_train_flags *o, const caps_args *args,
    caps_checkpoint *init, caps_error *err);
void caps_repeat_release(caps_repeat *r); /* a zeroed one is allowed */

/* Trains what is not finished, one seed after the other, and prints the results: also of one that
 * was stopped. */
caps_status caps_repeat_run(
    caps_repeat *r, caps_train_session *s, const caps_checkpoint *init, caps_error *err);

#endif
