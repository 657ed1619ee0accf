/* batch_share.h: statistics of a batch that several models compute together, each its images. */
#ifndef CAPS_BATCH_SHARE_H
#define CAPS_BATCH_SHARE_H

#include "launch.h"

/* How the models' numbers come together. All of them make the same calls in the same order, those
 * without images too. */
typedef struct caps_batch_share {
    /* *all [members, n]: own [n] of every model, the same on all; until the next call. Waits. */
    caps_status (*gather)(
        void *user, const float *own, size_t n, const float **all, caps_error *err);
    void *user;
    const size_t *images; /* [members]: of the batch */
    size_t members, total;
} caps_batch_share;

/* mean, var: [C], of `images` images of this model (with 0 they are not read); they become those of
 * the whole batch, put together in the order of the models, in double. Waits. */
caps_status caps_batch_share_statistics(caps_runtime *rt, const caps_batch_share *share,
    const caps_tensor *mean, const caps_tensor *var, size_t images, caps_error *err);
/* to_a, to_b: the sums of a and b, [C], over the models; likewise. */
caps_status caps_batch_share_sums(caps_runtime *rt, const caps_batch_share *share,
    const caps_tensor *to_a, const caps_tensor *to_b, const caps_tensor *a, const caps_tensor *b,
    size_t images, caps_error *err);

#endif
