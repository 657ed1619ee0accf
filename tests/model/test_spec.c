/* Model specs: what is taken, what is refused and with which words, and formatting. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "layer.h"
#include "support.h"

#define CONV    "\"conv1\":{\"channels\":6,\"kernel\":5,\"stride\":1}"
#define PRIMARY "\"primary\":{\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2}"
#define CLASSES "\"class_caps\":{\"dim\":7,\"iterations\":3}"
#define HEAD    "{\"input\":[2,14,11],\"classes\":5,"
#define GOOD    HEAD CONV "," PRIMARY "," CLASSES "}"
#define LISTED                                                                                     \
    "\"layers\":[{\"kind\":\"conv\",\"name\":\"conv1\",\"channels\":6,\"kernel\":5},"              \
    "{\"kind\":\"primary_caps\",\"name\":\"primary\",\"types\":3,\"dim\":4,\"kernel\":3,"          \
    "\"stride\":2},{\"kind\":\"caps\",\"name\":\"class_caps\",\"capsules\":5,\"dim\":7,"           \
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":3}}],\"decoder\":null}"
#define STACK                                                                                      \
    "{\"input\":[3,15,18],\"classes\":6,\"layers\":["                                              \
    "{\"kind\":\"conv\",\"name\":\"conv1\",\"channels\":7,\"kernel\":3,\"padding\":1},"            \
    "{\"kind\":\"conv\",\"name\":\"conv2\",\"channels\":9,\"kernel\":5,\"stride\":2,"              \
    "\"activation\":\"none\"},"                                                                    \
    "{\"kind\":\"primary_caps\",\"name\":\"primary\",\"types\":3,\"dim\":5,\"kernel\":3,"          \
    "\"stride\":1},"                                                                               \
    "{\"kind\":\"caps\",\"name\":\"middle\",\"capsules\":11,\"dim\":6,"                            \
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":2}},"                                        \
    "{\"kind\":\"caps\",\"name\":\"class_caps\",\"capsules\":6,\"dim\":8,"                         \
    "\"routing\":{\"kind\":\"dynamic\",\"iterations\":3}}],"                                       \
    "\"decoder\":{\"hidden\":[13]}}"

static void spec_cleanup(caps_model_spec **spec)
{
    caps_model_spec_free(*spec);
}
#define OWNED_SPEC(name) __attribute__((cleanup(spec_cleanup))) caps_model_spec *name

static caps_model_spec *parse(const char *json)
{
    caps_error err = {0};
    caps_model_spec *spec;
    test_ok(caps_model_spec_parse(&spec, json, "net.json", &err));
    return spec;
}

/* The field as JSON text is this; NULL: no layer has it. */
static void expect_field(
    const caps_model_spec *spec, const char *kind, const char *field, const char *expected)
{
    char *text = caps_model_spec_get(spec, kind, field);
    ck_assert_msg(!text == !expected, "%s.%s: %s", kind, field, text ? text : "none");
    if (text)
        ck_assert_str_eq(text, expected);
    free(text);
}

static void expect_text(const caps_model_spec *spec, const char *expected)
{
    char *text = caps_model_spec_format(spec);
    ck_assert_str_eq(text, expected);
    free(text);
}

static const char *described(const caps_model_spec *spec, size_t i, const char *expected_name)
{
    const char *name, *text;
    ck_assert(caps_model_spec_describe(spec, i, &name, &text));
    ck_assert_str_eq(name, expected_name);
    return text;
}

START_TEST(sizes_follow)
{
    OWNED_SPEC(spec) = parse(GOOD);
    const caps_model_info *z = caps_model_spec_info(spec);
    const char *name, *text;
    ck_assert_str_eq(described(spec, 0, "conv1"), "6 channels, kernel 5, stride 1: 10x7");
    ck_assert_str_eq(
        described(spec, 1, "primary"), "3 types of 4, kernel 3, stride 2: 4x3, 36 capsules");
    ck_assert_str_eq(
        described(spec, 2, "class_caps"), "5 capsules of 7, 3 routing iterations (gradient: full)");
    ck_assert_str_eq(described(spec, 3, "decoder"), "none");
    ck_assert(!caps_model_spec_describe(spec, 4, &name, &text));
    ck_assert_uint_eq(z->grid[0], 3);
    ck_assert_uint_eq(z->grid[1], 4);
    ck_assert_uint_eq(z->grid[2], 3);
    ck_assert_uint_eq(z->inputs, 3 * 4 * 3);
    ck_assert_uint_eq(z->input_dim, 4);
    ck_assert_uint_eq(z->dim, 7);
    ck_assert_uint_eq(z->iterations, 3);
    ck_assert_uint_eq(z->pixels, 2 * 14 * 11);
    ck_assert_uint_eq(z->parameters, 6 * 2 * 25 + 6 + 12 * 6 * 9 + 12 + 36 * 5 * 7 * 4);
    ck_assert(!z->has_decoder);
    ck_assert_str_eq(z->routing_grad, "full");
    ck_assert_str_eq(z->class_loss, "margin loss");
    ck_assert_str_eq(z->scores, "lengths");
    expect_field(spec, "caps", "bias", "false");
}
END_TEST

/* The paper: 8.2 M parameters, 1152 capsules; 6.8 M of them without the decoder. */
START_TEST(builtin_specs)
{
    caps_error err = {0};
    ck_assert_str_eq(caps_model_spec_builtin(0), "mnist");
    ck_assert_str_eq(caps_model_spec_builtin(1), "small");
    /* The paper: 11.36 M for MultiMNIST, 35.4 M for its baseline. */
    static const struct {
        const char *name;
        uint64_t parameters, decoder;
        size_t inputs;
    } all[] = {{"mnist", 8215568, 1411344, 1152}, {"small", 876592, 255120, 288},
        {"multimnist", 11361808, 1936144, 3200}, {"cifar10", 14369472, 2378944, 1024},
        {"cnn", 35445522, 0, 0}, {"cnn-small", 3272394, 0, 0}, {"cnn-pool", 3274634, 0, 0},
        {"efficient", 161824 + 1411344, 1411344, 16}, {"matrix-small", 68444, 0, 144},
        {"matrix", 318964, 0, 288}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        OWNED_SPEC(spec) = NULL;
        ck_assert_str_eq(caps_model_spec_builtin(i), all[i].name);
        test_ok(caps_model_spec_load(&spec, all[i].name, &err));
        const caps_model_info *z = caps_model_spec_info(spec);
        ck_assert_uint_eq(z->parameters, all[i].parameters);
        ck_assert_uint_eq(z->decoder_parameters, all[i].decoder);
        ck_assert_uint_eq(z->inputs, all[i].inputs);
        ck_assert_str_eq(z->class_loss, z->matrix       ? "spread loss"
                                        : all[i].inputs ? "margin loss"
                                                        : "cross entropy");
    }
    ck_assert_ptr_null(caps_model_spec_builtin(sizeof all / sizeof all[0]));
}
END_TEST

/* For stereo images of 32x32 and five classes, smallNORB's: what is said of them elsewhere is without
 * the biases of the primary capsules, 17 a type. */
START_TEST(matrix_networks_for_two_cameras)
{
    static const struct {
        const char *name;
        uint64_t parameters, biases;
    } all[] = {{"matrix-small", 68618, 8 * 17}, {"matrix", 316650, 32 * 17}};
    caps_error err = {0};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        OWNED_SPEC(spec) = NULL;
        test_ok(caps_model_spec_load(&spec, all[i].name, &err));
        test_ok(caps_model_spec_set_classes(spec, 5, &err));
        test_ok(caps_model_spec_set_input(spec, (size_t[]){2, 32, 32}, NULL, &err));
        const caps_model_info *z = caps_model_spec_info(spec);
        ck_assert_uint_eq(z->parameters, all[i].parameters + all[i].biases);
        ck_assert_uint_eq(z->grid[1], 4);
        ck_assert_uint_eq(z->dim, 16);
    }
}
END_TEST

#define MATRIX                                                                                     \
    "{\"input\":[1,12,11],\"classes\":3,\"layers\":["                                              \
    "{\"kind\":\"conv\",\"name\":\"c\",\"channels\":5,\"kernel\":3,\"stride\":2},"                 \
    "{\"kind\":\"matrix_primary\",\"name\":\"primary\",\"types\":2},"                              \
    "{\"kind\":\"matrix_conv\",\"name\":\"caps1\",\"types\":4,\"kernel\":3,\"stride\":1,"          \
    "\"routing\":{\"kind\":\"em\",\"iterations\":2,\"grad\":\"last\",\"variance_floor\":0.01}},"   \
    "{\"kind\":\"matrix_caps\",\"name\":\"class_caps\",\"capsules\":3,\"routing\":"                \
    "{\"kind\":\"em\"}}],\"decoder\":{\"hidden\":[7]}}"

START_TEST(matrix_capsules)
{
    OWNED_SPEC(spec) = parse(MATRIX);
    const caps_model_info *z = caps_model_spec_info(spec);
    expect_text(spec, MATRIX);
    ck_assert_str_eq(described(spec, 1, "primary"), "2 types of 4x4: 5x5, 50 capsules");
    ck_assert_str_eq(described(spec, 2, "caps1"),
        "4 types, kernel 3, stride 1, 2 EM iterations (gradient: last), variance floor 0.01: 3x3, "
        "36 capsules");
    ck_assert_str_eq(described(spec, 3, "class_caps"),
        "3 capsules of 4x4, coordinates added, 3 EM iterations (gradient: full)");
    ck_assert_str_eq(described(spec, 4, "decoder"), "48 -> 7 -> 132");
    ck_assert(z->matrix);
    ck_assert_uint_eq(z->inputs, 36);
    ck_assert_uint_eq(z->input_dim, 16);
    ck_assert_uint_eq(z->grid[0], 4);
    ck_assert_uint_eq(z->grid[2], 3);
    ck_assert_uint_eq(z->dim, 16);
    ck_assert_uint_eq(z->iterations, 3);
    ck_assert_str_eq(z->routing_grad, "full");
    ck_assert_str_eq(z->class_loss, "spread loss");
    ck_assert_str_eq(z->scores, "activations");
    expect_field(spec, "matrix_caps", "coordinates", "true");
    expect_field(spec, "matrix_conv", "routing.lambda", "0.01");
    expect_field(spec, "matrix_conv", "routing.cost_scale", "1.0");
}
END_TEST

/* Which losses a network can have, and what they are called. */
START_TEST(losses)
{
    caps_error err = {0};
    OWNED_SPEC(matrix) = parse(MATRIX);
    OWNED_SPEC(vectors) = parse(GOOD);
    caps_loss loss = CAPS_LOSS_DEFAULT;
    ck_assert_str_eq(caps_loss_name(matrix, &loss), "spread loss");
    ck_assert_str_eq(caps_loss_name(vectors, &loss), "margin loss");
    loss.class_loss = CAPS_CLASS_LOSS_MARGIN;
    ck_assert_str_eq(caps_loss_name(matrix, &loss), "margin loss");
    test_ok(caps_loss_check(matrix, &loss, &err));
    test_ok(caps_loss_check(vectors, &loss, &err));
    loss.class_loss = CAPS_CLASS_LOSS_SPREAD;
    test_ok(caps_loss_check(matrix, &loss, &err));
    ck_assert_int_eq(caps_loss_check(vectors, &loss, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(
        err.message, "loss: spread loss of a network whose last layer has no matrix capsules");
}
END_TEST

/* Multiplications of the convolutions and the votes of "small": a twentieth of the paper's, or
 * about. */
START_TEST(small_is_a_twentieth)
{
    caps_error err = {0};
    static const char *const names[] = {"mnist", "small"};
    double work[2] = {0};
    for (int n = 0; n < 2; n++) {
        OWNED_SPEC(spec) = NULL;
        caps_network network;
        test_ok(caps_model_spec_load(&spec, names[n], &err));
        test_ok(caps_network_init(&network, spec, &err));
        for (size_t l = 0; l < network.layer_count; l++) {
            caps_layer_problem p = {0};
            const caps_layer *layer = network.layers[l];
            if (layer->kind->problem && !layer->decodes)
                layer->kind->problem(layer, &p);
            work[n] += p.flops;
        }
        caps_network_release(&network);
    }
    ck_assert_double_gt(work[0] / work[1], 15);
    ck_assert_double_lt(work[0] / work[1], 25);
}
END_TEST

START_TEST(format_gives_the_same_back)
{
    static const char *const specs[] = {GOOD,
        HEAD CONV "," PRIMARY ",\"decoder\":null,\"kind\":\"capsnet\"," CLASSES "}",
        HEAD CONV "," PRIMARY "," CLASSES ",\"decoder\":{\"hidden\":[]}}",
        HEAD CONV "," PRIMARY "," CLASSES ",\"decoder\":{\"hidden\":[3,9]}}",
        HEAD CONV
        "," PRIMARY
        ",\"class_caps\":{\"dim\":7,\"iterations\":1,\"routing_grad\":\"last\",\"bias\":true}}",
        STACK};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        OWNED_SPEC(a) = parse(specs[i]);
        char *text = caps_model_spec_format(a);
        OWNED_SPEC(b) = parse(text);
        ck_assert_msg(caps_model_spec_equal(a, b), "%s", text);
        expect_text(b, text);
        free(text);
    }
    OWNED_SPEC(a) = parse(specs[0]);
    OWNED_SPEC(b) = parse(specs[3]);
    OWNED_SPEC(c) = parse(specs[4]);
    ck_assert(!caps_model_spec_equal(a, b));
    ck_assert(!caps_model_spec_equal(a, c));
    expect_text(b,
        "{\"input\":[2,14,11],\"classes\":5,\"conv1\":{\"channels\":6,\"kernel\":5,\"stride\":1},"
        "\"primary\":{\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2},"
        "\"class_caps\":{\"dim\":7,\"iterations\":3,\"routing_grad\":\"full\",\"bias\":false},"
        "\"decoder\":{\"hidden\":[3,9]}}");
}
END_TEST

/* A list, its defaults left out; the shorthand and the list that it stands for are equal, and each
 * stays as it was written. */
START_TEST(lists_of_layers)
{
    OWNED_SPEC(stack) = parse(STACK);
    const caps_model_info *z = caps_model_spec_info(stack);
    expect_text(stack, STACK);
    ck_assert_uint_eq(z->inputs, 11);
    ck_assert_uint_eq(z->input_dim, 6);
    ck_assert_uint_eq(z->grid[0], 0);
    ck_assert_uint_eq(z->iterations, 3);
    ck_assert_str_eq(
        described(stack, 1, "conv2"), "9 channels, kernel 5, stride 2, no activation: 6x7");
    ck_assert_str_eq(described(stack, 5, "decoder"), "48 -> 13 -> 810");
    OWNED_SPEC(list) = parse(HEAD LISTED);
    OWNED_SPEC(shorthand) = parse(GOOD);
    ck_assert(caps_model_spec_equal(list, shorthand));
    expect_text(list, HEAD LISTED);
    /* Layers without a name are called by kind and number. */
    OWNED_SPEC(unnamed) = parse(HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":3,\"kernel\":2},"
                                     "{\"kind\":\"dropout\",\"rate\":0.25},"
                                     "{\"kind\":\"linear\",\"out\":4,\"activation\":\"sigmoid\"},"
                                     "{\"kind\":\"linear\",\"out\":5,\"activation\":\"none\"}]}");
    ck_assert_str_eq(described(unnamed, 1, "dropout1"), "rate 0.25");
    ck_assert_str_eq(described(unnamed, 2, "linear1"), "390 -> 4, activation sigmoid");
    ck_assert_str_eq(caps_model_spec_info(unnamed)->class_loss, "cross entropy");
    ck_assert_str_eq(caps_model_spec_info(unnamed)->scores, "probabilities");
    ck_assert_uint_eq(caps_model_spec_info(unnamed)->dim, 0);
}
END_TEST

/* What flags and profiles change. */
START_TEST(changes)
{
    caps_error err = {0};
    size_t changed = 77;
    OWNED_SPEC(spec) = parse(GOOD);
    OWNED_SPEC(before) = parse(GOOD);
    test_ok(caps_model_spec_set(spec, "caps", "routing.iterations", "2", &changed, &err));
    ck_assert_uint_eq(changed, 1);
    test_ok(caps_model_spec_set(spec, "caps", "routing.grad", "\"last\"", &changed, &err));
    test_ok(caps_model_spec_set(spec, "caps", "bias", "true", &changed, &err));
    test_ok(caps_model_spec_set(spec, "primary_caps", "average", "true", &changed, &err));
    test_ok(caps_model_spec_set(spec, "linear", "out", "9", &changed, &err));
    ck_assert_uint_eq(changed, 0);
    test_ok(caps_model_spec_set(spec, "caps", "routing.lambda", "9", &changed, &err));
    ck_assert_uint_eq(changed, 0);
    expect_field(spec, "caps", "routing.iterations", "2");
    expect_field(spec, "caps", "routing.leaky", "false");
    expect_field(spec, "caps", "routing", NULL);
    expect_field(spec, "linear", "out", NULL);
    expect_text(spec, HEAD CONV
        ",\"primary\":{\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2,\"average\":true},"
        "\"class_caps\":{\"dim\":7,\"iterations\":2,\"routing_grad\":\"last\",\"bias\":true},"
        "\"decoder\":null}");
    /* What cannot be is refused, and the spec is as it was. */
    OWNED_SPEC(copy) = NULL;
    test_ok(caps_model_spec_copy(&copy, spec, &err));
    ck_assert_int_eq(caps_model_spec_set(spec, "conv", "kernel", "12", NULL, &err), CAPS_ERR_SPEC);
    ck_assert_str_eq(err.message, "network: conv1: kernel 12 is larger than its input 14x11");
    ck_assert_int_eq(caps_model_spec_set(spec, "caps", "bias", "3", NULL, &err), CAPS_ERR_SPEC);
    ck_assert_str_eq(err.message, "network: class_caps.bias is not a boolean, need true or false");
    ck_assert_int_eq(caps_model_spec_set(spec, "caps", "bias", "{", NULL, &err), CAPS_ERR_SPEC);
    ck_assert(caps_model_spec_equal(copy, spec));
    /* A field that the shorthand has not makes it a list. */
    test_ok(caps_model_spec_set(before, "conv", "padding", "1", &changed, &err));
    char *text = caps_model_spec_format(before);
    ck_assert_ptr_nonnull(strstr(text, "\"layers\""));
    free(text);

    test_ok(caps_model_spec_set_classes(spec, 3, &err));
    ck_assert_uint_eq(caps_model_spec_info(spec)->classes, 3);
    expect_field(spec, "caps", "capsules", "3");
    ck_assert_int_eq(caps_model_spec_set_classes(spec, 257, &err), CAPS_ERR_SPEC);
    test_ok(caps_model_spec_set_input(spec, (size_t[]){2, 20, 21}, (size_t[]){2, 14, 11}, &err));
    ck_assert_uint_eq(caps_model_spec_info(spec)->source[2], 11);
    ck_assert_uint_eq(caps_model_spec_info(spec)->input[1], 20);
    ck_assert_int_eq(
        caps_model_spec_set_input(spec, (size_t[]){2, 3, 3}, NULL, &err), CAPS_ERR_SPEC);
    OWNED_SPEC(decodes) = parse(STACK);
    test_ok(caps_model_spec_remove_decoder(decodes, &err));
    ck_assert(!caps_model_spec_info(decodes)->has_decoder);
    ck_assert_str_eq(described(decodes, 5, "decoder"), "none");
}
END_TEST

#define KINDS                                                                                      \
    "conv, linear, dropout, max_pool, primary_caps, caps, matrix_primary, matrix_conv, "           \
    "matrix_caps"

static const struct {
    const char *json, *message;
} refused[] = {
    {"[1]", "net.json: not a JSON object, need a model spec in { }"},
    {HEAD PRIMARY "," CLASSES "}", "net.json: conv1 is missing, need an object"},
    {HEAD "\"conv1\":3," PRIMARY "," CLASSES "}", "net.json: conv1 is not an object, need one"},
    {HEAD "\"conv1\":{\"channels\":6,\"kernel\":5}," PRIMARY "," CLASSES "}",
        "net.json: conv1.stride is missing, need a whole number from 1 to 2147483647"},
    {HEAD "\"conv1\":{\"channels\":-6,\"kernel\":5,\"stride\":1}," PRIMARY "," CLASSES "}",
        "net.json: conv1.channels is -6, need a whole number from 1 to 2147483647"},
    {HEAD "\"conv1\":{\"channels\":6,\"kernel\":5,\"stride\":1,\"pad\":2}," PRIMARY "," CLASSES "}",
        "net.json: conv1.pad is no field of a spec, need one of channels, kernel, stride"},
    {HEAD CONV "," PRIMARY "," CLASSES ",\"layers\":[]}",
        "net.json: conv1 is no field of a spec, need one of input, source, classes, labels, "
        "layers, decoder"},
    {HEAD CONV "," PRIMARY "," CLASSES ",\"layer\":[]}",
        "net.json: layer is no field of a spec, need one of kind, input, source, classes, "
        "labels, conv1, primary, class_caps, decoder"},
    {HEAD CONV "," PRIMARY ",\"class_caps\":{\"dim\":7,\"iterations\":1001}}",
        "net.json: class_caps.iterations is 1001, need a whole number from 1 to 1000"},
    {HEAD CONV "," PRIMARY ",\"class_caps\":{\"dim\":7,\"iterations\":2,\"bias\":1}}",
        "net.json: class_caps.bias is not a boolean, need true or false"},
    {HEAD CONV "," PRIMARY ",\"class_caps\":{\"dim\":7,\"iterations\":2,\"routing_grad\":3}}",
        "net.json: class_caps.routing_grad is unknown, need \"full\" or \"last\""},
    {HEAD "\"conv1\":{\"channels\":6,\"kernel\":12,\"stride\":1}," PRIMARY "," CLASSES "}",
        "net.json: conv1: kernel 12 is larger than its input 14x11"},
    {HEAD CONV ",\"primary\":{\"types\":3,\"dim\":4,\"kernel\":8,\"stride\":2}," CLASSES "}",
        "net.json: primary: kernel 8 is larger than its input 10x7"},
    {"{\"input\":[1,14,14],\"classes\":257," CONV "," PRIMARY "," CLASSES "}",
        "net.json: classes is 257, need 1 to 256"},
    {"{\"input\":[1,14,0],\"classes\":5," CONV "," PRIMARY "," CLASSES "}",
        "net.json: input is 0, need a whole number from 1 to 2147483647"},
    {"{\"input\":[2147483647,2147483647,2147483647],\"classes\":5," CONV "," PRIMARY "," CLASSES
     "}",
        "net.json: input: an image would have more than 2^48 elements (2147483647 times "
        "2147483647), need fewer"},
    {HEAD CONV "," PRIMARY "," CLASSES ",\"decoder\":{}}",
        "net.json: decoder.hidden is missing, need a list of layer sizes"},
    {HEAD CONV "," PRIMARY "," CLASSES ",\"decoder\":{\"hidden\":[1,2,3,4,5,6,7,8,9]}}",
        "net.json: decoder.hidden has 9 layers, need at most 8"},
    {HEAD CONV "," PRIMARY "," CLASSES ",\"decoder\":{\"hidden\":[4,2.5]}}",
        "net.json: decoder.hidden is not a whole number, need a whole number from 1 to 2147483647"},
    {HEAD CONV "," PRIMARY "," CLASSES ",\"kind\":7}",
        "net.json: kind is unknown, need \"capsnet\" or \"cnn\", or \"layers\" in its "
        "place"},
    {"{\"kind\":\"cnn\",\"input\":[1,9,9],\"classes\":2,\"conv\":[],\"hidden\":[]}",
        "net.json: conv has 0 layers, need 1 to 8"},
    {"{\"kind\":\"cnn\",\"input\":[1,9,9],\"classes\":2,\"conv\":[{\"channels\":2,\"kernel\":3,"
     "\"stride\":1,\"padding\":3}],\"hidden\":[]}",
        "net.json: conv1: padding is 3, need less than kernel 3"},
    {"{\"kind\":\"cnn\",\"input\":[1,9,9],\"classes\":2,\"conv\":[{\"channels\":2,\"kernel\":3,"
     "\"stride\":1}],\"hidden\":[],\"dropout\":1}",
        "net.json: dropout is 1, need 0 or more, below 1"},
    {HEAD "\"layers\":[]}",
        "net.json: layers is not a list with layers, need [{\"kind\": ...}, ...]"},
    {HEAD "\"layers\":[7]}", "net.json: layers[0] is not an object, need a layer in { }"},
    {HEAD "\"layers\":[{\"name\":\"a\"}]}", "net.json: a.kind is missing, need one of " KINDS},
    {HEAD "\"layers\":[{\"kind\":\"convolution\",\"channels\":3}]}",
        "net.json: layers[0].kind is unknown, need one of " KINDS},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"name\":\"c\",\"channels\":3,\"kernel\":2,\"pad\":1}]}",
        "net.json: c.pad is no field of a spec, need one of kind, name, channels, kernel, stride, "
        "padding, activation, norm"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":3}]}",
        "net.json: conv1.kernel is missing, need a whole number from 1 to 2147483647"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":3,\"kernel\":2,\"activation\":\"tanh\"}]}",
        "net.json: conv1.activation is unknown, need \"relu\" or \"none\""},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"name\":\"de.c\",\"channels\":3,\"kernel\":2}]}",
        "net.json: layers[0].name is no name of a layer, need up to 39 letters, digits, '_' and "
        "'-', of no other layer, and no name of a result"},
    {HEAD "\"layers\":[{\"kind\":\"dropout\",\"name\":\"d\",\"rate\":1}]}",
        "net.json: d.rate is 1, need a number from 0 to below 1"},
    {HEAD "\"layers\":[{\"kind\":\"dropout\",\"name\":\"d\",\"rate\":0.1},"
          "{\"kind\":\"dropout\",\"name\":\"d\",\"rate\":0.1}]}",
        "net.json: d.name is that of another layer, need up to 39 letters, digits, '_' and '-', of "
        "no other layer, and no name of a result"},
    {HEAD "\"layers\":[{\"kind\":\"linear\",\"out\":5}]}",
        "net.json: linear1: the last layer does not classify, need capsules, or a linear layer "
        "with "
        "activation none"},
    {HEAD "\"layers\":[{\"kind\":\"linear\",\"out\":4,\"activation\":\"none\"}]}",
        "net.json: linear1: the last layer gives 4 outputs, need 5, as many as classes"},
    {HEAD "\"layers\":[{\"kind\":\"linear\",\"out\":5,\"activation\":\"none\"}],"
          "\"decoder\":{\"hidden\":[3]}}",
        "net.json: decoder: linear1 has no capsules, need some to decode"},
    {HEAD
        "\"layers\":[{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"dynamic\","
        "\"iterations\":3}}]}",
        "net.json: caps1: the input gives an image or feature maps, need capsules"},
    {HEAD "\"layers\":[{\"kind\":\"linear\",\"out\":5},{\"kind\":\"conv\",\"channels\":3,"
          "\"kernel\":1}]}",
        "net.json: conv1: linear1 gives features, need an image or feature maps"},
    {HEAD "\"layers\":[{\"kind\":\"caps\",\"capsules\":5,\"dim\":4}]}",
        "net.json: caps1.routing is missing, need an object"},
    {HEAD "\"layers\":[{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"magic\"}"
          "}]}",
        "net.json: caps1.routing.kind is unknown, need \"dynamic\" or "
        "\"max_min\" or \"attention\" or \"self\""},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"self\","
          "\"iterations\":3}}]}",
        "net.json: caps1.routing.iterations is no field of a spec, need one of kind"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"bias\":true,"
          "\"routing\":{\"kind\":\"self\"}}]}",
        "net.json: caps1: bias is true, need false with self-routing"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"squash\":\"exp\","
          "\"routing\":{\"kind\":\"self\"}}]}",
        "net.json: caps1: squash is exp, need none with self-routing: nothing is squashed"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"max_min\","
          "\"iterations\":3,\"leaky\":true}}]}",
        "net.json: caps1.routing.leaky is no field of a spec, need one of kind, iterations, grad"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"max_min\"}}]}",
        "net.json: caps1.routing.iterations is missing, need a whole number from 1 to 1000"},
    {HEAD
        "\"layers\":[{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"dynamic\","
        "\"iterations\":0}}]}",
        "net.json: caps1.routing.iterations is 0, need a whole number from 1 to 1000"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":6,\"kernel\":3},{\"kind\":\"primary_caps\","
          "\"dim\":2,\"kernel\":3,\"stride\":1},{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,"
          "\"routing\":{\"kind\":\"attention\"}}]}",
        "net.json: primary_caps1.types is missing, need a whole number from 1 to 2147483647"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":6,\"kernel\":3},{\"kind\":\"primary_caps\","
          "\"types\":3,\"dim\":2,\"kernel\":3,\"stride\":1,\"depthwise\":true}]}",
        "net.json: primary_caps1.types is 3, need none with depthwise: there are channels / dim"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":6,\"kernel\":3},{\"kind\":\"primary_caps\","
          "\"dim\":4,\"kernel\":3,\"stride\":1,\"depthwise\":true}]}",
        "net.json: primary_caps1: dim is 4, need a divisor of 6, the channels of its input, with "
        "depthwise"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":6,\"kernel\":3},{\"kind\":\"primary_caps\","
          "\"dim\":3,\"kernel\":13,\"stride\":1,\"depthwise\":true}]}",
        "net.json: primary_caps1: kernel 13 is larger than its input 12x9"},
    {HEAD "\"layers\":[{\"kind\":\"conv\",\"channels\":6,\"kernel\":3,\"norm\":\"layer\"}]}",
        "net.json: conv1.norm is unknown, need \"none\" or \"batch\""},
    {HEAD "\"layers\":[{\"kind\":\"max_pool\",\"kernel\":3,\"stride\":0}]}",
        "net.json: max_pool1.stride is 0, need a whole number from 1 to 2147483647"},
    {HEAD "\"layers\":[{\"kind\":\"max_pool\",\"kernel\":12}]}",
        "net.json: max_pool1: kernel 12 is larger than its input 14x11"},
    {HEAD "\"layers\":[{\"kind\":\"linear\",\"out\":9},{\"kind\":\"max_pool\",\"kernel\":2}]}",
        "net.json: max_pool1: linear1 gives features, need an image or feature maps"},
    {HEAD "\"layers\":[{\"kind\":\"max_pool\",\"kernel\":2,\"padding\":1}]}",
        "net.json: layers[0].padding is no field of a spec, need one of kind, name, kernel, "
        "stride"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"attention\","
          "\"iterations\":3}}]}",
        "net.json: caps1.routing.iterations is no field of a spec, need one of kind"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"types\":2,\"dim\":3,\"kernel\":3,\"stride\":2},"
          "{\"kind\":\"caps\",\"capsules\":5,\"dim\":4,\"bias\":true,\"routing\":{\"kind\":"
          "\"attention\"}}]}",
        "net.json: caps1: bias is true, need false with attention routing"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"caps\","
          "\"capsules\":5,\"dim\":4,\"routing\":{\"kind\":\"dynamic\",\"iterations\":3}}]}",
        "net.json: caps1: p gives matrix capsules, need matrix_conv or matrix_caps behind it"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":"
          "\"linear\",\"out\":5,\"activation\":\"none\"}]}",
        "net.json: linear1: p gives matrix capsules, need matrix_conv or matrix_caps behind it"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"name\":\"v\",\"types\":2,\"dim\":16,\"kernel\":"
          "3,\"stride\":2},{\"kind\":\"matrix_caps\",\"name\":\"c\",\"capsules\":5,\"routing\":{"
          "\"kind\":\"em\"}}]}",
        "net.json: c: v gives capsules, need matrix capsules, of matrix_primary or matrix_conv"},
    {HEAD "\"layers\":[{\"kind\":\"primary_caps\",\"name\":\"v\",\"types\":2,\"dim\":16,\"kernel\":"
          "3,\"stride\":2},{\"kind\":\"matrix_conv\",\"name\":\"m\",\"types\":2,\"kernel\":2,"
          "\"stride\":1,\"routing\":{\"kind\":\"em\"}}]}",
        "net.json: m: v gives capsules, need matrix capsules, of matrix_primary or matrix_conv"},
    {HEAD "\"layers\":[{\"kind\":\"linear\",\"name\":\"f\",\"out\":5},{\"kind\":\"matrix_primary\","
          "\"name\":\"p\",\"types\":2}]}",
        "net.json: p: f gives features, need an image or feature maps"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "conv\",\"name\":\"m\",\"types\":2,\"kernel\":12,\"stride\":1,\"routing\":{\"kind\":"
          "\"em\"}}]}",
        "net.json: m: kernel 12 is larger than its input 14x11"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "conv\",\"name\":\"m\",\"types\":2,\"kernel\":3,\"stride\":0,\"routing\":{\"kind\":"
          "\"em\"}}]}",
        "net.json: m.stride is 0, need a whole number from 1 to 2147483647"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "conv\",\"name\":\"m\",\"types\":0,\"kernel\":3,\"stride\":1,\"routing\":{\"kind\":"
          "\"em\"}}]}",
        "net.json: m.types is 0, need a whole number from 1 to 2147483647"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "conv\",\"name\":\"m\",\"types\":5,\"kernel\":3,\"stride\":1,\"routing\":{\"kind\":"
          "\"em\"}}]}",
        "net.json: m: the last layer does not classify, need capsules, or a linear layer with "
        "activation none"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"c\",\"capsules\":4,\"routing\":{\"kind\":\"em\"}}]}",
        "net.json: c: the last layer gives 4 capsules, need 5, as many as classes"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"p\",\"capsules\":5,\"routing\":{\"kind\":\"em\"}}]}",
        "net.json: p.name is that of another layer, need up to 39 letters, digits, '_' and '-', of "
        "no other layer, and no name of a result"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"c\",\"capsules\":5,\"routing\":{\"kind\":\"dynamic\",\"iterations\":3}"
          "}]}",
        "net.json: c.routing.kind is unknown, need \"em\""},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"c\",\"capsules\":5,\"routing\":{\"kind\":\"em\",\"lambda\":-1}}]}",
        "net.json: c.routing.lambda is -1, need a number from 0 to 1000"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"c\",\"capsules\":5,\"routing\":{\"kind\":\"em\",\"variance_floor\":0}}"
          "]}",
        "net.json: c.routing.variance_floor is 0, need a number from 1e-09 to 1000"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"c\",\"capsules\":5,\"routing\":{\"kind\":\"em\",\"iterations\":0}}]}",
        "net.json: c.routing.iterations is 0, need a whole number from 1 to 1000"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"p\",\"types\":2},{\"kind\":\"matrix_"
          "caps\",\"name\":\"c\",\"capsules\":5}]}",
        "net.json: c.routing is missing, need an object"},
    {HEAD "\"layers\":[{\"kind\":\"matrix_primary\",\"name\":\"assignment\",\"types\":2}]}",
        "net.json: layers[0].name is no name of a layer, need up to 39 letters, digits, '_' and "
        "'-', of no other layer, and no name of a result"},
};

START_TEST(bad_specs_are_refused)
{
    caps_error err = {0};
    caps_model_spec *spec = (caps_model_spec *)&err;
    ck_assert_int_eq(
        caps_model_spec_parse(&spec, refused[_i].json, "net.json", &err), CAPS_ERR_SPEC);
    ck_assert_str_eq(err.message, refused[_i].message);
    ck_assert_ptr_null(spec);
}
END_TEST

START_TEST(files)
{
    caps_error err = {0};
    OWNED_SPEC(same) = parse(GOOD);
    OWNED_SPEC(spec) = NULL;
    char *directory = test_directory(), *path = caps_path_join(directory, "net.json");
    test_ok(caps_file_write(path, GOOD, strlen(GOOD), &err));
    test_ok(caps_model_spec_load(&spec, path, &err));
    ck_assert(caps_model_spec_equal(spec, same));
    caps_model_spec_free(spec);
    test_ok(caps_file_write(path, GOOD "\0", strlen(GOOD) + 1, &err));
    ck_assert_int_eq(caps_model_spec_load(&spec, path, &err), CAPS_ERR_SPEC);
    ck_assert_ptr_nonnull(strstr(err.message, "not a text file"));
    ck_assert_int_eq(caps_model_spec_load(&spec, directory, &err), CAPS_ERR_FORMAT);
    ck_assert_int_eq(caps_model_spec_load(&spec, "smal", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_str_eq(err.message,
        "smal: no such model spec, need a file or one of mnist, small, multimnist, "
        "cifar10, cnn, cnn-small, cnn-pool, efficient, matrix-small, matrix");
    ck_assert_int_eq(caps_model_spec_load(&spec, "./none.json", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "none.json"));
    free(path);
    free(directory);
}
END_TEST

/* Names of any length that a file's name may have stay apart and whole, through JSON too; a longer
 * one is refused, never cut. */
START_TEST(names_of_classes)
{
    enum { MOST = CAPS_CLASS_NAME - 1 };
    caps_error err = {0};
    OWNED_SPEC(spec) = parse(GOOD);
    OWNED_SPEC(again) = parse(GOOD);
    char text[5][MOST + 2], *names[5];
    for (size_t j = 0; j < 5; j++) {
        names[j] = text[j];
        memset(text[j], 'x', MOST);
        for (size_t i = 0; i + 1 < MOST; i += 2)
            memcpy(text[j] + i, "\xc3\xa9", 2);
        text[j][MOST - 1] = (char)('a' + j);
        text[j][MOST] = 0;
    }
    ck_assert_int_ge(MOST, 255);
    test_ok(caps_class_names_set(spec, names, 5, &err));
    ck_assert(caps_model_spec_info(spec)->has_class_names);
    char *json = caps_class_names_format(spec);
    test_ok(caps_class_names_parse(again, json, "net", &err));
    for (size_t j = 0; j < 5; j++) {
        char name[CAPS_CLASS_NAME];
        ck_assert_str_eq(caps_class_name(spec, j, name), text[j]);
        ck_assert_str_eq(caps_class_name(again, j, name), text[j]);
    }
    free(json);
    strcpy(text[3] + MOST, "!");
    ck_assert_int_eq(caps_class_names_set(spec, names, 5, &err), CAPS_ERR_FORMAT);
    ck_assert_str_eq(err.message, "the name of class 3 has 256 bytes, need at most 255");
    ck_assert(!caps_model_spec_info(spec)->has_class_names);
    test_ok(caps_class_names_set(again, names, 4, &err)); /* of another number of classes */
    ck_assert(!caps_model_spec_info(again)->has_class_names);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("spec");
    TCase *tc = tcase_create("spec");
    tcase_add_test(tc, sizes_follow);
    tcase_add_test(tc, builtin_specs);
    tcase_add_test(tc, small_is_a_twentieth);
    tcase_add_test(tc, format_gives_the_same_back);
    tcase_add_test(tc, lists_of_layers);
    tcase_add_test(tc, matrix_networks_for_two_cameras);
    tcase_add_test(tc, matrix_capsules);
    tcase_add_test(tc, losses);
    tcase_add_test(tc, changes);
    tcase_add_loop_test(tc, bad_specs_are_refused, 0, sizeof refused / sizeof refused[0]);
    tcase_add_test(tc, files);
    tcase_add_test(tc, names_of_classes);
    suite_add_tcase(s, tc);
    return s;
}
