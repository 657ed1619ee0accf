/* onnx_file.c: see onnx_file.h. Numbers of fields are those of onnx.proto. The small parts are made
 * in memory; the data of the tensors go to the file from where they are. */
#include "onnx_file.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "json.h"
#include "protobuf.h"

enum { MODEL_IR_VERSION = 1, MODEL_PRODUCER, MODEL_PRODUCER_VERSION };
enum { MODEL_DOC = 6, MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA = 14 };
enum { GRAPH_NAME = 2, GRAPH_TENSOR = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT };
enum { TENSOR_SHAPE = 1, TENSOR_TYPE, TENSOR_NAME = 8, TENSOR_DATA };
enum { VALUE_NAME = 1, VALUE_TYPE, VALUE_DOC };
enum { TYPE_TENSOR = 1, TENSOR_TYPE_ELEMENT = 1, TENSOR_TYPE_SHAPE, SHAPE_DIM = 1 };
enum { DIM_VALUE = 1, DIM_NAME };
enum { PAIR_KEY = 1, PAIR_VALUE, OPSET_VERSION = 2 };

/* ---- inputs and outputs --------------------------------------------------------------------- */

/* float32 [N, shape] */
static void put_value(caps_textbuf *graph, unsigned field, const char *name, const char *doc,
    size_t ndim, const size_t *sizes)
{
    caps_textbuf value = {0}, type = {0}, tensor = {0}, shape = {0};
    for (size_t d = 0; d <= ndim; d++) {
        caps_textbuf dim = {0};
        if (d == 0)
            caps_pb_text(&dim, DIM_NAME, "N");
        else
            caps_pb_number(&dim, DIM_VALUE, sizes[d - 1]);
        caps_pb_message(&shape, SHAPE_DIM, &dim);
    }
    caps_pb_number(&tensor, TENSOR_TYPE_ELEMENT, CAPS_ONNX_F32);
    caps_pb_message(&tensor, TENSOR_TYPE_SHAPE, &shape);
    caps_pb_message(&type, TYPE_TENSOR, &tensor);
    caps_pb_text(&value, VALUE_NAME, name);
    caps_pb_message(&value, VALUE_TYPE, &type);
    caps_pb_text(&value, VALUE_DOC, doc);
    caps_pb_message(graph, field, &value);
}

static void put_values(caps_textbuf *graph, const caps_model_info *info)
{
    const size_t *in = info->input;
    put_value(graph, GRAPH_INPUT, "images", "pixels, 0 to 1", 3, in);
    put_value(graph, GRAPH_OUTPUT, "lengths", info->scores, 1, &info->classes);
    if (info->dim > 0)
        put_value(graph, GRAPH_OUTPUT, "capsules", "of the classes", 2,
            (const size_t[]){info->classes, info->dim});
    if (info->has_decoder && info->labels == 1)
        put_value(graph, GRAPH_OUTPUT, "reconstruction", "of the longest capsule", 3, in);
    else if (info->has_decoder)
        put_value(graph, GRAPH_OUTPUT, "reconstruction", "of the longest capsules", 4,
            (const size_t[]){info->labels, in[0], in[1], in[2]});
}

/* ---- what it is of -------------------------------------------------------------------------- */

static void put_pair(caps_textbuf *model, const char *key, const char *value)
{
    caps_textbuf pair = {0};
    caps_pb_text(&pair, PAIR_KEY, key);
    caps_pb_text(&pair, PAIR_VALUE, value);
    caps_pb_message(model, MODEL_METADATA, &pair);
}

/* Names of all classes, their numbers where they have none, as a list in JSON. */
static char *class_names(const caps_model_spec *spec)
{
    json_t *list = json_array();
    char text[CAPS_CLASS_NAME];
    for (size_t j = 0; j < caps_model_spec_info(spec)->classes; j++)
        caps_json_append(&list, caps_json_text(caps_class_name(spec, j, text)));
    char *names = caps_json_format(list, 0, 9);
    json_decref(list);
    return names;
}

static caps_status put_model(caps_textbuf *model, const caps_model_spec *spec, caps_error *err)
{
    char *text = caps_model_spec_format(spec), *names = class_names(spec);
    caps_textbuf opset = {0};
    caps_status status = CAPS_OK;
    if (!text || !names)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "ONNX: out of memory"));
    caps_pb_number(model, MODEL_IR_VERSION, CAPS_ONNX_IR_VERSION);
    caps_pb_text(model, MODEL_PRODUCER, "capscl");
    caps_pb_text(model, MODEL_PRODUCER_VERSION, caps_version());
    caps_pb_text(model, MODEL_DOC, "A network of capscl, for inference.");
    caps_pb_number(&opset, OPSET_VERSION, CAPS_ONNX_OPSET);
    caps_pb_message(model, MODEL_OPSET, &opset);
    put_pair(model, "capscl.spec", text);
    put_pair(model, "capscl.classes", names);
    put_pair(model, "capscl.scores", caps_model_spec_info(spec)->scores);
done:
    free(text);
    free(names);
    return status;
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* A tensor up to its data. */
static void put_tensor(caps_textbuf *graph, const caps_onnx_tensor *t)
{
    caps_textbuf tensor = {0};
    for (int d = 0; d < t->ndim; d++)
        caps_pb_number(&tensor, TENSOR_SHAPE, t->shape[d]);
    caps_pb_number(&tensor, TENSOR_TYPE, (uint64_t)t->type);
    caps_pb_text(&tensor, TENSOR_NAME, t->name);
    caps_pb_length(&tensor, TENSOR_DATA, t->bytes);
    caps_pb_length(graph, GRAPH_TENSOR, tensor.used + t->bytes);
    if (tensor.text)
        caps_textbuf_append(graph, tensor.text, tensor.used);
    graph->out_of_memory |= tensor.out_of_memory;
    caps_textbuf_release(&tensor);
}

static caps_status write_all(caps_atomic_file *file, const caps_textbuf *model,
    const caps_textbuf *graph, const caps_onnx_graph *g, const size_t *ends, caps_error *err)
{
    caps_status status;
    size_t at = 0;
    CAPS_TRY(caps_atomic_write(file, model->text, model->used, err));
    for (size_t i = 0; i < g->tensor_count; i++) {
        CAPS_TRY(caps_atomic_write(file, graph->text + at, ends[i] - at, err));
        CAPS_TRY(caps_atomic_write(file, g->tensors[i].data, (size_t)g->tensors[i].bytes, err));
        at = ends[i];
    }
    CAPS_TRY(caps_atomic_write(file, graph->text + at, graph->used - at, err));
    CAPS_TRY(caps_atomic_commit(file, err));
done:
    return status;
}

caps_status caps_onnx_file_write(
    const char *path, const caps_onnx_graph *g, const caps_model_spec *spec, caps_error *err)
{
    caps_textbuf model = {0}, graph = {0};
    caps_atomic_file file = {0};
    size_t *ends = NULL; /* [tensor_count]: where in `graph` the data of each belong */
    char size[32];
    caps_status status = CAPS_OK;
    caps_pb_text(&graph, GRAPH_NAME, "capscl");
    put_values(&graph, caps_model_spec_info(spec));
    if (g->nodes.text)
        caps_textbuf_append(&graph, g->nodes.text, g->nodes.used);
    ends = calloc(g->tensor_count + 1, sizeof *ends);
    for (size_t i = 0; ends && i < g->tensor_count; i++) {
        put_tensor(&graph, &g->tensors[i]);
        ends[i] = graph.used;
    }
    CAPS_TRY(put_model(&model, spec, err));
    caps_pb_length(&model, MODEL_GRAPH, graph.used + g->tensor_bytes);
    if (!ends || model.out_of_memory || graph.out_of_memory || g->out_of_memory ||
        g->nodes.out_of_memory)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    const uint64_t total = model.used + graph.used + g->tensor_bytes;
    if (g->too_large || total > CAPS_ONNX_MOST_BYTES)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC,
            "%s: the network would have %s in ONNX, need less than 2 GiB, the format's limit", path,
            caps_bytes_text(size, total)));
    CAPS_TRY(caps_atomic_init(&file, path, err));
    CAPS_TRY(write_all(&file, &model, &graph, g, ends, err));
done:
    caps_atomic_abort(&file);
    caps_textbuf_release(&model);
    caps_textbuf_release(&graph);
    free(ends);
    return status;
}
