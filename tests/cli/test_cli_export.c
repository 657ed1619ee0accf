/* capscl export: what it writes and says, and where an ONNX file is given in place of a checkpoint.
 * What is in the files: tests/checks/onnx. */
#include "cli_support.h"
#include "safetensors.h"

static char *work, *data, *run, *model, *onnx, *spec;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 60, 24, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    json_decref(cli_train(run, spec, data, ""));
    model = cli_path(run, "model.safetensors");
    onnx = cli_path(work, "tiny.onnx");
}

static void tear_down(void)
{
    free(work);
}

START_TEST(a_checkpoint_or_its_run)
{
    char *other = cli_path(work, "run.onnx");
    json_t *answer = cli_run_json(cli_line("export --model %s --onnx %s --json", model, onnx));
    cli_expect_keys(answer, "onnx bytes opset inputs outputs");
    ck_assert_str_eq(json_string_value(json_object_get(answer, "onnx")), onnx);
    ck_assert_int_eq((int)cli_number(answer, "opset"), 17);
    json_t *need = json_pack("[s, s, s]", "lengths", "capsules", "reconstruction");
    ck_assert(json_equal(json_object_get(answer, "outputs"), need));
    size_t n;
    free(cli_read(onnx, &n));
    ck_assert_uint_eq(n, (size_t)cli_number(answer, "bytes"));
    json_decref(need);
    json_decref(answer);
    test_process p = cli_run("export", "--model", run, "--onnx", other);
    cli_expect_ok(p);
    ck_assert_str_eq(p.out, "");
    ck_assert_ptr_nonnull(strstr(p.err, "run.onnx: ONNX, operator set 17\n"));
    ck_assert_ptr_null(strstr(p.err, "device"));
    test_process_release(&p);
    ck_assert(cli_same_file(onnx, other));
}
END_TEST

START_TEST(the_spec_beside_the_file)
{
    caps_error err = {0};
    caps_safetensors st;
    char *plain = cli_path(work, "plain.safetensors"), *other = cli_path(work, "plain.onnx");
    test_ok(caps_safetensors_load(&st, model, &err));
    test_ok(caps_safetensors_save(plain, st.tensors, st.count, NULL, 0, &err));
    caps_safetensors_release(&st);
    cli_expect_error(cli_run("export", "--model", plain, "--onnx", other), 3, "--arch FILE", plain);
    ck_assert(!caps_path_exists(other));
    test_process p =
        cli_run("export", "--model", plain, "--arch", spec, "--onnx", other, "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
    ck_assert(caps_path_exists(other));
}
END_TEST

START_TEST(wrong_usage_and_bad_files)
{
    char *nowhere = cli_path(work, "no/such/place.onnx");
    char *text = cli_write_text(work, "text.safetensors", "no network");
    const uint64_t before = cli_tree_hash(work);
    cli_expect_error(cli_run("export", "--onnx", onnx), 2, "--model is missing", "no model");
    cli_expect_error(cli_run("export", "--model", model), 2, "--onnx is missing", "no onnx");
    cli_expect_error(cli_run("export", "--model", model, "--onnx", model), 2,
        "would replace a file", "the model itself");
    cli_expect_error(cli_run("export", "--model", run, "--onnx", model), 2, "would replace",
        "the model of the run");
    cli_expect_error(cli_run("export", model, "--onnx", onnx), 2, "export: ", "no flag");
    cli_expect_error(
        cli_run("export", "--model", model, "--onx", onnx), 2, "did you mean --onnx", "a typo");
    cli_expect_error(cli_run("export", "--model", model, "--onnx", nowhere), 1, "place.onnx",
        "no such directory");
    cli_expect_error(cli_run("export", "--model", model, "--onnx", work), 1, work, "a directory");
    cli_expect_error(
        cli_run("export", "--model", text, "--onnx", onnx), 3, "text.safetensors", "no checkpoint");
    cli_expect_error(
        cli_run("export", "--model", nowhere, "--onnx", onnx), 3, "place.onnx", "no such file");
    ck_assert_uint_eq(cli_tree_hash(work), before);
}
END_TEST

START_TEST(given_in_place_of_a_checkpoint)
{
    static const char need[] = "ONNX files are written, not read";
    char *written = cli_path(work, "given.onnx"), *renamed = cli_path(work, "given.bin");
    char *out = cli_path(work, "not-made");
    test_process p = cli_run("export", "--model", model, "--onnx", written);
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("export", "--model", model, "--onnx", renamed);
    cli_expect_ok(p);
    test_process_release(&p);
    const char *const files[] = {written, renamed};
    for (size_t i = 0; i < 2; i++) {
        const char *file = files[i];
        const char *const lines[] = {"eval --model %s --data %s", "predict --model %s --data %s",
            "eval --model %s --data %s --arch small",
            "show lengths --model %s --data %s --out x.png"};
        for (size_t k = 0; k < 4; k++) {
            char line[2048];
            snprintf(line, sizeof line, lines[k], file, data);
            cli_expect_error(cli_run_text(line), 3, need, line);
        }
        cli_expect_error(cli_run("train", "--init", file, "--data", data, "--out", out), 3, need,
            "train --init");
        cli_expect_error(
            cli_run("train", "--init", file, "--arch", spec, "--data", data, "--out", out), 3, need,
            "train --init --arch");
        cli_expect_error(cli_run("export", "--model", file, "--onnx", onnx), 3, need, "export");
    }
    ck_assert(!caps_path_exists(out));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("cli_export");
    TCase *t = tcase_create("export");
    cli_use_test_cache();
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_checkpoint_or_its_run);
    tcase_add_test(t, the_spec_beside_the_file);
    tcase_add_test(t, wrong_usage_and_bad_files);
    tcase_add_test(t, given_in_place_of_a_checkpoint);
    suite_add_tcase(s, t);
    return s;
}
