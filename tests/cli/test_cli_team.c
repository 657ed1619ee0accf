/* Several devices in one command, through the program: training, evaluation, prediction. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_team.h"

static char *work, *data, *spec, *start;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    char *out = cli_path(work, "start"); /* where uneven shares begin */
    json_decref(cli_train(out, spec, data, "--max-steps 3"));
    start = cli_path(out, "model.safetensors");
}

static void tear_down(void)
{
    free(work);
}

/* "--device A --device B" and more flags; up to the next one. */
CAPS_PRINTF(1, 2) static const char *on_both(const char *format, ...)
{
    static char flags[1024];
    int n = snprintf(flags, sizeof flags, "--device %s --device %s ", a, b);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(flags + n, sizeof flags - (size_t)n, format, arguments);
    va_end(arguments);
    return flags;
}

/* ---- wrong usage ---------------------------------------------------------------------------- */

START_TEST(what_is_wrong_is_said_in_a_line)
{
    static const struct {
        const char *split, *needle;
    } splits[] = {
        {"60", "split 60: 1 shares, need one for each of 2 devices"},
        {"50:30:20", "split 50:30:20: 3 shares, need one for each of 2 devices"},
        {"0:1", "split 0:1: need whole numbers of 1 to 1000000 with colons between them"},
        {"1:-1", "split 1:-1: need whole numbers"},
        {"0.6:0.4", "split 0.6:0.4: need whole numbers"},
        {"60:40%", "split 60:40%: need whole numbers"},
        {"60;40", "split 60;40: need whole numbers"},
        {"a:b", "split a:b: need whole numbers"},
        {"1:1000001", "split 1:1000001: need whole numbers"},
        {"fast", "split fast: need whole numbers"},
    };
    char *out = cli_path(work, "wrong");
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        cli_expect_error(cli_run_text(cli_line("train --data %s --arch %s --out %s %s", data, spec,
                             out, on_both("--split %s", splits[i].split))),
            2, splits[i].needle, splits[i].split);
    char named[160], whole_and_half[160], divisions[160], no_part[96];
    snprintf(named, sizeof named, "--device %s --device %s", a, a);
    snprintf(whole_and_half, sizeof whole_and_half, "--device %s --device %s/2:1", a, a);
    snprintf(divisions, sizeof divisions, "--device %s/2 --device %s/1:0", a, a);
    snprintf(no_part, sizeof no_part, "--device %s/2:2", a);
    const struct {
        const char *flags;
        int code;
        const char *needle;
    } cases[] = {
        {named, 2, "which is named already"},
        {whole_and_half, 2, "units in common"},
        {divisions, 2, "units in common"},
        {no_part, 2, "no such part"},
        {on_both("--device nosuch"), 4, "nosuch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strchr(a, '/') == NULL || i == 0 || i == 4)
            cli_expect_error(cli_run_text(cli_line("train --data %s --arch %s --out %s %s", data,
                                 spec, out, cases[i].flags)),
                cases[i].code, cases[i].needle, cases[i].flags);
    cli_expect_error(cli_run_text(cli_line("train --data %s --arch %s --out %s --device %s --split "
                                           "60:40",
                         data, spec, out, a)),
        2, "split 60:40: 2 shares, need one for each of 1 device", "one device");
    static const char *const timeouts[] = {"x", "-1", "0"};
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++)
        cli_expect_error(cli_run_text(cli_line("train --data %s --arch %s --out %s %s", data, spec,
                             out, on_both("--device-timeout %s", timeouts[i]))),
            2, "--device-timeout", timeouts[i]);
    ck_assert(!caps_path_exists(out));
}
END_TEST

/* ---- training ------------------------------------------------------------------------------- */

/* Each device's numbers, and what the shares are; all images are computed by somebody. One device
 * alone has none. */
static void expect_devices(const json_t *document, size_t n, double images, const double *shares)
{
    const json_t *devices = json_object_get(document, "devices");
    double sum = 0;
    if (n == 1) {
        ck_assert_ptr_null(devices);
        return;
    }
    ck_assert_uint_eq(json_array_size(devices), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *d = json_array_get(devices, i);
        cli_expect_keys(d, "id rank name images busy_seconds waiting_seconds share");
        if (n == 2)
            ck_assert_str_eq(json_string_value(json_object_get(d, "id")), i == 0 ? a : b);
        ck_assert(json_string_length(json_object_get(d, "name")) > 0);
        ck_assert(cli_number(d, "rank") == 0);
        ck_assert(cli_number(d, "busy_seconds") > 0);
        ck_assert(cli_number(d, "waiting_seconds") >= 0);
        if (shares)
            ck_assert(cli_number(d, "share") == shares[i]);
        sum += cli_number(d, "images");
    }
    ck_assert_msg(sum == images, "%g images in all, need %g", sum, images);
}

/* The same bits twice; the losses are those of one device; the devices' numbers. */
START_TEST(two_devices_train_together)
{
    static const char *const names[] = {"together", "again"};
    char *outs[2], *alone = cli_path(work, "one");
    json_t *documents[2];
    for (int i = 0; i < 2; i++) {
        outs[i] = cli_path(work, names[i]);
        documents[i] = cli_train(outs[i], spec, data, on_both("--max-steps 12"));
        /* Epochs of 20, 20, 20, 20 and 10 images; two of them, and two steps of the third. */
        expect_devices(documents[i], 2, 220, (const double[]){10, 10});
    }
    ck_assert(cli_same_file(model_of(outs[0]), model_of(outs[1])));
    json_t *rows[] = {metrics_of(outs[0]), metrics_of(outs[1])};
    ck_assert(json_array_size(rows[0]) == 3 && json_equal(rows[0], rows[1]));
    expect_page(outs[0], 3);
    json_t *one = cli_train(alone, spec, data, cli_line("--max-steps 12 --device %s", a));
    expect_devices(one, 1, 220, NULL);
    json_t *need = metrics_of(alone);
    ck_assert_uint_eq(json_array_size(need), 3);
    for (size_t i = 0; i < 3; i++) {
        expect_near(json_array_get(rows[0], i), json_array_get(need, i), "loss", 1e-5);
        expect_near(json_array_get(rows[0], i), json_array_get(need, i), "margin_loss", 1e-5);
        expect_near(
            json_array_get(rows[0], i), json_array_get(need, i), "reconstruction_sse", 1e-5);
    }
    static const double images[] = {90, 90, 40};
    for (size_t i = 0; i < 3; i++) { /* by epoch; one device has no list */
        const json_t *did = json_object_get(json_array_get(rows[0], i), "devices");
        ck_assert_uint_eq(json_array_size(did), 2);
        ck_assert(cli_number(json_array_get(did, 0), "images") +
                      cli_number(json_array_get(did, 1), "images") ==
                  images[i]);
        ck_assert(cli_number(json_array_get(did, 1), "share") == 10);
        ck_assert_str_eq(json_string_value(json_object_get(json_array_get(did, 1), "id")), b);
        ck_assert_ptr_null(json_object_get(json_array_get(need, i), "devices"));
    }
    expect_near(documents[0], one, "train_error_percent", 0);
    expect_near(documents[0], one, "test_error_percent", 0);
    json_t *config = cli_config(outs[0]);
    char both[160];
    snprintf(both, sizeof both, "%s %s", a, b);
    ck_assert_str_eq(json_string_value(json_object_get(config, "devices")), both);
    json_decref(config);
    for (int i = 0; i < 2; i++) {
        json_decref(documents[i]);
        json_decref(rows[i]);
    }
    json_decref(one);
    json_decref(need);
}
END_TEST

/* What a person reads of each device. */
START_TEST(text_tells_what_each_did)
{
    char *out = cli_path(work, "text");
    test_process p =
        cli_run_text(cli_line("train --data %s --arch %s --batch 20 --max-steps 3 --out %s %s",
            data, spec, out, on_both("--split 3:1")));
    cli_expect_ok(p);
    static const char *const ids[] = {a, b}, *const shares[] = {"15 images of a batch, 45 in all",
                                                 "5 images of a batch, 15 in all"};
    for (int i = 0; i < 2; i++) {
        char begin[96];
        snprintf(begin, sizeof begin, "device %s (", ids[i]);
        const char *line = strstr(p.out, begin);
        ck_assert_msg(line != NULL, "%s in: %s", begin, p.out);
        char *whole = strndup(line, strcspn(line, "\n"));
        ck_assert_msg(
            strstr(whole, shares[i]) && strstr(whole, "images/s") && strstr(whole, "waiting"), "%s",
            whole);
        free(whole);
    }
    test_process_release(&p);
}
END_TEST

/* `all`, and the parts of one device, are what naming them one by one is. */
START_TEST(other_ways_to_name_them)
{
    char *all = cli_path(work, "all");
    json_t *value = cli_train(all, spec, data, "--max-steps 4 --device all");
    ck_assert_uint_eq(json_array_size(json_object_get(value, "devices")), usable);
    json_decref(value);
    char *named = cli_path(work, "named");
    json_decref(cli_train(named, spec, data, on_both("--max-steps 4")));
    if (usable == 2)
        ck_assert(cli_same_file(model_of(all), model_of(named)));
    if (!halves[0])
        return;
    char *cut = cli_path(work, "cut"), *parts = cli_path(work, "parts");
    value = cli_train(cut, spec, data, cli_line("--max-steps 4 --device %s", halves));
    ck_assert_uint_eq(json_array_size(json_object_get(value, "devices")), 2);
    json_decref(value);
    json_decref(cli_train(
        parts, spec, data, cli_line("--max-steps 4 --device %s:0 --device %s:1", halves, halves)));
    ck_assert(cli_same_file(model_of(cut), model_of(parts)));
}
END_TEST

/* One step of plain gradient descent shows the gradient: whatever the shares, it is that of the
 * whole batch. The last batch has fewer images than there are devices. */
START_TEST(uneven_shares_are_exact)
{
    static const struct {
        const char *split, *flags;
    } cases[] = {
        {"1:1", ""},
        {"70:30", ""},
        {"1:3", ""},
        {"1000000:1", ""}, /* a device without an image */
        {"1:1000000", ""},
        {"2:1", "--batch 1"},
        {"1:2", "--batch 1"},
        {"70:30", "--memory-limit 400K"},
        {"1:1", "--batch 40 --limit 41 --max-steps 2 --no-shuffle"},
        {"4:1", "--class-weights 1,2,3,4"},
    };
    char name[32], flags[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(flags, sizeof flags,
            "--max-steps 1 --optimizer sgd --lr 1 --init %s --augment none %s", start,
            cases[i].flags);
        snprintf(name, sizeof name, "gradient-%zu", i);
        char *one = cli_path(work, name);
        json_decref(cli_train(one, spec, data, cli_line("%s --device %s", flags, a)));
        snprintf(name, sizeof name, "shares-%zu", i);
        char *two = cli_path(work, name);
        json_decref(cli_train(two, spec, data, on_both("%s --split %s", flags, cases[i].split)));
        const double error = step_error(model_of(two), model_of(one), start);
        ck_assert_msg(error <= 1e-5, "--split %s %s: %g", cases[i].split, cases[i].flags, error);
    }
}
END_TEST

/* ---- going on ------------------------------------------------------------------------------- */

/* The devices and shares of a run that goes on are those that it had, and so are the bits. */
START_TEST(a_resumed_run_keeps_its_shares)
{
    static const double shares[] = {14, 6};
    char *whole = cli_path(work, "whole"), *stopped = cli_path(work, "stopped");
    json_decref(cli_train(whole, spec, data, on_both("--split 70:30 --max-steps 9")));
    json_decref(cli_train(stopped, spec, data, on_both("--split 70:30 --max-steps 4")));
    json_t *value = resume(stopped, "--max-steps 9");
    expect_devices(value, 2, 90, shares); /* the steps 5 (10 images) to 9 */
    ck_assert(cli_number(value, "resumed_from_step") == 4);
    json_decref(value);
    ck_assert(cli_same_file(model_of(stopped), model_of(whole)));
    json_t *x = metrics_of(stopped), *y = metrics_of(whole);
    /* The stopped run's end was evaluated and logged: it has that line more. */
    expect_near(json_array_get(x, json_array_size(x) - 1),
        json_array_get(y, json_array_size(y) - 1), "loss", 0);
    json_decref(x);
    json_decref(y);
    /* Saying what the run has is allowed. */
    json_decref(resume(stopped, on_both("--split 70:30 --max-steps 9")));
}
END_TEST

/* Other devices, another number of them, other shares: the training is the same within rounding. */
START_TEST(a_run_goes_on_elsewhere)
{
    static const struct {
        const char *name, *split;
        int before, after; /* devices */
    } cases[] = {{"on-one", "", 2, 1}, {"on-two", "", 1, 2}, {"in-others", "--split 3:1", 2, 2}};
    char *whole = cli_path(work, "never-moved"), one[96], flags[256];
    json_t *need = cli_train(whole, spec, data, on_both("--max-steps 9"));
    snprintf(one, sizeof one, "--device %s", b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = cli_path(work, cases[i].name);
        snprintf(flags, sizeof flags, "%s --max-steps 4",
            cases[i].before == 2 ? on_both("%s", "") : one);
        json_decref(cli_train(out, spec, data, flags));
        snprintf(flags, sizeof flags, "%s %s --max-steps 9",
            cases[i].after == 2 ? on_both("%s", "") : one, cases[i].split);
        json_t *value = resume(out, flags);
        ck_assert_uint_eq(
            json_array_size(json_object_get(value, "devices")), cases[i].after == 2 ? 2 : 0);
        expect_near(value, need, "loss", 1e-5);
        expect_near(value, need, "test_error_percent", 0);
        json_decref(value);
    }
    json_decref(need);
    cli_expect_error(
        cli_run_text(cli_line("train --resume --out %s --max-steps 20 --split 1:2:3", whole)), 2,
        "split 1:2:3: 3 shares, need one for each of 2 devices", "resume");
}
END_TEST

/* Ctrl-C in the midst of an epoch: one line; --resume ends with the bytes of the undisturbed run. */
START_TEST(interrupted_and_resumed)
{
    char *out = cli_path(work, "interrupted"), *log = cli_path(work, "interrupted.log");
    char *whole = cli_path(work, "undisturbed"), line[2048];
    const char *flags = on_both("--split 2:3 --eval-every 1000000 --max-steps 400");
    json_decref(cli_train(whole, spec, data, flags));
    snprintf(line, sizeof line,
        "exec " TEST_PROGRAM " train --data %s --arch %s --batch 20 --out "
        "%s --quiet %s 2>%s >/dev/null",
        data, spec, out, flags, log);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    ck_assert(cli_appears(cli_path(out, "model.safetensors"))); /* an epoch is done */
    cli_interrupt(child, log);
    json_t *value = resume(out, "");
    ck_assert(cli_number(value, "resumed_from_step") > 0);
    ck_assert(cli_number(value, "resumed_from_step") < 400);
    json_decref(value);
    ck_assert(cli_same_file(model_of(out), model_of(whole)));
}
END_TEST

/* Each seed's run is that of the seed alone, on all devices. */
START_TEST(several_seeds_on_several_devices)
{
    char *out = cli_path(work, "seeds"), *alone = cli_path(work, "seed-alone");
    json_t *value = cli_train(out, spec, data, on_both("--repeat 2 --seed 5 --split 1:3"));
    ck_assert_uint_eq(json_array_size(json_object_get(value, "runs")), 2);
    json_decref(value);
    json_decref(cli_train(alone, spec, data, on_both("--seed 6 --split 1:3")));
    ck_assert(cli_same_file(cli_path(out, "seed-6/model.safetensors"), model_of(alone)));
}
END_TEST

/* Shares that follow the devices' speed are whole numbers that the run records and keeps. */
START_TEST(shares_as_fast_as_they_are)
{
    char *out = cli_path(work, "auto"), first[64];
    json_decref(cli_train(out, spec, data, on_both("--split auto --max-steps 3")));
    json_t *config = cli_config(out);
    snprintf(first, sizeof first, "%s", json_string_value(json_object_get(config, "split")));
    json_decref(config);
    unsigned x = 0, y = 0;
    ck_assert_msg(sscanf(first, "%u:%u", &x, &y) == 2, "%s", first);
    ck_assert(x > 0 && y > 0 && x + y >= 999 && x + y <= 1001);
    json_decref(resume(out, "--max-steps 4")); /* within the epoch: nothing is changed */
    config = cli_config(out);
    ck_assert_str_eq(json_string_value(json_object_get(config, "split")), first);
    json_decref(config);
}
END_TEST

/* The limit is for each device; less than an image's is refused. */
START_TEST(a_memory_limit_is_for_each)
{
    char *wide = cli_path(work, "wide"), *narrow = cli_path(work, "narrow");
    json_t *x = cli_train(wide, spec, data, on_both("--max-steps 4"));
    test_process p = cli_run_text(
        cli_line("train --data %s --arch %s --batch 20 --max-steps 4 --json --out %s %s", data,
            spec, narrow, on_both("--memory-limit 400K")));
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "micro-batches"));
    json_t *y = cli_json(&p);
    ck_assert(cli_number(y, "peak_device_bytes") <= 400 * 1024);
    expect_near(y, x, "loss", 1e-5);
    test_process_release(&p);
    json_decref(x);
    json_decref(y);
    char *none = cli_path(work, "no-memory");
    cli_expect_error(
        cli_run_text(cli_line("train --data %s --arch %s --batch 20 --max-steps 4 --out %s %s",
            data, spec, none, on_both("--memory-limit 10K"))),
        2, "--memory-limit is too small", "10K");
    ck_assert(!caps_path_exists(none));
}
END_TEST

/* ---- looking at a model --------------------------------------------------------------------- */

/* Documents without what depends on the time and the place. */
static json_t *result_of(const char *line)
{
    json_t *value = cli_run_json(line);
    static const char *const others[] = {"seconds", "device", "devices"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        json_object_del(value, others[i]);
    return value;
}

START_TEST(looking_at_a_model_gives_the_same)
{
    char *csv[2] = {cli_path(work, "one.csv"), cli_path(work, "two.csv")};
    const char *const commands[] = {
        "eval --batch 8",
        "eval --split train --batch 100",
        "eval --batch 5 --attack fgsm --epsilon 0.01 0.1",
        "eval --batch 5 --attack bim --epsilon 0.03",
        "eval --batch 7 --transform rotate --severity 10 40",
        "eval --batch 7 --transform noise --severity 0.3",
        "predict --capsules --index 0 1 2 3 4 5 6 7 8 9 40",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[1024];
        snprintf(
            line, sizeof line, "%s --model %s --data %s --json --quiet", commands[i], start, data);
        json_t *one = result_of(cli_line("%s --device %s", line, a));
        json_t *two = result_of(cli_line("%s %s", line, on_both("%s", "")));
        ck_assert_msg(json_equal(one, two), "%s differs:\n%s\n%s", commands[i], json_dumps(one, 0),
            json_dumps(two, 0));
        json_decref(one);
        json_decref(two);
    }
    for (int i = 0; i < 2; i++) {
        test_process p =
            cli_run_text(cli_line("eval --batch 8 --model %s --data %s --quiet --predictions %s %s",
                start, data, csv[i], i ? on_both("%s", "") : ""));
        cli_expect_ok(p);
        test_process_release(&p);
    }
    ck_assert(cli_same_file(csv[0], csv[1]));
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: several devices");
    TCase *t = tcase_create("team");
    suite_add_tcase(s, t);
    if (!find_devices()) {
        puts("SKIPPED: neither PoCL nor a device of two compute units");
        return s;
    }
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, what_is_wrong_is_said_in_a_line);
    tcase_add_test(t, two_devices_train_together);
    tcase_add_test(t, text_tells_what_each_did);
    tcase_add_test(t, other_ways_to_name_them);
    tcase_add_test(t, uneven_shares_are_exact);
    tcase_add_test(t, a_resumed_run_keeps_its_shares);
    tcase_add_test(t, a_run_goes_on_elsewhere);
    tcase_add_test(t, interrupted_and_resumed);
    tcase_add_test(t, several_seeds_on_several_devices);
    tcase_add_test(t, shares_as_fast_as_they_are);
    tcase_add_test(t, a_memory_limit_is_for_each);
    tcase_add_test(t, looking_at_a_model_gives_the_same);
    return s;
}
