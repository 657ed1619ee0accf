/* A process that compiles for another one: what it launches, and when there is one. */
#include <capscl/experimental.h>

#include "train_support.h"

#include "kernel_warmup.h"
#include "warmup.h"

static char *work, *data;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", TRAIN_IMAGES, TEST_IMAGES, 1, 12, 12, 4);
}

static void tear_down(void)
{
    free(work);
}

static caps_runtime *profiled(const char *family)
{
    caps_error err = {0};
    caps_runtime *rt = NULL;
    const caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .kernels = family, .profile = true};
    test_ok(caps_runtime_create(&rt, caps_runtime_device(test_runtime())->id, &options, &err));
    return rt;
}

static const caps_profile_entry *find(
    const caps_profile_entry *entries, size_t n, const char *kernel)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i].kernel, kernel) == 0)
            return &entries[i];
    return NULL;
}

static const char *const families[] = {"cpu", "gpu"};

/* A kernel of a template is in several programs, one for each tile; the profile adds them up. */
static bool is_of_template(const char *kernel)
{
    return strncmp(kernel, "gemm_tiled", 10) == 0;
}

/* Once each, none that a training does not launch, and about half of them. */
START_TEST(the_later_kernels_are_launched_once)
{
    caps_error err = {0};
    caps_train_config config = train_tiny(data);
    config.max_steps = 1;
    caps_runtime *rt = profiled(families[_i]), *beside = profiled(families[_i]);
    char *out = cli_path(work, families[_i]);
    const caps_train_control control = {CAPS_OPTIONS(caps_train_control), .out = out};
    caps_train_end end;
    caps_train_metrics m;
    test_ok(caps_train_run(rt, &config, &control, &end, &m, &err));
    test_ok(caps_train_warmup(beside, &config, &err));
    const caps_profile_entry *real, *warmed;
    size_t n_real, n_warmed;
    test_ok(caps_runtime_profile_get(rt, &real, &n_real, &err));
    test_ok(caps_runtime_profile_get(beside, &warmed, &n_warmed, &err));
    for (size_t i = 0; i < n_warmed; i++) {
        const caps_profile_entry *launched = find(real, n_real, warmed[i].kernel);
        ck_assert_msg(launched, "%s", warmed[i].kernel);
        const uint64_t most = is_of_template(warmed[i].kernel) ? launched->calls : 1;
        ck_assert_msg(warmed[i].calls >= 1 && warmed[i].calls <= most, "%s: %llu launches",
            warmed[i].kernel, (unsigned long long)warmed[i].calls);
    }
    ck_assert_uint_ge(n_warmed, n_real / 3);
    ck_assert_uint_lt(n_warmed, n_real);
    /* The optimizer is the last of a step, the first layer's bias or product its first. */
    ck_assert_ptr_nonnull(find(warmed, n_warmed, "adam_step"));
    ck_assert_ptr_null(find(warmed, n_warmed, "squash_forward"));
    caps_train_config_release(&config);
    caps_runtime_free(rt);
    caps_runtime_free(beside);
}
END_TEST

START_TEST(a_cache_without_a_program_is_cold)
{
    char *cache = cli_make_directory(work, "cache"), *nowhere = cli_path(work, "not-made-yet");
    setenv("CAPSCL_CACHE", nowhere, 1);
    ck_assert(caps_cache_is_cold());
    setenv("CAPSCL_CACHE", cache, 1);
    ck_assert(caps_cache_is_cold());
    cli_write_text(cache, "tuning-0.json", "{}");
    ck_assert(caps_cache_is_cold());
    cli_write_text(cache, "program-0.bin", "");
    ck_assert(!caps_cache_is_cold());
    /* No place of the user's: an empty directory of our own, which a child of this process shares.
     */
    unsetenv("CAPSCL_CACHE");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    ck_assert(caps_cache_is_cold());
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("warm-up");
    TCase *t = tcase_create("warm-up");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, the_later_kernels_are_launched_once, 0, 2);
    tcase_add_test(t, a_cache_without_a_program_is_cold);
    suite_add_tcase(s, t);
    return s;
}
