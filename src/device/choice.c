/* choice.c: see choice.h. */
#include "choice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "json.h"
#include "runtime_state.h"

/* ---- the choice ----------------------------------------------------------------------------- */

size_t caps_algorithm_find(const caps_chooser *chooser, const char *name)
{
    for (size_t a = 0; a < chooser->count; a++) {
        const caps_algorithm *row = &chooser->algorithms[a];
        if (strcmp(row->name, name) == 0 || (row->older && strcmp(row->older, name) == 0))
            return a;
    }
    return CAPS_CHOICE_FREE;
}

static const char *choice_reason(
    const caps_chooser *chooser, const caps_runtime *rt, size_t algorithm, const void *problem)
{
    const char *reason =
        chooser->unsupported_reason ? chooser->unsupported_reason(rt, algorithm, problem) : NULL;
    return reason ? reason
                  : caps_trust_refusal(rt, chooser->name, chooser->algorithms[algorithm].name);
}

/* Its cost; INFINITY where it may not be taken without a request. */
static double choice_cost(
    const caps_chooser *chooser, const caps_runtime *rt, size_t algorithm, const void *problem)
{
    return choice_reason(chooser, rt, algorithm, problem) ? INFINITY
                                                          : chooser->cost(rt, algorithm, problem);
}

/* What is requested for the runtime, where a request is for all problems. */
static size_t choice_requested(const caps_chooser *chooser, const caps_runtime *rt)
{
    const char *name = rt && !chooser->by_layer ? caps_runtime_requested(rt, chooser->name) : NULL;
    return name ? caps_algorithm_find(chooser, name) : CAPS_CHOICE_FREE;
}

static size_t choice_measured(
    const caps_chooser *chooser, const caps_runtime *rt, const char *key, const void *problem)
{
    const char *name = rt ? caps_tuning_get(rt, key) : NULL;
    const size_t measured = name ? caps_algorithm_find(chooser, name) : CAPS_CHOICE_FREE;
    if (measured == CAPS_CHOICE_FREE || isinf(choice_cost(chooser, rt, measured, problem)))
        return CAPS_CHOICE_FREE;
    return measured;
}

/* The first of those of least cost. */
static size_t choice_cheapest(
    const caps_chooser *chooser, const caps_runtime *rt, const void *problem)
{
    size_t best = CAPS_CHOICE_FREE;
    double least = INFINITY;
    for (size_t a = 0; a < chooser->count; a++) {
        const double cost = choice_cost(chooser, rt, a, problem);
        if (cost < least) {
            least = cost;
            best = a;
        }
    }
    return best;
}

static caps_status choice_fail(const caps_chooser *chooser, const caps_runtime *rt,
    size_t algorithm, const void *problem, caps_error *err)
{
    char text[160] = "cannot serve";
    const char *reason = choice_reason(chooser, rt, algorithm, problem);
    if (chooser->describe)
        chooser->describe(text, sizeof text, problem);
    /* The device is at fault where the reason is what it computes. */
    const bool refused =
        caps_trust_refusal(rt, chooser->name, chooser->algorithms[algorithm].name) != NULL;
    return caps_fail(err, refused ? CAPS_ERR_OPENCL : CAPS_ERR_ARGUMENT, "%s %s: %s",
        chooser->algorithms[algorithm].name, text,
        reason ? reason : "it is taken only where it is requested");
}

caps_status caps_choose(size_t *algorithm, const caps_chooser *chooser, const caps_runtime *rt,
    const void *problem, size_t requested, bool record, caps_error *err)
{
    char key[CAPS_TUNING_KEY];
    size_t measured = CAPS_CHOICE_FREE;
    chooser->key(key, problem);
    if (requested == CAPS_CHOICE_FREE)
        requested = choice_requested(chooser, rt);
    do { /* until one is not refused at its first choice; what is not recorded does not run */
        *algorithm = requested;
        if (requested == CAPS_CHOICE_FREE)
            *algorithm = measured = choice_measured(chooser, rt, key, problem);
        if (*algorithm == CAPS_CHOICE_FREE)
            *algorithm = choice_cheapest(chooser, rt, problem);
    } while (record && *algorithm != CAPS_CHOICE_FREE &&
             caps_trust_admit(rt, chooser->name, chooser->algorithms[*algorithm].name) &&
             requested == CAPS_CHOICE_FREE);
    if (*algorithm == CAPS_CHOICE_FREE) {
        *algorithm = chooser->general;
        return choice_fail(chooser, rt, *algorithm, problem, err);
    }
    if (requested != CAPS_CHOICE_FREE && choice_reason(chooser, rt, requested, problem))
        return choice_fail(chooser, rt, requested, problem, err);
    if (rt && record)
        caps_choice_record(rt, key, chooser->algorithms[*algorithm].name,
            measured != CAPS_CHOICE_FREE, requested != CAPS_CHOICE_FREE, problem,
            chooser->problem_bytes);
    return CAPS_OK;
}

size_t caps_choice_candidates(const caps_chooser *chooser, const caps_runtime *rt,
    const void *problem, size_t algorithms[CAPS_ALGORITHMS])
{
    size_t n = 0;
    for (size_t a = 0; a < chooser->count; a++)
        if ((!chooser->tunable || chooser->tunable(rt, a, problem)) &&
            !isinf(choice_cost(chooser, rt, a, problem)) &&
            !caps_trust_admit(rt, chooser->name, chooser->algorithms[a].name))
            algorithms[n++] = a;
    return n;
}

/* ---- requests ------------------------------------------------------------------------------- */

const char *caps_runtime_requested(const caps_runtime *rt, const char *chooser)
{
    for (size_t i = 0; rt && caps_choosers[i]; i++)
        if (strcmp(caps_choosers[i]->name, chooser) == 0)
            return rt->choices.requested[i];
    return NULL;
}

static caps_status request_unknown(const caps_chooser *chooser, const char *name, caps_error *err)
{
    char text[256], names[256] = "auto";
    snprintf(text, sizeof text, chooser->unknown, name);
    for (size_t a = 0; a < chooser->count; a++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", a + 1 < chooser->count ? ", " : " or ",
            chooser->algorithms[a].name);
    }
    return caps_fail(err, CAPS_ERR_ARGUMENT, "%s, need %s", text, names);
}

/* Checks one name, and finds its row; NULL in *name: auto. */
static caps_status request_check(
    const char **name, const caps_chooser *chooser, const char *text, caps_error *err)
{
    *name = NULL;
    if (!*text || strcmp(text, "auto") == 0)
        return CAPS_OK;
    const size_t a = caps_algorithm_find(chooser, text);
    if (a == CAPS_CHOICE_FREE)
        return request_unknown(chooser, text, err);
    *name = chooser->algorithms[a].name;
    return CAPS_OK;
}

/* "conv1=direct,primary=auto": the layers' names are checked by those who know them. */
static caps_status request_check_layers(
    const caps_chooser *chooser, const char *text, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (const char *at = text; *at && status == CAPS_OK; at += *at == ',') {
        const size_t length = strcspn(at, ","), layer = strcspn(at, "=,");
        const char *name;
        if (layer < length) {
            char *one = caps_format("%.*s", (int)(length - layer - 1), at + layer + 1);
            if (!one)
                return caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
            status = request_check(&name, chooser, one, err);
            free(one);
        }
        at += length;
    }
    return status;
}

/* Stores a request; empty and "auto" are none. */
static caps_status request_set(
    char **to, const caps_chooser *chooser, const char *text, caps_error *err)
{
    const char *name = text;
    const bool layers = chooser->by_layer && strchr(text, '=');
    free(*to);
    *to = NULL;
    caps_status status = layers ? request_check_layers(chooser, text, err)
                                : request_check(&name, chooser, text, err);
    if (status != CAPS_OK || !name)
        return status;
    *to = caps_format("%s", name);
    return *to ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
}

/* One part "gemm=direct" of the option. */
static caps_status request_option(
    caps_choices *choices, bool *named, const char *part, caps_error *err)
{
    const size_t length = strcspn(part, "=");
    char names[128] = "";
    for (size_t i = 0; caps_choosers[i]; i++) {
        const char *name = caps_choosers[i]->name;
        if (part[length] == '=' && strlen(name) == length && strncmp(name, part, length) == 0) {
            named[i] = true;
            return request_set(&choices->requested[i], caps_choosers[i], part + length + 1, err);
        }
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s",
            i == 0                 ? ""
            : caps_choosers[i + 1] ? ", "
                                   : " or ",
            name);
    }
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "algorithms: \"%s\" is not CHOICE=ALGORITHM, need a choice of %s", part, names);
}

caps_status caps_choices_init(caps_choices *choices, const char *algorithms, caps_error *err)
{
    bool named[CAPS_CHOOSERS] = {false};
    caps_status status = CAPS_OK;
    *choices = (caps_choices){0};
    for (const char *at = algorithms ? algorithms : ""; *at; at += *at == ',') {
        const size_t length = strcspn(at, ",");
        char *part = caps_format("%.*s", (int)length, at);
        if (!part)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory"));
        status = request_option(choices, named, part, err);
        free(part);
        CAPS_TRY(status);
        at += length;
    }
    for (size_t i = 0; caps_choosers[i]; i++) {
        const char *text = named[i] ? NULL : getenv(caps_choosers[i]->variable);
        status = text ? request_set(&choices->requested[i], caps_choosers[i], text, err) : CAPS_OK;
        if (status != CAPS_OK) /* who set the variable long ago must learn where this comes from */
            CAPS_TRY(caps_fail_prefix(err, status, "%s", caps_choosers[i]->variable));
    }
done:
    return status;
}

void caps_choices_release(caps_choices *choices)
{
    for (size_t i = 0; i < CAPS_CHOOSERS; i++)
        free(choices->requested[i]);
    for (size_t i = 0; i < choices->count; i++)
        free(choices->list[i].problem);
    free(choices->list);
    *choices = (caps_choices){0};
}

/* ---- choices in force ----------------------------------------------------------------------- */

/* Records are part of an answer, not of the runtime: making one leaves a const runtime as it is. */
static caps_choices *choices_of(const caps_runtime *rt)
{
    return &((caps_runtime *)rt)->choices;
}

void caps_choice_record(const caps_runtime *rt, const char *key, const char *algorithm,
    bool measured, bool requested, const void *problem, size_t problem_bytes)
{
    caps_choices *all = choices_of(rt);
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->list[i].key, key) == 0 && strcmp(all->list[i].algorithm, algorithm) == 0)
            return;
    if (all->count == all->capacity) {
        const size_t capacity = all->capacity ? 2 * all->capacity : 32;
        caps_choice *grown = realloc(all->list, capacity * sizeof *grown);
        if (!grown)
            return;
        all->list = grown;
        all->capacity = capacity;
    }
    caps_choice *c = &all->list[all->count];
    *c = (caps_choice){
        .measured = measured, .requested = requested, .problem_bytes = problem ? problem_bytes : 0};
    snprintf(c->key, sizeof c->key, "%s", key);
    snprintf(c->algorithm, sizeof c->algorithm, "%s", algorithm);
    if (c->problem_bytes) {
        c->problem = malloc(c->problem_bytes);
        if (!c->problem)
            return;
        memcpy(c->problem, problem, c->problem_bytes);
    }
    all->count++;
}

bool caps_choice_is_recorded(
    const caps_chooser *chooser, const caps_runtime *rt, const void *problem)
{
    char key[CAPS_TUNING_KEY];
    chooser->key(key, problem);
    for (size_t i = 0; i < rt->choices.count; i++)
        if (strcmp(rt->choices.list[i].key, key) == 0)
            return true;
    return false;
}

size_t caps_tuning_choices(const caps_runtime *rt, const caps_choice **list)
{
    *list = rt->choices.list;
    return rt->choices.count;
}

size_t caps_choices_count(const caps_runtime *rt)
{
    return rt ? rt->choices.count : 0;
}

void caps_choices_truncate(const caps_runtime *rt, size_t count)
{
    caps_choices *all = rt ? choices_of(rt) : NULL;
    while (all && all->count > count)
        free(all->list[--all->count].problem);
}

char *caps_choices_format(const caps_runtime *rt)
{
    json_t *object = json_object();
    for (size_t i = 0; i < rt->choices.count; i++) {
        const caps_choice *c = &rt->choices.list[i];
        const char *before = json_string_value(json_object_get(object, c->key));
        char *all = caps_format("%s%s%s", before ? before : "", before ? "," : "", c->algorithm);
        caps_json_set(&object, c->key, all ? json_string(all) : NULL);
        free(all);
    }
    char *text = caps_json_format(object, 0, 6);
    json_decref(object);
    return text;
}
