/* What a terminal gets and a pipe does not: progress, colours, a curve; and --json of the commands
 * whose other suites do not look at it. */
#include <errno.h>
#include <pty.h>

#include "cli_support.h"

/* Made once: data of 4 classes, a run of a few steps. */
static char *work, *data, *spec, *run;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 60, 400, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    json_decref(cli_train(run, spec, data, ""));
}

static void tear_down(void)
{
    free(work);
}

/* What a terminal of 100 columns shows of the program with these arguments, split at blanks, and
 * "NAME=value" in its environment (NULL: nothing more); freed with free(). */
static char *on_terminal(const char *arguments, const char *variable, int exit_code)
{
    struct winsize size = {.ws_row = 40, .ws_col = 100};
    char *copy = strdup(arguments), *argv[CLI_MAX_ARGUMENTS + 2] = {TEST_PROGRAM};
    int n = 1, terminal, code = 0;
    for (char *word = strtok(copy, " "); word && n < CLI_MAX_ARGUMENTS; word = strtok(NULL, " "))
        argv[n++] = word;
    const pid_t child = forkpty(&terminal, NULL, NULL, &size);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setenv("TERM", "xterm", 1);
        unsetenv("NO_COLOR");
        unsetenv("LC_ALL");
        setenv("LC_CTYPE", "C.UTF-8", 1);
        if (variable)
            putenv((char *)variable);
        execv(TEST_PROGRAM, argv);
        _exit(127);
    }
    const size_t most = (size_t)1 << 20;
    char *text = malloc(most);
    size_t used = 0;
    for (;;) {
        const ssize_t got = read(terminal, text + used, most - 1 - used);
        if (got > 0)
            used += (size_t)got;
        else if (got == 0 || errno != EINTR)
            break; /* EIO: the other side has gone */
    }
    text[used] = 0;
    close(terminal);
    free(copy);
    ck_assert_int_eq(waitpid(child, &code, 0), child);
    ck_assert_msg(WIFEXITED(code) && WEXITSTATUS(code) == exit_code, "%s: %s", arguments, text);
    return text;
}

static void expect(const char *text, const char *needle, bool there)
{
    ck_assert_msg((strstr(text, needle) != NULL) == there, "%s '%s' in: %s",
        there ? "no" : "there is", needle, text);
}

/* Every one of these lines is drawn, and wiped. */
START_TEST(progress_on_a_terminal)
{
    char *page = cli_path(work, "page");
    static const struct {
        const char *line, *needle;
    } rows[] = {
        {"eval --data %s --model %s", "evaluating ["},
        {"predict --data %s --model %s --index 0-399", "predicting ["},
        {"show lengths --data %s --model %s --out %s.png", "classifying ["},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[2048];
        snprintf(line, sizeof line, rows[i].line, data, run, page);
        char *text = on_terminal(line, NULL, 0);
        expect(text, rows[i].needle, true);
        expect(text, "\033[K", true);
        free(text);
        text = on_terminal(line, "TERM=dumb", 0);
        expect(text, rows[i].needle, false);
        expect(text, "\033", false);
        free(text);
    }
    char *text = on_terminal("selftest squash votes --small", NULL, 0);
    expect(text, "testing [", true);
    free(text);
    text = on_terminal(cli_line("report %s", run), NULL, 0);
    expect(text, "classifying [", true);
    free(text);
}
END_TEST

/* How long it still takes, of what takes longer than a second. */
START_TEST(time_left)
{
    char *text =
        on_terminal(cli_line("bench squash forward --arch %s --batch 1 --time 1", spec), NULL, 0);
    expect(text, "measuring [", true);
    expect(text, " left", true);
    expect(text, "squash", true);
    free(text);
    /* What tune finds is not for other tests. */
    char variable[1024];
    snprintf(variable, sizeof variable, "CAPSCL_CACHE=%s", cli_path(work, "cache"));
    text = on_terminal(cli_line("tune --arch %s --batch 20 --time 3", spec), variable, 0);
    expect(text, "tuning [", true);
    free(text);
    /* Into a pipe there is none of it. */
    test_process p = cli_run_text(cli_line("bench squash --arch %s --batch 1 --time 1", spec));
    cli_expect_ok(p);
    expect(p.err, "[", false);
    expect(p.err, "\033", false);
    test_process_release(&p);
}
END_TEST

START_TEST(colours_on_a_terminal_alone)
{
    static const char red[] = "\033[31m", green[] = "\033[32m";
    char *text = on_terminal("eval --modle x", NULL, 2);
    expect(text, "capscl: \033[31meval: unknown flag --modle; did you mean --model?", true);
    free(text);
    static const char *const off[] = {"NO_COLOR=1", "TERM=dumb"};
    for (size_t i = 0; i < 2; i++) {
        text = on_terminal("eval --modle x", off[i], 2);
        expect(text, "capscl: eval: unknown flag", true);
        expect(text, "\033[3", false);
        free(text);
    }
    text = on_terminal("eval --modle x", "NO_COLOR=", 2); /* empty is as good as not set */
    expect(text, red, true);
    free(text);
    char line[2048];
    snprintf(line, sizeof line, "predict --data %s --model %s --index 0-19", data, run);
    text = on_terminal(line, NULL, 0);
    ck_assert_msg(strstr(text, red) || strstr(text, green), "%s", text);
    free(text);
    text = on_terminal(line, "NO_COLOR=1", 0);
    expect(text, "\033[3", false);
    free(text);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    expect(p.out, "\033", false);
    expect(p.err, "\033", false);
    test_process_release(&p);
    p = cli_run("eval", "--modle", "x");
    expect(p.err, "\033", false);
    test_process_release(&p);
}
END_TEST

START_TEST(a_curve_at_the_end_of_a_training)
{
    const char *format = "train --data %s --arch %s --batch 20 --epochs 3 --overwrite --out %s %s";
    char line[2048], *out = cli_path(work, "curve");
    snprintf(line, sizeof line, format, data, spec, out, "");
    char *text = on_terminal(line, NULL, 0);
    expect(text, "error in percent: training (line), test (o)", true);
    expect(text, "9 steps", true);
    expect(text, "\xe2\xa0", true); /* Braille */
    free(text);
    text = on_terminal(line, "LC_ALL=C", 0);
    expect(text, "error in percent: training (line), test (o)", true);
    expect(text, "\xe2", false);
    free(text);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    expect(p.err, "error in percent", false);
    expect(p.out, "error in percent", false);
    test_process_release(&p);
    snprintf(line, sizeof line, format, data, spec, out, "--quiet");
    text = on_terminal(line, NULL, 0);
    expect(text, "error in percent", false);
    free(text);
    /* A single point is no curve. */
    snprintf(line, sizeof line, format, data, spec, out, "--max-steps 2");
    text = on_terminal(line, NULL, 0);
    expect(text, "error in percent", false);
    free(text);
}
END_TEST

START_TEST(json_of_show_and_report)
{
    char *png = cli_path(work, "lengths.png");
    json_t *shown = cli_run_json(
        cli_line("show lengths --data %s --model %s --out %s --json --quiet", data, run, png));
    cli_expect_keys(shown, "kind file width height model images device");
    ck_assert_str_eq(json_string_value(json_object_get(shown, "kind")), "lengths");
    ck_assert_str_eq(json_string_value(json_object_get(shown, "file")), png);
    ck_assert(cli_number(shown, "images") == 400);
    ck_assert(cli_number(shown, "width") > 100);
    json_decref(shown);
    json_t *list = cli_run_json(cli_line("report %s --json --quiet", run));
    ck_assert_uint_eq(json_array_size(list), 1);
    const json_t *row = json_array_get(list, 0);
    cli_expect_keys(row, "run file split n errors error_percent");
    ck_assert(caps_path_exists(json_string_value(json_object_get(row, "file"))));
    json_t *evaluated =
        cli_run_json(cli_line("eval --model %s --data %s --json --quiet", run, data));
    ck_assert(cli_number(evaluated, "errors") == cli_number(row, "errors"));
    ck_assert(cli_number(row, "n") == 400);
    json_decref(evaluated);
    json_decref(list);
    /* A failure prints none. */
    cli_expect_error(
        cli_run("report", run, cli_path(work, "none"), "--json", "--quiet"), 3, "none", "report");
}
END_TEST

/* Every subcommand has --json: it says so itself. */
START_TEST(json_of_help)
{
    json_t *all = cli_run_json("help --json");
    cli_expect_keys(all, "version subcommands");
    const json_t *commands = json_object_get(all, "subcommands");
    ck_assert_uint_ge(json_array_size(commands), 11);
    for (size_t i = 0; i < json_array_size(commands); i++) {
        const json_t *command = json_array_get(commands, i);
        const char *name = json_string_value(json_object_get(command, "name"));
        const json_t *flags = json_object_get(command, "flags");
        bool has_json = false;
        for (size_t k = 0; k < json_array_size(flags); k++) {
            const json_t *flag = json_array_get(flags, k);
            ck_assert(json_is_string(json_object_get(flag, "help")));
            has_json =
                has_json || strcmp(json_string_value(json_object_get(flag, "name")), "--json") == 0;
        }
        ck_assert_msg(has_json, "%s", name);
        json_t *one = cli_run_json(cli_line("help %s --json", name));
        ck_assert(json_equal(one, command));
        json_decref(one);
    }
    json_decref(all);
    json_t *augment = NULL, *train = cli_run_json("help train --json");
    const json_t *flags = json_object_get(train, "flags");
    for (size_t k = 0; k < json_array_size(flags); k++)
        if (strcmp(json_string_value(json_object_get(json_array_get(flags, k), "name")),
                "--augment") == 0)
            augment = json_array_get(flags, k);
    ck_assert_str_eq(json_string_value(json_object_get(augment, "type")), "choice");
    ck_assert_uint_ge(json_array_size(json_object_get(augment, "choices")), 2);
    json_decref(train);
    cli_expect_error(cli_run("help", "nothing", "--json"), 2, "unknown subcommand", "help");
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: habits");
    TCase *t = tcase_create("habits");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, progress_on_a_terminal);
    tcase_add_test(t, time_left);
    tcase_add_test(t, colours_on_a_terminal_alone);
    tcase_add_test(t, a_curve_at_the_end_of_a_training);
    tcase_add_test(t, json_of_show_and_report);
    tcase_add_test(t, json_of_help);
    suite_add_tcase(s, t);
    return s;
}
