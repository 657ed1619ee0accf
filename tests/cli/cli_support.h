/* cli_support.h: what the tests of the command line share. They run the program as a process. */
#ifndef CAPS_TEST_CLI_SUPPORT_H
#define CAPS_TEST_CLI_SUPPORT_H

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "file.h"
#include "support.h"

/* A network of a few milliseconds: images of 1x12x12, 4 classes, 64 input capsules. */
#define TINY_SPEC                                                                                  \
    "{\"input\": [1,12,12], \"classes\": 4,"                                                       \
    " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"                                 \
    " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"                      \
    " \"class_caps\": {\"dim\": 6, \"iterations\": 2},"                                            \
    " \"decoder\": {\"hidden\": [16]}}"

/* The same of pairs: 1x20x20, made of such images. */
#define TINY_PAIRS                                                                                 \
    "{\"input\": [1,20,20], \"classes\": 4, \"labels\": 2,"                                        \
    " \"conv1\": {\"channels\": 6, \"kernel\": 5, \"stride\": 2},"                                 \
    " \"primary\": {\"types\": 3, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"                      \
    " \"class_caps\": {\"dim\": 6, \"iterations\": 2}, \"decoder\": {\"hidden\": [16]}}"

/* Compiled kernels are shared by all runs of all these tests, and never the user's. */
static inline void cli_use_test_cache(void)
{
    setenv("CAPSCL_CACHE", TEST_BINARY_DIR "/test-cache", 0);
    unsetenv("CAPSCL_DEVICE");
    unsetenv("CAPSCL_DATA");
}

/* "directory/name"; kept until the program ends, like everything these tests name: what is in the
 * list is no leak. A test may free one. */
static inline char *cli_path(const char *directory, const char *name)
{
    static char **kept;
    static size_t count;
    char *path = caps_path_join(directory, name);
    kept = realloc(kept, (count + 1) * sizeof *kept);
    ck_assert(path && kept);
    kept[count++] = path;
    return path;
}

static inline void cli_write(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static inline char *cli_write_text(const char *directory, const char *name, const char *text)
{
    char *path = cli_path(directory, name);
    cli_write(path, text, strlen(text));
    return path;
}

static inline unsigned char *cli_read(const char *path, size_t *n)
{
    caps_error err = {0};
    unsigned char *data = NULL;
    test_ok(caps_file_read(&data, n, path, (size_t)1 << 30, &err));
    return data;
}

/* ---- data sets ------------------------------------------------------------------------------ */

static inline void cli_put_word(unsigned char *at, size_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* The two IDX files of one split ("train" or "t10k"): images whose bright quarter says the class.
 */
static inline void cli_write_split(const char *directory, const char *split, size_t n,
    size_t channels, size_t height, size_t width, size_t classes)
{
    size_t header = channels == 1 ? 16 : 20, pixels = channels * height * width;
    unsigned char *images = calloc(1, header + n * pixels), *labels = calloc(1, 8 + n);
    ck_assert(images && labels);
    cli_put_word(images, channels == 1 ? 0x803 : 0x804);
    cli_put_word(images + 4, n);
    if (channels != 1)
        cli_put_word(images + 8, channels);
    cli_put_word(images + header - 8, height);
    cli_put_word(images + header - 4, width);
    cli_put_word(labels, 0x801);
    cli_put_word(labels + 4, n);
    uint32_t noise = split[1] == 'r' ? 1 : 77;
    for (size_t i = 0; i < n; i++) {
        size_t label = i * 7 % classes;
        labels[8 + i] = (unsigned char)label;
        for (size_t p = 0; p < pixels; p++) {
            size_t y = p / width % height, x = p % width;
            size_t quarter = 2 * (2 * y / height) + 2 * x / width;
            noise = noise * 1664525u + 1013904223u;
            unsigned value = (noise >> 24) % 60;
            if (quarter == label % 4)
                value += 180;
            images[header + i * pixels + p] = (unsigned char)value;
        }
    }
    char name[64];
    snprintf(name, sizeof name, "%s-images-idx%d-ubyte", split, channels == 1 ? 3 : 4);
    cli_write(cli_path(directory, name), images, header + n * pixels);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", split);
    cli_write(cli_path(directory, name), labels, 8 + n);
    free(images);
    free(labels);
}

static inline char *cli_make_directory(const char *parent, const char *name)
{
    char *path = cli_path(parent, name);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    return path;
}

static inline char *cli_make_data(const char *parent, const char *name, size_t n_train,
    size_t n_test, size_t channels, size_t height, size_t width, size_t classes)
{
    char *path = cli_make_directory(parent, name);
    cli_write_split(path, "train", n_train, channels, height, width, classes);
    cli_write_split(path, "t10k", n_test, channels, height, width, classes);
    return path;
}

/* ---- running -------------------------------------------------------------------------------- */

#define CLI_MAX_ARGUMENTS 64

/* Runs the program with the arguments (the last is NULL). */
static inline test_process cli_run_env(char *const environment[], ...)
{
    char *argv[CLI_MAX_ARGUMENTS + 2] = {TEST_PROGRAM};
    va_list arguments;
    va_start(arguments, environment);
    int n = 1;
    while ((argv[n] = va_arg(arguments, char *)) != NULL && n < CLI_MAX_ARGUMENTS)
        n++;
    va_end(arguments);
    return test_run(argv, environment);
}
#define cli_run(...) cli_run_env(NULL, __VA_ARGS__, (char *)NULL)

/* The same from one text, split at blanks. */
static inline test_process cli_run_text(const char *text)
{
    char *copy = strdup(text), *argv[CLI_MAX_ARGUMENTS + 2] = {TEST_PROGRAM};
    int n = 1;
    for (char *word = strtok(copy, " "); word && n < CLI_MAX_ARGUMENTS; word = strtok(NULL, " "))
        argv[n++] = word;
    test_process p = test_run(argv, NULL);
    free(copy);
    return p;
}

/* A line for cli_run_text from its parts; up to the next one. */
CAPS_PRINTF(1, 2) static inline const char *cli_line(const char *format, ...)
{
    static char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return line;
}

static inline int cli_error_lines(const char *err)
{
    int count = 0;
    for (const char *line = err; *line;) {
        count += strncmp(line, "capscl: ", 8) == 0;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return count;
}

/* It failed as the contract says: the exit code, exactly one line that begins "capscl: ", and it
 * holds `needle`; nothing on stdout. Releases p. */
static inline void cli_expect_error(
    test_process p, int exit_code, const char *needle, const char *what)
{
    const char *line = p.err;
    while (*line && strncmp(line, "capscl: ", 8) != 0) {
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    ck_assert_msg(p.exit_code == exit_code, "%s: exit code %d, need %d; stderr: %s", what,
        p.exit_code, exit_code, p.err);
    ck_assert_msg(cli_error_lines(p.err) == 1, "%s: need one error line; stderr: %s", what, p.err);
    size_t n = strlen(p.err);
    ck_assert_msg(n > 0 && p.err[n - 1] == '\n', "%s: the line has no end: %s", what, p.err);
    char *text = strndup(line, strcspn(line, "\n"));
    ck_assert_msg(strstr(text, needle) != NULL, "%s: need '%s' in: %s", what, needle, text);
    free(text);
    ck_assert_msg(p.out[0] == 0, "%s: stdout is not empty: %s", what, p.out);
    test_process_release(&p);
}

/* It went well; the error of a failed one is shown. */
#define cli_expect_ok(p)                                                                           \
    ck_assert_msg((p).exit_code == 0, "exit code %d; stderr: %s", (p).exit_code, (p).err)

/* stdout as JSON, which must be one whole document. */
static inline json_t *cli_json(const test_process *p)
{
    json_error_t error;
    json_t *value = json_loads(p->out, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    ck_assert_msg(value != NULL, "%s in: %s", error.text, p->out);
    return value;
}

/* The document of a command, which must go well. */
static inline json_t *cli_run_json(const char *line)
{
    test_process p = cli_run_text(line);
    ck_assert_msg(p.exit_code == 0, "%s: exit code %d; %s", line, p.exit_code, p.err);
    json_t *value = cli_json(&p);
    test_process_release(&p);
    return value;
}

/* The object has exactly these keys (separated by blanks). */
static inline void cli_expect_keys(const json_t *object, const char *keys)
{
    ck_assert(json_is_object(object));
    char *copy = strdup(keys);
    size_t n = 0;
    for (char *key = strtok(copy, " "); key; key = strtok(NULL, " ")) {
        ck_assert_msg(json_object_get(object, key) != NULL, "key %s is missing", key);
        n++;
    }
    ck_assert_uint_eq(json_object_size(object), n);
    free(copy);
}

/* A run's config.json. */
static inline json_t *cli_config(const char *out)
{
    json_t *value = json_load_file(cli_path(out, "config.json"), 0, NULL);
    ck_assert_msg(json_is_object(value), "%s", out);
    return value;
}

static inline double cli_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    ck_assert_msg(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

/* ---- what is on disk ------------------------------------------------------------------------ */

/* A hash of all names and contents below a directory (0: it does not exist): equal before and after
 * means that nothing was touched. */
static inline uint64_t cli_tree_hash(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    uint64_t sum = 1; /* a sum over entries does not depend on their order */
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *name = cli_path(path, entry->d_name);
        uint64_t hash = caps_hash(CAPS_HASH_START, entry->d_name, strlen(entry->d_name));
        if (caps_path_is_directory(name)) {
            hash ^= cli_tree_hash(name);
        } else {
            size_t n = 0;
            unsigned char *data = cli_read(name, &n);
            hash = caps_hash(hash, data, n);
            free(data);
        }
        sum += hash * 2 + 1;
        free(name);
    }
    closedir(directory);
    return sum;
}

static inline bool cli_same_file(const char *a, const char *b)
{
    size_t na = 0, nb = 0;
    unsigned char *da = cli_read(a, &na), *db = cli_read(b, &nb);
    bool same = na == nb && memcmp(da, db, na) == 0;
    free(da);
    free(db);
    return same;
}

/* ---- training ------------------------------------------------------------------------------- */

/* Two steps of 20 images, unless the flags say more. Gives the run's document. */
static inline json_t *cli_train(
    const char *out, const char *arch, const char *from, const char *flags)
{
    char *line = malloc(strlen(out) + strlen(arch) + strlen(from) + strlen(flags) + 160);
    sprintf(line, "train --data %s --arch %s --batch 20 --max-steps 2 --quiet --json --out %s %s",
        from, arch, out, flags);
    json_t *value = cli_run_json(line);
    free(line);
    return value;
}

/* Trains to the end at once and in two processes; the bytes are the same. Gives the model. */
static inline char *cli_whole_and_resumed(
    const char *work, const char *name, const char *arch, const char *from)
{
    char line[2048], other[64];
    char *whole = cli_path(work, name);
    snprintf(other, sizeof other, "%s-resumed", name);
    char *parts = cli_path(work, other);
    json_decref(cli_train(whole, arch, from, "--max-steps 7"));
    json_decref(cli_train(parts, arch, from, "--max-steps 3"));
    snprintf(line, sizeof line, "train --resume --out %s --max-steps 7 --quiet", parts);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    char *model = cli_path(whole, "model.safetensors");
    ck_assert(cli_same_file(model, cli_path(parts, "model.safetensors")));
    return model;
}

/* ---- a training that is interrupted --------------------------------------------------------- */

/* Waits until the file is there (true), or for a minute. */
static inline bool cli_appears(const char *path)
{
    for (int i = 0; i < 6000 && !caps_path_exists(path); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return caps_path_exists(path);
}

/* Ctrl-C: the training ends, and its one line in `log`, its stderr, says how it goes on. */
static inline void cli_interrupt(pid_t child, const char *log)
{
    ck_assert_int_eq(kill(child, SIGINT), 0);
    int code = 0;
    ck_assert_int_eq(waitpid(child, &code, 0), child);
    ck_assert(WIFEXITED(code));
    ck_assert_int_eq(WEXITSTATUS(code), 130);
    size_t n = 0;
    char *text = (char *)cli_read(log, &n);
    ck_assert_int_eq(cli_error_lines(text), 1);
    ck_assert_ptr_nonnull(strstr(text, "train --resume --out"));
    free(text);
}

#endif
