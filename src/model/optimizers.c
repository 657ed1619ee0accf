/* optimizers.c: a step of an optimizer over the flat buffers, weight decay, and learning-rate
 * multipliers by layer. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_state.h"

#include "add.h"
#include "fail.h"

#define ADAM_BETA1   0.9f
#define ADAM_BETA2   0.999f
#define ADAM_EPSILON 1e-8f
#define MOST_AT_ONCE ((size_t)1 << 30) /* elements an optimizer's kernel counts in 32 bits */

/* ---- learning-rate multipliers --------------------------------------------------------------- */

/* Is the parameter "decoder.fc1.weight" one of "decoder", "decoder.fc1"? And of itself. */
static bool is_of(const char *parameter, const char *name, size_t length)
{
    return strncmp(parameter, name, length) == 0 &&
           (parameter[length] == '.' || !parameter[length]);
}

/* "conv1, primary, class_caps, decoder": what every name has before its first dot. */
static const char *list_layers(char *text, size_t bytes, const caps_network *n)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < n->parameter_count && used < bytes; i++) {
        const char *name = n->parameters[i].name;
        const size_t length = strcspn(name, ".");
        if (i > 0 && is_of(n->parameters[i - 1].name, name, length))
            continue;
        used += (size_t)snprintf(
            text + used, bytes - used, "%s%.*s", used ? ", " : "", (int)length, name);
    }
    return text;
}

/* The factor in "X" or "X,...", a plain decimal number. */
static bool read_factor(const char *text, size_t length, double *factor)
{
    char *end;
    if (strspn(text, "0123456789.eE+-") < length)
        return false;
    *factor = strtod(text, &end);
    return length > 0 && end == text + length && *factor >= 0 && *factor <= (double)FLT_MAX;
}

caps_status caps_lr_multipliers_set(caps_network *n, const char *text, caps_error *err)
{
    size_t chosen[CAPS_MOST_PARAMETERS] = {0}; /* length of the name that a factor came from */
    for (size_t p = 0; p < n->parameter_count; p++)
        n->parameters[p].lr_multiplier = 1;
    for (const char *at = text ? text : ""; *at; at += strcspn(at, ","), at += *at == ',') {
        const size_t item = strcspn(at, ","), name = strcspn(at, "=,");
        double factor = 0;
        bool known = false;
        char layers[256];
        if (name == item || !read_factor(at + name + 1, item - name - 1, &factor))
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "learning-rate multipliers: '%.*s' is not LAYER=X with a factor X, 0 or more",
                (int)item, at);
        for (size_t p = 0; p < n->parameter_count; p++) {
            if (n->parameters[p].statistic || !is_of(n->parameters[p].name, at, name))
                continue;
            known = true;
            if (name < chosen[p])
                continue;
            chosen[p] = name;
            n->parameters[p].lr_multiplier = (float)factor;
        }
        if (!known)
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "learning-rate multipliers: the network has no '%.*s', need one of %s, or of their "
                "parameters",
                (int)name, at, list_layers(layers, sizeof layers, n));
    }
    return CAPS_OK;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* Part of a flat buffer. */
static caps_tensor part(const caps_tensor *flat, size_t first, size_t count)
{
    return caps_tensor_wrap(flat->buffer, flat->offset + first, CAPS_F32, 1, &count);
}

/* How many elements from `first` on and before `end` one kernel updates: those with the same
 * factor, which is put into *factor. *p is a parameter not behind `first`, and becomes that of the
 * next element. */
static size_t next_part(const caps_model *m, size_t first, size_t end, size_t *p, float *factor)
{
    const caps_network *n = &m->network;
    size_t at = first;
    for (; *p < n->parameter_count && at < end; ++*p) {
        const caps_owned_parameter *owned = &n->parameters[*p];
        const size_t behind = owned->parameter.first + owned->parameter.count;
        if (owned->statistic || behind <= first)
            continue;
        if (at == first)
            *factor = owned->lr_multiplier;
        else if (fabsf(owned->lr_multiplier - *factor) > 0)
            break;
        at = behind;
        if (at - first > MOST_AT_ONCE)
            return MOST_AT_ONCE;
        if (at > end)
            break;
    }
    return (at < end ? at : end) - first;
}

/* Is the tensor one of weights: "conv1.weight", "primary.pose.weight"? */
static bool is_weight(const caps_parameter *p)
{
    static const char end[] = ".weight";
    const size_t n = strlen(p->name), k = sizeof end - 1;
    return p->ndim > 1 && n > k && strcmp(p->name + n - k, end) == 0;
}

/* Adds weight_decay w to the gradients of elements [first, end). */
static caps_status decay_weights(caps_model *m, size_t first, size_t end, caps_error *err)
{
    const float decay = (float)m->options.weight_decay;
    caps_status status = CAPS_OK;
    for (size_t i = 0; decay > 0 && i < m->network.parameter_count && status == CAPS_OK; i++) {
        const caps_parameter *p = &m->network.parameters[i].parameter;
        const size_t from = p->first > first ? p->first : first;
        const size_t to = p->first + p->count < end ? p->first + p->count : end;
        if (!is_weight(p) || from >= to)
            continue;
        const caps_tensor g = part(&m->gradients, from, to - from);
        const caps_tensor w = part(&m->parameters, from, to - from);
        status = caps_add_scaled(m->rt, &g, &w, decay, err);
    }
    return status;
}

caps_status caps_model_adam_part(
    caps_model *m, float lr, uint64_t t, size_t first, size_t count, caps_error *err)
{
    caps_adam adam = {lr, ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON, t};
    const size_t end = first + count;
    caps_status status = CAPS_OK;
    float factor = 1;
    if (!m->first_moments.buffer)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: it was made without Adam's moments");
    CAPS_TRY(caps_record_settle(m, err));
    m->version++;
    CAPS_TRY(decay_weights(m, first, end, err));
    for (size_t at = first, p = 0, n; at < end; at += n) {
        n = next_part(m, at, end, &p, &factor);
        const caps_tensor w = part(&m->parameters, at, n);
        const caps_tensor g = part(&m->gradients, at, n);
        const caps_tensor m1 = part(&m->first_moments, at, n);
        const caps_tensor m2 = part(&m->second_moments, at, n);
        adam.learning_rate = lr * factor;
        CAPS_TRY(caps_adam_step(m->rt, &w, &m1, &m2, &m->flag, &g, &adam, err));
    }
done:
    return status;
}

caps_status caps_model_sgd_part(
    caps_model *m, float lr, size_t first, size_t count, caps_error *err)
{
    const size_t end = first + count;
    caps_status status = CAPS_OK;
    float factor = 1;
    if (!m->options.training)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: it was made for inference");
    CAPS_TRY(caps_record_settle(m, err));
    m->version++;
    CAPS_TRY(decay_weights(m, first, end, err));
    for (size_t at = first, p = 0, n; at < end; at += n) {
        n = next_part(m, at, end, &p, &factor);
        const caps_tensor w = part(&m->parameters, at, n);
        const caps_tensor g = part(&m->gradients, at, n);
        CAPS_TRY(caps_sgd_step(m->rt, &w, &m->flag, &g, lr * factor, err));
    }
done:
    return status;
}

caps_status caps_model_adam(caps_model *m, float lr, uint64_t t, caps_error *err)
{
    return caps_model_adam_part(m, lr, t, 0, m->network.elements, err);
}

caps_status caps_model_sgd(caps_model *m, float lr, caps_error *err)
{
    return caps_model_sgd_part(m, lr, 0, m->network.elements, err);
}
