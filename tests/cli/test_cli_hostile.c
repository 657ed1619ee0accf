/* test_cli_hostile.c: what others may have put in the way: links, pipes and directories in place of
 * a run's files, numbers that no training writes, text that steers a terminal. */
#include "cli_support.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "safetensors.h"
#include "text.h"

static char *place, *data, *spec, *run;

static void prepare(void)
{
    cli_use_test_cache();
    place = test_directory();
    data = cli_make_data(place, "data", 40, 24, 1, 12, 12, 4);
    spec = cli_write_text(place, "tiny.json", TINY_SPEC);
    run = cli_path(place, "run");
    test_process p = cli_run("train", "--data", data, "--arch", spec, "--max-steps", "2", "--batch",
        "8", "--out", run, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
}

/* A copy of the run, under a new name. */
static char *copy_run(const char *name)
{
    static const char *const files[] = {
        "config.json", "metrics.jsonl", "model.safetensors", "state.safetensors"};
    char *copy = cli_make_directory(place, name);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t n;
        unsigned char *bytes = cli_read(cli_path(run, files[i]), &n);
        cli_write(cli_path(copy, files[i]), bytes, n);
        free(bytes);
    }
    return copy;
}

static bool is_regular(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* ---- files of a run ------------------------------------------------------------------------- */

static const char *const run_files[] = {
    "config.json", "metrics.jsonl", "model.safetensors", "state.safetensors", "report.html"};
enum { CONFIG, METRICS, MODEL, STATE, REPORT };

/* Pipes that nobody writes to, or somebody who says nothing; devices; directories: refused with one
 * line, at once, by what needs the file. */
START_TEST(what_is_no_file_is_refused_at_once)
{
    const int which = _i / 3, kind = _i % 3;
    char name[32];
    snprintf(name, sizeof name, "refused-%d", _i);
    char *copy = copy_run(name), *path = cli_path(copy, run_files[which]);
    unlink(path);
    int writer = -1;
    if (kind == 2) {
        ck_assert_int_eq(mkdir(path, 0700), 0);
    } else {
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        if (kind == 1)
            writer = open(path, O_RDWR | O_NONBLOCK);
    }
    if (which != REPORT) {
        test_process p = cli_run("train", "--resume", "--out", copy, "--max-steps", "4", "--quiet");
        const bool read_first = which == CONFIG || which == STATE;
        cli_expect_error(p, read_first ? 3 : 1, "need a", run_files[which]);
        p = cli_run(
            "train", "--data", data, "--arch", spec, "--max-steps", "1", "--out", copy, "--quiet");
        cli_expect_error(p, 2, "holds a run already", run_files[which]);
    }
    if (which != STATE) {
        test_process p = cli_run("report", copy, "--data", data, "--quiet");
        cli_expect_error(p, which == REPORT ? 1 : 3, "need", run_files[which]);
    }
    if (writer >= 0)
        close(writer);
}
END_TEST

/* A link in the place of a file: what it points to is never changed. */
START_TEST(nothing_is_written_through_a_link)
{
    const int which = _i;
    char name[32];
    snprintf(name, sizeof name, "linked-%d", which);
    char *copy = copy_run(name), *path = cli_path(copy, run_files[which]);
    char *victim = cli_path(place, "victim");
    size_t n = 0, m = 0;
    /* The victim is a good file of that name, so that reading it goes well. */
    unsigned char *before = which == REPORT ? NULL : cli_read(path, &n);
    cli_write(victim, which == REPORT ? (const void *)"old page" : before, which == REPORT ? 8 : n);
    n = which == REPORT ? 8 : n;
    unlink(path);
    ck_assert_int_eq(symlink(victim, path), 0);
    test_process p = which == REPORT ? cli_run("report", copy, "--data", data, "--quiet")
                                     : cli_run("train", "--resume", "--out", copy, "--max-steps",
                                           "4", "--quiet");
    if (which == METRICS) {
        cli_expect_error(p, 1, "metrics.jsonl: is a symbolic link, need a regular file", copy);
    } else {
        cli_expect_ok(p);
        ck_assert_msg(is_regular(path), "%s is no file of its own", path);
        test_process_release(&p);
    }
    unsigned char *after = cli_read(victim, &m);
    ck_assert_msg(m == n && (!before || memcmp(before, after, n) == 0),
        "%s was written through a link", run_files[which]);
    free(before);
    free(after);
}
END_TEST

/* What the user names may be a link: the run itself, a model. */
START_TEST(links_that_the_user_names_are_followed)
{
    char *copy = copy_run("named"), *link = cli_path(place, "link");
    char *model = cli_path(place, "model-link.safetensors");
    ck_assert_int_eq(symlink(copy, link), 0);
    ck_assert_int_eq(symlink(cli_path(copy, "model.safetensors"), model), 0);
    test_process p = cli_run("train", "--resume", "--out", link, "--max-steps", "4", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("eval", "--model", model, "--data", data, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
}
END_TEST

/* ---- numbers -------------------------------------------------------------------------------- */

/* Each in every field of the log; a page comes out of it, soon. */
START_TEST(a_log_of_odd_numbers_gives_a_page)
{
    static const char *const numbers[] = {"5e-324", "2.2250738585072014e-308", "1e-200", "1e-90",
        "1e90", "1e200", "1.7e308", "-1.7e308", "-1", "-0.0", "0", "1e15", "9223372036854775807",
        "-9223372036854775808", "null", "\"x\"", "[]"};
    static const char *const fields[] = {"loss", "margin_loss", "reconstruction_sse",
        "train_error_percent", "test_error_percent", "images_per_second", "step", "epoch",
        "images_done", "images_total", "test_images", "seconds", "total_seconds", "rate",
        "peak_device_bytes"};
    enum { FIELDS = sizeof fields / sizeof fields[0] };
    char name[16];
    snprintf(name, sizeof name, "odd-%d", _i);
    char *copy = copy_run(name);
    const size_t i = (size_t)_i;
    static char text[16384];
    text[0] = 0;
    for (size_t f = 0; f <= FIELDS; f++) { /* at the end in all of them */
        size_t at = strlen(text);
        if (f == 0)
            at += (size_t)snprintf(text + at, sizeof text - at,
                "{\"type\":\"epoch\",\"epoch\":1,\"step\":5,\"images_done\":40,\"images_total\":40,"
                "\"loss\":0.5,\"train_error_percent\":3,\"reconstruction_sse\":4}\n");
        at += (size_t)snprintf(text + at, sizeof text - at, "{\"type\":\"epoch\"");
        for (size_t k = 0; k < FIELDS; k++)
            at += (size_t)snprintf(text + at, sizeof text - at, ",\"%s\":%s", fields[k],
                k == f || f == FIELDS            ? numbers[i]
                : strcmp(fields[k], "step") == 0 ? "7"
                                                 : "40");
        snprintf(text + at, sizeof text - at, "}\n");
    }
    cli_write_text(copy, "metrics.jsonl", text);
    test_process p = cli_run("report", copy, "--data", data, "--quiet");
    ck_assert_msg(p.exit_code == 0, "%s: %s", numbers[i], p.err);
    test_process_release(&p);
    size_t n;
    unsigned char *page = cli_read(cli_path(copy, "report.html"), &n);
    ck_assert_uint_lt(n, 1 << 20);
    ck_assert_ptr_null(strstr((char *)page, "inf\""));
    ck_assert_ptr_null(strstr((char *)page, "nan\""));
    free(page);
}
END_TEST

/* ---- sizes ---------------------------------------------------------------------------------- */

/* What a file says of its size is compared before memory is taken for it. */
START_TEST(what_is_too_large_is_refused_before_it_is_read)
{
    enum { MOST_MIB = 1000 }; /* a hundred with its driver; more under the sanitizers */
    const size_t gib = (size_t)1 << 30;
    /* 3 GiB, of which the disk holds nothing: zeros, and a header that says they are one tensor. */
    char *zeros = cli_path(place, "zeros.safetensors"), *header;
    cli_write(zeros, "", 0);
    ck_assert_int_eq(truncate(zeros, (off_t)(3 * gib)), 0);
    char *one = cli_path(place, "one.safetensors");
    header = caps_format("{\"conv1.weight\": {\"dtype\": \"F32\", \"shape\": [%zu], "
                         "\"data_offsets\": [0, %zu]}}",
        3 * gib / 4, 3 * gib);
    unsigned char file[256] = {(unsigned char)strlen(header)};
    memcpy(file + 8, header, strlen(header));
    cli_write(one, file, 8 + strlen(header));
    ck_assert_int_eq(truncate(one, (off_t)(8 + strlen(header) + 3 * gib)), 0);
    free(header);
    /* A picture of 16384 x 16384 in its head. */
    static const unsigned char png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H',
        'D', 'R', 0, 0, 0x40, 0, 0, 0, 0x40, 0, 8, 6, 0, 0, 0, 0xe9, 0x4a, 0xee, 0x0e};
    char *picture = cli_path(place, "large.png");
    cli_write(picture, png, sizeof png);
    /* A network for other images, with 1.6 GB of weights. */
    char *wide = cli_write_text(place, "wide.json",
        "{\"input\": [1,14,65536], \"classes\": 4,"
        " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
        " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 16, \"iterations\": 2}, \"decoder\": {\"hidden\": [256]}}");
    char *model = cli_path(run, "model.safetensors"), *out = cli_path(place, "never");
    char *const lines[][10] = {
        {"predict", "--model", model, picture, "--quiet"},
        {"eval", "--model", zeros, "--data", data, "--quiet"},
        {"eval", "--model", one, "--data", data, "--quiet"},
        {"train", "--init", one, "--data", data, "--out", out, "--quiet"},
        {"train", "--arch", wide, "--data", data, "--out", out, "--quiet"},
    };
    char *const *l = lines[_i];
    cli_expect_error(
        cli_run(l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8], l[9]), 3, ": ", "a size");
    struct rusage used;
    ck_assert_int_eq(getrusage(RUSAGE_CHILDREN, &used), 0);
    ck_assert_msg(
        used.ru_maxrss / 1024 < MOST_MIB, "case %d took %ld MiB", _i, used.ru_maxrss / 1024);
}
END_TEST

/* ---- text ----------------------------------------------------------------------------------- */

/* Nothing that acts on a terminal but the ends of lines. */
static void expect_tame(const char *text, const char *what)
{
    for (size_t left = strlen(text); left > 0;) {
        uint32_t code;
        const size_t n = caps_utf8_decode(&code, text, left);
        ck_assert_msg(n > 0 && (code == '\n' || !caps_is_control(code)), "%s: byte 0x%02x in: %s",
            what, (unsigned char)*text, text);
        text += n;
        left -= n;
    }
}

#define EVIL "\033]0;x\a\302\2332J\342\200\256\342\200\250\233\n"

static void expect_tame_run(test_process p, int exit_code, const char *what)
{
    ck_assert_msg(p.exit_code == exit_code, "%s: exit code %d: %s", what, p.exit_code, p.err);
    expect_tame(p.out, what);
    expect_tame(p.err, what);
    if (exit_code)
        ck_assert_int_eq(cli_error_lines(p.err), 1);
    test_process_release(&p);
}

START_TEST(names_on_the_command_line_are_shown_not_obeyed)
{
    char *evil = cli_path(place, "a" EVIL "b"), *model = cli_path(run, "model.safetensors");
    expect_tame_run(cli_run("eval", "--model", evil, "--data", data), 3, "--model");
    expect_tame_run(cli_run("eval", "--model", model, "--data", evil), 3, "--data");
    expect_tame_run(
        cli_run("eval", "--model", model, "--data", data, "--device", EVIL), 4, "--device");
    expect_tame_run(cli_run("eval", EVIL), 2, "argument");
    expect_tame_run(cli_run("eval", "--" EVIL), 2, "flag");
    expect_tame_run(cli_run("eval", "--limit", EVIL), 2, "value");
    expect_tame_run(cli_run(EVIL), 2, "subcommand");
    expect_tame_run(cli_run("report", evil), 3, "report");
    expect_tame_run(cli_run("predict", "--model", model, evil), 3, "picture");
    expect_tame_run(
        cli_run("train", "--data", data, "--arch", evil, "--out", run, "--overwrite"), 3, "--arch");
    /* Where it goes well too: the names are in the log and the results. */
    size_t n;
    unsigned char *bytes = cli_read(model, &n);
    cli_write(evil, bytes, n);
    free(bytes);
    expect_tame_run(cli_run("eval", "--model", evil, "--data", data, "--verbose"), 0, "eval");
    expect_tame_run(
        cli_run("eval", "--model", evil, "--model", model, "--data", data), 0, "eval of two");
    ck_assert_int_eq(unlink(evil), 0);
    expect_tame_run(cli_run("train", "--data", data, "--arch", spec, "--max-steps", "1", "--batch",
                        "8", "--out", cli_path(place, "run" EVIL)),
        0, "train");
}
END_TEST

/* The model with another text in one place of its metadata; NULL: the name of a tensor. */
static char *spoiled_model(const char *key, const char *value)
{
    caps_error err = {0};
    caps_safetensors st = {0};
    caps_st_pair pairs[16];
    char *path = cli_path(place, "spoiled.safetensors");
    test_ok(caps_safetensors_load(&st, cli_path(run, "model.safetensors"), &err));
    size_t count = 0;
    for (size_t i = 0; i < st.metadata_count; i++)
        if (!key || strcmp(st.metadata[i].key, key) != 0)
            pairs[count++] = st.metadata[i];
    if (key)
        pairs[count++] = (caps_st_pair){key, value};
    else
        st.tensors[0].name = value;
    test_ok(caps_safetensors_save(path, st.tensors, st.count, pairs, count, &err));
    caps_safetensors_release(&st);
    return path;
}

START_TEST(text_of_files_is_shown_not_obeyed)
{
    static const char evil[] = "x\033[2J\302\2332J\342\200\256y";
    /* Names of classes are refused as they are read. */
    char *json = caps_format("[\"a\", \"b\", \"c\", \"%s\"]", "\\u001b[2J");
    char *path = spoiled_model("capscl.classes", json);
    test_process p = cli_run("eval", "--model", path, "--data", data, "--quiet");
    ck_assert_msg(strstr(p.err, "has control characters, need text") != NULL, "%s", p.err);
    expect_tame_run(p, 3, "class names");
    free(json);
    path = spoiled_model("capscl.classes", "[\"a\", \"b\", \"c\", \"\302\2332J\"]");
    expect_tame_run(cli_run("eval", "--model", path, "--data", data), 3, "U+009B in a name");
    path = spoiled_model("capscl.classes", "[\"a\", \"gr\303\274n\", \"c\", \"d\"]");
    expect_tame_run(cli_run("eval", "--model", path, "--data", data), 0, "a good name");
    path = spoiled_model("capscl.format", evil);
    expect_tame_run(cli_run("eval", "--model", path, "--data", data), 3, "format");
    path = spoiled_model("capscl.spec", "{\"\\u001b[2J\": 1}");
    expect_tame_run(cli_run("eval", "--model", path, "--data", data), 3, "spec");
    path = spoiled_model("capscl.loss", "{\"\\u009b2J\": 1}");
    expect_tame_run(cli_run("eval", "--model", path, "--data", data), 3, "loss");
    path = spoiled_model(NULL, evil);
    expect_tame_run(cli_run("eval", "--model", path, "--data", data), 3, "tensor");
    /* The settings of a run. */
    char *copy = copy_run("text");
    json_t *config = cli_config(copy);
    json_object_set_new(config, "optimizer", json_string(evil));
    json_dump_file(config, cli_path(copy, "config.json"), 0);
    json_decref(config);
    expect_tame_run(cli_run("train", "--resume", "--out", copy, "--max-steps", "4"), 3, "config");
    expect_tame_run(cli_run("report", copy), 3, "report of it");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("hostile");
    TCase *t = tcase_create("hostile");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, prepare, NULL);
    tcase_add_loop_test(t, what_is_no_file_is_refused_at_once, 0, 15);
    tcase_add_loop_test(t, nothing_is_written_through_a_link, 0, 5);
    tcase_add_test(t, links_that_the_user_names_are_followed);
    tcase_add_loop_test(t, a_log_of_odd_numbers_gives_a_page, 0, 17);
    tcase_add_loop_test(t, what_is_too_large_is_refused_before_it_is_read, 0, 5);
    tcase_add_test(t, names_on_the_command_line_are_shown_not_obeyed);
    tcase_add_test(t, text_of_files_is_shown_not_obeyed);
    suite_add_tcase(s, t);
    return s;
}
