/* compute.c: what is computed for each request. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "explorer.h"
#include "fail.h"
#include "request.h"

static caps_status compute_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for an answer");
}

/* ---- predict -------------------------------------------------------------------------------- */

/* Mean square of what the reconstructions of all labels together, at most 1, are off. */
static double error_of(
    const float *image, const float *reconstruction, size_t labels, size_t pixels)
{
    double sum = 0;
    for (size_t p = 0; p < pixels; p++) {
        double all = 0;
        for (size_t t = 0; t < labels; t++)
            all += (double)reconstruction[t * pixels + p];
        if (labels > 1 && all > 1)
            all = 1;
        sum += (all - (double)image[p]) * (all - (double)image[p]);
    }
    return sum / (double)pixels;
}

static void put_routing(caps_textbuf *out, const caps_explored *m, const caps_predictions *p)
{
    caps_layer_info layer;
    const char *name = "";
    for (size_t i = 0; caps_model_spec_layer(m->spec, i, &layer); i++)
        name = layer.routing ? layer.name : name;
    if (!p->couplings || !p->input_lengths || !p->iteration_lengths) {
        caps_put(out, "null");
        return;
    }
    caps_textbuf_put(out, "{\"layer\":\"%s\",\"children\":%zu,\"classes\":%zu,\"couplings\":", name,
        p->inputs, p->classes);
    caps_put_blocks(out, p->couplings, p->iterations, p->inputs, p->classes);
    caps_put(out, ",\"child_lengths\":");
    caps_put_numbers(out, p->input_lengths, p->inputs);
    caps_put(out, ",\"class_lengths\":");
    caps_put_rows(out, p->iteration_lengths, p->iterations, p->classes);
    caps_put(out, "}");
}

static void put_reconstruction(
    caps_textbuf *out, const caps_predictions *p, const float *image, const float *of_class)
{
    const size_t labels = of_class ? 1 : p->labels_per_image;
    const float *shown = of_class ? of_class : p->reconstruction;
    caps_put(out, ",\"reconstruction\":");
    if (!shown) {
        caps_put(out, "null,\"reconstruction_error\":null");
        return;
    }
    caps_put_numbers(out, shown, p->pixels);
    caps_put(out, ",\"reconstruction_error\":");
    caps_put_number(out, (float)error_of(image, shown, labels, p->pixels));
    if (p->labels_per_image > 1) {
        caps_put(out, ",\"reconstructions\":");
        caps_put_rows(out, p->reconstruction, p->labels_per_image, p->pixels);
    }
}

static void put_prediction(caps_textbuf *out, const caps_explored *m, const caps_request *r,
    const float *image, const caps_predictions *p, const float *of_class, double milliseconds)
{
    caps_textbuf_put(out, "{\"label\":%d,\"labels\":", (int)p->labels[0]);
    caps_put_labels(out, p->labels, p->labels_per_image);
    caps_put(out, ",\"lengths\":");
    caps_put_numbers(out, p->lengths, p->classes);
    caps_put(out, ",\"capsules\":");
    if (p->capsules)
        caps_put_rows(out, p->capsules, p->classes, p->dim);
    else
        caps_put(out, "null");
    put_reconstruction(out, p, image, of_class);
    caps_textbuf_put(out, ",\"milliseconds\":%.3f", milliseconds);
    if (r->routing) {
        caps_put(out, ",\"routing\":");
        put_routing(out, m, p);
    }
    caps_put(out, "}");
}

/* One image, which may be another one than the request's. */
static caps_status predict_one(caps_textbuf *out, const caps_explored *m, const caps_request *r,
    const float *image, caps_error *err)
{
    const unsigned routing = r->routing ? (unsigned)CAPS_PREDICT_COUPLINGS |
                                              CAPS_PREDICT_INPUT_LENGTHS | CAPS_PREDICT_ITERATIONS
                                        : 0;
    const uint64_t begin = caps_clock_ns();
    caps_predictions p = {0};
    float *of_class = NULL;
    caps_status status;
    CAPS_TRY(caps_predict(m->one, image, 1,
        CAPS_PREDICT_CAPSULES | CAPS_PREDICT_RECONSTRUCTION | routing, NULL, &p, err));
    if (r->class >= 0) {
        of_class = malloc(m->info->pixels * sizeof *of_class);
        if (!of_class)
            CAPS_TRY(compute_out_of_memory(err));
        CAPS_TRY(caps_decode(m->one, p.capsules, &r->class, 1, of_class, NULL, err));
    }
    put_prediction(out, m, r, image, &p, of_class, (double)(caps_clock_ns() - begin) * 1e-6);
done:
    caps_predictions_release(&p);
    free(of_class);
    return status;
}

static caps_status attack_one(
    caps_textbuf *out, const caps_explored *m, const caps_request *r, caps_error *err)
{
    const caps_images batch = {1, r->image, r->labels, NULL};
    caps_status status;
    if (!m->attack) {
        if (err)
            *err = m->attack_error;
        return m->attack_error.status;
    }
    float *changed = malloc(m->info->pixels * sizeof *changed);
    if (!changed)
        return compute_out_of_memory(err);
    CAPS_TRY(caps_attack_apply(m->attack, CAPS_ATTACK_FGSM, r->epsilon, 1, &batch, changed, err));
    caps_put(out, "{\"image\":");
    caps_put_numbers(out, changed, m->info->pixels);
    caps_put(out, ",\"prediction\":");
    CAPS_TRY(predict_one(out, m, r, changed, err));
    caps_put(out, "}");
done:
    free(changed);
    return status;
}

/* ---- decode --------------------------------------------------------------------------------- */

static caps_status decode_one(
    caps_textbuf *out, const caps_explored *m, const caps_request *r, caps_error *err)
{
    caps_status status;
    float *image = malloc(m->info->pixels * sizeof *image);
    if (!image)
        return compute_out_of_memory(err);
    CAPS_TRY(caps_decode(m->one, r->capsules, &r->class, 1, image, NULL, err));
    caps_put(out, "{\"reconstruction\":");
    caps_put_numbers(out, image, m->info->pixels);
    caps_put(out, "}");
done:
    free(image);
    return status;
}

static caps_status sweep(caps_textbuf *out, const caps_explored *m, const caps_request *r,
    const caps_inspect_progress *between, caps_error *err)
{
    const size_t n = r->count, row = m->info->classes * m->info->dim, pixels = m->info->pixels;
    int32_t classes[CAPS_REQUEST_VALUES];
    caps_status status;
    float *capsules = malloc(n * row * sizeof *capsules);
    float *images = malloc(n * pixels * sizeof *images);
    if (!capsules || !images)
        CAPS_TRY(compute_out_of_memory(err));
    for (size_t i = 0; i < n; i++) {
        memcpy(capsules + i * row, r->capsules, row * sizeof *capsules);
        capsules[i * row + (size_t)r->class * m->info->dim + r->dimension] = (float)r->values[i];
        classes[i] = r->class;
    }
    CAPS_TRY(caps_decode(m->many, capsules, classes, n, images, between, err));
    caps_put(out, "{\"reconstructions\":");
    caps_put_rows(out, images, n, pixels);
    caps_put(out, "}");
done:
    free(capsules);
    free(images);
    return status;
}

/* ---- transform ------------------------------------------------------------------------------ */

static caps_placement placement_of(caps_change change, double value)
{
    caps_placement p = {.scale = 1};
    if (change == CAPS_CHANGE_ROTATE)
        p.degrees = value;
    else if (change == CAPS_CHANGE_SHIFT_X)
        p.right = value;
    else if (change == CAPS_CHANGE_SHIFT_Y)
        p.down = value;
    else
        p.scale = value;
    return p;
}

/* The class that was named, else the label of the image as it is. */
static caps_status class_of(
    int32_t *class, const caps_explored *m, const caps_request *r, caps_error *err)
{
    caps_predictions p = {0};
    caps_status status;
    *class = r->class;
    if (r->class >= 0)
        return CAPS_OK;
    CAPS_TRY(caps_predict(m->one, r->image, 1, 0, NULL, &p, err));
    *class = p.labels[0];
done:
    caps_predictions_release(&p);
    return status;
}

static void put_transform(caps_textbuf *out, const caps_request *r, int32_t class,
    const caps_predictions *p, const float *images)
{
    const size_t n = r->count, of_class = (size_t) class * p->dim;
    caps_textbuf_put(out, "{\"kind\":\"%s\",\"values\":[", caps_change_names[r->change]);
    for (size_t i = 0; i < n; i++)
        caps_textbuf_put(out, "%s%.17g", i ? "," : "", r->values[i]);
    caps_textbuf_put(out, "],\"class\":%d,\"labels\":[", (int)class);
    for (size_t i = 0; i < n; i++)
        caps_textbuf_put(out, "%s%d", i ? "," : "", (int)p->labels[i * p->labels_per_image]);
    caps_put(out, "],\"lengths\":");
    caps_put_rows(out, p->lengths, n, p->classes);
    caps_put(out, p->capsules ? ",\"capsules\":[" : ",\"capsules\":null");
    for (size_t i = 0; p->capsules && i < n; i++) {
        if (i > 0)
            caps_put(out, ",");
        caps_put_numbers(out, p->capsules + i * p->classes * p->dim + of_class, p->dim);
    }
    caps_put(out, p->capsules ? "],\"images\":" : ",\"images\":");
    caps_put_rows(out, images, n, p->pixels);
    caps_put(out, "}");
}

static caps_status transform(caps_textbuf *out, const caps_explored *m, const caps_request *r,
    const caps_inspect_progress *between, caps_error *err)
{
    const size_t n = r->count, pixels = m->info->pixels, *size = m->info->input;
    caps_predictions p = {0};
    caps_status status;
    int32_t class;
    float *images = malloc(n * pixels * sizeof *images);
    if (!images)
        return compute_out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        const caps_placement placement = placement_of(r->change, r->values[i]);
        caps_placement_apply(&placement, r->image, images + i * pixels, size[0], size[1], size[2]);
    }
    CAPS_TRY(class_of(&class, m, r, err));
    CAPS_TRY(caps_predict(m->many, images, n, CAPS_PREDICT_CAPSULES, between, &p, err));
    put_transform(out, r, class, &p, images);
done:
    caps_predictions_release(&p);
    free(images);
    return status;
}

/* ---- all of them ---------------------------------------------------------------------------- */

caps_status caps_explorer_answer(caps_explorer *e, caps_textbuf *out, const caps_request *r,
    const caps_inspect_progress *between, caps_error *err)
{
    const caps_explored *m = &e->models[r->model];
    caps_status status = CAPS_ERR_INTERNAL;
    switch (r->task) {
    case CAPS_TASK_PREDICT:
        status = predict_one(out, m, r, r->image, err);
        break;
    case CAPS_TASK_DECODE:
        status = decode_one(out, m, r, err);
        break;
    case CAPS_TASK_ATTACK:
        status = attack_one(out, m, r, err);
        break;
    case CAPS_TASK_SWEEP:
        status = sweep(out, m, r, between, err);
        break;
    case CAPS_TASK_TRANSFORM:
        status = transform(out, m, r, between, err);
        break;
    case CAPS_TASK_RANGES:
        status = caps_explorer_ranges(e, out, r->model, (size_t)r->class, between, err);
        break;
    }
    if (status == CAPS_OK && out->out_of_memory)
        status = compute_out_of_memory(err);
    return status;
}
