/* model_support.h: a small model, its batches and its gradients. */
#ifndef CAPS_TEST_MODEL_SUPPORT_H
#define CAPS_TEST_MODEL_SUPPORT_H

#include "../ops/families.h"

#define SPEC                                                                                       \
    "{\"input\":[2,11,9],\"classes\":5,\"conv1\":{\"channels\":6,\"kernel\":4,\"stride\":1},"      \
    "\"primary\":{\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2},"                               \
    "\"class_caps\":{\"dim\":7,\"iterations\":3,\"bias\":true},\"decoder\":{\"hidden\":[10]}}"

enum { PIXELS = 2 * 11 * 9, CLASSES = 5 };

static const caps_model_options train8 = {
    CAPS_OPTIONS(caps_model_options), .max_batch = 8, .training = true, .adam = true};

static inline caps_model_spec *spec_of(const char *json)
{
    caps_error err = {0};
    caps_model_spec *spec;
    test_ok(caps_model_spec_parse(&spec, json, "test", &err));
    return spec;
}

static inline void spec_cleanup(caps_model_spec **spec)
{
    caps_model_spec_free(*spec);
}

/* A variable of this name that is freed with its block. */
#define OWNED_SPEC(name) __attribute__((cleanup(spec_cleanup))) caps_model_spec *name

static inline caps_model *make(caps_runtime *rt, const caps_model_options *options)
{
    caps_error err = {0};
    caps_model *m = NULL;
    caps_model_spec *spec = spec_of(SPEC);
    test_ok(caps_model_create(&m, rt, spec, options, &err));
    caps_model_spec_free(spec);
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    return m;
}

/* A result of the model as doubles, freed with free(); compared; as it is. */
static inline double *output_of(const caps_model *m, const char *name)
{
    const caps_tensor t = caps_model_output(m, name);
    ck_assert_msg(t.buffer != NULL, "no %s", name);
    return test_download(&t);
}

static inline void expect_output(
    const caps_model *m, const char *name, const double *need, double tolerance, const char *what)
{
    const caps_tensor t = caps_model_output(m, name);
    ck_assert_msg(t.buffer != NULL, "no %s", name);
    test_expect(&t, need, tolerance, what);
}

static inline caps_status download_output(
    const caps_model *m, const char *name, void *host, caps_error *err)
{
    const caps_tensor t = caps_model_output(m, name);
    return caps_tensor_download(caps_model_get_runtime(m), &t, host, err);
}

static inline float *floats(size_t n, uint64_t seed, double lo, double hi)
{
    double *wide = test_random(n, seed, lo, hi);
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)wide[i];
    free(wide);
    return values;
}

static inline void set_batch(caps_model *m, size_t b, bool labelled)
{
    caps_error err = {0};
    int32_t labels[8];
    float *images = floats(b * PIXELS, 5, 0, 1);
    for (size_t i = 0; i < b; i++)
        labels[i] = (int32_t)(i % CLASSES);
    test_ok(
        caps_model_set_batch(m, &(caps_images){b, images, labelled ? labels : NULL, NULL}, &err));
    free(images);
}

static inline float *gradients(caps_model *m)
{
    caps_error err = {0};
    float *flat = malloc(caps_model_flat_count(m) * sizeof *flat);
    test_ok(caps_model_get_gradients(m, flat, &err));
    return flat;
}

/* b images, drawn from seed, and their labels; *images is freed with free(). */
static inline caps_images random_batch(uint64_t seed, size_t b, float **images, int32_t *labels)
{
    *images = floats(b * PIXELS, seed, 0, 1);
    for (size_t i = 0; i < b; i++)
        labels[i] = (int32_t)((i + seed) % CLASSES);
    return (caps_images){b, *images, labels, NULL};
}

static inline float *parameters_of(caps_model *m)
{
    caps_error err = {0};
    float *flat = malloc(caps_model_flat_count(m) * sizeof *flat);
    test_ok(caps_model_get_parameters(m, flat, &err));
    return flat;
}

/* The parameters of a layer that has costs are those of matrix capsules. */
static inline bool is_of_poses(const caps_model *m, size_t i)
{
    const caps_parameter *p = caps_model_parameter(m, i);
    const char *dot = strrchr(p->name, '.');
    const caps_parameter *next =
        i + 1 < caps_model_parameter_count(m) ? caps_model_parameter(m, i + 1) : NULL;
    return strcmp(dot, ".weight") == 0 && next && strcmp(strrchr(next->name, '.'), ".beta_u") == 0;
}

/* Matrices of poses begin near the identity, where M W is W M and routing has nothing to part: drawn
 * anew in `flat`, between -most and most. */
static inline void draw_matrices(const caps_model *m, float *flat, double most)
{
    for (size_t i = 0; i < caps_model_parameter_count(m); i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        double *random = test_random(p->count, 43 + i, -most, most);
        for (size_t e = 0; is_of_poses(m, i) && e < p->count; e++)
            flat[p->first + e] = (float)random[e];
        free(random);
    }
}

#endif
