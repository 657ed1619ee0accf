/* show_images.c: the pictures of single images: reconstruct, perturb, couplings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "show.h"

enum {
    RIGHT_ROWS = 3,  /* right images of each class, */
    MOST_RIGHT = 60, /* together at most */
    MOST_WRONG = 15,
    MOST_BLOCKS = 20, /* classes whose capsules are perturbed */
    STEPS = 11,
};
#define STEP 0.05

static caps_status out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "show: out of memory for the images");
}

static caps_seen seen_of(const caps_show *s, const caps_seen_set *set, size_t i)
{
    const size_t pixels = s->sizes->pixels, j = s->spec->classes;
    caps_seen seen = {.source = set->sources[i],
        .input = set->inputs + i * pixels,
        .label = set->labels[i],
        .true_label = set->true_labels[i]};
    seen.length = set->lengths[i * j + (size_t)seen.label];
    seen.true_length = set->lengths[i * j + (size_t)seen.true_label];
    return seen;
}

/* The images that --index names, or none. */
static caps_status take_index(caps_seen_set *set, const caps_show *s, caps_error *err)
{
    caps_status status = caps_seen_init(set, s, s->index_count, err);
    for (size_t i = 0; status == CAPS_OK && i < set->n; i++)
        set->index[i] = (size_t)s->index[i];
    return status;
}

/* Row `to` gets the one capsule of class j. */
static void keep_one(
    const caps_show *s, float *to, const caps_seen_set *set, size_t image, size_t j)
{
    const size_t classes = s->spec->classes, dim = s->spec->class_caps.dim;
    memset(to, 0, classes * dim * sizeof *to);
    memcpy(to + j * dim, set->capsules + (image * classes + j) * dim, dim * sizeof *to);
}

/* ---- reconstruct ---------------------------------------------------------------------------- */

/* The first images of each class that are right, a row of all classes at a time; then the worst
 * mistakes. */
static caps_status choose_reconstructed(caps_seen_set *set, const caps_show *s, caps_error *err)
{
    const size_t classes = s->spec->classes;
    size_t rows = MOST_RIGHT / classes, count = 0, wrong[MOST_WRONG];
    rows = rows > RIGHT_ROWS ? RIGHT_ROWS : rows < 1 ? 1 : rows;
    size_t *chosen = calloc(rows * classes + MOST_WRONG, sizeof *chosen);
    size_t *next = calloc(classes, sizeof *next);
    caps_status status = CAPS_OK;
    if (!chosen || !next)
        CAPS_TRY(out_of_memory(err));
    for (size_t row = 0; row < rows; row++)
        for (size_t j = 0; j < classes && count < MOST_RIGHT; j++)
            while (next[j] < s->data.n) {
                const size_t i = next[j]++;
                if ((size_t)s->true_labels[i] == j && s->labels[i] == s->true_labels[i]) {
                    chosen[count++] = i;
                    break;
                }
            }
    const size_t mistakes = caps_show_worst(s, wrong, MOST_WRONG);
    for (size_t i = 0; i < mistakes; i++)
        chosen[count++] = wrong[i];
    CAPS_TRY(caps_seen_init(set, s, count, err));
    memcpy(set->index, chosen, count * sizeof *chosen);
done:
    free(chosen);
    free(next);
    return status;
}

caps_status caps_show_reconstruct(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    const size_t row = s->spec->classes * s->spec->class_caps.dim, pixels = s->sizes->pixels;
    caps_seen_set set = {0};
    caps_seen *right = NULL, *wrong = NULL;
    float *masked = NULL, *images = NULL;
    size_t rights = 0, wrongs = 0;
    caps_status status;
    CAPS_TRY(s->index_count ? take_index(&set, s, err) : choose_reconstructed(&set, s, err));
    CAPS_TRY(caps_seen_compute(&set, s, NULL, err));
    right = calloc(set.n + 1, sizeof *right);
    wrong = calloc(set.n + 1, sizeof *wrong);
    masked = calloc(2 * set.n * row + 1, sizeof *masked);
    images = calloc(2 * set.n * pixels + 1, sizeof *images);
    if (!right || !wrong || !masked || !images)
        CAPS_TRY(out_of_memory(err));
    for (size_t i = 0; i < set.n; i++) {
        keep_one(s, masked + 2 * i * row, &set, i, (size_t)set.labels[i]);
        keep_one(s, masked + (2 * i + 1) * row, &set, i, (size_t)set.true_labels[i]);
    }
    CAPS_TRY(caps_show_decode(s, masked, 2 * set.n, images, err));
    for (size_t i = 0; i < set.n; i++) {
        caps_seen seen = seen_of(s, &set, i);
        seen.as_label = images + 2 * i * pixels;
        seen.as_true = images + (2 * i + 1) * pixels;
        if (seen.label == seen.true_label)
            right[rights++] = seen;
        else
            wrong[wrongs++] = seen;
    }
    CAPS_TRY(caps_picture_reconstruct(d, &of, right, rights, wrong, wrongs, err));
done:
    free(right);
    free(wrong);
    free(masked);
    free(images);
    caps_seen_release(&set);
    return status;
}

/* ---- perturb -------------------------------------------------------------------------------- */

/* The best image of each class. */
static caps_status choose_perturbed(caps_seen_set *set, const caps_show *s, caps_error *err)
{
    size_t chosen[MOST_BLOCKS], count = 0;
    for (size_t j = 0; j < s->spec->classes && count < MOST_BLOCKS; j++)
        count += caps_show_best(s, j, &chosen[count]);
    if (count == 0)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "perturb: none of the %zu images is predicted right, need one (or --index N)",
            s->data.n);
    caps_status status = caps_seen_init(set, s, count, err);
    if (status == CAPS_OK)
        memcpy(set->index, chosen, count * sizeof *chosen);
    return status;
}

/* One image's capsule, each dimension by each step: rows of `changed`, images of `out`. */
static caps_status perturb_one(caps_show *s, const caps_seen_set *set, size_t i,
    const double *deltas, float *changed, float *out, caps_error *err)
{
    const size_t dim = s->spec->class_caps.dim, row = s->spec->classes * dim;
    const size_t chosen = (size_t)set->labels[i];
    for (size_t k = 0; k < dim; k++)
        for (size_t t = 0; t < STEPS; t++) {
            float *to = changed + (k * STEPS + t) * row;
            keep_one(s, to, set, i, chosen);
            to[chosen * dim + k] += (float)deltas[t];
        }
    return caps_show_decode(s, changed, dim * STEPS, out, err);
}

caps_status caps_show_perturb(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    const size_t dim = s->spec->class_caps.dim, pixels = s->sizes->pixels;
    const size_t row = s->spec->classes * dim;
    caps_seen_set set = {0};
    caps_perturbed *blocks = NULL;
    float *changed = NULL, *images = NULL;
    double deltas[STEPS];
    caps_status status;
    for (int t = 0; t < STEPS; t++)
        deltas[t] = (t - STEPS / 2) * STEP;
    CAPS_TRY(s->index_count ? take_index(&set, s, err) : choose_perturbed(&set, s, err));
    CAPS_TRY(caps_seen_compute(&set, s, NULL, err));
    blocks = calloc(set.n, sizeof *blocks);
    changed = calloc(dim * STEPS * row, sizeof *changed);
    images = calloc(set.n * dim * STEPS * pixels, sizeof *images);
    if (!blocks || !changed || !images)
        CAPS_TRY(out_of_memory(err));
    for (size_t i = 0; i < set.n; i++) {
        float *out = images + i * dim * STEPS * pixels;
        CAPS_TRY(perturb_one(s, &set, i, deltas, changed, out, err));
        const size_t chosen = (size_t)set.labels[i];
        blocks[i] = (caps_perturbed){.seen = seen_of(s, &set, i),
            .chosen = chosen,
            .capsule = set.capsules + i * row + chosen * dim,
            .images = out};
    }
    CAPS_TRY(caps_picture_perturb(d, &of, blocks, set.n, dim, deltas, STEPS, err));
done:
    free(blocks);
    free(changed);
    free(images);
    caps_seen_release(&set);
    return status;
}

/* ---- couplings ------------------------------------------------------------------------------ */

/* How sure of image i the network is: the length of its true class; of a pair, of the shorter. */
static float sureness(const caps_show *s, size_t i)
{
    const size_t l = s->spec->labels, j = s->spec->classes;
    float least = INFINITY;
    for (size_t t = 0; t < l; t++)
        least = fminf(least, s->lengths[i * j + (size_t)s->true_labels[i * l + t]]);
    return least;
}

/* The surest right one and, if there is a mistake, the worst. */
static caps_status choose_coupled(caps_seen_set *set, const caps_show *s, caps_error *err)
{
    size_t chosen[2], count = 0;
    for (size_t i = 0; i < s->data.n; i++)
        if (caps_show_is_right(s, i) && (count == 0 || sureness(s, i) > sureness(s, chosen[0]))) {
            chosen[0] = i;
            count = 1;
        }
    count += caps_show_worst(s, chosen + count, 1);
    caps_status status = caps_seen_init(set, s, count, err);
    if (status == CAPS_OK)
        memcpy(set->index, chosen, count * sizeof *chosen);
    return status;
}

caps_status caps_show_couplings(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    const caps_model_spec *spec = s->spec;
    const size_t each = spec->class_caps.iterations * s->sizes->i * spec->classes;
    caps_seen_set set = {0};
    caps_coupled *blocks = NULL;
    caps_inside inside = {0};
    caps_status status;
    CAPS_TRY(s->index_count ? take_index(&set, s, err) : choose_coupled(&set, s, err));
    blocks = calloc(set.n, sizeof *blocks);
    inside.couplings = calloc(set.n * each, sizeof *inside.couplings);
    inside.primary = calloc(set.n * s->sizes->i, sizeof *inside.primary);
    if (!blocks || !inside.couplings || !inside.primary)
        CAPS_TRY(out_of_memory(err));
    CAPS_TRY(caps_seen_compute(&set, s, &inside, err));
    for (size_t i = 0; i < set.n; i++)
        blocks[i] = (caps_coupled){.source = set.sources[i],
            .input = set.inputs + i * s->sizes->pixels,
            .labels = set.labels + i * spec->labels,
            .true_labels = set.true_labels + i * spec->labels,
            .count = spec->labels,
            .lengths = set.lengths + i * spec->classes,
            .couplings = inside.couplings + i * each,
            .primary = inside.primary + i * s->sizes->i};
    CAPS_TRY(caps_picture_couplings(d, &of, blocks, set.n, spec->class_caps.iterations,
        spec->primary.types, s->sizes->h2, s->sizes->w2, spec->class_caps.leaky, err));
done:
    free(blocks);
    free(inside.couplings);
    free(inside.primary);
    caps_seen_release(&set);
    return status;
}

/* ---- overlap -------------------------------------------------------------------------------- */

enum { OVERLAP_CELLS = 8, OVERLAP_GROUPS = 3 };

/* The longest capsule of a class that is not in the image. */
static int absent_class(const caps_show *s, const caps_seen_set *set, size_t i)
{
    const int32_t *truth = set->true_labels + 2 * i;
    const float *lengths = set->lengths + i * s->spec->classes;
    int found = -1;
    for (int j = 0; j < (int)s->spec->classes; j++)
        if (j != truth[0] && j != truth[1] && (found < 0 || lengths[j] > lengths[found]))
            found = j;
    return found < 0 ? truth[1] : found;
}

/* The first pairs that are right, then the worst of those that are wrong; *rights of them are
 * right.
 */
static caps_status choose_overlapped(
    caps_seen_set *set, const caps_show *s, size_t *rights, caps_error *err)
{
    size_t chosen[2 * OVERLAP_CELLS], count = 0;
    for (size_t i = 0; i < s->data.n && count < OVERLAP_CELLS; i++)
        if (caps_show_is_right(s, i))
            chosen[count++] = i;
    *rights = count;
    count += caps_show_worst(s, chosen + count, OVERLAP_CELLS);
    caps_status status = caps_seen_init(set, s, count, err);
    if (status == CAPS_OK)
        memcpy(set->index, chosen, count * sizeof *chosen);
    return status;
}

/* Cell `at` of a group: image i, decoded as these two classes. */
static void ask(caps_overlapped *cell, const caps_show *s, const caps_seen_set *set, size_t i,
    int first, int second, float *masked, const float *images)
{
    const size_t row = s->spec->classes * s->spec->class_caps.dim, pixels = s->sizes->pixels;
    const int asked[] = {first, second};
    *cell = (caps_overlapped){.source = set->sources[i], .input = set->inputs + i * pixels};
    for (int t = 0; t < 2; t++) {
        cell->true_labels[t] = set->true_labels[2 * i + (size_t)t];
        cell->asked[t] = asked[t];
        cell->reconstruction[t] = images + (size_t)t * pixels;
        keep_one(s, masked + (size_t)t * row, set, i, (size_t)asked[t]);
    }
}

caps_status caps_show_overlap(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    const size_t row = s->spec->classes * s->spec->class_caps.dim, pixels = s->sizes->pixels;
    caps_overlap_group groups[OVERLAP_GROUPS] = {{.title = "Right: both digits were found"},
        {.title = "Wrong, the worst first: decoded as the two classes that were predicted"},
        {.title = "Asked for a digit that is not there, beside one that is"}};
    caps_overlapped *cells = NULL;
    caps_seen_set set = {0};
    float *masked = NULL, *images = NULL;
    size_t rights = 0, count = 0, shown = 0;
    caps_status status;
    CAPS_TRY(s->index_count ? take_index(&set, s, err) : choose_overlapped(&set, s, &rights, err));
    CAPS_TRY(caps_seen_compute(&set, s, NULL, err));
    for (size_t i = 0; i < set.n; i++) { /* what was found stands where its label does */
        int32_t *label = set.labels + 2 * i, *truth = set.true_labels + 2 * i, first = label[0];
        if (label[0] != truth[0] && (label[0] == truth[1] || label[1] == truth[0])) {
            label[0] = label[1];
            label[1] = first;
        }
    }
    if (s->index_count) { /* one group of them, as they were predicted */
        groups[0].title = "Decoded as the two classes that were predicted";
        rights = set.n;
    }
    cells = calloc(2 * set.n + 1, sizeof *cells);
    masked = calloc(4 * set.n * row + 1, sizeof *masked);
    images = calloc(4 * set.n * pixels + 1, sizeof *images);
    if (!cells || !masked || !images)
        CAPS_TRY(out_of_memory(err));
    for (size_t i = 0; i < set.n; i++, count++)
        ask(&cells[count], s, &set, i, set.labels[2 * i], set.labels[2 * i + 1],
            masked + 2 * count * row, images + 2 * count * pixels);
    for (size_t i = 0; i < rights; i++, count++)
        ask(&cells[count], s, &set, i, set.true_labels[2 * i], absent_class(s, &set, i),
            masked + 2 * count * row, images + 2 * count * pixels);
    CAPS_TRY(caps_show_decode(s, masked, 2 * count, images, err));
    groups[0].cells = cells;
    groups[0].count = rights;
    groups[1].cells = cells + rights;
    groups[1].count = set.n - rights;
    groups[2].cells = cells + set.n;
    groups[2].count = rights;
    for (size_t g = 0; g < OVERLAP_GROUPS; g++) /* those that have something to show */
        if (groups[g].count > 0)
            groups[shown++] = groups[g];
    CAPS_TRY(caps_picture_overlap(d, &of, groups, shown, err));
done:
    free(cells);
    free(masked);
    free(images);
    caps_seen_release(&set);
    return status;
}
