/* trainer_setup.c: from settings to a run that can begin or go on. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capscl/inspect.h>

#include "clock.h"
#include "config.h"
#include "fail.h"
#include "file.h"
#include "schedule.h"
#include "trainer.h"

/* ---- reading and checking ------------------------------------------------------------------- */

static caps_status make_paths(caps_trainer *t, caps_error *err)
{
    const char *out = t->control->out;
    caps_status status;
    CAPS_TRY(caps_run_path(&t->state_path, out, CAPS_RUN_STATE, err));
    CAPS_TRY(caps_run_path(&t->config_path, out, CAPS_RUN_CONFIG, err));
    CAPS_TRY(caps_run_path(&t->metrics_path, out, CAPS_RUN_METRICS, err));
    CAPS_TRY(caps_run_path(&t->model_path, out, CAPS_RUN_MODEL, err));
done:
    return status;
}

static caps_status check_directory(const caps_trainer *t, caps_error *err)
{
    const char *out = t->control->out;
    caps_status status;
    bool exists;
    CAPS_TRY(caps_train_run_exists(out, &exists, err));
    if (exists && !t->control->resume && !t->control->overwrite)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_EXISTS, "%s: holds a run already, need resume or another place", out));
    if (t->control->resume && !caps_path_exists(t->state_path))
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: does not exist, need it to resume the run",
            t->state_path));
    /* A finished run may lie where nothing can be written: one that goes on is checked later. */
    if (!t->control->resume)
        CAPS_TRY(caps_run_check_writable(out, err));
done:
    return status;
}

/* Both splits, read in a thread of their own while this one builds kernels. */
typedef struct reader {
    caps_trainer *t;
    caps_status status;
    caps_error err;
    atomic_size_t done, total; /* pictures of the split that is read; total 0: nothing to count */
    atomic_bool over;
} reader;

static void on_pictures(void *user, size_t done, size_t total)
{
    reader *r = user;
    atomic_store(&r->done, done);
    atomic_store(&r->total, total);
}

static caps_status read_split(
    reader *r, caps_dataset *ds, caps_split split, size_t limit, caps_error *err)
{
    const caps_model_spec *spec = &r->t->config->spec;
    const size_t *size = spec->source[0] ? spec->source : spec->input;
    const caps_dataset_options options = {CAPS_OPTIONS(caps_dataset_options), .split = split,
        .limit = limit,
        .channels = size[0],
        .height = size[1],
        .width = size[2],
        .progress = on_pictures,
        .user = r};
    return caps_dataset_open(ds, r->t->config->data, &options, err);
}

/* Images to choose by, without which the data must have a test split. */
static caps_status keep_apart(reader *r, caps_status tested, const caps_error *why)
{
    caps_trainer *t = r->t;
    const caps_train_config *config = t->config;
    caps_status status = tested;
    if (tested == CAPS_OK || (tested == CAPS_ERR_NOT_FOUND && config->validation > 0))
        status = CAPS_OK;
    else
        r->err = *why;
    if (status == CAPS_OK && config->validation > 0)
        status = caps_dataset_split_off(
            &t->train, config->validation, config->seed, &t->validation, &r->err);
    return status;
}

static void *read_splits(void *context)
{
    reader *r = context;
    caps_trainer *t = r->t;
    const caps_train_config *config = t->config;
    const caps_model_spec *spec = &config->spec;
    caps_error why = {0};
    caps_status status;
    CAPS_TRY(read_split(r, &t->train, CAPS_SPLIT_TRAIN, config->limit, &r->err));
    status = read_split(r, &t->test, CAPS_SPLIT_TEST, 0, &why);
    CAPS_TRY(keep_apart(r, status, &why));
    caps_dataset *sets[] = {&t->train, &t->test, &t->validation};
    for (size_t i = 0; i < 3; i++) {
        size_t size[3];
        if (sets[i]->n == 0)
            continue;
        if (spec->source[0])
            caps_dataset_set_view(sets[i], spec->input[1], spec->input[2]);
        CAPS_TRY(caps_data_check(sets[i], spec, &r->err));
        CAPS_TRY(caps_dataset_view_size(
            sets[i], i == 0 ? config->augment : CAPS_AUGMENT_NONE, size, &r->err));
    }
    t->data_hash = caps_state_data_hash(&t->train);
done:
    r->status = status;
    atomic_store(&r->over, true);
    return NULL;
}

/* Until the reader is done; says how far it is where that takes long. */
static void watch_reader(caps_trainer *t, reader *r)
{
    const struct timespec pause = {0, 20 * 1000 * 1000};
    for (int turn = 0; !atomic_load(&r->over); turn++) {
        const size_t total = atomic_load(&r->total);
        if (turn % 10 == 9 && total > 0 && t->control->event) {
            char text[96];
            snprintf(
                text, sizeof text, "reading pictures: %zu of %zu", atomic_load(&r->done), total);
            t->control->event(t->control->user, CAPS_TRAIN_READING, NULL, text);
        }
        nanosleep(&pause, NULL);
    }
}

/* The parameters that a new run begins with, drawn in a thread of their own. */
typedef struct drawer {
    const caps_train_config *config;
    float *first; /* freed with free() */
    caps_status status;
    caps_error err;
} drawer;

static void *draw(void *context)
{
    drawer *d = context;
    d->status = caps_model_draw(
        &d->first, &d->config->spec, d->config->initialiser, d->config->seed, &d->err);
    return NULL;
}

/* Runs `work` beside this thread, or at once where there can be no other; Ctrl-C is for the thread
 * that trains. */
static bool begin_thread(pthread_t *thread, void *(*work)(void *context), void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool begun = pthread_create(thread, NULL, work, context) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!begun)
        work(context);
    return begun;
}

/* Reads the data and draws the first parameters while kernels are built. What is wrong with the
 * data is said first. */
static caps_status read_data(caps_trainer *t, float **first, caps_error *err)
{
    const caps_train_config *config = t->config;
    reader r = {.t = t};
    drawer d = {.config = config};
    pthread_t reading, drawing;
    const bool reads = begin_thread(&reading, read_splits, &r);
    const bool draws = !t->control->resume && !config->init[0] && begin_thread(&drawing, draw, &d);
    caps_status status = caps_runtime_build(t->rt, err);
    if (reads) {
        watch_reader(t, &r);
        pthread_join(reading, NULL);
    }
    if (draws)
        pthread_join(drawing, NULL);
    *first = d.first;
    if (status == CAPS_OK && d.status != CAPS_OK) {
        status = d.status;
        if (err)
            *err = d.err;
    }
    if (r.status != CAPS_OK) {
        if (err)
            *err = r.err;
        return r.status;
    }
    t->steps_per_epoch = caps_schedule_steps_per_epoch(t->train.n, config->batch);
    t->last_step = caps_schedule_last_step(config, t->steps_per_epoch);
    if (status == CAPS_OK)
        status = caps_schedule_check(config, t->steps_per_epoch, err);
    if (status != CAPS_OK)
        return status;
    const caps_dataset *sets[] = {&t->train, &t->test, &t->validation};
    static const char *const names[] = {"training", "test", "validation"};
    for (size_t i = 0; i < 3; i++)
        if (sets[i]->n > 0)
            caps_trainer_note(t, "data: %s, %zu %s %s of %zux%zux%zu%s", sets[i]->path, sets[i]->n,
                names[i], sets[i]->labels_per_image > 1 ? "pairs" : "images", sets[i]->channels,
                sets[i]->height, sets[i]->width,
                i == 2 ? t->test.n > 0 ? " (kept from training)"
                                       : " (kept from training; there is no test split)"
                       : "");
    return CAPS_OK;
}

static void tell_memory(caps_trainer *t, const caps_model_memory *m, size_t batch)
{
    const double mib = 1.0 / (1024 * 1024);
    const size_t parts = (batch + m->micro_batch - 1) / m->micro_batch;
    char split[96] = "";
    if (parts > 1)
        snprintf(split, sizeof split, "; batches go in %zu parts of at most %zu images", parts,
            m->micro_batch);
    caps_trainer_note(t,
        "memory: %.1f MiB on the device (parameters %.1f, gradients %.1f, moments %.1f, "
        "activations "
        "%.1f, workspace %.1f)%s",
        (double)m->total * mib, (double)m->parameters * mib, (double)m->gradients * mib,
        (double)m->moments * mib, (double)m->activations * mib, (double)m->workspace * mib, split);
}

/* *drawn: NULL, or parameters, which the state takes over. */
static caps_status first_parameters(caps_trainer *t, float **drawn, caps_error *err)
{
    caps_checkpoint read = {0};
    const caps_checkpoint *init = t->control->init;
    const size_t count = caps_model_flat_count(t->model);
    caps_status status = CAPS_OK;
    if (!*drawn && !init) {
        CAPS_TRY(caps_checkpoint_load(&read, t->config->init, &t->config->spec, err));
        init = &read;
    }
    if (!*drawn) {
        if (init->count != count)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH, "%s: %zu parameters, need %zu",
                t->config->init, init->count, count));
        *drawn = malloc(count * sizeof **drawn);
        if (!*drawn)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the state"));
        memcpy(*drawn, init->parameters, count * sizeof **drawn);
    }
    CAPS_TRY(caps_model_begin(t->model, *drawn, err));
    float *taken = *drawn;
    *drawn = NULL;
    CAPS_TRY(caps_state_begin(&t->state, taken, count, t->config->optimizer, err));
    t->state.data_images = t->train.n;
    t->state.data_hash = t->data_hash;
    caps_state_forget_errors(&t->state);
    t->state.rate = t->config->rate;
    t->state.images_per_second = NAN;
done:
    caps_checkpoint_release(&read);
    return status;
}

static caps_status old_state(caps_trainer *t, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_state_load(&t->state, t->state_path, t->model, t->config, err));
    if (t->state.data_images != t->train.n)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run has %llu training images, %s has %zu: need the same to go on",
            t->state_path, (unsigned long long)t->state.data_images, t->train.path, t->train.n));
    if (t->state.data_hash != t->data_hash)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run has other training images or labels than %s: need the same to go on",
            t->state_path, t->train.path));
    CAPS_TRY(caps_state_apply(&t->state, t->model, err));
    caps_state_drop(&t->state);
    t->resumed_from_step = t->saved_step = t->state.step;
    t->seconds_before = t->state.seconds;
done:
    return status;
}

caps_status caps_trainer_init(caps_trainer *t, caps_runtime *rt, const caps_train_config *config,
    const caps_train_control *control, caps_error *err)
{
    caps_status status = CAPS_OK;
    json_t *record = NULL;
    caps_model_memory memory;
    float *first = NULL;
    *t = (caps_trainer){.rt = rt,
        .own = *config,
        .control = control,
        .began = caps_clock_seconds(),
        .log = {.fd = -1}};
    t->config = &t->own;
    if (!control->out || isnan(control->time_limit_seconds) || control->time_limit_seconds < 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: run directory is '%s' and time limit %g s, need a name and >= 0",
            control->out ? control->out : "", control->time_limit_seconds));
    CAPS_TRY(caps_config_check(config, err));
    CAPS_TRY(make_paths(t, err));
    CAPS_TRY(check_directory(t, err));
    if (control->resume)
        CAPS_TRY(caps_run_restore_choices(rt, control->out, err));
    CAPS_TRY(read_data(t, &first, err));
    const caps_model_options options = caps_config_model_options(config, t->train.n);
    CAPS_TRY(caps_model_forecast(rt, &config->spec, &options, &memory, err));
    tell_memory(t, &memory, options.max_batch);
    CAPS_TRY(caps_model_create(&t->model, rt, &config->spec, &options, err));
    t->own.micro_batch = caps_model_get_micro_batch(t->model);
    const bool capsules = strcmp(config->spec.kind, "capsnet") == 0;
    if (capsules)
        snprintf(t->own.routing, sizeof t->own.routing, "%s",
            caps_routing_algorithm_name(caps_model_get_routing(t->model)));
    snprintf(t->own.conv, sizeof t->own.conv, "%s", caps_model_get_conv(t->model));
    caps_trainer_note(
        t, "convolutions: %s%s%s", t->own.conv, capsules ? "; routing: " : "", t->own.routing);
    CAPS_TRY(control->resume ? old_state(t, err) : first_parameters(t, &first, err));
    CAPS_TRY(caps_config_describe(&record, t->config, rt, err));
    if (json_object_set_new(record, "data_images", caps_config_json_u64(t->train.n)) != 0 ||
        json_object_set_new(record, "data_hash", caps_config_json_u64(t->data_hash)) != 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings"));
    CAPS_TRY(caps_config_format(&t->config_text, record, 2, err));
done:
    free(first);
    json_decref(record);
    return status;
}

void caps_trainer_release(caps_trainer *t)
{
    if (t->batcher) /* the device may still read its last batches */
        (void)caps_runtime_finish(t->rt, NULL);
    caps_batcher_free(t->batcher);
    caps_metrics_close(&t->log);
    caps_state_drop(&t->state);
    caps_model_free(t->model);
    caps_dataset_release(&t->train);
    caps_dataset_release(&t->test);
    caps_dataset_release(&t->validation);
    free(t->config_text);
    free(t->state_path);
    free(t->config_path);
    free(t->metrics_path);
    free(t->model_path);
    memset(t, 0, sizeof *t);
}

/* ---- files ---------------------------------------------------------------------------------- */

bool caps_trainer_is_finished(const caps_trainer *t)
{
    const caps_state *s = &t->state;
    const double error = t->test.n > 0 ? s->test_error_percent : s->validation_error_percent;
    return s->step >= t->last_step && s->ended && !isnan(error);
}

static caps_status write_config(const caps_trainer *t, caps_error *err)
{
    char *text = caps_format("%s\n", t->config_text);
    if (!text)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", t->config_path);
    caps_status status = caps_file_write(t->config_path, text, strlen(text), err);
    free(text);
    return status;
}

static caps_status make_batcher(caps_trainer *t, caps_error *err)
{
    const caps_batcher_options options = {
        .batch = t->config->batch,
        .augment = t->config->augment,
        .shuffle = t->config->shuffle,
        .seed = t->config->seed,
        .first_epoch = t->state.step / t->steps_per_epoch,
        .first_batch = t->state.step % t->steps_per_epoch,
    };
    return caps_batcher_create(&t->batcher, &t->train, &options, err);
}

caps_status caps_trainer_open(caps_trainer *t, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_run_check_writable(t->control->out, err));
    CAPS_TRY(make_batcher(t, err));
    if (!t->control->resume) {
        /* The files of a new run are written while the device is at its first step. */
        CAPS_TRY(caps_trainer_step(t, err));
        t->ahead = true;
        if (t->control->overwrite)
            CAPS_TRY(caps_train_run_remove(t->control->out, err));
        /* The state first: from the moment on in which anything is there, there is a run to resume.
         */
        CAPS_TRY(caps_directory_make(t->control->out, err));
        CAPS_TRY(
            caps_state_save(&t->state, t->state_path, t->model, t->config, t->config_text, err));
        caps_state_drop(&t->state);
        CAPS_TRY(write_config(t, err));
    }
    /* An end that was logged without the evaluation which this run's new end needs is logged anew.
     */
    bool ended = t->state.ended && (t->state.step < t->last_step || caps_trainer_is_finished(t));
    t->state.ended = ended;
    CAPS_TRY(caps_metrics_open(&t->log, t->metrics_path, t->state.step, ended, err));
    if (t->control->resume)
        CAPS_TRY(write_config(t, err));
done:
    return status;
}
