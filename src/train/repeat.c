/* repeat.c: see repeat.h. */
#include "repeat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <capscl/inspect.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "json.h"

enum { MOST_BYTES = 1 << 20, MOST_SEEDS = 1000 };

/* ---- RUN/repeat.json ------------------------------------------------------------------------ */

static caps_status repeat_no_memory(const char *out, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out);
}

static char *directory_of_seed(const char *out, uint64_t seed)
{
    char name[32];
    snprintf(name, sizeof name, "seed-%llu", (unsigned long long)seed);
    return caps_path_join(out, name);
}

caps_status caps_repeat_exists(bool *exists, const char *out, caps_error *err)
{
    caps_path_kind kind;
    char *path = caps_path_join(out, CAPS_REPEAT_FILE);
    caps_status status = path ? caps_path_look(&kind, path, CAPS_ERR_NOT_FOUND, err)
                              : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out);
    *exists = status == CAPS_OK && kind != CAPS_PATH_NOTHING;
    free(path);
    return status;
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
        return repeat_no_memory(path, err);
    *count = n;
    for (size_t i = 0; i < n; i++) {
        if (!caps_config_u64(json_array_get(list, i), &(*seeds)[i]))
            return caps_fail(
                err, CAPS_ERR_FORMAT, "%s: seed %zu is no whole number, need one", path, i);
    }
    return CAPS_OK;
}

/* config NULL: the seeds alone. */
static caps_status repeat_read(
    uint64_t **seeds, size_t *count, caps_train_config *config, const char *out, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char *text = NULL;
    json_t *object = NULL;
    size_t n;
    char *path = caps_path_join(out, CAPS_REPEAT_FILE);
    if (!path)
        return repeat_no_memory(out, err);
    CAPS_TRY(caps_file_read_own(&text, &n, path, MOST_BYTES, err));
    CAPS_TRY(caps_json_parse(&object, (const char *)text, n, path, CAPS_ERR_FORMAT, err));
    CAPS_TRY(parse_seeds(seeds, count, object, path, err));
    if (config)
        status = caps_config_from_json(config, json_object_get(object, "config"), path, err);
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
    const bool known = repeat_read(&seeds, &count, NULL, out, NULL) == CAPS_OK;
    if (known)
        *seed = seeds[0];
    free(seeds);
    return known;
}

static caps_status repeat_write(const caps_repeat *r, caps_error *err)
{
    caps_status status;
    json_t *config = NULL, *object = NULL, *seeds = json_array();
    char *text = NULL, *path = caps_path_join(r->out, CAPS_REPEAT_FILE);
    for (size_t i = 0; i < r->count; i++)
        caps_json_append(&seeds, caps_config_json_u64(r->seeds[i]));
    CAPS_TRY(caps_config_to_json(&config, &r->config, err));
    object = json_pack("{s:O, s:O}", "seeds", seeds, "config", config);
    if (!object || !path)
        CAPS_TRY(repeat_no_memory(r->out, err));
    CAPS_TRY(caps_config_format(&text, object, 2, err));
    CAPS_TRY(caps_file_write_own(path, text, strlen(text), err));
done:
    json_decref(object);
    json_decref(config);
    json_decref(seeds);
    free(text);
    free(path);
    return status;
}

/* ---- before the work ------------------------------------------------------------------------ */

static caps_status repeat_check_free(const caps_repeat *r, caps_error *err)
{
    const char *out = r->out;
    caps_status status;
    bool exists = false;
    caps_path_kind kind;
    char *taken = NULL, *path = NULL;
    CAPS_TRY(caps_train_run_exists(out, &exists, err));
    if (exists)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds a run already, of one seed; --repeat needs a directory of its own", out));
    path = caps_path_join(out, CAPS_REPEAT_FILE);
    if (!path)
        CAPS_TRY(repeat_no_memory(out, err));
    CAPS_TRY(caps_path_look(&kind, path, CAPS_ERR_IO, err));
    if (kind == CAPS_PATH_DIRECTORY)
        CAPS_TRY(caps_fail(err, CAPS_ERR_IO, "%s: is a directory, need a file", path));
    for (size_t i = 0; i < r->count && !exists; i++) {
        free(taken);
        taken = directory_of_seed(out, r->seeds[i]);
        CAPS_TRY(taken ? caps_train_run_exists(taken, &exists, err) : repeat_no_memory(out, err));
    }
    if (exists && kind == CAPS_PATH_NOTHING && !r->overwrite)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds a run already, of no repetition (there is no %s); need another directory, "
            "or --overwrite to begin anew",
            taken, path));
    if ((exists || kind != CAPS_PATH_NOTHING) && !r->overwrite)
        CAPS_TRY(caps_fail(err, CAPS_ERR_EXISTS,
            "%s: holds %s already; --resume --out %s continues, --overwrite begins anew",
            exists ? taken : out, exists ? "a run" : "runs of other seeds", out));
done:
    free(taken);
    free(path);
    return status;
}

/* The results of all seeds, none trained. */
static caps_status repeat_make_results(caps_repeat *r, caps_error *err)
{
    r->results = calloc(r->count, sizeof *r->results);
    return r->results ? CAPS_OK : repeat_no_memory(r->out, err);
}

caps_status caps_repeat_load(caps_repeat *r, const char *out, caps_error *err)
{
    caps_status status;
    *r = (caps_repeat){.out = out, .resume = true, .config = {CAPS_OPTIONS(caps_train_config)}};
    CAPS_TRY(repeat_read(&r->seeds, &r->count, &r->config, out, err));
    CAPS_TRY(repeat_make_results(r, err));
done:
    if (status != CAPS_OK)
        caps_repeat_release(r);
    return status;
}

caps_status caps_repeat_begin(
    caps_repeat *r, const char *out, uint64_t first, size_t count, bool overwrite, caps_error *err)
{
    caps_status status;
    bool stale;
    *r = (caps_repeat){.out = out,
        .overwrite = overwrite,
        .count = count,
        .config = {CAPS_OPTIONS(caps_train_config)}};
    if (count < 1 || count > MOST_SEEDS || first > UINT64_MAX - (count - 1))
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: %zu repetitions from seed %llu on, need 1 to %d; seeds end at %llu", count,
            (unsigned long long)first, MOST_SEEDS, (unsigned long long)UINT64_MAX));
    r->seeds = calloc(count, sizeof *r->seeds);
    if (!r->seeds)
        CAPS_TRY(repeat_no_memory(out, err));
    for (size_t i = 0; i < count; i++)
        r->seeds[i] = first + i;
    CAPS_TRY(repeat_make_results(r, err));
    CAPS_TRY(repeat_check_free(r, err));
    CAPS_TRY(caps_repeat_exists(&stale, out, err));
    if (stale) /* one that cannot be read names no seeds to remove */
        (void)repeat_read(&r->stale, &r->stale_count, NULL, out, NULL);
done:
    if (status != CAPS_OK)
        caps_repeat_release(r);
    return status;
}

void caps_repeat_release(caps_repeat *r)
{
    free(r->seeds);
    free(r->stale);
    free(r->results);
    caps_train_config_release(&r->config);
    *r = (caps_repeat){0};
}

char *caps_repeat_directory(const caps_repeat *r, size_t i)
{
    return directory_of_seed(r->out, r->seeds[i]);
}

/* ---- the work ------------------------------------------------------------------------------- */

static caps_status remove_seed(const caps_repeat *r, uint64_t seed, caps_error *err)
{
    char *directory = directory_of_seed(r->out, seed);
    caps_status status =
        directory ? caps_train_run_remove(directory, err) : repeat_no_memory(r->out, err);
    if (status == CAPS_OK)
        (void)rmdir(directory); /* it stays where it holds something else */
    free(directory);
    return status;
}

caps_status caps_repeat_started(const caps_repeat *r, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < r->stale_count && status == CAPS_OK; i++)
        if (r->stale[i] != r->seeds[0])
            status = remove_seed(r, r->stale[i], err);
    for (size_t i = 1; i < r->count && status == CAPS_OK; i++)
        status = remove_seed(r, r->seeds[i], err);
    return status == CAPS_OK ? repeat_write(r, err) : status;
}

static caps_status train_seed(caps_repeat *r, size_t i, caps_repeat_train *train,
    caps_repeat_change *change, void *user, caps_train_end *end, caps_error *err)
{
    caps_repeat_result *result = &r->results[i];
    caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
    caps_repeat_run run = {.i = i, .started = !r->resume && i == 0};
    caps_status status;
    char *directory = caps_repeat_directory(r, i);
    if (!directory)
        return repeat_no_memory(r->out, err);
    run.out = directory;
    if (r->resume)
        CAPS_TRY(caps_train_run_exists(directory, &run.resume, err));
    if (run.resume) {
        CAPS_TRY(caps_train_config_load(&config, directory, err));
        if (change)
            change(user, &config);
    } else {
        CAPS_TRY(caps_train_config_copy(&config, &r->config, err));
        config.seed = r->seeds[i];
    }
    status = train(user, &run, &config, end, &result->metrics, err);
    if (status != CAPS_OK)
        caps_fail_prefix(err, status, "seed %llu", (unsigned long long)r->seeds[i]);
    result->trained = status == CAPS_OK;
    result->finished =
        result->trained && (*end == CAPS_TRAIN_FINISHED || *end == CAPS_TRAIN_WAS_FINISHED);
done:
    caps_train_config_release(&config);
    free(directory);
    return status;
}

caps_status caps_repeat_train_all(caps_repeat *r, caps_repeat_train *train,
    caps_repeat_change *change, void *user, size_t *at, caps_train_end *end, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (r->resume && change) { /* the new end is also that of seeds that begin later */
        change(user, &r->config);
        CAPS_TRY(repeat_write(r, err));
    }
    for (*at = 0; *at < r->count; ++*at) {
        CAPS_TRY(train_seed(r, *at, train, change, user, end, err));
        if (!r->results[*at].finished)
            break;
    }
done:
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

size_t caps_repeat_mean(
    const caps_repeat *r, caps_repeat_error *error, double *mean, double *standard_deviation)
{
    double percents[MOST_SEEDS];
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->results[i].finished && !isnan(error(&r->results[i].metrics)))
            percents[n++] = error(&r->results[i].metrics);
    *mean = *standard_deviation = NAN;
    if (n > 0)
        caps_mean_sd(percents, n, mean, standard_deviation);
    return n;
}
