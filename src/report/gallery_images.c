/* gallery_images.c: figures of single images and their capsules: reconstruct, perturb. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "gallery.h"

enum {
    RIGHT_ROWS = 3,  /* right images of each class, */
    MOST_RIGHT = 60, /* together at most */
    MOST_WRONG = 15,
    MOST_BLOCKS = 20, /* classes whose capsules are perturbed */
    STEPS = 11,
};
#define STEP 0.05

static caps_status images_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "show: out of memory for the images");
}

static caps_reconstructed reconstructed_of(const caps_sample *s, size_t i)
{
    const caps_predictions *p = &s->predictions;
    caps_reconstructed image = {.source = s->sources[i],
        .input = s->inputs + i * p->pixels,
        .label = p->labels[i],
        .true_label = s->true_labels[i]};
    image.length = p->lengths[i * p->classes + (size_t)image.label];
    image.true_length = p->lengths[i * p->classes + (size_t)image.true_label];
    return image;
}

/* ---- reconstruct ---------------------------------------------------------------------------- */

/* The first images of each class that are right, a row of all classes at a time; then the worst
 * mistakes. Where indices are given, these. */
static caps_status take_reconstructed(caps_sample *s, caps_gallery *g, caps_error *err)
{
    const size_t classes = g->info->classes;
    const caps_image_results *r = &g->results;
    size_t rows = MOST_RIGHT / classes, count = 0;
    rows = rows > RIGHT_ROWS ? RIGHT_ROWS : rows < 1 ? 1 : rows;
    size_t *chosen = calloc(rows * classes + MOST_WRONG, sizeof *chosen);
    size_t *next = calloc(classes, sizeof *next);
    caps_status status = CAPS_OK;
    if (!chosen || !next)
        CAPS_TRY(images_out_of_memory(err));
    for (size_t row = 0; row < rows; row++)
        for (size_t j = 0; j < classes && count < MOST_RIGHT; j++)
            while (next[j] < r->n) {
                const size_t i = next[j]++;
                if ((size_t)r->true_labels[i] == j && caps_image_results_is_right(r, i)) {
                    chosen[count++] = i;
                    break;
                }
            }
    count += caps_image_results_worst(r, chosen + count, MOST_WRONG);
    CAPS_TRY(caps_sample_take(s, g, chosen, count, CAPS_PREDICT_CAPSULES, err));
done:
    free(chosen);
    free(next);
    return status;
}

/* Each image as the predicted and as the true class: images [n, 2, C*H*W], freed by the caller. */
static caps_status decode_both(
    caps_gallery *g, const caps_sample *s, float **images, caps_error *err)
{
    const size_t row = g->info->classes * g->info->dim;
    float *masked = calloc(2 * s->n * row + 1, sizeof *masked);
    caps_status status = CAPS_OK;
    *images = calloc(2 * s->n * g->info->pixels + 1, sizeof **images);
    if (!masked || !*images)
        CAPS_TRY(images_out_of_memory(err));
    for (size_t i = 0; i < s->n; i++) {
        caps_sample_mask(s, i, (size_t)s->predictions.labels[i], masked + 2 * i * row);
        caps_sample_mask(s, i, (size_t)s->true_labels[i], masked + (2 * i + 1) * row);
    }
    CAPS_TRY(caps_gallery_decode(g, masked, 2 * s->n, *images, err));
done:
    free(masked);
    return status;
}

caps_status caps_gallery_reconstruct(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES];
    const caps_picture_context of = caps_gallery_context(g, text);
    const size_t pixels = g->info->pixels;
    caps_sample s = {0};
    caps_reconstructed *right = NULL, *wrong = NULL;
    float *images = NULL;
    size_t rights = 0, wrongs = 0;
    caps_status status;
    CAPS_TRY(take_reconstructed(&s, g, err));
    CAPS_TRY(decode_both(g, &s, &images, err));
    right = calloc(s.n + 1, sizeof *right);
    wrong = calloc(s.n + 1, sizeof *wrong);
    if (!right || !wrong)
        CAPS_TRY(images_out_of_memory(err));
    for (size_t i = 0; i < s.n; i++) {
        caps_reconstructed image = reconstructed_of(&s, i);
        image.as_label = images + 2 * i * pixels;
        image.as_true = images + (2 * i + 1) * pixels;
        if (image.label == image.true_label)
            right[rights++] = image;
        else
            wrong[wrongs++] = image;
    }
    CAPS_TRY(caps_picture_reconstruct(d, &of, right, rights, wrong, wrongs, err));
done:
    free(right);
    free(wrong);
    free(images);
    caps_sample_release(&s);
    return status;
}

/* ---- perturb -------------------------------------------------------------------------------- */

/* The best image of each class. */
static caps_status take_perturbed(caps_sample *s, caps_gallery *g, caps_error *err)
{
    size_t chosen[MOST_BLOCKS], count = 0;
    for (size_t j = 0; !g->index_count && j < g->info->classes && count < MOST_BLOCKS; j++)
        count += caps_image_results_best(&g->results, j, &chosen[count]);
    if (!g->index_count && count == 0)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "perturb: none of the %zu images is predicted right, need one (or --index N)",
            g->data.n);
    return caps_sample_take(s, g, chosen, count, CAPS_PREDICT_CAPSULES, err);
}

/* One image's capsule, each dimension by each step: rows of `changed`, images of `out`. */
static caps_status perturb_one(caps_gallery *g, const caps_sample *s, size_t i,
    const double *deltas, float *changed, float *out, caps_error *err)
{
    const size_t dim = g->info->dim, row = g->info->classes * dim;
    const size_t chosen = (size_t)s->predictions.labels[i];
    for (size_t k = 0; k < dim; k++)
        for (size_t t = 0; t < STEPS; t++) {
            float *to = changed + (k * STEPS + t) * row;
            caps_sample_mask(s, i, chosen, to);
            to[chosen * dim + k] += (float)deltas[t];
        }
    return caps_gallery_decode(g, changed, dim * STEPS, out, err);
}

caps_status caps_gallery_perturb(caps_gallery *g, caps_drawing *d, caps_error *err)
{
    char text[CAPS_HEADING_BYTES];
    const caps_picture_context of = caps_gallery_context(g, text);
    const size_t dim = g->info->dim, pixels = g->info->pixels, row = g->info->classes * dim;
    caps_sample s = {0};
    caps_perturbed *blocks = NULL;
    float *changed = NULL, *images = NULL;
    double deltas[STEPS];
    caps_status status;
    for (int t = 0; t < STEPS; t++)
        deltas[t] = (t - STEPS / 2) * STEP;
    CAPS_TRY(take_perturbed(&s, g, err));
    blocks = calloc(s.n, sizeof *blocks);
    changed = calloc(dim * STEPS * row, sizeof *changed);
    images = calloc(s.n * dim * STEPS * pixels, sizeof *images);
    if (!blocks || !changed || !images)
        CAPS_TRY(images_out_of_memory(err));
    for (size_t i = 0; i < s.n; i++) {
        float *out = images + i * dim * STEPS * pixels;
        CAPS_TRY(perturb_one(g, &s, i, deltas, changed, out, err));
        const size_t chosen = (size_t)s.predictions.labels[i];
        blocks[i] = (caps_perturbed){.image = reconstructed_of(&s, i),
            .chosen = chosen,
            .capsule = s.predictions.capsules + i * row + chosen * dim,
            .images = out};
    }
    CAPS_TRY(caps_picture_perturb(d, &of, blocks, s.n, dim, deltas, STEPS, err));
done:
    free(blocks);
    free(changed);
    free(images);
    caps_sample_release(&s);
    return status;
}
