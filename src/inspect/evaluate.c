/* evaluate.c: errors, losses and confusion of a model on a data set, image by image. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "clock.h"
#include "fail.h"
#include "lanes.h"
#include "options.h"
#include "trace.h"

/* An evaluation under way. */
typedef struct evaluation {
    caps_evaluate_options options;
    caps_evaluation *result;
} evaluation;

size_t caps_labels_match(int32_t *labels, const int32_t *true_labels, size_t count)
{
    int32_t found[CAPS_MAX_LABELS];
    bool used[CAPS_MAX_LABELS] = {0}, filled[CAPS_MAX_LABELS] = {0};
    size_t wrong = count;
    for (size_t t = 0; t < count; t++)
        for (size_t k = 0; k < count && !filled[t]; k++)
            if (!used[k] && labels[k] == true_labels[t]) {
                used[k] = filled[t] = true;
                found[t] = labels[k];
                wrong--;
            }
    for (size_t t = 0, k = 0; t < count; t++) {
        if (filled[t])
            continue;
        while (used[k])
            k++;
        found[t] = labels[k++];
    }
    memcpy(labels, found, count * sizeof *labels);
    return wrong;
}

/* Image i of the readings. Sums are in double, image by image: the result does not depend on the
 * batch's size. */
static void count_image(void *user, const int32_t *true_labels, caps_readings *r, size_t i)
{
    evaluation *e = user;
    caps_evaluation *result = e->result;
    const size_t labels = result->labels;
    int32_t *label = r->best + i * labels;
    const int32_t *true_label = true_labels + i * labels;
    const size_t wrong = caps_labels_match(label, true_label, labels);
    double sse = 0;
    for (size_t t = 0; t < labels; t++) {
        sse += (double)r->sse[i * labels + t];
        result->confusion[(size_t)true_label[t] * result->classes + (size_t)label[t]]++;
    }
    result->errors += wrong > 0;
    result->label_errors += wrong;
    result->class_loss += (double)r->class_loss[i];
    result->reconstruction_sse += sse;
    if (e->options.each)
        e->options.each(
            e->options.each_user, &(caps_evaluated){result->n, label, true_label, wrong == 0,
                                      r->lengths + i * result->classes, sse});
    result->n++;
}

/* ---- from several places -------------------------------------------------------------------- */

/* One of several passes over the images. */
typedef struct offset_pass {
    const caps_evaluate_options *options;
    caps_ensemble *together;
    size_t number;
} offset_pass;

static void add_image(void *user, const caps_evaluated *image)
{
    caps_ensemble_add(((offset_pass *)user)->together, image);
}

static bool stop_pass(void *user, size_t done, size_t total)
{
    const offset_pass *p = user;
    const caps_inspect_progress *progress = &p->options->progress;
    return progress->stop(
        progress->user, p->number * total + done, p->options->offsets_count * total);
}

/* All passes, and their mean. */
static caps_status evaluate_offsets(caps_model *m, const caps_dataset *ds,
    const caps_evaluate_options *o, caps_evaluation *result, caps_error *err)
{
    offset_pass pass = {.options = o};
    caps_evaluate_options each = *o;
    double class_loss = NAN, sse = NAN;
    caps_status status;
    CAPS_TRY(caps_ensemble_create(&pass.together, ds->n, caps_model_get_spec(m), err));
    each.each = add_image;
    each.each_user = &pass;
    each.offsets = NULL;
    if (o->progress.stop)
        each.progress = (caps_inspect_progress){stop_pass, &pass};
    for (pass.number = 0; pass.number < o->offsets_count; pass.number++) {
        caps_dataset moved = *ds;
        caps_evaluation one;
        moved.offset[0] += o->offsets[pass.number].down;
        moved.offset[1] += o->offsets[pass.number].right;
        CAPS_TRY(caps_evaluate(m, &moved, &each, &one, err));
        class_loss = pass.number ? class_loss : one.class_loss;
        sse = pass.number ? sse : one.reconstruction_sse;
        caps_evaluation_release(&one);
    }
    CAPS_TRY(caps_ensemble_evaluate(pass.together, o->each, o->each_user, result, err));
    result->class_loss = class_loss;
    result->reconstruction_sse = sse;
done:
    caps_ensemble_free(pass.together);
    return status;
}

caps_status caps_evaluate(caps_model *m, const caps_dataset *ds,
    const caps_evaluate_options *options, caps_evaluation *result, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(m);
    const double began = caps_clock_seconds();
    caps_runtime *rt = caps_model_get_runtime(m);
    evaluation e = {.result = result};
    caps_status status;
    *result = (caps_evaluation){.classes = info->classes, .labels = info->labels};
    caps_trace_begin(rt, "evaluate");
    CAPS_TRY(caps_options_read(&e.options, sizeof e.options, options, options ? options->size : 0,
        "caps_evaluate_options", err));
    CAPS_TRY(caps_data_check(ds, caps_model_get_spec(m), err));
    if (e.options.offsets) {
        CAPS_TRY(evaluate_offsets(m, ds, &e.options, result, err));
        result->seconds = caps_clock_seconds() - began;
        goto done;
    }
    result->confusion = calloc(info->classes * info->classes, sizeof *result->confusion);
    if (!result->confusion)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu classes", info->classes));
    const caps_lanes_job job = {ds, m, &e.options, count_image, &e};
    CAPS_TRY(caps_lanes_run(&job, err));
    const double n = (double)result->n;
    result->error_percent = 100 * (double)result->errors / n;
    result->label_error_percent = 100 * (double)result->label_errors / (n * (double)result->labels);
    result->class_loss /= n;
    result->reconstruction_sse /= n;
    result->seconds = caps_clock_seconds() - began;
done:
    caps_trace_end(rt);
    if (status != CAPS_OK)
        caps_evaluation_release(result);
    return status;
}

void caps_evaluation_class(
    const caps_evaluation *result, size_t j, uint64_t *images, uint64_t *errors)
{
    const uint64_t *row = result->confusion + j * result->classes;
    *images = 0;
    for (size_t k = 0; k < result->classes; k++)
        *images += row[k];
    *errors = *images - row[j];
}

double caps_evaluation_balanced_percent(const caps_evaluation *result)
{
    double sum = 0;
    size_t present = 0;
    for (size_t j = 0; j < result->classes; j++) {
        uint64_t images, errors;
        caps_evaluation_class(result, j, &images, &errors);
        if (images == 0)
            continue;
        sum += 100 * (double)errors / (double)images;
        present++;
    }
    return present > 0 ? sum / (double)present : NAN;
}

void caps_evaluation_release(caps_evaluation *result)
{
    free(result->confusion);
    *result = (caps_evaluation){0};
}
