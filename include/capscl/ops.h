/* capscl/ops.h: the operations of a capsule network, forward and backward, on an OpenCL queue.
 *
 * Every function only enqueues on the runtime's queue; none waits for it. Memory is the caller's:
 * what an operation needs beside its tensors is an argument, and a function gives its size. The
 * exception is a matrix product, alone or in a convolution or a linear layer: its algorithm may
 * take scratch that belongs to the runtime, grows to the largest need, and is freed with the
 * runtime.
 *
 * Arguments run: runtime, outputs, inputs, sizes. Tensors are float32, dense, row-major (labels and
 * indices int32); offsets into their buffers are honoured. Outputs may not overlap inputs unless
 * the comment of the function allows it. Shapes are checked; one that does not fit is
 * CAPS_ERR_ARGUMENT with the operation, the size and the need.
 *
 * Backward functions take d<output> and give d<input>. Weight gradients are overwritten, not
 * accumulated. Sums run in a fixed order: the same device, family and shapes give the same bits.
 *
 * Letters: B batch, I/J input/output capsules, K/D their dimensions, C H W images, M N K matrices.
 */
#ifndef CAPSCL_OPS_H
#define CAPSCL_OPS_H

#include <capscl/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum caps_activation {
    CAPS_ACT_NONE,
    CAPS_ACT_RELU,    /* max(0, x); its gradient at 0 is 0 */
    CAPS_ACT_SIGMOID, /* 1 / (1 + exp(-x)) */
} caps_activation;

/* ---- matrices ------------------------------------------------------------------------------- */

/* C = alpha op(A) op(B) + beta C, row-major; op(A) is M x K, op(B) is K x N, C is M x N. lda, ldb,
 * ldc are row strides in elements of the matrices as stored (A is K x M where trans_a). With
 * beta = 0, C is not read. A, B, C may be any tensors; only buffer and offset are used, and `count`
 * says how many products to make, the n-th at offset + n * stride. */
typedef struct caps_gemm_shape {
    bool trans_a, trans_b;
    size_t m, n, k;
    size_t lda, ldb, ldc;
    float alpha, beta;
    size_t count;                        /* 1: a single product */
    size_t stride_a, stride_b, stride_c; /* elements; not used where count is 1 */
} caps_gemm_shape;

CAPS_API caps_status caps_gemm(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *shape, caps_error *err);

/* The algorithm that caps_gemm takes for this shape on this runtime: "clblast", "packed",
 * "direct". */
CAPS_API const char *caps_gemm_algorithm(const caps_runtime *rt, const caps_gemm_shape *shape);

/* ---- bias and activation -------------------------------------------------------------------- */

/* y[n,c,s] = act(x[n,c,s] + bias[c]). x, y: [N, C, S] (or [N, C]: S = 1), bias: [C] or NULL. y may
 * be x. */
CAPS_API caps_status caps_bias_act_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *bias, caps_activation act, caps_error *err);

/* From y (the forward's output) and dy: dx = dy act'(y); dbias[c] = sum over n, s of dx (NULL: not
 * computed). dx may be dy. */
CAPS_API caps_status caps_bias_act_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *y, caps_activation act,
    caps_error *err);

/* ---- convolution ---------------------------------------------------------------------------- */

typedef enum caps_conv_algorithm {
    CAPS_CONV_AUTO,      /* models choose (caps_conv2d_choose); the functions below take im2col */
    CAPS_CONV_IM2COL,    /* columns and a matrix product: any device, any shape */
    CAPS_CONV_DIRECT,    /* sums over taps, images in lanes: CPU family, kernels of at most 256 */
    CAPS_CONV_WINOGRAD,  /* rows by F(4, 3), images in lanes: CPU family, stride 1 */
    CAPS_CONV_TOOM_COOK, /* Toom-Cook in tiles: at most 9 taps a phase of the stride */
    CAPS_CONV_IMPLICIT,  /* a matrix product whose columns are never stored: GPU family */
} caps_conv_algorithm;

typedef struct caps_conv2d {
    size_t stride;  /* both directions, >= 1 */
    size_t padding; /* zeros on every side, < kernel */
    caps_activation act;
    caps_conv_algorithm algorithm;
} caps_conv2d;

/* "auto", "im2col", "direct", "winograd", "toom-cook", "implicit" */
CAPS_API const char *caps_conv_algorithm_name(caps_conv_algorithm algorithm);
/* false: there is none of this name. */
CAPS_API bool caps_conv_algorithm_find(caps_conv_algorithm *out, const char *name);

/* Output height (or width) of a convolution: (size + 2 padding - kernel) / stride + 1; 0 where the
 * kernel does not fit. */
CAPS_API size_t caps_conv2d_output(size_t size, size_t kernel, size_t stride, size_t padding);

/* For the kernel family of the runtime (NULL: the CPU's): elements of workspace that the functions
 * below need at least (one image at a time) and at most
 * (the whole batch at once); anything between serves, in chunks of the batch, and more is faster up
 * to the cap of `limit_bytes`. Returns the recommended number: as many images as fit limit_bytes,
 * never fewer than one. backward: enough for both directions. x: [B,C,H,W], w: [M,C,k1,k2]. */
CAPS_API size_t caps_conv2d_workspace(const caps_runtime *rt, const size_t x_shape[4],
    const size_t w_shape[4], const caps_conv2d *conv, bool backward, size_t limit_bytes);

/* The algorithm for these shapes on the runtime's device: `requested`, where it is not AUTO (where
 * it cannot serve, CAPS_ERR_ARGUMENT has the reason), else what `capscl tune` measured, else the
 * one that should be fastest by a count of multiplications and of bytes moved, among those whose
 * workspace for one image is at most limit_bytes: the same answer every time. backward: for
 * gradients too; needs_input_gradient: that of x among them. rt NULL: im2col. */
CAPS_API caps_status caps_conv2d_choose(caps_conv_algorithm *out, const caps_runtime *rt,
    const size_t x_shape[4], const size_t w_shape[4], const caps_conv2d *conv, bool backward,
    bool needs_input_gradient, caps_conv_algorithm requested, size_t limit_bytes, caps_error *err);

/* Cross-correlation: y[b,m] = act(bias[m] + sum_c w[m,c] * x[b,c]). x: [B,C,H,W], w: [M,C,kh,kw],
 * bias: [M] or NULL, y: [B,M,OH,OW]. workspace: float32, see above. im2col and GEMM: the column
 * buffer holds a chunk of the batch. */
CAPS_API caps_status caps_conv2d_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, const caps_tensor *bias, const caps_conv2d *conv,
    const caps_tensor *workspace, caps_error *err);

/* dx (NULL: not computed), dw, dbias (NULL: not computed) from dy, with y the forward's output
 * (read only where act is not NONE). */
CAPS_API caps_status caps_conv2d_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, const caps_conv2d *conv,
    const caps_tensor *workspace, caps_error *err);

/* ---- linear --------------------------------------------------------------------------------- */

/* y = act(x w^T + bias). x: [B, in], w: [out, in], bias: [out] or NULL, y: [B, out]. */
CAPS_API caps_status caps_linear_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, const caps_tensor *bias, caps_activation act,
    caps_error *err);

/* dz: [B, out], scratch that receives dy act'(y); may be dy. dx (NULL: not computed): [B, in]. */
CAPS_API caps_status caps_linear_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dz, const caps_tensor *dy,
    const caps_tensor *y, const caps_tensor *x, const caps_tensor *w, caps_activation act,
    caps_error *err);

/* ---- capsules ------------------------------------------------------------------------------- */

/* Regroups channels as capsules: u[b, (t H + y) W + x, k] = z[b, t K + k, y, x].
 * z: [B, T*K, H, W], u: [B, T*H*W, K]. backward is the inverse permutation. */
CAPS_API caps_status caps_group_forward(
    caps_runtime *rt, const caps_tensor *u, const caps_tensor *z, caps_error *err);
CAPS_API caps_status caps_group_backward(
    caps_runtime *rt, const caps_tensor *dz, const caps_tensor *du, caps_error *err);

typedef enum caps_squash {
    CAPS_SQUASH_PAPER, /* v = s |s| / (1 + |s|^2): equation 1 of Sabour, Frosst, Hinton 2017 */
    CAPS_SQUASH_EXP,   /* v = s (1 - exp(-|s|)) / |s|: Efficient-CapsNet, Mazzia, Salvetti,
                          Chiaberge 2021 */
} caps_squash;

/* v = squash(s) over the last dimension; zero at zero, with gradient zero there. All [..., K].
 * backward: ds may be dv. */
CAPS_API caps_status caps_squash_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_tensor *s, caps_squash squash, caps_error *err);
CAPS_API caps_status caps_squash_backward(caps_runtime *rt, const caps_tensor *ds,
    const caps_tensor *dv, const caps_tensor *s, caps_squash squash, caps_error *err);

/* Votes: votes[b,i,j,d] = sum_k w[i,j,d,k] u[b,i,k]. u: [B,I,K], w: [I,J,D,K], votes: [B,I,J,D]. */
CAPS_API caps_status caps_votes_forward(caps_runtime *rt, const caps_tensor *votes,
    const caps_tensor *u, const caps_tensor *w, caps_error *err);
CAPS_API caps_status caps_votes_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dvotes, const caps_tensor *u, const caps_tensor *w,
    caps_error *err);

typedef enum caps_routing_grad {
    CAPS_ROUTING_GRAD_FULL, /* through every iteration */
    CAPS_ROUTING_GRAD_LAST, /* the couplings of the last iteration are constants */
} caps_routing_grad;

/* How the logits b_j of an input capsule become its couplings c_j. */
typedef enum caps_normalization {
    CAPS_NORMALIZATION_SOFTMAX, /* c_j = exp(b_j) / sum_k exp(b_k) */
    /* c_j = (b_j - min b) / (max b - min b): from 0 to 1, whatever their sum. All are 1 where the
     * greatest and the least logit are equal, as they are at first. "Capsule Networks with Max-Min
     * Normalization" (Zhao, Kleinhans, Sandhu, Patel, Unnikrishnan 2019), with bounds 0 and 1. Of
     * several logits that are the greatest, or the least, the first takes the gradient. */
    CAPS_NORMALIZATION_MAX_MIN,
} caps_normalization;

typedef struct caps_routing {
    size_t iterations; /* >= 1 */
    caps_routing_grad grad;
    /* Each softmax has one more logit, always 0, for "none of these": c_j = exp(b_j) / (1 + sum_k
     * exp(b_k)). The couplings of an input capsule then sum to less than 1 (in the first iteration
     * each is 1/(J+1)), so that one that agrees with no output capsule contributes little to
     * any. */
    bool leaky;
    caps_squash squash;               /* of every iteration */
    caps_normalization normalization; /* MAX_MIN: not with `leaky`, and votes are stored */
} caps_routing;

/* What routing saves for its backward, and scratch. All float32. */
typedef struct caps_routing_state {
    caps_tensor couplings; /* [r, B, I, J]: c_t of every iteration */
    caps_tensor s;         /* [r, B, J, D]: s_t before the squash */
    caps_tensor v;         /* [r, B, J, D]: v_t */
    caps_tensor scratch;   /* caps_routing_scratch elements */
} caps_routing_state;

/* Elements of routing_state.scratch that forward and backward need for these sizes. */
CAPS_API size_t caps_routing_scratch(
    size_t b, size_t i, size_t j, size_t d, const caps_routing *routing);

/* Routing by agreement (procedure 1 of the paper). b_0 = 0; in each of r iterations
 *   c = softmax_j(b), s = sum_i c votes (+ bias), v = squash(s), and, but after the last,
 *   b += votes . v
 * (routing->leaky: with one more logit in the softmax; routing->normalization: another function
 * in its place.)
 * v: [B,J,D] receives the last v. votes: [B,I,J,D]. bias: [J,D] or NULL. */
CAPS_API caps_status caps_routing_forward(caps_runtime *rt, const caps_tensor *v,
    caps_routing_state *state, const caps_tensor *votes, const caps_tensor *bias,
    const caps_routing *routing, caps_error *err);

/* dvotes: [B,I,J,D], dbias: [J,D] or NULL, from dv: [B,J,D] and the state of the forward. dvotes
 * may not be votes. */
CAPS_API caps_status caps_routing_backward(caps_runtime *rt, const caps_tensor *dvotes,
    const caps_tensor *dbias, const caps_tensor *dv, caps_routing_state *state,
    const caps_tensor *votes, const caps_routing *routing, caps_error *err);

/* ---- class capsules: votes and routing in one ----------------------------------------------- */

/* What becomes of the votes of a layer of class capsules. */
typedef enum caps_routing_algorithm {
    CAPS_ROUTING_AUTO,   /* caps_class_caps_choose decides */
    CAPS_ROUTING_STORED, /* computed once and saved for the backward: [B,I,J,D] of memory, twice */
    CAPS_ROUTING_FUSED,  /* computed again wherever they are needed, never stored; a device whose
                            groups or local memory are too small for the sizes stores them too, and
                            so do all with CAPS_NORMALIZATION_MAX_MIN */
} caps_routing_algorithm;

/* "auto", "stored", "fused". */
CAPS_API const char *caps_routing_algorithm_name(caps_routing_algorithm algorithm);

typedef struct caps_class_caps {
    size_t b, i, j, d, k; /* the most samples at once; sizes of the capsules */
    caps_routing routing;
    caps_routing_algorithm algorithm; /* STORED or FUSED; AUTO is an error */
} caps_class_caps;

/* STORED or FUSED: `requested` unless it is AUTO, else what was requested for the runtime, else by
 * batch and kernel family: FUSED for 5 samples or more on the CPU family, and on the GPU family
 * wherever it serves. rt NULL: the CPU family. */
CAPS_API caps_routing_algorithm caps_class_caps_choose(
    const caps_runtime *rt, const caps_class_caps *shape, caps_routing_algorithm requested);

/* Elements that the algorithm needs for batches of at most shape->b: `votes`, saved from forward to
 * backward (0: none), and `workspace`, which holds nothing between calls. training: also for the
 * backward. */
typedef struct caps_class_caps_workspace {
    size_t votes, workspace;
} caps_class_caps_workspace;
CAPS_API caps_class_caps_workspace caps_class_caps_workspace_of(
    const caps_runtime *rt, const caps_class_caps *shape, bool training);

/* What the backward needs of the forward; a batch smaller than shape->b has its own size in place
 * of B, its iterations lying closer together. Both algorithms leave the same. */
typedef struct caps_class_caps_state {
    caps_tensor couplings; /* [r, B, I, J]: c_t of every iteration */
    caps_tensor s;         /* [r, B, J, D]: s_t before the squash */
    caps_tensor v;         /* [r, B, J, D]: v_t */
    caps_tensor votes;     /* workspace_of(..).votes elements; no buffer where that is 0 */
} caps_class_caps_state;

/* votes = W u, then routing by agreement: caps_votes_forward and caps_routing_forward in one.
 * v: [B,J,D], u: [B,I,K], w: [I,J,D,K], bias: [J,D] or NULL, workspace: at least
 * workspace_of(..).workspace elements. */
CAPS_API caps_status caps_class_caps_forward(caps_runtime *rt, const caps_tensor *v,
    caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_class_caps *shape, const caps_tensor *workspace,
    caps_error *err);

/* du: [B,I,K], dw: [I,J,D,K], dbias: [J,D] (each NULL: not computed) from dv: [B,J,D], the
 * forward's u and w and the state it left. */
CAPS_API caps_status caps_class_caps_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_class_caps *shape, const caps_tensor *workspace, caps_error *err);

/* ---- capsules of 4x4 poses: votes and EM routing in one --------------------------------------- */

/* "Matrix capsules with EM routing" (Hinton, Sabour, Frosst, ICLR 2018). A child i has a pose M_i
 * (4x4, row-major) and an activation a_i; its vote for parent j is V_ij = M_i W_ij. Over the 16
 * elements h, with r_ij = R_ij a_i and e = 1e-7, iteration t = 0, 1, ..:
 *   S_j = sum_i r, mu = sum_i r V / (S + e), var = sum_i r (V - mu)^2 / (S + e) + variance_floor
 *   cost_j = cost_scale S sum_h (beta_u + 0.5 ln var_h)
 *   z_j = lambda (1 - 0.95^(t+1)) (beta_a - cost_j), a_j = sigmoid(z_j)
 * and, but after the last, R_ij = softmax over all parents of i, types and positions, of
 *   ln a_j - sum_h ((V - mu)^2 / (2 var) + 0.5 ln(2 pi var)).
 * At first R_ij = 1 / (parents * windows that see i). The results are mu_j and a_j of the last. */
typedef struct caps_em {
    size_t b;                    /* the most images at once */
    size_t types, height, width; /* T, H, W of the children: I = T H W, i = (type H + y) W + x */
    size_t parents;              /* C: types of the parents */
    /* A parent sees a window of kernel x kernel children of every type, without padding: that at
     * (y, x) begins at (y stride, x stride). 0: there is one window, which sees all children, and
     * all positions share its weights. A child that no window sees has no part in anything. */
    size_t kernel, stride;
    bool coordinates; /* kernel 0: V[0][3] += (y + 0.5) / H, V[1][3] += (x + 0.5) / W */
    size_t iterations;
    caps_routing_grad grad;
    float lambda, cost_scale, variance_floor; /* floor > 0 */
} caps_em;

/* Elements that batches of at most shape->b images need: `state`, which a forward leaves for its
 * backward, and `workspace`, which holds nothing between calls. training: also for the backward.
 * Zeros: the sizes are refused by forward and backward, which say why. Of a smaller batch the
 * forward uses less, but state and workspace may be larger than need be. */
typedef struct caps_em_workspace {
    size_t state, workspace;
} caps_em_workspace;
CAPS_API caps_em_workspace caps_em_workspace_of(
    const caps_runtime *rt, const caps_em *shape, bool training);

/* pose_out: [B,J,16], activation_out: [B,J], J = C H2 W2, j = (type H2 + y) W2 + x, H2 = (H -
 * kernel) / stride + 1 and W2 alike, 1 with kernel 0; pose: [B,I,16], activation: [B,I], weight:
 * [kernel,kernel,T,C,4,4] (row and column in the window, type of the child, of the parent), with
 * kernel 0 [T,C,4,4]; beta_u, beta_a: [C]. Votes are formed where they are needed, never stored
 * for a batch. */
CAPS_API caps_status caps_em_forward(caps_runtime *rt, const caps_tensor *pose_out,
    const caps_tensor *activation_out, const caps_tensor *state, const caps_tensor *pose,
    const caps_tensor *activation, const caps_tensor *weight, const caps_tensor *beta_u,
    const caps_tensor *beta_a, const caps_em *shape, const caps_tensor *workspace, caps_error *err);

/* All gradients (dpose and dactivation may be NULL: not computed) from dpose_out, dactivation_out,
 * the forward's inputs and the state it left. */
CAPS_API caps_status caps_em_backward(caps_runtime *rt, const caps_tensor *dpose,
    const caps_tensor *dactivation, const caps_tensor *dweight, const caps_tensor *dbeta_u,
    const caps_tensor *dbeta_a, const caps_tensor *dpose_out, const caps_tensor *dactivation_out,
    const caps_tensor *state, const caps_tensor *pose, const caps_tensor *activation,
    const caps_tensor *weight, const caps_tensor *beta_u, const caps_tensor *beta_a,
    const caps_em *shape, const caps_tensor *workspace, caps_error *err);

/* R of an iteration (0 is the first), from the state of a forward of out->shape[0] images. out:
 * [B, H2 W2, kernel kernel T, C], the windows row by row and in each its children by row, column
 * and type; with kernel 0 [B, I, C]. */
CAPS_API caps_status caps_em_assignment(caps_runtime *rt, const caps_tensor *out,
    const caps_tensor *state, const caps_em *shape, size_t iteration, caps_error *err);

/* The first iteration in whose mu or z a forward of `images` images has left a value that is not
 * finite; shape->iterations: none. Waits for the queue. */
CAPS_API caps_status caps_em_first_not_finite(caps_runtime *rt, size_t *iteration,
    const caps_tensor *state, size_t images, const caps_em *shape, caps_error *err);

/* ---- attention routing ---------------------------------------------------------------------- */

/* Efficient-CapsNet (Mazzia, Salvetti, Chiaberge 2021). No iterations: with the votes u_ij = W_ij
 * u_i and their sums S_j = sum_i u_ij,
 *   c_ij = softmax over j of u_ij . S_j / sqrt(D),  s_j = sum_i (c_ij + prior_ij) u_ij,
 *   v_j = squash(s_j). */
typedef struct caps_attention {
    size_t b, i, j, d, k; /* the most samples at once; sizes of the capsules */
    caps_squash squash;
} caps_attention;

/* What the backward needs of the forward. No votes: they are computed again, of some samples at a
 * time. */
typedef struct caps_attention_state {
    caps_tensor couplings; /* [B, I, J]: c */
    caps_tensor total;     /* [B, J, D]: S */
    caps_tensor s;         /* [B, J, D] */
} caps_attention_state;

/* Elements of the workspace, which holds nothing between calls, for batches of at most shape->b.
 * training: also for the backward. */
CAPS_API size_t caps_attention_workspace(const caps_attention *shape, bool training);

/* v: [B,J,D], u: [B,I,K], w: [I,J,D,K], prior: [I,J]. */
CAPS_API caps_status caps_attention_forward(caps_runtime *rt, const caps_tensor *v,
    caps_attention_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *prior, const caps_attention *shape, const caps_tensor *workspace,
    caps_error *err);
/* du (NULL: not computed), dw, dprior from dv and what the forward read and left. */
CAPS_API caps_status caps_attention_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dprior, const caps_tensor *dv,
    const caps_attention_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *prior, const caps_attention *shape, const caps_tensor *workspace,
    caps_error *err);

/* ---- self-routing --------------------------------------------------------------------------- */

/* "Self-Routing Capsule Networks" (Hahn, Pyeon, Kim 2019), of capsules whose activation is their
 * length. No iterations: each input capsule chooses by routing weights of its own. With a_i = |u_i|
 * and the votes u_ij = W_ij u_i,
 *   c_ij = softmax over j of route_ij . u_i,  M_j = sum_i c_ij a_i u_ij,
 *   v_j = (sum_i c_ij a_i / sum_i a_i) M_j / |M_j|:
 * the direction of the weighted mean of the votes, with the paper's activation as its length. v_j
 * is 0, with gradient 0, where all a_i, or M_j, are 0. */
typedef struct caps_self_routing {
    size_t b, i, j, d, k; /* the most samples at once; sizes of the capsules */
} caps_self_routing;

/* What the backward needs of the forward. No votes: they are computed again, of some samples at a
 * time. */
typedef struct caps_self_routing_state {
    caps_tensor couplings;  /* [B, I, J]: c */
    caps_tensor activation; /* [B, I]: a */
    caps_tensor pose;       /* [B, J, D]: M */
    caps_tensor share;      /* [B, J]: the length of v */
    caps_tensor total;      /* [B]: sum_i a_i */
} caps_self_routing_state;

/* Elements of the workspace, which holds nothing between calls, for batches of at most shape->b.
 * training: also for the backward. */
CAPS_API size_t caps_self_routing_workspace(const caps_self_routing *shape, bool training);

/* v: [B,J,D], u: [B,I,K], w: [I,J,D,K], route: [I,J,K]. */
CAPS_API caps_status caps_self_routing_forward(caps_runtime *rt, const caps_tensor *v,
    caps_self_routing_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *route, const caps_self_routing *shape, const caps_tensor *workspace,
    caps_error *err);
/* du (NULL: not computed), dw, droute from dv and what the forward read and left. */
CAPS_API caps_status caps_self_routing_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *droute, const caps_tensor *dv,
    const caps_self_routing_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *route, const caps_self_routing *shape, const caps_tensor *workspace,
    caps_error *err);

/* ---- depthwise convolution, max pooling ------------------------------------------------------ */

/* Every channel by a kernel of its own: y[b,c,oy,ox] = bias[c] + sum_ky,kx w[c,0,ky,kx] x[b,c, oy
 * stride + ky, ox stride + kx]. x: [B,C,H,W], y: [B,C,OH,OW], w: [C,1,k,k], bias: [C]. */
CAPS_API caps_status caps_depthwise_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, const caps_tensor *bias, size_t stride,
    caps_error *err);
/* dx NULL: not computed. */
CAPS_API caps_status caps_depthwise_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *x,
    const caps_tensor *w, size_t stride, caps_error *err);

/* y[b,c,oy,ox]: the greatest value of the window of kernel x kernel at (oy stride, ox stride); one
 * that is not a number is greater than all others. place (int32, NULL: not wanted): where in its
 * plane of x it lies, row * W + column; of equal values the first in row order. x: [B,C,H,W]; y,
 * place: [B,C,OH,OW]. */
CAPS_API caps_status caps_max_pool_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *place, const caps_tensor *x, size_t kernel, size_t stride, caps_error *err);
/* dx: every dy added where its window's value lay; windows may overlap. */
CAPS_API caps_status caps_max_pool_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dy, const caps_tensor *place, size_t kernel, size_t stride, caps_error *err);

/* ---- batch normalisation --------------------------------------------------------------------- */

/* Keras' order and constants in Efficient-CapsNet; Ioffe, Szegedy 2015. x, y: [B, C, ...], all else
 * [C]. */
#define CAPS_BATCH_NORM_EPSILON  1e-3f
#define CAPS_BATCH_NORM_MOMENTUM 0.01f /* of a batch in the running statistics */

/* Elements of the workspace of the functions that have one. */
CAPS_API size_t caps_batch_norm_workspace(size_t b, size_t c);

/* mean[c] and the biased var[c] of x over the batch and places. */
CAPS_API caps_status caps_batch_norm_statistics(caps_runtime *rt, const caps_tensor *mean,
    const caps_tensor *var, const caps_tensor *x, const caps_tensor *workspace, caps_error *err);
/* y = weight (x - mean) / sqrt(var + epsilon) + bias. y may be x. */
CAPS_API caps_status caps_batch_norm_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *mean, const caps_tensor *var,
    const caps_tensor *weight, const caps_tensor *bias, float epsilon, caps_error *err);
/* The sums over the batch and places of dy and of dy (x - mean) / sqrt(var + epsilon). */
CAPS_API caps_status caps_batch_norm_sums(caps_runtime *rt, const caps_tensor *dweight,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *x, const caps_tensor *mean,
    const caps_tensor *var, float epsilon, const caps_tensor *workspace, caps_error *err);
/* dx from such sums over `values` values of each channel, of which mean and var are those too: of
 * x, or of a batch that x is a part of. values 0: mean and var are constants. dx may be dy. */
CAPS_API caps_status caps_batch_norm_input(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dy, const caps_tensor *x, const caps_tensor *mean, const caps_tensor *var,
    const caps_tensor *weight, const caps_tensor *dweight, const caps_tensor *dbias, double values,
    float epsilon, caps_error *err);
/* Both. of_batch: mean and var are those of x, and gradients go through them too; else they are
 * constants. dx may be dy. */
CAPS_API caps_status caps_batch_norm_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dweight, const caps_tensor *dbias, const caps_tensor *dy,
    const caps_tensor *x, const caps_tensor *mean, const caps_tensor *var,
    const caps_tensor *weight, bool of_batch, float epsilon, const caps_tensor *workspace,
    caps_error *err);
/* running = (1 - momentum) running + momentum statistic. */
CAPS_API caps_status caps_batch_norm_update(caps_runtime *rt, const caps_tensor *running,
    const caps_tensor *statistic, float momentum, caps_error *err);

/* ---- lengths, losses, mask ------------------------------------------------------------------ */

/* lengths[b,j] = |v[b,j]|. v: [B,J,D]. */
CAPS_API caps_status caps_lengths_forward(
    caps_runtime *rt, const caps_tensor *lengths, const caps_tensor *v, caps_error *err);

typedef struct caps_margin {
    float positive; /* m+, 0.9 */
    float negative; /* m-, 0.1 */
    float down;     /* lambda, 0.5: weight of absent classes */
} caps_margin;

#define CAPS_MARGIN_DEFAULT ((caps_margin){0.9f, 0.1f, 0.5f})

/* loss[b] = sum_j T max(0, m+ - |v_j|)^2 + lambda (1 - T) max(0, |v_j| - m-)^2, T = (j is one of
 * labels[b]). Equation 4 of the paper, per sample. loss: [B], lengths: [B,J], labels: int32 [B] or
 * [B,L]; a label that is no class means that no class is there. */
CAPS_API caps_status caps_margin_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *lengths, const caps_tensor *labels, const caps_margin *margin,
    caps_error *err);

/* dv[b,j,d] = scale dloss[b]/dv[b,j,d]: overwrites dv. scale is 1/B for the mean of the contract.
 * A capsule of length 0 gets gradient 0. */
CAPS_API caps_status caps_margin_backward(caps_runtime *rt, const caps_tensor *dv,
    const caps_tensor *v, const caps_tensor *lengths, const caps_tensor *labels,
    const caps_margin *margin, float scale, caps_error *err);

/* loss[b] = sum over i != t of max(0, m - (a[b,t] - a[b,i]))^2, t = labels[b], m = margin: the
 * spread loss (equation 3 of Hinton, Sabour, Frosst 2018), per sample. Of several labels the sum is
 * over them as t, each once, and i over the classes that are none of them; a label that is no class
 * has no terms. loss: [B], a: [B,J], labels: int32 [B] or [B,L]. */
CAPS_API caps_status caps_spread_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *a, const caps_tensor *labels, float margin, caps_error *err);
/* da[b,j] = scale dloss[b]/da[b,j]. da may not be a. */
CAPS_API caps_status caps_spread_backward(caps_runtime *rt, const caps_tensor *da,
    const caps_tensor *a, const caps_tensor *labels, float margin, float scale, caps_error *err);

/* best[b] = the first j with the greatest length. best: int32 [B]; or [B,L], L <= J: the L longest,
 * each once, the longest first, of equal ones the first. */
CAPS_API caps_status caps_argmax(
    caps_runtime *rt, const caps_tensor *best, const caps_tensor *lengths, caps_error *err);

/* matched[b,:] = best[b,:] in another order: those that are labels of the sample stand where the
 * label does, the others in their order in the places left. All int32 of one shape, [B] or
 * [B,L]. */
CAPS_API caps_status caps_match(caps_runtime *rt, const caps_tensor *matched,
    const caps_tensor *best, const caps_tensor *labels, caps_error *err);

/* masked[b L + t, j D + d] = v[b,j,d] where j == chosen[b,t], else 0. masked: [B*L, J*D], chosen:
 * int32 [B] (L = 1) or [B,L]. */
CAPS_API caps_status caps_mask_forward(caps_runtime *rt, const caps_tensor *masked,
    const caps_tensor *v, const caps_tensor *chosen, caps_error *err);
/* dv[b,chosen[b,t],:] += dmasked[b L + t, ...]: adds to dv, which the margin loss has written. */
CAPS_API caps_status caps_mask_backward(caps_runtime *rt, const caps_tensor *dv,
    const caps_tensor *dmasked, const caps_tensor *chosen, caps_error *err);

/* sse[b] = sum_p (y[b,p] - x[b,p])^2, unweighted. y, x: [B,P], sse: [B]. */
CAPS_API caps_status caps_sse_forward(caps_runtime *rt, const caps_tensor *sse,
    const caps_tensor *y, const caps_tensor *x, caps_error *err);
/* dy[b,p] = scale * 2 (y - x); scale is 0.0005/B for the contract's loss. */
CAPS_API caps_status caps_sse_backward(caps_runtime *rt, const caps_tensor *dy,
    const caps_tensor *y, const caps_tensor *x, float scale, caps_error *err);

/* x[b,...] *= the mean of weights[labels[b,l]] over l: the loss of every image, or the gradient of
 * any such loss, times the weight of its class. In place. x: [B, ...], weights: [J], labels: int32
 * [B] or [B,L]; a label that is no class weighs 1, and a weight of 1 changes no bit. */
CAPS_API caps_status caps_class_weights_apply(caps_runtime *rt, const caps_tensor *x,
    const caps_tensor *weights, const caps_tensor *labels, caps_error *err);

/* totals[0] += sum_b margin[b]; totals[1] += the sum of sse (0 where it is NULL); totals[2] +=
 * number of b whose best are not its labels, in any order. margin: [B], best, labels: int32 [B] or
 * [B,L], sse: [B*L]. In the order of b. totals: float32 [3]. */
CAPS_API caps_status caps_totals_add(caps_runtime *rt, const caps_tensor *totals,
    const caps_tensor *margin, const caps_tensor *sse, const caps_tensor *best,
    const caps_tensor *labels, caps_error *err);

/* ---- softmax, sigmoid, cross entropies, dropout, scale --------------------------------------- */

/* p[b,j] = exp(z[b,j]) / sum_k exp(z[b,k]), the maximum subtracted. p, z: [B,J]. */
CAPS_API caps_status caps_softmax_forward(
    caps_runtime *rt, const caps_tensor *p, const caps_tensor *z, caps_error *err);

/* loss[b] = -log softmax(z[b])[labels[b]], from the logits. loss: [B], z: [B,J], labels: int32 [B];
 * a label that is no class gives 0. */
CAPS_API caps_status caps_cross_entropy_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *z, const caps_tensor *labels, caps_error *err);
/* dz[b,j] = scale (p[b,j] - (j == labels[b])), p = softmax(z). All [B,J]. */
CAPS_API caps_status caps_cross_entropy_backward(caps_runtime *rt, const caps_tensor *dz,
    const caps_tensor *p, const caps_tensor *labels, float scale, caps_error *err);

/* p = 1 / (1 + exp(-z)). p, z: [B,J]. */
CAPS_API caps_status caps_sigmoid_forward(
    caps_runtime *rt, const caps_tensor *p, const caps_tensor *z, caps_error *err);

/* Of several labels an image: loss[b] = sum_j -(t log p + (1 - t) log(1 - p)), p = sigmoid(z[b,j]),
 * t = 1 where j is a label of b, else 0; from the logits. loss: [B], z: [B,J], labels: int32 [B] or
 * [B,L]; a label that is no class is no true one, one that comes twice counts once. */
CAPS_API caps_status caps_binary_cross_entropy_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *z, const caps_tensor *labels, caps_error *err);
/* dz[b,j] = scale (p[b,j] - t), p = sigmoid(z). Both [B,J]. */
CAPS_API caps_status caps_binary_cross_entropy_backward(caps_runtime *rt, const caps_tensor *dz,
    const caps_tensor *z, const caps_tensor *labels, float scale, caps_error *err);

/* Whether element e of a layer is kept follows from (seed, step, layer, e) alone, by the
 * counter-based generator of src/base/rng.h: on every device the same. */
typedef struct caps_dropout {
    float rate; /* 0 <= rate < 1: how many are dropped */
    uint64_t seed, step;
    uint32_t layer; /* < 2^24 */
    uint64_t first; /* e of the tensor's first element */
} caps_dropout;

/* y = x / (1 - rate) where kept, else 0 (Srivastava et al. 2014, inverted). One count, any shape; y
 * may be x. */
CAPS_API caps_status caps_dropout_forward(caps_runtime *rt, const caps_tensor *y,
    const caps_tensor *x, const caps_dropout *dropout, caps_error *err);
/* dx from dy, with the same draws. dx may be dy. */
CAPS_API caps_status caps_dropout_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dy, const caps_dropout *dropout, caps_error *err);

/* y = factor x. One count, any shape; y may be x. */
CAPS_API caps_status caps_scale(
    caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, float factor, caps_error *err);

/* ---- optimizers ----------------------------------------------------------------------------- */

/* Kingma and Ba 2015, bias-corrected; t counts from 1. */
typedef struct caps_adam {
    float learning_rate, beta1, beta2, epsilon;
    uint64_t t;
} caps_adam;

/* w, m, v, g: the same count. Where a g is not finite, flag[0] (int32) is set to 1; the caller
 * clears it. m_hat = m / (1 - beta1^t), v_hat likewise;
 * w -= learning_rate m_hat / (sqrt(v_hat) + epsilon). */
CAPS_API caps_status caps_adam_step(caps_runtime *rt, const caps_tensor *w, const caps_tensor *m,
    const caps_tensor *v, const caps_tensor *flag, const caps_tensor *g, const caps_adam *adam,
    caps_error *err);

/* w -= learning_rate g; flag as above. */
CAPS_API caps_status caps_sgd_step(caps_runtime *rt, const caps_tensor *w, const caps_tensor *flag,
    const caps_tensor *g, float learning_rate, caps_error *err);

/* average += rate (w - average), rate 0 to 1: the exponential moving average of the weights that
 * decays by 1 - rate a step. average, w: the same count. */
CAPS_API caps_status caps_average_step(caps_runtime *rt, const caps_tensor *average,
    const caps_tensor *w, float rate, caps_error *err);

/* The elements of a and b, of one count, change places. */
CAPS_API caps_status caps_swap(
    caps_runtime *rt, const caps_tensor *a, const caps_tensor *b, caps_error *err);

#ifdef __cplusplus
}
#endif
#endif
