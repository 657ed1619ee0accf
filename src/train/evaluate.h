/* evaluate.h: an evaluation that can be called off, or sees other images. */
#ifndef CAPS_EVALUATE_H
#define CAPS_EVALUATE_H

#include <capscl/train.h>

/* The data set can feed a network of this spec: sizes, labels, labels an image. CAPS_ERR_MISMATCH,
 * CAPS_ERR_FORMAT. */
caps_status caps_data_check(const caps_dataset *ds, const caps_model_spec *spec, caps_error *err);

typedef bool caps_evaluate_stop(void *user);

struct caps_batch;
/* Writes to `images` what the network shall see instead of the batch's images, [n, C*H*W]; `first`
 * is the first one's place in the data set. */
typedef caps_status caps_evaluate_change(
    void *user, const struct caps_batch *batch, size_t first, float *images, caps_error *err);

/* What an evaluation calls; each may be NULL. */
typedef struct caps_evaluate_options {
    caps_evaluate_each *each; /* after every image */
    void *each_user;
    caps_evaluate_stop *stop; /* before every batch; true: the result is CAPS_ERR_INTERRUPTED */
    void *stop_user;
    caps_evaluate_change *change; /* before a batch goes to the device */
    void *change_user;
} caps_evaluate_options;

/* caps_evaluate with options. */
caps_status caps_evaluate_with(caps_model *m, const caps_dataset *ds, caps_evaluation *result,
    const caps_evaluate_options *options, caps_error *err);

#endif
