/* decode.c: the decoder alone, on class capsules that the caller gives. */
#include "model_state.h"

#include "fail.h"

caps_status caps_model_decode(caps_model *m, const float *capsules, size_t b, caps_error *err)
{
    caps_status status = CAPS_OK;
    m->b = 0;
    m->forwarded = false;
    m->decoded = 0;
    if (!caps_model_reconstructs(m))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: decode, but it %s",
            m->network.reconstruction ? "was made without its decoder" : "has no decoder");
    const size_t most = m->micro * m->spec.labels;
    if (b < 1 || b > most)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: decode of %zu images, need 1 to %zu", b, most);
    /* Where a batch has several rows an image, those behind b are computed for nothing. */
    m->b = caps_div_up(b, m->spec.labels);
    m->labelled = false;
    const caps_pass pass = {
        .rt = m->rt,
        .b = m->b,
        .workspace = m->workspace,
        .workspace_user = &m->workspace_user,
        .version = m->version,
    };
    bool masked = false; /* the first of the decoder's layers is the mask, which is not asked */
    for (size_t l = 0; l < m->network.layer_count; l++) {
        caps_layer *layer = m->network.layers[l];
        if (!layer->reconstructs)
            continue;
        if (masked) {
            CAPS_TRY(layer->class->forward(layer, &pass, err));
        } else {
            const caps_tensor to = caps_batch_of(&layer->y, b);
            CAPS_TRY(caps_tensor_upload(m->rt, &to, capsules, err));
        }
        masked = true;
    }
    m->decoded = b;
done:
    if (status != CAPS_OK)
        m->b = 0;
    return status;
}
