/* train_api.c: trains a small capsule network, and evaluates what it saved, through the public API.
 *
 *     cc -std=c11 train_api.c $(pkg-config --cflags --libs capscl) -o train_api && ./train_api
 *
 * The program makes its own images: strokes in four directions at random places, 12x12, with some
 * noise. It writes data and run into a temporary directory, and removes that at the end. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <capscl/capscl.h>

enum { SIDE = 12, CLASSES = 4, TRAIN = 600, TEST = 200 };

static const char spec_json[] =
    "{\"input\": [1,12,12], \"classes\": 4,"
    " \"conv1\": {\"channels\": 16, \"kernel\": 5, \"stride\": 1},"
    " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
    " \"class_caps\": {\"dim\": 8, \"iterations\": 3}, \"decoder\": {\"hidden\": [32]}}";

static const char *const file_names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

static unsigned draw(unsigned *state, unsigned below)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 16) % below;
}

/* A stroke of seven pixels: horizontal, vertical, rising or falling. */
static void make_image(unsigned char image[SIDE][SIDE], int label, unsigned *state)
{
    static const int steps[CLASSES][2] = {{0, 1}, {1, 0}, {-1, 1}, {1, 1}}; /* y, x */
    for (int i = 0; i < SIDE * SIDE; i++)
        image[i / SIDE][i % SIDE] = (unsigned char)draw(state, 50);
    int dy = steps[label][0], dx = steps[label][1];
    int y = (int)draw(state, dy ? SIDE - 6 : SIDE) + (dy < 0 ? 6 : 0);
    int x = (int)draw(state, dx ? SIDE - 6 : SIDE);
    for (int i = 0; i < 7; i++, y += dy, x += dx)
        image[y][x] = (unsigned char)(200 + draw(state, 56));
}

static int put_word(FILE *f, unsigned value)
{
    unsigned char bytes[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
        (unsigned char)(value >> 8), (unsigned char)value};
    return fwrite(bytes, 4, 1, f) == 1;
}

/* The IDX files of one split. */
static int write_split(const char *directory, int first_name, unsigned n, unsigned seed)
{
    char path[2][512];
    FILE *f[2];
    int good = 1;
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", directory, file_names[first_name + i]);
        f[i] = fopen(path[i], "wb");
    }
    if (f[0] && f[1]) {
        good = put_word(f[0], 0x803) && put_word(f[0], n) && put_word(f[0], SIDE) &&
               put_word(f[0], SIDE) && put_word(f[1], 0x801) && put_word(f[1], n);
        for (unsigned i = 0; good && i < n; i++) {
            unsigned char image[SIDE][SIDE];
            int label = (int)(i % CLASSES);
            make_image(image, label, &seed);
            good = fwrite(image, sizeof image, 1, f[0]) == 1 && fputc(label, f[1]) != EOF;
        }
    }
    for (int i = 0; i < 2; i++)
        good = f[i] && fclose(f[i]) == 0 && good;
    if (!good)
        perror(path[0]);
    return good;
}

static void on_event(
    void *user, caps_train_event event, const caps_train_metrics *m, const char *text)
{
    (void)user;
    (void)text;
    if (event == CAPS_TRAIN_EPOCH)
        printf("epoch %llu: loss %.4f, train error %.1f %%, test error %.1f %%\n",
            (unsigned long long)m->epoch, m->loss, m->train_error_percent, m->test_error_percent);
}

/* Reads the saved model back and evaluates it, with a model that is made for inference only. */
static caps_status evaluate_saved(
    caps_runtime *rt, const char *directory, const char *path, caps_error *err)
{
    caps_dataset test = {0};
    caps_model *model = NULL;
    caps_evaluation result = {0};
    const caps_dataset_options of_test = {
        CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST};
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = 50, .reconstruct = true};
    caps_status status = caps_model_open(&model, rt, path, &options, NULL, err);
    if (status == CAPS_OK)
        status = caps_data_open(&test, directory, &of_test, caps_model_get_spec(model), err);
    if (status == CAPS_OK)
        status = caps_evaluate(model, &test, NULL, &result, err);
    if (status == CAPS_OK)
        printf("saved model: test error %.1f %% (%zu of %zu images)\n", result.error_percent,
            result.errors, result.n);
    caps_evaluation_release(&result);
    caps_model_free(model);
    caps_dataset_release(&test);
    return status;
}

static caps_status train(const char *directory, const char *out, caps_error *err)
{
    caps_runtime *rt = NULL;
    char model[512];
    caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
    const caps_train_control control = {
        CAPS_OPTIONS(caps_train_control), .out = out, .event = on_event};
    caps_train_end end;
    caps_train_metrics metrics;
    caps_status status = caps_train_config_init(&config, err);
    config.batch = 20;
    config.epochs = 5;
    config.lr = 0.003;
    config.augment = CAPS_AUGMENT_NONE; /* a shift could push a stroke out of the image */
    snprintf(config.data, sizeof config.data, "%s", directory);
    snprintf(model, sizeof model, "%s/model.safetensors", out);

    caps_model_spec_free(config.spec);
    config.spec = NULL;
    if (status == CAPS_OK)
        status = caps_model_spec_parse(&config.spec, spec_json, "strokes", err);
    if (status == CAPS_OK)
        status = caps_runtime_create(&rt, NULL, NULL, err);
    if (status == CAPS_OK)
        printf("device: %s\n", caps_runtime_device(rt)->name);
    if (status == CAPS_OK)
        status = caps_train_run(rt, &config, &control, &end, &metrics, err);
    if (status == CAPS_OK)
        status = evaluate_saved(rt, directory, model, err);
    caps_runtime_free(rt);
    caps_train_config_release(&config);
    return status;
}

int main(void)
{
    caps_error err = {0};
    char directory[256], path[512];
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/capscl-example-XXXXXX",
        parent && *parent ? parent : "/tmp");
    if (!mkdtemp(directory)) {
        perror(directory);
        return 1;
    }
    char out[300];
    snprintf(out, sizeof out, "%s/run", directory);
    int done = write_split(directory, 0, TRAIN, 1) && write_split(directory, 2, TEST, 2);
    if (done && train(directory, out, &err) != CAPS_OK) {
        fprintf(stderr, "train_api: %s\n", err.message);
        done = 0;
    }

    caps_train_run_remove(out, NULL);
    rmdir(out);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, file_names[i]);
        remove(path);
    }
    if (rmdir(directory) != 0) {
        perror(directory);
        done = 0;
    }
    return done ? 0 : 1;
}
