/* draw.c: what the network sees of a data set: augmentation, view, pairs. */
#include <capscl/dataset.h>

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "draw.h"
#include "fail.h"
#include "pairs.h"

static const char *const augment_names[] = {
    "none", "shift2", "place40", "crop24", "affine", "crop"};
_Static_assert(sizeof augment_names / sizeof augment_names[0] == CAPS_AUGMENT_COUNT, "one each");

const char *caps_augment_name(int augment)
{
    return augment >= 0 && augment < CAPS_AUGMENT_COUNT ? augment_names[augment] : NULL;
}

void caps_dataset_set_view(caps_dataset *ds, size_t height, size_t width)
{
    const bool own = !height || !width || (height == ds->height && width == ds->width);
    ds->view[0] = own ? 0 : height;
    ds->view[1] = own ? 0 : width;
}

/* Without the checks. */
static void view_size(const caps_dataset *ds, caps_augment augment, size_t chw[3])
{
    chw[0] = ds->channels;
    chw[1] = ds->height;
    chw[2] = ds->width;
    if (augment == CAPS_AUGMENT_PLACE40)
        chw[1] = chw[2] = 40;
    else if (augment == CAPS_AUGMENT_CROP24)
        chw[1] = chw[2] = 24;
    else if ((augment == CAPS_AUGMENT_NONE || augment == CAPS_AUGMENT_CROP) && ds->view[0]) {
        chw[1] = ds->view[0];
        chw[2] = ds->view[1];
    }
}

caps_status caps_dataset_view_size(
    const caps_dataset *ds, caps_augment augment, size_t chw[3], caps_error *err)
{
    const char *name = caps_augment_name((int)augment);
    const size_t h = ds->height, w = ds->width;
    if (!name)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "augment is %d, need 0 (none), 1 (shift2), 2 (place40), 3 (crop24), 4 (affine) or 5 "
            "(crop)",
            (int)augment);
    if (ds->pairs && (augment != CAPS_AUGMENT_NONE || ds->augment.flip))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: augment is %s, need none: pairs are made of moved images", ds->path,
            augment != CAPS_AUGMENT_NONE ? name : "flip");
    if (ds->standardised && augment == CAPS_AUGMENT_AFFINE)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: augment is affine, need crop or none: its images have no black margin", ds->path);
    if (augment == CAPS_AUGMENT_PLACE40 && (h > 40 || w > 40))
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: images are %zux%zux%zu, need at most 40x40 for place40", ds->path, ds->channels, h,
            w);
    if (augment == CAPS_AUGMENT_CROP24 && (h < 24 || w < 24))
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: images are %zux%zux%zu, need at least 24x24 for crop24", ds->path, ds->channels, h,
            w);
    view_size(ds, augment, chw);
    if (augment == CAPS_AUGMENT_CROP && (h < chw[1] || w < chw[2]))
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: images are %zux%zux%zu, need at least %zux%zu for crop", ds->path, ds->channels, h,
            w, chw[1], chw[2]);
    if (ds->view[0] && (chw[1] != ds->view[0] || chw[2] != ds->view[1]))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: %s gives images of %zux%zu, need %zux%zu, the size of the view", ds->path, name,
            chw[1], chw[2], ds->view[0], ds->view[1]);
    return CAPS_OK;
}

/* ---- one image ------------------------------------------------------------------------------ */

/* Copies an image [channels, h, w] into out [channels, out_h, out_w], moved down by dy and right by
 * dx; the rest is 0, and what leaves is cut off. Of standardised images `table` has what each grey
 * level becomes. */
static void place(float *out, size_t out_h, size_t out_w, const uint8_t *image, size_t channels,
    size_t h, size_t w, ptrdiff_t dy, ptrdiff_t dx, const float *table)
{
    const ptrdiff_t ih = (ptrdiff_t)h, iw = (ptrdiff_t)w, ow = (ptrdiff_t)out_w;
    /* Columns of `out` that come from inside the image: 0 <= x - dx < w. */
    const ptrdiff_t begin = dx > 0 ? dx : 0, end = iw + dx < ow ? iw + dx : ow;
    memset(out, 0, channels * out_h * out_w * sizeof *out);
    for (size_t c = 0; c < channels; c++)
        for (size_t y = 0; y < out_h; y++) {
            const ptrdiff_t from_y = (ptrdiff_t)y - dy;
            if (from_y < 0 || from_y >= ih)
                continue;
            const uint8_t *from = image + (c * h + (size_t)from_y) * w;
            float *row = out + (c * out_h + y) * out_w;
            for (ptrdiff_t x = begin; table && x < end; x++)
                row[x] = table[from[x - dx]];
            for (ptrdiff_t x = begin; !table && x < end; x++)
                row[x] = (float)from[x - dx] / 255.0f;
        }
}

/* How far a middle of `size` lies from that of `view`: rounded down where the view is larger, and
 * the cut part rounded down where it is smaller. */
static ptrdiff_t centred(size_t view, size_t size)
{
    return view >= size ? (ptrdiff_t)((view - size) / 2) : -(ptrdiff_t)((size - view) / 2);
}

/* How far down and right a part of view's size is moved that begins at a uniformly random place. */
static void draw_part(
    ptrdiff_t *dy, ptrdiff_t *dx, const caps_dataset *ds, size_t vh, size_t vw, const caps_draw *d)
{
    const size_t down = ds->height - vh + 1, right = ds->width - vw + 1;
    const uint64_t draw = caps_rng_below(down * right, d->seed, CAPS_RNG_CROP, d->high, d->low);
    *dx = -(ptrdiff_t)(draw % right);
    *dy = -(ptrdiff_t)(draw / right);
}

static void draw_place(ptrdiff_t *dy, ptrdiff_t *dx, const caps_dataset *ds, caps_augment augment,
    const size_t chw[3], const caps_draw *d)
{
    const size_t h = ds->height, w = ds->width;
    uint64_t draw; /* one gives both */
    switch (augment) {
    case CAPS_AUGMENT_SHIFT2:
        draw = caps_rng_below(25, d->seed, CAPS_RNG_SHIFT, d->high, d->low);
        *dx = (ptrdiff_t)(draw % 5) - 2;
        *dy = (ptrdiff_t)(draw / 5) - 2;
        break;
    case CAPS_AUGMENT_PLACE40:
        draw = caps_rng_below((41 - h) * (41 - w), d->seed, CAPS_RNG_PLACE, d->high, d->low);
        *dx = (ptrdiff_t)(draw % (41 - w));
        *dy = (ptrdiff_t)(draw / (41 - w));
        break;
    case CAPS_AUGMENT_CROP24:
    case CAPS_AUGMENT_CROP:
        draw_part(dy, dx, ds, chw[1], chw[2], d);
        break;
    default:
        *dx = centred(chw[2], w) + ds->offset[1];
        *dy = centred(chw[1], h) + ds->offset[0];
    }
}

static void draw_single(const caps_dataset *ds, size_t index, caps_augment augment, uint64_t seed,
    uint64_t epoch, const size_t chw[3], float *out)
{
    const size_t h = ds->height, w = ds->width;
    const uint8_t *image = ds->images + index * ds->channels * h * w;
    /* The counter has 96 bits for epoch and index; an index fits in 32 (the formats' sizes do). */
    const caps_draw draw = {seed, (uint32_t)epoch, (epoch >> 32) << 32 | (uint64_t)index};
    float table[256];
    ptrdiff_t dy, dx;
    if (augment == CAPS_AUGMENT_AFFINE) {
        caps_draw_affine(out, image, ds->channels, h, w, &ds->augment, &draw);
    } else {
        if (ds->standardised)
            caps_draw_standardise(table, image, ds->channels * h * w);
        draw_place(&dy, &dx, ds, augment, chw, &draw);
        place(out, chw[1], chw[2], image, ds->channels, h, w, dy, dx,
            ds->standardised ? table : NULL);
    }
    if (augment == CAPS_AUGMENT_CROP)
        caps_draw_contrast(out, chw[0] * chw[1] * chw[2], &ds->augment, &draw, !ds->standardised);
    if (ds->augment.flip)
        caps_draw_flip(out, chw[0], chw[1], chw[2], &draw);
}

/* ---- pairs ---------------------------------------------------------------------------------- */

/* The pixel of a moved image at (y, x) of the pair's canvas. */
static unsigned pixel(
    const caps_dataset *ds, const caps_pair *pair, int which, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t h = (ptrdiff_t)ds->height - CAPS_PAIR_BORDER;
    const ptrdiff_t w = (ptrdiff_t)ds->width - CAPS_PAIR_BORDER;
    y -= CAPS_PAIR_BORDER / 2 + pair->dy[which];
    x -= CAPS_PAIR_BORDER / 2 + pair->dx[which];
    if (y < 0 || y >= h || x < 0 || x >= w)
        return 0;
    return ds->images[(pair->image[which] * (size_t)h + (size_t)y) * (size_t)w + (size_t)x];
}

static void draw_pair(const caps_dataset *ds, const caps_pair *pair, const size_t chw[3],
    float *image, float *targets)
{
    const size_t pixels = chw[1] * chw[2];
    const ptrdiff_t above = centred(chw[1], ds->height) + ds->offset[0];
    const ptrdiff_t left = centred(chw[2], ds->width) + ds->offset[1];
    for (size_t i = 0; i < pixels; i++) {
        const ptrdiff_t y = (ptrdiff_t)(i / chw[2]) - above, x = (ptrdiff_t)(i % chw[2]) - left;
        unsigned first = 0, second = 0;
        /* A digit that leaves the canvas is cut off there, also where the view is larger. */
        if (y >= 0 && y < (ptrdiff_t)ds->height && x >= 0 && x < (ptrdiff_t)ds->width) {
            first = pixel(ds, pair, 0, y, x);
            second = pixel(ds, pair, 1, y, x);
        }
        const unsigned sum = first + second;
        image[i] = (float)(sum < 255 ? sum : 255) / 255.0f;
        if (targets) {
            targets[i] = (float)first / 255.0f;
            targets[pixels + i] = (float)second / 255.0f;
        }
    }
}

void caps_dataset_draw(const caps_dataset *ds, size_t index, caps_augment augment, uint64_t seed,
    uint64_t epoch, float *image, int32_t *labels, float *targets)
{
    size_t chw[3];
    assert(index < ds->n);
    view_size(ds, augment, chw);
    if (ds->pairs) {
        const caps_pair pair = caps_pair_draw(ds, index, seed, epoch);
        draw_pair(ds, &pair, chw, image, targets);
        for (int i = 0; labels && i < 2; i++)
            labels[i] = ds->labels[pair.image[i]];
        return;
    }
    draw_single(ds, index, augment, seed, epoch, chw, image);
    if (labels)
        labels[0] = ds->labels[index];
    if (targets)
        memcpy(targets, image, chw[0] * chw[1] * chw[2] * sizeof *targets);
}

void caps_dataset_image(const caps_dataset *ds, size_t index, caps_augment augment, uint64_t seed,
    uint64_t epoch, float *out)
{
    caps_dataset_draw(ds, index, augment, seed, epoch, out, NULL, NULL);
}
