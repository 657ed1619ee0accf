/* balance.c: see balance.h. */
#include "balance.h"

#include <math.h>
#include <stdlib.h>

#include "config.h"
#include "fail.h"
#include "random_images.h"
#include "shares.h"
#include "speed.h"
#include "textbuf.h"

#define GAIN 0.95 /* less is not worth new models */

caps_status caps_balance_format(char **split, const double *speeds, size_t n, caps_error *err)
{
    caps_textbuf text = {0};
    double all = 0;
    for (size_t i = 0; speeds && i < n; i++)
        all += speeds[i];
    for (size_t i = 0; i < n; i++) {
        const double share = speeds ? round(CAPS_BALANCE_SUM * speeds[i] / all) : 1;
        caps_textbuf_put(&text, "%s%.0f", i ? ":" : "", share < 1 ? 1 : share);
    }
    *split = text.out_of_memory ? NULL : text.text;
    return *split ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu shares", n);
}

void caps_balance_tuned(
    double *speeds, caps_runtime *const *rts, size_t n, const caps_train_config *config)
{
    for (size_t i = 0; i < n; i++)
        speeds[i] = caps_speed_tuned(rts[i], config->spec);
}

caps_status caps_balance_measure(double *speeds, caps_runtime *const *rts, size_t n,
    const caps_train_config *config, caps_error *err)
{
    caps_random_images noise = {0};
    caps_status status;
    CAPS_TRY(caps_random_images_init(&noise, config->spec, (config->batch + n - 1) / n, err));
    caps_model_options options = caps_config_model_options(config, noise.all.b);
    options.max_batch = noise.all.b;
    options.micro_batch = 0;
    for (size_t i = 0; i < n; i++)
        CAPS_TRY(caps_speed_measure(&speeds[i], rts[i], config->spec, &options, &noise.all, err));
done:
    caps_random_images_release(&noise);
    return status;
}

/* Seconds of the slowest. */
static double step_seconds(const uint32_t *weights, const double *speeds, size_t n, size_t b)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t first, count;
        caps_share_get(&first, &count, weights, n, i, b);
        most = fmax(most, (double)count / speeds[i]);
    }
    return most;
}

bool caps_balance_helps(const char *split, const double *speeds, size_t n, size_t b)
{
    uint32_t *now = NULL, *then = NULL;
    char *better = NULL;
    bool helps = false;
    if (caps_balance_format(&better, speeds, n, NULL) == CAPS_OK &&
        caps_shares_read(&now, split, n, NULL) == CAPS_OK &&
        caps_shares_read(&then, better, n, NULL) == CAPS_OK)
        helps = step_seconds(then, speeds, n, b) < GAIN * step_seconds(now, speeds, n, b);
    free(better);
    free(now);
    free(then);
    return helps;
}
