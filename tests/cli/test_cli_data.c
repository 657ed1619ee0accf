/* Bad data sets, specs, checkpoints, pictures and outputs, given to the program: one line that
 * names the thing, the contract's exit code, and no file touched. */
#include <math.h>
#include <zlib.h>

#include "cli_support.h"
#include "safetensors.h"

/* Made once: a good data set, a spec, a checkpoint of one step, and a place for bad copies. */
static char *work, *data, *spec, *run, *model;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "good", 24, 12, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    model = cli_path(run, "model.safetensors");
    test_process p = cli_run("train", "--data", data, "--arch", spec, "--out", run, "--batch", "8",
        "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
}

static void tear_down(void)
{
    free(work);
}

/* ---- data sets ------------------------------------------------------------------------------ */

#define IMAGES "train-images-idx3-ubyte"
#define LABELS "train-labels-idx1-ubyte"

/* A fresh copy of the good set. */
static char *copy_data(const char *name)
{
    return cli_make_data(work, name, 24, 12, 1, 12, 12, 4);
}

/* Changes a file: its length becomes n + more, and one byte is set (at < 0: none). */
static void damage(const char *directory, const char *name, long more, long at, int value)
{
    char *path = cli_path(directory, name);
    size_t n = 0;
    unsigned char *bytes = cli_read(path, &n);
    size_t length = (size_t)((long)n + more);
    unsigned char *changed = calloc(1, length + 1);
    memcpy(changed, bytes, n < length ? n : length);
    if (at >= 0)
        changed[at] = (unsigned char)value;
    cli_write(path, changed, length);
    free(bytes);
    free(changed);
    free(path);
}

static void expect_bad_data(const char *bad, const char *needle)
{
    char *out = cli_path(work, "never");
    uint64_t before = cli_tree_hash(work);
    cli_expect_error(
        cli_run("train", "--data", (char *)bad, "--arch", spec, "--out", out), 3, needle, "train");
    ck_assert_msg(!caps_path_exists(out), "the run directory was made");
    ck_assert_uint_eq(cli_tree_hash(work), before);
    /* A run that is to be overwritten is still there too. */
    cli_expect_error(
        cli_run("train", "--data", (char *)bad, "--arch", spec, "--out", run, "--overwrite"), 3,
        needle, "train --overwrite");
    ck_assert_uint_eq(cli_tree_hash(work), before);
    free(out);
}

START_TEST(data_that_is_not_there)
{
    expect_bad_data("no-such-set", "no-such-set");
    expect_bad_data("/nonexistent/set", "/nonexistent/set");
    expect_bad_data(spec, "tiny.json");
    char *bad = copy_data("missing-file");
    ck_assert_int_eq(unlink(cli_path(bad, "t10k-labels-idx1-ubyte")), 0);
    expect_bad_data(bad, "t10k-labels-idx1-ubyte");
}
END_TEST

START_TEST(data_that_is_damaged)
{
    char *bad = copy_data("truncated");
    damage(bad, IMAGES, -1, -1, 0);
    expect_bad_data(bad, IMAGES);
    bad = copy_data("only-a-header");
    damage(bad, IMAGES, -(16 + 24 * 144) + 10, -1, 0);
    expect_bad_data(bad, IMAGES);
    bad = copy_data("too-long");
    damage(bad, IMAGES, 1, -1, 0);
    expect_bad_data(bad, IMAGES);
    bad = copy_data("wrong-magic");
    damage(bad, IMAGES, 0, 2, 9);
    expect_bad_data(bad, "magic");
    bad = copy_data("labels-magic");
    damage(bad, LABELS, 0, 3, 3);
    expect_bad_data(bad, "magic");
    bad = copy_data("no-images");
    damage(bad, IMAGES, -24 * 144, 7, 0);
    expect_bad_data(bad, IMAGES);
    bad = copy_data("huge-header");
    damage(bad, IMAGES, 0, 4, 0xff);
    expect_bad_data(bad, IMAGES);
    bad = copy_data("disagree");
    damage(bad, LABELS, -1, 7, 23);
    expect_bad_data(bad, "23");
    bad = copy_data("label-too-large");
    damage(bad, LABELS, 0, 8 + 5, 4);
    expect_bad_data(bad, "label");
}
END_TEST

START_TEST(data_in_a_damaged_gz)
{
    char *bad = copy_data("gz"), *plain = cli_path(bad, IMAGES);
    char *packed = cli_path(bad, IMAGES ".gz");
    size_t n = 0;
    unsigned char *bytes = cli_read(plain, &n);
    gzFile gz = gzopen(packed, "wb");
    ck_assert_int_eq(gzwrite(gz, bytes, (unsigned)n), (int)n);
    ck_assert_int_eq(gzclose(gz), Z_OK);
    ck_assert_int_eq(unlink(plain), 0);
    free(bytes);

    /* Whole, it serves. */
    test_process p = cli_run("eval", "--model", model, "--data", bad, "--split", "train", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 24);
    json_decref(value);
    test_process_release(&p);

    bytes = cli_read(packed, &n);
    cli_write(packed, bytes, n / 2); /* cut */
    expect_bad_data(bad, IMAGES ".gz");
    bytes[n / 2] ^= 0x55; /* a flipped byte inside */
    bytes[n / 2 + 1] ^= 0x55;
    cli_write(packed, bytes, n);
    expect_bad_data(bad, IMAGES ".gz");
    cli_write(packed, "no gzip at all", 14);
    expect_bad_data(bad, IMAGES ".gz");
    free(bytes);
}
END_TEST

START_TEST(data_that_does_not_fit_the_model)
{
    char *bad = cli_make_data(work, "other-size", 8, 8, 1, 12, 13, 4);
    expect_bad_data(bad, "12x13");
    cli_expect_error(cli_run("eval", "--model", model, "--data", bad), 3, "12x13", "eval");
    cli_expect_error(cli_run("predict", "--model", model, "--data", bad), 3, "12x13", "predict");
    bad = cli_make_data(work, "colour", 8, 8, 3, 12, 12, 4);
    expect_bad_data(bad, "3x12x12");
    bad = cli_make_data(work, "more-classes", 8, 8, 1, 12, 12, 5);
    expect_bad_data(bad, "label");
    cli_expect_error(cli_run("eval", "--model", model, "--data", bad), 3, "label", "eval");
}
END_TEST

START_TEST(data_names)
{
    /* A name is looked for in $CAPSCL_DATA; an unknown one says where it was looked for. */
    char *place = caps_format("CAPSCL_DATA=%s", work);
    char *const environment[] = {place, NULL};
    test_process p = cli_run_env(
        environment, "eval", "--model", model, "--data", "good", "--json", (char *)NULL);
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(
        cli_run_env(environment, "eval", "--model", model, "--data", "bad-name", (char *)NULL), 3,
        "bad-name", "eval");
    free(place);
}
END_TEST

/* ---- specs ---------------------------------------------------------------------------------- */

#define CONV      "\"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1}"
#define PRIMARY   "\"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2}"
#define CLASSCAPS "\"class_caps\": {\"dim\": 6, \"iterations\": 2}"
#define HEAD      "{\"input\": [1,12,12], \"classes\": 4, "

static const struct {
    const char *json, *needle;
} specs[] = {
    {"", "spec.json"},
    {"{", "spec.json"},
    {"not json", "spec.json"},
    {"[1, 2]", "spec.json"},
    {TINY_SPEC " trailing", "spec.json"},
    {"{\"classes\": 4, " CONV ", " PRIMARY ", " CLASSCAPS "}", "input"},
    {"{\"input\": [1,12,12], " CONV ", " PRIMARY ", " CLASSCAPS "}", "classes"},
    {HEAD PRIMARY ", " CLASSCAPS "}", "conv1"},
    {HEAD CONV ", " CLASSCAPS "}", "primary"},
    {HEAD CONV ", " PRIMARY "}", "class_caps"},
    {HEAD CONV ", " PRIMARY ", " CLASSCAPS ", \"extra\": 1}", "extra"},
    {HEAD CONV ", " PRIMARY ", \"class_caps\": {\"dim\": 6}}", "iterations"},
    {HEAD CONV ", " PRIMARY ", \"class_caps\": {\"dim\": 6, \"iterations\": 0}}", "iterations"},
    {HEAD CONV ", " PRIMARY ", \"class_caps\": {\"dim\": -6, \"iterations\": 2}}", "dim"},
    {HEAD CONV ", " PRIMARY
               ", \"class_caps\": {\"dim\": 6, \"iterations\": 2, \"routing_grad\": \"half\"}}",
        "routing_grad"},
    {HEAD "\"conv1\": {\"channels\": 8, \"kernel\": 13, \"stride\": 1}, " PRIMARY ", " CLASSCAPS
          "}",
        "conv1"},
    {HEAD CONV
        ", \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 11, \"stride\": 2}, " CLASSCAPS "}",
        "primary"},
    {HEAD "\"conv1\": {\"channels\": 0, \"kernel\": 3, \"stride\": 1}, " PRIMARY ", " CLASSCAPS "}",
        "conv1"},
    {HEAD "\"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 0}, " PRIMARY ", " CLASSCAPS "}",
        "stride"},
    {HEAD "\"conv1\": {\"channels\": 8.5, \"kernel\": 3, \"stride\": 1}, " PRIMARY ", " CLASSCAPS
          "}",
        "channels"},
    {HEAD "\"conv1\": {\"channels\": \"8\", \"kernel\": 3, \"stride\": 1}, " PRIMARY ", " CLASSCAPS
          "}",
        "channels"},
    {HEAD "\"conv1\": {\"channels\": 9223372036854775807, \"kernel\": 3, \"stride\": 1}, " PRIMARY
          ", " CLASSCAPS "}",
        "conv1"},
    {HEAD CONV ", " PRIMARY ", " CLASSCAPS ", \"decoder\": {\"hidden\": [16, 0]}}", "decoder"},
    {HEAD CONV ", " PRIMARY ", " CLASSCAPS ", \"decoder\": {\"hiden\": [16]}}", "hid"},
    {HEAD CONV ", " PRIMARY ", " CLASSCAPS ", \"kind\": \"transformer\"}", "kind"},
    {"{\"input\": [1,12], \"classes\": 4, " CONV ", " PRIMARY ", " CLASSCAPS "}", "input"},
    {"{\"input\": [1,12,12], \"classes\": 0, " CONV ", " PRIMARY ", " CLASSCAPS "}", "classes"},
};

START_TEST(bad_specs)
{
    char *bad = cli_write_text(work, "spec.json", specs[_i].json), *out = cli_path(work, "never");
    cli_expect_error(cli_run("train", "--data", data, "--arch", bad, "--out", out), 3,
        specs[_i].needle, specs[_i].json);
    ck_assert(!caps_path_exists(out));
    free(bad);
    free(out);
}
END_TEST

START_TEST(spec_that_is_not_there)
{
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", "/nonexistent/net.json", "--out", "never"), 3,
        "/nonexistent/net.json", "train");
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", "smal", "--out", "never"), 3, "smal", "train");
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", work, "--out", "never"), 3, work, "train");
}
END_TEST

START_TEST(model_larger_than_the_device)
{
    /* A decoder of two layers of 3,000,000: some 36 TB of weights, which no device has. */
    char *bad = cli_write_text(work, "large.json",
        HEAD CONV ", " PRIMARY ", " CLASSCAPS ", \"decoder\": {\"hidden\": [3000000, 3000000]}}");
    char *out = cli_path(work, "never");
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", bad, "--out", out), 3, "does not fit", "arch");
    ck_assert(!caps_path_exists(out));
    /* A batch is no larger than its data, and goes in parts where it has to. */
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", "mnist", "--out", out, "--batch", "1000000"), 3,
        "12", "a data set that does not fit");
    ck_assert(!caps_path_exists(out));
    char *fit = cli_make_data(work, "fit", 4, 4, 1, 28, 28, 4);
    char *huge = cli_path(work, "huge-batch");
    test_process p = cli_run("train", "--data", fit, "--arch", "small", "--out", huge, "--batch",
        "1000000", "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    free(bad);
    free(out);
}
END_TEST

/* ---- checkpoints ---------------------------------------------------------------------------- */

static void expect_bad_model(const char *path, const char *needle)
{
    uint64_t before = cli_tree_hash(work);
    cli_expect_error(cli_run("eval", "--model", (char *)path, "--data", data), 3, needle, "eval");
    cli_expect_error(
        cli_run("train", "--data", data, "--out", cli_path(work, "never"), "--init", (char *)path),
        3, needle, "train --init");
    ck_assert_uint_eq(cli_tree_hash(work), before);
}

START_TEST(checkpoints_that_are_not_there)
{
    cli_expect_error(cli_run("eval", "--model", "/nonexistent.safetensors", "--data", data), 3,
        "/nonexistent.safetensors", "eval");
    cli_expect_error(cli_run("predict", "--model", "/nonexistent.safetensors", "--data", data), 3,
        "/nonexistent.safetensors", "predict");
    expect_bad_model(work, work); /* a directory */
    expect_bad_model(spec, "tiny.json");
}
END_TEST

START_TEST(checkpoints_with_bad_bytes)
{
    size_t n = 0;
    unsigned char *bytes = cli_read(model, &n);
    char *bad = cli_path(work, "bad.safetensors");
    static const size_t cuts[] = {0, 4, 8, 100};
    for (size_t i = 0; i < 4; i++) {
        cli_write(bad, bytes, cuts[i]);
        expect_bad_model(bad, "bad.safetensors");
    }
    cli_write(bad, bytes, n - 1);
    expect_bad_model(bad, "bad.safetensors");
    /* A header of 2^60 bytes. */
    unsigned char *changed = malloc(n + 1);
    memcpy(changed, bytes, n);
    memset(changed, 0, 8);
    changed[7] = 0x10;
    cli_write(bad, changed, n);
    expect_bad_model(bad, "bad.safetensors");
    /* One byte too many. */
    memcpy(changed, bytes, n);
    changed[n] = 0;
    cli_write(bad, changed, n + 1);
    expect_bad_model(bad, "bad.safetensors");
    free(changed);
    free(bytes);
    free(bad);
}
END_TEST

/* A checkpoint whose header is `header`, followed by `n` zero bytes. */
static void write_raw(const char *path, const char *header, size_t n)
{
    size_t length = strlen(header);
    unsigned char *bytes = calloc(1, 8 + length + n);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, length);
    cli_write(path, bytes, 8 + length + n);
    free(bytes);
}

START_TEST(checkpoints_with_bad_offsets)
{
    char *bad = cli_path(work, "offsets.safetensors");
    write_raw(bad,
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
        12);
    expect_bad_model(bad, "offsets.safetensors");
    write_raw(bad, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4);
    expect_bad_model(bad, "offsets.safetensors");
    write_raw(bad,
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[18446744073709551608,18446744073709551616]}}",
        8);
    expect_bad_model(bad, "offsets.safetensors");
    write_raw(bad, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8);
    expect_bad_model(bad, "offsets.safetensors");
    write_raw(bad, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8);
    expect_bad_model(bad, "offsets.safetensors");
    free(bad);
}
END_TEST

/* Writes the good checkpoint's tensors after `change` has had its way with them. */
static void write_changed(const char *path, size_t (*change)(caps_st_tensor *tensors, size_t count))
{
    caps_error err = {0};
    caps_safetensors st = {0};
    test_ok(caps_safetensors_load(&st, model, &err));
    caps_st_tensor tensors[32];
    memcpy(tensors, st.tensors, st.count * sizeof *tensors);
    size_t count = change(tensors, st.count);
    test_ok(caps_safetensors_save(path, tensors, count, st.metadata, st.metadata_count, &err));
    caps_safetensors_release(&st);
}

static size_t find(const caps_st_tensor *tensors, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(tensors[i].name, name) == 0)
            return i;
    ck_abort_msg("no tensor %s", name);
}

static size_t drop_one(caps_st_tensor *tensors, size_t count)
{
    tensors[find(tensors, count, "primary.bias")] = tensors[count - 1];
    return count - 1;
}

static const float spare[2] = {1, 2};

static size_t add_one(caps_st_tensor *tensors, size_t count)
{
    tensors[count] = (caps_st_tensor){.name = "stranger",
        .dtype = "F32",
        .ndim = 1,
        .shape = {2},
        .data = spare,
        .bytes = sizeof spare};
    return count + 1;
}

static size_t change_dtype(caps_st_tensor *tensors, size_t count)
{
    strcpy(tensors[find(tensors, count, "conv1.bias")].dtype, "I32");
    return count;
}

static size_t change_shape(caps_st_tensor *tensors, size_t count)
{
    caps_st_tensor *t = &tensors[find(tensors, count, "conv1.weight")];
    ck_assert_int_eq(t->ndim, 4);
    t->shape[0] = 4; /* [8,1,3,3] becomes [4,2,3,3]: the same bytes */
    t->shape[1] = 2;
    return count;
}

static size_t put_nan(caps_st_tensor *tensors, size_t count)
{
    caps_st_tensor *t = &tensors[find(tensors, count, "class_caps.weight")];
    static float *copy; /* kept until the file is written; freed never, it is one */
    copy = malloc(t->bytes);
    memcpy(copy, t->data, t->bytes);
    copy[t->bytes / 8] = NAN;
    t->data = copy;
    return count;
}

START_TEST(checkpoints_with_bad_tensors)
{
    char *bad = cli_path(work, "tensors.safetensors");
    write_changed(bad, drop_one);
    expect_bad_model(bad, "primary.bias");
    write_changed(bad, add_one);
    expect_bad_model(bad, "stranger");
    write_changed(bad, change_dtype);
    expect_bad_model(bad, "conv1.bias");
    write_changed(bad, change_shape);
    expect_bad_model(bad, "conv1.weight");
    write_changed(bad, put_nan);
    expect_bad_model(bad, "class_caps.weight");
    free(bad);
}
END_TEST

START_TEST(init_that_disagrees_with_arch)
{
    char *out = cli_path(work, "never");
    char *other = cli_write_text(work, "other.json",
        HEAD CONV ", " PRIMARY ", \"class_caps\": {\"dim\": 6, \"iterations\": 3}, \"decoder\": "
                  "{\"hidden\": [16]}}");
    cli_expect_error(
        cli_run("train", "--data", data, "--out", out, "--init", model, "--arch", other), 3,
        "model.safetensors", "train");
    cli_expect_error(
        cli_run("train", "--data", data, "--out", out, "--init", model, "--arch", "small"), 3,
        "model.safetensors", "train");
    ck_assert(!caps_path_exists(out));
    free(other);
    free(out);
}
END_TEST

/* ---- pictures, indices, outputs ------------------------------------------------------------- */

START_TEST(pictures_that_are_none)
{
    cli_expect_error(
        cli_run("predict", "--model", model, "/nonexistent.png"), 3, "/nonexistent.png", "predict");
    cli_expect_error(cli_run("predict", "--model", model, spec), 3, "tiny.json", "predict");
    char *png = cli_write_text(work, "cut.png", "\x89PNG\r\n\x1a\n and no more");
    cli_expect_error(cli_run("predict", "--model", model, png), 3, "cut.png", "predict");
    free(png);
}
END_TEST

/* A pipe that nobody writes to is refused at once, whatever was asked of it. */
START_TEST(pipes_are_no_files)
{
    char *pipe_path = cli_path(work, "pipe"), *out = cli_path(work, "never");
    char *set = copy_data("piped"), *labels = cli_path(set, LABELS);
    ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
    ck_assert_int_eq(unlink(labels), 0);
    ck_assert_int_eq(mkfifo(labels, 0600), 0);
    char *const lines[][10] = {
        {"train", "--data", data, "--out", out, "--init", pipe_path},
        {"train", "--data", data, "--out", out, "--arch", pipe_path},
        {"train", "--data", set, "--out", out, "--arch", spec},
        {"eval", "--data", data, "--model", pipe_path},
        {"predict", "--model", model, pipe_path},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char *argv[12] = {TEST_PROGRAM};
        memcpy(argv + 1, lines[i], sizeof lines[i]);
        cli_expect_error(test_run(argv, NULL), 3, "is a pipe ", lines[i][0]);
    }
    ck_assert(!caps_path_exists(out));
    ck_assert_int_eq(unlink(pipe_path), 0);
    ck_assert_int_eq(unlink(labels), 0); /* other tests read all that is here */
}
END_TEST

START_TEST(indices_out_of_range)
{
    cli_expect_error(cli_run("predict", "--model", model, "--data", data, "--index", "0", "12"), 2,
        "--index: 12 is out of range, need 0..11", "predict");
    cli_expect_error(cli_run("predict", "--model", model, "--data", data, "--index", "4294967295"),
        2, "--index", "predict");
}
END_TEST

START_TEST(outputs_that_cannot_be_written)
{
    /* Root writes anywhere, so the places are ones that take no file from anyone. */
    static const char *const places[] = {"/proc/self/nothing", "/nonexistent/directory/file"};
    for (size_t i = 0; i < 2; i++) {
        char *png = caps_format("%s.png", places[i]), *csv = caps_format("%s.csv", places[i]);
        cli_expect_error(cli_run("predict", "--model", model, "--data", data, "--reconstruct", png),
            1, png, "predict");
        cli_expect_error(cli_run("eval", "--model", model, "--data", data, "--predictions", csv), 1,
            csv, "eval");
        free(png);
        free(csv);
    }
    cli_expect_error(cli_run("predict", "--model", model, "--data", data, "--reconstruct", work), 1,
        work, "predict");
    uint64_t before = cli_tree_hash(work);
    cli_expect_error(cli_run("train", "--data", data, "--arch", spec, "--out", "/proc/nothing"), 1,
        "/proc/nothing", "train");
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", spec, "--out", spec), 1, spec, "train");
    char *below = cli_path(spec, "run");
    cli_expect_error(
        cli_run("train", "--data", data, "--arch", spec, "--out", below), 1, "tiny.json", "train");
    ck_assert_uint_eq(cli_tree_hash(work), before);
    free(below);
}
END_TEST

/* An output that is also an input, by whatever name, is refused before any work. */
START_TEST(outputs_that_are_inputs)
{
    char *picture = cli_path(work, "input.png"), *linked = cli_path(work, "linked.csv");
    char *odd = caps_format("%s/../run/model.safetensors", run), *out = cli_path(work, "empty");
    test_process p =
        cli_run("predict", "--model", model, "--data", data, "--reconstruct", picture, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert_int_eq(symlink(model, linked), 0);
    cli_make_directory(work, "empty");
    const uint64_t before = cli_tree_hash(work);
    char *const lines[][12] = {
        {"show", "filters", "--model", model, "--out", model},
        {"show", "filters", "--model", model, "--out", odd},
        {"eval", "--model", model, "--data", data, "--predictions", model},
        {"eval", "--model", model, "--data", data, "--predictions", linked},
        {"eval", "--model", model, "--data", data, "--trace", model},
        {"predict", "--model", model, picture, "--reconstruct", picture},
        {"predict", "--model", model, picture, "--reconstruct", model},
        {"train", "--data", data, "--init", model, "--out", out, "--trace", model},
        {"train", "--data", data, "--arch", spec, "--out", out, "--trace", spec},
        {"train", "--data", data, "--arch", spec, "--out", out, "--trace",
            cli_path(out, "metrics.jsonl")},
        {"train", "--data", data, "--out", run, "--overwrite", "--trace", model},
        {"train", "--resume", "--out", run, "--max-steps", "2", "--trace",
            cli_path(run, "state.safetensors")},
        {"train", "--data", data, "--arch", spec, "--out", out, "--repeat", "2", "--trace",
            cli_path(out, "repeat.json")},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char *argv[16] = {TEST_PROGRAM};
        memcpy(argv + 1, lines[i], sizeof lines[i]);
        cli_expect_error(test_run(argv, NULL), 2, "would replace", lines[i][0]);
    }
    ck_assert_uint_eq(cli_tree_hash(work), before);
    /* The same name elsewhere is another file. */
    p = cli_run("show", "filters", "--model", model, "--out", cli_path(work, "model.safetensors"),
        "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    free(odd);
}
END_TEST

START_TEST(devices_that_do_not_match)
{
    char *out = cli_path(work, "never");
    cli_expect_error(cli_run("train", "--data", data, "--arch", spec, "--out", out, "--device",
                         "no such device"),
        4, "no such device", "train");
    cli_expect_error(
        cli_run("eval", "--model", model, "--data", data, "--device", "7:7"), 4, "7:7", "eval");
    cli_expect_error(
        cli_run("predict", "--model", model, "--data", data, "--device", "0:"), 4, "0:", "predict");
    char *const nowhere[] = {"OCL_ICD_VENDORS=/nonexistent",
        "OCL_ICD_FILENAMES=", "OPENCL_VENDOR_PATH=/nonexistent", NULL};
    cli_expect_error(
        cli_run_env(nowhere, "train", "--data", data, "--arch", spec, "--out", out, (char *)NULL),
        4, "no OpenCL", "train");
    char *const family[] = {"CAPSCL_KERNELS=abacus", NULL};
    cli_expect_error(cli_run_env(family, "eval", "--model", model, "--data", data, (char *)NULL), 2,
        "abacus", "eval");
    char *const routing[] = {"CAPSCL_ROUTING=kept", NULL};
    cli_expect_error(
        cli_run_env(routing, "train", "--data", data, "--arch", spec, "--out", out, (char *)NULL),
        2, "routing variant \"kept\" is unknown", "train");
    /* Several devices of one name: PoCL makes as many as it is asked for. */
    char *const two[] = {"POCL_DEVICES=pthread pthread", NULL};
    test_process p = cli_run_env(two, "devices", "--json", (char *)NULL);
    json_t *list = cli_json(&p);
    if (json_array_size(list) == 2)
        cli_expect_error(cli_run_env(two, "eval", "--model", model, "--data", data, "--device",
                             "portable", (char *)NULL),
            2, "0:1", "eval");
    else
        printf(
            "SKIPPED: ambiguous device: %zu devices here, not PoCL's two\n", json_array_size(list));
    json_decref(list);
    test_process_release(&p);
    ck_assert(!caps_path_exists(out));
    free(out);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: bad input");
    TCase *t = tcase_create("bad input");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, data_that_is_not_there);
    tcase_add_test(t, data_that_is_damaged);
    tcase_add_test(t, data_in_a_damaged_gz);
    tcase_add_test(t, data_that_does_not_fit_the_model);
    tcase_add_test(t, data_names);
    tcase_add_loop_test(t, bad_specs, 0, (int)(sizeof specs / sizeof specs[0]));
    tcase_add_test(t, spec_that_is_not_there);
    tcase_add_test(t, model_larger_than_the_device);
    tcase_add_test(t, checkpoints_that_are_not_there);
    tcase_add_test(t, checkpoints_with_bad_bytes);
    tcase_add_test(t, checkpoints_with_bad_offsets);
    tcase_add_test(t, checkpoints_with_bad_tensors);
    tcase_add_test(t, init_that_disagrees_with_arch);
    tcase_add_test(t, pictures_that_are_none);
    tcase_add_test(t, pipes_are_no_files);
    tcase_add_test(t, indices_out_of_range);
    tcase_add_test(t, outputs_that_cannot_be_written);
    tcase_add_test(t, outputs_that_are_inputs);
    tcase_add_test(t, devices_that_do_not_match);
    suite_add_tcase(s, t);
    return s;
}
