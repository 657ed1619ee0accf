/* head.h: what makes scores and losses of a network's values.
 *
 * A network has a classifying head, which reads the last layer's output (capsules: margin loss;
 * matrix capsules: spread loss, or margin loss; logits: cross entropy, binary where an image has
 * several labels), and, with a decoder, a reconstruction head. The drivers in src/model know no
 * more than this: forward right after the layer that the head reads, loss once all layers are done,
 * backward before the layers'. Another loss is another heads/<name>.c. */
#ifndef CAPS_HEAD_H
#define CAPS_HEAD_H

#include "layer.h"

typedef struct caps_head_kind {
    const char *name;           /* "margin" */
    const char *loss;           /* "margin loss": how messages and reports call it */
    const char *score, *scores; /* what it gives a class: "length", "lengths"; NULL: none */
    size_t bytes;               /* of the struct that begins with caps_head */
    /* Memory for what it gives. */
    caps_status (*plan)(caps_head *head, caps_plan *plan, caps_error *err);
    /* Scores and the classes with the best of them. NULL: none. */
    caps_status (*forward)(caps_head *head, const caps_pass *pass, caps_error *err);
    /* The loss of every image, unweighted. Labels (targets) are there. */
    caps_status (*loss_forward)(caps_head *head, const caps_pass *pass, caps_error *err);
    /* Writes the input's dy; mean: the weight of an image in the loss. */
    caps_status (*backward)(caps_head *head, const caps_pass *pass, const caps_loss *loss,
        double mean, caps_error *err);
    /* Can it do what a mask of its input does along with its own (caps_pass.masked), and add up
     * totals (caps_pass.totals)? Its backward then comes once the mask's output has its gradient.
     * NULL: it cannot. */
    bool (*masks)(const caps_head *head, const caps_runtime *rt);
    /* A result by name for a batch of b, as caps_model_output has it; no buffer: none. labelled: a
     * loss was computed. */
    caps_tensor (*result)(const caps_head *head, const char *name, size_t b, bool labelled);
} caps_head_kind;

struct caps_head {
    const caps_head_kind *kind;
    caps_value *input;
    size_t classes, labels; /* J; L of an image */
    const caps_loss *loss;  /* its terms' constants, the model's */
};

/* What both classifying heads give; `best` in the order of the labels is `matched`. */
typedef struct caps_classifier {
    caps_head base;
    caps_tensor scores;  /* [batch, J]; the model's memory: it lies beside the record of a step */
    caps_tensor best;    /* int32 [batch], or [batch, L] */
    caps_tensor matched; /* int32 [batch, L]; L > 1 only */
    caps_tensor loss;    /* [batch] */
} caps_classifier;

caps_status caps_classifier_plan(caps_head *head, caps_plan *plan, caps_error *err);
/* Best classes from the scores, matched with the labels where there are several. */
caps_status caps_classifier_choose(
    const caps_classifier *c, const caps_pass *pass, caps_error *err);
caps_tensor caps_classifier_result(
    const caps_head *head, const char *name, size_t b, bool labelled);

typedef struct caps_reconstruction {
    caps_head base;
    size_t pixels;   /* C*H*W */
    caps_tensor sse; /* [batch * L] */
} caps_reconstruction;

extern const caps_head_kind caps_head_margin, caps_head_activation, caps_head_cross_entropy,
    caps_head_binary_cross_entropy, caps_head_reconstruction;

/* A zeroed head on the heap. CAPS_ERR_MEMORY. */
caps_status caps_head_create(
    caps_head **out, const caps_head_kind *kind, caps_value *input, caps_error *err);

#endif
