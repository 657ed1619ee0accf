/* Checkpoints without their spec, first parameters of another network, runs that are resumed with
 * the flags of before or with data that moved. */
#include "cli_support.h"
#include "safetensors.h"

/* Made once: data of 4 classes, a run of two steps, its checkpoint, and that without metadata. */
static char *work, *data, *spec, *run, *model, *plain;

static void set_up(void)
{
    caps_error err = {0};
    caps_safetensors st;
    work = test_directory();
    data = cli_make_data(work, "data", 60, 24, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    json_decref(cli_train(run, spec, data, ""));
    model = cli_path(run, "model.safetensors");
    plain = cli_path(work, "plain.safetensors");
    test_ok(caps_safetensors_load(&st, model, &err));
    test_ok(caps_safetensors_save(plain, st.tensors, st.count, NULL, 0, &err));
    caps_safetensors_release(&st);
}

static void tear_down(void)
{
    free(work);
}

static char *output_of(const char *line)
{
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    char *out = strdup(p.out);
    test_process_release(&p);
    return out;
}

/* ---- --arch beside a file ------------------------------------------------------------------- */

START_TEST(the_spec_beside_the_file)
{
    static const char *const commands[] = {"eval --data %s --model %s --json",
        "predict --data %s --model %s --index 3 5 --json --capsules"};
    for (size_t i = 0; i < 2; i++) {
        char with[2048], without[2048];
        snprintf(with, sizeof with, commands[i], data, model);
        snprintf(without, sizeof without, commands[i], data, plain);
        cli_expect_error(cli_run_text(without), 3, "--arch FILE", without);
        strcat(strcat(without, " --arch "), spec);
        json_t *a = cli_run_json(with), *b = cli_run_json(without);
        if (json_is_object(a)) { /* the time is another */
            json_object_del(a, "seconds");
            json_object_del(b, "seconds");
        }
        ck_assert_msg(json_equal(a, b), "%s", without);
        json_decref(a);
        json_decref(b);
        strcat(without, " --arch small");
        cli_expect_error(cli_run_text(without), 3,
            "tensor conv1.weight: shape is [8, 1, 3, 3], need [48, 1, 9, 9]", without);
        strcat(with, " --arch small");
        cli_expect_error(cli_run_text(with), 3, "is of its own network, not of small", with);
    }
    /* Of several models, for those that have no spec. */
    json_t *both = cli_run_json(
        cli_line("eval --data %s --model %s %s --arch %s --json", data, model, plain, spec));
    const json_t *models = json_object_get(both, "models");
    ck_assert(json_array_size(models) == 2 &&
              json_equal(json_object_get(json_array_get(models, 0), "errors"),
                  json_object_get(json_array_get(models, 1), "errors")));
    json_decref(both);
}
END_TEST

START_TEST(pictures_of_a_file_without_its_spec)
{
    char *a = cli_path(work, "a.png"), *b = cli_path(work, "b.png");
    free(output_of(cli_line("show couplings --model %s --data %s --out %s", model, data, a)));
    free(output_of(
        cli_line("show couplings --model %s --arch %s --data %s --out %s", plain, spec, data, b)));
    ck_assert(caps_path_exists(a) && caps_path_exists(b));
    /* A run whose checkpoint lost its metadata. */
    char *copy = cli_path(work, "copy");
    json_decref(cli_train(copy, spec, data, ""));
    size_t n;
    unsigned char *bytes = cli_read(plain, &n);
    cli_write(cli_path(copy, "model.safetensors"), bytes, n);
    free(bytes);
    cli_expect_error(cli_run("report", copy), 3, "--arch FILE", "report");
    free(output_of(cli_line("report %s --arch %s", copy, spec)));
    ck_assert(caps_path_exists(cli_path(copy, "report.html")));
}
END_TEST

/* ---- --init --------------------------------------------------------------------------------- */

START_TEST(other_classes_begin_anew)
{
    char *two = cli_make_data(work, "six", 60, 24, 1, 12, 12, 6);
    char *out = cli_path(work, "six-run");
    test_process p = cli_run_text(
        cli_line("train --data %s --init %s --batch 20 --max-steps 2 --out %s", two, model, out));
    cli_expect_ok(p);
    ck_assert_msg(
        strstr(p.err, "/model.safetensors: taken: conv1, primary, decoder.fc2; begun "
                      "anew: class_caps (weight is [64, 4, 6, 4] in the file, need [64, 6, "
                      "6, 4]), decoder.fc1 (") != NULL,
        "%s", p.err);
    ck_assert_ptr_nonnull(strstr(p.err, "\nnote: "));
    test_process_release(&p);
    /* What is begun anew is drawn from the seed; what is taken is the same for every seed. */
    char *same[3];
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "seed-%d", i);
        same[i] = cli_path(work, name);
        test_process q = cli_run_text(cli_line(
            "train --data %s --init %s --batch 20 --max-steps 1 --optimizer sgd --lr 1e-30 "
            "--seed %d --out %s --quiet",
            two, model, i == 2 ? 8 : 7, same[i]));
        cli_expect_ok(q);
        test_process_release(&q);
    }
    caps_safetensors st[4];
    for (int i = 0; i < 4; i++) {
        caps_error err = {0};
        test_ok(caps_safetensors_load(
            &st[i], i < 3 ? cli_path(same[i], "model.safetensors") : model, &err));
    }
    static const struct {
        const char *name;
        bool taken;
    } rows[] = {{"conv1.weight", true}, {"primary.weight", true}, {"decoder.fc2.weight", true},
        {"class_caps.weight", false}, {"decoder.fc1.weight", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const caps_st_tensor *t[4];
        for (int k = 0; k < 4; k++)
            t[k] = caps_safetensors_get(&st[k], rows[i].name);
        ck_assert(memcmp(t[0]->data, t[1]->data, t[0]->bytes) == 0);
        ck_assert((memcmp(t[0]->data, t[2]->data, t[0]->bytes) == 0) == rows[i].taken);
        ck_assert(!rows[i].taken || memcmp(t[0]->data, t[3]->data, t[0]->bytes) == 0);
    }
    for (int i = 0; i < 4; i++)
        caps_safetensors_release(&st[i]);
}
END_TEST

START_TEST(a_partial_beginning_is_resumed)
{
    char *six = cli_make_data(work, "six-too", 60, 24, 1, 12, 12, 6);
    char *out[2] = {cli_path(work, "whole"), cli_path(work, "parts")};
    for (int i = 0; i < 2; i++)
        free(output_of(
            cli_line("train --data %s --init %s --batch 20 --max-steps %d --out %s --quiet", six,
                model, i == 0 ? 5 : 2, out[i])));
    free(output_of(cli_line("train --resume --data %s --init %s --batch 20 --max-steps 5 --out %s "
                            "--quiet",
        six, model, out[1])));
    ck_assert(cli_same_file(
        cli_path(out[0], "model.safetensors"), cli_path(out[1], "model.safetensors")));
}
END_TEST

/* Labels without names may be some of the checkpoint's: it keeps its classes, and says so. */
START_TEST(fewer_classes_without_names)
{
    char *two = cli_make_data(work, "two", 60, 24, 1, 12, 12, 2);
    test_process p =
        cli_run_text(cli_line("train --data %s --init %s --batch 20 --max-steps 1 --out %s", two,
            model, cli_path(work, "two-run")));
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.err, "/model.safetensors has 4 classes, the data 2: their labels are "
                                "taken as the first of its classes") != NULL,
        "%s", p.err);
    test_process_release(&p);
}
END_TEST

START_TEST(another_network_is_taken_where_it_fits)
{
    char *wide = cli_write_text(work, "wide.json",
        "{\"input\": [1,12,12], \"classes\": 4, \"conv1\": {\"channels\": 8, \"kernel\": 3, "
        "\"stride\": 1}, \"primary\": {\"types\": 6, \"dim\": 4, \"kernel\": 3, \"stride\": 2}, "
        "\"class_caps\": {\"dim\": 6, \"iterations\": 2}, \"decoder\": {\"hidden\": [16]}}");
    char *routing = cli_write_text(work, "routing.json",
        "{\"input\": [1,12,12], \"classes\": 4, \"conv1\": {\"channels\": 8, \"kernel\": 3, "
        "\"stride\": 1}, \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2}, "
        "\"class_caps\": {\"dim\": 6, \"iterations\": 3}, \"decoder\": {\"hidden\": [16]}}");
    char *out = cli_path(work, "wide-run");
    const char *format = "train --data %s --arch %s --init %s --batch 20 --max-steps 2 --out %s";
    test_process p = cli_run_text(cli_line(format, data, wide, plain, out));
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.err, "plain.safetensors: taken: conv1, decoder.fc1, decoder.fc2; begun "
                                "anew: primary (") != NULL,
        "%s", p.err);
    test_process_release(&p);
    char *none = cli_path(work, "none-run");
    cli_expect_error(cli_run_text(cli_line(format, data, "small", model, none)), 3,
        "no layer of it fits the network: conv1 (weight is [8, 1, 3, 3] in", "nothing fits");
    cli_expect_error(cli_run_text(cli_line(format, data, routing, model, none)), 3,
        "class_caps.iterations is 2, need 3", "another routing");
    ck_assert(!caps_path_exists(none));
}
END_TEST

/* ---- --resume ------------------------------------------------------------------------------- */

START_TEST(flags_that_say_what_the_run_has)
{
    static const char *const same[] = {"", "--lr 0.001 --lr-decay 0.9", "--profile paper --seed 1",
        "--iterations 2 --routing-grad full --no-class-bias --optimizer adam --augment shift2",
        "--conv auto", "--margin-positive 0.9 --margin-down 0.5 --reconstruction-weight 0.0005",
        "--no-class-mean --no-lr-staircase --lr-decay-steps 0 --initialiser scaled",
        "--eval-every 1 --kernel-times", "--max-steps 3", "--epochs 1"};
    char *out = cli_path(work, "same");
    json_decref(cli_train(out, spec, data, ""));
    const uint64_t before = cli_tree_hash(out);
    for (size_t i = 0; i < 8; i++) {
        free(output_of(
            cli_line("train --resume --data %s --arch %s --batch 20 --max-steps 2 --quiet "
                     "--out %s %s",
                data, spec, out, same[i])));
        ck_assert_msg(cli_tree_hash(out) == before, "%s", same[i]);
    }
    for (size_t i = 8; i < sizeof same / sizeof same[0]; i++)
        free(output_of(cli_line("train --resume --data %s --arch %s --batch 20 --quiet --out %s %s",
            data, spec, out, same[i])));
}
END_TEST

START_TEST(flags_that_say_something_else)
{
    static const struct {
        const char *flags, *needle;
    } rows[] = {{"--lr 0.01", "--lr 0.01 with --resume: the run has 0.001; a run keeps"},
        {"--lr 0.00100000001", "--lr 0.00100000001 with --resume: the run has 0.001;"},
        {"--batch 21", "--batch 21 with --resume: the run has 20;"},
        {"--profile keras", "--profile keras with --resume: the run has paper;"},
        {"--seed 2", "--seed 2 with --resume: the run has 1;"},
        {"--arch small", "--arch small with --resume: the run has "},
        {"--iterations 3", "--iterations 3 with --resume: the run has 2;"},
        {"--routing-grad last", "--routing-grad \"last\" with --resume: the run has \"full\";"},
        {"--leaky", "--leaky with --resume: the run was begun without it;"},
        {"--class-bias", "--class-bias with --resume: the run was begun without it;"},
        {"--primary-average", "--primary-average with --resume: the run was begun without it;"},
        {"--no-decoder", "--no-decoder with --resume: the run was begun without it;"},
        {"--initialiser authors", "--initialiser authors with --resume: the run has scaled;"},
        {"--memory-limit 1G", "--memory-limit 1073741824 with --resume: the run has 0;"},
        {"--optimizer sgd", "--optimizer sgd with --resume: the run has adam;"},
        {"--lr-decay 1", "--lr-decay 1.0 with --resume: the run has 0.9;"},
        {"--lr-decay-steps 9", "--lr-decay-steps 9 with --resume: the run has 0;"},
        {"--lr-staircase", "--lr-staircase with --resume: the run was begun without it;"},
        {"--lr-linear 3", "--lr-linear 3 with --resume: the run has 0;"},
        {"--lr-warmup 5", "--lr-warmup 5 with --resume: the run has 0;"},
        {"--lr-min 1e-6", "--lr-min 1e-6 with --resume: the run has 0.0;"},
        {"--layer-lr conv1=0", "--layer-lr conv1=0 with --resume: the run has none;"},
        {"--margin-positive 0.8", "--margin-positive 0.8 with --resume: the run has 0.9;"},
        {"--margin-negative 0.2", "--margin-negative 0.2 with --resume: the run has 0.1;"},
        {"--margin-down 0.4", "--margin-down 0.4 with --resume: the run has 0.5;"},
        {"--class-mean", "--class-mean with --resume: the run was begun without it;"},
        {"--reconstruction-weight 1",
            "--reconstruction-weight 1.0 with --resume: the run has 0.0005"},
        {"--augment none", "--augment none with --resume: the run has shift2;"},
        {"--no-shuffle", "--no-shuffle with --resume: the run was begun without it;"},
        {"--limit 40", "--limit 40 with --resume: the run has 0;"},
        {"--validation 9", "--validation 9 with --resume: the run has 0;"},
        {"--background white", "--background white with --resume: the run has none;"},
        {"--invert", "--invert with --resume: the run was begun without it;"},
        {"--stretch", "--stretch with --resume: the run was begun without it;"},
        {"--init x.safetensors", "--init x.safetensors with --resume: the run has none;"},
        {"--eval-every 2", "--eval-every 2 with --resume: the run has 1;"},
        {"--save-every 2", "--save-every 2 with --resume: the run has 0;"},
        {"--repeat 2", "--repeat 2 with --resume: the run has a single seed;"},
        {"--conv conv1=im2col,primary=im2col", "--conv conv1=im2col,primary=im2col with --resume"},
        {"--overwrite", "--resume and --overwrite exclude each other"}};
    const uint64_t before = cli_tree_hash(run);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cli_expect_error(
            cli_run_text(cli_line("train --resume --out %s --max-steps 4 %s", run, rows[i].flags)),
            2, rows[i].needle, rows[i].flags);
    ck_assert_uint_eq(cli_tree_hash(run), before);
}
END_TEST

/* The algorithm that was requested, or none, or "auto"; layer by layer, by the older name too. */
START_TEST(convolutions_of_the_run)
{
    char *out = cli_path(work, "conv");
    json_decref(cli_train(out, spec, data, "--conv conv1=direct,primary=im2col"));
    static const char *const same[] = {"conv1=direct", "primary=im2col", "auto",
        "im2col,conv1=direct", "conv1=auto,primary=im2col"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        free(output_of(cli_line("train --resume --out %s --quiet --conv %s", out, same[i])));
    cli_expect_error(cli_run_text(cli_line("train --resume --out %s --conv im2col", out)), 2,
        "--conv im2col with --resume: the run has conv1=direct,primary=im2col;", "im2col");
}
END_TEST

START_TEST(repetitions_are_resumed_with_their_flags)
{
    char *out = cli_path(work, "three");
    const char *format = "train %s --data %s --arch %s --batch 20 --max-steps 2 --repeat %d --seed "
                         "%d --out %s --quiet";
    free(output_of(cli_line(format, "", data, spec, 2, 5, out)));
    free(output_of(cli_line(format, "--resume", data, spec, 2, 5, out)));
    cli_expect_error(cli_run_text(cli_line(format, "--resume", data, spec, 3, 5, out)), 2,
        "--repeat 3 with --resume: the run has 2 seeds;", "seeds");
    cli_expect_error(cli_run_text(cli_line(format, "--resume", data, spec, 2, 6, out)), 2,
        "--seed 6 with --resume: the run has 5;", "seed");
}
END_TEST

START_TEST(data_that_moved)
{
    char *here = cli_make_data(work, "here", 60, 24, 1, 12, 12, 4);
    char *there = cli_path(work, "there"), *out = cli_path(work, "moved");
    char *whole = cli_path(work, "stayed");
    json_decref(cli_train(whole, spec, here, "--max-steps 5"));
    json_decref(cli_train(out, spec, here, "--max-steps 2"));
    ck_assert_int_eq(rename(here, there), 0);
    cli_expect_error(cli_run_text(cli_line("train --resume --out %s --max-steps 5", out)), 3,
        "/here: the run's data are not there any more; where they lie now: --data NEW", "gone");
    free(
        output_of(cli_line("train --resume --out %s --max-steps 5 --quiet --data %s", out, there)));
    ck_assert(
        cli_same_file(cli_path(whole, "model.safetensors"), cli_path(out, "model.safetensors")));
    /* The new place is the run's from now on. */
    free(output_of(cli_line("train --resume --out %s --max-steps 6 --quiet", out)));
    /* Other images, as many of them; other labels. */
    char *other = cli_make_data(work, "other", 60, 24, 1, 12, 12, 3);
    const uint64_t before = cli_tree_hash(out);
    cli_expect_error(
        cli_run_text(cli_line("train --resume --out %s --max-steps 7 --data %s", out, other)), 3,
        "its run has other training images or labels than ", "other");
    ck_assert_uint_eq(cli_tree_hash(out), before);
}
END_TEST

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Half a billion weights for images of another size: refused before they are drawn. */
START_TEST(a_large_network_waits_for_the_data)
{
    char *large = cli_write_text(work, "large.json",
        "{\"input\": [1,14,1048576], \"classes\": 10, \"conv1\": {\"channels\": 16, \"kernel\": 9, "
        "\"stride\": 1}, \"primary\": {\"types\": 2, \"dim\": 4, \"kernel\": 5, \"stride\": 2}, "
        "\"class_caps\": {\"dim\": 4, \"iterations\": 3}}");
    cli_expect_error(
        cli_run_text(cli_line("train --data %s --arch %s --batch 1 --max-steps 1 --out %s", data,
            large, cli_path(work, "never"))),
        3, "images are 1x12x12, the model takes 1x14x1048576", "large");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: weights of others, runs that go on");
    TCase *tc = tcase_create("weights");
    cli_use_test_cache();
    tcase_set_timeout(tc, 0);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    suite_add_tcase(s, tc);
    tcase_add_test(tc, the_spec_beside_the_file);
    tcase_add_test(tc, pictures_of_a_file_without_its_spec);
    tcase_add_test(tc, other_classes_begin_anew);
    tcase_add_test(tc, a_partial_beginning_is_resumed);
    tcase_add_test(tc, fewer_classes_without_names);
    tcase_add_test(tc, another_network_is_taken_where_it_fits);
    tcase_add_test(tc, flags_that_say_what_the_run_has);
    tcase_add_test(tc, flags_that_say_something_else);
    tcase_add_test(tc, convolutions_of_the_run);
    tcase_add_test(tc, repetitions_are_resumed_with_their_flags);
    tcase_add_test(tc, data_that_moved);
    tcase_add_test(tc, a_large_network_waits_for_the_data);
    return s;
}
