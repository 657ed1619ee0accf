/* repeat.c: see repeat.h. */
#include "repeat.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "eval_report.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "statistics.h"

#define REPEAT     "repeat.json"
#define FILE_BYTES ((size_t)1 << 20)

static caps_status set(
    caps_repeat *r, const char *out, const uint64_t *seeds, size_t n, caps_error *err)
{
    *r = (caps_repeat){.count = n};
    r->seeds = calloc(n, sizeof *r->seeds);
    r->outs = calloc(n, sizeof *r->outs);
    bool enough = r->seeds && r->outs;
    for (size_t i = 0; enough && i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "seed-%" PRIu64, seeds[i]);
        r->seeds[i] = seeds[i];
        r->outs[i] = caps_path_join(out, name);
        enough = r->outs[i] != NULL;
    }
    if (enough)
        return CAPS_OK;
    caps_repeat_release(r);
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu runs", out, n);
}

caps_status caps_repeat_init(
    caps_repeat *r, const char *out, uint64_t first, size_t n, caps_error *err)
{
    uint64_t *seeds = malloc(n * sizeof *seeds);
    *r = (caps_repeat){0};
    if (!seeds)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu runs", out, n);
    for (size_t i = 0; i < n; i++)
        seeds[i] = first + i;
    caps_status status = set(r, out, seeds, n, err);
    free(seeds);
    return status;
}

caps_status caps_repeat_load(caps_repeat *r, const char *out, caps_error *err)
{
    char *path = caps_path_join(out, REPEAT);
    unsigned char *text = NULL;
    uint64_t *seeds = NULL;
    json_t *object = NULL;
    size_t bytes = 0;
    caps_status status = CAPS_OK;
    *r = (caps_repeat){0};
    if (!path)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out);
    if (!caps_path_exists(path))
        goto done;
    CAPS_TRY(caps_file_read(&text, &bytes, path, FILE_BYTES, err));
    CAPS_TRY(caps_json_parse(&object, (const char *)text, bytes, path, CAPS_ERR_FORMAT, err));
    json_t *list = json_object_get(object, "seeds");
    const size_t n = json_array_size(list);
    seeds = calloc(n + 1, sizeof *seeds);
    if (!seeds)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_pack("{s:O}", "seed", json_array_get(list, i));
        const bool is_seed = caps_config_get_u64(one, "seed", &seeds[i]);
        json_decref(one);
        if (!is_seed)
            CAPS_TRY(caps_fail(
                err, CAPS_ERR_FORMAT, "%s: seed %zu is no whole number, need one", path, i));
    }
    if (n == 0)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: seeds is missing or empty, need a list", path));
    CAPS_TRY(set(r, out, seeds, n, err));
done:
    json_decref(object);
    free(seeds);
    free(text);
    free(path);
    return status;
}

caps_status caps_repeat_save(const caps_repeat *r, const char *out, caps_error *err)
{
    json_t *list = json_array();
    char *path = caps_path_join(out, REPEAT), *text = NULL, *line = NULL;
    caps_status status;
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(list, caps_config_json_u64(r->seeds[i]));
    json_t *object = json_pack("{s:o}", "seeds", list);
    text = object ? caps_json_format(object, 0, 9) : NULL;
    line = text ? caps_format("%s\n", text) : NULL;
    if (!path || !line)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out));
    CAPS_TRY(caps_directory_make(out, err));
    CAPS_TRY(caps_file_write(path, line, strlen(line), err));
done:
    json_decref(object);
    free(line);
    free(text);
    free(path);
    return status;
}

void caps_repeat_release(caps_repeat *r)
{
    for (size_t i = 0; r->outs && i < r->count; i++)
        free(r->outs[i]);
    free(r->outs);
    free(r->seeds);
    *r = (caps_repeat){0};
}

void caps_repeat_print(const caps_repeat *r, const char *out, const caps_train_metrics *metrics,
    size_t n, const char *data)
{
    double *percents = malloc(n * sizeof *percents), mean = NAN, sd = NAN;
    char interval[48];
    for (size_t i = 0; i < n; i++) {
        const caps_train_metrics *m = &metrics[i];
        const size_t errors = (size_t)lround(m->test_error_percent * (double)m->test_images / 100);
        printf("seed %" PRIu64 ": test error %.2f %% (95 %% interval %s), train error %.2f %%\n",
            r->seeds[i], m->test_error_percent,
            caps_interval_text(interval, errors, m->test_images), m->train_error_percent);
        if (percents)
            percents[i] = m->test_error_percent;
    }
    if (percents)
        caps_mean_sd(percents, n, &mean, &sd);
    printf("mean of %zu seeds: test error %.3f %%, standard deviation %.3f %%\n", n, mean, sd);
    printf(
        "their ensemble: capscl eval --data %s --model %s/seed-*/model.safetensors\n", data, out);
    free(percents);
}
