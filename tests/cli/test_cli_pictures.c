/* Files of pictures, PNG and JPEG, given to the program: what it says it does to them, and that it
 * does the same later. */
#include "cli_support.h"
#include "jpeg_files.h"
#include "picture.h"
#include "png_files.h"

enum { SIDE = 12 };

static char *work, *spec, *idx, *idx_model;

/* ---- pictures ------------------------------------------------------------------------------- */

static size_t quarter, zoom = 1;
static uint8_t light = 220, dark = 30;

/* In that quarter, and not at the border. */
static bool is_bright(size_t x, size_t y)
{
    const size_t last = SIDE * zoom - 1;
    return x > 0 && y > 0 && x < last && y < last &&
           2 * (2 * y / (SIDE * zoom)) + 2 * x / (SIDE * zoom) == quarter;
}

static uint8_t shade(size_t x, size_t y, size_t c)
{
    (void)c;
    return is_bright(x, y) ? light : dark;
}

static uint8_t red(size_t x, size_t y, size_t c)
{
    return c == 0 ? shade(x, y, c) : dark;
}

/* The quarter alone is drawn, as alpha; its colour is `light`. */
static unsigned drawn(size_t x, size_t y, size_t s)
{
    return s == 1 ? (is_bright(x, y) ? 190u : 0) : light;
}

static unsigned shade_16(size_t x, size_t y, size_t s)
{
    return shade(x, y, s) * 16u;
}

static void put_png(const char *path, int colour, int depth,
    unsigned (*sample)(size_t x, size_t y, size_t s), size_t of)
{
    quarter = of;
    test_png_write(path, &(test_png){.width = SIDE * zoom,
                             .height = SIDE * zoom,
                             .colour = colour,
                             .depth = depth,
                             .sample = sample});
}

static unsigned shade_8(size_t x, size_t y, size_t s)
{
    return shade(x, y, s);
}

static void put_grey(const char *path, size_t of)
{
    put_png(path, PNG_COLOR_TYPE_GRAY, 8, shade_8, of);
}

static void put_jpeg(const char *path, const test_jpeg *kind, size_t of)
{
    test_jpeg k = *kind;
    size_t n;
    quarter = of;
    k.width = k.width ? k.width : SIDE * zoom;
    k.height = k.height ? k.height : SIDE * zoom;
    unsigned char *file = test_jpeg_make(&n, &k);
    cli_write(path, file, n);
    free(file);
}

static const test_jpeg colour_jpeg = {.components = 3, .sample = red};
static const test_jpeg grey_jpeg = {.components = 1, .sample = shade, .progressive = true};

/* dir/<split>/q<class>/<i>.png: n of each class. */
static void fill(
    const char *dir, const char *split, size_t n, void (*put)(const char *path, size_t of))
{
    char *all = cli_make_directory(dir, split);
    for (size_t c = 0; c < 4; c++) {
        char name[32];
        snprintf(name, sizeof name, "q%zu", c);
        char *folder = cli_make_directory(all, name);
        for (size_t i = 0; i < n; i++) {
            snprintf(name, sizeof name, "%02zu.png", i);
            put(cli_path(folder, name), c);
        }
    }
}

static char *make_set(const char *name, size_t n, void (*put)(const char *path, size_t of))
{
    char *dir = cli_make_directory(work, name);
    fill(dir, "train", n, put);
    fill(dir, "test", 1, put);
    return dir;
}

static void expect_note(const test_process *p, const char *note)
{
    char *line = caps_format("note: %s", note);
    ck_assert_msg(strstr(p->err, line) != NULL, "no '%s' in: %s", line, p->err);
    free(line);
}

/* Light on dark: black borders. */
static void darken_borders(const char *name)
{
    size_t n;
    unsigned char *file = cli_read(cli_path(idx, name), &n);
    for (size_t i = 16; i < n; i++) {
        const size_t x = (i - 16) % SIDE, y = (i - 16) / SIDE % SIDE;
        if (x == 0 || y == 0 || x + 1 == SIDE || y + 1 == SIDE)
            file[i] = 0;
    }
    cli_write(cli_path(idx, name), file, n);
    free(file);
}

static void set_up(void)
{
    work = test_directory();
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    idx = cli_make_data(work, "data", 80, 20, 1, SIDE, SIDE, 4);
    darken_borders("train-images-idx3-ubyte");
    darken_borders("t10k-images-idx3-ubyte");
    char *out = cli_path(work, "of-idx");
    json_decref(cli_train(out, spec, idx, "--max-steps 12 --lr 0.01 --augment none"));
    idx_model = cli_path(out, "model.safetensors");
}

static void tear_down(void)
{
    free(work);
}

/* ---- mixed folders -------------------------------------------------------------------------- */

START_TEST(mixed_folders_with_notes)
{
    char *dir = make_set("mixed", 2, put_grey), *out = cli_path(work, "of-mixed");
    char *train = cli_path(dir, "train");
    put_jpeg(cli_path(train, "q0/02.JPG"), &colour_jpeg, 0);
    put_jpeg(cli_path(train, "q1/02.jpeg"), &grey_jpeg, 1);
    put_jpeg(cli_path(train, "q2/00.png"), &grey_jpeg, 2); /* whatever its name says */
    put_jpeg(cli_path(train, "q2/02.jpg"),
        &(test_jpeg){.components = 4, .sample = shade, .ycck = true, .width = 24, .height = 6}, 0);
    put_jpeg(cli_path(train, "q3/02.jpg"),
        &(test_jpeg){.components = 1, .sample = shade, .orientation = 6}, 3);
    light = dark;
    put_grey(cli_path(train, "q3/01.png"), 0);
    light = 220;
    test_process p = cli_run(
        "train", "--data", dir, "--arch", spec, "--out", out, "--max-steps", "2", "--batch", "8");
    cli_expect_ok(p);
    expect_note(&p, "1 of 12 training pictures is in colour, which becomes grey");
    expect_note(&p, "1 of 12 training pictures is CMYK and becomes RGB");
    expect_note(&p, "1 of 12 training pictures is turned as EXIF says");
    expect_note(&p, "1 of 12 training pictures is scaled from 24x6 to fit 12x12");
    expect_note(&p, "1 of 12 training pictures gets borders of black");
    char *flat = caps_format("1 of 12 training pictures is one flat colour, so nothing can be seen "
                             "in it: %s/q3/01.png\n",
        train);
    expect_note(&p, flat);
    free(flat);
    test_process_release(&p);

    char *model = cli_path(out, "model.safetensors"), *figure = cli_path(work, "mixed.png");
    const char *const lines[] = {"eval --split train --data %s --model %s",
        "predict --split train --data %s --model %s",
        "show confusion --split train --data %s --model %s --out %s"};
    for (size_t i = 0; i < 3; i++) {
        char *line = caps_format("%s", lines[i]), text[1024];
        snprintf(text, sizeof text, line, dir, model, figure);
        free(line);
        p = cli_run_text(text);
        cli_expect_ok(p);
        expect_note(&p, i == 1 ? "1 of 10 training pictures is in colour"
                               : "1 of 12 training pictures is in colour");
        test_process_release(&p);
        strcat(text, " --quiet");
        p = cli_run_text(text);
        cli_expect_ok(p);
        ck_assert_str_eq(p.err, "");
        test_process_release(&p);
    }
    /* Named one by one, with the same notes. */
    p = cli_run("predict", "--model", model, cli_path(train, "q0/02.JPG"),
        cli_path(train, "q1/02.jpeg"), cli_path(train, "q2/00.png"), cli_path(train, "q3/00.png"),
        "--json");
    cli_expect_ok(p);
    expect_note(&p, "1 of 4 pictures is in colour, which becomes grey: only a network of 3");
    json_t *value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(value), 4);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

/* The path in the note of one picture, and what a broken or a huge one gives. */
START_TEST(files_that_cannot_be_pictures)
{
    char *jpeg = cli_path(work, "cut.jpg"), *png = cli_path(work, "huge.png");
    size_t n;
    quarter = 1;
    unsigned char *file =
        test_jpeg_make(&n, &(test_jpeg){.width = 30, .height = 30, .components = 3, .sample = red});
    cli_write(jpeg, file, n - 20);
    free(file);
    cli_expect_error(
        cli_run("predict", "--model", idx_model, jpeg), 3, "cut.jpg: damaged JPEG file: ", "cut");
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, 16384, 4097, 1, &err));
    test_ok(caps_image_write_png(&image, png, &err));
    caps_image_release(&image);
    cli_expect_error(cli_run("predict", "--model", idx_model, png), 3,
        "huge.png: picture of 16384x4097, need <= 67108864 pixels", "huge");
}
END_TEST

/* ---- the same set in two formats ------------------------------------------------------------ */

/* What lies behind the header of a safetensors file. */
static unsigned char *read_tensors(const char *path, size_t *n)
{
    unsigned char *file = cli_read(path, n);
    size_t header = 0;
    for (int i = 0; i < 8; i++)
        header |= (size_t)file[i] << (8 * i);
    *n -= 8 + header;
    memmove(file, file + 8 + header, *n);
    return file;
}

/* The images of an IDX file as PNG: train/<label>/<index>.png. */
static void unpack(const char *dir, const char *split, const char *images, size_t n)
{
    size_t bytes, folders = 0;
    unsigned char *file = cli_read(cli_path(idx, images), &bytes);
    char *all = cli_make_directory(dir, split);
    for (size_t i = 0; i < n; i++) {
        const size_t label = i * 7 % 4;
        char name[64];
        snprintf(name, sizeof name, "%zu", label);
        if (folders < 4) {
            cli_make_directory(all, name);
            folders++;
        }
        caps_error err = {0};
        caps_image image = {SIDE, SIDE, 1, file + 16 + i * SIDE * SIDE};
        snprintf(name, sizeof name, "%zu/%03zu.png", label, i);
        test_ok(caps_image_write_png(&image, cli_path(all, name), &err));
    }
    free(file);
}

/* Rewrites the IDX files in the order in which folders are read: labels 0, 1, 2, 3, 0, ... */
static char *make_ordered_idx(void)
{
    char *dir = cli_make_directory(work, "ordered");
    static const char *const names[] = {"train", "t10k"};
    for (size_t s = 0; s < 2; s++) {
        char name[64];
        size_t ni, nl;
        snprintf(name, sizeof name, "%s-images-idx3-ubyte", names[s]);
        unsigned char *images = cli_read(cli_path(idx, name), &ni), *sorted = malloc(ni);
        memcpy(sorted, images, ni);
        const size_t n = (ni - 16) / (SIDE * SIDE);
        for (size_t i = 0; i < n; i++) /* labels come as 0, 3, 2, 1 */
            memcpy(sorted + 16 + (i / 4 * 4 + (4 - i % 4) % 4) * SIDE * SIDE,
                images + 16 + i * SIDE * SIDE, SIDE * SIDE);
        cli_write(cli_path(dir, name), sorted, ni);
        snprintf(name, sizeof name, "%s-labels-idx1-ubyte", names[s]);
        unsigned char *labels = cli_read(cli_path(idx, name), &nl);
        for (size_t i = 0; i < n; i++)
            labels[8 + i] = (unsigned char)(i % 4);
        cli_write(cli_path(dir, name), labels, nl);
        free(images);
        free(sorted);
        free(labels);
    }
    return dir;
}

START_TEST(the_same_images_train_the_same_network)
{
    char *folder = cli_make_directory(work, "unpacked"), *ordered = make_ordered_idx();
    unpack(folder, "train", "train-images-idx3-ubyte", 80);
    unpack(folder, "test", "t10k-images-idx3-ubyte", 20);
    char *a = cli_path(work, "of-ordered"), *b = cli_path(work, "of-unpacked");
    json_t *x = cli_train(a, spec, ordered, "--epochs 2 --max-steps 9 --augment shift2");
    json_t *y = cli_train(b, spec, folder, "--epochs 2 --max-steps 9 --augment shift2");
    static const char *const same[] = {"loss", "train_error_percent", "test_error_percent"};
    for (size_t i = 0; i < 3; i++)
        ck_assert(cli_number(x, same[i]) == cli_number(y, same[i]));
    size_t n, m;
    unsigned char *of_idx = read_tensors(cli_path(a, "model.safetensors"), &n);
    unsigned char *of_folder = read_tensors(cli_path(b, "model.safetensors"), &m);
    ck_assert(n == m && n > 1000);
    ck_assert_mem_eq(of_idx, of_folder, n);
    free(of_idx);
    free(of_folder);
    json_decref(x);
    json_decref(y);
}
END_TEST

/* ---- transparency and ranges ---------------------------------------------------------------- */

/* The first picture's lengths, after these flags; `note` is on stderr, or nothing is. */
static json_t *lengths_of(const char *path, const char *flags, const char *note)
{
    char line[2048];
    snprintf(line, sizeof line, "predict --model %s %s %s --json", idx_model, path, flags);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    if (note)
        ck_assert_msg(strstr(p.err, note) != NULL, "no '%s' in: %s", note, p.err);
    else
        ck_assert_msg(strstr(p.err, "note: ") == NULL, "a note in: %s", p.err);
    json_t *value = cli_json(&p);
    json_t *lengths = json_incref(json_object_get(json_array_get(value, 0), "lengths"));
    json_decref(value);
    test_process_release(&p);
    return lengths;
}

static void expect_lengths(const json_t *want, json_t *have, const char *what)
{
    ck_assert_msg(json_equal((json_t *)want, have), "%s: other lengths", what);
    json_decref(have);
}

START_TEST(drawings_are_read_like_scans)
{
    char *plain = cli_path(work, "plain.png"), *black = cli_path(work, "black.png"),
         *white = cli_path(work, "white.png"), *scan = cli_path(work, "scan.png"),
         *narrow = cli_path(work, "narrow.png");
    light = 190;
    dark = 0;
    put_grey(plain, 2);
    light = 255 - 190;
    dark = 255;
    put_grey(scan, 2); /* dark on light */
    light = 0;
    put_png(black, PNG_COLOR_TYPE_GRAY_ALPHA, 8, drawn, 2);
    light = 255;
    put_png(white, PNG_COLOR_TYPE_GRAY_ALPHA, 8, drawn, 2);
    light = 190;
    dark = 0;
    put_png(narrow, PNG_COLOR_TYPE_GRAY, 16, shade_16, 2); /* 12 bits of 16 */

    json_t *want = lengths_of(plain, "", NULL);
    expect_lengths(want, lengths_of(black, "", "then turned round to light on dark"), "black ink");
    expect_lengths(want, lengths_of(white, "", "transparent ground to black"), "white ink");
    expect_lengths(want, lengths_of(black, "--invert", "ground to white, inverted"), "invert");
    expect_lengths(
        want, lengths_of(black, "--invert --background white", "to white, inverted"), "both");
    expect_lengths(want, lengths_of(scan, "--invert", "note: "), "scan");
    json_decref(lengths_of(scan, "",
        "is dark on light, but the network was trained on light on "
        "dark (--invert turns pictures round)"));
    char *flat = caps_format("%s is one flat colour, so nothing can be seen in it", black);
    json_decref(lengths_of(black, "--background black", flat));
    free(flat);
    json_decref(lengths_of(
        narrow, "", "uses less than half of the range of values, 0..3040 of 0..65535: --stretch"));
    json_decref(want);

    /* The whole range of both. */
    want = lengths_of(plain, "--stretch", "range 0..190 of 255 stretched");
    expect_lengths(want, lengths_of(narrow, "--stretch", "0..3040 of 65535 stretched"), "12 bits");
    json_decref(want);
    light = 220;
    dark = 30;
}
END_TEST

static void put_drawing(const char *path, size_t of)
{
    light = 0;
    put_png(path, PNG_COLOR_TYPE_GRAY_ALPHA, 8, drawn, of);
    light = 220;
}

/* Trained on, they stay dark on light: then a drawing is read as they were. */
START_TEST(drawings_are_trained_on)
{
    char *dir = make_set("drawings", 2, put_drawing), *out = cli_path(work, "of-drawings");
    test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", out, "--max-steps",
        "1", "--background", "black");
    cli_expect_ok(p);
    expect_note(&p, "8 of 8 training pictures are transparent: laid on black (--background)");
    expect_note(&p, "8 of 8 training pictures are one flat colour, so nothing can be seen in them");
    expect_note(&p, "4 of 4 test pictures are one flat colour");
    test_process_release(&p);
    p = cli_run(
        "train", "--data", dir, "--arch", spec, "--out", out, "--max-steps", "1", "--overwrite");
    cli_expect_ok(p);
    expect_note(&p, "8 of 8 training pictures are transparent: laid on white, so that the ink");
    ck_assert_ptr_null(strstr(p.err, "flat colour"));
    test_process_release(&p);
    json_error_t error;
    json_t *config = json_load_file(cli_path(out, "config.json"), 0, &error);
    ck_assert_str_eq(json_string_value(json_object_get(config, "data_ground")), "light");
    json_decref(config);
    char *model = cli_path(out, "model.safetensors"), *one = cli_path(dir, "test/q1/00.png");
    p = cli_run("predict", "--model", model, one);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "00.png: transparent ground to white (--background"));
    ck_assert_ptr_null(strstr(p.err, "turned round"));
    test_process_release(&p);
}
END_TEST

/* ---- what a run chose ----------------------------------------------------------------------- */

static void put_scan(const char *path, size_t of)
{
    light = 80;
    dark = 110;
    put_grey(path, of);
    light = 220;
    dark = 30;
}

START_TEST(choices_stay_with_the_run)
{
    char *dir = make_set("scans", 4, put_scan), *out = cli_path(work, "of-scans"), text[2048];
    char *model = cli_path(out, "model.safetensors"), *one = cli_path(dir, "test/q3/00.png");
    json_t *trained = cli_train(out, spec, dir,
        "--max-steps 12 --lr 0.01 --augment none --invert --stretch --background 90 --validation "
        "4");
    const double errors = cli_number(trained, "test_error_percent");
    json_decref(trained);
    json_error_t error;
    json_t *config = json_load_file(cli_path(out, "config.json"), 0, &error);
    ck_assert(json_is_true(json_object_get(config, "invert")));
    ck_assert(json_is_true(json_object_get(config, "stretch")));
    ck_assert_str_eq(json_string_value(json_object_get(config, "background")), "90");
    ck_assert_str_eq(json_string_value(json_object_get(config, "data_ground")), "dark");
    json_decref(config);

    /* Taken by default, with a note, and by each command; flags replace them. */
    char *chosen = caps_format("pictures are read as the run of %s read them: --background 90 "
                               "--invert --stretch (otherwise with --background auto --no-invert "
                               "--no-stretch)",
        model);
    snprintf(text, sizeof text, "eval --data %s --model %s --json", dir, model);
    test_process p = cli_run_text(text);
    cli_expect_ok(p);
    expect_note(&p, chosen);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "error_percent") == errors);
    json_decref(value);
    test_process_release(&p);
    snprintf(text, sizeof text, "eval --data %s --model %s --split validation", dir, model);
    p = cli_run_text(text);
    cli_expect_ok(p); /* the hash of the images says that they are the same */
    test_process_release(&p);
    strcat(text, " --no-invert");
    cli_expect_error(cli_run_text(text), 3, "has other training images", "other pictures");
    p = cli_run("predict", "--model", model, one, "--json");
    cli_expect_ok(p);
    expect_note(&p, chosen);
    ck_assert_ptr_nonnull(strstr(p.err, "range 80..110 of 255 stretched, inverted\n"));
    test_process_release(&p);
    p = cli_run("predict", "--model", model, one, "--no-invert", "--no-stretch", "--background",
        "auto", "--json");
    cli_expect_ok(p);
    ck_assert_ptr_null(strstr(p.err, "as the run of"));
    ck_assert_ptr_null(strstr(p.err, "inverted"));
    test_process_release(&p);
    free(chosen);
    /* A run that read them otherwise, evaluated beside it. */
    char *plain = cli_path(work, "of-plain-scans");
    json_decref(cli_train(plain, spec, dir, "--max-steps 1"));
    p = cli_run("eval", "--data", dir, "--model", model, cli_path(plain, "model.safetensors"));
    cli_expect_ok(p);
    char *others = caps_format(
        "the runs of %s and %s/model.safetensors read pictures in other ways", model, plain);
    expect_note(&p, others);
    free(others);
    test_process_release(&p);
    /* Of a set without pictures they are nothing. */
    p = cli_run("predict", "--data", idx, "--model", model, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);

    p = cli_run("report", out);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n;
    char *page = (char *)cli_read(cli_path(out, "report.html"), &n);
    ck_assert_ptr_nonnull(strstr(page, " --background 90 --invert --stretch"));
    free(page);
}
END_TEST

START_TEST(choices_are_resumed)
{
    char *dir = make_set("more-scans", 6, put_scan), text[1024];
    char *whole = cli_path(work, "whole"), *parts = cli_path(work, "parts");
    char *flags[] = {"--max-steps", "6", "--batch", "8", "--invert", "--stretch", "--quiet", NULL};
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            flags[1] = "2";
        test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", i ? parts : whole,
            flags[0], flags[1], flags[2], flags[3], flags[4], flags[5], flags[6]);
        cli_expect_ok(p);
        test_process_release(&p);
    }
    snprintf(text, sizeof text, "train --resume --out %s --max-steps 6 --quiet", parts);
    test_process p = cli_run_text(text);
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(
        cli_same_file(cli_path(whole, "model.safetensors"), cli_path(parts, "model.safetensors")));
}
END_TEST

START_TEST(choices_are_for_pictures)
{
    static const char *const flags[] = {"--invert", "--stretch", "--background white"};
    for (size_t i = 0; i < 3; i++) {
        char line[1024], needle[64];
        snprintf(needle, sizeof needle, "need some for '%.*s'", (int)strcspn(flags[i] + 2, " "),
            flags[i] + 2);
        snprintf(line, sizeof line, "train --data %s --arch %s --out %s/never %s", idx, spec, work,
            flags[i]);
        cli_expect_error(cli_run_text(line), 2, needle, "train");
        snprintf(line, sizeof line, "eval --data %s --model %s %s", idx, idx_model, flags[i]);
        cli_expect_error(cli_run_text(line), 2, needle, "eval");
        snprintf(line, sizeof line, "predict --data %s --model %s %s", idx, idx_model, flags[i]);
        cli_expect_error(cli_run_text(line), 2, needle, "predict");
    }
    ck_assert(!caps_path_exists(cli_path(work, "never")));
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: pictures");
    TCase *t = tcase_create("pictures");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, mixed_folders_with_notes);
    tcase_add_test(t, files_that_cannot_be_pictures);
    tcase_add_test(t, the_same_images_train_the_same_network);
    tcase_add_test(t, drawings_are_read_like_scans);
    tcase_add_test(t, drawings_are_trained_on);
    tcase_add_test(t, choices_stay_with_the_run);
    tcase_add_test(t, choices_are_resumed);
    tcase_add_test(t, choices_are_for_pictures);
    suite_add_tcase(s, t);
    return s;
}
