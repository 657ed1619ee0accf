/* balance.h: shares of devices by their speed. */
#ifndef CAPS_BALANCE_H
#define CAPS_BALANCE_H

#include <capscl/train.h>

enum { CAPS_BALANCE_SUM = 1000 }; /* of the shares, about */

/* What `capscl tune` measured of each; 0: it has not. */
void caps_balance_tuned(
    double *speeds, caps_runtime *const *rts, size_t n, const caps_train_config *config);

/* "613:387" for devices of these speeds (images/s, all > 0; NULL: "1:1", equal), freed with free();
 * CAPS_ERR_MEMORY. */
caps_status caps_balance_format(char **split, const double *speeds, size_t n, caps_error *err);

/* caps_speed_measure of each device with an equal share of random images. */
caps_status caps_balance_measure(double *speeds, caps_runtime *const *rts, size_t n,
    const caps_train_config *config, caps_error *err);

/* Would other shares of a batch of b images make a step faster by more than a twentieth? The
 * slowest device's time counts. */
bool caps_balance_helps(const char *split, const double *speeds, size_t n, size_t b);

#endif
