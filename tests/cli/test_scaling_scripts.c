/* The scripts of bench/scaling/: hosts with links between them, and the model of a step on several
 * ranks. Hosts need root, and namespaces with TUN devices: without these they are skipped. */
#include "script_support.h"

#define SCRIPT(name) TEST_SOURCE_DIR "/bench/scaling/" name

static char *work;

static void set_up(void)
{
    work = test_directory();
}

static void tear_down(void)
{
    free(work);
}

static bool have_hosts(const char *test)
{
    if (!have_python(test))
        return false;
    const bool have = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 &&
                      succeeds((char *[]){SCRIPT("hosts"), "true", NULL});
    if (!have)
        printf("SKIPPED %s: no root, or no network namespaces with TUN devices, here\n", test);
    return have;
}

START_TEST(wrong_arguments_are_refused)
{
    if (!have_python("wrong_arguments_are_refused"))
        return;
    REFUSED(2, "need a command, or --check", "hosts", "--rate", "100");
    REFUSED(2, "need a command, or --check", "hosts", "--check", "true");
    REFUSED(2, "need a whole number from 2 to 16", "hosts", "--hosts", "1", "true");
    REFUSED(2, "need a number from 0 to 50", "hosts", "--loss", "51", "true");
    REFUSED(2, "need a number from 0 to 10000", "hosts", "--delay", "nan", "true");
    REFUSED(2, "need MBIT:MS:PERCENT", "measure", "--json", "/tmp/x", "--links", "100");
    REFUSED(2, "need MBIT:MS:PERCENT", "measure", "--json", "/tmp/x", "--links", "100:-1:0");
    REFUSED(1, "cannot be written", "measure", "--json", cli_path(work, "nowhere/out"));
    REFUSED(3, "No such file", "measure", "--from", cli_path(work, "absent.json"));
    REFUSED(3, "No such file", "model", "--profile", cli_path(work, "absent.json"));
    REFUSED(1, "cannot be written", "profile", "--out", cli_path(work, "nowhere/out"));
    REFUSED(2, "no program is there", "profile", "--out", cli_path(work, "p"), "--program", work);
}
END_TEST

/* By hand: a million floats that are whole after 10 ms, 2 ranks, 1 Gbit/s of Ethernet, of which TCP
 * has 1448 of 1538 bytes. Twice 2 MiB take 17.82 ms each and 0.1 ms of delay; 2^20 additions at
 * 2.2e9/s 0.48 ms; twice two messages of 20 us each. As bfloat16: half of it, and 1.5 * 2^20
 * roundings at 0.63e9/s, additions at 3.9e9/s, readings at 3.2e9/s. */
START_TEST(the_model_is_that_of_a_pencil)
{
    if (!have_python("the_model_is_that_of_a_pencil"))
        return;
    char *profile = cli_write_text(work, "profile.json",
        "{\"name\": \"pencil\", \"predicted\": false, \"arch\": \"one\", \"images\": 1, \"layers\":"
        " [[\"only\", 1048576]], \"ready\": {\"only\": 0.01}, \"backward\": 0.01, \"update\": 0,"
        " \"host_copy\": null}");
    test_process p = run((char *[]){
        SCRIPT("model"), "--profile", profile, "--table", "links", "--ranks", "2", NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    ck_assert_msg(
        strstr(p.out, "| 2 | 1 Gbit/s | 0.1 ms | 46.4 ms | 31.2 ms |") != NULL, "%s", p.out);
    test_process_release(&p);
}
END_TEST

START_TEST(all_profiles_have_tables)
{
    if (!have_python("all_profiles_have_tables"))
        return;
    test_process p = run((char *[]){SCRIPT("model"), NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    ck_assert_ptr_nonnull(strstr(p.out, "mnist, 100 images a rank on H100 SXM (predicted by"));
    ck_assert_ptr_nonnull(strstr(p.out, "| 1024 | 400 Gbit/s |"));
    ck_assert_ptr_nonnull(strstr(p.out, "| 4 | 10 Gbit/s | 10 ms |"));
    test_process_release(&p);
}
END_TEST

/* Every layer's gradients are whole in their order, and all floats are in some layer. */
START_TEST(a_profile_is_measured)
{
    if (!have_python("a_profile_is_measured"))
        return;
    cli_use_test_cache();
    char *out = cli_path(work, "profile.json"),
         *data = cli_make_data(work, "data", 40, 8, 1, 12, 12, 4);
    test_process p = run((char *[]){SCRIPT("profile"), "--program", TEST_PROGRAM, "--arch",
        cli_write_text(work, "tiny.json", TINY_SPEC), "--data", data, "--batch", "4", "--steps",
        "3", "--out", out, NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    test_process_release(&p);
    json_t *value = json_load_file(out, 0, NULL);
    const json_t *layers = json_object_get(value, "layers");
    const json_t *ready = json_object_get(value, "ready");
    const double backward = cli_number(value, "backward");
    double later = backward;
    ck_assert_uint_eq(json_array_size(layers), 5);
    for (size_t i = 0; i < 5; i++) {
        const char *name = json_string_value(json_array_get(json_array_get(layers, i), 0));
        const double at = cli_number(ready, name);
        ck_assert_msg(at > 0 && at <= later, "%s: %g, %g", name, at, later);
        later = at;
    }
    ck_assert(cli_number(value, "update") > 0);
    json_decref(value);
}
END_TEST

/* A machine that others use too delays more and carries less, never the other way round. */
START_TEST(the_link_is_as_requested)
{
    if (!have_hosts("the_link_is_as_requested"))
        return;
    test_process p = run((char *[]){SCRIPT("hosts"), "--rate", "200", "--delay", "5", "--loss",
        "10", "--link", "switch", "--check", NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    json_t *found = cli_json(&p);
    const double trip = cli_number(found, "round_trip_ms");
    const double lost = cli_number(found, "lost_percent");
    ck_assert_msg(trip >= 10 && trip < 20, "%g ms", trip);
    ck_assert_msg(lost > 8 && lost < 12, "%g %%", lost);
    json_decref(found);
    test_process_release(&p);
    p = run((char *[]){
        SCRIPT("hosts"), "--rate", "200", "--delay", "1", "--link", "switch", "--check", NULL});
    ck_assert_msg(p.exit_code == 0, "%s", p.err);
    found = cli_json(&p);
    const double rate = cli_number(found, "tcp_mbit"), both = cli_number(found, "tcp_both_mbit");
    ck_assert_msg(rate > 100 && rate < 200 * 1448.0 / 1538 * 1.05, "%g Mbit/s", rate);
    ck_assert_msg(both > 60 && both < 200 * 1448.0 / 1538 * 1.05, "%g Mbit/s", both);
    ck_assert(cli_number(found, "lost_percent") == 0);
    json_decref(found);
    test_process_release(&p);
}
END_TEST

static char *namespaces(void)
{
    test_process p = run((char *[]){"/bin/sh", "-c",
        "ls /run/netns 2>/dev/null; ip -o link | cut -d: -f2; grep -c netns /proc/mounts", NULL});
    char *text = p.out;
    p.out = NULL;
    test_process_release(&p);
    return text;
}

START_TEST(hosts_have_names_and_leave_nothing)
{
    if (!have_hosts("hosts_have_names_and_leave_nothing"))
        return;
    char *before = namespaces();
    test_process p = run((char *[]){SCRIPT("hosts"), "--hosts", "3", "sh", "-c",
        "hostname; enter host3 hostname; enter host2 ip -o -4 address show link0 | grep -o 'inet "
        "[^ ]*'; getent hosts host3; exit 7",
        NULL});
    ck_assert_msg(p.exit_code == 7, "%d %s", p.exit_code, p.err);
    const char *start = "host1\nhost3\ninet 10.77.0.2/24\n10.77.0.3 ";
    ck_assert_msg(strncmp(p.out, start, strlen(start)) == 0, "%s", p.out);
    test_process_release(&p);
    /* Killed without a chance to tidy up: what it ran is gone with it. */
    p = run((char *[]){"/bin/sh", "-c",
        "\"$0\" sh -c \"echo begun; sleep 98765\" >\"$1/out\" & pid=$!; i=0\n"
        "until grep -q begun \"$1/out\"; do sleep 0.1; i=$((i + 1)); [ $i -lt 300 ] || exit 1; "
        "done\n"
        "kill -KILL $pid; wait $pid; i=0\n"
        "while pgrep -x -f 'sleep 98765' >/dev/null; do sleep 0.1; i=$((i + 1)); [ $i -lt 300 ] || "
        "exit 1; done",
        SCRIPT("hosts"), work, NULL});
    ck_assert_msg(p.exit_code == 0, "%s %s", p.out, p.err);
    test_process_release(&p);
    char *after = namespaces();
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("scaling_scripts");
    TCase *tc = tcase_create("scaling_scripts");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, wrong_arguments_are_refused);
    tcase_add_test(tc, the_model_is_that_of_a_pencil);
    tcase_add_test(tc, all_profiles_have_tables);
    tcase_add_test(tc, a_profile_is_measured);
    tcase_add_test(tc, the_link_is_as_requested);
    tcase_add_test(tc, hosts_have_names_and_leave_nothing);
    suite_add_tcase(s, tc);
    return s;
}
