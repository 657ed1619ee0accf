/* margin.c: classes by the lengths of their capsules [B, J, D], with the margin loss (equation 4 of
 * Sabour, Frosst, Hinton 2017).
 *
 * In the GPU family one kernel gives the lengths, the best classes, the loss and what the mask
 * leaves, and one
 * their gradient and the totals. */
#include <string.h>

#include "fail.h"
#include "head.h"
#include "losses.h"

static bool is_at_once(const caps_head *head, const caps_runtime *rt)
{
    return caps_is_gpu(rt) && caps_margin_scores_fit(rt, head->classes);
}

static caps_status margin_forward_at_once(
    const caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_classifier *c = (const caps_classifier *)head;
    const bool labelled = pass->labels.buffer != NULL, matches = labelled && head->labels > 1;
    const caps_tensor v = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor lengths = caps_batch_of(&c->scores, pass->b);
    const caps_tensor best = caps_batch_of(&c->best, pass->b);
    const caps_tensor loss = caps_batch_of(&c->loss, pass->b);
    const caps_tensor matched = matches ? caps_batch_of(&c->matched, pass->b) : best;
    const caps_tensor masked =
        pass->masked ? caps_rows_of(pass->masked, &pass->masked->y, pass->b) : v;
    const caps_margin_scores scores = {.lengths = &lengths,
        .best = &best,
        .matched = matches ? &matched : NULL,
        .loss = labelled ? &loss : NULL,
        .masked = pass->masked ? &masked : NULL,
        .v = &v,
        .labels = labelled ? &pass->labels : NULL,
        .by_labels = pass->by_labels};
    return caps_margin_scores_run(pass->rt, &scores, &head->loss->margin, err);
}

static caps_status margin_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    if (is_at_once(head, pass->rt))
        return margin_forward_at_once(head, pass, err);
    const caps_classifier *c = (const caps_classifier *)head;
    const caps_tensor v = caps_batch_of(&head->input->y, pass->b);
    const caps_tensor lengths = caps_batch_of(&c->scores, pass->b);
    caps_status status = caps_lengths_forward(pass->rt, &lengths, &v, err);
    return status == CAPS_OK ? caps_classifier_choose(c, pass, err) : status;
}

static caps_status margin_loss_forward(caps_head *head, const caps_pass *pass, caps_error *err)
{
    if (is_at_once(head, pass->rt)) /* it is there */
        return CAPS_OK;
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
    const float scale = (float)(loss->margin_scale * mean);
    if (!is_at_once(head, pass->rt))
        return caps_margin_backward(
            pass->rt, &dv, &v, &lengths, &pass->labels, &loss->margin, scale, err);
    const caps_value *masked = pass->masked;
    const caps_tensor dmasked = masked ? caps_rows_of(masked, &masked->dy, pass->b) : dv;
    return caps_margin_gradient(pass->rt, &dv, &v, &lengths, &pass->labels,
        masked ? &dmasked : NULL, &pass->chosen, &loss->margin, scale, pass->totals, err);
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
    .masks = is_at_once,
    .result = margin_result,
};
