/* batch_share.c: see batch_share.h. */
#include "batch_share.h"

#include <stdlib.h>

#include "fail.h"

/* Both tensors of this model, behind one another, and those of all. *own is freed with free(). */
static caps_status gather_two(float **own, const float **all, caps_runtime *rt,
    const caps_batch_share *share, const caps_tensor *a, const caps_tensor *b, size_t images,
    caps_error *err)
{
    const size_t n = a->shape[0];
    caps_status status = CAPS_OK;
    *own = calloc(2 * n, sizeof **own);
    if (!*own)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the statistics of a batch"));
    if (images > 0) {
        CAPS_TRY(caps_tensor_download(rt, a, *own, err));
        CAPS_TRY(caps_tensor_download(rt, b, *own + n, err));
    }
    CAPS_TRY(share->gather(share->user, *own, 2 * n, all, err));
done:
    return status;
}

static caps_status put_two(caps_runtime *rt, const caps_tensor *a, const caps_tensor *b,
    const float *values, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_tensor_upload(rt, a, values, err));
    CAPS_TRY(caps_tensor_upload(rt, b, values + a->shape[0], err));
done:
    return status;
}

caps_status caps_batch_share_statistics(caps_runtime *rt, const caps_batch_share *share,
    const caps_tensor *mean, const caps_tensor *var, size_t images, caps_error *err)
{
    const size_t n = mean->shape[0];
    const float *all;
    float *own = NULL;
    caps_status status;
    CAPS_TRY(gather_two(&own, &all, rt, share, mean, var, images, err));
    for (size_t c = 0; c < n; c++) {
        double count = 0, centre = 0, squares = 0; /* Chan, Golub, LeVeque 1983 */
        for (size_t k = 0; k < share->members; k++) {
            const double more = (double)share->images[k], sum = count + more;
            if (share->images[k] == 0)
                continue;
            const double apart = (double)all[2 * n * k + c] - centre;
            squares += more * (double)all[2 * n * k + n + c] + apart * apart * count * more / sum;
            centre += apart * more / sum;
            count = sum;
        }
        own[c] = (float)centre;
        own[n + c] = (float)(squares / count);
    }
    CAPS_TRY(put_two(rt, mean, var, own, err));
done:
    free(own);
    return status;
}

caps_status caps_batch_share_sums(caps_runtime *rt, const caps_batch_share *share,
    const caps_tensor *to_a, const caps_tensor *to_b, const caps_tensor *a, const caps_tensor *b,
    size_t images, caps_error *err)
{
    const size_t n = a->shape[0];
    const float *all;
    float *own = NULL;
    caps_status status;
    CAPS_TRY(gather_two(&own, &all, rt, share, a, b, images, err));
    for (size_t c = 0; c < 2 * n; c++) {
        double sum = 0;
        for (size_t k = 0; k < share->members; k++)
            sum += share->images[k] > 0 ? (double)all[2 * n * k + c] : 0;
        own[c] = (float)sum;
    }
    CAPS_TRY(put_two(rt, to_a, to_b, own, err));
done:
    free(own);
    return status;
}
