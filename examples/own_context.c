/* own_context.c: capsule routing in a program that has its own OpenCL objects.
 *
 * The program makes the context, the queue and one buffer, and capscl enqueues its kernels there.
 * Every array is a part of that buffer: a caps_tensor is a buffer, an offset and a shape.
 *
 * The capsules' lengths and one gradient are compared with plain C.
 *
 *     cc own_context.c $(pkg-config --cflags --libs capscl) -lm
 */
#include <math.h>
#include <stdio.h>

#include <capscl/capscl.h> /* and with it CL/cl.h */

/* Samples; input capsules and their dimension; output capsules and their dimension; routing
 * iterations. */
enum { B = 2, I = 30, K = 4, J = 3, D = 5, ROUNDS = 3 };

#define MOST_ELEMENTS 65536

/* ---- the reference in plain C, for one sample ----------------------------------------------- */

/* v[J][D] from u[I][K] and w[I][J][D][K]. */
static void route(double v[J][D], double u[I][K], const float *w)
{
    static double votes[I][J][D], b[I][J];
    for (int i = 0; i < I; i++)
        for (int j = 0; j < J; j++) {
            b[i][j] = 0;
            for (int d = 0; d < D; d++) {
                votes[i][j][d] = 0;
                for (int k = 0; k < K; k++)
                    votes[i][j][d] += (double)w[((i * J + j) * D + d) * K + k] * u[i][k];
            }
        }
    for (int round = 0; round < ROUNDS; round++) {
        double s[J][D] = {{0}};
        for (int i = 0; i < I; i++) {
            double sum = 0;
            for (int j = 0; j < J; j++)
                sum += exp(b[i][j]);
            for (int j = 0; j < J; j++)
                for (int d = 0; d < D; d++)
                    s[j][d] += exp(b[i][j]) / sum * votes[i][j][d];
        }
        for (int j = 0; j < J; j++) {
            double square = 0;
            for (int d = 0; d < D; d++)
                square += s[j][d] * s[j][d];
            for (int d = 0; d < D; d++)
                v[j][d] = s[j][d] * sqrt(square) / (1 + square);
        }
        for (int i = 0; i < I; i++)
            for (int j = 0; j < J; j++)
                for (int d = 0; d < D; d++)
                    b[i][j] += votes[i][j][d] * v[j][d];
    }
}

/* The sum over j, d of dv[j][d] v[j][d]. The backward pass computes its gradient. */
static double weighted(double u[I][K], const float *w, const float *dv)
{
    double v[J][D], sum = 0;
    route(v, u, w);
    for (int n = 0; n < J * D; n++)
        sum += (double)dv[n] * v[n / D][n % D];
    return sum;
}

/* ---- the program's own OpenCL objects ------------------------------------------------------- */

typedef struct machine {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_mem memory;
    size_t used; /* elements of memory that are in use */
} machine;

static int complain(const char *what, int code)
{
    fprintf(stderr, "own_context: %s: %s\n", what, caps_cl_error_name(code));
    return 1;
}

/* The first device of the first platform that has one. */
static int open_machine(machine *m)
{
    cl_platform_id platforms[16];
    cl_uint n = 0;
    cl_int code = clGetPlatformIDs(16, platforms, &n);
    for (cl_uint p = 0; code == CL_SUCCESS && p < n && p < 16 && !m->device; p++)
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 1, &m->device, NULL) != CL_SUCCESS)
            m->device = NULL;
    if (!m->device)
        return complain("no OpenCL device", code == CL_SUCCESS ? CL_DEVICE_NOT_FOUND : code);
    m->context = clCreateContext(NULL, 1, &m->device, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return complain("clCreateContext", code);
    m->queue = clCreateCommandQueue(m->context, m->device, 0, &code);
    if (code != CL_SUCCESS)
        return complain("clCreateCommandQueue", code);
    m->memory =
        clCreateBuffer(m->context, CL_MEM_READ_WRITE, MOST_ELEMENTS * sizeof(float), NULL, &code);
    return code == CL_SUCCESS ? 0 : complain("clCreateBuffer", code);
}

static void close_machine(machine *m)
{
    if (m->memory)
        clReleaseMemObject(m->memory);
    if (m->queue)
        clReleaseCommandQueue(m->queue);
    if (m->context)
        clReleaseContext(m->context);
}

/* The next part of the buffer as a tensor. Every offset is allowed. */
static caps_tensor take(machine *m, int ndim, const size_t *shape)
{
    caps_tensor t = caps_tensor_wrap(m->memory, m->used, CAPS_F32, ndim, shape);
    m->used += caps_tensor_count(&t);
    return t;
}

/* ---- routing on them ------------------------------------------------------------------------ */

static float u[B][I][K], w[I][J][D][K], dv[B][J][D]; /* inputs */
static float lengths[B][J], du[B][I][K];             /* results */

static caps_status compute(caps_runtime *rt, machine *m, caps_error *err)
{
    const caps_routing routing = {.iterations = ROUNDS, .grad = CAPS_ROUTING_GRAD_FULL};
    const size_t capsules[] = {B, J, D}, many[] = {ROUNDS, B, J, D};
    const size_t scratch = caps_routing_scratch(B, I, J, D, &routing);
    m->used = 3; /* an odd offset, as if other data stood before */
    caps_tensor tu = take(m, 3, (size_t[]){B, I, K}), tw = take(m, 4, (size_t[]){I, J, D, K});
    caps_tensor votes = take(m, 4, (size_t[]){B, I, J, D}), v = take(m, 3, capsules);
    caps_tensor length = take(m, 2, (size_t[]){B, J}), tdv = take(m, 3, capsules);
    caps_tensor dvotes = take(m, 4, votes.shape), tdu = take(m, 3, tu.shape);
    caps_tensor dw = take(m, 4, tw.shape);
    caps_routing_state state = {.couplings = take(m, 4, (size_t[]){ROUNDS, B, I, J}),
        .s = take(m, 4, many),
        .v = take(m, 4, many),
        .scratch = take(m, 1, &scratch)};
    caps_status status;
    if (m->used > MOST_ELEMENTS) {
        snprintf(err->message, sizeof err->message, "%zu elements needed, the buffer has %d",
            m->used, MOST_ELEMENTS);
        return CAPS_ERR_ARGUMENT;
    }
    /* The operations only enqueue. A download waits for everything before it. */
    if ((status = caps_tensor_upload(rt, &tu, u, err)) != CAPS_OK ||
        (status = caps_tensor_upload(rt, &tw, w, err)) != CAPS_OK ||
        (status = caps_tensor_upload(rt, &tdv, dv, err)) != CAPS_OK ||
        (status = caps_votes_forward(rt, &votes, &tu, &tw, err)) != CAPS_OK ||
        (status = caps_routing_forward(rt, &v, &state, &votes, NULL, &routing, err)) != CAPS_OK ||
        (status = caps_lengths_forward(rt, &length, &v, err)) != CAPS_OK ||
        (status = caps_routing_backward(rt, &dvotes, NULL, &tdv, &state, &votes, &routing, err)) !=
            CAPS_OK ||
        (status = caps_votes_backward(rt, &tdu, &dw, &dvotes, &tu, &tw, err)) != CAPS_OK ||
        (status = caps_tensor_download(rt, &length, lengths, err)) != CAPS_OK)
        return status;
    return caps_tensor_download(rt, &tdu, du, err);
}

static void fill(float *x, int n, float scale, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = scale * ((float)(seed >> 8) / 8388608.0f - 1);
    }
}

/* Compares the last sample with plain C and prints both. Returns 1 if they differ. */
static int compare(void)
{
    double v[J][D], inputs[I][K], off = 0;
    const double step = 1e-5;
    for (int n = 0; n < I * K; n++)
        inputs[n / K][n % K] = (double)u[B - 1][n / K][n % K];
    route(v, inputs, &w[0][0][0][0]);
    for (int j = 0; j < J; j++) {
        double square = 0;
        for (int d = 0; d < D; d++)
            square += v[j][d] * v[j][d];
        printf("capsule %d: length %.6f, in plain C %.6f\n", j, (double)lengths[B - 1][j],
            sqrt(square));
        off = fmax(off, fabs((double)lengths[B - 1][j] - sqrt(square)) / sqrt(square));
    }
    inputs[0][0] += step;
    double above = weighted(inputs, &w[0][0][0][0], &dv[B - 1][0][0]);
    inputs[0][0] -= 2 * step;
    double below = weighted(inputs, &w[0][0][0][0], &dv[B - 1][0][0]);
    double slope = (above - below) / (2 * step);
    printf("gradient: %.6f, by differences in plain C %.6f\n", (double)du[B - 1][0][0], slope);
    if (off <= 1e-5 && fabs((double)du[B - 1][0][0] - slope) <= 1e-4 * fabs(slope))
        return 0;
    fprintf(stderr, "own_context: the device and plain C differ\n");
    return 1;
}

int main(void)
{
    machine m = {0};
    caps_error err = {0};
    caps_runtime *rt = NULL;
    int failed = open_machine(&m);
    fill(&u[0][0][0], B * I * K, 0.6f, 1);
    fill(&w[0][0][0][0], I * J * D * K, 0.8f, 2);
    fill(&dv[0][0][0], B * J * D, 1.0f, 3);
    if (!failed && (caps_runtime_create_from(&rt, m.context, m.device, m.queue, NULL, &err) ||
                       compute(rt, &m, &err))) {
        fprintf(stderr, "own_context: %s\n", err.message);
        failed = 1;
    }
    if (!failed) {
        printf("%s, kernels for %s\n", caps_runtime_device(rt)->name,
            caps_family_name(caps_runtime_family(rt)));
        failed = compare();
    }
    caps_runtime_free(rt);
    close_machine(&m);
    return failed;
}
