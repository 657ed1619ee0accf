/* spec.c: model specs: reading, writing, comparing, what follows from them. */
#include "spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "head.h"
#include "json.h"

#define SPEC_BYTES ((size_t)1 << 20) /* a spec file is some hundred bytes */

void caps_model_spec_free(caps_model_spec *spec)
{
    if (!spec)
        return;
    json_decref(spec->layers);
    free(spec->class_names);
    free(spec->lines);
    free(spec);
}

static caps_status spec_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "model spec: out of memory");
}

caps_status caps_model_spec_copy(
    caps_model_spec **out, const caps_model_spec *spec, caps_error *err)
{
    caps_model_spec *copy = malloc(sizeof *copy);
    *out = NULL;
    if (!copy)
        return spec_out_of_memory(err);
    *copy = *spec;
    const size_t names = spec->class_names ? spec->classes * sizeof *spec->class_names : 0;
    copy->layers = json_deep_copy(spec->layers);
    copy->lines = malloc(spec->line_count * sizeof *spec->lines);
    copy->class_names = names ? malloc(names) : NULL;
    if (!copy->layers || !copy->lines || (names && !copy->class_names)) {
        caps_model_spec_free(copy);
        return spec_out_of_memory(err);
    }
    memcpy(copy->lines, spec->lines, spec->line_count * sizeof *spec->lines);
    if (names)
        memcpy(copy->class_names, spec->class_names, names);
    *out = copy;
    return CAPS_OK;
}

/* ---- what follows --------------------------------------------------------------------------- */

static void spec_fill_info(caps_model_spec *spec, const caps_network *n)
{
    const caps_layer *last = n->classifier;
    caps_layer_problem problem = {0};
    caps_model_info info = {.pixels = caps_value_elements(n->input),
        .classes = spec->classes,
        .labels = spec->labels,
        .has_decoder = spec->has_decoder,
        .has_class_names = spec->class_names != NULL,
        .routing_grad = "none",
        .class_loss = n->class_head->kind->loss,
        .score = n->class_head->kind->score,
        .scores = n->class_head->kind->scores,
        .parameters = n->elements,
        .statistics = n->statistics};
    memcpy(info.input, spec->input, sizeof info.input);
    memcpy(info.source, spec->source, sizeof info.source);
    for (size_t i = 0; i < n->layer_count; i++)
        for (size_t p = 0; n->layers[i]->decodes && p < n->layers[i]->parameter_count; p++)
            info.decoder_parameters += n->layers[i]->parameters[p].parameter.count;
    if (last->outputs[0].form == CAPS_FORM_CAPSULES)
        info.dim = last->outputs[0].shape[1];
    if (info.dim && last->inputs[0]->form == CAPS_FORM_CAPSULES) {
        info.inputs = last->inputs[0]->shape[0];
        info.input_dim = last->inputs[0]->shape[1];
        memcpy(info.grid, last->inputs[0]->grid, sizeof info.grid);
    }
    if (last->kind->problem)
        last->kind->problem(last, &problem);
    info.iterations = problem.couplings;
    info.matrix = last->output_count == 2;
    if (problem.type == CAPS_PROBLEM_EM) {
        info.iterations = problem.em.iterations;
        info.routing_grad = problem.em.grad == CAPS_ROUTING_GRAD_FULL ? "full" : "last";
    }
    if (problem.type == CAPS_PROBLEM_CAPS) {
        info.leaky = problem.class_caps.routing.leaky;
        info.max_min = problem.class_caps.routing.normalization == CAPS_NORMALIZATION_MAX_MIN;
        info.routing_grad =
            problem.class_caps.routing.grad == CAPS_ROUTING_GRAD_FULL ? "full" : "last";
    }
    spec->info = info;
}

/* "160 -> 512 -> 1024 -> 784" */
static void spec_describe_decoder(const caps_model_spec *spec, char *text, size_t bytes)
{
    size_t at = (size_t)snprintf(text, bytes, "%zu", spec->classes * spec->info.dim);
    for (size_t i = 0; i < spec->hidden_count && at < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, " -> %zu", spec->hidden[i]);
    if (at < bytes)
        snprintf(text + at, bytes - at, " -> %zu", spec->info.pixels);
}

static caps_status spec_fill_lines(caps_model_spec *spec, const caps_network *n, caps_error *err)
{
    free(spec->lines);
    spec->line_count = 0;
    spec->lines = calloc(n->layer_count + 1, sizeof *spec->lines);
    if (!spec->lines)
        return spec_out_of_memory(err);
    for (size_t i = 0; i < n->layer_count; i++) {
        const caps_layer *layer = n->layers[i];
        caps_spec_line *line = &spec->lines[spec->line_count];
        if (layer->decodes || !layer->kind->describe)
            continue;
        snprintf(line->name, sizeof line->name, "%s", layer->name);
        layer->kind->describe(layer, line->text, sizeof line->text);
        caps_spec_read_layer(&line->info, layer, json_array_get(spec->layers, spec->line_count),
            spec->line_count ? &line[-1].info : NULL);
        spec->line_count++;
    }
    if (spec->info.dim) {
        caps_spec_line *line = &spec->lines[spec->line_count++];
        snprintf(line->name, sizeof line->name, "decoder");
        if (spec->has_decoder)
            spec_describe_decoder(spec, line->text, sizeof line->text);
        else
            snprintf(line->text, sizeof line->text, "none");
        line->info.kind = "decoder";
        line->info.ndim = spec->has_decoder ? 3 : 0;
        memcpy(line->info.shape, spec->input, sizeof spec->input);
    }
    return CAPS_OK;
}

caps_status caps_spec_refresh(caps_model_spec *spec, const char *where, caps_error *err)
{
    caps_network network;
    json_t *layers = json_array();
    caps_status status;
    if (!layers)
        return spec_out_of_memory(err);
    status = caps_network_build(&network, spec, where, layers, err);
    if (status != CAPS_OK) {
        json_decref(layers);
        return status;
    }
    json_decref(spec->layers);
    spec->layers = layers;
    spec_fill_info(spec, &network);
    status = spec_fill_lines(spec, &network, err);
    caps_network_release(&network);
    return status;
}

/* ---- losses --------------------------------------------------------------------------------- */

const char *caps_loss_name(const caps_model_spec *spec, const caps_loss *loss)
{
    const bool margin = loss->class_loss == CAPS_CLASS_LOSS_MARGIN;
    return margin ? caps_head_margin.loss : spec->info.class_loss;
}

caps_status caps_loss_check(const caps_model_spec *spec, const caps_loss *loss, caps_error *err)
{
    const caps_model_info *info = &spec->info;
    const bool spread = loss->class_loss == CAPS_CLASS_LOSS_SPREAD;
    const char *name = spread ? caps_head_activation.loss : caps_head_margin.loss;
    if (loss->class_loss == CAPS_CLASS_LOSS_OWN || info->matrix || (!spread && info->dim > 0))
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_ARGUMENT, "loss: %s of a network whose last layer has no %s",
        name, spread ? "matrix capsules" : "capsules");
}

const caps_model_info *caps_model_spec_info(const caps_model_spec *spec)
{
    return &spec->info;
}

bool caps_model_spec_describe(
    const caps_model_spec *spec, size_t i, const char **name, const char **text)
{
    if (i >= spec->line_count)
        return false;
    *name = spec->lines[i].name;
    *text = spec->lines[i].text;
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* [channels, height, width] */
static caps_status spec_read_image(
    size_t out[3], const caps_section *s, const char *field, caps_error *err)
{
    const json_t *value = json_object_get(s->object, field);
    caps_status status = CAPS_OK;
    if (!json_is_array(value) || json_array_size(value) != 3)
        return caps_section_refuse(s, field, value ? "is not a list of three" : "is missing",
            "[channels, height, width]", err);
    for (size_t i = 0; i < 3; i++)
        CAPS_TRY(caps_section_size(
            &out[i], json_array_get(value, i), s, field, 1, CAPS_FIELD_MOST_SIZE, err));
done:
    return status;
}

static caps_status spec_check_range(
    const char *where, const char *name, size_t value, size_t most, caps_error *err)
{
    return value >= 1 && value <= most
               ? CAPS_OK
               : caps_fail(
                     err, CAPS_ERR_SPEC, "%s: %s is %zu, need 1 to %zu", where, name, value, most);
}

static caps_status spec_read_common(caps_model_spec *spec, const caps_section *top, caps_error *err)
{
    const json_t *labels = json_object_get(top->object, "labels");
    caps_status status;
    CAPS_TRY(spec_read_image(spec->input, top, "input", err));
    if (json_object_get(top->object, "source"))
        CAPS_TRY(spec_read_image(spec->source, top, "source", err));
    CAPS_TRY(caps_section_size(&spec->classes, json_object_get(top->object, "classes"), top,
        "classes", 1, CAPS_FIELD_MOST_SIZE, err));
    spec->labels = 1;
    if (labels)
        CAPS_TRY(
            caps_section_size(&spec->labels, labels, top, "labels", 1, CAPS_FIELD_MOST_SIZE, err));
    CAPS_TRY(spec_check_range(top->where, "classes", spec->classes, CAPS_MAX_CLASSES, err));
    CAPS_TRY(spec_check_range(top->where, "labels", spec->labels, CAPS_MAX_LABELS, err));
    if (spec->labels > spec->classes)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_SPEC, "%s: labels is %zu, need at most as many as classes, %zu",
                top->where, spec->labels, spec->classes));
    if (spec->source[0] && spec->source[0] != spec->input[0])
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: source has %zu channels, need %zu as the input",
            top->where, spec->source[0], spec->input[0]));
done:
    return status;
}

caps_status caps_spec_read_decoder(caps_model_spec *spec, const caps_section *top, caps_error *err)
{
    static const char *const fields[] = {"hidden", NULL};
    const json_t *decoder = json_object_get(top->object, "decoder");
    const caps_section s = {decoder, top->where, "decoder"};
    caps_status status = CAPS_OK;
    spec->has_decoder = decoder && !json_is_null(decoder);
    if (!spec->has_decoder)
        return CAPS_OK;
    if (!json_is_object(decoder))
        return caps_section_refuse(top, "decoder", "is not an object", "one", err);
    CAPS_TRY(caps_section_check_keys(&s, fields, NULL, err));
    CAPS_TRY(
        caps_section_sizes(spec->hidden, &spec->hidden_count, &s, "hidden", CAPS_MOST_HIDDEN, err));
done:
    return status;
}

static caps_status spec_read_list(caps_model_spec *spec, const caps_section *top, caps_error *err)
{
    const json_t *layers = json_object_get(top->object, "layers");
    char problem[48];
    if (!json_is_array(layers) || json_array_size(layers) == 0)
        return caps_section_refuse(
            top, "layers", "is not a list with layers", "[{\"kind\": ...}, ...]", err);
    if (json_array_size(layers) > CAPS_MOST_LISTED) {
        snprintf(problem, sizeof problem, "has %zu layers", json_array_size(layers));
        return caps_section_refuse(top, "layers", problem, "at most 48", err);
    }
    spec->layers = json_deep_copy(layers);
    return spec->layers ? caps_spec_read_decoder(spec, top, err) : spec_out_of_memory(err);
}

static caps_status spec_read(caps_model_spec *spec, const caps_section *top, caps_error *err)
{
    static const char *const list_fields[] = {
        "input", "source", "classes", "labels", "layers", "decoder", NULL};
    static const char *const capsnet_fields[] = {"kind", "input", "source", "classes", "labels",
        "conv1", "primary", "class_caps", "decoder", NULL};
    static const char *const cnn_fields[] = {
        "kind", "input", "source", "classes", "labels", "conv", "hidden", "dropout", NULL};
    static const char *const *const fields[] = {list_fields, capsnet_fields, cnn_fields};
    const json_t *kind = json_object_get(top->object, "kind");
    const char *name = json_string_value(kind);
    caps_status status;
    if (json_object_get(top->object, "layers"))
        spec->form = CAPS_SPEC_LIST;
    else if (!kind || (name && strcmp(name, "capsnet") == 0))
        spec->form = CAPS_SPEC_CAPSNET;
    else if (name && strcmp(name, "cnn") == 0)
        spec->form = CAPS_SPEC_CNN;
    else
        return caps_section_refuse(
            top, "kind", "is unknown", "\"capsnet\" or \"cnn\", or \"layers\" in its place", err);
    CAPS_TRY(caps_section_check_keys(top, fields[spec->form], NULL, err));
    CAPS_TRY(spec_read_common(spec, top, err));
    CAPS_TRY(spec->form == CAPS_SPEC_LIST ? spec_read_list(spec, top, err)
                                          : caps_shorthand_read(spec, top, err));
    CAPS_TRY(caps_spec_refresh(spec, top->where, err));
done:
    return status;
}

caps_status caps_model_spec_parse(
    caps_model_spec **out, const char *json, const char *where, caps_error *err)
{
    json_t *value = NULL;
    caps_status status;
    *out = NULL;
    caps_model_spec *spec = calloc(1, sizeof *spec);
    if (!spec)
        return spec_out_of_memory(err);
    CAPS_TRY(caps_json_parse(&value, json, strlen(json), where, CAPS_ERR_SPEC, err));
    const caps_section top = {value, where, ""};
    if (!json_is_object(value))
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_SPEC, "%s: not a JSON object, need a model spec in { }", where));
    CAPS_TRY(spec_read(spec, &top, err));
    *out = spec;
    spec = NULL;
done:
    json_decref(value);
    caps_model_spec_free(spec);
    return status;
}

/* ---- writing, comparing --------------------------------------------------------------------- */

json_t *caps_spec_sizes_list(const size_t *sizes, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        caps_json_append(&list, json_integer((json_int_t)sizes[i]));
    return list;
}

json_t *caps_spec_decoder_json(const caps_model_spec *spec)
{
    return spec->has_decoder ? json_pack("{s:o}", "hidden",
                                   caps_spec_sizes_list(spec->hidden, spec->hidden_count))
                             : json_null();
}

char *caps_model_spec_format(const caps_model_spec *spec)
{
    json_t *value = json_object();
    if (spec->form == CAPS_SPEC_CNN)
        caps_json_set(&value, "kind", json_string("cnn"));
    caps_json_set(&value, "input", caps_spec_sizes_list(spec->input, 3));
    if (spec->source[0])
        caps_json_set(&value, "source", caps_spec_sizes_list(spec->source, 3));
    caps_json_set(&value, "classes", json_integer((json_int_t)spec->classes));
    if (spec->labels != 1)
        caps_json_set(&value, "labels", json_integer((json_int_t)spec->labels));
    if (spec->form == CAPS_SPEC_LIST) {
        caps_json_set(&value, "layers", json_incref(spec->layers));
        caps_json_set(&value, "decoder", caps_spec_decoder_json(spec));
    } else {
        caps_shorthand_write(&value, spec);
    }
    char *text = caps_json_format(value, 0, 9);
    json_decref(value);
    return text;
}

bool caps_model_spec_equal(const caps_model_spec *a, const caps_model_spec *b)
{
    return memcmp(a->input, b->input, sizeof a->input) == 0 &&
           memcmp(a->source, b->source, sizeof a->source) == 0 && a->classes == b->classes &&
           a->labels == b->labels && json_equal(a->layers, b->layers) &&
           a->has_decoder == b->has_decoder &&
           (!a->has_decoder ||
               (a->hidden_count == b->hidden_count &&
                   memcmp(a->hidden, b->hidden, a->hidden_count * sizeof *a->hidden) == 0));
}

/* ---- by name -------------------------------------------------------------------------------- */

#define KERNELS9(channels, types)                                                                  \
    "\"conv1\": {\"channels\": " #channels ", \"kernel\": 9, \"stride\": 1},"                      \
    " \"primary\": {\"types\": " #types ", \"dim\": 8, \"kernel\": 9, \"stride\": 2},"
/* Matrix capsules with A maps and B, C, D types. Two iterations, not the paper's three: with three
 * a short training does not begin to learn (docs/results.md). */
#define EM "\"routing\": {\"kind\": \"em\", \"iterations\": 2}"
#define MATRIX(a, b, c, d)                                                                         \
    "{\"input\": [1, 28, 28], \"classes\": 10, \"layers\": ["                                      \
    "{\"kind\": \"conv\", \"name\": \"conv1\", \"channels\": " #a                                  \
    ", \"kernel\": 5, \"stride\": 2},"                                                             \
    "{\"kind\": \"matrix_primary\", \"name\": \"primary\", \"types\": " #b "},"                    \
    "{\"kind\": \"matrix_conv\", \"name\": \"caps1\", \"types\": " #c                              \
    ", \"kernel\": 3, \"stride\": 2, " EM "},"                                                     \
    "{\"kind\": \"matrix_conv\", \"name\": \"caps2\", \"types\": " #d                              \
    ", \"kernel\": 3, \"stride\": 1, " EM "},"                                                     \
    "{\"kind\": \"matrix_caps\", \"name\": \"class_caps\", \"capsules\": 10, " EM "}]}"
#define CONV5(channels)                                                                            \
    "{\"channels\": " #channels ", \"kernel\": 5, \"stride\": 1, \"padding\": 2}"
#define LAYER(kind, name) "{\"kind\": \"" kind "\", \"name\": \"" name "\", "

/* "mnist" is the paper's network, "multimnist" the one of its section 6, "cifar10" the one of
 * section 7, "cnn" its baseline. "small" keeps the shape of "mnist" with 1/18 of its
 * multiplications: 48 instead of 256 channels, 8 instead of 32 capsule types, a quarter of the
 * decoder. "cnn-small" is the baseline with 1/40 of its multiplications, "cnn-pool" one of about
 * its parameters that pools. "efficient" is the network of Efficient-CapsNet (Mazzia, Salvetti,
 * Chiaberge 2021). */
static const struct {
    const char *name, *json;
} builtins[] = {
    {"mnist", "{\"input\": [1, 28, 28], \"classes\": 10," KERNELS9(
                  256, 32) " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
                           " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"small", "{\"input\": [1, 28, 28], \"classes\": 10," KERNELS9(
                  48, 8) " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
                         " \"decoder\": {\"hidden\": [128, 256]}}"},
    {"multimnist", "{\"input\": [1, 36, 36], \"classes\": 10, \"labels\": 2," KERNELS9(
                       256, 32) " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
                                " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"cifar10", "{\"input\": [3, 24, 24], \"source\": [3, 32, 32], \"classes\": 10," KERNELS9(
                    256, 64) " \"class_caps\": {\"dim\": 16, \"iterations\": 3, \"leaky\": true},"
                             " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"cnn",
        "{\"kind\": \"cnn\", \"input\": [1, 28, 28], \"classes\": 10, \"conv\": [" CONV5(
            256) ", " CONV5(256) ", " CONV5(128) "], \"hidden\": [328, 192], \"dropout\": 0.5}"},
    {"cnn-small",
        "{\"kind\": \"cnn\", \"input\": [1, 28, 28], \"classes\": 10, \"conv\": [" CONV5(
            32) ", " CONV5(32) ", " CONV5(32) "], \"hidden\": [128, 64], \"dropout\": 0.5}"},
    {"cnn-pool",
        "{\"input\": [1, 28, 28], \"classes\": 10, \"layers\": [" LAYER(
            "conv", "conv1") "\"channels\": 32, \"kernel\": 5, \"padding\": 2}, " LAYER("max_pool",
            "pool1") "\"kernel\": 2}, " LAYER("conv",
            "conv2") "\"channels\": 64, \"kernel\": 5, \"padding\": 2}, " LAYER("max_pool",
            "pool2") "\"kernel\": 2}, " LAYER("linear", "fc1") "\"out\": 1024}, " LAYER("dropout",
            "dropout") "\"rate\": 0.5}, " LAYER("linear",
            "fc2") "\"out\": 10, \"activation\": \"none\"}]}"},
    {"efficient",
        "{\"input\": [1, 28, 28], \"classes\": 10, \"layers\": [" LAYER(
            "conv", "conv1") "\"channels\": 32, \"kernel\": 5, \"norm\": \"batch\"}, " LAYER("conv",
            "conv2") "\"channels\": 64, \"kernel\": 3, \"norm\": \"batch\"}, " LAYER("conv",
            "conv3") "\"channels\": 64, \"kernel\": 3, \"norm\": \"batch\"}, " LAYER("conv",
            "conv4") "\"channels\": 128, \"kernel\": 3, \"stride\": 2, \"norm\": "
                     "\"batch\"}, " LAYER("primary_caps",
                         "primary") "\"dim\": 8, \"kernel\": 9, \"stride\": 1, \"depthwise\": "
                                    "true, \"squash\": \"exp\"}, " LAYER("caps",
                                        "class_caps") "\"capsules\": 10, \"dim\": 16, \"squash\": "
                                                      "\"exp\", \"routing\": "
                                                      "{\"kind\": \"attention\"}}], \"decoder\": "
                                                      "{\"hidden\": [512, 1024]}}"},
    {"matrix-small", MATRIX(64, 8, 16, 16)},
    {"matrix", MATRIX(32, 32, 32, 32)},
};

const char *caps_model_spec_builtin(size_t i)
{
    return i < sizeof builtins / sizeof builtins[0] ? builtins[i].name : NULL;
}

bool caps_model_spec_is_builtin(const char *name)
{
    for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
        if (strcmp(builtins[i].name, name) == 0)
            return true;
    return false;
}

caps_status caps_model_spec_load(caps_model_spec **out, const char *name_or_file, caps_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
        if (strcmp(builtins[i].name, name_or_file) == 0)
            return caps_model_spec_parse(out, builtins[i].json, name_or_file, err);
    unsigned char *text = NULL;
    size_t n = 0;
    caps_path_kind kind = CAPS_PATH_FILE;
    caps_status status = caps_file_read(&text, &n, name_or_file, SPEC_BYTES, err);
    if (status == CAPS_ERR_NOT_FOUND && !strchr(name_or_file, '/') &&
        caps_path_look(&kind, name_or_file, CAPS_ERR_NOT_FOUND, NULL) == CAPS_OK &&
        kind == CAPS_PATH_NOTHING) {
        char names[256] = "";
        for (size_t i = 0, at = 0; i < sizeof builtins / sizeof builtins[0]; i++)
            at += (size_t)snprintf(
                names + at, sizeof names - at, "%s%s", i ? ", " : "", builtins[i].name);
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no such model spec, need a file or one of %s", name_or_file, names);
    }
    if (status != CAPS_OK)
        return status;
    if (memchr(text, 0, n))
        status = caps_fail(
            err, CAPS_ERR_SPEC, "%s: not a text file, need a model spec in JSON", name_or_file);
    else
        status = caps_model_spec_parse(out, (const char *)text, name_or_file, err);
    free(text);
    return status;
}
