/* whole.c: the whole network: forward, and a training step. */
#include <stdio.h>

#include "bench_problem.h"

#include "fail.h"
#include "random_images.h"

typedef struct whole_run {
    caps_model *model;
    caps_random_images noise;
    uint64_t t;
} whole_run;

static caps_status whole_forward(void *context, caps_error *err)
{
    whole_run *w = context;
    caps_status status;
    CAPS_TRY(caps_model_set_batch(
        w->model, &(caps_images){w->noise.all.b, w->noise.images, NULL, NULL}, err));
    CAPS_TRY(caps_model_forward(w->model, CAPS_MASK_LONGEST, err));
done:
    return status;
}

static caps_status whole_step(void *context, caps_error *err)
{
    whole_run *w = context;
    caps_status status;
    CAPS_TRY(caps_model_set_batch(w->model, &w->noise.all, err));
    CAPS_TRY(caps_model_forward(w->model, CAPS_MASK_LABEL, err));
    CAPS_TRY(caps_model_backward(w->model, err));
    CAPS_TRY(caps_model_adam(w->model, 1e-3f, ++w->t, err));
done:
    return status;
}

caps_model_options caps_bench_model_options(const caps_bench *b, bool step)
{
    return (caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = b->batch,
        .training = step, .adam = step, .reconstruct = true, .conv = b->conv};
}

static caps_status whole_measure(const caps_bench *b, bool step, caps_error *err)
{
    const caps_model_options options = caps_bench_model_options(b, step);
    const caps_bench_network *n = b->network;
    whole_run w = {0};
    caps_bench_row row = {.operation = step ? "step" : "forward",
        .whole = true,
        .batch = b->batch,
        .routing_grad = n->info->routing_grad};
    caps_model_memory memory;
    caps_status status;
    CAPS_TRY(caps_model_create(&w.model, b->rt, b->spec, &options, err));
    CAPS_TRY(caps_model_forecast(b->rt, b->spec, &options, &memory, err));
    CAPS_TRY(caps_model_initialise(w.model, CAPS_INITIALISER_SCALED, 1, err));
    CAPS_TRY(caps_random_images_init(&w.noise, b->spec, b->batch, err));

    /* A step's backward costs each product twice more, but the first layer's images get no
     * gradient. Bytes: parameters and activations once forward; backward again, with what it
     * writes; then what the optimizer reads and writes. */
    for (size_t i = 0; i < n->count; i++)
        row.flops += (double)b->batch * n->layers[i].problem.flops *
                     (!step                   ? 1
                         : n->layers[i].first ? 2
                                              : 3);
    row.bytes = step ? 10 * (double)memory.parameters + 3 * (double)memory.activations
                     : (double)memory.parameters + (double)memory.activations;
    snprintf(row.shape, sizeof row.shape, "B=%zu input=%zux%zux%zu I=%zu J=%zu", b->batch,
        n->info->input[0], n->info->input[1], n->info->input[2], n->info->inputs, n->info->classes);
    snprintf(
        row.algorithm, sizeof row.algorithm, "%s", caps_family_name(caps_runtime_family(b->rt)));
    snprintf(row.conv, sizeof row.conv, "%s", caps_model_get_conv(w.model));
    CAPS_TRY(
        caps_bench_measure(&row, b->rt, step ? whole_step : whole_forward, &w, b->seconds, err));
    row.peak_device_bytes = caps_runtime_bytes(b->rt);
    b->each(b->user, &row);
done:
    caps_model_free(w.model);
    caps_random_images_release(&w.noise);
    return status;
}

caps_status caps_bench_forward(const caps_bench *b, caps_error *err)
{
    return whole_measure(b, false, err);
}

caps_status caps_bench_step(const caps_bench *b, caps_error *err)
{
    return whole_measure(b, true, err);
}
