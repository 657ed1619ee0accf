/* evaluate.h: an evaluation that can be called off. */
#ifndef CAPS_EVALUATE_H
#define CAPS_EVALUATE_H

#include <capscl/train.h>

/* The data set can feed a network of this spec: sizes, labels, labels an image. CAPS_ERR_MISMATCH,
 * CAPS_ERR_FORMAT. */
caps_status caps_data_check(const caps_dataset *ds, const caps_model_spec *spec, caps_error *err);

typedef bool caps_evaluate_stop(void *user);

/* caps_evaluate that asks `stop` (NULL: none) before every batch; where it says true, the result is
 * CAPS_ERR_INTERRUPTED. */
caps_status caps_evaluate_until(caps_model *m, const caps_dataset *ds, caps_evaluation *result,
    caps_evaluate_each *each, void *each_user, caps_evaluate_stop *stop, void *stop_user,
    caps_error *err);

#endif
