/* trainer_files.c: the files of a run directory as a run goes on. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "fail.h"
#include "file.h"
#include "parameter_file.h"
#include "trace.h"
#include "trainer.h"

caps_status caps_trainer_make_paths(caps_trainer *t, caps_error *err)
{
    const char *out = t->control->out;
    caps_status status;
    CAPS_TRY(caps_run_path(&t->state_path, out, CAPS_RUN_STATE, err));
    CAPS_TRY(caps_run_path(&t->config_path, out, CAPS_RUN_CONFIG, err));
    CAPS_TRY(caps_run_path(&t->metrics_path, out, CAPS_RUN_METRICS, err));
    CAPS_TRY(caps_run_path(&t->model_path, out, CAPS_RUN_MODEL, err));
    CAPS_TRY(caps_run_path(&t->average_path, out, CAPS_RUN_AVERAGE, err));
done:
    return status;
}

caps_status caps_trainer_check_directory(const caps_trainer *t, caps_error *err)
{
    const char *out = t->control->out;
    caps_status status;
    bool exists;
    caps_path_kind state = CAPS_PATH_NOTHING;
    if (!t->leads)
        return CAPS_OK;
    CAPS_TRY(caps_train_run_exists(out, &exists, err));
    if (exists && !t->control->resume && !t->control->overwrite)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_EXISTS, "%s: holds a run already, need resume or another place", out));
    if (t->control->resume)
        CAPS_TRY(caps_path_look(&state, t->state_path, CAPS_ERR_NOT_FOUND, err));
    if (t->control->resume && state == CAPS_PATH_NOTHING)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: does not exist, need it to resume the run",
            t->state_path));
    /* A finished run may lie where nothing can be written: one that goes on is checked later. */
    if (!t->control->resume)
        CAPS_TRY(caps_run_check_writable(out, err));
done:
    return status;
}

/* ---- opening -------------------------------------------------------------------------------- */

static caps_status write_config(const caps_trainer *t, caps_error *err)
{
    char *text = caps_format("%s\n", t->config_text);
    if (!text)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", t->config_path);
    caps_status status = caps_file_write_own(t->config_path, text, strlen(text), err);
    free(text);
    return status;
}

/* The first files of a new run, while the device is at its first step: what they hold is in host
 * memory. */
static caps_status write_first(caps_trainer *t, caps_error *err)
{
    caps_status status;
    if (t->control->overwrite)
        CAPS_TRY(caps_train_run_remove(t->control->out, err));
    /* The state first: from the moment on in which anything is there, there is a run to resume. */
    CAPS_TRY(caps_directory_make(t->control->out, err));
    CAPS_TRY(caps_state_save(&t->state, t->state_path, t->model, &t->config, t->config_text, err));
    caps_state_drop(&t->state);
    CAPS_TRY(write_config(t, err));
done:
    return status;
}

caps_status caps_trainer_open(caps_trainer *t, caps_error *err)
{
    caps_status status;
    if (!t->leads) {
        t->opened = true;
        return CAPS_OK;
    }
    CAPS_TRY(caps_run_check_writable(t->control->out, err));
    if (!t->control->resume)
        CAPS_TRY(write_first(t, err));
    /* An end that was logged without the evaluation which this run's new end needs is logged anew.
     */
    bool ended = t->state.ended && (t->state.step < t->last_step || caps_trainer_is_finished(t));
    t->state.ended = ended;
    CAPS_TRY(caps_metrics_open(&t->log, t->metrics_path, t->state.step, ended, err));
    if (t->control->resume)
        CAPS_TRY(write_config(t, err));
    t->opened = true;
done:
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

caps_status caps_trainer_append(
    caps_trainer *t, caps_metrics_type type, const caps_train_metrics *m, caps_error *err)
{
    caps_trace_begin(t->rt, "log");
    caps_status status = caps_metrics_append(&t->log, type, m, err);
    caps_trace_end(t->rt);
    return status;
}

/* What a save takes from the device. On the heap: a call that does not come back may yet. */
typedef struct caps_take {
    caps_state state;         /* a copy: its `values` are what is taken */
    const char *model_path;   /* NULL: the model's file is not written; */
    const char *average_path; /* likewise */
    caps_status status;       /* of what is no fault of the device */
    caps_error err;
} caps_take;

static bool is_of_device(caps_status status)
{
    return status == CAPS_ERR_OPENCL || status == CAPS_ERR_DEVICE_MEMORY;
}

static caps_status take_state(void *user, caps_model *model, caps_error *err)
{
    caps_take *take = user;
    take->status = caps_state_take(&take->state, model, &take->err);
    if (take->status == CAPS_OK && take->model_path)
        take->status = caps_model_save_own(model, take->model_path, &take->err);
    if (take->status == CAPS_OK && take->average_path)
        take->status = caps_model_save_average_own(model, take->average_path, &take->err);
    if (!is_of_device(take->status))
        return CAPS_OK;
    *err = take->err;
    return take->status;
}

/* Into t->state.values; writes the files of the model. */
static caps_status take_values(caps_trainer *t, bool model, caps_error *err)
{
    caps_status status;
    caps_take *take = malloc(sizeof *take);
    if (!take)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the state");
    caps_state_drop(&t->state);
    *take = (caps_take){.state = t->state,
        .model_path = model ? t->model_path : NULL,
        .average_path = model && t->config.ema > 0 ? t->average_path : NULL};
    CAPS_TRY(caps_team_call(t->team, caps_team_survivor(t->team), take_state, take, err));
    t->state.values = take->state.values;
    status = take->status;
    if (status == CAPS_ERR_NOT_FINITE)
        caps_trainer_not_finite(t, t->state.step, take->err.message, t->state.lr, err);
    else if (status != CAPS_OK && err)
        *err = take->err;
done:
    if (status == CAPS_OK || caps_team_lost(t->team) == caps_team_count(t->team))
        free(take);
    return status;
}

caps_status caps_trainer_save(caps_trainer *t, bool model, caps_error *err)
{
    const double began = caps_clock_seconds();
    caps_status status = caps_team_collect(t->team, err);
    if (status != CAPS_OK || !t->leads)
        return status;
    caps_trace_begin(t->rt, "save");
    CAPS_TRY(take_values(t, model, err));
    CAPS_TRY(caps_metrics_sync(&t->log, err));
    t->state.seconds = caps_trainer_metrics(t).total_seconds;
    CAPS_TRY(caps_state_save(&t->state, t->state_path, t->model, &t->config, t->config_text, err));
    CAPS_TRY(caps_state_give_back(&t->state, t->model, err));
    t->saved_step = t->state.step;
    t->saved = caps_clock_seconds();
    t->saving_seconds = t->saved - began;
    caps_trainer_report(t, CAPS_TRAIN_SAVED);
done:
    caps_state_give_back(&t->state, t->model, NULL);
    caps_trace_end(t->rt);
    return status;
}
