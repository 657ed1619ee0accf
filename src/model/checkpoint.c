/* checkpoint.c: parameters and spec in a safetensors file (docs/checkpoint-format.md). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "loss.h"
#include "model_state.h"
#include "parameter_file.h"

#include "fail.h"
#include "file.h"
#include "json.h"
#include "launch.h"
#include "textbuf.h"

/* ---- writing -------------------------------------------------------------------------------- */

typedef caps_status save_file(const char *path, const caps_st_tensor *tensors, size_t count,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err);

/* values: what stands in place of the parameters, flat. */
static caps_status save_by(
    save_file *save, caps_model *m, const caps_tensor *values, const char *path, caps_error *err)
{
    caps_st_tensor tensors[CAPS_MOST_PARAMETERS];
    caps_status status = CAPS_OK;
    const void *flat = NULL;
    caps_network_texts texts = {0};
    caps_st_pair metadata[CAPS_NETWORK_PAIRS];
    CAPS_TRY(caps_network_texts_init(&texts, m->spec, &m->loss, path, err));
    CAPS_TRY(caps_tensor_map(m->rt, values, &flat, err));
    for (size_t i = 0; i < m->network.parameter_count; i++) {
        const caps_parameter *p = &m->network.parameters[i].parameter;
        tensors[i] = caps_parameter_tensor(p, p->name, flat);
    }
    const size_t pairs = caps_network_texts_list(metadata, &texts, NULL, 0);
    CAPS_TRY(save(path, tensors, m->network.parameter_count, metadata, pairs, err));
done:
    caps_tensor_unmap(m->rt, values, &flat, NULL);
    caps_network_texts_release(&texts);
    return status;
}

caps_status caps_model_save(caps_model *m, const char *path, caps_error *err)
{
    return save_by(caps_safetensors_save, m, &m->parameters, path, err);
}

caps_status caps_model_save_own(caps_model *m, const char *path, caps_error *err)
{
    return save_by(caps_safetensors_save_own, m, &m->parameters, path, err);
}

caps_status caps_model_save_average_own(caps_model *m, const char *path, caps_error *err)
{
    return save_by(caps_safetensors_save_own, m, &m->average, path, err);
}

/* ---- what the file is of -------------------------------------------------------------------- */

static caps_status mismatch(
    const char *path, const caps_model_spec *have, const caps_model_spec *need, caps_error *err)
{
    char text[256];
    caps_spec_difference(text, sizeof text, have, need);
    return caps_fail(err, CAPS_ERR_MISMATCH, "%s: %s", path, text);
}

/* The file's own spec, or none; its loss. */
static caps_status read_own(
    caps_checkpoint *c, const caps_safetensors *st, const char *path, caps_error *err)
{
    const char *format = caps_safetensors_get_metadata(st, "capscl.format");
    const char *spec = caps_safetensors_get_metadata(st, "capscl.spec");
    const char *loss = caps_safetensors_get_metadata(st, "capscl.loss");
    caps_status status = CAPS_OK;
    c->loss = CAPS_LOSS_DEFAULT;
    if (format && strcmp(format, CAPS_FORMAT_VERSION) != 0)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: capscl.format is '%.16s', need '%s'", path,
            format, CAPS_FORMAT_VERSION);
    if (spec)
        CAPS_TRY(caps_model_spec_parse(&c->spec, spec, path, err));
    c->has_spec = spec != NULL;
    if (loss)
        CAPS_TRY(caps_loss_parse(&c->loss, loss, path, err));
done:
    return status;
}

/* `spec` takes the place of the file's own. */
static caps_status replace_spec(caps_checkpoint *c, const caps_model_spec *spec, caps_error *err)
{
    caps_model_spec_free(c->spec);
    c->spec = NULL;
    return caps_model_spec_copy(&c->spec, spec, err);
}

static caps_status read_class_names(
    caps_checkpoint *c, const caps_safetensors *st, const char *path, caps_error *err)
{
    const char *names = caps_safetensors_get_metadata(st, "capscl.classes");
    if (!names || caps_model_spec_info(c->spec)->has_class_names)
        return CAPS_OK;
    return caps_class_names_parse(c->spec, names, path, err);
}

/* ---- a reading ------------------------------------------------------------------------------ */

typedef struct reading {
    caps_checkpoint *c;
    const char *path;
    caps_safetensors st;
    caps_textbuf notes;
} reading;

/* Is what cannot be read an ONNX file: by its name, or as such files begin, with the version of the
 * format and then the name of the program that wrote it? */
static bool is_onnx(const char *path)
{
    const size_t n = strlen(path);
    unsigned char head[5] = {0};
    int fd = -1;
    if (n > 5 && strcasecmp(path + n - 5, ".onnx") == 0)
        return true;
    const bool read = caps_file_open(&fd, path, NULL) == CAPS_OK &&
                      caps_file_take(fd, head, sizeof head, path, NULL) == CAPS_OK;
    if (fd >= 0)
        close(fd);
    return read && head[0] == 0x08 && head[1] < 0x40 && head[2] == 0x12 && head[3] < 0x40 &&
           isalpha(head[4]);
}

/* The file's header is read and checked, and what it is of. */
static caps_status reading_begin(reading *r, caps_checkpoint *c, const char *path, caps_error *err)
{
    *r = (reading){.c = c, .path = path};
    memset(c, 0, sizeof *c);
    caps_status status = caps_safetensors_open(&r->st, path, err);
    if (status == CAPS_ERR_FORMAT && is_onnx(path))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: ONNX files are written, not read: need the checkpoint (model.safetensors)", path);
    return status == CAPS_OK ? read_own(c, &r->st, path, err) : status;
}

/* Gives the notes to the checkpoint, or on failure releases it; returns the status. */
static caps_status reading_end(reading *r, caps_status status, caps_error *err)
{
    if (status == CAPS_OK && r->notes.out_of_memory)
        status = caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", r->path);
    if (status == CAPS_OK) {
        r->c->notes = r->notes.text;
        r->notes = (caps_textbuf){0};
    } else {
        caps_checkpoint_release(r->c);
    }
    caps_textbuf_release(&r->notes);
    caps_safetensors_release(&r->st);
    return status;
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* Moments and averages, which a state has beside the parameters. */
static bool is_of_training(const caps_safetensors *st, const char *name)
{
    return caps_safetensors_get_metadata(st, "capscl.state") &&
           (strncmp(name, "optimizer.", 10) == 0 || strncmp(name, "ema.", 4) == 0);
}

static bool is_parameter(const caps_network *network, const char *name)
{
    bool is = false;
    for (size_t i = 0; !is && i < network->parameter_count; i++)
        is = strcmp(network->parameters[i].name, name) == 0;
    return is;
}

/* The file holds the network's parameters and nothing else. */
static caps_status check_tensors(
    const caps_safetensors *st, const caps_network *network, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t t = 0; t < st->count; t++) {
        const char *name = st->tensors[t].name;
        if (!is_of_training(st, name) && !is_parameter(network, name))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %.64s is none of the network's, need only its parameters", path, name);
    }
    for (size_t i = 0; i < network->parameter_count && status == CAPS_OK; i++) {
        const caps_parameter *p = &network->parameters[i].parameter;
        status = caps_parameter_check(caps_safetensors_get(st, p->name), p->name, p, path, err);
    }
    return status;
}

/* "12 tensors are float16, converted to float32", once for each type. */
static void note_types(caps_textbuf *notes, const caps_checkpoint *c, const caps_safetensors *st,
    const caps_network *network, const char *path)
{
    static const char *const dtypes[] = {"F16", "BF16", "F64"};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        size_t count = 0;
        for (size_t i = 0; i < network->parameter_count; i++) {
            const caps_st_tensor *t = caps_safetensors_get(st, network->parameters[i].name);
            count += (!c->fresh || !c->fresh[i]) && strcmp(t->dtype, dtypes[d]) == 0;
        }
        if (count > 0)
            caps_textbuf_put(notes, "%s: %zu of %zu tensors %s %s, converted to float32\n", path,
                count, network->parameter_count, count == 1 ? "is" : "are",
                caps_parameter_type_name(dtypes[d]));
    }
}

/* All that is not fresh, which is 0. Only now memory is taken for it: a file that holds less than
 * the network cannot make us allocate the network. */
static caps_status read_parameters(caps_checkpoint *c, caps_safetensors *st,
    const caps_network *network, const char *path, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_safetensors_read(st, path, err));
    c->count = network->elements + network->statistics;
    c->parameters = calloc(c->count, sizeof *c->parameters);
    if (!c->parameters)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for its parameters", path));
    for (size_t i = 0; i < network->parameter_count; i++) {
        const caps_parameter *p = &network->parameters[i].parameter;
        if (!c->fresh || !c->fresh[i])
            CAPS_TRY(caps_parameter_read(
                c->parameters + p->first, caps_safetensors_get(st, p->name), p, path, err));
    }
done:
    return status;
}

/* ---- a whole checkpoint --------------------------------------------------------------------- */

/* The network is c->spec, and the file has all of it. */
static caps_status read_whole(reading *r, caps_error *err)
{
    caps_network network = {0};
    caps_status status;
    CAPS_TRY(read_class_names(r->c, &r->st, r->path, err));
    CAPS_TRY(caps_network_init(&network, r->c->spec, err));
    CAPS_TRY(check_tensors(&r->st, &network, r->path, err));
    CAPS_TRY(read_parameters(r->c, &r->st, &network, r->path, err));
    note_types(&r->notes, r->c, &r->st, &network, r->path);
done:
    caps_network_release(&network);
    return status;
}

caps_status caps_checkpoint_load(
    caps_checkpoint *c, const char *path, const caps_model_spec *spec, caps_error *err)
{
    reading r;
    caps_status status;
    CAPS_TRY(reading_begin(&r, c, path, err));
    if (!c->spec && !spec)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: no capscl.spec in its metadata, so its network is not known: need it beside the "
            "file (--arch FILE, or a built-in name)",
            path));
    if (c->spec && spec && !caps_model_spec_equal(c->spec, spec))
        CAPS_TRY(mismatch(path, c->spec, spec, err));
    if (spec)
        CAPS_TRY(replace_spec(c, spec, err));
    CAPS_TRY(read_whole(&r, err));
done:
    return reading_end(&r, status, err);
}

/* ---- a checkpoint beside its network -------------------------------------------------------- */

/* The number of classes by which the network gets the file's shapes, or 0: the one size by which
 * networks of this number of classes and one more differ is looked up in the file. */
static size_t count_classes(const caps_safetensors *st, const caps_model_spec *spec)
{
    const size_t classes = caps_model_spec_info(spec)->classes;
    caps_model_spec *more = NULL;
    caps_network a = {0}, b = {0};
    size_t count = 0;
    if (caps_model_spec_copy(&more, spec, NULL) == CAPS_OK &&
        caps_model_spec_set_classes(
            more, classes < CAPS_MAX_CLASSES ? classes + 1 : classes - 1, NULL) == CAPS_OK &&
        caps_network_init(&a, spec, NULL) == CAPS_OK &&
        caps_network_init(&b, more, NULL) == CAPS_OK)
        for (size_t i = 0; i < a.parameter_count && count == 0; i++) {
            const caps_parameter *p = &a.parameters[i].parameter, *q = &b.parameters[i].parameter;
            const caps_st_tensor *t = caps_safetensors_get(st, p->name);
            for (int d = 0; t && t->ndim == p->ndim && d < p->ndim; d++)
                if (p->shape[d] == classes && q->shape[d] != classes)
                    count = t->shape[d];
        }
    caps_network_release(&a);
    caps_network_release(&b);
    caps_model_spec_free(more);
    return count;
}

/* A built-in network with as many classes as the file's, which is the file's own or what its
 * shapes ask for. */
static caps_status fit_classes(const caps_checkpoint *c, const caps_safetensors *st,
    caps_model_spec *spec, const char *arch, const char *path, caps_textbuf *notes, caps_error *err)
{
    if (!caps_model_spec_is_builtin(arch))
        return CAPS_OK;
    const size_t usual = caps_model_spec_info(spec)->classes;
    const size_t classes =
        c->spec ? caps_model_spec_info(c->spec)->classes : count_classes(st, spec);
    if (classes == 0 || classes == usual)
        return CAPS_OK;
    caps_status status = caps_model_spec_set_classes(spec, classes, err);
    if (status != CAPS_OK)
        return caps_fail_prefix(err, CAPS_ERR_FORMAT, "%s", path);
    if (!c->spec)
        caps_textbuf_put(
            notes, "%s: of %zu classes (%s by itself: %zu)\n", path, classes, arch, usual);
    return CAPS_OK;
}

caps_status caps_checkpoint_load_as(
    caps_checkpoint *c, const char *path, const char *arch, caps_error *err)
{
    reading r;
    caps_model_spec *spec = NULL;
    caps_status status;
    if (!arch)
        return caps_checkpoint_load(c, path, NULL, err);
    CAPS_TRY(reading_begin(&r, c, path, err));
    CAPS_TRY(caps_model_spec_load(&spec, arch, err));
    CAPS_TRY(fit_classes(c, &r.st, spec, arch, path, &r.notes, err));
    if (c->spec && !caps_model_spec_equal(c->spec, spec)) {
        char text[256];
        caps_spec_difference(text, sizeof text, c->spec, spec);
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: is of its own network, not of %s (%s): leave --arch out, or name what it is of",
            path, arch, text));
    }
    CAPS_TRY(replace_spec(c, spec, err));
    CAPS_TRY(read_whole(&r, err));
done:
    caps_model_spec_free(spec);
    return reading_end(&r, status, err);
}

/* ---- what fits of a checkpoint -------------------------------------------------------------- */

/* "decoder.fc1" of "decoder.fc1.weight", "conv1" of "conv1.norm.weight": its length. */
static size_t layer_length(const char *name)
{
    const size_t decoder = strncmp(name, "decoder.", 8) == 0 ? 8 : 0;
    return decoder + strcspn(name + decoder, ".");
}

static bool is_same_layer(const char *a, const char *b)
{
    const size_t n = layer_length(a);
    return n == layer_length(b) && strncmp(a, b, n) == 0;
}

/* Adds ", "-separated words. */
static void add_word(caps_textbuf *to, const char *word, size_t n)
{
    if (to->used > 0)
        caps_textbuf_put(to, ", ");
    caps_textbuf_append(to, word, n);
}

/* Why tensor t is not that of p, behind its layer's name: " ([1152, 10, 16, 8], need [...])". */
static void add_reason(caps_textbuf *to, const caps_st_tensor *t, const caps_parameter *p)
{
    char have[192], need[192];
    if (!t) {
        caps_textbuf_put(to, " (no %s in the file)", p->name);
    } else if (!caps_parameter_type_name(t->dtype)) {
        caps_textbuf_put(to, " (%s is %s)", p->name, t->dtype);
    } else {
        caps_shape_text(have, sizeof have, t->ndim, t->shape);
        caps_shape_text(need, sizeof need, p->ndim, p->shape);
        caps_textbuf_put(to, " (%s is [%s] in the file, need [%s])",
            p->name + layer_length(p->name) + 1, have, need);
    }
}

typedef struct fitting {
    caps_textbuf taken, fresh, unused;
} fitting;

/* A layer is taken whole or not at all: weights of one network with biases of another are of no
 * use. Parameters of a layer follow each other. */
static void compare_layers(
    caps_checkpoint *c, const caps_safetensors *st, const caps_network *network, fitting *f)
{
    for (size_t i = 0, end; i < network->parameter_count; i = end) {
        const char *name = network->parameters[i].name;
        const caps_parameter *bad = NULL;
        for (end = i;
             end < network->parameter_count && is_same_layer(name, network->parameters[end].name);
             end++) {
            const caps_parameter *p = &network->parameters[end].parameter;
            const caps_st_tensor *t = caps_safetensors_get(st, p->name);
            if (!bad && !(t && caps_parameter_type_name(t->dtype) && caps_parameter_fits(t, p)))
                bad = p;
        }
        for (size_t k = i; k < end; k++)
            c->fresh[k] = bad != NULL;
        add_word(bad ? &f->fresh : &f->taken, name, layer_length(name));
        if (bad)
            add_reason(&f->fresh, caps_safetensors_get(st, bad->name), bad);
    }
    for (size_t t = 0; t < st->count; t++) {
        const char *name = st->tensors[t].name;
        if (!is_of_training(st, name) && !is_parameter(network, name))
            add_word(&f->unused, name, strnlen(name, 64));
    }
}

/* The lines that say what was taken, or the error: nothing was, or all was of another network. */
static caps_status judge_fitting(const caps_checkpoint *c, const caps_model_spec *own,
    const fitting *f, caps_textbuf *notes, const char *path, caps_error *err)
{
    if (f->taken.out_of_memory || f->fresh.out_of_memory || f->unused.out_of_memory)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    if (f->taken.used == 0)
        return caps_fail(err, CAPS_ERR_MISMATCH, "%s: no layer of it fits the network: %.700s",
            path, f->fresh.text);
    if (f->fresh.used == 0 && f->unused.used == 0)
        return own && !caps_model_spec_equal(own, c->spec) ? mismatch(path, own, c->spec, err)
                                                           : CAPS_OK;
    caps_textbuf_put(notes, "%s: taken: %s", path, f->taken.text);
    if (f->fresh.used > 0)
        caps_textbuf_put(notes, "; begun anew: %s", f->fresh.text);
    if (f->unused.used > 0)
        caps_textbuf_put(notes, "; not used: %s", f->unused.text);
    caps_textbuf_put(notes, "\n");
    return CAPS_OK;
}

caps_status caps_checkpoint_load_fitting(
    caps_checkpoint *c, const char *path, const caps_model_spec *spec, caps_error *err)
{
    reading r;
    caps_model_spec *own = NULL;
    caps_network network = {0};
    fitting f = {0};
    caps_status status;
    CAPS_TRY(reading_begin(&r, c, path, err));
    own = c->spec;
    c->spec = NULL;
    CAPS_TRY(replace_spec(c, spec, err));
    CAPS_TRY(caps_network_init(&network, c->spec, err));
    c->fresh = calloc(network.parameter_count, sizeof *c->fresh);
    if (!c->fresh)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    compare_layers(c, &r.st, &network, &f);
    CAPS_TRY(judge_fitting(c, own, &f, &r.notes, path, err));
    CAPS_TRY(read_parameters(c, &r.st, &network, path, err));
    note_types(&r.notes, c, &r.st, &network, path);
    if (f.fresh.used == 0) {
        free(c->fresh);
        c->fresh = NULL;
    }
done:
    caps_textbuf_release(&f.taken);
    caps_textbuf_release(&f.fresh);
    caps_textbuf_release(&f.unused);
    caps_network_release(&network);
    caps_model_spec_free(own);
    return reading_end(&r, status, err);
}

void caps_checkpoint_release(caps_checkpoint *c)
{
    free(c->parameters);
    free(c->fresh);
    free(c->notes);
    caps_model_spec_free(c->spec);
    memset(c, 0, sizeof *c);
}
