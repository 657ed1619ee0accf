/* One of several devices fails or does not answer, in a training through the program. */
#include "cli_team.h"

static char *work, *data, *spec;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
}

static void tear_down(void)
{
    free(work);
}

#define FAULTS TEST_BINARY_DIR "/tests/faults/fault_device.so"

/* A training on both in which one befalls what `fault` says, "" nothing. */
static test_process train_with(
    const char *out, const char *flag, const char *fault, const char *how)
{
    char preload[] = "LD_PRELOAD=" FAULTS, program[] = "FAULT_PROGRAM=capscl", what[96], hows[64],
         count[1100], trust[] = "CAPSCL_TRUST=off";
    snprintf(what, sizeof what, "FAULT=%s", fault);
    snprintf(hows, sizeof hows, "FAULT_HOW=%s", how);
    snprintf(count, sizeof count, "FAULT_COUNT=%s.count", out);
    char *const environment[] = {preload, program, what, hows, count, trust, NULL};
    return cli_run_env(environment, "train", "--data", data, "--arch", spec, "--batch", "20",
        "--max-steps", "12", "--quiet", "--out", out, "--device", a, "--device", b,
        "--device-timeout", "3", flag, (char *)NULL);
}

/* "device1:+N", a part of all calls that an undisturbed training makes on the device. */
static void fault_at(char *fault, size_t bytes, const char *undisturbed, int device, double part)
{
    char path[1100], name[32];
    long calls[2] = {0}, n;
    snprintf(path, sizeof path, "%s.count", undisturbed);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fscanf(f, "device%31[0-9] %ld\n", name, &n) == 2)
        if (atoi(name) < 2)
            calls[atoi(name)] = n;
    fclose(f);
    ck_assert_int_gt(calls[device], 100);
    snprintf(fault, bytes, "device%d:+%ld", device, (long)(part * (double)calls[device]));
}

static const char *const fault_hows[] = {"fail", "hang"};

/* Loop: how it fails. Whichever device it is: one line, exit code 4, and --resume ends as if nothing
 * had been; with --keep-going the others finish. */
START_TEST(a_device_that_fails)
{
    char name[48], fault[64];
    snprintf(name, sizeof name, "no-fault-%d", _i);
    char *whole = cli_path(work, name);
    test_process p = train_with(whole, NULL, "", "");
    cli_expect_ok(p);
    test_process_release(&p);
    for (int device = 0; device < 2; device++) {
        char device_named[80];
        snprintf(device_named, sizeof device_named, "device %s (", device ? b : a);
        fault_at(fault, sizeof fault, whole, device, 0.7);
        snprintf(name, sizeof name, "fault-%d-%d", _i, device);
        char *out = cli_path(work, name);
        p = train_with(out, NULL, fault, fault_hows[_i]);
        char *line = strdup(p.err);
        cli_expect_error(p, 4, device_named, fault);
        ck_assert_msg(strstr(line, "; saved at step ") != NULL, "%s", line);
        ck_assert_ptr_nonnull(strstr(line, "go on with: capscl train --resume --out"));
        free(line);
        json_decref(resume(out, ""));
        ck_assert(cli_same_file(model_of(out), model_of(whole)));

        snprintf(name, sizeof name, "kept-%d-%d", _i, device);
        char *kept = cli_path(work, name);
        p = train_with(kept, "--keep-going", fault, fault_hows[_i]);
        cli_expect_ok(p);
        test_process_release(&p);
        json_t *x = metrics_of(kept), *y = metrics_of(whole);
        expect_near(json_array_get(x, json_array_size(x) - 1),
            json_array_get(y, json_array_size(y) - 1), "loss", 1e-4);
        json_decref(x);
        json_decref(y);
    }
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: devices that fail");
    TCase *t = tcase_create("team");
    suite_add_tcase(s, t);
    if (!find_devices() || !caps_path_exists(FAULTS)) {
        puts("SKIPPED: no two devices here, or no library that fails them (sanitizers)");
        return s;
    }
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, a_device_that_fails, 0, 2);
    return s;
}
