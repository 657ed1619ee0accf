/* image_convert.c: from the pixels of a picture to the input of a network. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "picture.h"

/* Adds to out[0..out_n), stride out_step, the resampled in[0..in_n), stride in_step. */
static void resample(
    float *out, size_t out_n, size_t out_step, const float *in, size_t in_n, size_t in_step)
{
    const double ratio = (double)in_n / (double)out_n;
    for (size_t o = 0; o < out_n; o++) {
        double sum = 0;
        if (out_n == in_n) {
            sum = in[o * in_step];
        } else if (out_n < in_n) {
            /* The mean over [o, o + 1) * ratio; pixels at its ends count by their part in it. */
            double begin = (double)o * ratio, end = (double)(o + 1) * ratio;
            for (size_t i = (size_t)begin; i < in_n && (double)i < end; i++) {
                double from = (double)i > begin ? (double)i : begin;
                double to = (double)(i + 1) < end ? (double)(i + 1) : end;
                sum += (to - from) * in[i * in_step];
            }
            sum /= ratio;
        } else {
            /* Between the two nearest pixel centres; the outermost go on to the edge. */
            double at = ((double)o + 0.5) * ratio - 0.5;
            at = at < 0 ? 0 : at;
            size_t i = (size_t)at;
            size_t next = i + 1 < in_n ? i + 1 : i;
            double part = at - (double)i;
            sum = (1 - part) * in[i * in_step] + part * in[next * in_step];
        }
        out[o * out_step] = (float)(sum < 0 ? 0 : sum > 1 ? 1 : sum);
    }
}

/* Row y of channel c of what the network should see, unscaled. */
static void read_row(
    float *row, const caps_image *image, size_t y, size_t c, size_t channels, bool invert)
{
    const uint8_t *p = image->pixels + y * image->width * image->channels;
    for (size_t x = 0; x < image->width; x++, p += image->channels) {
        float value;
        if (image->channels == channels)
            value = p[c];
        else if (image->channels == 3)
            value = (float)((299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000.0);
        else
            value = p[0];
        row[x] = (invert ? 255.0f - value : value) / 255.0f;
    }
}

/* The sizes of the scaled picture within width x height, proportions kept, at least 1. */
static void image_fit(
    size_t *fit_width, size_t *fit_height, const caps_image *image, size_t height, size_t width)
{
    double by_width = (double)width / (double)image->width;
    double by_height = (double)height / (double)image->height;
    double scale = by_width < by_height ? by_width : by_height;
    size_t w = (size_t)floor((double)image->width * scale + 0.5);
    size_t h = (size_t)floor((double)image->height * scale + 0.5);
    *fit_width = w < 1 ? 1 : w > width ? width : w;
    *fit_height = h < 1 ? 1 : h > height ? height : h;
}

/* Whether the w x h values that a picture became, [C] planes apart, are one colour: no channel
 * changes by a step of 255. Borders of black around it do not count. */
static bool convert_is_flat(
    const float *corner, size_t channels, size_t h, size_t w, size_t row_step, size_t plane_step)
{
    for (size_t c = 0; c < channels; c++) {
        float low = INFINITY, high = -INFINITY;
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++) {
                const float value = corner[c * plane_step + y * row_step + x];
                low = fminf(low, value);
                high = fmaxf(high, value);
            }
        if (high - low >= 1.0f / 255)
            return false;
    }
    return true;
}

caps_status caps_image_convert(float *out, const caps_image *image, size_t channels, size_t height,
    size_t width, bool invert, caps_error *err)
{
    const caps_picture_options options = {.invert = invert};
    return caps_picture_convert(out, image, channels, height, width, &options, NULL, err);
}

caps_status caps_picture_convert(float *out, const caps_image *image, size_t channels,
    size_t height, size_t width, const caps_picture_options *options, caps_picture_facts *facts,
    caps_error *err)
{
    caps_status status = CAPS_OK;
    const bool invert = (options && options->invert) != (facts && facts->flipped);
    float *row = NULL, *narrowed = NULL;
    if (channels != 1 && channels != 3)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "image: the model takes %zu channels, a picture gives 1 or 3", channels);

    size_t w, h;
    image_fit(&w, &h, image, height, width);
    const size_t left = (width - w) / 2, above = (height - h) / 2;
    row = malloc(image->width * sizeof *row);
    narrowed = malloc(image->height * w * sizeof *narrowed); /* [image->height, w] */
    if (!row || !narrowed)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "image: out of memory to scale %zux%zu to %zux%zu",
            image->width, image->height, w, h));

    memset(out, 0, channels * height * width * sizeof *out);
    for (size_t c = 0; c < channels; c++) {
        for (size_t y = 0; y < image->height; y++) {
            read_row(row, image, y, c, channels, invert);
            resample(narrowed + y * w, w, 1, row, image->width, 1);
        }
        float *corner = out + (c * height + above) * width + left;
        for (size_t x = 0; x < w; x++)
            resample(corner + x, h, width, narrowed + x, image->height, w);
    }
    if (facts) {
        const float *corner = out + above * width + left;
        facts->to_grey = channels == 1 && facts->coloured;
        facts->to_colour = channels == 3 && image->channels == 1;
        facts->inverted = invert && !facts->flipped;
        facts->fit_width = w;
        facts->fit_height = h;
        facts->above = above;
        facts->below = height - h - above;
        facts->left = left;
        facts->right = width - w - left;
        facts->flat = convert_is_flat(corner, channels, h, w, width, height * width);
        const caps_ground own = caps_ground_find(corner, channels, h, w, width, height * width);
        facts->other_ground = options && options->ground != CAPS_GROUND_ANY &&
                              own != CAPS_GROUND_ANY && own != options->ground;
    }
done:
    free(row);
    free(narrowed);
    return status;
}
