/* trainer_setup.c: from settings to a run that can begin or go on. Nothing is trained here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "choice.h"
#include "class_weights.h"
#include "clock.h"
#include "config.h"
#include "exchange.h"
#include "fail.h"
#include "json.h"
#include "picture.h"
#include "shares.h"
#include "trainer.h"

#define DEVICE_TIMEOUT 600.0 /* seconds, of control.device_timeout_seconds */

static void report_memory(
    caps_trainer *t, const caps_model_memory *m, size_t batch, const char *device)
{
    const double mib = 1.0 / (1024 * 1024);
    const size_t count = (batch + m->micro_batch - 1) / m->micro_batch;
    char split[96] = "";
    if (count > 1)
        snprintf(split, sizeof split, "; batches go in %zu micro-batches of at most %zu images",
            count, m->micro_batch);
    caps_trainer_log(t,
        "memory: %.1f MiB on %s (parameters %.1f, gradients %.1f, moments %.1f, "
        "activations %.1f, workspace %.1f)%s",
        (double)m->total * mib, device, (double)m->parameters * mib, (double)m->gradients * mib,
        (double)m->moments * mib, (double)m->activations * mib, (double)m->workspace * mib, split);
}

/* What is worth saying of a checkpoint, and its parameters; those that it has not are as they were
 * drawn. */
static void take_init(caps_trainer *t, const caps_checkpoint *init, float *values)
{
    caps_trainer_note_lines(t, init->notes);
    for (size_t i = 0; i < caps_model_parameter_count(t->model); i++) {
        const caps_parameter *p = caps_model_parameter(t->model, i);
        if (!init->fresh || !init->fresh[i])
            memcpy(values + p->first, init->parameters + p->first, p->count * sizeof *values);
    }
}

/* *drawn: NULL, or parameters, which the state takes over. */
static caps_status first_parameters(caps_trainer *t, float **drawn, caps_error *err)
{
    caps_checkpoint read = {0};
    const caps_checkpoint *init = t->control->init;
    const size_t count = caps_model_flat_count(t->model);
    caps_status status = CAPS_OK;
    if (t->config.init[0] && !init) {
        CAPS_TRY(caps_checkpoint_load_fitting(&read, t->config.init, t->config.spec, err));
        init = &read;
    }
    if (init && init->count != count)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH, "%s: %zu parameters, need %zu", t->config.init,
            init->count, count));
    if (!*drawn && init->fresh) {
        CAPS_TRY(
            caps_model_draw(drawn, t->config.spec, t->config.initialiser, t->config.seed, err));
    } else if (!*drawn) {
        *drawn = malloc(count * sizeof **drawn);
        if (!*drawn)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the state"));
    }
    if (init)
        take_init(t, init, *drawn);
    CAPS_TRY(caps_model_begin(t->model, *drawn, err));
    float *taken = *drawn;
    *drawn = NULL;
    CAPS_TRY(caps_state_begin(&t->state, taken, count, &t->config, err));
    t->state.data_images = t->data.train.n;
    t->state.data_hash = t->data.hash;
    caps_state_forget_errors(&t->state);
    t->state.lr = t->config.lr;
    t->state.images_per_second = NAN;
done:
    caps_checkpoint_release(&read);
    return status;
}

static caps_status old_state(caps_trainer *t, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_state_load(&t->state, t->state_path, t->model, &t->config, err));
    if (t->state.data_images != t->data.train.n)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run has %llu training images, %s has %zu: need the same to go on",
            t->state_path, (unsigned long long)t->state.data_images, t->data.train.path,
            t->data.train.n));
    if (t->state.data_hash != t->data.hash)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: its run has other training images or labels than %s: need the same to go on",
            t->state_path, t->data.train.path));
    CAPS_TRY(caps_state_apply(&t->state, t->model, err));
    caps_state_drop(&t->state);
    t->resumed_from_step = t->saved_step = t->state.step;
    t->seconds_before = t->state.seconds;
done:
    return status;
}

/* The algorithms that the model runs become settings: a run that is resumed takes the same. */
static void keep_algorithms(caps_trainer *t)
{
    caps_train_config *config = &t->config;
    config->micro_batch = caps_model_get_micro_batch(t->model);
    snprintf(config->routing, sizeof config->routing, "%s", caps_model_get_routing(t->model));
    snprintf(config->conv, sizeof config->conv, "%s", caps_model_get_conv(t->model));
    caps_trainer_log(t, "convolutions: %s%s%s", config->conv,
        config->routing[0] ? "; routing: " : "", config->routing);
}

static json_t *weights_json(const caps_trainer *t)
{
    json_t *list = json_array();
    for (size_t c = 0; c < caps_model_spec_info(t->config.spec)->classes; c++)
        caps_json_append(&list, caps_json_double((double)t->class_weights[c]));
    return list;
}

/* The content of config.json. */
static caps_status format_config(caps_trainer *t, caps_error *err)
{
    caps_status status;
    json_t *record = NULL;
    CAPS_TRY(caps_config_describe(&record, &t->config, t->rt, err));
    if (json_object_set_new(record, "data_images", caps_config_json_u64(t->data.train.n)) != 0 ||
        json_object_set_new(record, "data_hash", caps_config_json_u64(t->data.hash)) != 0 ||
        json_object_set_new(record, "data_ground",
            json_string(caps_ground_name(caps_dataset_ground(&t->data.train)))) != 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings"));
    if (t->class_weights)
        caps_json_set(&record, "class_weight_values", weights_json(t));
    if (!record)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings"));
    CAPS_TRY(caps_config_format(&t->config_text, record, 2, err));
done:
    json_decref(record);
    return status;
}

/* Counts the training images by class, and weighs the classes as the settings request it. */
static caps_status weigh_classes(caps_trainer *t, caps_error *err)
{
    const size_t classes = caps_model_spec_info(t->config.spec)->classes;
    caps_status status;
    CAPS_TRY(caps_class_images_count(&t->class_images, &t->data.train, classes, err));
    CAPS_TRY(caps_class_weights_make(
        &t->class_weights, t->config.class_weights, t->class_images, classes, err));
    t->classes_uneven = caps_class_images_uneven(t->class_images, classes);
    t->evaluated = calloc(2 * classes, sizeof *t->evaluated);
    if (!t->evaluated)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu classes", classes));
    if (!t->class_weights)
        return CAPS_OK;
    float least = t->class_weights[0], most = least;
    for (size_t c = 0; c < classes; c++) {
        least = t->class_weights[c] < least ? t->class_weights[c] : least;
        most = t->class_weights[c] > most ? t->class_weights[c] : most;
    }
    caps_trainer_log(t, "class weights: %.4g to %.4g", (double)least, (double)most);
done:
    return status;
}

static caps_status make_batcher(caps_trainer *t, caps_error *err)
{
    t->pinned = (caps_pinned){.rt = t->rt};
    const caps_batch_memory pinned = {&t->pinned, caps_pinned_take, caps_pinned_give};
    const caps_batcher_options options = {
        .batch = t->config.batch,
        .augment = t->config.augment,
        .shuffle = t->config.shuffle,
        .seed = t->config.seed,
        .first_epoch = t->state.step / t->steps_per_epoch,
        .first_batch = t->state.step % t->steps_per_epoch,
        .part = t->ranks ? caps_team_part : NULL,
        .part_user = t->team,
        .memory = caps_pinned_helps(t->rt) ? pinned : (caps_batch_memory){0},
    };
    return caps_batcher_create(&t->batcher, &t->data.train, &options, err);
}

void caps_crew_list(char *text, size_t bytes, const caps_crew *crew)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; crew->n > 1 && i < crew->n && used < bytes; i++)
        used += (size_t)snprintf(
            text + used, bytes - used, "%s%s", i ? " " : "", caps_runtime_device(crew->rts[i])->id);
}

/* The devices become settings. A run that goes on in other shares has other micro-batches. */
static void keep_devices(caps_trainer *t, const caps_crew *crew)
{
    caps_train_config *config = &t->config;
    const uint64_t ranks = t->ranks ? (uint64_t)caps_ranks_count(t->ranks) : 0;
    char devices[sizeof config->devices];
    caps_crew_list(devices, sizeof devices, crew);
    if (config->ranks != ranks || (!t->ranks && strcmp(config->devices, devices) != 0))
        config->micro_batch = 0;
    if (!t->ranks)
        memcpy(config->devices, devices, sizeof devices);
    config->ranks = ranks;
    if (!t->control->resume)
        memcpy(config->conv_request, config->conv, sizeof config->conv_request);
}

/* What a member is to run: the first what the run's record says, the others what the user
 * requested. */
static caps_model_options member_options(const caps_trainer *t, size_t member)
{
    const caps_train_config *config = &t->config;
    caps_model_options o = caps_config_model_options(config, t->data.train.n);
    o.class_weights = t->class_weights;
    if (caps_trainer_before(t) + member == 0)
        return o;
    o.conv = config->conv_request[0] ? config->conv_request : NULL;
    o.routing_algorithm = CAPS_ROUTING_AUTO;
    o.micro_batch = 0;
    return o;
}

/* A device without images only takes the steps that the others compute. */
static void note_idle(caps_trainer *t, const uint32_t *weights)
{
    const size_t n = caps_trainer_members(t);
    const size_t batch = caps_config_model_options(&t->config, t->data.train.n).max_batch;
    for (size_t i = 0; t->leads && i < n; i++) {
        size_t first, count;
        caps_share_get(&first, &count, weights, n, i, batch);
        if (count == 0)
            caps_trainer_note(t,
                "split %s: device %zu of %zu gets none of the %zu images of a batch",
                t->config.split, i + 1, n, batch);
    }
}

/* Of several ranks a small network's gradients travel in several pieces too, so that most of them
 * are away before the last one is there. */
static size_t piece_of(const caps_trainer *t)
{
    const size_t least = 1 << 15, each = caps_model_spec_info(t->config.spec)->parameters / 8;
    if (!t->ranks || each > CAPS_PIECE)
        return 0;
    return each > least ? each : least;
}

/* Models on all devices, each for its share of a batch. */
static caps_status make_team(caps_trainer *t, const caps_crew *crew, caps_error *err)
{
    const double timeout = t->control->device_timeout_seconds;
    const size_t n = crew->n;
    uint32_t *weights = NULL;
    caps_model_options *options = calloc(n, sizeof *options);
    caps_status status;
    t->timeout = timeout > 0 ? timeout : DEVICE_TIMEOUT;
    t->slots = calloc(n, sizeof *t->slots);
    t->before = calloc(n, sizeof *t->before);
    t->epoch_before = calloc(n, sizeof *t->epoch_before);
    if (!options || !t->slots || !t->before || !t->epoch_before)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu devices", n));
    CAPS_TRY(caps_shares_read(&weights, t->config.split, caps_trainer_members(t), err));
    note_idle(t, weights);
    keep_devices(t, crew);
    for (size_t i = 0; i < n; i++) {
        caps_model_memory memory;
        char name[64] = "the device";
        if (n > 1)
            snprintf(name, sizeof name, "device %s", caps_runtime_device(crew->rts[i])->id);
        options[i] = member_options(t, i);
        options[i].max_batch = caps_share_most(
            weights, caps_trainer_members(t), caps_trainer_before(t) + i, options[i].max_batch);
        if (options[i].max_batch == 0) /* its share is less than half an image: it only updates */
            options[i].max_batch = 1;
        CAPS_TRY(caps_model_forecast(crew->rts[i], t->config.spec, &options[i], &memory, err));
        report_memory(t, &memory, options[i].max_batch, name);
        t->slots[i] = crew->slots[i];
        if (t->control->devices)
            t->before[i] = t->control->devices[crew->slots[i]];
    }
    const caps_team_options o = {.spec = t->config.spec,
        .models = options,
        .weights = weights,
        .optimizer = t->config.optimizer,
        .batch = caps_config_model_options(&t->config, t->data.train.n).max_batch,
        .timeout_seconds = t->timeout,
        .piece = piece_of(t),
        .ranks = t->ranks,
        .firsts = t->firsts,
        .reduce = t->config.reduce,
        .ema = t->config.ema};
    CAPS_TRY(caps_team_create(&t->team, crew->rts, n, &o, err));
    t->model = caps_team_model(t->team, 0);
done:
    free(options);
    free(weights);
    return status;
}

caps_status caps_trainer_init(caps_trainer *t, caps_crew *crew, const caps_train_config *config,
    const caps_train_control *control, caps_error *err)
{
    caps_status status = CAPS_OK;
    float *first = NULL;
    caps_runtime *rt = crew->rts[0];
    *t = (caps_trainer){.rt = rt,
        .config = {CAPS_OPTIONS(caps_train_config)},
        .control = control,
        .began = crew->began,
        .choices_before = caps_choices_count(rt),
        .data = crew->data,
        .ranks = crew->ranks,
        .leads = caps_ranks_rank(crew->ranks) == 0,
        .log = {.fd = -1}};
    crew->data = (caps_train_data){0};
    if (!control->out || isnan(control->time_limit_seconds) || control->time_limit_seconds < 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: run directory is '%s' and time limit %g s, need a name and >= 0",
            control->out ? control->out : "", control->time_limit_seconds));
    CAPS_TRY(caps_train_config_copy(&t->config, config, err));
    CAPS_TRY(caps_config_check(&t->config, err));
    CAPS_TRY(caps_trainer_make_paths(t, err));
    CAPS_TRY(caps_trainer_check_directory(t, err));
    if (control->resume)
        CAPS_TRY(caps_trainer_restore_choices(t, crew->rts, crew->n, err));
    CAPS_TRY(caps_trainer_read_data(t, &first, err));
    CAPS_TRY(caps_trainer_compare_data(t, err));
    CAPS_TRY(caps_trainer_count_members(t, crew->n, err));
    CAPS_TRY(weigh_classes(t, err));
    CAPS_TRY(make_team(t, crew, err));
    keep_algorithms(t);
    if (t->leads)
        CAPS_TRY(control->resume ? old_state(t, err) : first_parameters(t, &first, err));
    t->again = crew->again;
    if (t->again) {
        t->resumed_from_step = crew->resumed_from_step;
        t->seconds_before = crew->seconds_before;
    }
    CAPS_TRY(caps_trainer_share_state(t, err));
    CAPS_TRY(caps_team_begin(t->team, t->config.seed, t->state.step + 1, err));
    if (t->leads)
        CAPS_TRY(format_config(t, err));
    if (caps_trainer_is_finished(t))
        goto done;
    CAPS_TRY(make_batcher(t, err));
    CAPS_TRY(caps_watch_init(&t->watch, &t->config, &t->data.train, t->class_images,
        t->steps_per_epoch, t->last_step, err));
done:
    free(first);
    return status;
}

void caps_trainer_release(caps_trainer *t)
{
    const bool done = !t->team || !t->batcher || caps_team_finish(t->team);
    caps_batcher_stop(t->batcher);
    if (done) /* else a device may still read its last batches */
        caps_batcher_free(t->batcher);
    caps_metrics_close(&t->log);
    caps_state_drop(&t->state);
    caps_team_free(t->team);
    /* What its steps and evaluations chose goes with it: the next run of this process records its
     * own, as it would in a process of its own. */
    caps_choices_truncate(t->rt, t->choices_before);
    caps_train_data_release(&t->data);
    caps_watch_release(&t->watch);
    free(t->slots);
    free(t->firsts);
    free(t->before);
    free(t->epoch_before);
    free(t->epoch_devices);
    free(t->class_images);
    free(t->class_weights);
    free(t->evaluated);
    free(t->config_text);
    free(t->state_path);
    free(t->config_path);
    free(t->metrics_path);
    free(t->model_path);
    free(t->average_path);
    caps_train_config_release(&t->config);
    memset(t, 0, sizeof *t);
}

bool caps_trainer_is_finished(const caps_trainer *t)
{
    const caps_state *s = &t->state;
    const double error = t->data.test.n > 0 ? s->test_error_percent : s->validation_error_percent;
    const bool evaluates = t->data.test.n > 0 || t->data.validation.n > 0;
    return s->step >= t->last_step && s->ended && (!evaluates || !isnan(error));
}
