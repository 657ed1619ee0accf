/* explorer.c: see explorer.h. */
#include "explorer.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "request.h"

/* ---- models --------------------------------------------------------------------------------- */

/* A model with the same parameters for one image. */
static caps_status make_one(caps_explored *m, const char *conv, caps_error *err)
{
    const caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 1,
        .reconstruct = true, .loss = caps_model_get_loss(m->many), .conv = conv};
    caps_status status = CAPS_OK;
    float *flat = malloc(caps_model_flat_count(m->many) * sizeof *flat);
    if (!flat)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for the parameters", m->file);
    CAPS_TRY(caps_model_create(&m->one, caps_model_get_runtime(m->many), m->spec, &options, err));
    CAPS_TRY(caps_model_get_parameters(m->many, flat, err));
    CAPS_TRY(caps_model_set_parameters(m->one, flat, err));
done:
    free(flat);
    return status;
}

/* Every kernel that requests need is compiled and has run once. */
static caps_status warm_up(caps_explored *m, caps_error *err)
{
    const caps_model_info *info = m->info;
    const size_t n = caps_model_get_micro_batch(m->many);
    const size_t capsules = info->classes * info->dim;
    caps_predictions made = {0};
    caps_status status = CAPS_OK;
    float *images = calloc(n * info->pixels + 1, sizeof *images);
    float *decoded = calloc(n * info->pixels + 1, sizeof *decoded);
    float *given = calloc(n * capsules + 1, sizeof *given);
    const int32_t labels[CAPS_MAX_LABELS] = {0};
    const unsigned all = CAPS_PREDICT_CAPSULES | CAPS_PREDICT_RECONSTRUCTION |
                         CAPS_PREDICT_COUPLINGS | CAPS_PREDICT_INPUT_LENGTHS |
                         CAPS_PREDICT_ITERATIONS;
    if (!images || !decoded || !given)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for images", m->file));
    CAPS_TRY(caps_predict(m->many, images, n, CAPS_PREDICT_CAPSULES, NULL, &made, err));
    caps_predictions_release(&made);
    CAPS_TRY(caps_predict(m->one, images, 1, all, NULL, &made, err));
    if (m->info->has_decoder) {
        CAPS_TRY(caps_decode(m->many, given, NULL, n, decoded, NULL, err));
        CAPS_TRY(caps_decode(m->one, given, NULL, 1, decoded, NULL, err));
    }
    if (m->attack) {
        const caps_images batch = {1, images, labels, NULL};
        CAPS_TRY(caps_attack_apply(m->attack, CAPS_ATTACK_FGSM, 0.1, 1, &batch, decoded, err));
    }
done:
    caps_predictions_release(&made);
    free(images);
    free(decoded);
    free(given);
    return status;
}

static caps_status explored_init(caps_explored *m, caps_explorer *e, size_t i, caps_error *err)
{
    const caps_serve_options *o = e->options;
    const caps_model_spec *first = caps_model_get_spec(o->models[0]);
    caps_status status;
    m->file = o->files[i];
    m->many = o->models[i];
    m->spec = caps_model_get_spec(m->many);
    m->info = caps_model_get_info(m->many);
    if ((o->test || o->train) && !caps_data_is_shared(first, m->spec))
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: takes %zux%zux%zu and has %zu classes, need what %s has, as the data are of both",
            m->file, m->info->input[0], m->info->input[1], m->info->input[2], m->info->classes,
            o->files[0]);
    m->ranges = calloc(m->info->classes, sizeof *m->ranges);
    if (!m->ranges)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", m->file);
    CAPS_TRY(make_one(m, o->conv, err));
    /* A device with little memory may have none for gradients: then there are no attacks. */
    status = caps_attack_model_create(&m->attack, m->many, 1, o->conv, &m->attack_error);
    if (status == CAPS_ERR_DEVICE_MEMORY)
        status = CAPS_OK;
    else if (status != CAPS_OK && err)
        *err = m->attack_error;
    CAPS_TRY(status);
    CAPS_TRY(warm_up(m, err));
done:
    return status;
}

caps_status caps_explorer_init(caps_explorer *e, const caps_serve_options *options, caps_error *err)
{
    caps_status status = CAPS_OK;
    *e = (caps_explorer){.options = options};
    e->models = calloc(options->count, sizeof *e->models);
    if (!e->models)
        return caps_fail(err, CAPS_ERR_MEMORY, "serve: out of memory");
    for (size_t i = 0; i < options->count; i++)
        CAPS_TRY(explored_init(&e->models[i], e, i, err));
    e->about = caps_explorer_describe(e);
    if (!e->about)
        status = caps_fail(err, CAPS_ERR_MEMORY, "serve: out of memory");
done:
    return status;
}

void caps_explorer_release(caps_explorer *e)
{
    for (size_t i = 0; e->models && i < e->options->count; i++) {
        caps_explored *m = &e->models[i];
        caps_model_free(m->one);
        caps_model_free(m->attack);
        for (size_t j = 0; m->ranges && j < m->info->classes; j++)
            free(m->ranges[j]);
        free(m->ranges);
    }
    free(e->models);
    free(e->about);
    *e = (caps_explorer){0};
}

/* ---- images --------------------------------------------------------------------------------- */

caps_status caps_explorer_image(const caps_explorer *e, caps_textbuf *out, const char *split,
    const char *index, caps_error *err)
{
    const caps_serve_options *o = e->options;
    const caps_model_info *info = e->models[0].info;
    const char *name = split ? split : "test";
    const bool test = strcmp(name, "test") == 0;
    const caps_dataset *ds = test ? o->test : o->train;
    int32_t labels[CAPS_MAX_LABELS] = {0};
    caps_status status;
    size_t i;
    if (!o->test && !o->train)
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "there are no data, need --data at the start");
    if (!test && strcmp(name, "train") != 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "split: '%.20s', need test or train", name);
    if (!ds)
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "the data have no %s split", name);
    float *image = calloc(info->pixels + 1, sizeof *image);
    if (!image)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for an image");
    CAPS_TRY(caps_query_number(&i, "index", index, 0, ds->n, err));
    caps_dataset_draw(ds, i, CAPS_AUGMENT_NONE, 0, 0, image, labels, NULL);
    caps_textbuf_put(out,
        "{\"split\":\"%s\",\"index\":%zu,\"count\":%zu,\"label\":%d,\"labels\":", name, i, ds->n,
        (int)labels[0]);
    caps_put_labels(out, labels, info->labels);
    caps_put(out, ",\"image\":");
    caps_put_numbers(out, image, info->pixels);
    caps_put(out, "}");
done:
    free(image);
    return status;
}
