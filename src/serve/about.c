/* about.c: what /api/model says. */
#include <stdlib.h>
#include <string.h>

#include <capscl/version.h>

#include "explorer.h"
#include "json.h"

static json_t *sizes(const size_t *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        caps_json_append(&list, json_integer((json_int_t)values[i]));
    return list;
}

/* "run1" of runs/run1/model.safetensors, "digits" of digits.safetensors. */
static json_t *name_of(const char *file)
{
    static const char usual[] = "/model.safetensors";
    size_t n = strlen(file);
    const size_t end = sizeof usual - 1;
    if (n > end && strcmp(file + n - end, usual) == 0)
        n -= end;
    size_t begin = n;
    while (begin > 0 && file[begin - 1] != '/')
        begin--;
    const char *dot = strrchr(file + begin, '.');
    if (dot && dot > file + begin && dot < file + n)
        n = (size_t)(dot - file);
    char *name = strndup(file + begin, n - begin);
    json_t *value = caps_json_text(name);
    free(name);
    return value;
}

/* The name of the built-in network that it is, else "custom". */
static const char *architecture_of(const caps_model_spec *spec)
{
    const char *name;
    for (size_t i = 0; (name = caps_model_spec_builtin(i)) != NULL; i++) {
        caps_model_spec *builtin = NULL;
        const bool same = caps_model_spec_load(&builtin, name, NULL) == CAPS_OK &&
                          caps_model_spec_equal(builtin, spec);
        caps_model_spec_free(builtin);
        if (same)
            return name;
    }
    return "custom";
}

static json_t *layers_of(const caps_model_spec *spec)
{
    json_t *list = json_array();
    caps_layer_info layer;
    for (size_t i = 0; caps_model_spec_layer(spec, i, &layer); i++)
        if (layer.ndim > 0)
            caps_json_append(
                &list, json_pack("{s:s, s:s, s:o, s:s}", "name", layer.name, "kind", layer.kind,
                           "shape", sizes(layer.shape, layer.ndim), "text", layer.text));
    return list;
}

/* Of the class capsules: the last layer that routes, and the one that it reads. */
static json_t *routing_of(const caps_model_spec *spec)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    caps_layer_info layer, class_caps = {0}, children = {0}, before = {0};
    for (size_t i = 0; caps_model_spec_layer(spec, i, &layer); i++) {
        if (layer.routing) {
            class_caps = layer;
            children = before;
        }
        before = layer;
    }
    if (!class_caps.routing || !info->iterations)
        return json_null();
    json_t *grid = json_null(), *field = json_null();
    if (info->grid[0])
        grid = json_pack("{s:I, s:I, s:I}", "types", (json_int_t)info->grid[0], "height",
            (json_int_t)info->grid[1], "width", (json_int_t)info->grid[2]);
    if (info->grid[0] && children.field)
        field = json_pack("{s:I, s:I, s:I}", "size", (json_int_t)children.field, "stride",
            (json_int_t)children.step, "offset", (json_int_t)children.begin);
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "layer", class_caps.name, "kind",
        class_caps.routing, "iterations", (json_int_t)info->iterations, "children",
        (json_int_t)info->inputs, "grid", grid, "receptive_field", field);
}

static json_t *model_of(const caps_explored *m, size_t index)
{
    const caps_model_info *info = m->info;
    char name[CAPS_CLASS_NAME];
    json_t *classes = json_array();
    for (size_t j = 0; j < info->classes; j++)
        caps_json_append(&classes, caps_json_text(caps_class_name(m->spec, j, name)));
    json_t *about =
        json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)index, "name", name_of(m->file),
            "file", caps_json_text(m->file), "architecture", architecture_of(m->spec));
    caps_json_set(&about, "kind",
        json_string(info->matrix ? "matrix"
                    : info->dim  ? "vector"
                                 : "cnn"));
    caps_json_set(&about, "classes", classes);
    caps_json_set(&about, "input",
        json_pack("{s:I, s:I, s:I}", "channels", (json_int_t)info->input[0], "height",
            (json_int_t)info->input[1], "width", (json_int_t)info->input[2]));
    caps_json_set(&about, "labels", json_integer((json_int_t)info->labels));
    caps_json_set(&about, "score", json_string(info->score));
    caps_json_set(&about, "layers", layers_of(m->spec));
    caps_json_set(&about, "capsules",
        info->dim ? json_pack("{s:I, s:I}", "count", (json_int_t)info->classes, "size",
                        (json_int_t)info->dim)
                  : json_null());
    caps_json_set(&about, "decoder", json_boolean(info->has_decoder));
    caps_json_set(&about, "parameters", json_integer((json_int_t)info->parameters));
    caps_json_set(&about, "routing", routing_of(m->spec));
    return about;
}

static json_t *data_of(const caps_serve_options *o)
{
    const caps_dataset *any = o->test ? o->test : o->train;
    if (!any)
        return json_null();
    return json_pack("{s:o, s:{s:I, s:I}, s:b}", "name", caps_json_text(o->data_name), "splits",
        "train", (json_int_t)(o->train ? o->train->n : 0), "test",
        (json_int_t)(o->test ? o->test->n : 0), "standardised", any->standardised);
}

char *caps_explorer_describe(const caps_explorer *e)
{
    const caps_serve_options *o = e->options;
    const caps_device_info *device = caps_runtime_device(caps_model_get_runtime(e->models[0].many));
    json_t *about = model_of(&e->models[0], 0), *models = json_array();
    for (size_t i = 0; i < o->count; i++)
        caps_json_append(&models, model_of(&e->models[i], i));
    caps_json_set(&about, "models", models);
    caps_json_set(&about, "data", data_of(o));
    caps_json_set(&about, "device", caps_json_text(device->name));
    caps_json_set(&about, "version", json_string(caps_version()));
    char *text = caps_json_format(about, 0, 9);
    json_decref(about);
    return text;
}
