/* attack.h: images changed by a little so that a network errs, by the gradient of its own loss
 * (white box).
 *
 * With g the gradient of the class loss (margin loss or cross entropy) of the true label and E the
 * most that a pixel may change:
 *     FGSM (Goodfellow, Shlens, Szegedy 2015)   x + E sign(g)
 *     BIM (Kurakin, Goodfellow, Bengio 2017)    N such steps of E / N, each from where the last one
 *                                               ended, kept within E of x
 * both kept within 0..1. */
#ifndef CAPS_ATTACK_H
#define CAPS_ATTACK_H

#include <capscl/model.h>

typedef enum caps_attack { CAPS_ATTACK_FGSM, CAPS_ATTACK_BIM, CAPS_ATTACK_COUNT } caps_attack;

/* "fgsm", "bim"; NULL from CAPS_ATTACK_COUNT on. */
const char *caps_attack_name(int kind);

/* Options of a model that an attack can be made with, for so many images at once. It has no
 * decoder: of the loss only the class loss is left. */
caps_model_options caps_attack_model_options(size_t max_batch);

/* What becomes of a batch (labelled; 1 <= b <= caps_model_get_micro_batch): out [b, C*H*W], which
 * must not overlap images->images. epsilon in 0..1, 0 gives the images exactly; steps >= 1 is of
 * BIM only. `m` was made with caps_attack_model_options. Blocks. */
caps_status caps_attack_apply(caps_model *m, caps_attack kind, double epsilon, uint64_t steps,
    const caps_images *images, float *out, caps_error *err);

#endif
