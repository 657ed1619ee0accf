/* cross_entropy.c: classes by the softmax of logits [B, J], with the cross entropy. */
#include "fail.h"
#include "head.h"

static caps_status cross_entropy_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor z = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor p = caps_batch_of(&c->scores, pass->b);
    caps_status status = caps_softmax_forward(pass->rt, &p, &z, err);
    return status == CAPS_OK ? caps_classifier_choose(c, pass, err) : status;
}

static caps_status cross_entropy_loss(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor z = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor loss = caps_batch_of(&c->loss, pass->b);
    return caps_cross_entropy_forward(pass->rt, &loss, &z, &pass->labels, err);
}

static caps_status cross_entropy_backward(
    caps_head *head, const caps_pass *pass, const caps_loss *loss, double mean, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor dz = caps_batch_of(&head->input->dy, pass->b);
    const caps_tensor p = caps_batch_of(&c->scores, pass->b);
    return caps_cross_entropy_backward(
        pass->rt, &dz, &p, &pass->labels, (float)(loss->margin_scale * mean), err);
}

const caps_head_kind caps_head_cross_entropy = {
    .name = "cross_entropy",
    .loss = "cross entropy",
    .score = "probability",
    .scores = "probabilities",
    .bytes = sizeof(caps_classifier),
    .plan = caps_classifier_plan,
    .forward = cross_entropy_forward,
    .loss_forward = cross_entropy_loss,
    .backward = cross_entropy_backward,
    .result = caps_classifier_result,
};
