/* bench_model.c: the whole network: forward, and a training step. */
#include <string.h>

#include "bench.h"

#include "fail.h"
#include "random_images.h"

typedef struct subject {
    caps_model *model;
    caps_random_images noise;
    uint64_t t;
} subject;

static caps_status run_forward(void *context, caps_error *err)
{
    subject *s = context;
    caps_status status;
    CAPS_TRY(caps_model_set_batch(s->model, s->noise.all.b, s->noise.images, NULL, err));
    CAPS_TRY(caps_model_forward(s->model, CAPS_MASK_LONGEST, err));
done:
    return status;
}

static caps_status run_step(void *context, caps_error *err)
{
    subject *s = context;
    caps_status status;
    CAPS_TRY(caps_model_set_images(s->model, &s->noise.all, err));
    CAPS_TRY(caps_model_forward(s->model, CAPS_MASK_LABEL, err));
    CAPS_TRY(caps_model_backward(s->model, err));
    CAPS_TRY(caps_model_adam(s->model, 1e-3f, ++s->t, err));
done:
    return status;
}

static void count_cnn_flops(const caps_model_spec *p, double *first, double *others)
{
    double c = (double)p->input[0];
    size_t h = p->input[1], w = p->input[2];
    *first = *others = 0;
    for (size_t i = 0; i < p->conv_count; i++) {
        const size_t k = p->conv[i].kernel;
        h = caps_conv2d_output(h, k, p->conv[i].stride, p->conv[i].padding);
        w = caps_conv2d_output(w, k, p->conv[i].stride, p->conv[i].padding);
        const double m = (double)p->conv[i].channels;
        *(i == 0 ? first : others) += 2 * (double)(h * w) * m * c * (double)(k * k);
        c = m;
    }
    double in = c * (double)(h * w);
    for (size_t l = 0; l <= p->hidden_count; l++) {
        const double out = (double)(l < p->hidden_count ? p->hidden[l] : p->classes);
        *others += 2 * in * out;
        in = out;
    }
}

/* Operations of the products of an image's forward: first layer, and all the others. */
static void count_flops(const caps_bench *b, double *first, double *others)
{
    if (strcmp(b->spec->kind, "cnn") == 0) {
        count_cnn_flops(b->spec, first, others);
        return;
    }
    const caps_model_spec *p = b->spec;
    const caps_model_sizes *z = b->sizes;
    const double k1 = (double)p->conv1.kernel, k2 = (double)p->primary.kernel;
    const double c1 = (double)p->conv1.channels, jd = (double)(p->classes * p->class_caps.dim);
    *first = 2 * (double)(z->h1 * z->w1) * c1 * (double)p->input[0] * k1 * k1;
    *others = 2 * (double)z->i * (double)p->primary.dim * c1 * k2 * k2 +
              2 * (double)z->i * jd * (double)p->primary.dim +
              (4 * (double)p->class_caps.iterations - 2) * (double)z->i * jd;
    double in = jd;
    for (size_t l = 0; p->has_decoder && l <= p->decoder_hidden_count; l++) {
        const double out = (double)(l < p->decoder_hidden_count ? p->decoder_hidden[l] : z->pixels);
        *others += 2 * (double)p->labels * in * out;
        in = out;
    }
}

static caps_status whole(const caps_bench *b, bool step, caps_error *err)
{
    const caps_model_options options = {.max_batch = b->batch,
        .training = step,
        .adam = step,
        .reconstruct = true,
        .conv = b->conv};
    subject s = {0};
    caps_bench_row row = {.operation = step ? "step" : "forward",
        .whole = true,
        .batch = b->batch,
        .routing_grad =
            b->spec->class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL ? "full" : "last"};
    caps_model_memory memory;
    caps_status status;
    double first, others;
    CAPS_TRY(caps_cli_model_create(&s.model, b->rt, b->spec, &options, NULL, err));
    CAPS_TRY(caps_model_forecast(b->rt, b->spec, &options, &memory, err));
    CAPS_TRY(caps_model_initialise(s.model, 1, err));
    CAPS_TRY(caps_random_images_init(&s.noise, b->spec, b->batch, err));

    /* A step's backward costs each product twice more, but the first layer's images get no
     * gradient. Bytes: parameters and activations once forward; backward again, with what it
     * writes; then what the optimizer reads and writes. */
    count_flops(b, &first, &others);
    const double n = (double)b->batch, parameters = (double)memory.parameters;
    row.flops = n * (step ? 2 * first + 3 * others : first + others);
    row.bytes = step ? 10 * parameters + 3 * (double)memory.activations
                     : parameters + (double)memory.activations;
    snprintf(row.shape, sizeof row.shape, "B=%zu input=%zux%zux%zu I=%zu J=%zu", b->batch,
        b->spec->input[0], b->spec->input[1], b->spec->input[2], b->sizes->i, b->spec->classes);
    snprintf(row.variant, sizeof row.variant, "%s", caps_family_name(caps_runtime_family(b->rt)));
    snprintf(row.conv, sizeof row.conv, "%s", caps_model_get_conv(s.model));
    CAPS_TRY(caps_bench_measure(&row, b->rt, step ? run_step : run_forward, &s, b->seconds, err));
    row.peak_device_bytes = caps_runtime_bytes(b->rt);
    b->each(b->user, &row);
done:
    caps_model_free(s.model);
    caps_random_images_release(&s.noise);
    return status;
}

caps_status caps_bench_forward(const caps_bench *b, caps_error *err)
{
    return whole(b, false, err);
}

caps_status caps_bench_step(const caps_bench *b, caps_error *err)
{
    return whole(b, true, err);
}
