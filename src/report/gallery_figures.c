/* gallery_figures.c: the table of figures, and those that need no single images. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "gallery.h"

/* The first convolution: the first parameter of four dimensions. */
static const caps_parameter *first_convolution(const caps_model *m)
{
    for (size_t i = 0; i < caps_model_parameter_count(m); i++)
        if (caps_model_parameter(m, i)->ndim == 4)
            return caps_model_parameter(m, i);
    return NULL;
}

static caps_status draw_filters(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES], layer[64];
    const caps_picture_context of = caps_gallery_context(g, text);
    const caps_parameter *p = first_convolution(g->model);
    if (!p || p->shape[2] != p->shape[3])
        return caps_fail(
            err, CAPS_ERR_MISMATCH, "%s: the model has no convolution, need one", g->model_name);
    snprintf(layer, sizeof layer, "%.*s", (int)strcspn(p->name, "."), p->name);
    float *weights = malloc(p->count * sizeof *weights);
    if (!weights)
        return caps_fail(err, CAPS_ERR_MEMORY, "show: out of memory");
    caps_status status =
        caps_tensor_download(caps_model_get_runtime(g->model), &p->value, weights, err);
    if (status == CAPS_OK)
        status = caps_picture_filters(
            d, &of, layer, weights, p->shape[0], p->shape[1], p->shape[2], err);
    free(weights);
    return status;
}

static caps_status draw_lengths(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES];
    const caps_picture_context of = caps_gallery_context(g, text);
    const caps_margin *m = &caps_model_get_loss(g->model)->margin;
    const double margins[] = {(double)m->negative, (double)m->positive};
    const bool margin =
        strcmp(caps_loss_name(g->spec, caps_model_get_loss(g->model)), "margin loss") == 0;
    return caps_picture_lengths(d, &of, g->results.lengths, g->results.true_labels, g->data.n,
        g->info->labels, margin ? margins : NULL, err);
}

static caps_status draw_confusion(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES];
    const caps_picture_context of = caps_gallery_context(g, text);
    return caps_picture_confusion(d, &of, g->evaluation.confusion, err);
}

/* ---- the table ------------------------------------------------------------------------------ */

enum {
    IMAGES = CAPS_NEEDS_DATA | CAPS_NEEDS_EVALUATION,
    DECODED = IMAGES | CAPS_NEEDS_CAPSULES | CAPS_NEEDS_DECODER | CAPS_TAKES_INDEX,
};

static const caps_gallery_figure figures[] = {
    {"reconstruct", "images beside what the decoder makes of them: right ones, worst mistakes",
        DECODED | CAPS_NEEDS_SINGLES, caps_gallery_reconstruct},
    {"perturb", "what each dimension of a class capsule means, by changing it",
        DECODED | CAPS_NEEDS_SINGLES, caps_gallery_perturb},
    {"couplings", "which primary capsules vote for which class, at each iteration",
        IMAGES | CAPS_NEEDS_CAPSULES | CAPS_NEEDS_ROUTING | CAPS_NEEDS_VECTORS | CAPS_TAKES_INDEX,
        caps_gallery_couplings},
    {"assignment", "which matrix capsules are assigned to which class, at each iteration",
        IMAGES | CAPS_NEEDS_CAPSULES | CAPS_NEEDS_ROUTING | CAPS_NEEDS_MATRIX | CAPS_TAKES_INDEX,
        caps_gallery_couplings},
    {"filters", "the weights of the first convolution (needs no data)", 0, draw_filters},
    {"lengths", "how long each class's capsule is, in its own images and in others", IMAGES,
        draw_lengths},
    {"confusion", "true classes against predicted ones", IMAGES, draw_confusion},
    {"overlap", "overlapping digits taken apart: right, wrong, and digits that are not there",
        DECODED | CAPS_NEEDS_PAIRS, caps_gallery_overlap},
};

const caps_gallery_figure *caps_gallery_figure_at(size_t i)
{
    return i < sizeof figures / sizeof figures[0] ? &figures[i] : NULL;
}

const caps_gallery_figure *caps_gallery_figure_find(const char *name)
{
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        if (strcmp(figures[i].name, name) == 0)
            return &figures[i];
    return NULL;
}

caps_status caps_gallery_check(
    const caps_gallery *g, const caps_gallery_figure *figure, caps_error *err)
{
    const struct {
        unsigned need;
        bool has;
        const char *problem; /* "...: %s": the figure's name follows */
    } rows[] = {
        {CAPS_NEEDS_CAPSULES, g->info->dim > 0, "the model has no capsules, need them for"},
        {CAPS_NEEDS_ROUTING, g->info->iterations > 0,
            "the model's class capsules have no iterations of routing, need them for"},
        {CAPS_NEEDS_VECTORS, !g->info->matrix,
            "the model's class capsules are matrix capsules (show assignment), need vectors for"},
        {CAPS_NEEDS_MATRIX, g->info->matrix,
            "the model's class capsules are vectors (show couplings), need matrix capsules for"},
        {CAPS_NEEDS_DECODER, g->info->has_decoder, "the model has no decoder, need one for"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (figure->needs & rows[i].need && !rows[i].has)
            return caps_fail(
                err, CAPS_ERR_MISMATCH, "%s: %s %s", g->model_name, rows[i].problem, figure->name);
    if (figure->needs & CAPS_NEEDS_SINGLES && g->info->labels > 1)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model takes pairs of images, need one of single images for %s (see overlap "
            "and couplings)",
            g->model_name, figure->name);
    if (figure->needs & CAPS_NEEDS_PAIRS && g->info->labels != 2)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model takes single images, need one of pairs for %s (--arch multimnist)",
            g->model_name, figure->name);
    return CAPS_OK;
}
