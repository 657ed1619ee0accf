/* classifier.c: what the classifying heads share: scores, best classes, losses of the images. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "head.h"

caps_status caps_head_create(
    caps_head **out, const caps_head_kind *kind, caps_value *input, caps_error *err)
{
    caps_head *head = calloc(1, kind->bytes);
    *out = head;
    if (!head)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", kind->name);
    head->kind = kind;
    head->input = input;
    return CAPS_OK;
}

caps_status caps_classifier_plan(caps_head *head, caps_plan *plan, caps_error *err)
{
    caps_classifier *c = (caps_classifier *)head;
    const size_t l = head->labels, labels[] = {plan->batch, l};
    caps_status status;
    CAPS_TRY(caps_arena_add(
        plan->arena, &c->best, CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, l > 1 ? 2 : 1, labels, err));
    CAPS_TRY(
        caps_arena_add(plan->arena, &c->loss, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, labels, err));
    if (l > 1)
        CAPS_TRY(caps_arena_add(
            plan->arena, &c->matched, CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, 2, labels, err));
done:
    return status;
}

caps_status caps_classifier_choose(const caps_classifier *c, const caps_pass *pass, caps_error *err)
{
    const caps_tensor scores = caps_batch_of(&c->scores, pass->b);
    const caps_tensor best = caps_batch_of(&c->best, pass->b);
    caps_status status = caps_argmax(pass->rt, &best, &scores, err);
    if (status != CAPS_OK || c->base.labels == 1 || !pass->labels.buffer)
        return status;
    const caps_tensor matched = caps_batch_of(&c->matched, pass->b);
    return caps_match(pass->rt, &matched, &best, &pass->labels, err);
}

caps_tensor caps_classifier_result(const caps_head *head, const char *name, size_t b, bool labelled)
{
    const caps_classifier *c = (const caps_classifier *)head;
    if (strcmp(name, "lengths") == 0)
        return caps_batch_of(&c->scores, b);
    if (strcmp(name, "best") == 0)
        return caps_batch_of(&c->best, b);
    if (strcmp(name, "class_loss") == 0 && labelled)
        return caps_batch_of(&c->loss, b);
    return (caps_tensor){0};
}
