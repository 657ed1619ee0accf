/* eval_robust.h: `eval --transform` and `eval --attack`: errors by severity or epsilon. */
#ifndef CAPS_EVAL_ROBUST_H
#define CAPS_EVAL_ROBUST_H

#include <math.h>

#include "cli.h"

/* Zeroed before the flags are parsed. */
typedef struct caps_robust_options {
    int transform, attack; /* caps_transform, caps_attack; which of them: see below */
    caps_reals severity, epsilon;
    uint64_t seed, steps;
    bool transforms, attacks; /* caps_robust_check: at most one is true */
    const char *conv;         /* of the models that give gradients: see caps_model_options */
} caps_robust_options;

extern const char *const caps_robust_transforms[], *const caps_robust_attacks[];

/* Rows for a table whose options struct `type` has a member `caps_robust_options robust`. */
#define CAPS_ROWS_ROBUST(type)                                                                     \
    CAPS_ROW_CHOICE("--transform", type, robust.transform, caps_robust_transforms, "KIND",         \
        "shift, rotate, scale, affine or noise: the error on images changed\n"                     \
        "so, for every severity (docs/robustness.md)"),                                            \
        CAPS_ROW_REALS("--severity", type, robust.severity, HUGE_VAL, "S...",                      \
            "shift: 0 to 64 pixels, rotate: 0 to 180 degrees, scale: 0 to 4,\n"                    \
            "affine: 0 to 1, noise: 0 to 10"),                                                     \
        CAPS_ROW_COUNT("--transform-seed", type, robust.seed, 0, INT64_MAX, "N",                   \
            "of the transforms (default: 1)"),                                                     \
        CAPS_ROW_CHOICE("--attack", type, robust.attack, caps_robust_attacks, "KIND",              \
            "fgsm or bim: the error on images changed by the gradient of the\n"                    \
            "model's own loss, for every epsilon"),                                                \
        CAPS_ROW_REALS("--epsilon", type, robust.epsilon, 1, "E...",                               \
            "the most that a pixel may change, 0 to 1 (black to white)"),                          \
        CAPS_ROW_COUNT(                                                                            \
            "--attack-steps", type, robust.steps, 1, 100000, "N", "of bim (default: 10)")

/* Do the flags fit together? Fills what was not given; afterwards o->transforms or o->attacks says
 * what is wanted, if anything. CAPS_ERR_ARGUMENT. */
caps_status caps_robust_check(caps_robust_options *o, const caps_args *args, caps_error *err);

/* The error of every model (made for inference; `names` say which is which) at every severity or
 * epsilon, as a table or as one JSON document. An attack is made for each model by itself: it makes
 * a second one with the same parameters for the gradients. others: see caps_robustness_options. */
caps_status caps_eval_robust(caps_model *const *models, caps_model *const *others,
    size_t others_count, const char *const *names, size_t count, const caps_dataset *ds,
    const caps_robust_options *o, bool json, caps_error *err);

#endif
