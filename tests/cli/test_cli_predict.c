/* predict on many files: in batches, from folders and names on standard input, with files that
 * cannot be read among them; its forms of output. */
#include "cli_support.h"
#include "image.h"

enum { PICTURES = 230 }; /* more than two batches of 100 */

/* Made once: a run, a folder of pictures. */
static char *work, *data, *run, *folder;

static char *picture_name(unsigned which)
{
    char name[32];
    snprintf(name, sizeof name, "%03u.png", which);
    return cli_path(folder, name);
}

static void put_picture(const char *path, unsigned which)
{
    caps_error err = {0};
    uint8_t pixels[144];
    for (unsigned i = 0; i < 144; i++)
        pixels[i] = (uint8_t)((i * 37 + which * 91) % 251);
    const caps_image image = {12, 12, 1, pixels};
    test_ok(caps_image_write_png(&image, path, &err));
}

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 60, 240, 1, 12, 12, 4);
    run = cli_path(work, "run");
    json_decref(cli_train(run, cli_write_text(work, "tiny.json", TINY_SPEC), data, ""));
    folder = cli_make_directory(work, "pictures");
    for (unsigned i = 0; i < PICTURES; i++)
        put_picture(picture_name(i), i);
}

static void tear_down(void)
{
    free(work);
}

/* A line of the shell, with PROGRAM and MODEL in its environment. */
static test_process shell(const char *line)
{
    char model[1024];
    snprintf(model, sizeof model, "MODEL=%s", run);
    char *const argv[] = {"/bin/sh", "-c", (char *)line, NULL};
    char *const environment[] = {"PROGRAM=" TEST_PROGRAM, model, NULL};
    return test_run(argv, environment);
}

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static json_t *shell_json(const char *line, int exit_code)
{
    test_process p = shell(line);
    ck_assert_msg(p.exit_code == exit_code, "%s: %d; %s", line, p.exit_code, p.err);
    json_t *value = cli_json(&p);
    test_process_release(&p);
    return value;
}

START_TEST(many_files_in_their_order)
{
    json_t *list = cli_run_json(cli_line("predict --model %s %s --json --quiet", run, folder));
    ck_assert_uint_eq(json_array_size(list), PICTURES);
    for (unsigned i = 0; i < PICTURES; i++) {
        json_t *row = json_array_get(list, i);
        ck_assert_str_eq(json_string_value(json_object_get(row, "source")), picture_name(i));
        if (i != 0 && i != 99 && i != 100 && i != PICTURES - 1)
            continue; /* alone it is the same */
        json_t *one =
            cli_run_json(cli_line("predict --model %s %s --json --quiet", run, picture_name(i)));
        json_t *alone = json_array_get(one, 0);
        ck_assert(json_equal(json_object_get(alone, "label"), json_object_get(row, "label")));
        for (size_t j = 0; j < 4; j++)
            ck_assert_double_eq_tol(
                json_number_value(json_array_get(json_object_get(alone, "lengths"), j)),
                json_number_value(json_array_get(json_object_get(row, "lengths"), j)), 1e-5);
        json_decref(one);
    }
    /* Looks at each, too. */
    json_t *looks =
        cli_run_json(cli_line("predict --model %s %s --json --quiet --shifts 5", run, folder));
    ck_assert_uint_eq(json_array_size(looks), PICTURES);
    json_decref(looks);
    json_decref(list);
}
END_TEST

START_TEST(many_images_of_a_set)
{
    json_t *all = cli_run_json(
        cli_line("predict --model %s --data %s --index 0-229 --json --quiet", run, data));
    json_t *some = cli_run_json(
        cli_line("predict --model %s --data %s --index 103 229 --json --quiet", run, data));
    ck_assert_uint_eq(json_array_size(all), 230);
    for (size_t i = 0; i < 2; i++) {
        const json_t *a = json_array_get(some, i), *b = json_array_get(all, i ? 229 : 103);
        ck_assert(json_equal(json_object_get(a, "source"), json_object_get(b, "source")));
        ck_assert(json_equal(json_object_get(a, "label"), json_object_get(b, "label")));
        ck_assert(json_equal(json_object_get(a, "true_label"), json_object_get(b, "true_label")));
    }
    json_decref(all);
    json_decref(some);
    /* Of more than the sheet shows. */
    char *sheet = cli_path(work, "sheet.png");
    test_process p = cli_run_text(
        cli_line("predict --model %s --data %s --index 0-229 --reconstruct %s", run, data, sheet));
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "sheet.png shows the first 100 of 230 images"));
    ck_assert_uint_eq(lines_of(p.out), 230);
    ck_assert(caps_path_exists(sheet));
    test_process_release(&p);
}
END_TEST

START_TEST(names_on_standard_input)
{
    json_t *list = cli_run_json(cli_line("predict --model %s %s --json --quiet", run, folder));
    char line[4096];
    snprintf(line, sizeof line,
        "find %s -name '*.png' | sort | \"$PROGRAM\" predict --model \"$MODEL\" - --json", folder);
    json_t *same = shell_json(line, 0);
    ck_assert(json_equal(list, same));
    json_decref(same);
    snprintf(line, sizeof line,
        "find %s -name '*.png' -print0 | sort -z | "
        "\"$PROGRAM\" predict --null --model \"$MODEL\" - --json",
        folder);
    same = shell_json(line, 0);
    ck_assert(json_equal(list, same));
    json_decref(same);
    json_decref(list);
    /* The last line without an end, empty lines, a name with a blank. */
    char *blank = cli_path(work, "a name.png");
    put_picture(blank, 3);
    snprintf(line, sizeof line,
        "printf '\\n%s\\n\\n%s' | \"$PROGRAM\" predict --model \"$MODEL\" -", picture_name(7),
        blank);
    test_process p = shell(line);
    cli_expect_ok(p);
    ck_assert_uint_eq(lines_of(p.out), 2);
    ck_assert_ptr_nonnull(strstr(p.out, "a name.png "));
    test_process_release(&p);
}
END_TEST

/* What comes slowly is answered as it comes. */
START_TEST(names_that_come_slowly)
{
    char line[4096], *answer = cli_path(work, "answer"), *go = cli_path(work, "go");
    snprintf(line, sizeof line,
        "{ echo %s; for i in $(seq 600); do [ -e %s ] && break; sleep 0.1; done; echo %s; } |"
        " \"$PROGRAM\" predict --model \"$MODEL\" - --quiet > %s &"
        " for i in $(seq 600); do [ -s %s ] && break; sleep 0.1; done; cat %s; : > %s; wait",
        picture_name(1), go, picture_name(2), answer, answer, answer, go);
    test_process p = shell(line);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "001.png  label "));
    ck_assert_ptr_null(strstr(p.out, "002.png"));
    size_t n;
    char *text = (char *)cli_read(answer, &n);
    ck_assert_ptr_nonnull(strstr(text, "002.png  label "));
    free(text);
    test_process_release(&p);
}
END_TEST

START_TEST(unreadable_ones_among_others)
{
    char line[4096], *mixed = cli_make_directory(work, "mixed");
    for (unsigned i = 0; i < 130; i++) {
        char name[32];
        snprintf(name, sizeof name, "%03u.png", i);
        put_picture(cli_path(mixed, name), i);
    }
    cli_write_text(mixed, "000.png", "no picture");
    cli_write_text(mixed, "110.png", "");
    snprintf(
        line, sizeof line, "\"$PROGRAM\" predict --model \"$MODEL\" %s %s/none.png", mixed, mixed);
    test_process p = shell(line);
    ck_assert_int_eq(p.exit_code, 3);
    ck_assert_uint_eq(lines_of(p.out), 128);
    ck_assert_int_eq(cli_error_lines(p.err), 3);
    ck_assert_ptr_nonnull(strstr(p.err, "\ncapscl: "));
    static const char *const named[] = {
        "000.png: is neither", "110.png: ", "none.png: cannot open"};
    for (size_t i = 0; i < 3; i++)
        ck_assert_msg(strstr(p.err, named[i]) != NULL, "%s in: %s", named[i], p.err);
    ck_assert_ptr_nonnull(strstr(p.err, "warning: 3 of 131 pictures could not be read\n"));
    ck_assert_ptr_null(strstr(p.out, "/000.png"));
    ck_assert_ptr_nonnull(strstr(p.out, "/129.png "));
    test_process_release(&p);
    strcat(line, " --json --quiet");
    json_t *list = shell_json(line, 3);
    ck_assert_uint_eq(json_array_size(list), 128);
    json_decref(list);
    /* None is left: no document. */
    p = cli_run_text(
        cli_line("predict --model %s %s/000.png %s/none.png --json --quiet", run, mixed, mixed));
    ck_assert_int_eq(p.exit_code, 3);
    ck_assert_int_eq(cli_error_lines(p.err), 2);
    ck_assert_str_eq(p.out, "");
    test_process_release(&p);
    /* A folder is no picture, where names are read. */
    snprintf(line, sizeof line, "find %s | \"$PROGRAM\" predict --model \"$MODEL\" - --csv", mixed);
    p = shell(line);
    ck_assert_int_eq(p.exit_code, 3);
    ck_assert_int_eq(cli_error_lines(p.err), 3);
    ck_assert_uint_eq(lines_of(p.out), 129);
    test_process_release(&p);
}
END_TEST

START_TEST(comma_separated_values)
{
    char *odd = cli_path(work, "a,\"b\".png");
    put_picture(odd, 5);
    test_process p = cli_run("predict", "--model", run, "--csv", picture_name(5), odd);
    cli_expect_ok(p);
    ck_assert_uint_eq(lines_of(p.out), 3);
    ck_assert_int_eq(strncmp(p.out, "source,label,length_0,length_1,length_2,length_3\n", 49), 0);
    ck_assert_ptr_nonnull(strstr(p.out, "/a,\"\"b\"\".png\","));
    /* The same numbers as in JSON. */
    json_t *list =
        cli_run_json(cli_line("predict --model %s %s --json --quiet", run, picture_name(5)));
    char *row = strchr(p.out, '\n') + 1;
    row[strcspn(row, "\n")] = 0;
    ck_assert_double_eq_tol(atof(strrchr(row, ',') + 1),
        json_number_value(json_array_get(json_object_get(json_array_get(list, 0), "lengths"), 3)),
        1e-6);
    json_decref(list);
    test_process_release(&p);
    p = cli_run("predict", "--model", run, "--csv", "--data", data, "--index", "0-204");
    cli_expect_ok(p);
    ck_assert_uint_eq(lines_of(p.out), 206);
    ck_assert_int_eq(strncmp(p.out, "source,true_label,label,length_0,", 33), 0);
    test_process_release(&p);
}
END_TEST

START_TEST(one_who_reads_no_more)
{
    char line[4096];
    snprintf(line, sizeof line,
        "yes %s | \"$PROGRAM\" predict --model \"$MODEL\" - 2>/dev/null | head -n 1",
        picture_name(0));
    test_process p = shell(line); /* it ends: `yes` would not */
    cli_expect_ok(p);
    ck_assert_uint_eq(lines_of(p.out), 1);
    test_process_release(&p);
}
END_TEST

START_TEST(wrong_input)
{
    char line[4096];
    static const struct {
        const char *text;
        int code;
        const char *needle;
    } rows[] = {
        {"\"$PROGRAM\" predict --model \"$MODEL\" - </dev/null", 3,
            "standard input: no names of files, need some, one a line"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" - --null --json </dev/null", 3,
            "need some, each ended by a zero byte"},
        {"printf 'a\\0b\\0' | \"$PROGRAM\" predict --model \"$MODEL\" -", 3,
            "standard input: a name has a zero byte in it (--null: "},
        {"head -c 70000 /dev/zero | tr '\\0' a | \"$PROGRAM\" predict --model \"$MODEL\" -", 3,
            "standard input: a name of more than 65536 bytes, need names of files, one a line"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" - <&-", 3, "standard input: no names"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" - </", 1, "standard input: cannot read"},
        {"echo x | \"$PROGRAM\" predict --model \"$MODEL\" - a.png", 2,
            "predict: - reads names from standard input, need no other files beside it"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" a.png --null", 2, "predict: --null without -"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" a.png --csv --json", 2,
            "predict: --csv and --json exclude each other"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" a.png --csv --capsules", 2,
            "predict: --csv and --capsules exclude each other"},
        {"\"$PROGRAM\" predict --model \"$MODEL\" - --data d", 2, "exclude each other"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cli_expect_error(shell(rows[i].text), rows[i].code, rows[i].needle, rows[i].text);
    /* Of a name that is the sheet's own. */
    snprintf(line, sizeof line,
        "echo %s | \"$PROGRAM\" predict --model \"$MODEL\" - --reconstruct %s", picture_name(1),
        picture_name(1));
    cli_expect_error(shell(line), 2, "would replace", line);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: predict on many files");
    TCase *t = tcase_create("predict");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, many_files_in_their_order);
    tcase_add_test(t, many_images_of_a_set);
    tcase_add_test(t, names_on_standard_input);
    tcase_add_test(t, names_that_come_slowly);
    tcase_add_test(t, unreadable_ones_among_others);
    tcase_add_test(t, comma_separated_values);
    tcase_add_test(t, one_who_reads_no_more);
    tcase_add_test(t, wrong_input);
    suite_add_tcase(s, t);
    return s;
}
