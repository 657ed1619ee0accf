/* trainer_data.c: reading the data of a run, in threads beside the one that builds kernels. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capscl/inspect.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "formats.h"
#include "layer.h"
#include "pairs.h"
#include "schedule.h"
#include "start.h"
#include "trainer.h"

/* Both splits, read in a thread of their own while this one builds kernels. */
typedef struct reader {
    caps_trainer *t;
    caps_status status;
    caps_error err;
    atomic_size_t done, total; /* pictures of the split that is read; total 0: nothing to count */
    atomic_bool over;
    char *notes; /* lines, each ended by '\n'; NULL: none */
} reader;

static void on_pictures(void *user, size_t done, size_t total)
{
    reader *r = user;
    atomic_store(&r->done, done);
    atomic_store(&r->total, total);
}

/* Kept until the thread is over: events are reported by the one that trains. One that does not fit
 * into memory is left out. */
static void on_note(void *user, const char *text)
{
    reader *r = user;
    char *line = caps_format("%s\n", text);
    const bool known = line && r->notes && strstr(r->notes, line); /* of another split */
    free(line);
    if (known)
        return;
    char *notes = caps_format("%s%s\n", r->notes ? r->notes : "", text);
    if (!notes)
        return;
    free(r->notes);
    r->notes = notes;
}

static caps_status read_split(
    reader *r, caps_dataset *ds, caps_split split, size_t limit, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(r->t->config.spec);
    const size_t *size = info->source[0] ? info->source : info->input;
    const caps_dataset_options options = {CAPS_OPTIONS(caps_dataset_options), .split = split,
        .limit = limit, .channels = size[0], .height = size[1], .width = size[2],
        .progress = on_pictures, .user = r, .note = on_note, .background = r->t->config.background,
        .invert = r->t->config.invert, .stretch = r->t->config.stretch,
        .viewpoints = r->t->config.viewpoints};
    return caps_dataset_open(ds, r->t->config.data, &options, err);
}

/* The caller's own images, and those that are held out of them. */
static caps_status copy_sets(reader *r)
{
    caps_trainer *t = r->t;
    const caps_train_control *c = t->control;
    const caps_train_config *config = &t->config;
    caps_status status;
    CAPS_TRY(caps_dataset_copy(&t->data.train, c->train, config->limit, &r->err));
    if (c->test)
        CAPS_TRY(caps_dataset_copy(&t->data.test, c->test, 0, &r->err));
    if (config->validation > 0)
        CAPS_TRY(caps_dataset_split_off(
            &t->data.train, config->validation, config->seed, &t->data.validation, &r->err));
done:
    return status;
}

/* Images to choose by: those of the data's own split, or held out of training. Without any, the
 * data must have a test split. */
static caps_status read_validation(reader *r)
{
    caps_trainer *t = r->t;
    const caps_train_config *config = &t->config;
    caps_status status;
    bool own, tested;
    CAPS_TRY(caps_dataset_has_split(&own, config->data, CAPS_SPLIT_VALIDATION, &r->err));
    if (own && config->validation > 0)
        CAPS_TRY(caps_fail(&r->err, CAPS_ERR_ARGUMENT,
            "%s: has a validation split of its own, which is used; need no --validation %zu",
            config->data, config->validation));
    CAPS_TRY(caps_dataset_has_split(&tested, config->data, CAPS_SPLIT_TEST, &r->err));
    if (tested || (!own && config->validation == 0))
        CAPS_TRY(read_split(r, &t->data.test, CAPS_SPLIT_TEST, 0, &r->err));
    if (own)
        CAPS_TRY(read_split(r, &t->data.validation, CAPS_SPLIT_VALIDATION, 0, &r->err));
    else if (config->validation > 0)
        CAPS_TRY(caps_dataset_split_off(
            &t->data.train, config->validation, config->seed, &t->data.validation, &r->err));
done:
    return status;
}

static void *read_splits(void *context)
{
    reader *r = context;
    caps_trainer *t = r->t;
    const caps_train_config *config = &t->config;
    caps_status status;
    if (t->control->train) {
        CAPS_TRY(copy_sets(r));
    } else {
        CAPS_TRY(read_split(r, &t->data.train, CAPS_SPLIT_TRAIN, config->limit, &r->err));
        CAPS_TRY(read_validation(r));
    }
    t->data.train.augment = config->augment_options;
    caps_dataset *sets[] = {&t->data.train, &t->data.test, &t->data.validation};
    for (size_t i = 0; i < 3; i++) {
        size_t size[3];
        if (sets[i]->n == 0)
            continue;
        CAPS_TRY(caps_data_fit(sets[i], config->spec, &r->err));
        CAPS_TRY(caps_dataset_view_size(
            sets[i], i == 0 ? config->augment : CAPS_AUGMENT_NONE, size, &r->err));
    }
    t->data.hash = caps_dataset_hash(&t->data.train);
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

static void *draw_first(void *context)
{
    drawer *d = context;
    d->status = caps_model_draw(
        &d->first, d->config->spec, d->config->initialiser, d->config->seed, &d->err);
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

static void report_data(caps_trainer *t)
{
    const caps_dataset *sets[] = {&t->data.train, &t->data.test, &t->data.validation};
    static const char *const names[] = {"training", "test", "validation"};
    for (size_t i = 0; i < 3; i++)
        if (sets[i]->n > 0)
            caps_trainer_log(t, "data: %s, %zu %s %s of %zux%zux%zu%s", sets[i]->path, sets[i]->n,
                names[i], sets[i]->labels_per_image > 1 ? "pairs" : "images", sets[i]->channels,
                sets[i]->height, sets[i]->width,
                i < 2                                            ? ""
                : t->config.validation > 0 && t->data.test.n > 0 ? " (held out of training)"
                : t->config.validation > 0 ? " (held out of training; there is no test split)"
                : t->data.test.n > 0       ? ""
                                           : " (there is no test split)");
}

/* A built-in network with another number of classes than it is known for. */
static void report_classes(caps_trainer *t)
{
    const char *arch = t->config.arch;
    const size_t classes = caps_model_spec_info(t->config.spec)->classes;
    caps_model_spec *own = NULL;
    if (!caps_model_spec_is_builtin(arch) || caps_model_spec_load(&own, arch, NULL) != CAPS_OK)
        return;
    const size_t usual = caps_model_spec_info(own)->classes;
    if (classes != usual)
        caps_trainer_log(
            t, "network: %zu classes, as the data has (%s by itself: %zu)", classes, arch, usual);
    caps_model_spec_free(own);
}

/* Labels without names may be some of those that the checkpoint's network knows: it keeps all its
 * classes, and the user may have meant something else. */
static void report_init_classes(caps_trainer *t)
{
    const caps_train_config *config = &t->config;
    const size_t classes = caps_model_spec_info(config->spec)->classes;
    if (!t->control->resume && config->init[0] && strcmp(config->arch, config->init) == 0 &&
        config->limit == 0 && t->data.train.classes < classes)
        caps_trainer_note(t,
            "the network of %s has %zu classes, the data %zu: their labels are taken as the first "
            "of its classes (--arch begins with as many classes as the data have)",
            config->init, classes, t->data.train.classes);
}

/* A decoder's output is 0..1. */
static void report_standardised(caps_trainer *t)
{
    if (t->data.train.standardised && caps_model_spec_info(t->config.spec)->has_decoder)
        caps_trainer_note(t,
            "%s: its images are standardised, beyond the 0 to 1 that a decoder gives: --no-decoder",
            t->data.train.path);
}

/* Networks of more parameters are drawn when the data were read and fit: they take memory, and
 * cost more than a wrong spec should. */
#define DRAWN_EARLY 16000000

/* What follows from the number of training images. */
static caps_status count_steps(caps_trainer *t, caps_error *err)
{
    const caps_train_config *config = &t->config;
    t->steps_per_epoch = caps_schedule_steps_per_epoch(t->data.train.n, config->batch);
    t->last_step = caps_schedule_last_step(config, t->steps_per_epoch);
    return caps_schedule_check(config, t->steps_per_epoch, err);
}

void caps_train_data_release(caps_train_data *data)
{
    caps_dataset_release(&data->train);
    caps_dataset_release(&data->test);
    caps_dataset_release(&data->validation);
}

/* The data is there: the run goes on in this process. */
static caps_status begin_again(caps_trainer *t, float **first, caps_error *err)
{
    const caps_train_config *config = &t->config;
    caps_status status;
    CAPS_TRY(caps_runtime_build(t->rt, err));
    CAPS_TRY(count_steps(t, err));
    if (!t->control->resume && !config->init[0]) /* its first step failed */
        CAPS_TRY(caps_model_draw(first, config->spec, config->initialiser, config->seed, err));
done:
    return status;
}

/* What is wrong with the data is reported first. */
caps_status caps_trainer_read_data(caps_trainer *t, float **first, caps_error *err)
{
    const caps_train_config *config = &t->config;
    if (t->data.train.n > 0)
        return begin_again(t, first, err);
    reader r = {.t = t};
    drawer d = {.config = config};
    pthread_t reading, drawing;
    const bool reads = begin_thread(&reading, read_splits, &r);
    const bool draws = t->leads && !t->control->resume && !config->init[0];
    const bool early = draws && caps_model_spec_info(config->spec)->parameters <= DRAWN_EARLY;
    const bool beside = early && begin_thread(&drawing, draw_first, &d);
    caps_status status = caps_runtime_build(t->rt, err);
    if (reads) {
        watch_reader(t, &r);
        pthread_join(reading, NULL);
    }
    if (beside)
        pthread_join(drawing, NULL);
    if (draws && !early && r.status == CAPS_OK && status == CAPS_OK)
        draw_first(&d);
    *first = d.first;
    if (status == CAPS_OK && d.status != CAPS_OK) {
        status = d.status;
        if (err)
            *err = d.err;
    }
    if (r.status != CAPS_OK) {
        if (err)
            *err = r.err;
        CAPS_TRY(r.status);
    }
    CAPS_TRY(status);
    CAPS_TRY(count_steps(t, err));
    report_data(t);
    report_classes(t);
    report_init_classes(t);
    report_standardised(t);
    caps_trainer_note_lines(t, r.notes);
done:
    free(r.notes);
    return status;
}
