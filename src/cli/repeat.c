/* repeat.c: see repeat.h. */
#include "repeat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "eval_report.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "progress.h"
#include "statistics.h"

enum { MOST_BYTES = 1 << 20, MOST_SEEDS = 1000 };

/* ---- RUN/repeat.json ------------------------------------------------------------------------ */

static caps_status out_of_memory(const char *out, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out);
}

static char *directory_of(const char *out, uint64_t seed)
{
    char name[32];
    snprintf(name, sizeof name, "seed-%llu", (unsigned long long)seed);
    return caps_path_join(out, name);
}

bool caps_repeat_exists(const char *out)
{
    char *path = caps_path_join(out, CAPS_REPEAT_FILE);
    const bool exists = path && caps_path_exists(path);
    free(path);
    return exists;
}

static caps_status parse_seeds(
    uint64_t **seeds, size_t *count, const json_t *object, const char *path, caps_error *err)
{
    const json_t *list = json_object_get(object, "seeds");
    const size_t n = json_array_size(list);
    if (n < 1 || n > MOST_SEEDS)
        return caps_fail(
            err, CAPS_ERR_FORMAT, "%s: \"seeds\" is no list of 1 to %d numbers", path, MOST_SEEDS);
    *seeds = calloc(n, sizeof **seeds);
    if (!*seeds)
        return out_of_memory(path, err);
    *count = n;
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_pack("{s:O}", "seed", json_array_get(list, i));
        const bool good = one && caps_config_get_u64(one, "seed", &(*seeds)[i]);
        json_decref(one);
        if (!good)
            return caps_fail(
                err, CAPS_ERR_FORMAT, "%s: seed %zu is no whole number, need one", path, i);
    }
    return CAPS_OK;
}

/* config NULL: the seeds alone. */
static caps_status read_file(
    uint64_t **seeds, size_t *count, caps_train_config *config, const char *out, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char *text = NULL;
    json_t *object = NULL;
    size_t n;
    char *path = caps_path_join(out, CAPS_REPEAT_FILE);
    if (!path)
        return out_of_memory(out, err);
    CAPS_TRY(caps_file_read(&text, &n, path, MOST_BYTES, err));
    CAPS_TRY(caps_json_parse(&object, (const char *)text, n, path, CAPS_ERR_FORMAT, err));
    CAPS_TRY(parse_seeds(seeds, count, object, path, err));
    if (config) {
        status = caps_config_from_json(config, json_object_get(object, "config"), path, err);
        if (status == CAPS_ERR_SPEC) /* the spec is a part of this file: as in config.json */
            status = err->status = CAPS_ERR_FORMAT;
    }
done:
    json_decref(object);
    free(text);
    free(path);
    return status;
}

bool caps_repeat_first(const char *out, uint64_t *seed)
{
    uint64_t *seeds = NULL;
    size_t count = 0;
    const bool known = read_file(&seeds, &count, NULL, out, NULL) == CAPS_OK;
    if (known)
        *seed = seeds[0];
    free(seeds);
    return known;
}

static caps_status write_file(const caps_repeat *r, caps_error *err)
{
    caps_status status;
    json_t *config = NULL, *object = NULL, *seeds = json_array();
    char *text = NULL, *path = caps_path_join(r->flags->out, CAPS_REPEAT_FILE);
    bool kept = seeds && path;
    for (size_t i = 0; i < r->count && kept; i++)
        kept = json_array_append_new(seeds, caps_config_json_u64(r->seeds[i])) == 0;
    CAPS_TRY(caps_config_to_json(&config, &r->config, err));
    object = kept ? json_pack("{s:O, s:O}", "seeds", seeds, "config", config) : NULL;
    if (!object)
        CAPS_TRY(out_of_memory(r->flags->out, err));
    CAPS_TRY(caps_config_format(&text, object, 2, err));
    CAPS_TRY(caps_file_write(path, text, strlen(text), err));
done:
    json_decref(object);
    json_decref(config);
    json_decref(seeds);
    free(text);
    free(path);
    return status;
}

/* ---- before the work ------------------------------------------------------------------------ */

static caps_status check_free(const caps_repeat *r, caps_error *err)
{
    const char *out = r->flags->out;
    caps_status status;
    bool exists = false;
    char *taken = NULL, *path = NULL;
    CAPS_TRY(caps_train_run_exists(out, &exists, err));
    if (exists)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds a run already, of one seed; --repeat needs a directory of its own", out));
    path = caps_path_join(out, CAPS_REPEAT_FILE);
    if (!path)
        CAPS_TRY(out_of_memory(out, err));
    if (caps_path_is_directory(path))
        CAPS_TRY(caps_fail(err, CAPS_ERR_IO, "%s: is a directory, need a file", path));
    for (size_t i = 0; i < r->count && !exists; i++) {
        free(taken);
        taken = directory_of(out, r->seeds[i]);
        CAPS_TRY(taken ? caps_train_run_exists(taken, &exists, err) : out_of_memory(out, err));
    }
    if (exists && !caps_path_exists(path) && !r->flags->overwrite)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds a run already, of no repetition (there is no %s); need another directory, "
            "or "
            "--overwrite to begin anew",
            taken, path));
    if ((exists || caps_path_exists(path)) && !r->flags->overwrite)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds %s already; --resume --out %s continues, --overwrite begins anew",
            exists ? taken : out, exists ? "a run" : "runs of other seeds", out));
done:
    free(taken);
    free(path);
    return status;
}

caps_status caps_repeat_init(caps_repeat *r, const caps_train_flags *o, const caps_args *args,
    caps_checkpoint *init, caps_error *err)
{
    caps_status status;
    *r = (caps_repeat){.flags = o, .args = args};
    if (o->resume) {
        CAPS_TRY(read_file(&r->seeds, &r->count, &r->config, o->out, err));
        caps_train_change_end(o, args, &r->config);
        return CAPS_OK;
    }
    if (o->seed > UINT64_MAX - (o->repeat - 1))
        CAPS_TRY(caps_cli_usage(err, "train: --repeat %llu from --seed %llu on: seeds end at %llu",
            (unsigned long long)o->repeat, (unsigned long long)o->seed,
            (unsigned long long)UINT64_MAX));
    r->count = (size_t)o->repeat;
    r->seeds = calloc(r->count, sizeof *r->seeds);
    if (!r->seeds)
        CAPS_TRY(out_of_memory(o->out, err));
    for (size_t i = 0; i < r->count; i++)
        r->seeds[i] = o->seed + i;
    CAPS_TRY(check_free(r, err));
    if (caps_repeat_exists(o->out)) /* one that cannot be read names no seeds to remove */
        (void)read_file(&r->stale, &r->stale_count, NULL, o->out, NULL);
    CAPS_TRY(caps_train_new_config(o, args, &r->config, init, err));
done:
    if (status != CAPS_OK)
        caps_repeat_release(r);
    return status;
}

void caps_repeat_release(caps_repeat *r)
{
    free(r->seeds);
    free(r->stale);
    *r = (caps_repeat){0};
}

/* ---- the work ------------------------------------------------------------------------------- */

static caps_status remove_seed(const caps_repeat *r, uint64_t seed, caps_error *err)
{
    char *directory = directory_of(r->flags->out, seed);
    caps_status status =
        directory ? caps_train_run_remove(directory, err) : out_of_memory(r->flags->out, err);
    if (status == CAPS_OK)
        (void)rmdir(directory); /* it stays where it holds something else */
    free(directory);
    return status;
}

/* The first run is under way: removes all others of an earlier repetition, so that --resume takes
 * none of them for one of these, and writes down which seeds these are. */
static caps_status on_begun(void *user, caps_error *err)
{
    caps_repeat *r = user;
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < r->stale_count && status == CAPS_OK; i++)
        if (r->stale[i] != r->seeds[0])
            status = remove_seed(r, r->stale[i], err);
    for (size_t i = 1; i < r->count && status == CAPS_OK; i++)
        status = remove_seed(r, r->seeds[i], err);
    return status == CAPS_OK ? write_file(r, err) : status;
}

/* How far one of the seeds has come. */
typedef struct result {
    caps_train_metrics metrics;
    bool trained, finished;
} result;

static caps_status train_seed(caps_repeat *r, caps_train_session *s, const caps_checkpoint *init,
    size_t i, result *to, caps_train_end *end, caps_error *err)
{
    caps_train_config config = r->config;
    caps_train_flags flags = *r->flags;
    caps_train_session one = *s;
    caps_status status;
    bool exists = false;
    char *directory = directory_of(r->flags->out, r->seeds[i]);
    if (!directory)
        return out_of_memory(r->flags->out, err);
    config.seed = r->seeds[i];
    flags.out = directory;
    if (flags.resume) {
        CAPS_TRY(caps_train_run_exists(directory, &exists, err));
        flags.resume = exists;
        if (exists)
            CAPS_TRY(caps_train_old_config(&flags, r->args, &config, err));
    } else if (i == 0) {
        one.begun = on_begun;
        one.begun_user = r;
    }
    one.flags = &flags;
    caps_cli_log(
        "seed %llu (%zu of %zu): %s", (unsigned long long)r->seeds[i], i + 1, r->count, directory);
    status = caps_train_one(&one, &config, directory, init, end, &to->metrics, err);
    s->shown = one.shown;
    if (status != CAPS_OK)
        caps_fail_prefix(err, status, "seed %llu", (unsigned long long)r->seeds[i]);
    to->trained = status == CAPS_OK;
    to->finished = to->trained && (*end == CAPS_TRAIN_FINISHED || *end == CAPS_TRAIN_WAS_FINISHED);
done:
    free(directory);
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

static double test_error(const caps_train_metrics *m)
{
    return m->test_error_percent;
}

static double validation_error(const caps_train_metrics *m)
{
    return m->validation_error_percent;
}

static double test_label_error(const caps_train_metrics *m)
{
    return m->test_label_error_percent;
}

static double validation_label_error(const caps_train_metrics *m)
{
    return m->validation_label_error_percent;
}

/* Over the seeds that are finished and have such an error; returns how many they are. */
static size_t summarise(const caps_repeat *r, const result *results,
    double error(const caps_train_metrics *m), double *mean, double *sd)
{
    double percents[MOST_SEEDS];
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (results[i].finished && !isnan(error(&results[i].metrics)))
            percents[n++] = error(&results[i].metrics);
    *mean = *sd = NAN;
    if (n > 0)
        caps_mean_sd(percents, n, mean, sd);
    return n;
}

/* mean_<name>_error_percent and sd_... */
static void put_mean(json_t *to, const caps_repeat *r, const result *results, const char *name,
    double error(const caps_train_metrics *m))
{
    double mean, sd;
    char key[64];
    (void)summarise(r, results, error, &mean, &sd);
    snprintf(key, sizeof key, "mean_%s_error_percent", name);
    json_object_set_new(to, key, caps_json_double(mean));
    snprintf(key, sizeof key, "sd_%s_error_percent", name);
    json_object_set_new(to, key, caps_json_double(sd));
}

static caps_status print_json(
    const caps_repeat *r, const result *results, caps_runtime *rt, caps_error *err)
{
    const bool pairs = r->config.spec.labels > 1;
    json_t *all = json_object(), *runs = json_array();
    for (size_t i = 0; i < r->count; i++)
        if (results[i].trained) {
            json_t *run = caps_train_json(rt, &results[i].metrics);
            char *directory = directory_of(r->flags->out, r->seeds[i]);
            json_object_set_new(run, "seed", caps_config_json_u64(r->seeds[i]));
            json_object_set_new(run, "out", caps_json_text(directory ? directory : ""));
            free(directory);
            json_array_append_new(runs, run);
        }
    json_object_set_new(all, "runs", runs);
    put_mean(all, r, results, "test", test_error);
    if (pairs)
        put_mean(all, r, results, "test_label", test_label_error);
    if (r->config.validation > 0)
        put_mean(all, r, results, "validation", validation_error);
    if (r->config.validation > 0 && pairs)
        put_mean(all, r, results, "validation_label", validation_label_error);
    return caps_cli_print_json(all, err);
}

/* False: no seed has such an error. */
static bool print_mean(const caps_repeat *r, const result *results, const char *name,
    double error(const caps_train_metrics *m))
{
    double mean, sd;
    const size_t n = summarise(r, results, error, &mean, &sd);
    if (n > 0)
        printf("%s, mean of %zu %s: %.3f %%", name, n, n == 1 ? "run" : "runs", mean);
    if (n > 1)
        printf(", standard deviation %.3f %%", sd);
    if (n > 0)
        printf("\n");
    return n > 0;
}

static void print_error(const char *name, double percent, double label_percent, uint64_t images,
    const caps_train_metrics *m)
{
    char text[CAPS_TRAIN_ERROR_BYTES];
    if (!isnan(percent))
        printf(", %s error %s", name,
            caps_train_error_text(text, percent, label_percent, images, m->labels));
}

static void print_text(const caps_repeat *r, const result *results)
{
    const bool pairs = r->config.spec.labels > 1;
    for (size_t i = 0; i < r->count; i++) {
        const caps_train_metrics *m = &results[i].metrics;
        if (!results[i].trained)
            continue;
        printf("seed %llu: epoch %llu, step %llu", (unsigned long long)r->seeds[i],
            (unsigned long long)m->epoch, (unsigned long long)m->step);
        print_error("validation", m->validation_error_percent, m->validation_label_error_percent,
            m->validation_images, m);
        print_error("test", m->test_error_percent, m->test_label_error_percent, m->test_images, m);
        printf("%s\n", results[i].finished ? "" : " (not finished)");
    }
    print_mean(r, results, "validation error", validation_error);
    if (pairs)
        print_mean(r, results, "validation error of single digits", validation_label_error);
    if (!print_mean(r, results, "test error", test_error))
        return;
    if (pairs)
        print_mean(r, results, "test error of single digits", test_label_error);
    char *data = caps_shell_quoted(r->config.data), *out = caps_shell_quoted(r->flags->out);
    if (data && out)
        printf("all of them and their ensemble: capscl eval --data %s --model "
               "%s/seed-*/model.safetensors\n",
            data, out);
    free(data);
    free(out);
}

caps_status caps_repeat_run(
    caps_repeat *r, caps_train_session *s, const caps_checkpoint *init, caps_error *err)
{
    caps_train_end end = CAPS_TRAIN_FINISHED;
    caps_status status = CAPS_OK;
    size_t at = 0;
    result *results = calloc(r->count, sizeof *results);
    if (!results)
        return out_of_memory(r->flags->out, err);
    if (r->flags->resume &&
        (caps_args_given(r->args, "--epochs") || caps_args_given(r->args, "--max-steps")))
        CAPS_TRY(write_file(r, err)); /* the new end is also that of seeds that begin later */
    for (; at < r->count; at++) {
        CAPS_TRY(train_seed(r, s, init, at, &results[at], &end, err));
        if (!results[at].finished)
            break;
    }
    if (r->flags->common.json)
        CAPS_TRY(print_json(r, results, s->rt, err));
    else
        print_text(r, results);
    if (end == CAPS_TRAIN_TIME_LIMIT)
        caps_cli_log(
            "time limit reached at step %llu of seed %llu; saved; go on with: capscl train "
            "--resume --out %s",
            (unsigned long long)results[at].metrics.step, (unsigned long long)r->seeds[at],
            r->flags->out);
    if (end == CAPS_TRAIN_STOPPED)
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped by %s at step %llu of seed %llu, saved; go on with: capscl train --resume "
            "--out %s",
            caps_train_signal_name(), (unsigned long long)results[at].metrics.step,
            (unsigned long long)r->seeds[at], r->flags->out));
done:
    free(results);
    return status;
}
