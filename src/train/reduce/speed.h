/* speed.h: how fast devices train a network. */
#ifndef CAPS_SPEED_H
#define CAPS_SPEED_H

#include <capscl/train.h>

/* Times steps of the network on a device by itself (after a first one, which builds kernels):
 * images/s, by the fastest. options: a model for training, of at least images->b. Errors: those of
 * the model and the device. */
caps_status caps_speed_measure(double *images_per_second, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, const caps_images *images,
    caps_error *err);

/* The same as `capscl tune` has measured and kept; 0: it has not. */
double caps_speed_tuned(const caps_runtime *rt, const caps_model_spec *spec);
/* For `capscl tune`: into the runtime's tuning, which is not saved yet. CAPS_ERR_MEMORY. */
caps_status caps_speed_keep(
    caps_runtime *rt, const caps_model_spec *spec, double images_per_second, caps_error *err);

#endif
