/* gemm_ref.c */
#include "ref.h"

void caps_ref_gemm(double *c, const double *a, const double *b, bool trans_a, bool trans_b,
    size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc, double alpha, double beta)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++) {
                double x = trans_a ? a[l * lda + i] : a[i * lda + l];
                double y = trans_b ? b[j * ldb + l] : b[l * ldb + j];
                sum += x * y;
            }
            /* beta 0 means that C holds nothing yet, not even numbers. */
            double old = beta != 0 ? beta * c[i * ldc + j] : 0;
            c[i * ldc + j] = alpha * sum + old;
        }
    }
}
