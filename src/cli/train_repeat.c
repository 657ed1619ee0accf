/* train_repeat.c: see train_repeat.h. */
#include "train_repeat.h"

#include <math.h>
#include <stdlib.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "json.h"

caps_status caps_train_repeat_settings(caps_train_session *s, caps_repeat *r, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    caps_status status;
    if (o->resume) {
        CAPS_TRY(caps_repeat_load(r, o->out, err));
        r->config.seed = r->seeds[0];
        return caps_train_check_resumed(o, s->args, &r->config, r->count, err);
    }
    if (o->seed > UINT64_MAX - (o->repeat - 1))
        CAPS_TRY(caps_cli_usage(err, "train: --repeat %llu from --seed %llu on: seeds end at %llu",
            (unsigned long long)o->repeat, (unsigned long long)o->seed,
            (unsigned long long)UINT64_MAX));
    CAPS_TRY(caps_repeat_begin(r, o->out, o->seed, (size_t)o->repeat, o->overwrite, err));
    CAPS_TRY(caps_train_new_config(s, &r->config, err));
done:
    return status;
}

/* ---- the work ------------------------------------------------------------------------------- */

/* What the callbacks of a repetition get. */
typedef struct repeat_user {
    caps_train_session *session;
    caps_repeat *repeat;
} repeat_user;

static caps_status on_started(void *user, caps_error *err)
{
    return caps_repeat_started(user, err);
}

static void change_resumed(void *user, caps_train_config *config)
{
    const caps_train_session *s = ((repeat_user *)user)->session;
    caps_train_change_resumed(s->flags, s->args, config);
}

static caps_status train_seed(void *user, const caps_repeat_run *run,
    const caps_train_config *config, caps_train_end *end, caps_train_metrics *m, caps_error *err)
{
    const repeat_user *u = user;
    caps_train_session *s = u->session;
    s->begun = run->started ? on_started : NULL;
    s->begun_user = u->repeat;
    caps_cli_log("seed %llu (%zu of %zu): %s", (unsigned long long)config->seed, run->i + 1,
        u->repeat->count, run->out);
    return caps_train_one(s, config, run->out, run->resume, end, m, err);
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

/* mean_<name>_error_percent and sd_... */
static void put_mean(json_t **to, const caps_repeat *r, const char *name, caps_repeat_error *error)
{
    double mean, sd;
    char key[64];
    (void)caps_repeat_mean(r, error, &mean, &sd);
    snprintf(key, sizeof key, "mean_%s_error_percent", name);
    caps_json_set(to, key, caps_json_double(mean));
    snprintf(key, sizeof key, "sd_%s_error_percent", name);
    caps_json_set(to, key, caps_json_double(sd));
}

static caps_status print_json(const caps_repeat *r, caps_runtime *rt, caps_error *err)
{
    const bool pairs = caps_model_spec_info(r->config.spec)->labels > 1;
    double mean, sd;
    const bool validated =
        r->config.validation > 0 || caps_repeat_mean(r, validation_error, &mean, &sd) > 0;
    json_t *all = json_object(), *runs = json_array();
    for (size_t i = 0; i < r->count; i++)
        if (r->results[i].trained) {
            json_t *run = caps_train_json(rt, &r->results[i].metrics);
            char *directory = caps_repeat_directory(r, i);
            caps_json_set(&run, "seed", caps_config_json_u64(r->seeds[i]));
            caps_json_set(&run, "out", caps_json_text(directory ? directory : ""));
            free(directory);
            caps_json_append(&runs, run);
        }
    caps_json_set(&all, "runs", runs);
    put_mean(&all, r, "test", test_error);
    if (pairs)
        put_mean(&all, r, "test_label", test_label_error);
    if (validated)
        put_mean(&all, r, "validation", validation_error);
    if (validated && pairs)
        put_mean(&all, r, "validation_label", validation_label_error);
    return caps_cli_print_json(all, err);
}

/* False: no seed has such an error. */
static bool print_mean(const caps_repeat *r, const char *name, caps_repeat_error *error)
{
    double mean, sd;
    const size_t n = caps_repeat_mean(r, error, &mean, &sd);
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

static void print_text(const caps_repeat *r)
{
    const bool pairs = caps_model_spec_info(r->config.spec)->labels > 1;
    for (size_t i = 0; i < r->count; i++) {
        const caps_train_metrics *m = &r->results[i].metrics;
        if (!r->results[i].trained)
            continue;
        printf("seed %llu: epoch %llu, step %llu", (unsigned long long)r->seeds[i],
            (unsigned long long)m->epoch, (unsigned long long)m->step);
        print_error("validation", m->validation_error_percent, m->validation_label_error_percent,
            m->validation_images, m);
        print_error("test", m->test_error_percent, m->test_label_error_percent, m->test_images, m);
        printf("%s\n", r->results[i].finished ? "" : " (not finished)");
    }
    print_mean(r, "validation error", validation_error);
    if (pairs)
        print_mean(r, "validation error of single digits", validation_label_error);
    if (!print_mean(r, "test error", test_error))
        return;
    if (pairs)
        print_mean(r, "test error of single digits", test_label_error);
    char *data = caps_shell_quoted(r->config.data), *out = caps_shell_quoted(r->out);
    if (data && out) {
        printf("all of them and their ensemble: capscl eval --data %s", caps_cli_shown(data));
        printf(" --model %s/seed-*/model.safetensors\n", caps_cli_shown(out));
    }
    free(data);
    free(out);
}

caps_status caps_train_repeat(caps_train_session *s, caps_repeat *r, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    repeat_user user = {s, r};
    caps_train_end end = CAPS_TRAIN_FINISHED;
    caps_status status;
    size_t at = 0;
    CAPS_TRY(caps_repeat_train_all(r, train_seed, change_resumed, &user, &at, &end, err));
    if (o->common.json)
        CAPS_TRY(print_json(r, s->rt, err));
    else
        print_text(r);
    if (end == CAPS_TRAIN_TIME_LIMIT)
        caps_cli_log(
            "time limit reached at step %llu of seed %llu; saved; go on with: capscl train "
            "--resume --out %s",
            (unsigned long long)r->results[at].metrics.step, (unsigned long long)r->seeds[at],
            r->out);
    if (end == CAPS_TRAIN_STOPPED)
        CAPS_TRY(caps_fail(err, CAPS_ERR_INTERRUPTED,
            "stopped by %s at step %llu of seed %llu, saved; go on with: capscl train --resume "
            "--out %s",
            caps_train_signal_name(), (unsigned long long)r->results[at].metrics.step,
            (unsigned long long)r->seeds[at], r->out));
done:
    return status;
}
