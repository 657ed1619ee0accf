/* Networks with batch normalisation and attention: a run that was stopped goes on with the same
 * bits, running statistics included; what they are refused; the profile. */
#include "cli_support.h"
#include "safetensors.h"

static char *work, *data, *spec;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 70, 30, 1, 14, 14, 4);
    spec = cli_write_text(work, "net.json",
        "{\"input\": [1,14,14], \"classes\": 4, \"layers\": ["
        "{\"kind\": \"conv\", \"channels\": 6, \"kernel\": 5, \"norm\": \"batch\"},"
        "{\"kind\": \"max_pool\", \"kernel\": 2},"
        "{\"kind\": \"primary_caps\", \"dim\": 3, \"kernel\": 4, \"stride\": 1,"
        " \"depthwise\": true, \"squash\": \"exp\"},"
        "{\"kind\": \"caps\", \"capsules\": 4, \"dim\": 5, \"squash\": \"exp\","
        " \"routing\": {\"kind\": \"attention\"}}], \"decoder\": {\"hidden\": [9]}}");
}

static char *file_of(const char *out, const char *name)
{
    return cli_path(out, name);
}

/* The tensor's first value. */
static float first_of(const char *file, const char *tensor)
{
    caps_safetensors st = {0};
    caps_error err = {0};
    test_ok(caps_safetensors_load(&st, file, &err));
    const caps_st_tensor *t = caps_safetensors_get(&st, tensor);
    ck_assert_msg(t != NULL, "%s: no %s", file, tensor);
    float value;
    memcpy(&value, t->data, sizeof value);
    caps_safetensors_release(&st);
    return value;
}

static bool has(const char *file, const char *tensor)
{
    caps_safetensors st = {0};
    caps_error err = {0};
    test_ok(caps_safetensors_load(&st, file, &err));
    const bool is = caps_safetensors_get(&st, tensor) != NULL;
    caps_safetensors_release(&st);
    return is;
}

START_TEST(a_run_goes_on_with_the_same_bits)
{
    static const char flags[] = "--batch 16 --lr 0.01 --ema 0.9";
    char *whole = cli_path(work, "whole"), *parts = cli_path(work, "parts");
    json_t *need = cli_train(whole, spec, data, cli_line("--max-steps 12 %s", flags));
    json_decref(cli_train(parts, spec, data, cli_line("--max-steps 7 %s", flags)));
    const float before = first_of(file_of(parts, "model.safetensors"), "conv1.norm.running_var");
    json_t *have =
        cli_run_json(cli_line("train --resume --out %s --max-steps 12 --quiet --json", parts));
    const char *const files[] = {"model.safetensors", "model-ema.safetensors"};
    for (int i = 0; i < 2; i++)
        ck_assert(cli_same_file(file_of(whole, files[i]), file_of(parts, files[i])));
    ck_assert(cli_number(need, "test_error_percent") == cli_number(have, "test_error_percent"));
    const float after = first_of(file_of(parts, "model.safetensors"), "conv1.norm.running_var");
    ck_assert(before < 1 && after < before); /* they follow the images, step by step */
    const char *state = file_of(whole, "state.safetensors");
    ck_assert(has(state, "conv1.norm.running_mean") && has(state, "ema.conv1.norm.running_mean"));
    ck_assert(has(state, "optimizer.m.conv1.norm.weight"));
    ck_assert(!has(state, "optimizer.m.conv1.norm.running_mean"));
    json_decref(need);
    json_decref(have);
}
END_TEST

START_TEST(a_batch_in_parts_is_refused)
{
    char *out = cli_path(work, "limited");
    cli_expect_error(
        cli_run_text(cli_line("train --data %s --arch %s --out %s --batch 64 --memory-limit 300000",
            data, spec, out)),
        2, "--memory-limit is too small: conv1: normalises by the statistics of the whole batch",
        "memory limit");
    ck_assert(!caps_path_exists(cli_path(out, "model.safetensors")));
}
END_TEST

START_TEST(couplings_and_attacks)
{
    char *out = cli_path(work, "shown");
    json_decref(cli_train(out, spec, data, "--max-steps 10 --batch 16"));
    test_process p = cli_run_text(cli_line("show couplings --model %s --data %s --out %s", out,
        data, cli_path(work, "couplings.png")));
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    test_process_release(&p);
    json_decref(cli_run_json(cli_line(
        "eval --model %s --data %s --attack fgsm --epsilon 0.1 --json --quiet", out, data)));
}
END_TEST

START_TEST(the_profile)
{
    char *out = cli_path(work, "profile");
    json_decref(cli_run_json(cli_line("train --data %s --arch %s --out %s --profile efficient "
                                      "--max-steps 1 --json --quiet",
        data, spec, out)));
    json_t *config = cli_config(out);
    ck_assert_ptr_nonnull(config);
    ck_assert_double_eq(cli_number(config, "rate"), 5e-4);
    ck_assert_double_eq(cli_number(config, "rate_min"), 5e-5);
    ck_assert_int_eq((int)cli_number(config, "batch"), 16);
    ck_assert_str_eq(json_string_value(json_object_get(config, "augment")), "affine");
    ck_assert_double_eq_tol(
        cli_number(json_object_get(config, "loss"), "reconstruction_weight"), 0.392 / 196, 1e-9);
    json_decref(config);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("normalised networks");
    TCase *t = tcase_create("runs");
    tcase_add_unchecked_fixture(t, set_up, NULL);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, a_run_goes_on_with_the_same_bits);
    tcase_add_test(t, a_batch_in_parts_is_refused);
    tcase_add_test(t, couplings_and_attacks);
    tcase_add_test(t, the_profile);
    suite_add_tcase(s, t);
    return s;
}
