/* gallery_pairs.c: figures that pairs of digits have too: couplings, overlap. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "gallery.h"

static caps_status pairs_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "show: out of memory for the images");
}

/* ---- couplings ------------------------------------------------------------------------------ */

/* The surest right image and, if there is a mistake, the worst. */
static caps_status take_coupled(caps_sample *s, caps_gallery *g, caps_error *err)
{
    const caps_image_results *r = &g->results;
    size_t chosen[2], count = 0;
    for (size_t i = 0; i < r->n; i++)
        if (caps_image_results_is_right(r, i) &&
            (count == 0 ||
                caps_image_results_sureness(r, i) > caps_image_results_sureness(r, chosen[0]))) {
            chosen[0] = i;
            count = 1;
        }
    count += caps_image_results_worst(r, chosen + count, 1);
    return caps_sample_take(
        s, g, chosen, count, CAPS_PREDICT_COUPLINGS | CAPS_PREDICT_INPUT_LENGTHS, err);
}

caps_status caps_gallery_couplings(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES];
    const caps_picture_context of = caps_gallery_context(g, text);
    const caps_model_info *info = g->info;
    const size_t each = info->iterations * info->inputs * info->classes;
    const size_t flat[] = {info->inputs, 1, 1}; /* capsules that have no places */
    const size_t *grid = info->grid[0] ? info->grid : flat;
    caps_sample s = {0};
    caps_coupled *blocks = NULL;
    caps_status status;
    CAPS_TRY(take_coupled(&s, g, err));
    const caps_predictions *p = &s.predictions;
    blocks = calloc(s.n, sizeof *blocks);
    if (!blocks)
        CAPS_TRY(pairs_out_of_memory(err));
    for (size_t i = 0; i < s.n; i++)
        blocks[i] = (caps_coupled){.source = s.sources[i],
            .input = s.inputs + i * info->pixels,
            .labels = p->labels + i * info->labels,
            .true_labels = s.true_labels + i * info->labels,
            .count = info->labels,
            .lengths = p->lengths + i * info->classes,
            .couplings = p->couplings + i * each,
            .primary = p->input_lengths + i * info->inputs};
    CAPS_TRY(caps_picture_couplings(
        d, &of, blocks, s.n, info->iterations, grid[0], grid[1], grid[2], info->leaky, err));
done:
    free(blocks);
    caps_sample_release(&s);
    return status;
}

/* ---- overlap -------------------------------------------------------------------------------- */

enum { OVERLAP_CELLS = 8, OVERLAP_GROUPS = 3 };

/* Cells, each with two capsules to decode and the two images that come of them. */
typedef struct overlap {
    caps_sample sample;
    caps_overlapped *cells; /* [count] */
    size_t count;
    float *masked, *images; /* [count, 2, J, D], [count, 2, C*H*W] */
} overlap;

/* The longest capsule of a class that is not in the image. */
static int32_t absent_class(const caps_sample *s, size_t i)
{
    const int32_t *truth = s->true_labels + 2 * i;
    const float *lengths = s->predictions.lengths + i * s->predictions.classes;
    int32_t found = -1;
    for (int32_t j = 0; j < (int32_t)s->predictions.classes; j++)
        if (j != truth[0] && j != truth[1] && (found < 0 || lengths[j] > lengths[found]))
            found = j;
    return found < 0 ? truth[1] : found;
}

/* The first pairs that are right, then the worst of those that are wrong; *rights of them are
 * right. */
static caps_status take_overlapped(caps_sample *s, caps_gallery *g, size_t *rights, caps_error *err)
{
    const caps_image_results *r = &g->results;
    size_t chosen[2 * OVERLAP_CELLS], count = 0;
    for (size_t i = 0; i < r->n && count < OVERLAP_CELLS; i++)
        if (caps_image_results_is_right(r, i))
            chosen[count++] = i;
    *rights = count;
    count += caps_image_results_worst(r, chosen + count, OVERLAP_CELLS);
    caps_status status = caps_sample_take(s, g, chosen, count, CAPS_PREDICT_CAPSULES, err);
    for (size_t i = 0; status == CAPS_OK && i < s->n; i++)
        caps_labels_match(s->predictions.labels + 2 * i, s->true_labels + 2 * i, 2);
    return status;
}

/* Another cell: image i, decoded as these two classes. */
static void add_cell(overlap *o, size_t i, int32_t first, int32_t second)
{
    const caps_predictions *p = &o->sample.predictions;
    const size_t row = p->classes * p->dim, at = o->count++;
    const int32_t decoded[] = {first, second};
    caps_overlapped *cell = &o->cells[at];
    *cell = (caps_overlapped){
        .source = o->sample.sources[i], .input = o->sample.inputs + i * p->pixels};
    for (size_t t = 0; t < 2; t++) {
        cell->true_labels[t] = o->sample.true_labels[2 * i + t];
        cell->decoded[t] = decoded[t];
        cell->reconstruction[t] = o->images + (2 * at + t) * p->pixels;
        caps_sample_mask(&o->sample, i, (size_t)decoded[t], o->masked + (2 * at + t) * row);
    }
}

/* Every image as the classes that were predicted; then the first `rights` as a class that is there
 * beside one that is not. */
static caps_status fill_cells(overlap *o, caps_gallery *g, size_t rights, caps_error *err)
{
    const caps_sample *s = &o->sample;
    const size_t row = g->info->classes * g->info->dim, most = s->n + rights;
    o->cells = calloc(most + 1, sizeof *o->cells);
    o->masked = calloc(2 * most * row + 1, sizeof *o->masked);
    o->images = calloc(2 * most * g->info->pixels + 1, sizeof *o->images);
    if (!o->cells || !o->masked || !o->images)
        return pairs_out_of_memory(err);
    for (size_t i = 0; i < s->n; i++)
        add_cell(o, i, s->predictions.labels[2 * i], s->predictions.labels[2 * i + 1]);
    for (size_t i = 0; i < rights; i++)
        add_cell(o, i, s->true_labels[2 * i], absent_class(s, i));
    return caps_gallery_decode(g, o->masked, 2 * o->count, o->images, err);
}

caps_status caps_gallery_overlap(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES];
    const caps_picture_context of = caps_gallery_context(g, text);
    caps_overlap_group groups[OVERLAP_GROUPS] = {{.title = "Right: both digits were found"},
        {.title = "Wrong, the worst first: decoded as the two classes that were predicted"},
        {.title = "Asked for a digit that is not there, beside one that is"}};
    overlap o = {0};
    size_t rights = 0, shown = 0;
    caps_status status;
    CAPS_TRY(take_overlapped(&o.sample, g, &rights, err));
    if (g->index_count) { /* one group of them, as they were predicted */
        groups[0].title = "Decoded as the two classes that were predicted";
        rights = o.sample.n;
    }
    CAPS_TRY(fill_cells(&o, g, rights, err));
    groups[0].cells = o.cells;
    groups[0].count = rights;
    groups[1].cells = o.cells + rights;
    groups[1].count = o.sample.n - rights;
    groups[2].cells = o.cells + o.sample.n;
    groups[2].count = rights;
    for (size_t i = 0; i < OVERLAP_GROUPS; i++) /* those that have something to show */
        if (groups[i].count > 0)
            groups[shown++] = groups[i];
    CAPS_TRY(caps_picture_overlap(d, &of, groups, shown, err));
done:
    free(o.cells);
    free(o.masked);
    free(o.images);
    caps_sample_release(&o.sample);
    return status;
}
