/* pass.c: a batch through the network, forward and backward, and what it gives. */
#include <string.h>

#include "model_state.h"

#include "add.h"
#include "fail.h"
#include "launch.h"
#include "losses.h"
#include "trace.h"

/* ---- a batch -------------------------------------------------------------------------------- */

caps_status caps_model_put(caps_model *m, const caps_images *images, bool wait, caps_error *err)
{
    caps_status (*const put)(caps_runtime *, const caps_tensor *, const void *, caps_error *) =
        wait ? caps_tensor_upload : caps_tensor_put;
    const size_t b = images->b, l = caps_model_get_info(m)->labels;
    caps_status status;
    m->b = 0;
    m->forwarded = false;
    m->decoded = 0;
    m->part = 0;
    m->mean = 0;
    m->dropout.first = 0;
    if (b < 1 || b > m->micro)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: a batch of %zu images, need 1 to %zu", b, m->micro);
    const size_t pixels = b * caps_model_get_info(m)->pixels;
    const bool together = (const void *)images->labels == (const void *)(images->images + pixels);
    const caps_tensor to = caps_tensor_rows(&m->batch, 0, pixels + (together ? b * l : 0));
    caps_model_bind_batch(m, b);
    CAPS_TRY(put(m->rt, &to, images->images, err));
    if (images->labels && !together)
        CAPS_TRY(put(m->rt, &m->labels, images->labels, err));
    if (images->targets && m->targets.buffer) {
        const caps_tensor targets = caps_batch_of(&m->targets, b * l);
        CAPS_TRY(put(m->rt, &targets, images->targets, err));
    }
    m->b = b;
    m->labelled = images->labels != NULL;
    m->targeted = m->labelled && (l == 1 || images->targets);
done:
    return status;
}

caps_status caps_model_set_batch(caps_model *m, const caps_images *images, caps_error *err)
{
    return caps_model_put(m, images, true, err);
}

void caps_model_set_step(caps_model *m, uint64_t seed, uint64_t step)
{
    m->dropout = (caps_dropout){.seed = seed, .step = step};
}

void caps_model_set_spread_margin(caps_model *m, float margin)
{
    m->step_margin = margin;
}

static const caps_classifier *pass_classifier(const caps_model *m)
{
    return (const caps_classifier *)m->network.class_head;
}

bool caps_model_decodes(const caps_model *m)
{
    return caps_model_reconstructs(m);
}

/* What the decoder sees: the labels' capsules, or those of the best classes. */
static const caps_tensor *pass_chosen(const caps_model *m)
{
    const caps_classifier *c = pass_classifier(m);
    if (m->mask == CAPS_MASK_LABEL)
        return &m->labels;
    return c->matched.buffer && m->labelled ? &c->matched : &c->best;
}

/* What the reconstruction should be, [b * L, C*H*W]. The images are no targets of several labels: a
 * model that runs without its decoder has none then. */
static caps_tensor pass_targets(const caps_model *m)
{
    const caps_model_info *info = caps_model_get_info(m);
    const size_t shape[] = {m->b * info->labels, info->pixels};
    const caps_tensor images = caps_batch_of(&m->network.input->y, m->b);
    if (!m->targeted || (!m->targets.buffer && info->labels > 1))
        return (caps_tensor){0};
    return m->targets.buffer ? caps_batch_of(&m->targets, shape[0])
                             : caps_tensor_reshape(&images, 2, shape);
}

/* The mask's output, where the classifying head does the masking. What the mask passes back is not
 * weighted by class. */
static const caps_value *pass_masked(const caps_model *m)
{
    const caps_head *head = m->network.class_head;
    if (!caps_model_reconstructs(m) || m->class_weights.buffer || !head->kind->masks ||
        !head->kind->masks(head, m->rt))
        return NULL;
    for (size_t l = 0; l < m->network.layer_count; l++) {
        const caps_layer *layer = m->network.layers[l];
        if (layer->kind == &caps_layer_mask && layer->inputs[0] == head->input)
            return &layer->outputs[0];
    }
    return NULL;
}

static caps_pass pass_of(caps_model *m)
{
    return (caps_pass){
        .rt = m->rt,
        .b = m->b,
        .labels = m->labelled ? caps_batch_of(&m->labels, m->b) : (caps_tensor){0},
        .targets = pass_targets(m),
        .chosen = caps_batch_of(pass_chosen(m), m->b),
        .by_labels = m->mask == CAPS_MASK_LABEL,
        .masked = pass_masked(m),
        .mean = m->mean,
        .dropout = m->mask == CAPS_MASK_LABEL && m->dropout.step > 0 ? &m->dropout : NULL,
        .by_batch = m->mask == CAPS_MASK_LABEL && caps_model_by_batch(m),
        .share = m->share,
        .workspace = m->workspace,
        .workspace_user = &m->workspace_user,
        .version = m->version,
    };
}

/* ---- forward -------------------------------------------------------------------------------- */

/* Has the head what its loss compares with? The reconstruction needs targets, classes labels. */
static bool pass_has_loss(const caps_model *m, const caps_head *head)
{
    return head == m->network.reconstruction_head ? caps_model_compares(m) : m->labelled;
}

/* What a classifying head left of every image, [b, ...], times the weight of its class. */
static caps_status pass_weigh(
    caps_model *m, const caps_head *head, const caps_tensor *x, caps_error *err)
{
    const caps_tensor rows = caps_batch_of(x, m->b), labels = caps_batch_of(&m->labels, m->b);
    if (!m->class_weights.buffer || head != m->network.class_head)
        return CAPS_OK;
    return caps_class_weights_apply(m->rt, &rows, &m->class_weights, &labels, err);
}

static caps_status pass_forward(caps_model *m, caps_mask mask, caps_error *err)
{
    caps_head *const classes = m->network.class_head;
    caps_status status = CAPS_OK;
    if (m->b == 0 || m->decoded)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: forward without a batch, need set_batch");
    if (mask == CAPS_MASK_LABEL && !m->labelled)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: masked by labels, but the batch has none");
    m->mask = mask;
    const caps_pass pass = pass_of(m);
    for (size_t l = 0; l < m->network.layer_count; l++) {
        caps_layer *layer = m->network.layers[l];
        if (layer->decodes && !caps_model_reconstructs(m))
            continue;
        caps_trace_begin(m->rt, layer->name);
        if (layer->kind->forward)
            status = layer->kind->forward(layer, &pass, err);
        if (status == CAPS_OK && layer == m->network.classifier)
            status = classes->kind->forward(classes, &pass, err);
        caps_trace_end(m->rt);
        CAPS_TRY(status);
    }
    for (size_t i = 0; caps_model_head(m, i); i++) {
        caps_head *head = caps_model_head(m, i);
        if (!pass_has_loss(m, head))
            continue;
        CAPS_TRY(head->kind->loss_forward(head, &pass, err));
        CAPS_TRY(pass_weigh(m, head, &pass_classifier(m)->loss, err));
    }
    m->forwarded = true;
done:
    return status;
}

caps_status caps_model_forward(caps_model *m, caps_mask mask, caps_error *err)
{
    m->mean = 0;
    return pass_forward(m, mask, err);
}

/* ---- backward ------------------------------------------------------------------------------- */

/* Puts the views of a layer's gradients into `flat`, from element `at` on. */
static void bind_gradients(caps_layer *layer, const caps_tensor *flat, size_t at)
{
    for (size_t i = 0; i < layer->parameter_count; i++) {
        caps_parameter *p = &layer->parameters[i].parameter;
        if (layer->parameters[i].statistic)
            continue;
        p->gradient =
            caps_tensor_wrap(flat->buffer, flat->offset + at, CAPS_F32, p->ndim, p->shape);
        at += p->count;
    }
}

/* A layer's backward whose parameters' gradients are added to those of the micro-batches before. */
static caps_status add_backward(
    caps_model *m, caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    caps_status status;
    const size_t first = layer->parameters[0].parameter.first, n = caps_layer_elements(layer);
    const caps_tensor to =
        caps_tensor_wrap(m->gradients.buffer, m->gradients.offset + first, CAPS_F32, 1, &n);
    const caps_tensor from =
        caps_tensor_wrap(m->partial.buffer, m->partial.offset, CAPS_F32, 1, &n);
    bind_gradients(layer, &m->partial, 0);
    status = layer->kind->backward(layer, pass, err);
    bind_gradients(layer, &m->gradients, first);
    return status == CAPS_OK ? caps_add(m->rt, &to, &from, err) : status;
}

/* A layer's gradients are whole. */
static caps_status pass_ready(const caps_joint *joint, const caps_layer *layer, caps_error *err)
{
    if (!joint || !joint->ready || layer->parameter_count == 0)
        return CAPS_OK;
    return joint->ready(
        joint->user, layer->parameters[0].parameter.first, caps_layer_elements(layer), err);
}

/* mean: weight of an image in the loss. add: to the gradients that there are. totals: NULL, or what
 * the classifying head adds up. joint: of the last micro-batch of several models, else NULL. */
static caps_status pass_backward(caps_model *m, double mean, bool add, const caps_totals *totals,
    const caps_joint *joint, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (!m->options.training)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: backward, but it was made for inference");
    if (!m->forwarded || !m->labelled)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: backward without a forward of a labelled batch");
    if (caps_model_reconstructs(m) && !m->targeted)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "model: backward of images with %zu labels without targets for the decoder",
            caps_model_get_info(m)->labels);
    caps_pass pass = pass_of(m);
    pass.totals = totals;
    for (size_t i = 0; caps_model_head(m, i); i++) {
        caps_head *head = caps_model_head(m, i);
        if (!pass_has_loss(m, head) || (pass.masked && head == m->network.class_head))
            continue;
        CAPS_TRY(head->kind->backward(head, &pass, &m->loss, mean, err));
        CAPS_TRY(pass_weigh(m, head, &head->input->dy, err));
    }
    for (size_t l = m->network.layer_count; l-- > 0;) {
        caps_layer *layer = m->network.layers[l];
        caps_trace_begin(m->rt, layer->name);
        if (pass.masked && layer == pass.masked->layer)
            status = m->network.class_head->kind->backward(
                m->network.class_head, &pass, &m->loss, mean, err);
        if (status == CAPS_OK && layer->kind->backward &&
            (!layer->decodes || caps_model_reconstructs(m)))
            status = add && layer->parameter_count ? add_backward(m, layer, &pass, err)
                                                   : layer->kind->backward(layer, &pass, err);
        caps_trace_end(m->rt);
        CAPS_TRY(status);
        CAPS_TRY(pass_ready(joint, layer, err));
    }
done:
    return status;
}

caps_status caps_model_backward(caps_model *m, caps_error *err)
{
    return pass_backward(m, 1.0 / (double)m->b, false, NULL, NULL, err);
}

/* What the batch adds to the totals; a new record becomes theirs. */
static caps_totals pass_totals(caps_model *m)
{
    const caps_totals totals = {.to = m->fresh ? m->record : m->totals,
        .begins = m->fresh,
        .margin = caps_model_output(m, "class_loss"),
        .sse = caps_model_output(m, "sse"),
        .best = caps_batch_of(&pass_classifier(m)->best, m->b),
        .labels = caps_batch_of(&m->labels, m->b)};
    m->fresh = false;
    return totals;
}

/* No image of the batch is this model's: its part in the statistics of the layers that normalise. */
static caps_status pass_absent(caps_model *m, caps_error *err)
{
    const caps_network *n = &m->network;
    caps_status status = CAPS_OK;
    m->b = 0;
    m->forwarded = false;
    m->mask = CAPS_MASK_LABEL;
    const caps_pass pass = pass_of(m);
    for (size_t l = 0; m->share && l < n->layer_count; l++)
        if (caps_layer_has_statistics(n->layers[l]))
            CAPS_TRY(n->layers[l]->kind->forward(n->layers[l], &pass, err));
    for (size_t l = n->layer_count; m->share && l-- > 0;)
        if (caps_layer_has_statistics(n->layers[l]))
            CAPS_TRY(n->layers[l]->kind->backward(n->layers[l], &pass, err));
done:
    return status;
}

static caps_status pass_accumulate(
    caps_model *m, const caps_images *images, bool totals, const caps_joint *joint, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(m);
    const size_t b = images->b, labels = info->labels, pixels = info->pixels;
    const size_t before = joint ? joint->first : 0;
    const caps_head *head = m->network.class_head;
    const bool at_once = head->kind->masks && head->kind->masks(head, m->rt);
    caps_status status = CAPS_OK;
    m->share = joint ? joint->share : NULL;
    if (joint && b == 0) {
        status = pass_absent(m, err);
        goto done;
    }
    if (b < 1 || b > m->options.max_batch)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "model: a batch of %zu images, need 1 to %zu", b,
            m->options.max_batch));
    const size_t parts = caps_div_up(b, m->micro);
    for (size_t part = 0, first = 0; part < parts; part++) {
        const size_t n = b / parts + (part < b % parts);
        const caps_images some = {n, images->images + first * pixels,
            images->labels ? images->labels + first * labels : NULL,
            images->targets ? images->targets + first * labels * pixels : NULL};
        if (part > 0) /* the one before leaves its tensors now */
            CAPS_TRY(caps_checks_between(m, err));
        CAPS_TRY(caps_model_enqueue_batch(m, &some, err));
        m->part = part;
        m->mean = 1.0 / (double)(joint ? joint->total : b);
        m->dropout.first = before + first;
        caps_trace_begin(m->rt, "forward");
        status = pass_forward(m, CAPS_MASK_LABEL, err);
        caps_trace_end(m->rt);
        CAPS_TRY(status);
        if (totals && !at_once)
            CAPS_TRY(caps_model_add_totals(m, err));
        const caps_totals sums = totals && at_once ? pass_totals(m) : (caps_totals){0};
        caps_trace_begin(m->rt, "backward");
        status = pass_backward(m, m->mean, part > 0, totals && at_once ? &sums : NULL,
            part + 1 == parts ? joint : NULL, err);
        caps_trace_end(m->rt);
        CAPS_TRY(status);
        first += n;
    }
done:
    m->share = NULL;
    return status;
}

/* With the margin of the step, which is an argument of the kernels that are enqueued. */
caps_status caps_model_accumulate(
    caps_model *m, const caps_images *images, bool totals, const caps_joint *joint, caps_error *err)
{
    const float margin = m->loss.spread_margin;
    if (m->step_margin > 0)
        m->loss.spread_margin = m->step_margin;
    caps_status status = pass_accumulate(m, images, totals, joint, err);
    m->loss.spread_margin = margin;
    return status;
}

caps_status caps_model_gradients(caps_model *m, const caps_images *images, caps_error *err)
{
    return caps_model_accumulate(m, images, false, NULL, err);
}

caps_tensor caps_model_input_gradient(const caps_model *m)
{
    const caps_tensor *dx = &m->network.input->dy;
    return dx->buffer && m->b > 0 ? caps_batch_of(dx, m->b) : (caps_tensor){0};
}

/* ---- the decoder alone ---------------------------------------------------------------------- */

caps_status caps_model_decode(caps_model *m, const float *capsules, size_t b, caps_error *err)
{
    const size_t l = caps_model_get_info(m)->labels;
    caps_status status = CAPS_OK;
    m->b = 0;
    m->forwarded = false;
    m->decoded = 0;
    if (!caps_model_reconstructs(m))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: decode, but it %s",
            m->network.reconstruction_head ? "was made without its decoder" : "has no decoder");
    const size_t most = m->micro * l;
    if (b < 1 || b > most)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: decode of %zu images, need 1 to %zu", b, most);
    /* Where a batch has several rows an image, those behind b are computed for nothing. */
    m->b = caps_div_up(b, l);
    m->labelled = false;
    const caps_pass pass = {
        .rt = m->rt,
        .b = m->b,
        .workspace = m->workspace,
        .workspace_user = &m->workspace_user,
        .version = m->version,
    };
    bool masked = false; /* the first of the decoder's layers is the mask: its output is given */
    for (size_t i = 0; i < m->network.layer_count; i++) {
        caps_layer *layer = m->network.layers[i];
        if (!layer->decodes)
            continue;
        if (masked) {
            CAPS_TRY(layer->kind->forward(layer, &pass, err));
        } else {
            const caps_tensor to = caps_batch_of(&layer->outputs[0].y, b);
            CAPS_TRY(caps_tensor_upload(m->rt, &to, capsules, err));
        }
        masked = true;
    }
    m->decoded = b;
done:
    if (status != CAPS_OK)
        m->b = 0;
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

/* "<layer>", "<layer>.<output>", or what the layer shows beside its outputs. */
static caps_tensor result_of_layer(const caps_model *m, const char *name)
{
    for (size_t l = 0; l < m->network.layer_count; l++) {
        const caps_layer *layer = m->network.layers[l];
        const size_t n = strlen(layer->name);
        if (strncmp(layer->name, name, n) != 0 || (name[n] && name[n] != '.') || layer->decodes)
            continue;
        const char *rest = name[n] ? name + n + 1 : "";
        for (size_t v = 0; v < layer->output_count; v++)
            if (strcmp(layer->outputs[v].name, rest) == 0)
                return caps_rows_of(&layer->outputs[v], &layer->outputs[v].y, m->b);
        if (*rest && layer->kind->result)
            return layer->kind->result(layer, rest, m->b);
    }
    return (caps_tensor){0};
}

caps_tensor caps_model_output(const caps_model *m, const char *name)
{
    const caps_layer *last = m->network.classifier;
    caps_tensor t = {0};
    if (m->decoded && strcmp(name, "reconstruction") == 0)
        return caps_batch_of(&m->network.reconstruction_head->input->y, m->decoded);
    if (!m->forwarded)
        return t;
    for (size_t i = 0; caps_model_head(m, i) && !t.buffer; i++) {
        const caps_head *head = caps_model_head(m, i);
        t = head->kind->result(head, name, m->b, pass_has_loss(m, head));
    }
    if (!t.buffer && last->kind->result)
        t = last->kind->result(last, name, m->b);
    if (!t.buffer && strcmp(name, "inputs") == 0 && last->inputs[0]->form == CAPS_FORM_CAPSULES)
        t = caps_batch_of(&last->inputs[0]->y, m->b);
    if (!t.buffer && strcmp(name, "inputs.activation") == 0 && last->input_count > 1)
        t = caps_batch_of(&last->inputs[1]->y, m->b);
    return t.buffer ? t : result_of_layer(m, name);
}

/* ---- totals --------------------------------------------------------------------------------- */

caps_status caps_model_clear_totals(caps_model *m, caps_error *err)
{
    caps_status status = caps_record_settle(m, err);
    return status == CAPS_OK ? caps_tensor_zero(m->rt, &m->totals, err) : status;
}

caps_status caps_model_add_totals(caps_model *m, caps_error *err)
{
    if (!m->forwarded || !m->labelled)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: totals without a forward of a labelled batch");
    const caps_totals totals = pass_totals(m);
    return caps_totals_enqueue(m->rt, &totals, err);
}

caps_status caps_model_get_totals(caps_model *m, caps_model_totals *t, caps_error *err)
{
    float totals[3];
    caps_status status = caps_record_settle(m, err);
    if (status == CAPS_OK)
        status = caps_tensor_download(m->rt, &m->totals, totals, err);
    if (status == CAPS_OK)
        *t = (caps_model_totals){(double)totals[0], (double)totals[1], (double)totals[2]};
    return status;
}
