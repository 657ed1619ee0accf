/* test_cli_report.c: the page about a run: whole, self-contained, with the numbers of eval;
 * escaped; of runs that are not finished; bad input. */
#include "cli_support.h"

static char *place, *data, *plain_data, *spec, *run, *page;

static void prepare(void)
{
    cli_use_test_cache();
    place = test_directory();
    data = cli_make_data(place, "da ta&<b>'\"", 40, 24, 1, 12, 12, 4);
    plain_data = cli_make_data(place, "plain", 40, 24, 1, 12, 12, 4);
    spec = cli_write_text(place, "tiny.json", TINY_SPEC);
    run = cli_path(place, "run");
    test_process p = cli_run("train", "--data", data, "--arch", spec, "--epochs", "3", "--batch",
        "8", "--lr", "0.0025", "--margin-positive", "0.85", "--seed", "18446744073709551615",
        "--no-shuffle", "--out", run, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    page = cli_path(run, "report.html");
}

static char *read_page(const char *path)
{
    size_t n;
    char *text = (char *)cli_read(path, &n);
    ck_assert_uint_eq(strlen(text), n);
    return text;
}

/* Every element that is opened is closed, in order; text holds no raw bracket, and attributes
 * are quoted. A small subset of HTML: that of the report. */
static void expect_balanced(const char *html)
{
    static const char *const empty[] = {"meta", "img", "br", "!DOCTYPE", NULL};
    char stack[64][16];
    size_t depth = 0, tags = 0;
    for (const char *at = html; (at = strpbrk(at, "<>")) != NULL;) {
        ck_assert_msg(*at == '<', "a bare '>' near: %.60s", at - 20);
        const bool closes = at[1] == '/';
        char name[16];
        const size_t n = strcspn(at + 1 + closes, " >/\n");
        ck_assert_msg(n > 0 && n < sizeof name, "no element's name near: %.60s", at);
        memcpy(name, at + 1 + closes, n);
        name[n] = 0;
        bool quoted = false;
        const char *end = at + 1;
        for (; *end && (quoted || *end != '>'); end++) {
            if (*end == '"')
                quoted = !quoted;
            ck_assert_msg(quoted || *end != '<', "a bracket in a tag near: %.60s", at);
        }
        ck_assert_msg(*end == '>', "a tag without an end: %.60s", at);
        const bool alone = end[-1] == '/';
        at = end + 1;
        tags++;
        bool is_empty = alone;
        for (size_t i = 0; empty[i]; i++)
            is_empty = is_empty || strcmp(name, empty[i]) == 0;
        if (closes) {
            ck_assert_msg(depth > 0, "</%s> without a beginning", name);
            ck_assert_msg(
                strcmp(stack[--depth], name) == 0, "</%s> closes <%s>", name, stack[depth]);
        } else if (!is_empty) {
            ck_assert_uint_lt(depth, 64);
            memcpy(stack[depth++], name, sizeof name);
        }
    }
    ck_assert_uint_eq(depth, 0);
    ck_assert_uint_gt(tags, 100);
}

/* Nothing is fetched from anywhere, and nothing runs. */
static void expect_self_contained(const char *html)
{
    static const char *const never[] = {"http:", "https:", "<script", "<link", "<iframe", "@import",
        "url(", "javascript:", "onload"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        ck_assert_msg(strstr(html, never[i]) == NULL, "the page has %s", never[i]);
    for (const char *at = html; (at = strstr(at, "src=\"")) != NULL; at += 5)
        ck_assert(strncmp(at, "src=\"data:image/png;base64,iVBORw0KGgo", 38) == 0);
}

static size_t count(const char *html, const char *needle)
{
    size_t n = 0;
    for (const char *at = html; (at = strstr(at, needle)) != NULL; at += strlen(needle))
        n++;
    return n;
}

static void expect_has(const char *html, const char *needle)
{
    ck_assert_msg(strstr(html, needle) != NULL, "the page lacks: %s", needle);
}

START_TEST(a_whole_page)
{
    test_process p = cli_run("report", run);
    cli_expect_ok(p);
    ck_assert_str_eq(p.out, "");
    ck_assert_ptr_nonnull(strstr(p.err, page));
    test_process_release(&p);
    char *html = read_page(page);
    expect_balanced(html);
    expect_self_contained(html);
    expect_has(html, "finished</span> after 15 steps");
    ck_assert_uint_eq(count(html, "<svg"), 4);
    ck_assert_uint_eq(count(html, "<figure class=\"sheet\">"), 5);
    expect_has(html, "prefers-color-scheme:dark");
    expect_has(html, "<td>class_caps.weight</td>");
    expect_has(html, "<tr><td>margin_positive</td><td>0.85</td></tr>");
    expect_has(html, "<tr><td>margin_negative</td><td>0.1</td></tr>");
    expect_has(html, "<tr><td>margin_down</td><td>0.5</td></tr>");
    expect_has(html, "<tr><td>margin_scale</td><td>1</td></tr>");
    expect_has(html, "<tr><td>reconstruction_weight</td><td>0.0005</td></tr>");

    /* The numbers are those of eval. */
    p = cli_run(
        "eval", "--model", cli_path(run, "model.safetensors"), "--data", data, "--json", "--quiet");
    cli_expect_ok(p);
    json_t *e = cli_json(&p);
    char text[256];
    snprintf(text, sizeof text, "%.2f %% (%.0f of %.0f images)", cli_number(e, "error_percent"),
        cli_number(e, "errors"), cli_number(e, "n"));
    expect_has(html, text);
    snprintf(text, sizeof text, "<td>%.5f an image</td>", cli_number(e, "margin_loss"));
    expect_has(html, text);
    snprintf(text, sizeof text, "<td>%.3f an image</td>", cli_number(e, "reconstruction_sse"));
    expect_has(html, text);
    const char *row = strstr(html, "class=\"matrix\"");
    ck_assert_ptr_nonnull(row);
    row = strstr(row, "</tr>"); /* behind the names */
    const json_t *confusion = json_object_get(e, "confusion");
    for (size_t i = 0; i < 4; i++) {
        row = strstr(row + 1, "<tr><th>");
        ck_assert_ptr_nonnull(row);
        const char *cell = row;
        for (size_t j = 0; j < 4; j++) {
            cell = strchr(strstr(cell, "<td") + 1, '>') + 1;
            ck_assert_int_eq(
                atoi(cell), json_integer_value(json_array_get(json_array_get(confusion, i), j)));
        }
    }
    json_decref(e);
    test_process_release(&p);

    /* Again, it is the same to the byte. */
    char *copy = cli_write_text(place, "copy.html", html);
    p = cli_run("report", run, "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
    ck_assert(cli_same_file(copy, page));
    free(html);
}
END_TEST

/* The text of <pre>, unescaped. */
static char *command_of(const char *html)
{
    const char *at = strstr(html, "<pre>");
    ck_assert_ptr_nonnull(at);
    at += 5;
    char *out = calloc(1, strlen(at) + 1);
    static const struct {
        const char *name, *text;
    } entities[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
    size_t n = 0;
    while (*at != '<') {
        size_t i = 0;
        while (i < 5 && strncmp(at, entities[i].name, strlen(entities[i].name)) != 0)
            i++;
        out[n++] = i < 5 ? entities[i].text[0] : *at;
        at += i < 5 ? strlen(entities[i].name) : 1;
    }
    return out;
}

/* What a shell makes of the command trains the same network as that in `out`, to the byte. */
static void expect_repeats(const char *command, const char *out)
{
    char *line = caps_format("%s%s --quiet", TEST_PROGRAM, command + strlen("capscl"));
    char *again = caps_format("%s-again/model.safetensors", out);
    char *const argv[] = {"/bin/sh", "-c", line, NULL};
    test_process p = test_run(argv, NULL);
    ck_assert_msg(p.exit_code == 0, "%s: exit code %d; %s", command, p.exit_code, p.err);
    test_process_release(&p);
    ck_assert_msg(cli_same_file(cli_path(out, "model.safetensors"), again), "%s", command);
    free(again);
    free(line);
}

/* What a shell makes of the command trains the same network, to the byte; defaults are left out.
 */
START_TEST(the_command_repeats_the_run)
{
    test_process p = cli_run("report", run, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *html = read_page(page), *command = command_of(html);
    ck_assert_msg(strncmp(command, "capscl train --data ", 20) == 0, "%s", command);
    ck_assert_ptr_nonnull(strstr(command, " --lr 0.0025 "));
    ck_assert_ptr_nonnull(strstr(command, " --seed 18446744073709551615"));
    ck_assert_ptr_nonnull(strstr(command, " --no-shuffle"));
    ck_assert_ptr_nonnull(strstr(command, " --margin-positive 0.85"));
    ck_assert_ptr_null(strstr(command, "0.85000")); /* of a float, but as it was given */
    ck_assert_ptr_nonnull(strstr(command, " --epochs 3"));
    ck_assert_ptr_nonnull(strstr(command, "run-again"));
    static const char *const defaults[] = {"--optimizer", "--lr-decay", "--augment", "--limit",
        "--profile", "--init", "--max-steps", "--eval-every", "--memory-limit"};
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        ck_assert_msg(strstr(command, defaults[i]) == NULL, "%s in %s", defaults[i], command);
    expect_repeats(command, run);
    free(command);
    free(html);
}
END_TEST

/* Trains with the flags, and gives the command of the report about it. */
static char *train_and_report(const char *name, const char *flags)
{
    char *out = cli_path(place, name);
    char *text = caps_format(
        "train --data %s --batch 8 --max-steps 7 --quiet --out %s %s", plain_data, out, flags);
    test_process p = cli_run_text(text);
    cli_expect_ok(p);
    test_process_release(&p);
    free(text);
    p = cli_run("report", out, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *html = read_page(cli_path(out, "report.html")), *command = command_of(html);
    free(html);
    return command;
}

/* Flags that undo a profile's choices are in the command too. */
START_TEST(the_command_undoes_a_profile)
{
    static const char *const undone[] = {
        "--no-class-bias", "--no-primary-average --no-class-mean --lr-decay-steps 0"};
    for (size_t i = 0; i < 2; i++) {
        char name[16], *flags = caps_format("--arch %s --profile authors %s", spec, undone[i]);
        snprintf(name, sizeof name, "undone-%zu", i);
        char *command = train_and_report(name, flags);
        for (const char *at = undone[i]; at; at = strstr(at + 1, " --")) {
            char *one = strndup(at + (*at == ' '), strcspn(at + 1, " ") + (*at != ' '));
            ck_assert_msg(strstr(command, one) != NULL, "%s in %s", one, command);
            free(one);
        }
        expect_repeats(command, cli_path(place, name));
        free(command);
        free(flags);
    }
    char *flags = caps_format("--arch %s --profile keras --no-lr-staircase", spec);
    char *command = train_and_report("smooth", flags);
    ck_assert_ptr_nonnull(strstr(command, " --no-lr-staircase"));
    expect_repeats(command, cli_path(place, "smooth"));
    free(command);
    free(flags);
    flags = caps_format("--arch %s --lr-linear 2 --epochs 2", spec);
    command = train_and_report("linear", flags);
    ck_assert_ptr_nonnull(strstr(command, " --lr-decay 1 --lr-linear 2"));
    expect_repeats(command, cli_path(place, "linear"));
    free(command);
    free(flags);
    /* Such a run does not go on at a rate of 0. */
    test_process p =
        cli_run("train", "--resume", "--out", cli_path(place, "linear"), "--epochs", "3");
    cli_expect_error(p, 2, "3 epochs at a learning rate that falls to 0 in 2", "--resume");
    /* Rates by layer, which sgd has too, though it has no schedule. */
    static const char *const optimizers[] = {"adam", "sgd"};
    for (size_t i = 0; i < 2; i++) {
        flags = caps_format(
            "--arch %s --optimizer %s --layer-lr primary=0.25,decoder=0", spec, optimizers[i]);
        command = train_and_report(optimizers[i], flags);
        ck_assert_ptr_nonnull(strstr(command, " --layer-lr primary=0.25,decoder=0"));
        expect_repeats(command, cli_path(place, optimizers[i]));
        free(command);
        free(flags);
    }
}
END_TEST

/* Of a run that begins with a checkpoint, also what differs from the checkpoint's network is said:
 * all of that where the file is gone. */
START_TEST(the_command_after_init)
{
    char *init = cli_path(place, "init.safetensors"), *gone = cli_path(place, "gone.safetensors");
    size_t n;
    unsigned char *bytes = cli_read(cli_path(run, "model.safetensors"), &n);
    cli_write(init, bytes, n);
    char *flags = caps_format("--init %s --iterations 3 --leaky --routing-grad last", init);
    char *command = train_and_report("changed", flags);
    ck_assert_ptr_nonnull(strstr(command, " --iterations 3 --routing-grad last --leaky"));
    expect_repeats(command, cli_path(place, "changed"));
    free(command);
    free(flags);

    flags = caps_format("--init %s", init);
    command = train_and_report("same", flags);
    ck_assert_ptr_null(strstr(command, "--iterations"));
    ck_assert_ptr_null(strstr(command, "--routing-grad"));
    free(command);
    ck_assert_int_eq(rename(init, gone), 0);
    test_process p = cli_run("report", cli_path(place, "changed"), "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *html = read_page(cli_path(place, "changed/report.html"));
    command = command_of(html);
    ck_assert_ptr_nonnull(strstr(command, " --iterations 3 --routing-grad last --leaky"));
    ck_assert_ptr_null(strstr(command, "--class-bias"));
    ck_assert_ptr_null(strstr(command, "--no-decoder"));
    free(command);
    free(html);
    free(flags);
    free(bytes);
}
END_TEST

/* Copies the files of the run; `skip` is left out. */
static char *copy_run(const char *name, const char *skip)
{
    static const char *const files[] = {
        "config.json", "metrics.jsonl", "model.safetensors", "state.safetensors"};
    char *to = cli_make_directory(place, name);
    for (size_t i = 0; i < 4; i++) {
        size_t n;
        if (skip && strcmp(files[i], skip) == 0)
            continue;
        unsigned char *text = cli_read(cli_path(run, files[i]), &n);
        cli_write(cli_path(to, files[i]), text, n);
        free(text);
    }
    return to;
}

/* Cut off in its second epoch, with a torn last line, and with nothing logged at all. */
START_TEST(unfinished_runs)
{
    char *cut = copy_run("cut", NULL);
    size_t n;
    unsigned char *text = cli_read(cli_path(cut, "metrics.jsonl"), &n);
    const char *second = strstr(strstr((char *)text, "\"type\":\"epoch\""), "\n") + 1;
    const size_t kept = (size_t)(second - (char *)text);
    cli_write(cli_path(cut, "metrics.jsonl"), text, kept + 25);
    test_process p = cli_run("report", cut, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *html = read_page(cli_path(cut, "report.html"));
    expect_balanced(html);
    expect_has(html, "not finished</span> 5 of 15 steps");
    free(html);

    cli_write(cli_path(cut, "metrics.jsonl"), "", 0);
    p = cli_run("report", cut, "--quiet", "--limit", "7");
    cli_expect_ok(p);
    test_process_release(&p);
    html = read_page(cli_path(cut, "report.html"));
    expect_balanced(html);
    expect_has(html, "not finished</span> no step is logged yet");
    expect_has(html, "No epoch has ended yet");
    expect_has(html, " of 7 images)");
    free(html);
    free(text);

    /* The state has the parameters too. */
    char *young = copy_run("young", "model.safetensors");
    p = cli_run("report", young, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    html = read_page(cli_path(young, "report.html"));
    expect_has(html, "state.safetensors, evaluated");
    free(html);
}
END_TEST

/* Values in a narrow range have lines to read them by, on a log scale too. */
START_TEST(charts_have_ticks)
{
    static const double ranges[][2] = {{0.41, 0.46}, {2.1, 4.9}, {0.0051, 0.0099}, {1e-4, 60}};
    char *narrow = copy_run("narrow", NULL);
    for (size_t k = 0; k < 4; k++) {
        char text[4096] = "";
        for (int i = 0; i < 3; i++) {
            const double x = ranges[k][0] + (ranges[k][1] - ranges[k][0]) * i / 2;
            snprintf(text + strlen(text), sizeof text - strlen(text),
                "{\"type\":\"epoch\",\"epoch\":%d,\"step\":%d,\"images_done\":40,\"images_total\":"
                "40,\"loss\":%g,"
                "\"train_error_percent\":%g,\"test_error_percent\":%g,"
                "\"reconstruction_sse\":%g,\"images_per_second\":900}\n",
                i + 1, 5 * (i + 1), x, x, x, x);
        }
        cli_write_text(narrow, "metrics.jsonl", text);
        test_process p = cli_run("report", narrow, "--quiet");
        cli_expect_ok(p);
        test_process_release(&p);
        char *html = read_page(cli_path(narrow, "report.html")), *svg = html;
        size_t charts = 0;
        for (; (svg = strstr(svg, "<svg")) != NULL; charts++) {
            char *end = strstr(svg, "</svg>");
            *end = 0;
            const size_t lines = count(svg, "class=\"grid\"");
            ck_assert_msg(lines >= 3 && lines <= 12, "%zu lines for range %zu: %s", lines, k, svg);
            svg = end + 1;
        }
        ck_assert_uint_eq(charts, 4);
        free(html);
    }
}
END_TEST

/* Whatever stands in the files comes out as text. */
START_TEST(all_is_escaped)
{
    char *odd = copy_run("odd", NULL);
    json_t *config = cli_config(odd);
    const char *evil = "<script>alert(1)</script>\"'&\x01";
    json_object_set_new(config, "device", json_string(evil));
    json_object_set_new(config, "arch", json_string("x\" onload=\"y"));
    json_object_set_new(config, "<img src=x>", json_string("]]>-->"));
    json_dump_file(config, cli_path(odd, "config.json"), JSON_INDENT(1));
    json_decref(config);
    test_process p = cli_run("report", odd, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *html = read_page(cli_path(odd, "report.html"));
    expect_balanced(html);
    ck_assert_ptr_null(strstr(html, "<script"));
    ck_assert_ptr_null(strstr(html, "<img src=x"));
    ck_assert_ptr_null(strstr(html, "\" onload"));
    ck_assert_ptr_null(strchr(html, 1));
    expect_has(html, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;?");
    expect_has(html, "&amp;&lt;b&gt;&#39;&quot;"); /* the data set's name */
    free(html);
}
END_TEST

START_TEST(bad_input)
{
    char *no_config = copy_run("no-config", "config.json");
    char *no_metrics = copy_run("no-metrics", "metrics.jsonl");
    char *no_model = copy_run("no-model", "model.safetensors");
    ck_assert_int_eq(unlink(cli_path(no_model, "state.safetensors")), 0);
    char *bad = copy_run("bad", NULL), *lost = copy_run("lost", NULL);
    char *blocked = copy_run("blocked", NULL);
    cli_make_directory(blocked, "report.html");
    cli_write_text(bad, "config.json", "{\"epochs\": ");
    cli_write_text(bad, "report.html", "an older page");
    char *empty = cli_make_directory(place, "empty");
    char *other = cli_make_data(place, "other", 8, 8, 1, 9, 9, 4);
    cli_write_text(lost, "report.html", "an older page");
    const uint64_t before = cli_tree_hash(place);
    const struct {
        int code;
        const char *needle;
        const char *arguments[6];
    } cases[] = {
        {2, "no run given", {"--quiet"}},
        {2, "unknown flag --date; did you mean --data?", {lost, "--date", "x"}},
        {2, "--limit", {lost, "--limit", "many"}},
        {3, "nowhere: is no directory", {"/nowhere"}},
        {3, "config.json: does not exist", {empty}},
        {3, "config.json: does not exist", {no_config}},
        {3, "metrics.jsonl: does not exist", {no_metrics}},
        {3, "model.safetensors: does not exist", {no_model}},
        {3, "config.json", {bad}},
        {3, "no-such-set", {lost, "--data", "no-such-set"}},
        {3, "9x9", {lost, "--data", other}},
        {1, "report.html: is a directory", {blocked}},
        {4, "no-such-device", {lost, "--device", "no-such-device"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *argv[10] = {TEST_PROGRAM, "report"};
        for (int k = 0; k < 6 && cases[i].arguments[k]; k++)
            argv[2 + k] = (char *)cases[i].arguments[k];
        cli_expect_error(test_run(argv, NULL), cases[i].code, cases[i].needle, cases[i].needle);
    }
    ck_assert_uint_eq(cli_tree_hash(place), before);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("cli report");
    TCase *tc = tcase_create("report");
    tcase_set_timeout(tc, 0);
    tcase_add_unchecked_fixture(tc, prepare, NULL);
    tcase_add_test(tc, a_whole_page);
    tcase_add_test(tc, the_command_repeats_the_run);
    tcase_add_test(tc, the_command_undoes_a_profile);
    tcase_add_test(tc, the_command_after_init);
    tcase_add_test(tc, unfinished_runs);
    tcase_add_test(tc, charts_have_ticks);
    tcase_add_test(tc, all_is_escaped);
    tcase_add_test(tc, bad_input);
    suite_add_tcase(s, tc);
    return s;
}
