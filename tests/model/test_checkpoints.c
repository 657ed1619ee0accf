/* Checkpoints of others: other types of numbers, no spec in the file, another network. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <capscl/capscl.h>

#include "file.h"
#include "layer.h"
#include "model_support.h"
#include "parameter_file.h"

/* 5 classes; the file's tensors are its parameters. */
static caps_model_spec *spec;
static caps_checkpoint made; /* any numbers, exact in every type */
static char *directory;

static const char *in_directory(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* Parameters that float16 and bfloat16 hold exactly: multiples of 1/8 below 16. */
static void set_up(void)
{
    directory = test_directory();
    spec = spec_of(SPEC);
    made.count = (size_t)caps_model_spec_info(spec)->parameters;
    made.parameters = malloc(made.count * sizeof *made.parameters);
    for (size_t i = 0; i < made.count; i++)
        made.parameters[i] = (float)((int)(i * 7 % 255) - 127) / 8.0f;
}

static void tear_down(void)
{
    free(made.parameters);
    caps_model_spec_free(spec);
    free(directory);
}

/* ---- writing files -------------------------------------------------------------------------- */

static uint16_t to_half(float x)
{
    if (x == 0)
        return 0;
    int exponent;
    const float fraction = frexpf(fabsf(x), &exponent); /* 0.5 to 1 */
    const uint16_t sign = x < 0 ? 0x8000 : 0;
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)(fraction * 2048) & 1023));
}

/* The parameters of a network in this type, in its order: the numbers of `made`, again and again.
 * only: NULL, or the one tensor of this type, the others are float32. with_spec: NULL, or the spec
 * in the metadata. */
static void write_file(const char *path, const caps_model_spec *own, const char *dtype,
    const char *only, const char *with_spec)
{
    caps_error err = {0};
    caps_network network = {0};
    caps_st_tensor tensors[CAPS_MOST_PARAMETERS];
    test_ok(caps_network_init(&network, own, &err));
    void *data[CAPS_MOST_PARAMETERS];
    for (size_t i = 0; i < network.parameter_count; i++) {
        const caps_parameter *p = &network.parameters[i].parameter;
        const char *type = !only || strcmp(only, p->name) == 0 ? dtype : "F32";
        const size_t bytes = strcmp(type, "F64") == 0           ? 8
                             : type[0] == 'F' && type[1] == '3' ? 4
                                                                : 2;
        unsigned char *to = data[i] = malloc(p->count * 8);
        for (size_t e = 0; e < p->count; e++) {
            const float x = made.parameters[(p->first + e) % made.count];
            const double wide = x;
            uint32_t bits;
            memcpy(&bits, &x, 4);
            const uint16_t upper = (uint16_t)(bits >> 16), half = to_half(x);
            memcpy(to + e * bytes,
                bytes == 8                  ? (const void *)&wide
                : bytes == 4                ? (const void *)&x
                : strcmp(type, "BF16") == 0 ? (const void *)&upper
                                            : (const void *)&half,
                bytes);
        }
        tensors[i] = (caps_st_tensor){
            .name = p->name, .ndim = p->ndim, .data = to, .bytes = p->count * bytes};
        snprintf(tensors[i].dtype, sizeof tensors[i].dtype, "%s", type);
        memcpy(tensors[i].shape, p->shape, sizeof p->shape);
    }
    const caps_st_pair pair = {"capscl.spec", with_spec};
    test_ok(caps_safetensors_save(
        path, tensors, network.parameter_count, &pair, with_spec != NULL, &err));
    for (size_t i = 0; i < network.parameter_count; i++)
        free(data[i]);
    caps_network_release(&network);
}

/* ---- types ---------------------------------------------------------------------------------- */

START_TEST(other_types_are_converted)
{
    static const struct {
        const char *dtype, *name;
    } types[] = {{"F32", NULL}, {"F16", "float16"}, {"BF16", "bfloat16"}, {"F64", "float64"}};
    caps_error err = {0};
    caps_checkpoint c;
    char expected[640];
    for (size_t i = 0; i < 4; i++) {
        const char *path = in_directory("types.safetensors");
        write_file(path, spec, types[i].dtype, NULL, SPEC);
        test_ok(caps_checkpoint_load(&c, path, NULL, &err));
        ck_assert_uint_eq(c.count, made.count);
        ck_assert_mem_eq(c.parameters, made.parameters, c.count * sizeof *c.parameters);
        snprintf(expected, sizeof expected, "%s: 10 of 10 tensors are %s, converted to float32\n",
            path, types[i].name);
        if (types[i].name)
            ck_assert_str_eq(c.notes, expected);
        else
            ck_assert_ptr_null(c.notes);
        caps_checkpoint_release(&c);
    }
    write_file(in_directory("types.safetensors"), spec, "F16", "primary.bias", SPEC);
    test_ok(caps_checkpoint_load(&c, in_directory("types.safetensors"), NULL, &err));
    ck_assert_ptr_nonnull(strstr(c.notes, ": 1 of 10 tensors is float16, converted"));
    caps_checkpoint_release(&c);
}
END_TEST

/* One tensor of these bytes, as [n]. */
static caps_status read_one(
    float *out, size_t n, const char *dtype, const void *data, size_t bytes, caps_error *err)
{
    caps_st_tensor t = {.name = "x", .ndim = 1, .shape = {n}, .data = data, .bytes = bytes};
    caps_parameter p = {.name = "x", .ndim = 1, .shape = {n}, .count = n};
    snprintf(t.dtype, sizeof t.dtype, "%s", dtype);
    caps_status status = caps_parameter_check(&t, "x", &p, "f", err);
    return status == CAPS_OK ? caps_parameter_read(out, &t, &p, "f", err) : status;
}

START_TEST(values_of_other_types_are_exact)
{
    /* The least and the greatest subnormal, the least normal, 1, the next above it, the greatest,
     * -2, -0. */
    const uint16_t halves[] = {0x0001, 0x03ff, 0x0400, 0x3c00, 0x3c01, 0x7bff, 0xc000, 0x8000};
    const float of_halves[] = {
        0x1p-24f, 1023 * 0x1p-24f, 0x1p-14f, 1, 1 + 0x1p-10f, 65504, -2, -0.0f};
    const uint16_t brains[] = {0x3f80, 0x3f81, 0x7f7f, 0x0001, 0xc000};
    const float of_brains[] = {1, 1 + 0x1p-7f, 0x1.fep127f, 0x1p-133f, -2};
    /* A tie goes to the even neighbour; what underflows becomes 0. */
    const double doubles[] = {1 + 0x1p-24, 1 + 0x1.8p-23, 0.1, 1e-60, FLT_MAX};
    const float of_doubles[] = {1, 1 + 0x1p-22f, 0.1f, 0, FLT_MAX};
    float out[8];
    caps_error err = {0};
    test_ok(read_one(out, 8, "F16", halves, sizeof halves, &err));
    ck_assert_mem_eq(out, of_halves, sizeof of_halves);
    test_ok(read_one(out, 5, "BF16", brains, sizeof brains, &err));
    ck_assert_mem_eq(out, of_brains, sizeof of_brains);
    test_ok(read_one(out, 5, "F64", doubles, sizeof doubles, &err));
    ck_assert_mem_eq(out, of_doubles, sizeof of_doubles);
}
END_TEST

START_TEST(numbers_that_float32_cannot_hold)
{
    const uint16_t infinite[] = {0x3c00, 0x7c00}, nan[] = {0x7e00}, brain[] = {0x7f80};
    const double large[] = {1, -1e39}, bad[] = {INFINITY};
    const int32_t whole[] = {3};
    const struct {
        const char *dtype;
        const void *data;
        size_t n, bytes;
        const char *needle;
    } rows[] = {{"F16", infinite, 2, 4, "f: tensor x: element 1 is not finite"},
        {"F16", nan, 1, 2, "element 0 is not finite"},
        {"BF16", brain, 1, 2, "element 0 is not finite"},
        {"F64", large, 2, 16,
            "element 1 is -1e+39, too large for float32, need at most 3.40282e+38"},
        {"F64", bad, 1, 8, "element 0 is not finite"},
        {"I32", whole, 1, 4, "dtype is I32, need F32, or F16, BF16 or F64"}};
    float out[2];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        caps_error err = {0};
        ck_assert_int_eq(read_one(out, rows[i].n, rows[i].dtype, rows[i].data, rows[i].bytes, &err),
            CAPS_ERR_FORMAT);
        ck_assert_msg(strstr(err.message, rows[i].needle) != NULL, "%s", err.message);
    }
}
END_TEST

/* ---- a network beside the file -------------------------------------------------------------- */

START_TEST(a_file_without_its_spec)
{
    caps_error err = {0};
    caps_checkpoint c;
    char arch[512];
    const char *path = in_directory("plain.safetensors");
    write_file(path, spec, "F32", NULL, NULL);
    ck_assert_int_eq(caps_checkpoint_load(&c, path, NULL, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "--arch"));
    snprintf(arch, sizeof arch, "%s/arch.json", directory);
    test_ok(caps_file_write(arch, SPEC, strlen(SPEC), &err));
    test_ok(caps_checkpoint_load_as(&c, path, arch, &err));
    ck_assert(!c.has_spec && caps_model_spec_equal(c.spec, spec));
    ck_assert_mem_eq(c.parameters, made.parameters, c.count * sizeof *c.parameters);
    ck_assert_ptr_null(c.notes);
    caps_checkpoint_release(&c);
    /* A file of another network, and a network of another file. */
    ck_assert_int_eq(caps_checkpoint_load_as(&c, path, "small", &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_null(c.parameters);
    ck_assert_int_eq(caps_checkpoint_load_as(&c, path, "smalll", &err), CAPS_ERR_NOT_FOUND);
    path = in_directory("own.safetensors");
    write_file(path, spec, "F32", NULL, SPEC);
    test_ok(caps_checkpoint_load_as(&c, path, arch, &err));
    ck_assert(c.has_spec);
    caps_checkpoint_release(&c);
    ck_assert_int_eq(caps_checkpoint_load_as(&c, path, "small", &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, "is of its own network, not of small ("));
    ck_assert_ptr_nonnull(strstr(err.message, "leave --arch out"));
}
END_TEST

START_TEST(classes_of_a_built_in_network_come_from_the_file)
{
    static const char *const names[] = {"small", "cnn-small"};
    static const size_t counts[] = {10, 3, 28};
    const char *path = in_directory("builtin.safetensors");
    for (size_t n = 0; n < 2; n++)
        for (size_t i = 0; i < 3; i++)
            for (int plain = 0; plain < 2; plain++) {
                caps_error err = {0};
                caps_checkpoint c;
                char note[64];
                OWNED_SPEC(own) = NULL;
                test_ok(caps_model_spec_load(&own, names[n], &err));
                test_ok(caps_model_spec_set_classes(own, counts[i], &err));
                char *text = plain ? NULL : caps_model_spec_format(own);
                write_file(path, own, "F32", NULL, text);
                free(text);
                test_ok(caps_checkpoint_load_as(&c, path, names[n], &err));
                ck_assert_uint_eq(caps_model_spec_info(c.spec)->classes, counts[i]);
                snprintf(
                    note, sizeof note, "of %zu classes (%s by itself: 10)\n", counts[i], names[n]);
                if (plain && i > 0)
                    ck_assert_msg(strstr(c.notes, note) != NULL, "%s", c.notes);
                else
                    ck_assert_ptr_null(c.notes);
                caps_checkpoint_release(&c);
            }
}
END_TEST

/* ---- what fits ------------------------------------------------------------------------------ */

START_TEST(layers_that_fit_are_taken)
{
    caps_error err = {0};
    caps_checkpoint c;
    caps_network network = {0};
    char expected[2048];
    const char *path = in_directory("five.safetensors");
    OWNED_SPEC(other) = NULL;
    write_file(path, spec, "F16", NULL, SPEC);
    test_ok(caps_model_spec_copy(&other, spec, &err));
    test_ok(caps_model_spec_set_classes(other, 3, &err));
    test_ok(caps_checkpoint_load_fitting(&c, path, other, &err));
    test_ok(caps_network_init(&network, other, &err));
    ck_assert_uint_eq(c.count, network.elements);
    ck_assert_ptr_nonnull(c.fresh);
    for (size_t i = 0; i < network.parameter_count; i++) {
        const caps_parameter *p = &network.parameters[i].parameter;
        const bool taken = strncmp(p->name, "conv1", 5) == 0 ||
                           strncmp(p->name, "primary", 7) == 0 ||
                           strncmp(p->name, "decoder.fc2", 11) == 0;
        ck_assert_msg(c.fresh[i] == !taken, "%s", p->name);
        for (size_t e = 0; !taken && e < p->count; e++)
            ck_assert(c.parameters[p->first + e] == 0);
    }
    /* The first layers lie where they lie in the file's network. */
    const caps_parameter *last = &network.parameters[3].parameter;
    ck_assert_mem_eq(
        c.parameters, made.parameters, (last->first + last->count) * sizeof *c.parameters);
    const caps_model_info *info = caps_model_spec_info(spec);
    snprintf(expected, sizeof expected,
        "%s: taken: conv1, primary, decoder.fc2; begun anew: class_caps (weight is [%zu, 5, 7, 4] "
        "in "
        "the file, need [%zu, 3, 7, 4]), decoder.fc1 (weight is [10, 35] in the file, need [10, "
        "21])\n%s: 6 of 10 tensors are float16, converted to float32\n",
        path, info->inputs, info->inputs, path);
    ck_assert_str_eq(c.notes, expected);
    caps_network_release(&network);
    caps_checkpoint_release(&c);
}
END_TEST

START_TEST(layers_of_the_file_that_are_not_used)
{
    caps_error err = {0};
    caps_checkpoint c;
    const char *path = in_directory("decoder.safetensors");
    OWNED_SPEC(other) = NULL;
    write_file(path, spec, "F32", NULL, NULL);
    test_ok(caps_model_spec_copy(&other, spec, &err));
    test_ok(caps_model_spec_remove_decoder(other, &err));
    test_ok(caps_checkpoint_load_fitting(&c, path, other, &err));
    ck_assert_ptr_null(c.fresh);
    ck_assert_ptr_nonnull(strstr(c.notes,
        ": taken: conv1, primary, class_caps; not used: decoder.fc1.weight, decoder.fc1.bias, "
        "decoder.fc2.weight, decoder.fc2.bias\n"));
    ck_assert_mem_eq(c.parameters, made.parameters, c.count * sizeof *c.parameters);
    caps_checkpoint_release(&c);
    /* All of it fits: nothing to say. */
    test_ok(caps_checkpoint_load_fitting(&c, path, spec, &err));
    ck_assert(!c.fresh && !c.notes);
    caps_checkpoint_release(&c);
}
END_TEST

START_TEST(a_file_of_which_nothing_fits)
{
    caps_error err = {0};
    caps_checkpoint c;
    const char *path = in_directory("none.safetensors");
    OWNED_SPEC(other) = NULL;
    write_file(path, spec, "F32", NULL, SPEC);
    test_ok(caps_model_spec_load(&other, "small", &err));
    ck_assert_int_eq(caps_checkpoint_load_fitting(&c, path, other, &err), CAPS_ERR_MISMATCH);
    ck_assert_msg(strstr(err.message, "no layer of it fits the network: conv1 (weight is [6, 2, 4, "
                                      "4] in the file, need [48, 1, 9, 9])") != NULL,
        "%s", err.message);
    ck_assert_ptr_null(c.parameters);
    /* Every tensor fits, but the file says that its routing is another. */
    caps_model_spec_free(other);
    other = NULL;
    test_ok(caps_model_spec_copy(&other, spec, &err));
    test_ok(caps_model_spec_set(other, "caps", "routing.iterations", "2", NULL, &err));
    ck_assert_int_eq(caps_checkpoint_load_fitting(&c, path, other, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, "class_caps.iterations is 3, need 2"));
}
END_TEST

/* ---- memory --------------------------------------------------------------------------------- */

/* Three gigabytes that are of no use are not read: the header says so. */
START_TEST(the_header_is_checked_before_data_are_read)
{
    static const char header[] =
        "{\"__metadata__\":{\"capscl.spec\":\"{\\\"input\\\":[2,11,9],"
        "\\\"classes\\\":5,\\\"conv1\\\":{\\\"channels\\\":6,\\\"kernel\\\""
        ":4,\\\"stride\\\":1},\\\"primary\\\":{\\\"types\\\":3,\\\"dim\\\":"
        "4,\\\"kernel\\\":3,\\\"stride\\\":2},\\\"class_caps\\\":{\\\"dim"
        "\\\":7,\\\"iterations\\\":3}}\"},\"conv1.weight\":{\"dtype\":"
        "\"F32\",\"shape\":[805306368],\"data_offsets\":[0,3221225472]}}";
    unsigned char begin[8 + sizeof header];
    caps_error err = {0};
    caps_checkpoint c;
    struct rusage before, after;
    const char *path = in_directory("large.safetensors");
    memset(begin, 0, 8);
    begin[0] = (sizeof header - 1) & 255;
    begin[1] = (sizeof header - 1) >> 8;
    memcpy(begin + 8, header, sizeof header);
    test_ok(caps_file_write(path, begin, 8 + sizeof header - 1, &err));
    ck_assert_int_eq(truncate(path, (off_t)(8 + sizeof header - 1) + 3221225472), 0);
    getrusage(RUSAGE_SELF, &before);
    ck_assert_int_eq(caps_checkpoint_load(&c, path, NULL, &err), CAPS_ERR_FORMAT);
    getrusage(RUSAGE_SELF, &after);
    ck_assert_ptr_nonnull(strstr(err.message, "shape is [805306368], need [6, 2, 4, 4]"));
    ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 64 * 1024); /* KiB */
    /* The file ends before its data do. */
    write_file(path, spec, "F32", NULL, SPEC);
    ck_assert_int_eq(truncate(path, 3000), 0);
    ck_assert_int_eq(caps_checkpoint_load(&c, path, NULL, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "data offsets are not within the file's"));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("checkpoints of others");
    TCase *tc = tcase_create("checkpoints");
    tcase_set_timeout(tc, 0);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, other_types_are_converted);
    tcase_add_test(tc, values_of_other_types_are_exact);
    tcase_add_test(tc, numbers_that_float32_cannot_hold);
    tcase_add_test(tc, a_file_without_its_spec);
    tcase_add_test(tc, classes_of_a_built_in_network_come_from_the_file);
    tcase_add_test(tc, layers_that_fit_are_taken);
    tcase_add_test(tc, layers_of_the_file_that_are_not_used);
    tcase_add_test(tc, a_file_of_which_nothing_fits);
    tcase_add_test(tc, the_header_is_checked_before_data_are_read);
    suite_add_tcase(s, tc);
    return s;
}
