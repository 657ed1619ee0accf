/* class_weights_ref.c: rows times the weights of their classes. */
#include "ref.h"

void caps_ref_class_weights(
    double *x, const double *weights, const int32_t *labels, size_t b, size_t n, size_t j, size_t l)
{
    for (size_t row = 0; row < b; row++) {
        double sum = 0;
        for (size_t t = 0; t < l; t++) {
            const int32_t label = labels[row * l + t];
            sum += label >= 0 && (size_t)label < j ? weights[label] : 1;
        }
        for (size_t i = 0; i < n; i++)
            x[row * n + i] *= sum / (double)l;
    }
}
