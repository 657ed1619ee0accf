/* losses.h: losses as a training step enqueues them: in fewer kernels than ops.h has operations. */
#ifndef CAPS_LOSSES_H
#define CAPS_LOSSES_H

#include <capscl/ops.h>

/* What a batch adds to the totals of a step; sse without a buffer: nothing to add of that. */
typedef struct caps_totals {
    caps_tensor to; /* float32 [3]; begins: int32 [5], a new record (not_finite.h) */
    bool begins;    /* words 0 to 2 become the sums, as float32, 3 and 4 become 0 */
    caps_tensor margin, sse, best, labels;
} caps_totals;

/* caps_totals_add. */
caps_status caps_totals_enqueue(caps_runtime *rt, const caps_totals *totals, caps_error *err);
/* Shapes of everything; l: labels of an image. */
caps_status caps_totals_check(const caps_totals *totals, size_t *l, caps_error *err);

/* The rest is for the GPU family alone. */

/* caps_lengths_forward, caps_argmax and, where these are given, caps_match, caps_margin_forward and
 * caps_mask_forward in one kernel. */
typedef struct caps_margin_scores {
    const caps_tensor *lengths, *best;          /* as in ops.h, */
    const caps_tensor *matched, *loss, *masked; /* NULL: not wanted; */
    const caps_tensor *v, *labels;              /* labels NULL: there are none */
    bool by_labels; /* masked: the labels' capsules, else those of matched, else of best */
} caps_margin_scores;

caps_status caps_margin_scores_run(
    caps_runtime *rt, const caps_margin_scores *s, const caps_margin *margin, caps_error *err);
/* Whether the device has local memory for J lengths. */
bool caps_margin_scores_fit(const caps_runtime *rt, size_t j);

/* caps_margin_backward and then, unless dmasked is NULL, caps_mask_backward; and, unless totals is
 * NULL, caps_totals_enqueue. */
caps_status caps_margin_gradient(caps_runtime *rt, const caps_tensor *dv, const caps_tensor *v,
    const caps_tensor *lengths, const caps_tensor *labels, const caps_tensor *dmasked,
    const caps_tensor *chosen, const caps_margin *margin, float scale, const caps_totals *totals,
    caps_error *err);

/* caps_sse_forward and caps_sse_backward. */
caps_status caps_sse_gradient(caps_runtime *rt, const caps_tensor *sse, const caps_tensor *dy,
    const caps_tensor *y, const caps_tensor *x, float scale, caps_error *err);

#endif
