/* Trainings that do not learn get one note with the likely cause; those that do get none. */
#include "cli_support.h"

static char *work, *data, *spec, *cnn;

static char *spec_of_classes(const char *name, size_t classes, bool capsules)
{
    char *text =
        caps_format(capsules ? "{\"input\": [1,12,12], \"classes\": %zu,"
                               " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
                               " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3,"
                               " \"stride\": 2},"
                               " \"class_caps\": {\"dim\": 6, \"iterations\": 2},"
                               " \"decoder\": {\"hidden\": [16]}}"
                             : "{\"kind\": \"cnn\", \"input\": [1,12,12], \"classes\": %zu,"
                               " \"conv\": [{\"channels\": 6, \"kernel\": 3, \"stride\": 2}],"
                               " \"hidden\": [16]}",
            classes);
    ck_assert_ptr_nonnull(text);
    char *path = cli_write_text(work, name, text);
    free(text);
    return path;
}

/* n images of 12x12 a split: a bright cell of 2x2 pixels says which class, or all are black. */
static char *make_cells(const char *name, size_t n, size_t classes, bool black)
{
    char *directory = cli_make_directory(work, name), file[64];
    for (int split = 0; split < 2; split++) {
        unsigned char *images = calloc(1, 16 + n * 144), *labels = calloc(1, 8 + n);
        ck_assert(images && labels);
        cli_put_word(images, 0x803);
        cli_put_word(images + 4, n);
        cli_put_word(images + 8, 12);
        cli_put_word(images + 12, 12);
        cli_put_word(labels, 0x801);
        cli_put_word(labels + 4, n);
        for (size_t i = 0; i < n; i++) {
            const size_t label = i % classes;
            labels[8 + i] = (unsigned char)label;
            for (size_t p = 0; p < 144 && !black; p++)
                images[16 + i * 144 + p] =
                    (unsigned char)(p / 24 * 6 + p % 12 / 2 == label ? 255
                                                                     : (i * 31 + p * 17) % 60);
        }
        snprintf(file, sizeof file, "%s-images-idx3-ubyte", split ? "t10k" : "train");
        cli_write(cli_path(directory, file), images, 16 + n * 144);
        snprintf(file, sizeof file, "%s-labels-idx1-ubyte", split ? "t10k" : "train");
        cli_write(cli_path(directory, file), labels, 8 + n);
        free(images);
        free(labels);
    }
    return directory;
}

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 120, 40, 1, 12, 12, 4);
    spec = spec_of_classes("four.json", 4, true);
    cnn = spec_of_classes("cnn.json", 4, false);
}

static void tear_down(void)
{
    free(work);
}

/* The training's lines that begin "note: the training does not learn" or "note: class": how many,
 * and the first of them (NULL: none), until the process is released. */
static size_t notes_of(const test_process *p, const char **first)
{
    size_t count = 0;
    *first = NULL;
    for (const char *line = p->err; *line;) {
        if (strncmp(line, "note: the training does not", 27) == 0 ||
            strncmp(line, "note: class", 11) == 0) {
            *first = *first ? *first : line;
            count++;
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return count;
}

static test_process train(const char *name, const char *arch, const char *from, const char *flags)
{
    char *line = caps_format("train --data %s --arch %s --batch 20 --overwrite --out %s %s", from,
        arch, cli_path(work, name), flags);
    ck_assert_ptr_nonnull(line);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    free(line);
    return p;
}

/* One note, and these words in it. */
static void expect_note(
    const char *arch, const char *from, const char *flags, const char *what, const char *cause)
{
    const char *note;
    test_process p = train("bad", arch, from, flags);
    const size_t count = notes_of(&p, &note);
    ck_assert_msg(count == 1, "%s: %zu notes: %s", flags, count, p.err);
    char *line = strndup(note, strcspn(note, "\n"));
    ck_assert_msg(strstr(line, what) != NULL, "need '%s' in: %s", what, line);
    ck_assert_msg(strstr(line, cause) != NULL, "need '%s' in: %s", cause, line);
    free(line);
    test_process_release(&p);
}

static void expect_none(const char *arch, const char *from, const char *flags)
{
    const char *note;
    char all[128]; /* shifts would lay one class's cell where another's is */
    snprintf(all, sizeof all, "--augment none %s", flags);
    test_process p = train("good", arch, from, all);
    ck_assert_msg(notes_of(&p, &note) == 0, "%s %s: %s", arch, flags, p.err);
    test_process_release(&p);
}

START_TEST(a_learning_rate_that_is_too_high)
{
    expect_note(spec, data, "--epochs 12 --lr 1000", "all class capsules are saturated",
        "the learning rate (1000) is likely too high: try --lr 0.001");
    expect_note(cnn, data, "--epochs 25 --lr 30",
        "the training does not learn: the error stays that of a guess",
        "the learning rate (30) is likely too high: try --lr 0.001");
}
END_TEST

START_TEST(a_learning_rate_that_is_too_low)
{
    expect_note(spec, data, "--epochs 20 --lr 1e-9", "all class capsules are short",
        "the learning rate (1e-09) is likely too low: try --lr 0.001");
    expect_note(cnn, data, "--epochs 20 --lr 1e-9", "the training does not learn: ",
        "the learning rate (1e-09) is likely too low: try --lr 0.001");
    expect_note(spec, data, "--epochs 20 --optimizer sgd --lr 1e-7",
        "does not learn: ", "the learning rate (1e-07) is likely too low: try --lr 0.1");
}
END_TEST

/* Images of zeros: biases are 0, so every capsule is, and so are all gradients. */
START_TEST(images_that_are_black)
{
    char *black = make_cells("black", 40, 4, true);
    expect_note(spec, black, "--max-steps 4", "all class capsules are short (lengths up to 0)",
        "40 of 40 training images are one flat colour");
}
END_TEST

/* Labels that say nothing of the images. */
START_TEST(labels_that_are_shuffled)
{
    char *shuffled = cli_make_data(work, "shuffled", 600, 40, 1, 12, 12, 4);
    char *path = cli_path(shuffled, "train-labels-idx1-ubyte");
    size_t n;
    unsigned char *labels = cli_read(path, &n);
    uint32_t noise = 5;
    for (size_t i = 8; i < n; i++) {
        noise = noise * 1664525u + 1013904223u;
        labels[i] = (unsigned char)(noise >> 30);
    }
    cli_write(path, labels, n);
    free(labels);
    expect_note(spec, shuffled, "--epochs 8",
        "the training does not learn: ", "do the labels belong to the images?");
}
END_TEST

/* Nothing is said twice, nor under --quiet, nor of a run that goes on and learns. */
START_TEST(a_note_is_given_once)
{
    const char *note;
    expect_note(spec, data, "--epochs 60 --lr 1000", "saturated", "--lr 0.001");
    test_process p = train("quiet", spec, data, "--epochs 12 --lr 1000 --quiet");
    ck_assert_uint_eq(notes_of(&p, &note), 0);
    test_process_release(&p);
}
END_TEST

/* Ordinary short runs: of 2 to 28 classes, of few steps and of few images, of either loss. */
START_TEST(runs_that_learn_get_none)
{
    static const size_t classes[] = {2, 3, 10, 28};
    static const char *const flags[] = {"--max-steps 3", "--epochs 3", "--epochs 12",
        "--epochs 4 --lr 0.0003", "--max-steps 120 --lr 0.003"};
    for (size_t c = 0; c < sizeof classes / sizeof classes[0]; c++) {
        char name[32];
        snprintf(name, sizeof name, "data-%zu", classes[c]);
        char *from = make_cells(name, 20 * classes[c], classes[c], false);
        for (int capsules = 0; capsules < 2; capsules++) {
            snprintf(name, sizeof name, "%s-%zu.json", capsules ? "caps" : "cnn", classes[c]);
            char *arch = spec_of_classes(name, classes[c], capsules);
            for (size_t f = 0; f < sizeof flags / sizeof flags[0]; f++)
                expect_none(arch, from, flags[f]);
        }
    }
    char *tiny = cli_make_data(work, "tiny", 8, 4, 1, 12, 12, 4);
    expect_none(spec, tiny, "--epochs 40");
    expect_none(spec, tiny, "--epochs 10 --batch 3 --memory-limit 2M");
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli learning");
    TCase *tc = tcase_create("trainings that do not learn");
    tcase_set_timeout(tc, 300);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_learning_rate_that_is_too_high);
    tcase_add_test(tc, a_learning_rate_that_is_too_low);
    tcase_add_test(tc, images_that_are_black);
    tcase_add_test(tc, labels_that_are_shuffled);
    tcase_add_test(tc, a_note_is_given_once);
    tcase_add_test(tc, runs_that_learn_get_none);
    suite_add_tcase(s, tc);
    return s;
}
