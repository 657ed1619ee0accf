/* test_cli_show.c: every kind of picture as a process: a PNG of the right size with something in
 * it, and bad input. */
#include "cli_support.h"
#include "image.h"

static char *place, *data, *model, *bare, *untrained;

/* A tiny network trained for a moment, and one without a decoder. */
static void prepare(void)
{
    cli_use_test_cache();
    place = test_directory();
    data = cli_make_data(place, "data", 40, 24, 1, 12, 12, 4);
    char *spec = cli_write_text(place, "tiny.json", TINY_SPEC);
    char *no_decoder = cli_write_text(place, "bare.json",
        "{\"input\": [1,12,12], \"classes\": 4,"
        " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
        " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 6, \"iterations\": 1}}");
    char *run = cli_path(place, "run"), *run2 = cli_path(place, "run2"),
         *run3 = cli_path(place, "run3");
    test_process p = cli_run("train", "--data", data, "--arch", spec, "--epochs", "4", "--batch",
        "8", "--out", run, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("train", "--data", data, "--arch", no_decoder, "--epochs", "1", "--batch", "8",
        "--out", run2, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("train", "--data", data, "--arch", spec, "--max-steps", "1", "--batch", "8", "--lr",
        "1e-9", "--out", run3, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    model = cli_path(run, "model.safetensors");
    bare = cli_path(run2, "model.safetensors");
    untrained = cli_path(run3, "model.safetensors");
}

static caps_image read_picture(const char *path)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_read(&image, path, &err));
    ck_assert_uint_eq(image.channels, 3);
    return image;
}

/* Different colours in a part of the picture, at most 64 are told apart. */
static size_t colours(const caps_image *image, size_t x0, size_t y0, size_t width, size_t height)
{
    uint32_t seen[64];
    size_t count = 0;
    for (size_t y = y0; y < y0 + height && y < image->height; y++)
        for (size_t x = x0; x < x0 + width && x < image->width && count < 64; x++) {
            const uint8_t *p = image->pixels + (y * image->width + x) * 3;
            const uint32_t colour = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
            size_t i = 0;
            while (i < count && seen[i] != colour)
                i++;
            if (i == count)
                seen[count++] = colour;
        }
    return count;
}

static const char *const kinds[] = {
    "reconstruct", "perturb", "couplings", "filters", "lengths", "confusion"};

/* At scale 2 it is twice as large; below the heading stands more than text. */
START_TEST(every_kind_is_drawn)
{
    const char *kind = kinds[_i];
    caps_image image[2];
    for (int scale = 1; scale <= 2; scale++) {
        char name[64], number[8];
        snprintf(name, sizeof name, "%s-%d.png", kind, scale);
        snprintf(number, sizeof number, "%d", scale);
        char *out = cli_path(place, name);
        test_process p = cli_run("show", kind, "--model", model, "--data", data, "--out", out,
            "--scale", number, "--batch", "5");
        cli_expect_ok(p);
        ck_assert_str_eq(p.out, "");
        ck_assert_ptr_nonnull(strstr(p.err, out));
        test_process_release(&p);
        image[scale - 1] = read_picture(out);
        ck_assert_uint_ge(colours(&image[scale - 1], 0, 180 * (size_t)scale, image[scale - 1].width,
                              image[scale - 1].height),
            12);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_ge(image[1].width + 1, 2 * image[0].width);
        ck_assert_uint_le(image[1].width, 2 * image[0].width);
        ck_assert_uint_ge(image[1].height + 1, 2 * image[0].height);
        ck_assert_uint_le(image[1].height, 2 * image[0].height);
    }
    ck_assert_uint_ge(image[0].width, 700);
    /* The same picture again, to the byte. */
    char *again = cli_path(place, "again.png"), name[64];
    snprintf(name, sizeof name, "%s-1.png", kind);
    test_process p = cli_run(
        "show", kind, "--model", model, "--data", data, "--out", again, "--batch", "5", "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
    ck_assert(cli_same_file(again, cli_path(place, name)));
    for (int i = 0; i < 2; i++)
        caps_image_release(&image[i]);
}
END_TEST

/* Chosen images: the sheet grows with them, and shows the input's own pixels. */
START_TEST(chosen_images)
{
    char *one = cli_path(place, "one.png"), *three = cli_path(place, "three.png");
    static const char *const chosen[] = {"reconstruct", "perturb", "couplings"};
    for (int i = 0; i < 3; i++) {
        test_process p = cli_run("show", chosen[i], "--model", model, "--data", data, "--out", one,
            "--index", "5", "--split", "train");
        cli_expect_ok(p);
        test_process_release(&p);
        p = cli_run("show", chosen[i], "--model", model, "--data", data, "--out", three, "--index",
            "5", "0", "23");
        cli_expect_ok(p);
        test_process_release(&p);
        caps_image a = read_picture(one), b = read_picture(three);
        ck_assert_uint_ge(b.width * b.height, a.width * a.height);
        ck_assert_uint_ge(colours(&a, 0, 130, a.width, a.height), 12);
        caps_image_release(&a);
        caps_image_release(&b);
    }
}
END_TEST

/* Filters need no data; a network without a decoder, with one iteration, shows what it has. */
START_TEST(what_a_network_lacks)
{
    char *out = cli_path(place, "bare.png");
    static const char *const works[] = {"couplings", "filters", "lengths", "confusion"};
    for (int i = 0; i < 4; i++) {
        test_process p =
            cli_run("show", works[i], "--model", bare, "--data", data, "--out", out, "--quiet");
        cli_expect_ok(p);
        test_process_release(&p);
    }
    test_process p = cli_run("show", "filters", "--model", model, "--out", out);
    cli_expect_ok(p);
    ck_assert_ptr_null(strstr(p.err, "no effect"));
    test_process_release(&p);
    /* What is said of data it does not use. */
    p = cli_run("show", "filters", "--model", model, "--data", data, "--limit", "3", "--out", out);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "--data has no effect: filters shows no images"));
    ck_assert_ptr_nonnull(strstr(p.err, "--limit has no effect: filters shows no images"));
    test_process_release(&p);
    size_t n;
    unsigned char *before = cli_read(out, &n);
    cli_expect_error(cli_run("show", "reconstruct", "--model", bare, "--data", data, "--out", out),
        3, "the model has no decoder, need one for reconstruct", "no decoder");
    cli_expect_error(cli_run("show", "perturb", "--model", bare, "--data", data, "--out", out), 3,
        "the model has no decoder, need one for perturb", "no decoder");
    size_t after_n;
    unsigned char *after = cli_read(out, &after_n);
    ck_assert_uint_eq(n, after_n);
    ck_assert_mem_eq(before, after, n);
    free(before);
    free(after);
}
END_TEST

START_TEST(bad_input)
{
    char *out = cli_path(place, "bad.png"), *kept = cli_write_text(place, "kept.png", "kept");
    char *broken = cli_write_text(place, "broken.safetensors", "nothing of the kind");
    char *wide = cli_make_data(place, "wide", 8, 8, 1, 12, 13, 4);
    const uint64_t before = cli_tree_hash(place);
    const struct {
        int code;
        const char *needle;
        const char *arguments[10];
    } cases[] = {
        {2, "no kind of picture, need one of reconstruct", {"--model", model}},
        {2, "unknown kind 'perturbb'; did you mean perturb?", {"perturbb", "--model", model}},
        {2, "unknown kind 'xyzzy', need one of", {"xyzzy"}},
        {2, "--model is missing", {"filters", "--out", out}},
        {2, "--data is missing", {"lengths", "--model", model, "--out", out}},
        {2, "--out is missing", {"filters", "--model", model}},
        {2, "--index with lengths",
            {"lengths", "--model", model, "--data", data, "--out", out, "--index", "1"}},
        {2, "24 is out of range, need 0..23",
            {"couplings", "--model", model, "--data", data, "--out", kept, "--index", "24"}},
        {2, "--scale", {"filters", "--model", model, "--out", kept, "--scale", "3"}},
        {2, "--scale", {"filters", "--model", model, "--out", kept, "--scale", "1.5"}},
        {2, "--limit", {"lengths", "--model", model, "--data", data, "--limit", "0"}},
        {2, "unknown flag --modle; did you mean --model?", {"filters", "--modle", model}},
        {3, "/nowhere/m: cannot open", {"filters", "--model", "/nowhere/m", "--out", kept}},
        {3, "broken.safetensors", {"filters", "--model", broken, "--out", kept}},
        {3, "no-such-set", {"lengths", "--model", model, "--data", "no-such-set", "--out", kept}},
        {3, "no-such-set", {"filters", "--model", model, "--data", "no-such-set", "--out", kept}},
        {3, "12x13", {"lengths", "--model", model, "--data", wide, "--out", kept}},
        {1, "/nowhere/x.png", {"filters", "--model", model, "--out", "/nowhere/x.png"}},
        {1, "is a directory", {"filters", "--model", model, "--out", place}},
        /* Before the work: the model is not even looked at. */
        {1, "/nowhere/x.png", {"filters", "--model", "/nowhere/m", "--out", "/nowhere/x.png"}},
        {4, "no-such-device",
            {"filters", "--model", model, "--out", kept, "--device", "no-such-device"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *argv[16] = {TEST_PROGRAM, "show"};
        for (int k = 0; k < 10 && cases[i].arguments[k]; k++)
            argv[2 + k] = (char *)cases[i].arguments[k];
        cli_expect_error(test_run(argv, NULL), cases[i].code, cases[i].needle, cases[i].needle);
    }
    ck_assert_uint_eq(cli_tree_hash(place), before);
}
END_TEST

/* A network that knows nothing yet may get no image right: perturb says so, or draws. */
START_TEST(nothing_is_right)
{
    char *out = cli_path(place, "guess.png");
    for (int i = 0; i < 6; i++) {
        test_process p = cli_run("show", kinds[i], "--model", untrained, "--data", data, "--out",
            out, "--limit", "1", "--quiet");
        if (p.exit_code == 3)
            ck_assert_ptr_nonnull(strstr(p.err, "is predicted right, need one (or --index N)"));
        else
            cli_expect_ok(p);
        test_process_release(&p);
    }
}
END_TEST

/* A network as a list of layers, whose class capsules read capsules without places: every kind is
 * drawn, and the report has its layers and the flags that differ from the file. */
START_TEST(stacked_capsules)
{
    char *spec = cli_write_text(place, "stack.json",
        "{\"input\": [1,12,12], \"classes\": 4, \"layers\": ["
        "{\"kind\": \"conv\", \"name\": \"stem\", \"channels\": 8, \"kernel\": 3},"
        "{\"kind\": \"primary_caps\", \"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        "{\"kind\": \"caps\", \"capsules\": 6, \"dim\": 4,"
        " \"routing\": {\"kind\": \"dynamic\", \"iterations\": 2}},"
        "{\"kind\": \"caps\", \"capsules\": 4, \"dim\": 6,"
        " \"routing\": {\"kind\": \"dynamic\", \"iterations\": 2}}],"
        " \"decoder\": {\"hidden\": [16]}}");
    char *run = cli_path(place, "stack"), *out = cli_path(place, "stack.png");
    char *file = cli_path(run, "model.safetensors");
    test_process p = cli_run("train", "--data", data, "--arch", spec, "--iterations", "3",
        "--max-steps", "5", "--batch", "8", "--out", run, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    for (int i = 0; i < 6; i++) {
        p = cli_run("show", kinds[i], "--model", file, "--data", data, "--out", out, "--index", "0",
            "5", "--quiet");
        if (i > 2) { /* those that show no single images */
            test_process_release(&p);
            p = cli_run("show", kinds[i], "--model", file, "--data", data, "--out", out, "--quiet");
        }
        cli_expect_ok(p);
        test_process_release(&p);
    }
    p = cli_run("report", run, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n;
    char *page = (char *)cli_read(cli_path(run, "report.html"), &n);
    ck_assert_ptr_nonnull(strstr(page, "<td>stem</td><td>8 channels"));
    ck_assert_ptr_nonnull(strstr(page, "<td>stem.weight</td>"));
    const char *command = strstr(page, "<pre>capscl train ");
    ck_assert_ptr_nonnull(command);
    ck_assert_ptr_nonnull(strstr(command, " --iterations 3"));
    free(page);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("cli show");
    TCase *tc = tcase_create("show");
    tcase_set_timeout(tc, 0);
    tcase_add_unchecked_fixture(tc, prepare, NULL);
    tcase_add_loop_test(tc, every_kind_is_drawn, 0, 6);
    tcase_add_test(tc, chosen_images);
    tcase_add_test(tc, what_a_network_lacks);
    tcase_add_test(tc, bad_input);
    tcase_add_test(tc, nothing_is_right);
    tcase_add_test(tc, stacked_capsules);
    suite_add_tcase(s, tc);
    return s;
}
