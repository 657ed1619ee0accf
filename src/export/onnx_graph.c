/* onnx_graph.c: see onnx_graph.h. Numbers of fields are those of onnx.proto (NodeProto,
 * AttributeProto). */
#include "onnx_graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_file.h"
#include "protobuf.h"

enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR, NODE_ATTRIBUTE };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_FLOAT, ATTRIBUTE_NUMBER, ATTRIBUTE_NUMBERS = 8 };
enum { ATTRIBUTE_TYPE = 20, TYPE_FLOAT = 1, TYPE_NUMBER = 2, TYPE_NUMBERS = 7 };

struct caps_onnx_text {
    struct caps_onnx_text *next;
    char text[];
};

void caps_onnx_graph_release(caps_onnx_graph *g)
{
    for (size_t i = 0; i < g->tensor_count; i++)
        free(g->tensors[i].owned);
    free(g->tensors);
    while (g->texts) {
        struct caps_onnx_text *next = g->texts->next;
        free(g->texts);
        g->texts = next;
    }
    caps_textbuf_release(&g->nodes);
    caps_textbuf_release(&g->attributes);
    memset(g, 0, sizeof *g);
}

/* ---- names ---------------------------------------------------------------------------------- */

CAPS_PRINTF(2, 3) static const char *keep_text(caps_onnx_graph *g, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct caps_onnx_text *kept = malloc(sizeof *kept + strlen(text) + 1);
    if (!kept) {
        g->out_of_memory = true;
        return "";
    }
    strcpy(kept->text, text);
    kept->next = g->texts;
    g->texts = kept;
    return kept->text;
}

/* "class_caps/MatMul_3" */
static const char *new_name(caps_onnx_graph *g, const char *what)
{
    return keep_text(g, "%s/%s_%zu", g->scope, what, ++g->in_scope);
}

void caps_onnx_scope(caps_onnx_graph *g, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(g->scope, sizeof g->scope, format, arguments);
    va_end(arguments);
    g->in_scope = 0;
}

const char *caps_onnx_value_name(const caps_onnx_graph *g, const caps_value *value)
{
    for (size_t i = 0; i < g->value_count; i++)
        if (g->values[i].value == value)
            return g->values[i].name;
    return "";
}

void caps_onnx_value_set(caps_onnx_graph *g, const caps_value *value, const char *name)
{
    g->values[g->value_count].value = value;
    g->values[g->value_count++].name = name;
}

/* ---- constants ------------------------------------------------------------------------------ */

/* The tensor, to be given its data; NULL: out of memory. */
static caps_onnx_tensor *add_tensor(
    caps_onnx_graph *g, const char *name, caps_onnx_type type, int ndim, const size_t *shape)
{
    if (g->tensor_count == g->tensor_size) {
        const size_t size = 2 * g->tensor_size + 64;
        caps_onnx_tensor *more = realloc(g->tensors, size * sizeof *more);
        if (!more) {
            g->out_of_memory = true;
            return NULL;
        }
        g->tensors = more;
        g->tensor_size = size;
    }
    caps_onnx_tensor *t = &g->tensors[g->tensor_count++];
    *t = (caps_onnx_tensor){.name = name, .type = type, .ndim = ndim};
    t->bytes = type == CAPS_ONNX_F32 ? sizeof(float) : sizeof(int64_t);
    for (int d = 0; d < ndim; d++) {
        t->shape[d] = shape[d];
        t->bytes *= shape[d]; /* arrays of a network have fewer than 2^48 elements */
    }
    g->tensor_bytes += t->bytes;
    g->too_large |= g->tensor_bytes > CAPS_ONNX_MOST_BYTES;
    return t;
}

const char *caps_onnx_parameter(caps_onnx_graph *g, const caps_layer *layer, size_t i)
{
    const caps_parameter *p = &layer->parameters[i].parameter;
    caps_onnx_tensor *t =
        add_tensor(g, keep_text(g, "%s", p->name), CAPS_ONNX_F32, p->ndim, p->shape);
    if (!t)
        return "";
    t->data = g->parameters + p->first;
    return t->name;
}

static const char *add_constant(
    caps_onnx_graph *g, void **data, caps_onnx_type type, int ndim, const size_t *shape)
{
    caps_onnx_tensor *t = add_tensor(g, new_name(g, "constant"), type, ndim, shape);
    *data = NULL;
    if (!t)
        return "";
    if (!g->too_large) {
        t->data = *data = t->owned = malloc((size_t)t->bytes + 1);
        g->out_of_memory |= !t->owned;
    }
    return t->name;
}

const char *caps_onnx_floats(caps_onnx_graph *g, float **data, int ndim, const size_t *shape)
{
    void *at;
    const char *name = add_constant(g, &at, CAPS_ONNX_F32, ndim, shape);
    *data = at;
    return name;
}

const char *caps_onnx_float(caps_onnx_graph *g, double value)
{
    float *data;
    const char *name = caps_onnx_floats(g, &data, 0, NULL);
    if (data)
        *data = (float)value;
    return name;
}

const char *caps_onnx_number(caps_onnx_graph *g, int64_t value)
{
    void *data;
    const char *name = add_constant(g, &data, CAPS_ONNX_I64, 0, NULL);
    if (data)
        memcpy(data, &value, sizeof value);
    return name;
}

const char *caps_onnx_indices(caps_onnx_graph *g, int64_t **data, size_t count)
{
    void *at;
    const char *name = add_constant(g, &at, CAPS_ONNX_I64, 1, &count);
    *data = at;
    return name;
}

const char *caps_onnx_numbers(caps_onnx_graph *g, size_t count, const int64_t *values)
{
    int64_t *data;
    const char *name = caps_onnx_indices(g, &data, count);
    if (data)
        memcpy(data, values, count * sizeof *values);
    return name;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static void end_attribute(caps_onnx_graph *g, caps_textbuf *attribute, uint64_t type)
{
    caps_pb_number(attribute, ATTRIBUTE_TYPE, type);
    caps_pb_message(&g->attributes, NODE_ATTRIBUTE, attribute);
}

void caps_onnx_set_number(caps_onnx_graph *g, const char *name, int64_t value)
{
    caps_textbuf t = {0};
    caps_pb_text(&t, ATTRIBUTE_NAME, name);
    caps_pb_number(&t, ATTRIBUTE_NUMBER, (uint64_t)value);
    end_attribute(g, &t, TYPE_NUMBER);
}

void caps_onnx_set_numbers(
    caps_onnx_graph *g, const char *name, size_t count, const int64_t *values)
{
    caps_textbuf t = {0};
    caps_pb_text(&t, ATTRIBUTE_NAME, name);
    for (size_t i = 0; i < count; i++)
        caps_pb_number(&t, ATTRIBUTE_NUMBERS, (uint64_t)values[i]);
    end_attribute(g, &t, TYPE_NUMBERS);
}

void caps_onnx_set_float(caps_onnx_graph *g, const char *name, double value)
{
    caps_textbuf t = {0};
    caps_pb_text(&t, ATTRIBUTE_NAME, name);
    caps_pb_float(&t, ATTRIBUTE_FLOAT, (float)value);
    end_attribute(g, &t, TYPE_FLOAT);
}

/* The node of these fields, its inputs, gets the rest. */
static void end_node(
    caps_onnx_graph *g, caps_textbuf *node, const char *output, const char *operator)
{
    caps_pb_text(node, NODE_OUTPUT, output);
    caps_pb_text(node, NODE_NAME, output);
    caps_pb_text(node, NODE_OPERATOR, operator);
    if (g->attributes.used > 0)
        caps_textbuf_append(node, g->attributes.text, g->attributes.used);
    node->out_of_memory |= g->attributes.out_of_memory;
    caps_textbuf_release(&g->attributes);
    caps_pb_message(&g->nodes, CAPS_ONNX_GRAPH_NODE, node);
    g->node_count++;
}

const char *caps_onnx_add_node(caps_onnx_graph *g, const char *operator, ...)
{
    caps_textbuf node = {0};
    const char *output = new_name(g, operator), *input;
    va_list inputs;
    va_start(inputs, operator);
    while ((input = va_arg(inputs, const char *)) != NULL)
        caps_pb_text(&node, NODE_INPUT, input);
    va_end(inputs);
    end_node(g, &node, output, operator);
    return output;
}

void caps_onnx_output(caps_onnx_graph *g, const char *name, const char *value)
{
    caps_textbuf node = {0};
    caps_pb_text(&node, NODE_INPUT, value);
    end_node(g, &node, name, "Identity");
}

const char *caps_onnx_reshape_to(
    caps_onnx_graph *g, const char *x, size_t count, const int64_t *shape)
{
    return caps_onnx_node(g, "Reshape", x, caps_onnx_numbers(g, count, shape));
}

const char *caps_onnx_transpose_by(
    caps_onnx_graph *g, const char *x, size_t count, const int64_t *order)
{
    caps_onnx_set_numbers(g, "perm", count, order);
    return caps_onnx_node(g, "Transpose", x);
}

const char *caps_onnx_sum(caps_onnx_graph *g, const char *x, int64_t axis)
{
    return caps_onnx_node(g, "ReduceSum", x, caps_onnx_numbers(g, 1, &axis));
}

const char *caps_onnx_reduce(caps_onnx_graph *g, const char *operator, const char * x, int64_t axis)
{
    caps_onnx_set_numbers(g, "axes", 1, &axis);
    return caps_onnx_node(g, operator, x);
}

const char *caps_onnx_softmax(caps_onnx_graph *g, const char *x, int64_t axis)
{
    caps_onnx_set_number(g, "axis", axis);
    return caps_onnx_node(g, "Softmax", x);
}

const char *caps_onnx_gather(caps_onnx_graph *g, const char *x, const char *indices, int64_t axis)
{
    caps_onnx_set_number(g, "axis", axis);
    return caps_onnx_node(g, "Gather", x, indices);
}

const char *caps_onnx_top(caps_onnx_graph *g, const char *x, int64_t count)
{
    caps_textbuf node = {0};
    const char *values = new_name(g, "TopK"), *places = new_name(g, "TopK");
    caps_pb_text(&node, NODE_INPUT, x);
    caps_pb_text(&node, NODE_INPUT, caps_onnx_numbers(g, 1, &count));
    caps_pb_text(&node, NODE_OUTPUT, values);
    end_node(g, &node, places, "TopK");
    return places;
}
