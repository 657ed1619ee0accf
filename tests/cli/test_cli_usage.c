/* Wrong usage, help, devices, version, output that cannot be written: what needs no data. */
#include "cli_support.h"

static const char *const names[] = {
    "devices", "train", "eval", "predict", "selftest", "bench", "version", "help"};

START_TEST(help_is_there)
{
    static const char *const ways[] = {"help", "--help", "-h"};
    for (size_t i = 0; i < 3; i++) {
        test_process p = cli_run((char *)ways[i]);
        cli_expect_ok(p);
        ck_assert_str_eq(p.err, "");
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            ck_assert_ptr_nonnull(strstr(p.out, names[k]));
        static const char *const variables[] = {
            "CAPSCL_DEVICE", "CAPSCL_DATA", "CAPSCL_CACHE", "CAPSCL_KERNELS", "exit codes"};
        for (size_t k = 0; k < 5; k++)
            ck_assert_msg(strstr(p.out, variables[k]) != NULL, "%s", variables[k]);
        test_process_release(&p);
    }
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        test_process a = cli_run("help", (char *)names[k]), b = cli_run((char *)names[k], "--help");
        cli_expect_ok(a);
        cli_expect_ok(b);
        ck_assert_str_eq(a.err, "");
        ck_assert_str_eq(a.out, b.out);
        char usage[64];
        snprintf(usage, sizeof usage, "usage: capscl %s", names[k]);
        ck_assert_ptr_nonnull(strstr(a.out, usage));
        test_process_release(&a);
        test_process_release(&b);
    }
    /* Help wins over what follows, and over what is missing. */
    test_process p = cli_run_text("train --data x --help --nonsense");
    cli_expect_ok(p);
    test_process_release(&p);
}
END_TEST

/* Each is exit code 2 and one line that holds the text. No device, no file is looked at. */
static const struct {
    const char *arguments, *needle;
} wrong[] = {
    {"", "no subcommand"},
    {"trian", "did you mean train"},
    {"evaluate", "did you mean eval"},
    {"xyzzy", "unknown subcommand 'xyzzy'"},
    {"help trian", "did you mean train"},
    {"help trian --man", "did you mean train"},
    {"help --completion fish", "--completion: unknown value 'fish'"},
    {"help --completion", "--completion needs a value"},
    {"help train --completion bash", "--completion takes no subcommand"},
    {"help --man --json", "exclude each other"},
    {"help --man --completion zsh", "--completion takes no subcommand"},
    {"help train eval", "unexpected argument 'eval'"},
    {"devices --jsn", "did you mean --json"},
    {"devices extra", "unexpected argument 'extra'"},
    {"version --verison", "unknown flag --verison"},
    {"train --epoch 3", "did you mean --epochs"},
    {"train -epochs 3", "did you mean --epochs"},
    {"train --xyzzyplugh", "unknown flag --xyzzyplugh"},
    {"train --out r --data", "--data needs a value"},
    {"train --data --out r", "--data needs a value"},
    {"train --data= --out r", "--data: the value is empty"},
    {"train --out r", "--data is missing"},
    {"train --data d", "--out is missing"},
    {"train --data d --out r stray", "unexpected argument 'stray'"},
    {"train --data d --out r --json=1", "--json takes no value"},
    {"train --data d --out r --epochs -1", "--epochs: '-1'"},
    {"train --data d --out r --epochs 0", "--epochs: '0'"},
    {"train --data d --out r --epochs 1.5", "--epochs: '1.5'"},
    {"train --data d --out r --epochs 3x", "--epochs: '3x'"},
    {"train --data d --out r --epochs +3", "--epochs: '+3'"},
    {"train --data d --out r --epochs 99999999999999999999", "out of range"},
    {"train --data d --out r --max-steps 0", "--max-steps: '0'"},
    {"train --data d --out r --batch 0", "--batch: '0'"},
    {"train --data d --out r --batch ten", "--batch: 'ten'"},
    {"train --data d --out r --batch=-5", "--batch: '-5' is negative"},
    {"train --data d --out r --limit 0", "--limit: '0'"},
    {"train --data d --out r --seed -1", "--seed: '-1'"},
    {"train --data d --out r --seed 18446744073709551616", "--seed"},
    {"train --data d --out r --lr 1e", "--lr: '1e'"},
    {"train --data d --out r --lr nan", "--lr: 'nan'"},
    {"train --data d --out r --lr inf", "--lr: 'inf'"},
    {"train --data d --out r --lr -inf", "--lr"},
    {"train --data d --out r --lr 1e999", "--lr: '1e999' is out of range"},
    {"train --data d --out r --lr 0", "--lr: '0'"},
    {"train --data d --out r --lr -1", "--lr: '-1'"},
    {"train --data d --out r --lr 0x1p-3", "--lr: '0x1p-3'"},
    {"train --data d --out r --lr 0,1", "--lr: '0,1'"},
    {"train --data d --out r --lr-decay 0", "--lr-decay: '0'"},
    {"train --data d --out r --lr-decay 1.01", "--lr-decay: '1.01'"},
    {"train --data d --out r --optimizer adagrad", "need adam or sgd"},
    {"train --data d --out r --augment shift3", "need none or shift2"},
    {"train --data d --out r --profile fast", "--profile: unknown value 'fast'"},
    {"train --data d --out r --eval-every 0", "--eval-every: '0'"},
    {"train --data d --out r --save-every 0", "--save-every: '0'"},
    {"train --data d --out r --time-limit 0", "--time-limit: '0'"},
    {"train --data d --out r --time-limit 5x", "--time-limit: '5x' is not a time"},
    {"train --data d --out r --time-limit m", "--time-limit: 'm' is not a time"},
    {"train --out r --resume --overwrite", "exclude each other"},
    {"train --out r --resume --lr fast", "--lr"},
    {"train --out r --resume --batch 0", "--batch"},
    {"eval --data d", "--model is missing"},
    {"eval --model m", "--data is missing"},
    {"eval --model m --data d --split tset", "--split: unknown value 'tset'"},
    {"eval --model m --data d --limit 0", "--limit: '0'"},
    {"eval --model m --data d --batch 0", "--batch: '0'"},
    {"predict", "--model is missing"},
    {"predict --model m", "no images"},
    {"predict --model m a.png --data d", "exclude each other"},
    {"predict --model m a.png --index 3", "--index without --data"},
    {"predict --model m a.png --split train", "--split without --data"},
    {"predict --model m --data d --background pink",
        "--background: 'pink', need auto, black, white"},
    {"predict --model m --background 256 x.png", "--background: '256'"},
    {"eval --model m --data d --background -1", "--background: '-1'"},
    {"show confusion --model m --data d --out o --background 1e1", "--background: '1e1'"},
    {"report r --background none", "--background: 'none'"},
    {"train --data d --out o --background grey", "--background: 'grey'"},
    {"predict --model m --data d --index", "--index needs a value"},
    {"predict --model m --data d --index --json", "--index needs a value"},
    {"predict --model m --data d --index 1 two", "--index: 'two'"},
    {"predict --model m --data d --index -1", "--index: '-1'"},
    {"selftest --devcie 0:0", "did you mean --device"},
    {"bench --jsno", "did you mean --json"},
    {"bench gem", "gem"},
};

START_TEST(wrong_usage)
{
    static char *directory; /* one for all of the loop: each leaves it empty */
    if (!directory)
        directory = test_directory();
    char *before = getcwd(NULL, 0);
    ck_assert_int_eq(chdir(directory), 0);
    cli_expect_error(cli_run_text(wrong[_i].arguments), 2, wrong[_i].needle, wrong[_i].arguments);
    ck_assert_uint_eq(cli_tree_hash(directory), 1); /* still empty */
    ck_assert_int_eq(chdir(before), 0);
    free(before);
}
END_TEST

START_TEST(version_says_it)
{
    test_process p = cli_run("version");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "capscl " CAPSCL_VERSION));
    test_process_release(&p);
    p = cli_run("version", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert_str_eq(json_string_value(json_object_get(value, "version")), CAPSCL_VERSION);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

/* ---- devices -------------------------------------------------------------------------------- */

START_TEST(devices_list)
{
    caps_error err = {0};
    caps_device_info *list = NULL;
    size_t n = 0, chosen = 0;
    test_ok(caps_device_list(&list, &n, &err));
    test_ok(caps_device_select(list, n, NULL, &chosen, NULL, &err));

    test_process p = cli_run("devices", "--json");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    json_t *value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(value), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *d = json_array_get(value, i);
        cli_expect_keys(d, "id platform vendor name type version driver compute_units "
                           "global_mem_bytes max_alloc_bytes local_mem_bytes selected "
                           "shares_host_memory clock_mhz peak_gflops usable unusable_because");
        ck_assert_str_eq(json_string_value(json_object_get(d, "id")), list[i].id);
        ck_assert(json_is_true(json_object_get(d, "selected")) == (i == chosen));
        ck_assert(cli_number(d, "global_mem_bytes") == (double)list[i].global_mem_bytes);
    }
    json_decref(value);
    test_process_release(&p);

    p = cli_run("devices");
    cli_expect_ok(p);
    for (size_t i = 0; i < n; i++)
        ck_assert_ptr_nonnull(strstr(p.out, list[i].name));
    char marked[40];
    snprintf(marked, sizeof marked, "* %s ", list[chosen].id);
    ck_assert_msg(strstr(p.out, marked) != NULL, "%s", p.out);
    test_process_release(&p);
    caps_device_list_free(list);
}
END_TEST

START_TEST(devices_heed_the_environment)
{
    char *const nowhere[] = {"CAPSCL_DEVICE=no such device", NULL};
    test_process p = cli_run_env(nowhere, "devices", "--json", (char *)NULL);
    cli_expect_ok(p); /* a list is what helps then */
    json_t *value = cli_json(&p);
    ck_assert_uint_ge(json_array_size(value), 1);
    for (size_t i = 0; i < json_array_size(value); i++)
        ck_assert(json_is_false(json_object_get(json_array_get(value, i), "selected")));
    ck_assert_int_eq(cli_error_lines(p.err), 0);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

/* Where the loader finds no driver. */
static char *const no_platform[] = {
    "OCL_ICD_VENDORS=/nonexistent", "OCL_ICD_FILENAMES=", "OPENCL_VENDOR_PATH=/nonexistent", NULL};

START_TEST(no_platform_at_all)
{
    cli_expect_error(cli_run_env(no_platform, "devices", (char *)NULL), 4, "no OpenCL", "devices");
    test_process p = cli_run_env(no_platform, "devices", "--json", (char *)NULL);
    ck_assert_int_eq(p.exit_code, 4);
    ck_assert_str_eq(p.out, "[]\n");
    ck_assert_int_eq(cli_error_lines(p.err), 1);
    test_process_release(&p);
    cli_expect_error(
        cli_run_env(no_platform, "selftest", (char *)NULL), 4, "no OpenCL", "selftest");
    cli_expect_error(cli_run_env(no_platform, "bench", (char *)NULL), 4, "no OpenCL", "bench");
}
END_TEST

/* ---- standard output ------------------------------------------------------------------------ */

static void expect_unwritable(const char *how, const char *arguments)
{
    char *command = caps_format(how, TEST_PROGRAM, arguments);
    char *argv[] = {"/bin/sh", "-c", command, NULL};
    cli_expect_error(test_run(argv, NULL), 1, "standard output", command);
    free(command);
}

START_TEST(stdout_unwritable)
{
    static const char *const arguments[] = {"help", "version", "devices --json", "train --help"};
    for (size_t i = 0; i < 4; i++) {
        expect_unwritable("%s %s >/dev/full", arguments[i]);
        expect_unwritable("%s %s >&-", arguments[i]);
    }
    /* A reader that has gone: the program must not die of SIGPIPE without a word. */
    char *directory = test_directory(), *before = getcwd(NULL, 0);
    ck_assert_int_eq(chdir(directory), 0);
    expect_unwritable(
        "{ sleep 0.3; %s %s; echo $? >code; } | true; read -r c <code; exit $c", "help");
    ck_assert_int_eq(chdir(before), 0);
    free(before);
    free(directory);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: usage");
    TCase *t = tcase_create("usage");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, help_is_there);
    tcase_add_loop_test(t, wrong_usage, 0, (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(t, version_says_it);
    tcase_add_test(t, devices_list);
    tcase_add_test(t, devices_heed_the_environment);
    tcase_add_test(t, no_platform_at_all);
    tcase_add_test(t, stdout_unwritable);
    suite_add_tcase(s, t);
    return s;
}
