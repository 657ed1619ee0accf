/* attention_ref.c: attention routing of Efficient-CapsNet (Mazzia, Salvetti, Chiaberge 2021).
 *
 * S_j = sum_i u_ij, A_ij = u_ij . S_j / sqrt(D), c = softmax over j of A, s_j = sum_i (c_ij +
 * prior_ij) u_ij, v = squash(s). Backward, with ds from dv: g_ij = u_ij . ds_j = dprior_ij of a
 * sample, dA_ij = c_ij (g_ij - sum_j c_ij g_ij), and, as A_ij reads u_ij and, through S_j, all
 * u_i'j: du_ij = (c_ij + prior_ij) ds_j + (dA_ij S_j + sum_i' dA_i'j u_i'j) / sqrt(D). */
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void softmax(double *x, size_t n)
{
    double most = x[0], sum = 0;
    for (size_t j = 1; j < n; j++)
        most = x[j] > most ? x[j] : most;
    for (size_t j = 0; j < n; j++)
        sum += x[j] = exp(x[j] - most);
    for (size_t j = 0; j < n; j++)
        x[j] /= sum;
}

void caps_ref_attention_forward(double *v, double *couplings, double *total, double *s,
    const double *votes, const double *prior, bool exponential, size_t b, size_t i, size_t j,
    size_t d)
{
    memset(total, 0, b * j * d * sizeof *total);
    memset(s, 0, b * j * d * sizeof *s);
    for (size_t n = 0; n < b * i * j * d; n++)
        total[n / (i * j * d) * j * d + n % (j * d)] += votes[n];
    for (size_t p = 0; p < b * i * j; p++) /* p: sample, input capsule, output capsule */
        couplings[p] =
            dot(votes + p * d, total + (p / (i * j) * j + p % j) * d, d) / sqrt((double)d);
    for (size_t p = 0; p < b * i; p++)
        softmax(couplings + p * j, j);
    for (size_t p = 0; p < b * i * j; p++)
        for (size_t e = 0; e < d; e++)
            s[(p / (i * j) * j + p % j) * d + e] +=
                (couplings[p] + prior[p % (i * j)]) * votes[p * d + e];
    caps_ref_squash_forward(v, s, exponential, b * j, d);
}

void caps_ref_attention_backward(double *dvotes, double *dprior, const double *dv,
    const double *couplings, const double *total, const double *s, const double *votes,
    const double *prior, bool exponential, size_t b, size_t i, size_t j, size_t d)
{
    double *ds = malloc(b * j * d * sizeof *ds), *turn = calloc(b * j * d, sizeof *turn);
    double *gains = malloc(b * i * j * sizeof *gains), *slopes = malloc(b * i * j * sizeof *slopes);
    memset(dprior, 0, i * j * sizeof *dprior);
    caps_ref_squash_backward(ds, dv, s, exponential, b * j, d);
    for (size_t p = 0; p < b * i * j; p++) {
        gains[p] = dot(votes + p * d, ds + (p / (i * j) * j + p % j) * d, d);
        dprior[p % (i * j)] += gains[p];
    }
    for (size_t p = 0; p < b * i * j; p++) {
        const double mean = dot(couplings + p / j * j, gains + p / j * j, j);
        slopes[p] = couplings[p] * (gains[p] - mean) / sqrt((double)d);
        for (size_t e = 0; e < d; e++)
            turn[(p / (i * j) * j + p % j) * d + e] += slopes[p] * votes[p * d + e];
    }
    for (size_t p = 0; p < b * i * j; p++)
        for (size_t e = 0; e < d; e++) {
            const size_t at = (p / (i * j) * j + p % j) * d + e;
            dvotes[p * d + e] =
                (couplings[p] + prior[p % (i * j)]) * ds[at] + slopes[p] * total[at] + turn[at];
        }
    free(ds);
    free(turn);
    free(gains);
    free(slopes);
}
