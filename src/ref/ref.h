/* ref.h: every operation in plain C, double precision, one loop nest each, no cleverness. Tests,
 * selftest and bench compare the device with these; the backward functions are themselves checked
 * by finite differences. Same names, argument order and shapes as capscl/ops.h, with sizes in place
 * of tensors. Arrays are dense and row-major. A NULL gradient is not wanted.
 */
#ifndef CAPS_REF_H
#define CAPS_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gemm_ref.c */
void caps_ref_gemm(double *c, const double *a, const double *b, bool trans_a, bool trans_b,
    size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc, double alpha, double beta);

/* bias_act_ref.c; act: 0 none, 1 relu, 2 sigmoid (caps_activation) */
void caps_ref_bias_act_forward(double *y /*[N,C,S]*/, const double *x, const double *bias /*[C]*/,
    int act, size_t n, size_t c, size_t s);
void caps_ref_bias_act_backward(double *dx, double *dbias, const double *dy, const double *y,
    int act, size_t n, size_t c, size_t s);

/* conv_ref.c */
typedef struct caps_ref_conv {
    size_t b, c, h, w, m, kh, kw, stride, padding;
    int act;
} caps_ref_conv;
size_t caps_ref_conv_output(size_t size, size_t kernel, size_t stride, size_t padding);
void caps_ref_conv2d_forward(double *y /*[B,M,OH,OW]*/, const double *x /*[B,C,H,W]*/,
    const double *w /*[M,C,kh,kw]*/, const double *bias /*[M]*/, const caps_ref_conv *p);
void caps_ref_conv2d_backward(double *dx, double *dw, double *dbias, const double *dy,
    const double *y, const double *x, const double *w, const caps_ref_conv *p);

/* linear_ref.c */
void caps_ref_linear_forward(double *y /*[B,out]*/, const double *x /*[B,in]*/,
    const double *w /*[out,in]*/, const double *bias, int act, size_t b, size_t in, size_t out);
void caps_ref_linear_backward(double *dx, double *dw, double *dbias, const double *dy,
    const double *y, const double *x, const double *w, int act, size_t b, size_t in, size_t out);

/* group_ref.c */
void caps_ref_group_forward(
    double *u /*[B,T*P,K]*/, const double *z /*[B,T*K,P]*/, size_t b, size_t t, size_t k, size_t p);
void caps_ref_group_backward(double *dz, const double *du, size_t b, size_t t, size_t k, size_t p);

/* squash_ref.c */
/* exponential: (1 - exp(-|s|)) s / |s|, else |s| s / (1 + |s|^2) */
void caps_ref_squash_forward(
    double *v /*[N,K]*/, const double *s, bool exponential, size_t n, size_t k);
void caps_ref_squash_backward(
    double *ds, const double *dv, const double *s, bool exponential, size_t n, size_t k);

/* votes_ref.c */
void caps_ref_votes_forward(double *votes /*[B,I,J,D]*/, const double *u /*[B,I,K]*/,
    const double *w /*[I,J,D,K]*/, size_t b, size_t i, size_t j, size_t d, size_t k);
void caps_ref_votes_backward(double *du, double *dw, const double *dvotes, const double *u,
    const double *w, size_t b, size_t i, size_t j, size_t d, size_t k);

/* routing_ref.c: couplings [r,B,I,J], s and v [r,B,J,D] are saved for backward. Couplings by a
 * softmax, leaky by one of one more logit, or by max-min normalisation. */
enum { CAPS_REF_SOFTMAX, CAPS_REF_LEAKY, CAPS_REF_MAX_MIN };
void caps_ref_routing_forward(double *v_last /*[B,J,D]*/, double *couplings, double *s, double *v,
    const double *votes /*[B,I,J,D]*/, const double *bias /*[J,D] or NULL*/, int normalization,
    bool exponential, size_t b, size_t i, size_t j, size_t d, size_t iterations);
void caps_ref_routing_backward(double *dvotes, double *dbias, const double *dv_last,
    const double *couplings, const double *s, const double *v, const double *votes,
    int normalization, bool full, bool exponential, size_t b, size_t i, size_t j, size_t d,
    size_t iterations);

/* em_ref.c; shapes: caps_em. Assignments are [iterations, B, windows, edges, parents]. */
typedef struct caps_ref_em {
    size_t b, types, height, width, parents, kernel, stride;
    bool coordinates, last; /* last: the assignments of the last iteration are constants */
    size_t iterations;
    double lambda, cost_scale, variance_floor;
    const double *fixed; /* in place of the assignments of the last iteration; NULL: none */
} caps_ref_em;
size_t caps_ref_em_windows(const caps_ref_em *p);
size_t caps_ref_em_edges(const caps_ref_em *p);
void caps_ref_em_forward(double *pose_out, double *activation_out, double *assigned /* or NULL */,
    const double *pose, const double *activation, const double *weight, const double *beta_u,
    const double *beta_a, const caps_ref_em *p);
void caps_ref_em_backward(double *dpose, double *dactivation, double *dweight, double *dbeta_u,
    double *dbeta_a, const double *dpose_out, const double *dactivation_out, const double *pose,
    const double *activation, const double *weight, const double *beta_u, const double *beta_a,
    const caps_ref_em *p);

/* softmax_ref.c; labels that are no class give 0 */
void caps_ref_softmax_forward(double *p, const double *z, size_t b, size_t j);
void caps_ref_cross_entropy_forward(
    double *loss, const double *z, const int32_t *labels, size_t b, size_t j);
void caps_ref_cross_entropy_backward(
    double *dz, const double *p, const int32_t *labels, double scale, size_t b, size_t j);
/* sigmoid_ref.c; n: elements, l: labels of a sample */
void caps_ref_sigmoid_forward(double *p, const double *z, size_t n);
void caps_ref_binary_cross_entropy_forward(
    double *loss, const double *z, const int32_t *labels, size_t b, size_t j, size_t l);
void caps_ref_binary_cross_entropy_backward(
    double *dz, const double *z, const int32_t *labels, double scale, size_t b, size_t j, size_t l);
/* rate, seed, step, layer, first: caps_dropout */
void caps_ref_dropout(double *y, const double *x, double rate, uint64_t seed, uint64_t step,
    uint32_t layer, uint64_t first, size_t count);

/* losses_ref.c; l: labels of a sample */
void caps_ref_lengths_forward(
    double *lengths /*[B,J]*/, const double *v, size_t b, size_t j, size_t d);
void caps_ref_margin_forward(double *loss /*[B]*/, const double *lengths, const int32_t *labels,
    double positive, double negative, double down, size_t b, size_t j, size_t l);
void caps_ref_margin_backward(double *dv /*[B,J,D]*/, const double *v, const double *lengths,
    const int32_t *labels, double positive, double negative, double down, double scale, size_t b,
    size_t j, size_t d, size_t l);
/* spread_ref.c; a: [b, j], labels: [b, l]. */
void caps_ref_spread_forward(double *loss, const double *a, const int32_t *labels, double margin,
    size_t b, size_t j, size_t l);
void caps_ref_spread_backward(double *da, const double *a, const int32_t *labels, double margin,
    double scale, size_t b, size_t j, size_t l);

void caps_ref_argmax(int32_t *best /*[B,L]*/, const double *lengths, size_t b, size_t j, size_t l);
void caps_ref_match(
    int32_t *matched /*[B,L]*/, const int32_t *best, const int32_t *labels, size_t b, size_t l);
void caps_ref_mask_forward(double *masked /*[B*L,J*D]*/, const double *v, const int32_t *chosen,
    size_t b, size_t j, size_t d, size_t l);
void caps_ref_mask_backward(double *dv /* added to */, const double *dmasked, const int32_t *chosen,
    size_t b, size_t j, size_t d, size_t l);
void caps_ref_sse_forward(
    double *sse /*[B]*/, const double *y, const double *x, size_t b, size_t p);
void caps_ref_sse_backward(
    double *dy, const double *y, const double *x, double scale, size_t b, size_t p);

/* class_weights_ref.c; x: [B,N], weights: [J], labels: [B,L] */
void caps_ref_class_weights(double *x, const double *weights, const int32_t *labels, size_t b,
    size_t n, size_t j, size_t l);

/* attention_ref.c: couplings [B,I,J], total and s [B,J,D] are saved for backward; prior [I,J] */
void caps_ref_attention_forward(double *v /*[B,J,D]*/, double *couplings, double *total, double *s,
    const double *votes /*[B,I,J,D]*/, const double *prior, bool exponential, size_t b, size_t i,
    size_t j, size_t d);
void caps_ref_attention_backward(double *dvotes, double *dprior, const double *dv,
    const double *couplings, const double *total, const double *s, const double *votes,
    const double *prior, bool exponential, size_t b, size_t i, size_t j, size_t d);

/* self_routing_ref.c: w [I,J,D,K], route [I,J,K]; couplings [B,I,J] */
void caps_ref_self_routing_forward(double *v /*[B,J,D]*/, double *couplings,
    const double *u /*[B,I,K]*/, const double *w, const double *route, size_t b, size_t i, size_t j,
    size_t d, size_t k);
void caps_ref_self_routing_backward(double *du, double *dw, double *droute, const double *dv,
    const double *u, const double *w, const double *route, size_t b, size_t i, size_t j, size_t d,
    size_t k);

/* depthwise_ref.c; x: [B,C,H,W], w: [C,1,k,k] */
void caps_ref_depthwise_forward(double *y, const double *x, const double *w, const double *bias,
    size_t b, size_t c, size_t h, size_t width, size_t k, size_t stride);
void caps_ref_depthwise_backward(double *dx, double *dw, double *dbias, const double *dy,
    const double *x, const double *w, size_t b, size_t c, size_t h, size_t width, size_t k,
    size_t stride);

/* max_pool_ref.c; planes: B*C */
void caps_ref_max_pool_forward(
    double *y, const double *x, size_t planes, size_t h, size_t w, size_t k, size_t stride);
void caps_ref_max_pool_backward(double *dx, const double *dy, const double *x, size_t planes,
    size_t h, size_t w, size_t k, size_t stride);

/* batch_norm_ref.c; x, y: [B,C,S], all else [C]; of_batch: mean and var are those of x */
void caps_ref_batch_norm_statistics(
    double *mean, double *var, const double *x, size_t b, size_t c, size_t s);
void caps_ref_batch_norm_forward(double *y, const double *x, const double *mean, const double *var,
    const double *weight, const double *bias, double epsilon, size_t b, size_t c, size_t s);
void caps_ref_batch_norm_backward(double *dx, double *dweight, double *dbias, const double *dy,
    const double *x, const double *mean, const double *var, const double *weight, bool of_batch,
    double epsilon, size_t b, size_t c, size_t s);

/* optimizer_ref.c */
void caps_ref_adam_step(double *w, double *m, double *v, const double *g, double learning_rate,
    double beta1, double beta2, double epsilon, uint64_t t, size_t n);
void caps_ref_sgd_step(double *w, const double *g, double learning_rate, size_t n);
void caps_ref_average_step(double *average, const double *w, double rate, size_t n);

#endif
