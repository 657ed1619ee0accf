/* cmd_tune.c: measures the variants of every choice that a network needs, and keeps the best. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"
#include "json.h"
#include "progress.h"
#include "random_images.h"
#include "tune.h"

enum { MOST_ROUNDS = 25, LEAST_ROUNDS = 3 };
#define ROUND_SECONDS 2e-3 /* of one variant at least: the queue's latency is some 1e-5 */
#define HOPELESS      3    /* times the best: nothing that noise does */
#define BETTER        0.98 /* of the time of what is in force: less is noise */

typedef struct options {
    caps_common common;
    const char *arch;
    uint64_t batch;
    double seconds;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--arch", options, arch, "A",
        "the network to tune for: a JSON spec, or mnist (the paper's) or small\n(default: mnist)"),
    CAPS_ROW_COUNT("--batch", options, batch, 1, 1000000, "N",
        "images at once, for training; prediction of one image is tuned too\n(default: 100)"),
    CAPS_ROW_SECONDS("--time", options, seconds, "T",
        "measure for so long at most: 90, 90s, 5m (default: 60); what is left\n"
        "over then stays chosen by rule"),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* ---- signals -------------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

/* The first one ends the measuring, and what was measured is kept; the second ends the program. */
static void on_signal(int number)
{
    (void)number;
    if (stopped)
        _exit(CAPS_EXIT_INTERRUPTED);
    stopped = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {0};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the network's choices ------------------------------------------------------------------ */

static caps_status run_model(caps_model *model, const caps_images *images, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(caps_model_set_images(model, images, err));
    CAPS_TRY(caps_model_forward(model, images->labels ? CAPS_MASK_LABEL : CAPS_MASK_LONGEST, err));
    if (images->labels)
        CAPS_TRY(caps_model_backward(model, err));
done:
    return status;
}

/* Trains one step and predicts one image, so that every chooser notes what it is asked for. */
static caps_status gather(
    caps_runtime *rt, const caps_model_spec *spec, size_t batch, caps_error *err)
{
    const caps_model_options training = {.max_batch = batch, .training = true, .reconstruct = true};
    caps_model *model = NULL;
    caps_status status;
    caps_random_images noise = {0};
    CAPS_TRY(caps_random_images_init(&noise, spec, batch, err));
    CAPS_TRY(caps_cli_model_create(&model, rt, spec, &training, NULL, err));
    CAPS_TRY(caps_model_initialise(model, 1, err));
    CAPS_TRY(run_model(model, &noise.all, err));
    CAPS_TRY(run_model(model, &(caps_images){1, noise.images, NULL, NULL}, err));
    CAPS_TRY(caps_runtime_finish(rt, err));
done:
    caps_model_free(model);
    caps_random_images_release(&noise);
    return status;
}

/* ---- measuring one choice ------------------------------------------------------------------- */

typedef struct result {
    const caps_choice *choice;
    size_t count, best;
    const char *variants[CAPS_TUNE_VARIANTS];
    double seconds[CAPS_TUNE_VARIANTS]; /* medians; NaN: not measured */
} result;

typedef struct measuring {
    caps_runtime *rt;
    const caps_tune_kind *kind;
    void *state;
    double deadline; /* of this choice */
    double end;      /* of everything */
    double once[CAPS_TUNE_VARIANTS];
    double times[CAPS_TUNE_VARIANTS][MOST_ROUNDS];
    size_t rounds[CAPS_TUNE_VARIANTS], inner[CAPS_TUNE_VARIANTS];
} measuring;

static bool over(const measuring *m)
{
    return stopped || caps_clock_seconds() >= m->deadline;
}

static caps_status timed(
    measuring *m, const char *variant, size_t inner, double *seconds, caps_error *err)
{
    caps_status status = CAPS_OK;
    const double start = caps_clock_seconds();
    for (size_t i = 0; i < inner; i++)
        CAPS_TRY(m->kind->run(m->state, variant, err));
    CAPS_TRY(caps_runtime_finish(m->rt, err));
    *seconds = (caps_clock_seconds() - start) / (double)inner;
done:
    return status;
}

/* Kernels are built here, and their time is found roughly. */
static caps_status warm(measuring *m, const result *r, size_t v, caps_error *err)
{
    caps_status status;
    double once = 0;
    CAPS_TRY(timed(m, r->variants[v], 1, &once, err));
    CAPS_TRY(timed(m, r->variants[v], 1, &once, err));
    m->once[v] = once;
    m->inner[v] = once < ROUND_SECONDS ? (size_t)(ROUND_SECONDS / (once > 1e-6 ? once : 1e-6)) : 1;
done:
    return status;
}

static caps_status one_round(measuring *m, const result *r, size_t v, caps_error *err)
{
    return timed(m, r->variants[v], m->inner[v], &m->times[v][m->rounds[v]++], err);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool go_on(const measuring *m, size_t round)
{
    return !stopped && round < MOST_ROUNDS &&
           (round == 0 || !over(m) || (round < LEAST_ROUNDS && caps_clock_seconds() < m->end));
}

/* What is so much slower than the best needs no second look: its one run is its result. */
static void drop_hopeless(measuring *m, const result *r)
{
    double least = INFINITY;
    for (size_t v = 0; v < r->count; v++)
        if (m->inner[v] > 0 && m->once[v] < least)
            least = m->once[v];
    for (size_t v = 0; v < r->count; v++)
        if (m->inner[v] > 0 && m->once[v] > HOPELESS * least) {
            m->times[v][m->rounds[v]++] = m->once[v];
            m->inner[v] = 0;
        }
}

/* The variants in turns, or one after the other; medians into *r. What there was no time for stays
 * NaN. */
static caps_status measure(measuring *m, result *r, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (m->kind->builds) {
        const double end = m->deadline;
        for (size_t v = 0; v < r->count && !stopped; v++) {
            const double now = caps_clock_seconds();
            if (v > 0 && now >= end)
                break;
            m->deadline = now + (end - now) / (double)(r->count - v);
            CAPS_TRY(warm(m, r, v, err));
            for (size_t i = 0; go_on(m, i); i++)
                CAPS_TRY(one_round(m, r, v, err));
        }
    } else {
        for (size_t v = 0; v < r->count && !stopped; v++)
            CAPS_TRY(warm(m, r, v, err));
        drop_hopeless(m, r);
        for (size_t i = 0; go_on(m, i); i++)
            for (size_t v = 0; v < r->count; v++)
                if (m->inner[v] > 0)
                    CAPS_TRY(one_round(m, r, v, err));
    }
    for (size_t v = 0; v < r->count; v++) {
        const size_t n = m->rounds[v];
        qsort(m->times[v], n, sizeof(double), ascending);
        r->seconds[v] = n ? (m->times[v][(n - 1) / 2] + m->times[v][n / 2]) / 2 : (double)NAN;
    }
done:
    return status;
}

/* The fastest; what is in force stays unless another is clearly better. False: nothing to say. */
static bool choose_best(result *r)
{
    size_t measured = 0, current = r->count;
    for (size_t v = 0; v < r->count; v++) {
        if (isnan(r->seconds[v]))
            continue;
        if (measured++ == 0 || r->seconds[v] < r->seconds[r->best])
            r->best = v;
        if (strcmp(r->variants[v], r->choice->algorithm) == 0)
            current = v;
    }
    if (current < r->count && r->seconds[r->best] > BETTER * r->seconds[current])
        r->best = current;
    /* Where some were left out for want of time, the best of the others is better than a rule only
     * if what is in force was among them. */
    return measured == r->count || (measured > 1 && current < r->count);
}

/* ---- all of them ---------------------------------------------------------------------------- */

typedef struct tuning {
    caps_runtime *rt;
    const options *o;
    double deadline;
    size_t subjects, kept; /* choices */
    size_t total, done;    /* their weights */
    bool begun;            /* the table's head is out */
    bool unwritten;        /* the file could not be written: said once */
    json_t *rows;
} tuning;

static void print_result(tuning *t, const result *r)
{
    if (t->o->common.json) {
        json_t *all = json_array();
        for (size_t v = 0; v < r->count; v++)
            json_array_append_new(all, json_pack("{s:s, s:o}", "variant", r->variants[v], "seconds",
                                           caps_json_double(r->seconds[v])));
        json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:o}", "choice", r->choice->key, "variant",
            r->variants[r->best], "before", r->choice->algorithm, "seconds",
            caps_json_double(r->seconds[r->best]), "measured", all);
        if (t->rows && (!row || json_array_append_new(t->rows, row) != 0)) {
            json_decref(t->rows);
            t->rows = NULL;
        }
        return;
    }
    caps_progress_clear();
    if (!t->begun)
        printf("%-40s %-22s %12s\n", "choice", "variant", "median ms");
    t->begun = true;
    printf("%-40s %-22s %12.4f", r->choice->key, r->variants[r->best], 1e3 * r->seconds[r->best]);
    for (size_t v = 0; v < r->count; v++)
        if (v != r->best && !isnan(r->seconds[v]))
            printf("   %s %.4f", r->variants[v], 1e3 * r->seconds[v]);
    printf("\n");
    fflush(stdout);
}

/* Keeps what is known so far; a cache that cannot be written is worth one warning. */
static void save(tuning *t)
{
    caps_error err = {0};
    if (!t->unwritten && caps_tuning_save(t->rt, &err) != CAPS_OK) {
        caps_cli_warn("the choices are not kept, only shown: %s", err.message);
        t->unwritten = true;
    }
}

/* Building kernels takes its time. */
static size_t weight_of(const caps_tune_kind *kind)
{
    return kind->builds ? 8 : 1;
}

static caps_status tune_one(
    tuning *t, const caps_tune_kind *kind, const caps_choice *choice, caps_error *err)
{
    caps_status status = CAPS_OK;
    static measuring m;
    result r = {.choice = choice};
    m = (measuring){.rt = t->rt, .kind = kind};
    const double now = caps_clock_seconds();
    m.deadline = now + (t->deadline - now) * (double)weight_of(kind) / (double)(t->total - t->done);
    m.end = t->deadline;
    t->done += weight_of(kind);
    if (stopped || now >= t->deadline)
        return CAPS_OK;
    if (caps_progress_due()) {
        char bar[32];
        caps_progress_show(
            "tune %s %s", caps_progress_bar(bar, (double)t->done / (double)t->total), choice->key);
    }
    r.count = kind->variants(t->rt, choice, r.variants);
    if (r.count < 2) /* nothing to choose from */
        return CAPS_OK;
    CAPS_TRY(kind->open(&m.state, t->rt, choice, err));
    CAPS_TRY(measure(&m, &r, err));
    const bool chosen = choose_best(&r);
    if (kind->builds) /* what comes later is measured with it, or with what was in force */
        CAPS_TRY(kind->run(m.state, chosen ? r.variants[r.best] : choice->algorithm, err));
    if (!chosen)
        goto done;
    CAPS_TRY(caps_tuning_set(t->rt, choice->key, r.variants[r.best], 1e3 * r.seconds[r.best], err));
    t->kept++;
    print_result(t, &r);
    save(t);
done:
    if (m.state)
        kind->close(m.state);
    return status;
}

/* Of this kind, and free: what is requested is no choice. */
static bool is_of(const caps_choice *choice, const caps_tune_kind *kind)
{
    const size_t n = strlen(kind->kind);
    return !choice->requested && strncmp(choice->key, kind->kind, n) == 0 && choice->key[n] == ' ';
}

static caps_status tune_all(tuning *t, caps_error *err)
{
    caps_status status = CAPS_OK;
    const caps_choice *noted;
    const size_t n = caps_tuning_choices(t->rt, &noted);
    /* Measuring may make more notes, and move them: these are the network's. */
    caps_choice *choices = malloc((n + 1) * sizeof *choices);
    if (!choices)
        return caps_fail(err, CAPS_ERR_MEMORY, "tune: out of memory");
    if (n)
        memcpy(choices, noted, n * sizeof *choices);
    for (const caps_tune_kind *kind = caps_tune_kinds; kind->kind; kind++)
        for (size_t i = 0; i < n; i++)
            if (is_of(&choices[i], kind)) {
                t->total += weight_of(kind);
                t->subjects++;
            }
    for (const caps_tune_kind *kind = caps_tune_kinds; kind->kind; kind++)
        for (size_t i = 0; i < n; i++)
            if (is_of(&choices[i], kind))
                CAPS_TRY(tune_one(t, kind, &choices[i], err));
done:
    free(choices);
    return status;
}

static int run(const caps_command *command, int argc, char **argv)
{
    options o = {.arch = "mnist", .batch = 100, .seconds = 60};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_model_spec spec;
    tuning t = {.o = &o};
    CAPS_TRY(caps_model_spec_load(&spec, o.arch, &err));
    CAPS_TRY(caps_model_spec_check(&spec, NULL, &err));
    CAPS_TRY(caps_cli_open(&t.rt, &o.common, false, &err));
    if (o.common.json)
        t.rows = json_array();
    catch_signals();
    t.deadline = caps_clock_seconds() + o.seconds;
    caps_cli_log("running the network once, batch %llu ...", (unsigned long long)o.batch);
    CAPS_TRY(gather(t.rt, &spec, (size_t)o.batch, &err));
    caps_cli_show_warnings(t.rt);
    CAPS_TRY(tune_all(&t, &err));
    if (o.common.json) {
        json_t *rows = t.rows;
        t.rows = NULL;
        CAPS_TRY(caps_cli_print_json(rows, &err));
    }
    if (t.kept && !t.unwritten) {
        char *path = caps_tuning_path(t.rt);
        caps_cli_log("%zu of %zu choices measured and kept in %s", t.kept, t.subjects,
            path ? path : "the cache");
        free(path);
    } else {
        caps_cli_log("%zu of %zu choices measured", t.kept, t.subjects);
    }
    if (stopped)
        status = caps_fail(&err, CAPS_ERR_INTERRUPTED,
            "tune: stopped; the %zu choices that were measured are kept", t.kept);
done:
    json_decref(t.rows);
    caps_cli_show_warnings(t.rt);
    caps_runtime_free(t.rt);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_tune = {
    .name = "tune",
    .run = run,
    .summary = "measure which variants are the fastest on a device, and remember them",
    .usage = "capscl tune [--device S] [--arch A] [--batch N] [--time T] [--json]",
    .about =
        "Runs a network once, then measures every choice that it needs (the algorithm of each\n"
        "matrix product; on GPUs CLBlast's parameters) and keeps the fastest, for this device and\n"
        "driver, in the cache. Later runs use what was measured; what was not is chosen by rule.\n"
        "Measuring again replaces it. Prints the choices and the medians.\n",
    .flags = flags,
    .notes = "Timings of a busy machine say little: tune while nothing else runs.\n"
             "Exit code 130: stopped by Ctrl-C or SIGTERM; what was measured is kept.\n",
};
