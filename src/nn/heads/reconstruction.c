/* reconstruction.c: the squared error of what the decoder gives, [B*L, C*H*W], summed over an
 * image's pixels (section 4.1 of Sabour, Frosst, Hinton 2017). */
#include <string.h>

#include "fail.h"
#include "head.h"
#include "losses.h"

static caps_status reconstruction_plan(caps_head *head, caps_plan *plan, caps_error *err)
{
    caps_reconstruction *r = (caps_reconstruction *)head;
    const size_t rows = plan->batch * head->labels;
    return caps_arena_add(plan->arena, &r->sse, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, &rows, err);
}

/* In the GPU family the loss's kernel gives the gradient, too, where it is known what an image
 * weighs in it. */
static bool is_at_once(const caps_pass *pass)
{
    return caps_is_gpu(pass->rt) && pass->mean > 0;
}

static float weight_of(const caps_loss *loss, double mean)
{
    return (float)(loss->reconstruction_weight * mean);
}

static caps_status reconstruction_loss(caps_head *head, const caps_pass *pass, caps_error *err)
{
    const caps_reconstruction *r = (const caps_reconstruction *)head;
    const caps_tensor y = caps_rows_of(head->input, &head->input->y, pass->b);
    const caps_tensor sse = caps_batch_of(&r->sse, pass->b * head->labels);
    if (!is_at_once(pass))
        return caps_sse_forward(pass->rt, &sse, &y, &pass->targets, err);
    const caps_tensor dy = caps_rows_of(head->input, &head->input->dy, pass->b);
    return caps_sse_gradient(
        pass->rt, &sse, &dy, &y, &pass->targets, weight_of(head->loss, pass->mean), err);
}

static caps_status reconstruction_backward(
    caps_head *head, const caps_pass *pass, const caps_loss *loss, double mean, caps_error *err)
{
    const caps_tensor y = caps_rows_of(head->input, &head->input->y, pass->b);
    const caps_tensor dy = caps_rows_of(head->input, &head->input->dy, pass->b);
    if (is_at_once(pass)) /* it is there */
        return CAPS_OK;
    return caps_sse_backward(pass->rt, &dy, &y, &pass->targets, weight_of(loss, mean), err);
}

static caps_tensor reconstruction_result(
    const caps_head *head, const char *name, size_t b, bool labelled)
{
    const caps_reconstruction *r = (const caps_reconstruction *)head;
    if (strcmp(name, "reconstruction") == 0)
        return caps_rows_of(head->input, &head->input->y, b);
    if (strcmp(name, "sse") == 0 && labelled)
        return caps_batch_of(&r->sse, b * head->labels);
    return (caps_tensor){0};
}

const caps_head_kind caps_head_reconstruction = {
    .name = "reconstruction",
    .loss = "squared error",
    .bytes = sizeof(caps_reconstruction),
    .plan = reconstruction_plan,
    .loss_forward = reconstruction_loss,
    .backward = reconstruction_backward,
    .result = reconstruction_result,
};
