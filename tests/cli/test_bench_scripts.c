/* The scripts of bench/, as processes: what they refuse, and the parts that need nothing installed.
 * Without Python they are skipped. */
#include "script_support.h"

#define SCRIPT(name) TEST_SOURCE_DIR "/bench/" name

static char *work;

static void set_up(void)
{
    work = test_directory();
}

static void tear_down(void)
{
    free(work);
}

START_TEST(wrong_arguments_are_refused)
{
    if (!have_python("wrong_arguments_are_refused"))
        return;
    REFUSED(2, "need a whole number from 1 to 1000", "compare_openblas", "--rounds", "0");
    REFUSED(2, "need milliseconds, above 0", "compare_openblas", "--turn", "soon");
    REFUSED(2, "'nt:1x2': need nn|nt|tn|tt:MxNxK", "compare_openblas", "--shape", "nt:1x2");
    REFUSED(2, "not allowed with", "compare_openblas", "--build", ".", "--installed");
    REFUSED(2, "no libcapscl.so is there", "compare_openblas", "--build", work);
    REFUSED(2, "need a whole number from 1", "compare_torch", "--batch", "1e3");
    REFUSED(
        2, "--modes 'lazy': need some of eager,compile,bf16", "compare_torch", "--modes", "lazy");
    REFUSED(2, "no program is there", "compare_torch", "--program", work);
    REFUSED(2, "need a whole number from 1", "plot", "--batches", "1", "-2");
    REFUSED(2, "need seconds, above 0", "plot", "--time", "nan");
    REFUSED(2, "need a name that ends in .png", "plot", "--out", "plot.jpeg");
    REFUSED(2, "need a name that ends in .png", "plot_robustness", "a.json", "--out", "a.gif");
    REFUSED(2, "no program is there", "plot", "--out", cli_path(work, "a.png"), "--program", work);
    REFUSED(2, "need 17 or more", "plot", "--arch", "small", "--sizes", "16");
    REFUSED(2, "need some of mnist, fashion", "experiments", "--out", work);
    REFUSED(2, "no experiment 'imagenet'", "experiments", "imagenet");
    REFUSED(2, "no program is there", "experiments", "mnist", "--program", work);
}
END_TEST

START_TEST(wrong_files_are_refused)
{
    if (!have_python("wrong_files_are_refused"))
        return;
    char *absent = cli_path(work, "absent.json");
    char *text = cli_write_text(work, "text.json", "not JSON");
    char *other = cli_write_text(work, "other.json", "{\"input\": [1, 28, 28]}");
    char *list = cli_write_text(work, "list.json", "[1, 2]");
    char *nowhere = cli_path(work, "nowhere/out");
    REFUSED(3, "No such file", "compare_openblas", "--arch", absent);
    REFUSED(3, "not JSON", "compare_openblas", "--arch", text);
    REFUSED(3, "not the spec of a network", "compare_openblas", "--arch", list);
    REFUSED(3, "not the spec of a network", "compare_torch", "--arch", other);
    REFUSED(1, "cannot be written", "compare_openblas", "--json", nowhere);
    REFUSED(1, "cannot be written", "compare_torch", "--json", nowhere);
    REFUSED(3, "No such file", "plot", "--from", absent);
    REFUSED(3, "not JSON", "plot", "--from", text);
    REFUSED(3, "not what eval --transform", "plot_robustness", other);
    REFUSED(3, "not what eval --transform", "plot_robustness", list);
    REFUSED(3, "No such file", "plot_robustness", absent);
    REFUSED(3, "no measurements of bench/plot", "plot", "--from", other);
    REFUSED(3, "no measurements of bench/plot", "plot", "--from", list);
    REFUSED(
        3, "not the spec of a network", "plot", "--arch", other, "--out", cli_path(work, "a.png"));
    char *last = cli_write_text(work, "last.json",
        "{\"input\": [1,12,12], \"classes\": 4, \"conv1\": {\"channels\": 8, \"kernel\": 3, "
        "\"stride\": 1}, \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2}, "
        "\"class_caps\": {\"dim\": 6, \"iterations\": 2, \"routing_grad\": \"last\"}}");
    REFUSED(3, "routing_grad is 'last', need full", "compare_torch", "--arch", last);
}
END_TEST

/* Its own checks of both products against sums in double count, too: it fails where they differ. */
START_TEST(openblas_is_compared)
{
    if (!have_python("openblas_is_compared"))
        return;
    if (test_small()) {
        printf("SKIPPED openblas_is_compared: a program without sanitizers cannot load this "
               "library\n");
        return;
    }
    if (!succeeds((char *[]){"/bin/sh", "-c",
            "printf '#include <cblas.h>\\nchar *openblas_get_config(void);\\n"
            "int main(void) { return !openblas_get_config(); }\\n' >\"$0/probe.c\" &&"
            " cc -o \"$0/probe\" \"$0/probe.c\" $(pkg-config --cflags --libs openblas) 2>/dev/null",
            work, NULL})) {
        printf("SKIPPED openblas_is_compared: no OpenBLAS here\n");
        return;
    }
    char *json = cli_path(work, "openblas.json");
    test_process p = run((char *[]){SCRIPT("compare_openblas"), "--build", TEST_BINARY_DIR,
        "--rounds", "2", "--turn", "1", "--json", json, "--shape", "nn:33x47x65", "nt:5x64x31",
        "tn:17x1x90", "tt:70x40x3", NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    ck_assert_ptr_nonnull(strstr(p.out, "33 x 47 x 65"));
    json_t *root = json_load_file(json, 0, NULL);
    const json_t *rows = json_object_get(root, "rows");
    ck_assert_uint_eq(json_array_size(rows), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(rows, i);
        const double ours = json_number_value(json_object_get(row, "seconds_median"));
        const double other = json_number_value(json_object_get(row, "openblas_seconds_median"));
        ck_assert(ours > 0 && other > 0);
        ck_assert(json_number_value(json_object_get(row, "ratio")) > 0);
        ck_assert(json_number_value(json_object_get(row, "error")) < 1e-5);
        ck_assert(json_number_value(json_object_get(row, "difference")) < 1e-5);
    }
    json_decref(root);
    test_process_release(&p);
}
END_TEST

START_TEST(measurements_are_kept_and_drawn)
{
    if (!have_python("measurements_are_kept_and_drawn"))
        return;
    if (!succeeds((char *[]){"/usr/bin/env", "python3", "-c", "import matplotlib", NULL})) {
        printf("SKIPPED measurements_are_kept_and_drawn: no matplotlib here\n");
        return;
    }
    char *spec = cli_write_text(work, "tiny.json", TINY_SPEC), *png = cli_path(work, "a.png");
    test_process p = run((char *[]){SCRIPT("plot"), "--program", TEST_PROGRAM, "--arch", spec,
        "--out", png, "--batches", "1", "3", "--sizes", "12", "--types", "4", "--batch", "2",
        "--rounds", "1", "--time", "0.01", NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    test_process_release(&p);
    json_t *root = json_load_file(cli_path(work, "a.json"), 0, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(root, "rows")), 8); /* 4 points, 2 times */
    json_decref(root);
    char *again = cli_path(work, "b.png");
    p = run((char *[]){SCRIPT("plot"), "--from", cli_path(work, "a.json"), "--out", again, NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    test_process_release(&p);
    size_t n, m;
    unsigned char *first = cli_read(png, &n), *second = cli_read(again, &m);
    ck_assert_mem_eq(first, "\x89PNG", 4);
    ck_assert_mem_eq(second, "\x89PNG", 4);
    free(first);
    free(second);
}
END_TEST

/* Trainings to their end, tables of what they reached; the second time nothing is trained. */
START_TEST(experiments_are_run_and_told)
{
    if (!have_python("experiments_are_run_and_told"))
        return;
    cli_make_data(work, "mnist", 40, 20, 1, 12, 12, 4);
    char *spec = cli_write_text(work, "tiny.json", TINY_SPEC), *out = cli_path(work, "out");
    char data[4096];
    snprintf(data, sizeof data, "CAPSCL_DATA=%s", work);
    char *const argv[] = {SCRIPT("experiments"), "mnist", "seeds", "--program", TEST_PROGRAM,
        "--out", out, "--", "--arch", spec, "--epochs", "2", "--batch", "10", NULL};
    char *first = NULL;
    for (int again = 0; again < 2; again++) {
        test_process p = test_run(argv, (char *[]){"PYTHONDONTWRITEBYTECODE=1", data, NULL});
        ck_assert_msg(p.exit_code == 0, "%s", p.err);
        ck_assert_ptr_nonnull(strstr(p.out, "## MNIST, the paper's network"));
        ck_assert_ptr_nonnull(strstr(p.out, "| `mnist-paper` | "));
        ck_assert_ptr_nonnull(strstr(p.out, "| `seed-3` | "));
        ck_assert_ptr_nonnull(strstr(p.out, ", ensemble "));
        ck_assert_ptr_nonnull(strstr(p.out, "| epoch | 1 | 2 |"));
        if (again)
            ck_assert_str_eq(p.out, first);
        else
            first = strdup(p.out);
        test_process_release(&p);
    }
    free(first);
    char *const all[] = {SCRIPT("experiments"), "--list", NULL};
    test_process p = run(all);
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_ptr_nonnull(strstr(p.out, "pairs: capscl train --data multi:mnist"));
    test_process_release(&p);
    /* A reader that has enough, as head has, is no reason for a traceback. */
    p = run((char *[]){"/bin/sh", "-c", "(sleep 0.3; \"$0\" --list; echo ended with $? >&2) | true",
        SCRIPT("experiments"), NULL});
    ck_assert_str_eq(p.err, "ended with 1\n");
    test_process_release(&p);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("scripts of bench");
    TCase *t = tcase_create("scripts");
    tcase_set_timeout(t, 600);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, wrong_arguments_are_refused);
    tcase_add_test(t, wrong_files_are_refused);
    tcase_add_test(t, openblas_is_compared);
    tcase_add_test(t, measurements_are_kept_and_drawn);
    tcase_add_test(t, experiments_are_run_and_told);
    suite_add_tcase(s, t);
    return s;
}
