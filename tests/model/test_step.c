/* Steps that are enqueued ahead: nothing waits, and every step reports of itself alone. */
#include <math.h>
#include <unistd.h>

#include "launch.h"
#include "model_support.h"
#include "step.h"

typedef struct batch {
    float *images;
    int32_t labels[8];
} batch;

static batch batch_of(uint64_t seed)
{
    batch made = {.images = floats(8 * PIXELS, seed, 0, 1)};
    for (size_t i = 0; i < 8; i++)
        made.labels[i] = (int32_t)((i + seed) % CLASSES);
    return made;
}

/* The step as the trainer enqueues it. */
static void enqueue(caps_model *m, const batch *b, size_t n, float rate, uint64_t step)
{
    caps_error err = {0};
    caps_step_begin(m);
    test_ok(
        caps_model_accumulate(m, &(caps_images){n, b->images, b->labels, NULL}, true, NULL, &err));
    test_ok(caps_model_adam(m, rate, step, &err));
    test_ok(caps_step_end(m, step % CAPS_STEPS_AT_ONCE, &err));
}

static caps_step_report take(caps_model *m, uint64_t step)
{
    caps_error err = {0};
    caps_step_report report;
    test_ok(caps_step_wait(m, step % CAPS_STEPS_AT_ONCE, &report, &err));
    return report;
}

/* The device is held up before the first command: whoever waits for it here waits for ever. */
START_TEST(nothing_in_a_step_waits)
{
    caps_error err = {0};
    caps_runtime *rt = families[_i];
    cl_command_queue queue = caps_runtime_queue(rt);
    cl_int code = CL_SUCCESS;
    if (caps_is_simulated(rt)) /* its uploads wait, on purpose */
        return;
    caps_model *m = make(rt, &train8);
    batch one = batch_of(1), two = batch_of(2);
    /* Kernels are built and buffers grow now. */
    enqueue(m, &one, 8, 0, 1);
    take(m, 1);
    cl_event gate = clCreateUserEvent(caps_runtime_context(rt), &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    ck_assert_int_eq(clEnqueueBarrierWithWaitList(queue, 1, &gate, NULL), CL_SUCCESS);
    const uint64_t bytes = caps_runtime_bytes(rt);
    alarm(120); /* ends the program */
    enqueue(m, &one, 8, 1e-3f, 1);
    enqueue(m, &two, 5, 1e-3f, 2);
    ck_assert_uint_eq(caps_runtime_bytes(rt), bytes);
    ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
    caps_step_report first = take(m, 1), second = take(m, 2);
    alarm(0);
    ck_assert(first.finite && second.finite);
    clReleaseEvent(gate);

    /* The same, one after the other. */
    float *ahead = malloc(caps_model_flat_count(m) * sizeof *ahead);
    float *after = malloc(caps_model_flat_count(m) * sizeof *after);
    test_ok(caps_model_get_parameters(m, ahead, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    enqueue(m, &one, 8, 0, 1); /* the moments of the first step up there, which moved nothing */
    take(m, 1);
    enqueue(m, &one, 8, 1e-3f, 1);
    caps_step_report again = take(m, 1);
    ck_assert(memcmp(&again.totals, &first.totals, sizeof again.totals) == 0);
    enqueue(m, &two, 5, 1e-3f, 2);
    again = take(m, 2);
    ck_assert(memcmp(&again.totals, &second.totals, sizeof again.totals) == 0);
    test_ok(caps_model_get_parameters(m, after, &err));
    ck_assert(memcmp(ahead, after, caps_model_flat_count(m) * sizeof *after) == 0);
    free(ahead);
    free(after);
    free(one.images);
    free(two.images);
    caps_model_free(m);
}
END_TEST

/* Labels that lie behind the images come along with them, whatever the number of images. */
START_TEST(labels_behind_images_are_the_same)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    batch one = batch_of(1);
    float *together = malloc(8 * (PIXELS + 1) * sizeof *together);
    for (size_t n = 8; n > 0; n /= 3) {
        int32_t *behind = (void *)(together + n * PIXELS);
        memcpy(together, one.images, n * PIXELS * sizeof *together);
        memcpy(behind, one.labels, n * sizeof *behind);
        test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
        enqueue(m, &one, n, 1e-3f, 1);
        const caps_model_totals apart = take(m, 1).totals;
        for (size_t i = 0; i < n; i++) /* others, which are not to stay */
            one.labels[i] = (one.labels[i] + 1) % CLASSES;
        enqueue(m, &one, n, 0, 2);
        take(m, 2);
        test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
        caps_step_begin(m);
        test_ok(
            caps_model_accumulate(m, &(caps_images){n, together, behind, NULL}, true, NULL, &err));
        test_ok(caps_step_end(m, 1, &err));
        const caps_model_totals same = take(m, 1).totals;
        ck_assert(memcmp(&apart, &same, sizeof same) == 0);
    }
    free(one.images);
    free(together);
    caps_model_free(m);
}
END_TEST

/* What is not finite is named as it was at the end of its own step, whatever ran since. */
START_TEST(a_bad_step_is_named_while_the_next_runs)
{
    static const struct {
        const char *parameter, *where;
    } cases[] = {{"conv1.weight", "conv1"}, {"class_caps.weight", "class_caps"},
        {"decoder.fc2.bias", "decoder.fc2"}};
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    const size_t n = caps_model_flat_count(m);
    float *good = malloc(n * sizeof *good), *bad = malloc(n * sizeof *bad);
    batch one = batch_of(1), two = batch_of(2);
    test_ok(caps_model_get_parameters(m, good, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t p = 0;
        while (strcmp(caps_model_parameter(m, p)->name, cases[i].parameter) != 0)
            p++;
        memcpy(bad, good, n * sizeof *bad);
        bad[caps_model_parameter(m, p)->first] = NAN;
        test_ok(caps_model_set_parameters(m, good, &err));
        enqueue(m, &two, 8, 0, 1);
        test_ok(caps_model_set_parameters(m, bad, &err));
        enqueue(m, &one, 8, 1e-3f, 2);
        ck_assert(take(m, 1).finite);  /* the one before was well */
        enqueue(m, &two, 3, 1e-3f, 3); /* all its values are NaN, from conv1 on */
        caps_step_report report = take(m, 2);
        ck_assert(!report.finite);
        ck_assert_str_eq(report.where, cases[i].where);
        report = take(m, 3);
        ck_assert(!report.finite);
        ck_assert_str_eq(report.where, "conv1");
        test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err)); /* the moments too */
    }
    /* A step after that is well again. */
    enqueue(m, &one, 8, 1e-3f, 4);
    ck_assert(take(m, 4).finite);

    /* A model that is freed with steps on their way. */
    enqueue(m, &one, 8, 1e-3f, 5);
    enqueue(m, &two, 8, 1e-3f, 6);
    caps_model_free(m);
    free(one.images);
    free(two.images);
    free(good);
    free(bad);
}
END_TEST

/* ---- EM routing: the iteration is named too ---- */

/* lambda 1000: z of iteration t is 1000 (1 - 0.95^(t + 1)) (beta_a - cost). */
#define EM_ROUTING "\"routing\":{\"kind\":\"em\",\"iterations\":3,\"lambda\":1000}"
#define EM_SPEC_WITH(decoder)                                                                      \
    "{\"input\":[2,11,9],\"classes\":5,\"layers\":["                                               \
    "{\"kind\":\"conv\",\"channels\":3,\"kernel\":3,\"stride\":2},"                                \
    "{\"kind\":\"matrix_primary\",\"name\":\"first\",\"types\":2},"                                \
    "{\"kind\":\"matrix_conv\",\"name\":\"low\",\"types\":3,\"kernel\":2,\"stride\":1," EM_ROUTING \
    "},"                                                                                           \
    "{\"kind\":\"matrix_caps\",\"name\":\"top\",\"capsules\":5," EM_ROUTING "}]" decoder "}"
#define EM_SPEC EM_SPEC_WITH("")

enum { EM_MOST = 40 };

static caps_model *make_em(caps_runtime *rt)
{
    static const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = EM_MOST, .training = true, .adam = true};
    caps_error err = {0};
    caps_model *m = NULL;
    OWNED_SPEC(spec) = spec_of(EM_SPEC);
    test_ok(caps_model_create(&m, rt, spec, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
    return m;
}

/* Training on images of which one may have a pixel of `bright`; then what is not finite, looked for
 * in all that the forward left. */
static caps_step_report step_em(caps_model *m, size_t n, size_t image, float bright, char name[64])
{
    caps_error err = {0};
    int32_t labels[EM_MOST];
    float *images = floats(n * PIXELS, 4, 0, 1);
    for (size_t i = 0; i < n; i++)
        labels[i] = (int32_t)(i % CLASSES);
    images[image * PIXELS + 30] = bright;
    caps_step_begin(m);
    test_ok(caps_model_accumulate(m, &(caps_images){n, images, labels, NULL}, true, NULL, &err));
    test_ok(caps_step_end(m, 1, &err));
    const caps_step_report report = take(m, 1);
    test_ok(caps_model_first_not_finite(m, name, 64, &err));
    free(images);
    return report;
}

START_TEST(iterations_of_em_are_named)
{
    static const struct {
        const char *parameter, *where;
        float value; /* of all its elements */
        bool ends;   /* the loss or a gradient is not finite either */
    } cases[] = {
        {"low.beta_a", "iteration 1 of low", -1e37f, true},
        {"low.beta_a", "iteration 2 of low", -5e36f, true},
        {"low.beta_a", "iteration 3 of low", -2.6e36f, false}, /* sigmoid(-inf) is 0 */
        {"top.beta_a", "iteration 2 of top", -5e36f, true},
        {"top.beta_u", "iteration 1 of top", NAN, true},
        {"low.weight", "iteration 1 of low", INFINITY, true},
        {"conv1.bias", "conv1", NAN, true},
    };
    caps_error err = {0};
    char name[64];
    caps_model *m = make_em(families[_i]);
    const size_t n = caps_model_flat_count(m);
    float *good = malloc(n * sizeof *good), *bad = malloc(n * sizeof *bad);
    test_ok(caps_model_get_parameters(m, good, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const caps_parameter *p = caps_model_parameter(m, 0);
        for (size_t k = 1; strcmp(p->name, cases[i].parameter) != 0; k++)
            p = caps_model_parameter(m, k);
        memcpy(bad, good, n * sizeof *bad);
        for (size_t x = 0; x < caps_tensor_count(&p->value); x++)
            bad[p->first + x] = cases[i].value;
        test_ok(caps_model_set_parameters(m, bad, &err));
        const caps_step_report report = step_em(m, 20, 0, 0.5f, name);
        ck_assert_str_eq(name, cases[i].where);
        ck_assert(report.finite == !cases[i].ends);
        if (cases[i].ends)
            ck_assert_str_eq(report.where, cases[i].where);
    }
    /* The state of a smaller batch lies elsewhere, and what a larger one left is nobody's. */
    test_ok(caps_model_set_parameters(m, bad, &err));
    ck_assert(!step_em(m, EM_MOST, 0, 0.5f, name).finite);
    test_ok(caps_model_set_parameters(m, good, &err));
    for (size_t b = 1; b <= EM_MOST; b += 13) {
        ck_assert(step_em(m, b, 0, 0.5f, name).finite);
        ck_assert_str_eq(name, "nothing");
        ck_assert(!step_em(m, b, b - 1, 1e25f, name).finite); /* squares of votes overflow */
        ck_assert_str_eq(name, "iteration 1 of low");
    }
    free(good);
    free(bad);
    caps_model_free(m);
}
END_TEST

/* ---- weight decay ---- */

enum { DECAY_STEPS = 3 };

/* One of Adam's steps on a number with gradient g, as Kingma and Ba have it. */
static double adam_by_hand(double w, double g, double *m1, double *m2, int t, double lr)
{
    *m1 = 0.9 * *m1 + 0.1 * g;
    *m2 = 0.999 * *m2 + 0.001 * g * g;
    const double mean = *m1 / (1 - pow(0.9, t)), square = *m2 / (1 - pow(0.999, t));
    return w - lr * mean / (sqrt(square) + 1e-8);
}

/* Weights, of convolutions, primary capsules, matrices of votes and the decoder; no bias, no beta. */
static bool decays(const char *name)
{
    static const char *const yes[] = {"conv1.weight", "first.pose.weight",
        "first.activation.weight", "low.weight", "top.weight", "decoder.fc1.weight",
        "decoder.fc2.weight"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (strcmp(name, yes[i]) == 0)
            return true;
    return false;
}

/* The gradients as they are before a step, then the step, against the same in double. */
static void step_decayed(caps_model *m, double decay, bool adam, int t, double *moments)
{
    const double lr = 0.01;
    caps_error err = {0};
    const size_t n = caps_model_flat_count(m);
    int32_t labels[8];
    float *images, *w = parameters_of(m);
    const caps_images some = random_batch((uint64_t)t, 7, &images, labels);
    test_ok(caps_model_set_batch(m, &some, &err));
    test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
    test_ok(caps_model_backward(m, &err));
    float *g = gradients(m);
    test_ok(adam ? caps_model_adam(m, (float)lr, (uint64_t)t, &err)
                 : caps_model_sgd(m, (float)lr, &err));
    float *after = parameters_of(m);
    size_t decayed = 0, all = 0;
    for (size_t k = 0; all < n; k++) {
        const caps_parameter *p = caps_model_parameter(m, k);
        for (size_t i = p->first; i < p->first + p->count; i++, all++) {
            const double by = (double)g[i] + (decays(p->name) ? decay * (double)w[i] : 0);
            const double need =
                adam ? adam_by_hand((double)w[i], by, &moments[2 * i], &moments[2 * i + 1], t, lr)
                     : (double)w[i] - lr * by;
            ck_assert_msg(fabs((double)after[i] - need) < 1e-6, "%s: %g, need %.9g", p->name,
                (double)after[i], need);
            decayed += decay > 0 && fabs(decay * (double)w[i] * lr) > 1e-4;
        }
    }
    ck_assert(decay > 0 ? decayed > n / 10 : decayed == 0); /* it would show */
    free(images);
    free(w);
    free(g);
    free(after);
}

START_TEST(weight_decay_is_that_of_a_step_by_hand)
{
    static const double decays_by[] = {0, 0.5};
    caps_error err = {0};
    OWNED_SPEC(spec) = spec_of(EM_SPEC_WITH(",\"decoder\":{\"hidden\":[9]}"));
    for (int adam = 0; adam < 2; adam++)
        for (size_t i = 0; i < 2; i++) {
            const caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 8,
                .training = true, .adam = adam, .weight_decay = decays_by[i]};
            caps_model *m = NULL;
            test_ok(caps_model_create(&m, families[_i], spec, &options, &err));
            test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
            double *moments = test_zeros(2 * caps_model_flat_count(m));
            for (int t = 1; t <= DECAY_STEPS; t++)
                step_decayed(m, decays_by[i], adam, t, moments);
            free(moments);
            caps_model_free(m);
        }
}
END_TEST

/* A step from the same gradients: at once, or in parts whose bounds lie anywhere in a parameter. */
static float *step_in_parts(caps_runtime *rt, bool adam, const size_t *bounds, size_t parts)
{
    caps_error err = {0};
    caps_model_options options = train8;
    options.weight_decay = 0.25;
    options.lr_multipliers = "primary=0.25,decoder.fc1=0.5";
    caps_model *m = make(rt, &options);
    batch one = batch_of(1);
    test_ok(caps_model_gradients(m, &(caps_images){8, one.images, one.labels, NULL}, &err));
    for (size_t i = 0; i < parts; i++) {
        const size_t first = bounds[i], count = bounds[i + 1] - first;
        test_ok(adam ? caps_model_adam_part(m, 0.01f, 1, first, count, &err)
                     : caps_model_sgd_part(m, 0.01f, first, count, &err));
    }
    float *w = parameters_of(m);
    free(one.images);
    caps_model_free(m);
    return w;
}

START_TEST(a_step_in_parts_is_the_whole_step)
{
    caps_model *m = make(families[_i], &train8);
    const size_t n = caps_model_trained_count(m), flat = caps_model_flat_count(m);
    const size_t whole[] = {0, n};
    const size_t parts[] = {0, 1, 1, 18, n / 3, n / 3 + 7, n / 2, n - 3, n};
    float *before = parameters_of(m);
    for (int adam = 0; adam < 2; adam++) {
        float *want = step_in_parts(families[_i], adam, whole, 1);
        float *have = step_in_parts(families[_i], adam, parts, 8);
        ck_assert(memcmp(want, have, flat * sizeof *want) == 0);
        ck_assert(memcmp(want, before, flat * sizeof *want) != 0);
        free(want);
        free(have);
    }
    free(before);
    caps_model_free(m);
}
END_TEST

/* Two micro-batches: the first has the fault, the second takes its tensors. */
START_TEST(a_bad_micro_batch_is_named)
{
    caps_error err = {0};
    const caps_model_options halves = {CAPS_OPTIONS(caps_model_options), .max_batch = 8,
        .training = true, .adam = true, .accumulate = true, .micro_batch = 4};
    caps_model *m = make(families[_i], &halves);
    for (size_t image = 0; image < 8; image += 7) {
        batch one = batch_of(1);
        one.images[image * PIXELS + 5] = INFINITY;
        caps_step_begin(m);
        test_ok(caps_model_accumulate(
            m, &(caps_images){8, one.images, one.labels, NULL}, true, NULL, &err));
        test_ok(caps_model_adam(m, 1e-3f, 1, &err));
        test_ok(caps_step_end(m, 0, &err));
        caps_step_report report;
        test_ok(caps_step_wait(m, 0, &report, &err));
        ck_assert(!report.finite);
        ck_assert_str_eq(report.where, "input");
        test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, 3, &err));
        free(one.images);
    }
    batch one = batch_of(1);
    caps_step_begin(m);
    test_ok(caps_model_accumulate(
        m, &(caps_images){8, one.images, one.labels, NULL}, true, NULL, &err));
    test_ok(caps_model_adam(m, 1e-3f, 1, &err));
    test_ok(caps_step_end(m, 1, &err));
    ck_assert(take(m, 1).finite);
    free(one.images);
    caps_model_free(m);
}
END_TEST

/* Each image's loss is a number, their sum is none: nothing but the loss can be named. */
START_TEST(a_sum_that_overflows)
{
    caps_error err = {0};
    caps_model *m = make(families[_i], &train8);
    const size_t n = caps_model_flat_count(m);
    float *flat = calloc(n, sizeof *flat);
    batch one = batch_of(1);
    for (size_t i = 0; i < 8 * PIXELS; i++)
        one.images[i] = 1.1e18f; /* squared and summed over the pixels: below the largest float */
    test_ok(caps_model_set_parameters(m, flat, &err));
    enqueue(m, &one, 8, 0, 1);
    caps_step_report report = take(m, 1);
    ck_assert(!report.finite);
    ck_assert_str_eq(report.where, "the loss");
    free(flat);
    free(one.images);
    caps_model_free(m);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("steps");
    TCase *tc = families_case(s, "steps");
    families_add(tc, nothing_in_a_step_waits);
    families_add(tc, labels_behind_images_are_the_same);
    families_add(tc, a_bad_step_is_named_while_the_next_runs);
    families_add(tc, iterations_of_em_are_named);
    families_add(tc, weight_decay_is_that_of_a_step_by_hand);
    families_add(tc, a_step_in_parts_is_the_whole_step);
    families_add(tc, a_bad_micro_batch_is_named);
    families_add(tc, a_sum_that_overflows);
    return s;
}
