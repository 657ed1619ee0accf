/* safetensors files: written and read back; one that the Python package wrote; every kind of
 * damage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "safetensors.h"
#include "support.h"

static const float weights[6] = {0, -1.5f, 2, 3, 4, 1e-30f};
static const unsigned char bytes3[3] = {7, 8, 9};

static void save(const char *path)
{
    caps_error err = {0};
    const caps_st_tensor tensors[] = {
        {.name = "w",
            .dtype = "F32",
            .ndim = 2,
            .shape = {2, 3},
            .data = weights,
            .bytes = sizeof weights},
        {.name = "scalar", .dtype = "U8", .ndim = 0, .data = bytes3, .bytes = 1},
        {.name = "b", .dtype = "U8", .ndim = 1, .shape = {3}, .data = bytes3, .bytes = 3},
        {.name = "empty", .dtype = "F64", .ndim = 2, .shape = {0, 4}, .data = "", .bytes = 0},
    };
    const caps_st_pair pairs[] = {{"spec", "{\"a\": \"b\"}"}, {"name", "Zoë\n"}};
    test_ok(caps_safetensors_save(path, tensors, 4, pairs, 2, &err));
}

START_TEST(write_and_read)
{
    caps_error err = {0};
    caps_safetensors st;
    char *directory = test_directory(), *path = caps_path_join(directory, "x.safetensors");
    save(path);
    test_ok(caps_safetensors_load(&st, path, &err));
    ck_assert_uint_eq(st.count, 4);
    const caps_st_tensor *w = caps_safetensors_get(&st, "w");
    ck_assert_ptr_nonnull(w);
    ck_assert_str_eq(w->dtype, "F32");
    ck_assert_int_eq(w->ndim, 2);
    ck_assert_uint_eq(w->shape[0], 2);
    ck_assert_uint_eq(w->shape[1], 3);
    ck_assert_mem_eq(w->data, weights, sizeof weights);
    ck_assert_int_eq(caps_safetensors_get(&st, "scalar")->ndim, 0);
    ck_assert_uint_eq(caps_safetensors_get(&st, "empty")->bytes, 0);
    ck_assert_mem_eq(caps_safetensors_get(&st, "b")->data, bytes3, 3);
    ck_assert_ptr_null(caps_safetensors_get(&st, "W"));
    ck_assert_str_eq(caps_safetensors_get_metadata(&st, "name"), "Zoë\n");
    ck_assert_ptr_null(caps_safetensors_get_metadata(&st, "nothing"));
    caps_safetensors_release(&st);

    /* The same again: the same bytes; the data begins at a multiple of eight. */
    unsigned char *a = NULL, *b = NULL;
    size_t n = 0, m = 0;
    test_ok(caps_file_read(&a, &n, path, 1 << 20, &err));
    save(path);
    test_ok(caps_file_read(&b, &m, path, 1 << 20, &err));
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(a, b, n);
    ck_assert_uint_eq((n - sizeof weights - 4) % 8, 0);
    free(a);
    free(b);
    free(path);
    free(directory);
}
END_TEST

/* tests/vectors/make_python.py: parameter n of the sorted names is n + element / 1024. */
START_TEST(a_file_from_python)
{
    static const char *const sorted[] = {"class_caps.bias", "class_caps.weight", "conv1.bias",
        "conv1.weight", "decoder.fc1.bias", "decoder.fc1.weight", "decoder.fc2.bias",
        "decoder.fc2.weight", "primary.bias", "primary.weight"};
    caps_error err = {0};
    caps_checkpoint c;
    caps_model *m = NULL;
    test_ok(
        caps_checkpoint_load(&c, TEST_SOURCE_DIR "/tests/vectors/python.safetensors", NULL, &err));
    ck_assert(c.has_spec);
    ck_assert_uint_eq(caps_model_spec_info(c.spec)->input[2], 9);
    char *bias = caps_model_spec_get(c.spec, "caps", "bias");
    ck_assert_str_eq(bias, "true");
    free(bias);
    test_ok(caps_model_create(&m, test_runtime(), c.spec,
        &(caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = 1}, &err));
    ck_assert_uint_eq(caps_model_flat_count(m), c.count);
    ck_assert_uint_eq(caps_model_parameter_count(m), 10);
    for (size_t i = 0; i < 10; i++) {
        const caps_parameter *p = caps_model_parameter(m, i);
        size_t position = 0;
        while (strcmp(sorted[position], p->name) != 0)
            ck_assert_uint_lt(++position, 10);
        for (size_t e = 0; e < p->count; e++)
            ck_assert(c.parameters[p->first + e] == (float)e / 1024 + (float)position);
    }
    caps_model_free(m);
    caps_checkpoint_release(&c);
}
END_TEST

/* header, then `n` zero bytes. */
static caps_status parse(caps_error *err, const char *header, size_t n)
{
    caps_safetensors st;
    const size_t length = strlen(header);
    unsigned char *file = calloc(1, 8 + length + n);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((unsigned long long)length >> 8 * i);
    memcpy(file + 8, header, length);
    caps_status status = caps_safetensors_parse(&st, file, 8 + length + n, "f", err);
    caps_safetensors_release(&st);
    free(file);
    return status;
}

#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data;
    const char *message;
} damaged[] = {
    {"", 0, "not valid JSON"},
    {"[]", 0, "f: its header is not a JSON object"},
    {"{\"__metadata__\":3}", 0, "f: __metadata__ is not an object"},
    {"{\"__metadata__\":{\"a\":3}}", 0, "f: __metadata__ a is not text"},
    {"{\"a\":{}}", 0, "f: tensor a: need dtype, shape and data_offsets"},
    {"{\"a\":3}", 0, "f: tensor a: need dtype"},
    {"{" ENTRY("a", "F31", "[1]", "[0,4]") "}", 4, "f: tensor a: dtype F31 is unknown"},
    {"{" ENTRY("a", "F32", "[2]", "[0,4]") "}", 4, "f: tensor a: has 4 bytes of data, need 8"},
    {"{" ENTRY("a", "F32", "[-1]", "[0,4]") "}", 4, "f: tensor a: dimension 0 is no possible size"},
    {"{" ENTRY("a", "F32", "[4294967296,4294967296,4]", "[0,0]") "}", 0, "is no possible size"},
    {"{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "has 9 dimensions"},
    {"{" ENTRY("a", "F32", "[1]", "[0,8]") "}", 4, "f: tensor a: data offsets are not within"},
    {"{" ENTRY("a", "F32", "[1]", "[4,0]") "}", 4, "f: tensor a: data offsets are not within"},
    {"{" ENTRY("a", "F32", "[1]", "[-4,0]") "}", 4, "f: tensor a: data offsets are not within"},
    {"{" ENTRY("a", "F32", "[1]", "[0.0,4]") "}", 4, "f: tensor a: data offsets are not within"},
    {"{" ENTRY("a", "F32", "[1]", "[4,8]") "}", 8, "f: tensor a: a hole of 4 bytes"},
    {"{" ENTRY("a", "F32", "[1]", "[0,4]") "}", 9, "f: 5 bytes after the last tensor"},
    {"{" ENTRY("a", "F32", "[2]", "[0,8]") "," ENTRY("b", "F32", "[1]", "[4,8]") "}", 8,
        "f: tensor b: its data overlaps that of tensor a"},
    {"{" ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY("a", "F32", "[1]", "[4,8]") "}", 8,
        "not valid JSON: duplicate object key"},
};

START_TEST(damage_is_refused)
{
    caps_error err = {0};
    ck_assert_int_eq(parse(&err, damaged[_i].header, damaged[_i].data), CAPS_ERR_FORMAT);
    ck_assert_msg(
        strstr(err.message, damaged[_i].message), "'%s' in '%s'", damaged[_i].message, err.message);
    ck_assert_ptr_null(strchr(err.message, '\n'));
}
END_TEST

START_TEST(good_headers_are_taken)
{
    caps_error err = {0};
    ck_assert_int_eq(parse(&err, "{}", 0), CAPS_OK);
    ck_assert_int_eq(parse(&err, "{}   ", 0), CAPS_OK);
    /* Any order of the tensors, an empty one between two. */
    ck_assert_int_eq(parse(&err,
                         "{" ENTRY("b", "U8", "[3]", "[4,7]") "," ENTRY(
                             "e", "F32", "[0]", "[4,4]") "," ENTRY("a", "F32", "[1]", "[0,4]") "}",
                         7),
        CAPS_OK);
}
END_TEST

START_TEST(header_lengths)
{
    caps_safetensors st;
    caps_error err = {0};
    unsigned char file[16] = {0};
    for (size_t n = 0; n < 8; n++)
        ck_assert_int_eq(caps_safetensors_parse(&st, file, n, "f", &err), CAPS_ERR_FORMAT);
    file[7] = 0x10; /* 2^60 */
    ck_assert_int_eq(caps_safetensors_parse(&st, file, 16, "f", &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "header of 1152921504606846976 bytes"));
    ck_assert_int_eq(caps_safetensors_load(&st, "/nonexistent/x", &err), CAPS_ERR_NOT_FOUND);
}
END_TEST

/* What people hand over in its place. */
START_TEST(other_kinds_of_files_are_named)
{
    static const struct {
        const char *text, *says;
    } cases[] = {{"{\"input\": [1, 28, 28]}", "looks like JSON"},
        {"PK\3\4\0\0\10\10archive/data.pkl", "is a zip archive, as torch.save writes"}};
    for (size_t i = 0; i < 2; i++) {
        caps_safetensors st;
        caps_error err = {0};
        ck_assert_int_eq(
            caps_safetensors_parse(&st, cases[i].text, 20, "f", &err), CAPS_ERR_FORMAT);
        ck_assert_msg(strstr(err.message, cases[i].says), "%s", err.message);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("safetensors");
    TCase *tc = tcase_create("safetensors");
    tcase_set_timeout(tc, 0);
    tcase_add_test(tc, write_and_read);
    tcase_add_test(tc, a_file_from_python);
    tcase_add_loop_test(tc, damage_is_refused, 0, sizeof damaged / sizeof damaged[0]);
    tcase_add_test(tc, good_headers_are_taken);
    tcase_add_test(tc, header_lengths);
    tcase_add_test(tc, other_kinds_of_files_are_named);
    suite_add_tcase(s, tc);
    return s;
}
