/* Networks as ONNX files, and beside each what this library gives for the same images:
 *
 *     onnx_cases OUT vectors DIR    the golden vectors of a directory
 *     onnx_cases OUT kinds          made-up networks of all kinds of layers and routing
 *     onnx_cases OUT builtin        the built-in networks
 *
 * OUT/<name>.onnx, and OUT/<name>.safetensors with `images` [3, ...], the parameters, `lengths`,
 * `capsules` and `reconstruction`, and the same of the first image alone as `one.lengths`. Of golden
 * vectors also what an autograd framework gave in float64: `golden.lengths`; not where it went by a
 * batch's statistics, which a network at work does not. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/capscl.h>

#include "file.h"
#include "safetensors.h"

#define CONV(channels, kernel)                                                                     \
    "{\"kind\":\"conv\",\"channels\":" #channels ",\"kernel\":" #kernel "}"
#define PRIMARY "{\"kind\":\"primary_caps\",\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2}"
#define CAPS(n, d, routing)                                                                        \
    "{\"kind\":\"caps\",\"capsules\":" #n ",\"dim\":" #d ",\"routing\":{\"kind\":" routing "}}"
#define CAPS_NET(rest)                                                                             \
    "{\"input\":[2,11,14],\"classes\":5,\"layers\":[" CONV(                                        \
        6, 4) "," rest "],\"decoder\":{\"hidden\":[10]}}"
#define EM(fields) "\"routing\":{\"kind\":\"em\"" fields "}"

static const struct {
    const char *name, *spec;
} kinds[] = {
    {"capsnet", CAPS_NET(PRIMARY "," CAPS(5, 7, "\"dynamic\",\"iterations\":3"))},
    {"one_iteration", CAPS_NET(PRIMARY "," CAPS(5, 7, "\"dynamic\",\"iterations\":1"))},
    {"leaky_bias", CAPS_NET(PRIMARY ",{\"kind\":\"caps\",\"capsules\":5,\"dim\":7,\"bias\":true,"
                                    "\"squash\":\"exp\",\"routing\":{\"kind\":\"dynamic\","
                                    "\"iterations\":4,\"leaky\":true}}")},
    {"average", CAPS_NET("{\"kind\":\"primary_caps\",\"types\":3,\"dim\":4,\"kernel\":3,"
                         "\"stride\":1,\"average\":true,\"squash\":\"exp\"}," CAPS(
                             5, 7, "\"dynamic\",\"iterations\":3"))},
    {"max_min", CAPS_NET(PRIMARY "," CAPS(5, 7, "\"max_min\",\"iterations\":3"))},
    {"self", CAPS_NET(PRIMARY "," CAPS(5, 7, "\"self\""))},
    {"attention", CAPS_NET("{\"kind\":\"conv\",\"channels\":8,\"kernel\":3,\"stride\":2,"
                           "\"norm\":\"batch\"},{\"kind\":\"primary_caps\",\"dim\":4,"
                           "\"kernel\":2,\"stride\":1,\"depthwise\":true,\"squash\":\"exp\"},"
                           "{\"kind\":\"caps\",\"capsules\":5,\"dim\":7,\"squash\":\"exp\","
                           "\"routing\":{\"kind\":\"attention\"}}")},
    {"stack",
        CAPS_NET("{\"kind\":\"conv\",\"channels\":4,\"kernel\":3,\"stride\":2,\"padding\":2,"
                 "\"activation\":\"none\"}," PRIMARY "," CAPS(9, 6,
                     "\"dynamic\",\"iterations\":2") ",{\"kind\":\"dropout\",\"rate\":0.5}," CAPS(6,
                     3, "\"self\"") "," CAPS(5, 7, "\"max_min\",\"iterations\":2"))},
    /* Names of layers that are those of values too. */
    {"linear",
        "{\"input\":[3,10,9],\"classes\":4,\"layers\":[{\"kind\":\"conv\",\"name\":\"images\","
        "\"channels\":6,\"kernel\":3},{\"kind\":\"primary_caps\",\"name\":\"scores\",\"types\":3,"
        "\"dim\":4,\"kernel\":3,\"stride\":2},{\"kind\":\"dropout\",\"rate\":0.5},{\"kind\":"
        "\"linear\",\"name\":\"N\",\"out\":9,\"activation\":\"sigmoid\"},{\"kind\":\"linear\","
        "\"name\":\"constant\",\"out\":4,\"activation\":\"none\"}],\"decoder\":null}"},
    {"pool", "{\"input\":[1,15,13],\"classes\":4,\"layers\":[{\"kind\":\"max_pool\",\"kernel\":2,"
             "\"stride\":1}," CONV(6, 3) ",{\"kind\":\"max_pool\",\"kernel\":3,\"stride\":2},"
                                         "{\"kind\":\"linear\",\"out\":9},"
                                         "{\"kind\":\"dropout\",\"rate\":0.5},{\"kind\":\"linear\","
                                         "\"out\":4,\"activation\":\"none\"}],\"decoder\":null}"},
    {"pairs", "{\"input\":[1,12,13],\"classes\":4,\"labels\":2,\"layers\":[" CONV(
                  6, 4) "," PRIMARY "," CAPS(4, 6, "\"dynamic\",\"iterations\":3") "],"
                                                                                   "\"decoder\":{"
                                                                                   "\"hidden\":[10]"
                                                                                   "}}"},
    {"no_decoder",
        "{\"input\":[1,12,13],\"classes\":4,\"layers\":[" CONV(6, 4) "," PRIMARY "," CAPS(
            4, 6, "\"dynamic\",\"iterations\":3") "],\"decoder\":null}"},
    {"matrix", "{\"input\":[2,18,17],\"classes\":4,\"layers\":[{\"kind\":\"conv\",\"channels\":6,"
               "\"kernel\":5,\"stride\":2},{\"kind\":\"matrix_primary\",\"types\":3},"
               "{\"kind\":\"matrix_conv\",\"types\":5,\"kernel\":3,\"stride\":2," EM(
                   "") "},{\"kind\":\"matrix_caps\",\"capsules\":4," EM("") "}],\"decoder\":{"
                                                                            "\"hidden\":[9]}}"},
    /* Windows with gaps between them, and windows that see some children once and some twice. */
    {"matrix_windows",
        "{\"input\":[1,16,19],\"classes\":3,\"layers\":[{\"kind\":\"conv\",\"channels\":5,"
        "\"kernel\":4},{\"kind\":\"matrix_primary\",\"types\":2},{\"kind\":\"matrix_conv\","
        "\"types\":4,\"kernel\":2,\"stride\":3," EM(
            ",\"iterations\":2,\"lambda\":0.05") "},{\"kind\":\"matrix_conv\",\"types\":3,"
                                                 "\"kernel\":2,\"stride\":1," EM(
                                                     ",\"cost_scale\":0.3,\"variance_floor\":0."
                                                     "01") "},{\"kind\":\"matrix_caps\","
                                                           "\"capsules\":3,\"coordinates\":"
                                                           "false," EM(",\"iterations\":1") "}],"
                                                                                            "\"deco"
                                                                                            "der\":"
                                                                                            "null"
                                                                                            "}"},
};

static void check(caps_status status, const caps_error *err, const char *what)
{
    if (status == CAPS_OK)
        return;
    fprintf(stderr, "onnx_cases: %s: %s\n", what, err->message);
    exit(1);
}

static void *allocate(size_t n)
{
    void *p = calloc(n + 1, 1);
    if (!p)
        exit(1);
    return p;
}

/* ---- a case --------------------------------------------------------------------------------- */

static caps_runtime *rt;

typedef struct network {
    const char *name;
    caps_model *model;
    const caps_model_info *info;
    float *flat;                    /* parameters */
    const float *images;            /* [3, pixels] */
    const caps_safetensors *golden; /* NULL: none */
} network;

enum { MOST_TENSORS = 160, IMAGES = 3 };
typedef struct tensors {
    caps_st_tensor list[MOST_TENSORS];
    size_t count;
} tensors;

static void add(tensors *t, const char *name, int ndim, const size_t *shape, const void *data,
    const char *dtype, size_t size)
{
    caps_st_tensor *to = &t->list[t->count++];
    *to = (caps_st_tensor){.name = strdup(name), .ndim = ndim, .data = data, .bytes = size};
    strcpy(to->dtype, dtype);
    for (int d = 0; d < ndim; d++) {
        to->shape[d] = shape[d];
        to->bytes *= shape[d];
    }
}

static const char *const outputs[] = {"lengths", "capsules", "reconstruction"};

/* What the model gives for the first b images. */
static void add_outputs(tensors *t, const network *n, size_t b, const char *before)
{
    caps_error err = {0};
    const caps_images images = {.b = b, .images = n->images};
    check(caps_model_set_batch(n->model, &images, &err), &err, n->name);
    check(caps_model_forward(n->model, CAPS_MASK_LONGEST, &err), &err, n->name);
    for (size_t i = 0; i < 3; i++) {
        const caps_tensor y = caps_model_output(n->model, outputs[i]);
        char name[64];
        if (!y.buffer)
            continue;
        float *data = allocate(caps_tensor_count(&y) * sizeof *data);
        check(caps_tensor_download(rt, &y, data, &err), &err, n->name);
        snprintf(name, sizeof name, "%s%s", before, outputs[i]);
        add(t, name, y.ndim, y.shape, data, "F32", sizeof *data);
    }
}

/* The framework's results of the first three images; its reconstruction is of the true class, and
 * in some files its lengths are called activations. */
static void add_golden(tensors *t, const network *n)
{
    static const char *const names[][2] = {{"out.lengths", "golden.lengths"},
        {"out.activations", "golden.lengths"}, {"out.class_caps", "golden.capsules"},
        {"out.capsules", "golden.capsules"}};
    for (size_t i = 0; n->golden && n->info->statistics == 0 && i < 4; i++) {
        const caps_st_tensor *y = caps_safetensors_get(n->golden, names[i][0]);
        if (!y)
            continue;
        size_t shape[CAPS_ST_MAX_DIMS];
        memcpy(shape, y->shape, sizeof shape);
        shape[0] = IMAGES;
        add(t, names[i][1], y->ndim, shape, y->data, y->dtype, y->dtype[1] == '6' ? 8 : 4);
    }
}

static void write_case(const char *out, const network *n)
{
    caps_error err = {0};
    char path[4096];
    tensors t = {0};
    const caps_model_info *info = n->info;
    const size_t images[] = {IMAGES, info->input[0], info->input[1], info->input[2]};
    check(caps_model_set_parameters(n->model, n->flat, &err), &err, n->name);
    add(&t, "images", 4, images, n->images, "F32", 4);
    for (size_t i = 0; i < caps_model_parameter_count(n->model); i++) {
        const caps_parameter *p = caps_model_parameter(n->model, i);
        add(&t, p->name, p->ndim, p->shape, n->flat + p->first, "F32", 4);
    }
    add_outputs(&t, n, IMAGES, "");
    add_outputs(&t, n, 1, "one.");
    add_golden(&t, n);
    snprintf(path, sizeof path, "%s/%s.safetensors", out, n->name);
    check(caps_safetensors_save(path, t.list, t.count, NULL, 0, &err), &err, n->name);
    snprintf(path, sizeof path, "%s/%s.onnx", out, n->name);
    check(caps_model_export_onnx(n->model, path, &err), &err, n->name);
    puts(n->name);
}

static void open_model(network *n, const caps_model_spec *spec)
{
    caps_error err = {0};
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = IMAGES, .reconstruct = true};
    check(caps_model_create(&n->model, rt, spec, &options, &err), &err, n->name);
    n->info = caps_model_get_info(n->model);
    n->flat = allocate(caps_model_flat_count(n->model) * sizeof *n->flat);
}

static float *random_floats(size_t n, uint64_t seed, double low, double high)
{
    float *values = allocate(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(low + (high - low) * (double)(seed >> 40) / (double)(1 << 24));
    }
    return values;
}

/* First values, `scale` times as large, so that routing has something to decide; and no bias or
 * statistic that is 0 or 1 everywhere. */
static void draw_parameters(network *n, float scale)
{
    caps_error err = {0};
    check(caps_model_initialise(n->model, CAPS_INITIALISER_SCALED, 11, &err), &err, n->name);
    check(caps_model_get_parameters(n->model, n->flat, &err), &err, n->name);
    for (size_t i = 0; i < caps_model_parameter_count(n->model); i++) {
        const caps_parameter *p = caps_model_parameter(n->model, i);
        const size_t length = strlen(p->name);
        const bool weight = length >= 6 && strcmp(p->name + length - 6, "weight") == 0;
        const bool variance = strstr(p->name, "running_var") != NULL;
        for (size_t e = 0; e < p->count; e++)
            n->flat[p->first + e] *= scale;
        if (weight && p->ndim > 1)
            continue;
        float *values =
            random_floats(p->count, 100 + i, variance || weight ? 0.5 : -0.3, variance ? 2 : 1);
        for (size_t e = 0; e < p->count; e++)
            n->flat[p->first + e] = values[e];
        free(values);
    }
}

static void write_made_up(
    const char *out, const char *name, const caps_model_spec *spec, float scale)
{
    network n = {.name = name};
    open_model(&n, spec);
    draw_parameters(&n, scale);
    n.images = random_floats(IMAGES * n.info->pixels, 7, 0, 1);
    write_case(out, &n);
    caps_model_free(n.model);
}

/* ---- golden vectors ------------------------------------------------------------------------- */

/* A file whose inputs, parameters and spec are all there; others hold single operations. */
static void write_vectors(const char *out, const char *directory, const char *file)
{
    caps_error err = {0};
    caps_safetensors st;
    caps_model_spec *spec;
    char name[256], *path = caps_path_join(directory, file);
    snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - strlen(".safetensors")), file);
    check(caps_safetensors_load(&st, path, &err), &err, path);
    const char *text = caps_safetensors_get_metadata(&st, "capscl.spec");
    const caps_st_tensor *input = caps_safetensors_get(&st, "input");
    if (text && input && strcmp(input->dtype, "F32") == 0) {
        check(caps_model_spec_parse(&spec, text, path, &err), &err, path);
        network n = {.name = name, .golden = &st};
        open_model(&n, spec);
        float *images = allocate(input->bytes);
        memcpy(images, input->data, input->bytes);
        n.images = images;
        for (size_t i = 0; i < caps_model_parameter_count(n.model); i++) {
            const caps_parameter *p = caps_model_parameter(n.model, i);
            const caps_st_tensor *t = caps_safetensors_get(&st, p->name);
            if (!t || t->bytes != p->count * sizeof(float) || input->shape[0] < IMAGES) {
                fprintf(stderr, "onnx_cases: %s: no %s\n", path, p->name);
                exit(1);
            }
            memcpy(n.flat + p->first, t->data, t->bytes);
        }
        write_case(out, &n);
        caps_model_free(n.model);
    }
    free(path);
}

int main(int argc, char **argv)
{
    caps_error err = {0};
    caps_model_spec *spec;
    const char *out = argc > 2 ? argv[1] : "", *what = argc > 2 ? argv[2] : "";
    check(caps_runtime_create(&rt, NULL, NULL, &err), &err, "device");
    if (strcmp(what, "vectors") == 0 && argc == 4) {
        struct dirent **files = NULL;
        const int count = scandir(argv[3], &files, NULL, alphasort);
        for (int i = 0; i < count; i++)
            if (strstr(files[i]->d_name, ".safetensors"))
                write_vectors(out, argv[3], files[i]->d_name);
    } else if (strcmp(what, "kinds") == 0) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            check(caps_model_spec_parse(&spec, kinds[i].spec, kinds[i].name, &err), &err, "kinds");
            write_made_up(out, kinds[i].name, spec, strstr(kinds[i].name, "matrix") ? 1 : 3);
        }
    } else if (strcmp(what, "builtin") == 0) {
        for (size_t i = 0; caps_model_spec_builtin(i); i++) {
            const char *name = caps_model_spec_builtin(i);
            check(caps_model_spec_load(&spec, name, &err), &err, name);
            write_made_up(out, name, spec, 1);
        }
    } else {
        fprintf(stderr, "usage: onnx_cases OUT vectors DIR | kinds | builtin\n");
        return 2;
    }
    caps_runtime_free(rt);
    return 0;
}
