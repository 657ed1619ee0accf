/* Model specs: what is taken, what is refused and with which words, and formatting. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "support.h"

#define CONV    "\"conv1\":{\"channels\":6,\"kernel\":5,\"stride\":1}"
#define PRIMARY "\"primary\":{\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2}"
#define CLASSES "\"class_caps\":{\"dim\":7,\"iterations\":3}"
#define HEAD    "{\"input\":[2,14,11],\"classes\":5,"
#define GOOD    HEAD CONV "," PRIMARY "," CLASSES "}"

static caps_model_spec parse(const char *json)
{
    caps_error err = {0};
    caps_model_spec spec;
    test_ok(caps_model_spec_parse(&spec, json, "net.json", &err));
    return spec;
}

START_TEST(sizes_follow)
{
    caps_error err = {0};
    caps_model_sizes z;
    caps_model_spec spec = parse(GOOD);
    test_ok(caps_model_spec_check(&spec, &z, &err));
    ck_assert_uint_eq(z.h1, 10);
    ck_assert_uint_eq(z.w1, 7);
    ck_assert_uint_eq(z.h2, 4);
    ck_assert_uint_eq(z.w2, 3);
    ck_assert_uint_eq(z.i, 3 * 4 * 3);
    ck_assert_uint_eq(z.pixels, 2 * 14 * 11);
    ck_assert_uint_eq(z.parameters, 6 * 2 * 25 + 6 + 12 * 6 * 9 + 12 + 36 * 5 * 7 * 4);
    ck_assert(!spec.has_decoder);
    ck_assert_int_eq(spec.class_caps.routing_grad, CAPS_ROUTING_GRAD_FULL);
    ck_assert(!spec.class_caps.bias);
}
END_TEST

/* The paper: 8.2 M parameters, 1152 capsules; 6.8 M of them without the decoder. */
START_TEST(builtin_specs)
{
    caps_error err = {0};
    caps_model_spec mnist, small;
    caps_model_sizes a, b;
    ck_assert_str_eq(caps_model_spec_builtin(0), "mnist");
    ck_assert_str_eq(caps_model_spec_builtin(1), "small");
    /* The paper: 11.36 M for MultiMNIST, 35.4 M for its baseline. */
    static const struct {
        const char *name;
        uint64_t parameters, decoder;
    } all[] = {{"mnist", 8215568, 1411344}, {"small", 876592, 255120},
        {"multimnist", 11361808, 1936144}, {"cifar10", 14369472, 2378944}, {"cnn", 35445522, 0},
        {"cnn-small", 3272394, 0}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        caps_model_spec spec;
        caps_model_sizes z;
        ck_assert_str_eq(caps_model_spec_builtin(i), all[i].name);
        test_ok(caps_model_spec_load(&spec, all[i].name, &err));
        test_ok(caps_model_spec_check(&spec, &z, &err));
        ck_assert_msg(!all[i].parameters || z.parameters == all[i].parameters, "%s: %llu",
            all[i].name, (unsigned long long)z.parameters);
        ck_assert_msg(!all[i].parameters || z.decoder_parameters == all[i].decoder, "%s: %llu",
            all[i].name, (unsigned long long)z.decoder_parameters);
    }
    ck_assert_ptr_null(caps_model_spec_builtin(sizeof all / sizeof all[0]));
    test_ok(caps_model_spec_load(&mnist, "mnist", &err));
    test_ok(caps_model_spec_load(&small, "small", &err));
    test_ok(caps_model_spec_check(&mnist, &a, &err));
    test_ok(caps_model_spec_check(&small, &b, &err));
    ck_assert_uint_eq(a.i, 1152);
    ck_assert_uint_eq(a.parameters, 8215568);
    /* Multiplications of the two convolutions and the votes: a twentieth, or about. */
    double work[2];
    const caps_model_spec *specs[] = {&mnist, &small};
    const caps_model_sizes *sizes[] = {&a, &b};
    for (int n = 0; n < 2; n++) {
        const caps_model_spec *s = specs[n];
        double k1 = (double)(s->conv1.kernel * s->conv1.kernel * s->conv1.channels);
        double k2 = (double)(s->primary.kernel * s->primary.kernel * s->primary.types *
                             s->primary.dim * s->conv1.channels);
        work[n] = k1 * (double)(sizes[n]->h1 * sizes[n]->w1) +
                  k2 * (double)(sizes[n]->h2 * sizes[n]->w2) +
                  (double)(sizes[n]->i * s->classes * s->class_caps.dim * s->primary.dim);
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
        ",\"class_caps\":{\"dim\":7,\"iterations\":1,\"routing_grad\":\"last\",\"bias\":true}}"};
    for (size_t i = 0; i < 5; i++) {
        caps_model_spec a = parse(specs[i]);
        char *text = caps_model_spec_format(&a);
        caps_model_spec b = parse(text);
        ck_assert_msg(caps_model_spec_equal(&a, &b), "%s", text);
        char *again = caps_model_spec_format(&b);
        ck_assert_str_eq(text, again);
        free(again);
        free(text);
    }
    caps_model_spec a = parse(specs[0]), b = parse(specs[3]), c = parse(specs[4]);
    ck_assert(!caps_model_spec_equal(&a, &b));
    ck_assert(!caps_model_spec_equal(&a, &c));
    char *text = caps_model_spec_format(&b);
    ck_assert_str_eq(text,
        "{\"input\":[2,14,11],\"classes\":5,\"conv1\":{\"channels\":6,\"kernel\":5,\"stride\":1},"
        "\"primary\":{\"types\":3,\"dim\":4,\"kernel\":3,\"stride\":2},"
        "\"class_caps\":{\"dim\":7,\"iterations\":3,\"routing_grad\":\"full\",\"bias\":false},"
        "\"decoder\":{\"hidden\":[3,9]}}");
    free(text);
}
END_TEST

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
        "net.json: layers is no field of a spec, need one of kind, input, source, classes, "
        "labels, conv1, primary, class_caps, decoder"},
    {HEAD CONV "," PRIMARY ",\"class_caps\":{\"dim\":7,\"iterations\":1001}}",
        "net.json: class_caps: iterations is 1001, need 1 to 1000"},
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
        "net.json: kind is unknown, need \"capsnet\" or \"cnn\""},
};

START_TEST(bad_specs_are_refused)
{
    caps_error err = {0};
    caps_model_spec spec = {.classes = 77};
    ck_assert_int_eq(
        caps_model_spec_parse(&spec, refused[_i].json, "net.json", &err), CAPS_ERR_SPEC);
    ck_assert_str_eq(err.message, refused[_i].message);
    ck_assert_uint_eq(spec.classes, 77); /* untouched */
}
END_TEST

START_TEST(files)
{
    caps_error err = {0};
    caps_model_spec spec, same = parse(GOOD);
    char *directory = test_directory(), *path = caps_path_join(directory, "net.json");
    test_ok(caps_file_write(path, GOOD, strlen(GOOD), &err));
    test_ok(caps_model_spec_load(&spec, path, &err));
    ck_assert(caps_model_spec_equal(&spec, &same));
    test_ok(caps_file_write(path, GOOD "\0", strlen(GOOD) + 1, &err));
    ck_assert_int_eq(caps_model_spec_load(&spec, path, &err), CAPS_ERR_SPEC);
    ck_assert_ptr_nonnull(strstr(err.message, "not a text file"));
    ck_assert_int_eq(caps_model_spec_load(&spec, directory, &err), CAPS_ERR_FORMAT);
    ck_assert_int_eq(caps_model_spec_load(&spec, "smal", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_str_eq(err.message,
        "smal: no such model spec, need a file or one of mnist, small, multimnist, "
        "cifar10, cnn, cnn-small");
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
    caps_model_spec spec = parse(GOOD), again = parse(GOOD);
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
    test_ok(caps_class_names_set(&spec, names, 5, &err));
    ck_assert(spec.has_class_names);
    char *json = caps_class_names_format(&spec);
    test_ok(caps_class_names_parse(&again, json, "net", &err));
    for (size_t j = 0; j < 5; j++) {
        char name[CAPS_CLASS_NAME];
        ck_assert_str_eq(spec.class_names[j], text[j]);
        ck_assert_str_eq(caps_class_name(&again, j, name), text[j]);
    }
    free(json);
    strcpy(text[3] + MOST, "!");
    ck_assert_int_eq(caps_class_names_set(&spec, names, 5, &err), CAPS_ERR_FORMAT);
    ck_assert_str_eq(err.message, "the name of class 3 has 256 bytes, need at most 255");
    ck_assert(!spec.has_class_names);
    test_ok(caps_class_names_set(&again, names, 4, &err)); /* of another number of classes */
    ck_assert(!again.has_class_names);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("spec");
    TCase *tc = tcase_create("spec");
    tcase_add_test(tc, sizes_follow);
    tcase_add_test(tc, builtin_specs);
    tcase_add_test(tc, format_gives_the_same_back);
    tcase_add_loop_test(tc, bad_specs_are_refused, 0, sizeof refused / sizeof refused[0]);
    tcase_add_test(tc, files);
    tcase_add_test(tc, names_of_classes);
    suite_add_tcase(s, tc);
    return s;
}
