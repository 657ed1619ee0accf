/* looks.c: see looks.h. */
#include "looks.h"

#include <stdlib.h>

#include "fail.h"

const char *const caps_looks_crops[] = {"1", "5", "9", "13", NULL};
const char *const caps_looks_shifts[] = {"1", "5", "9", "13", "25", NULL};

caps_status caps_looks_given(
    const char **flag, const caps_args *args, const char *command, caps_error *err)
{
    const bool crops = caps_args_given(args, "--crops"), shifts = caps_args_given(args, "--shifts");
    *flag = crops ? "--crops" : shifts ? "--shifts" : NULL;
    return crops && shifts
               ? caps_cli_usage(err, "%s: --crops and --shifts exclude each other", command)
               : CAPS_OK;
}

caps_status caps_looks_take(
    caps_looks *looks, const caps_args *args, const caps_dataset *ds, caps_error *err)
{
    const bool crops = caps_args_given(args, "--crops");
    if (!crops && !caps_args_given(args, "--shifts"))
        return CAPS_OK;
    looks->count =
        (size_t)atoi(crops ? caps_looks_crops[looks->crops] : caps_looks_shifts[looks->shifts]);
    const caps_status status = crops ? caps_offsets_crops(looks->offsets, looks->count, ds, err)
                                     : caps_offsets_shifts(looks->offsets, looks->count, err);
    if (status == CAPS_OK)
        caps_cli_log("lengths are means over %zu %s of each image", looks->count,
            crops ? "parts" : "shifted copies");
    return status;
}

void caps_looks_move(float *to, const float *from, const size_t chw[3], const caps_offset *by)
{
    const ptrdiff_t h = (ptrdiff_t)chw[1], w = (ptrdiff_t)chw[2];
    for (ptrdiff_t c = 0; c < (ptrdiff_t)chw[0]; c++)
        for (ptrdiff_t y = 0; y < h; y++)
            for (ptrdiff_t x = 0; x < w; x++) {
                const ptrdiff_t row = y - by->down, column = x - by->right;
                const bool inside = row >= 0 && row < h && column >= 0 && column < w;
                to[(c * h + y) * w + x] = inside ? from[(c * h + row) * w + column] : 0;
            }
}

/* ---- predictions ---------------------------------------------------------------------------- */

typedef struct pass {
    const caps_inspect_progress *progress;
    size_t number, count;
} pass;

static bool pass_stop(void *user, size_t done, size_t total)
{
    const pass *p = user;
    return p->progress->stop(p->progress->user, p->number * total + done, p->count * total);
}

/* The L greatest lengths, greatest first; of equal ones the first. */
static void find_labels(int32_t *labels, size_t count, const float *lengths, size_t classes)
{
    for (size_t t = 0; t < count; t++) {
        labels[t] = -1;
        for (size_t j = 0; j < classes; j++) {
            bool taken = false;
            for (size_t k = 0; k < t; k++)
                taken = taken || labels[k] == (int32_t)j;
            if (!taken && (labels[t] < 0 || lengths[j] > lengths[labels[t]]))
                labels[t] = (int32_t)j;
        }
    }
}

caps_status caps_looks_predict(const caps_looks *looks, caps_model *const *models, size_t count,
    size_t n, caps_looks_draw *draw, void *user, const caps_inspect_progress *progress,
    caps_predictions *out, caps_error *err)
{
    const caps_model_info *info = caps_model_get_info(models[0]);
    const size_t classes = info->classes, labels = info->labels;
    float *inputs = malloc((n * info->pixels + 1) * sizeof *inputs);
    double *sums = calloc(n * classes + 1, sizeof *sums);
    pass p = {progress, 0, looks->count};
    caps_status status = CAPS_OK;
    if (!inputs || !sums)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", n));
    for (; p.number < p.count; p.number++) {
        caps_predictions_release(out);
        draw(user, &looks->offsets[p.number], inputs);
        CAPS_TRY(caps_predict_by(
            models, count, inputs, n, 0, &(caps_inspect_progress){pass_stop, &p}, out, err));
        for (size_t x = 0; x < n * classes; x++)
            sums[x] += (double)out->lengths[x];
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < classes; j++)
            out->lengths[i * classes + j] = (float)(sums[i * classes + j] / (double)p.count);
        find_labels(out->labels + i * labels, labels, out->lengths + i * classes, classes);
    }
done:
    free(inputs);
    free(sums);
    return status;
}
