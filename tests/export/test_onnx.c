/* Networks as ONNX files, seen from the library: every kind of layer has a translation, and what
 * cannot be written is refused. tests/checks/onnx reads such files, and tests/checks/onnx_runtime
 * computes with them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_support.h"
#include "file.h"
#include "onnx.h"
#include "protobuf.h"

static char *directory, *path;

static void set_up(void)
{
    directory = test_directory();
    path = caps_path_join(directory, "network.onnx");
}

static void tear_down(void)
{
    free(path);
    free(directory);
}

static unsigned char *bytes_of(const char *file, size_t *n)
{
    caps_error err = {0};
    unsigned char *data = NULL;
    test_ok(caps_file_read(&data, n, file, (size_t)1 << 30, &err));
    return data;
}

static bool holds(const char *file, const char *text)
{
    size_t n;
    unsigned char *data = bytes_of(file, &n);
    bool found = false;
    for (size_t i = 0; i + strlen(text) <= n && !found; i++)
        found = memcmp(data + i, text, strlen(text)) == 0;
    free(data);
    return found;
}

static void expect_failure(
    caps_status have, const caps_error *err, caps_status need, const char *text)
{
    ck_assert_msg(have == need, "status %d, need %d: %s", have, need, err->message);
    ck_assert_msg(strstr(err->message, text) != NULL, "need '%s' in: %s", text, err->message);
}

/* ---- translations --------------------------------------------------------------------------- */

START_TEST(every_kind_has_a_translation)
{
    size_t n = 0;
    for (; caps_layer_kind_at(n); n++)
        ck_assert_msg(caps_onnx_find(caps_layer_kind_at(n)->name) != NULL, "%s has none",
            caps_layer_kind_at(n)->name);
    ck_assert_uint_ge(n, 9);
    ck_assert(caps_onnx_find(caps_layer_input.name) && caps_onnx_find(caps_layer_mask.name));
    ck_assert_ptr_null(caps_onnx_find("made_up"));
}
END_TEST

START_TEST(a_kind_or_a_loss_without_one)
{
    const caps_layer_kind kind = {.name = "made_up"};
    const caps_layer layer = {.kind = &kind, .name = "odd1"};
    const caps_head_kind loss = {.loss = "made-up loss"};
    const caps_head head = {.kind = &loss};
    caps_onnx_graph g = {0};
    caps_error err = {0};
    expect_failure(caps_onnx_translate(&g, &layer, &err), &err, CAPS_ERR_SPEC,
        "odd1: a layer of kind made_up has no translation to ONNX");
    expect_failure(caps_onnx_scores(&g, &head, &err), &err, CAPS_ERR_SPEC,
        "a network with made-up loss has no translation to ONNX");
    caps_onnx_graph_release(&g);
}
END_TEST

START_TEST(routing_without_one)
{
    static const struct {
        caps_onnx_translation *translate;
        const char *kind;
    } rows[] = {{caps_onnx_caps, "em"}, {caps_onnx_matrix, "dynamic"}};
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_network network;
    caps_error err = {0};
    test_ok(caps_network_init(&network, spec, &err));
    for (size_t i = 0; i < 2; i++) {
        caps_onnx_graph g = {0};
        char need[80];
        json_t *fields = json_pack("{s:{s:s}}", "routing", "kind", rows[i].kind);
        snprintf(need, sizeof need, "class_caps: routing %s has no translation", rows[i].kind);
        ck_assert_str_eq(network.layers[3]->name, "class_caps");
        expect_failure(
            rows[i].translate(&g, network.layers[3], fields, &err), &err, CAPS_ERR_SPEC, need);
        json_decref(fields);
        caps_onnx_graph_release(&g);
    }
    caps_network_release(&network);
}
END_TEST

/* ---- files ---------------------------------------------------------------------------------- */

START_TEST(a_model_and_its_parameters_give_the_same_file)
{
    caps_error err = {0};
    caps_model *m = make(test_runtime(), &train8);
    float *flat = parameters_of(m);
    char *other = caps_path_join(directory, "other.onnx");
    size_t a_bytes, b_bytes;
    test_ok(caps_model_export_onnx(m, path, &err));
    test_ok(caps_onnx_write(other, caps_model_get_spec(m), flat, &err));
    unsigned char *a = bytes_of(path, &a_bytes), *b = bytes_of(other, &b_bytes);
    ck_assert(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0);
    ck_assert_uint_gt(a_bytes, caps_model_flat_count(m) * sizeof *flat);
    /* Written over what is there. */
    flat[0] += 1;
    test_ok(caps_onnx_write(other, caps_model_get_spec(m), flat, &err));
    free(b);
    b = bytes_of(other, &b_bytes);
    ck_assert(a_bytes == b_bytes && memcmp(a, b, a_bytes) != 0);
    free(a);
    free(b);
    free(other);
    free(flat);
    caps_model_free(m);
}
END_TEST

START_TEST(names_of_classes)
{
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_error err = {0};
    char *names[] = {"cat", "dog \"Rex\"", "Käfer", "3", "e"};
    float *flat = calloc(caps_model_spec_info(spec)->parameters, sizeof *flat);
    test_ok(caps_onnx_write(path, spec, flat, &err));
    ck_assert(holds(path, "[\"0\",\"1\",\"2\",\"3\",\"4\"]"));
    test_ok(caps_class_names_set(spec, names, 5, &err));
    test_ok(caps_onnx_write(path, spec, flat, &err));
    ck_assert(holds(path, "[\"cat\",\"dog \\\"Rex\\\"\",\"Käfer\",\"3\",\"e\"]"));
    ck_assert(holds(path, CAPSCL_VERSION));
    free(flat);
}
END_TEST

/* Parameters are never looked at: there are none. */
START_TEST(too_large)
{
    static const char *const specs[] = {/* 230400 capsules of 16 vote for 10 of 16. */
        "{\"input\":[1,64,64],\"classes\":10,\"conv1\":{\"channels\":4,\"kernel\":3,\"stride\":1},"
        "\"primary\":{\"types\":64,\"dim\":16,\"kernel\":3,\"stride\":1},"
        "\"class_caps\":{\"dim\":16,\"iterations\":3},\"decoder\":null}",
        /* Tables of 2704 windows of 810000 children. */
        "{\"input\":[1,60,60],\"classes\":2,\"layers\":[{\"kind\":\"matrix_primary\","
        "\"types\":10000},{\"kind\":\"matrix_conv\",\"types\":1,\"kernel\":9,\"stride\":1,"
        "\"routing\":{\"kind\":\"em\"}},{\"kind\":\"matrix_caps\",\"capsules\":2,"
        "\"routing\":{\"kind\":\"em\"}}],\"decoder\":null}"};
    OWNED_SPEC(spec) = spec_of(specs[_i]);
    caps_error err = {0};
    const float nothing = 0;
    test_ok(caps_file_write(path, "old", 3, &err));
    expect_failure(caps_onnx_write(path, spec, &nothing, &err), &err, CAPS_ERR_SPEC,
        "GiB in ONNX, need less than 2 GiB, the format's limit");
    ck_assert(holds(path, "old"));
}
END_TEST

START_TEST(no_place_to_write)
{
    OWNED_SPEC(spec) = spec_of(SPEC);
    caps_error err = {0};
    float *flat = calloc(caps_model_spec_info(spec)->parameters, sizeof *flat);
    char *nowhere = caps_path_join(directory, "no/such/place.onnx");
    ck_assert_int_eq(caps_onnx_write(nowhere, spec, flat, &err), CAPS_ERR_IO);
    ck_assert_int_eq(caps_onnx_write(directory, spec, flat, &err), CAPS_ERR_IO);
    free(nowhere);
    free(flat);
}
END_TEST

/* By its name, or as it begins; other files are not taken for it. */
START_TEST(not_read_as_a_checkpoint)
{
    static const struct {
        const char *name, *text;
        size_t bytes;
        bool onnx;
    } rows[] = {{"torch.bin", "\x08\x08\x12\x07pytorch...", 14, true}, {"short.ONNX", "x", 1, true},
        {"short.bin", "x", 1, false}, {"other.bin", "\x08\x08\x12\x07\x01\x02\x03\x04", 8, false},
        {"text.txt", "no network at all, but words", 28, false}};
    OWNED_SPEC(spec) = spec_of(SPEC);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        caps_error err = {0};
        caps_checkpoint c;
        char *file = caps_path_join(directory, rows[i].name);
        test_ok(caps_file_write(file, rows[i].text, rows[i].bytes, &err));
        for (int fitting = 0; fitting < 2; fitting++) {
            const caps_status status = fitting ? caps_checkpoint_load_fitting(&c, file, spec, &err)
                                               : caps_checkpoint_load(&c, file, NULL, &err);
            ck_assert_int_eq(status, CAPS_ERR_FORMAT);
            ck_assert_msg(
                (strstr(err.message, "ONNX files are written, not read") != NULL) == rows[i].onnx,
                "%s", err.message);
        }
        free(file);
    }
    caps_error err = {0};
    caps_checkpoint c;
    ck_assert_int_eq(
        caps_checkpoint_load(&c, "/no/such/file.onnx", NULL, &err), CAPS_ERR_NOT_FOUND);
}
END_TEST

/* ---- Protocol Buffers ----------------------------------------------------------------------- */

START_TEST(fields_byte_by_byte)
{
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t n;
    } rows[] = {{0, "\x08\x00", 2}, {127, "\x08\x7f", 2}, {128, "\x08\x80\x01", 3},
        {150, "\x08\x96\x01", 3}, {UINT64_MAX, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        caps_textbuf t = {0};
        caps_pb_number(&t, 1, rows[i].value);
        ck_assert(t.used == rows[i].n && memcmp(t.text, rows[i].bytes, t.used) == 0);
        caps_textbuf_release(&t);
    }
    caps_textbuf t = {0}, inner = {0};
    caps_pb_number(&inner, 20, 1); /* its key has two bytes */
    caps_pb_message(&t, 3, &inner);
    caps_pb_message(&t, 4, &inner); /* an empty one */
    caps_pb_text(&t, 2, "hi");
    caps_pb_float(&t, 2, 1.5f);
    static const char need[] = "\x1a\x03\xa0\x01\x01"
                               "\x22\x00"
                               "\x12\x02hi"
                               "\x15\x00\x00\xc0\x3f";
    ck_assert(t.used == sizeof need - 1 && memcmp(t.text, need, t.used) == 0);
    inner.out_of_memory = true;
    caps_pb_message(&t, 5, &inner);
    ck_assert(t.out_of_memory);
    caps_textbuf_release(&t);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("onnx");
    TCase *t = tcase_create("onnx");
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, every_kind_has_a_translation);
    tcase_add_test(t, a_kind_or_a_loss_without_one);
    tcase_add_test(t, routing_without_one);
    tcase_add_test(t, a_model_and_its_parameters_give_the_same_file);
    tcase_add_test(t, names_of_classes);
    tcase_add_loop_test(t, too_large, 0, 2);
    tcase_add_test(t, no_place_to_write);
    tcase_add_test(t, not_read_as_a_checkpoint);
    tcase_add_test(t, fields_byte_by_byte);
    suite_add_tcase(s, t);
    return s;
}
