/* class_weights.h: weights of the classes in the loss, as the settings name them, and how many
 * images each class has. */
#ifndef CAPS_CLASS_WEIGHTS_H
#define CAPS_CLASS_WEIGHTS_H

#include <capscl/train.h>

/* caps_train_config.class_weights is "", "balanced" or so many numbers. CAPS_ERR_ARGUMENT. */
caps_status caps_class_weights_check(const char *text, size_t classes, caps_error *err);

/* Images of each class, [classes]; of pairs, the single images that they are made of. */
caps_status caps_class_images_count(
    uint64_t **images, const caps_dataset *ds, size_t classes, caps_error *err);

/* Classes that have images differ by a factor of two or more. */
bool caps_class_images_uneven(const uint64_t *images, size_t classes);

/* *weights [classes], freed with free(); NULL for "". Balanced (as scikit-learn's class_weight):
 *     w[c] = n / (J n[c])
 * of n images, n[c] of class c, and J classes that have any: their mean over the images is 1.
 * CAPS_ERR_ARGUMENT, CAPS_ERR_MEMORY. */
caps_status caps_class_weights_make(
    float **weights, const char *text, const uint64_t *images, size_t classes, caps_error *err);

#endif
