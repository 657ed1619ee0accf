/* binary_cross_entropy.c: several classes of an image at once, each by the sigmoid of its logit
 * [B, J], with the binary cross entropy added up over the classes. */
#include "fail.h"
#include "head.h"

static caps_status binary_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor z = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor p = caps_batch_of(&c->scores, pass->b);
    caps_status status = caps_sigmoid_forward(pass->rt, &p, &z, err);
    return status == CAPS_OK ? caps_classifier_choose(c, pass, err) : status;
}

static caps_status binary_loss(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor z = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor loss = caps_batch_of(&c->loss, pass->b);
    return caps_binary_cross_entropy_forward(pass->rt, &loss, &z, &pass->labels, err);
}

static caps_status binary_backward(
    caps_head *head, const caps_pass *pass, const caps_loss *loss, double mean, caps_error *err)
{
    const caps_tensor z = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor dz = caps_batch_of(&head->input->dy, pass->b);
    return caps_binary_cross_entropy_backward(
        pass->rt, &dz, &z, &pass->labels, (float)(loss->margin_scale * mean), err);
}

const caps_head_kind caps_head_binary_cross_entropy = {
    .name = "binary_cross_entropy",
    .loss = "binary cross entropy",
    .score = "probability",
    .scores = "probabilities",
    .bytes = sizeof(caps_classifier),
    .plan = caps_classifier_plan,
    .forward = binary_forward,
    .loss_forward = binary_loss,
    .backward = binary_backward,
    .result = caps_classifier_result,
};
