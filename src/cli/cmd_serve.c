/* cmd_serve.c: the explorer in the browser. */
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli_inspect.h"
#include "fail.h"
#include "places.h"
#include "progress.h"
#include "serve.h"

/* Images at a time of what goes in batches, between which predictions are made: few, so that these
 * need not wait long. */
enum { BATCH = 8, MOST_MODELS = 16 };

typedef struct options {
    caps_common common;
    caps_texts models;
    const char *data, *address;
    uint64_t port;
    caps_picture_flags pictures;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXTS("--model", options, models, "FILE",
        "a checkpoint, or a run directory for the one in it (required); several are\n"
        "shown beside each other"),
    CAPS_ROW_ARCH(options),
    CAPS_ROW_TEXT("--data", options, data, "D",
        "a data set (docs/data.md) to step through: a directory, a name looked for in\n"
        "$CAPSCL_DATA, $XDG_DATA_HOME/capscl and /usr/share/datasets, or multi:D"),
    CAPS_ROW_TEXT("--address", options, address, "A",
        "where to listen, in numbers (default: 127.0.0.1, this machine alone); with any\n"
        "other address everybody who reaches this machine can use it"),
    CAPS_ROW_COUNT("--port", options, port, 0, 65535, "N",
        "the port; 0: a free one, which is printed (default: 8080)"),
    CAPS_ROWS_PICTURES(options),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* What is served. */
typedef struct serving {
    caps_runtime *rt;
    caps_model *models[MOST_MODELS];
    size_t count;
    caps_dataset test, train;
    bool has_test, has_train;
    caps_server *server;
} serving;

/* ---- signals -------------------------------------------------------------------------------- */

static sem_t ended;

/* The first one ends the server, the second one the program (SA_RESETHAND). */
static void serve_on_signal(int number)
{
    (void)number;
    sem_post(&ended);
}

static void serve_catch_signals(void)
{
    struct sigaction action = {0};
    action.sa_handler = serve_on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    sem_init(&ended, 0, 0);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void serve_until_signal(caps_server *server)
{
    struct timespec until;
    do {
        caps_server_tend(server);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
    } while (sem_timedwait(&ended, &until) != 0 && (errno == ETIMEDOUT || errno == EINTR));
}

/* ---- what is served ------------------------------------------------------------------------- */

static caps_status serve_check_usage(const options *o, bool *loopback, caps_error *err)
{
    if (o->models.count == 0)
        return caps_cli_usage(err, "serve: --model is missing, need a checkpoint (--model FILE)");
    if (o->models.count > MOST_MODELS)
        return caps_cli_usage(
            err, "serve: %zu models, need at most %d", o->models.count, MOST_MODELS);
    const caps_status status = caps_cli_check_pictures(&o->pictures, err);
    return status == CAPS_OK ? caps_serve_check_address(loopback, o->address, err) : status;
}

static caps_status open_models(serving *s, const options *o, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < o->models.count; i++) {
        caps_model_options made = {
            CAPS_OPTIONS(caps_model_options), .reconstruct = true, .conv = o->common.conv};
        CAPS_TRY(caps_cli_model_open(
            &s->models[i], s->rt, o->models.values[i], o->common.arch, &made, 0, BATCH, err));
        s->count++;
    }
done:
    return status;
}

/* One of the two splits, where the data have it. */
static caps_status open_split(caps_dataset *ds, bool *has, caps_subset subset, serving *s,
    const options *o, const caps_subset_pictures *pictures, caps_error *err)
{
    const caps_split split = subset == CAPS_SUBSET_TEST ? CAPS_SPLIT_TEST : CAPS_SPLIT_TRAIN;
    const caps_model_spec *spec = caps_model_get_spec(s->models[0]);
    char *place = NULL;
    caps_status status;
    CAPS_TRY(caps_dataset_find(&place, o->data, err));
    CAPS_TRY(caps_dataset_has_split(has, place, split, err));
    if (*has) {
        status = caps_cli_data_open(
            ds, o->data, (int)subset, o->models.values[0], 0, pictures, spec, err);
        *has = status == CAPS_OK;
    }
done:
    free(place);
    return status;
}

static caps_status open_data(serving *s, const options *o, const caps_args *args, caps_error *err)
{
    const char *model = o->models.values[0];
    caps_subset_pictures pictures;
    caps_status status;
    if (!o->data)
        return CAPS_OK;
    caps_cli_choose_pictures(
        &pictures, &o->pictures, args, model, o->data, caps_model_get_spec(s->models[0]));
    CAPS_TRY(open_split(&s->test, &s->has_test, CAPS_SUBSET_TEST, s, o, &pictures, err));
    CAPS_TRY(open_split(&s->train, &s->has_train, CAPS_SUBSET_TRAIN, s, o, &pictures, err));
done:
    caps_progress_clear();
    return status;
}

static caps_status serve_start(serving *s, const options *o, caps_error *err)
{
    const caps_serve_options served = {.address = o->address,
        .port = (unsigned)o->port,
        .models = s->models,
        .files = o->models.values,
        .count = s->count,
        .test = s->has_test ? &s->test : NULL,
        .train = s->has_train ? &s->train : NULL,
        .data_name = o->data,
        .conv = o->common.conv};
    return caps_server_create(&s->server, &served, err);
}

static caps_status serve_print_url(const serving *s, bool as_json, caps_error *err)
{
    const char *url = caps_server_url(s->server);
    if (as_json)
        return caps_cli_print_json(json_pack("{s:s}", "listening", url), err);
    printf("listening on %s\n", url);
    return CAPS_OK;
}

static int serve_run(const caps_command *command, int argc, char **argv)
{
    options o = {.address = "127.0.0.1", .port = 8080};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    serving s = {0};
    bool loopback = true;

    CAPS_TRY(serve_check_usage(&o, &loopback, &err));
    CAPS_TRY(caps_server_check(&err));
    CAPS_TRY(caps_place_models(&args, &o.models, &err));
    CAPS_TRY(caps_cli_open(&s.rt, &o.common, false, &err));
    CAPS_TRY(open_models(&s, &o, &err));
    CAPS_TRY(open_data(&s, &o, &args, &err));
    CAPS_TRY(serve_start(&s, &o, &err));
    caps_cli_show_warnings(s.rt);
    if (!loopback)
        caps_cli_warn("--address %s: everybody who reaches this machine can use the server, which "
                      "has no password",
            o.address);
    serve_catch_signals();
    CAPS_TRY(serve_print_url(&s, o.common.json, &err));
    if (fflush(stdout) == 0)
        serve_until_signal(s.server);
done:
    caps_server_free(s.server);
    caps_dataset_release(&s.test);
    caps_dataset_release(&s.train);
    for (size_t i = 0; i < s.count; i++)
        caps_model_free(s.models[i]);
    caps_runtime_free(s.rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_serve = {
    .name = "serve",
    .run = serve_run,
    .summary = "look into networks in the browser: draw, turn, take apart",
    .usage = "capscl serve --model FILE [--model FILE...] [--data D] [--port N] [flags]",
    .about = "Serves a page, and an interface in JSON (docs/serve.md), until Ctrl-C. What is drawn "
             "there\n"
             "is computed here, on the device. Prints one line once it is ready:\n"
             "  listening on http://127.0.0.1:8080/\n"
             "or, with --json, {\"listening\": \"http://127.0.0.1:8080/\"}.\n",
    .flags = flags,
    .notes = "exit codes: 0 ended by Ctrl-C or SIGTERM, 1 the port is taken, 2 wrong usage, 3 a "
             "bad model\n"
             "or data set, 4 device.\n"
             "\n"
             "examples:\n"
             "  capscl serve --model run1 --data mnist\n"
             "  capscl serve --model capsules/model.safetensors --model cnn/model.safetensors \\\n"
             "      --data mnist --port 0\n",
};
