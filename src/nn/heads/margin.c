/* margin.c: classes by the lengths of their capsules [B, J, D], with the margin loss (equation 4 of
 * Sabour, Frosst, Hinton 2017). */
#include <string.h>

#include "fail.h"
#include "head.h"

static caps_status margin_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor v = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor lengths = caps_batch_of(&c->scores, pass->b);
    caps_status status = caps_lengths_forward(pass->rt, &lengths, &v, err);
    return status == CAPS_OK ? caps_classifier_choose(c, pass, err) : status;
}

static caps_status margin_loss_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor lengths = caps_batch_of(&c->scores, pass->b);
    const caps_tensor loss = caps_batch_of(&c->loss, pass->b);
    return caps_margin_forward(pass->rt, &loss, &lengths, &pass->labels, &head->loss->margin, err);
}

static caps_status margin_backward(
    caps_head *head, const caps_pass *pass, const caps_loss *loss, double mean, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor v = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor dv = caps_batch_of(&head->input->dy, pass->b);
    const caps_tensor lengths = caps_batch_of(&c->scores, pass->b);
    return caps_margin_backward(pass->rt, &dv, &v, &lengths, &pass->labels, &loss->margin,
        (float)(loss->margin_scale * mean), err);
}

static caps_tensor margin_result(const caps_head *head, const char *name, size_t b, bool labelled)
{
    if (strcmp(name, "capsules") == 0)
        return caps_batch_of(&head->input->y, b);
    return caps_classifier_result(head, name, b, labelled);
}

const caps_head_kind caps_head_margin = {
    .name = "margin",
    .loss = "margin loss",
    .score = "length",
    .scores = "lengths",
    .bytes = sizeof(caps_classifier),
    .plan = caps_classifier_plan,
    .forward = margin_forward,
    .loss_forward = margin_loss_forward,
    .backward = margin_backward,
    .result = margin_result,
};
