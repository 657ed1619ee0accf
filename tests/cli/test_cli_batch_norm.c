/* Batch normalisation where several devices or ranks compute a batch: by the statistics of the whole
 * batch, so that gradients and running statistics are those of one device. */
#include "cli_team.h"

static char *work, *data, *spec, *start;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 14, 13, 4);
    spec = cli_write_text(work, "norm.json",
        "{\"input\": [1,14,13], \"classes\": 4, \"layers\": ["
        " {\"kind\": \"conv\", \"name\": \"conv1\", \"channels\": 5, \"kernel\": 3,"
        "  \"norm\": \"batch\"},"
        " {\"kind\": \"conv\", \"name\": \"conv2\", \"channels\": 7, \"kernel\": 3, \"stride\": 2,"
        "  \"norm\": \"batch\"},"
        " {\"kind\": \"primary_caps\", \"name\": \"primary\", \"types\": 2, \"dim\": 4,"
        "  \"kernel\": 3, \"stride\": 1},"
        " {\"kind\": \"caps\", \"name\": \"class_caps\", \"capsules\": 4, \"dim\": 6,"
        "  \"routing\": {\"kind\": \"dynamic\", \"iterations\": 2}}],"
        " \"decoder\": {\"hidden\": [9]}}");
    char *out = cli_path(work, "start");
    json_decref(cli_train(out, spec, data, "--max-steps 3"));
    start = model_of(out);
}

/* The weight of a device may leave it one image of a batch, or none. Every device takes the same
 * algorithm: others round otherwise where an activation is at its kink. */
START_TEST(several_devices_are_as_one)
{
    static const struct {
        const char *split, *flags;
    } cases[] = {
        {"1:1", ""}, {"1:3", ""}, {"30:1", ""}, {"1:1000000", ""}, {"1000000:1", "--max-steps 2"},
        {"1:1", "--batch 40 --limit 41 --max-steps 2"}, /* one image is left */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char flags[256], name[32];
        snprintf(flags, sizeof flags,
            "--max-steps 1 --optimizer sgd --lr 0.5 --init %s --augment none --conv im2col %s",
            start, cases[i].flags);
        snprintf(name, sizeof name, "one-%zu", i);
        char *one = cli_path(work, name);
        json_decref(cli_train(one, spec, data, cli_line("%s --device %s", flags, a)));
        snprintf(name, sizeof name, "two-%zu", i);
        char *two = cli_path(work, name);
        json_decref(cli_train(two, spec, data,
            cli_line("%s --device %s --device %s --split %s", flags, a, b, cases[i].split)));
        const double error = step_error(model_of(two), model_of(one), start);
        ck_assert_msg(error <= 1e-5, "--split %s %s: %g", cases[i].split, cases[i].flags, error);
    }
}
END_TEST

/* The same bits on every run, stopped in between or not. */
START_TEST(a_run_that_goes_on)
{
    char flags[256], *outs[2];
    for (int i = 0; i < 2; i++) {
        snprintf(flags, sizeof flags, "--device %s --device %s --split 2:1 --max-steps %d", a, b,
            i == 0 ? 7 : 4);
        outs[i] = cli_path(work, i == 0 ? "whole" : "parts");
        json_decref(cli_train(outs[i], spec, data, flags));
    }
    json_decref(cli_run_json(cli_line("train --resume --out %s --max-steps 7 --quiet --json "
                                      "--device %s --device %s",
        outs[1], a, b)));
    ck_assert(cli_same_file(model_of(outs[0]), model_of(outs[1])));
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("batch normalisation on several devices");
    TCase *t = tcase_create("training");
    tcase_add_unchecked_fixture(t, set_up, NULL);
    tcase_set_timeout(t, 300);
    if (find_devices()) {
        tcase_add_test(t, several_devices_are_as_one);
        tcase_add_test(t, a_run_that_goes_on);
    } else {
        puts("SKIPPED: neither PoCL nor a device of two compute units");
    }
    suite_add_tcase(s, t);
    return s;
}
