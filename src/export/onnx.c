/* onnx.c: a network becomes an ONNX graph, layer by layer, by a table of kinds. */
#include "onnx.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"
#include "onnx_file.h"

static const struct {
    const char *kind;
    caps_onnx_translation *translate;
} translations[] = {
    {"input", caps_onnx_input},
    {"conv", caps_onnx_conv},
    {"linear", caps_onnx_linear},
    {"dropout", caps_onnx_same},
    {"max_pool", caps_onnx_max_pool},
    {"primary_caps", caps_onnx_primary_caps},
    {"caps", caps_onnx_caps},
    {"matrix_primary", caps_onnx_matrix_primary},
    {"matrix_conv", caps_onnx_matrix},
    {"matrix_caps", caps_onnx_matrix},
    {"mask", caps_onnx_mask},
};

caps_onnx_translation *caps_onnx_find(const char *kind)
{
    for (size_t i = 0; i < sizeof translations / sizeof translations[0]; i++)
        if (strcmp(translations[i].kind, kind) == 0)
            return translations[i].translate;
    return NULL;
}

caps_status caps_onnx_translate(caps_onnx_graph *g, const caps_layer *layer, caps_error *err)
{
    caps_onnx_translation *translate = caps_onnx_find(layer->kind->name);
    if (!translate)
        return caps_fail(err, CAPS_ERR_SPEC, "%s: a layer of kind %s has no translation to ONNX",
            layer->name, layer->kind->name);
    json_t *fields = json_object();
    caps_fields_write(&fields, layer->kind->fields, layer, true);
    caps_onnx_scope(g, "%s", layer->name);
    const caps_status status =
        fields ? translate(g, layer, fields, err)
               : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", layer->name);
    json_decref(fields);
    return status;
}

/* Layers in forward order, the head right after the layer that it reads. */
static caps_status translate_network(
    caps_onnx_graph *g, const caps_network *n, const caps_model_info *info, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < n->layer_count; i++) {
        CAPS_TRY(caps_onnx_translate(g, n->layers[i], err));
        if (n->layers[i] != n->classifier)
            continue;
        caps_onnx_scope(g, "lengths"); /* no layer is called so */
        CAPS_TRY(caps_onnx_scores(g, n->class_head, err));
        caps_onnx_output(g, "lengths", g->scores);
        if (info->dim > 0)
            caps_onnx_output(g, "capsules", caps_onnx_value_name(g, &n->classifier->outputs[0]));
    }
    if (!n->reconstruction_head)
        goto done;
    const int64_t l = (int64_t)info->labels, c = (int64_t)info->input[0],
                  h = (int64_t)info->input[1], w = (int64_t)info->input[2];
    const char *rows = caps_onnx_value_name(g, n->reconstruction_head->input);
    caps_onnx_scope(g, "decoder");
    caps_onnx_output(g, "reconstruction",
        l == 1 ? caps_onnx_reshape(g, rows, -1, c, h, w)
               : caps_onnx_reshape(g, rows, -1, l, c, h, w));
done:
    return status;
}

caps_status caps_onnx_write(
    const char *path, const caps_model_spec *spec, const float *parameters, caps_error *err)
{
    caps_onnx_graph graph = {.parameters = parameters};
    caps_network network = {0};
    caps_status status;
    CAPS_TRY(caps_network_init(&network, spec, err));
    CAPS_TRY(translate_network(&graph, &network, caps_model_spec_info(spec), err));
    CAPS_TRY(caps_onnx_file_write(path, &graph, spec, err));
done:
    caps_onnx_graph_release(&graph);
    caps_network_release(&network);
    return status;
}

caps_status caps_model_export_onnx(caps_model *m, const char *path, caps_error *err)
{
    float *flat = malloc(caps_model_flat_count(m) * sizeof *flat + 1);
    caps_status status =
        flat ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    CAPS_TRY(status);
    CAPS_TRY(caps_model_get_parameters(m, flat, err));
    CAPS_TRY(caps_onnx_write(path, caps_model_get_spec(m), flat, err));
done:
    free(flat);
    return status;
}
