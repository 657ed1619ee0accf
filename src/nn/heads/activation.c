/* activation.c: classes by the activations of their matrix capsules [B, J], with the spread loss
 * (equation 3 of Hinton, Sabour, Frosst 2018) or, of activations in place of lengths, the margin
 * loss.
 *
 * The poses have no gradient of their own from here: their dy becomes 0, and a mask adds to it. */
#include <string.h>

#include "fail.h"
#include "head.h"

static bool is_spread(const caps_loss *loss)
{
    return loss->class_loss != CAPS_CLASS_LOSS_MARGIN;
}

static caps_status activation_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor a = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor scores = caps_batch_of(&c->scores, pass->b);
    caps_status status = caps_tensor_copy(pass->rt, &scores, &a, err);
    return status == CAPS_OK ? caps_classifier_choose(c, pass, err) : status;
}

static caps_status activation_loss(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor a = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor loss = caps_batch_of(&c->loss, pass->b);
    if (is_spread(head->loss))
        return caps_spread_forward(
            pass->rt, &loss, &a, &pass->labels, head->loss->spread_margin, err);
    return caps_margin_forward(pass->rt, &loss, &a, &pass->labels, &head->loss->margin, err);
}

static caps_status activation_backward(
    caps_head *head, const caps_pass *pass, const caps_loss *loss, double mean, caps_error *err)
{
    const caps_tensor a = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor da = caps_batch_of(&head->input->dy, pass->b);
    const caps_tensor dpose = caps_batch_of(&head->input->layer->outputs[0].dy, pass->b);
    const float scale = (float)(loss->margin_scale * mean);
    const size_t capsules[] = {pass->b, head->classes, 1}; /* whose lengths are activations */
    caps_status status;
    CAPS_TRY(caps_tensor_zero(pass->rt, &dpose, err));
    if (is_spread(loss)) {
        CAPS_TRY(caps_spread_backward(
            pass->rt, &da, &a, &pass->labels, loss->spread_margin, scale, err));
    } else {
        const caps_tensor v = caps_tensor_reshape(&a, 3, capsules);
        const caps_tensor dv = caps_tensor_reshape(&da, 3, capsules);
        CAPS_TRY(
            caps_margin_backward(pass->rt, &dv, &v, &a, &pass->labels, &loss->margin, scale, err));
    }
done:
    return status;
}

static caps_tensor activation_result(
    const caps_head *head, const char *name, size_t b, bool labelled)
{
    if (strcmp(name, "capsules") == 0)
        return caps_batch_of(&head->input->layer->outputs[0].y, b);
    return caps_classifier_result(head, name, b, labelled);
}

const caps_head_kind caps_head_activation = {
    .name = "activation",
    .loss = "spread loss",
    .score = "activation",
    .scores = "activations",
    .bytes = sizeof(caps_classifier),
    .plan = caps_classifier_plan,
    .forward = activation_forward,
    .loss_forward = activation_loss,
    .backward = activation_backward,
    .result = activation_result,
};
