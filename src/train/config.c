/* config.c: see config.h. */
#include "config.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/capscl.h>

#include "fail.h"
#include "json.h"
#include "loss.h"
#include "tuning.h"

static const char *const optimizers[] = {"adam", "sgd", NULL};
static const char *const initialisers[] = {"scaled", "authors", NULL};
static const char *const routings[] = {"", "stored", "fused", NULL}; /* by caps_routing_algorithm */

caps_train_config caps_train_config_default(void)
{
    caps_train_config config = {
        .arch = "mnist",
        .optimizer = CAPS_OPTIMIZER_ADAM,
        .seed = 1,
        .augment = CAPS_AUGMENT_SHIFT2,
        .shuffle = true,
        .eval_every = 1,
    };
    /* A built-in spec: nothing of it can be missing. */
    (void)caps_model_spec_load(&config.spec, "mnist", NULL);
    caps_profile_apply(&config, caps_profile_at(0), true);
    return config;
}

caps_routing_algorithm caps_config_routing(const caps_train_config *config)
{
    for (int i = CAPS_ROUTING_STORED; routings[i]; i++)
        if (strcmp(config->routing, routings[i]) == 0)
            return (caps_routing_algorithm)i;
    return CAPS_ROUTING_AUTO;
}

caps_model_options caps_config_model_options(const caps_train_config *config, size_t images)
{
    return (caps_model_options){
        .max_batch = config->batch < images ? config->batch : images,
        .training = true,
        .adam = config->optimizer == CAPS_OPTIMIZER_ADAM,
        .memory_limit_bytes = config->memory_limit_bytes,
        .split = true,
        .micro_batch = config->micro_batch,
        .conv = config->conv[0] ? config->conv : NULL,
        .rate_factors = config->rate_factors[0] ? config->rate_factors : NULL,
        .routing_algorithm = caps_config_routing(config),
        .loss = &config->loss,
    };
}

/* ---- checks --------------------------------------------------------------------------------- */

caps_status caps_config_check(const caps_train_config *config, caps_error *err)
{
    if (config->epochs == 0 && config->max_steps == 0)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "train: epochs and max_steps are both 0, need an end");
    if (config->batch == 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: batch is 0, need >= 1");
    if (config->micro_batch > config->batch)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: micro_batch is %zu, need <= %zu, the batch", config->micro_batch,
            config->batch);
    if (!(config->rate > 0) || config->rate > (double)FLT_MAX)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: learning rate is %g, need > 0 and <= %g",
            config->rate, (double)FLT_MAX);
    if (!(config->rate_decay > 0) || config->rate_decay > 1)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: decay of the learning rate is %g, need > 0 and <= 1", config->rate_decay);
    if (config->optimizer != CAPS_OPTIMIZER_ADAM && config->optimizer != CAPS_OPTIMIZER_SGD)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: optimizer is %d, need 0 (adam) or 1 (sgd)",
            (int)config->optimizer);
    if (!caps_augment_name((int)config->augment))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "train: augment is %d, which there is not",
            (int)config->augment);
    if (config->routing[0] && caps_config_routing(config) == CAPS_ROUTING_AUTO)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: routing is '%s', need stored or fused, or none", config->routing);
    if (!caps_profile_find(config->profile))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: profile is '%s', need paper, authors or keras", config->profile);
    if (!(config->rate_min >= 0) || config->rate_min > config->rate)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: least learning rate is %g, need 0 to the first one, %g", config->rate_min,
            config->rate);
    if (config->initialiser != CAPS_INITIALISER_SCALED &&
        config->initialiser != CAPS_INITIALISER_AUTHORS)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "train: initialiser is %d, need 0 (scaled) or 1 (authors)", (int)config->initialiser);
    const struct {
        const char *name;
        double value, least;
    } terms[] = {{"margin m+", (double)config->loss.margin.positive, 0},
        {"margin m-", (double)config->loss.margin.negative, 0},
        {"weight of absent classes", (double)config->loss.margin.down, 0},
        {"scale of the margin loss", config->loss.margin_scale, 0},
        {"weight of the reconstruction", config->loss.reconstruction_weight, 0}};
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
        if (!(terms[i].value >= terms[i].least) || terms[i].value > (double)FLT_MAX)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "train: %s is %g, need 0 or more",
                terms[i].name, terms[i].value);
    return caps_model_spec_check(&config->spec, NULL, err);
}

/* ---- to JSON -------------------------------------------------------------------------------- */

static caps_status out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings");
}

json_t *caps_config_json_u64(uint64_t x)
{
    if (x <= INT64_MAX)
        return json_integer((json_int_t)x);
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, x);
    return json_string(text);
}

bool caps_config_get_u64(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return !*end && errno == 0;
}

static caps_status set_text(json_t *object, const char *key, const char *text, caps_error *err)
{
    json_t *value = json_string(text);
    if (!value)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "train: %s '%s' is not UTF-8, need a name that is", key, text);
    return json_object_set_new(object, key, value) == 0 ? CAPS_OK : out_of_memory(err);
}

caps_status caps_config_to_json(json_t **out, const caps_train_config *config, caps_error *err)
{
    caps_status status = CAPS_OK;
    json_t *object = json_object(), *spec = NULL;
    char *spec_text = caps_model_spec_format(&config->spec);
    *out = NULL;
    if (!object || !spec_text)
        CAPS_TRY(out_of_memory(err));
    CAPS_TRY(
        caps_json_parse(&spec, spec_text, strlen(spec_text), "model spec", CAPS_ERR_INTERNAL, err));
    if (config->spec.has_class_names) {
        json_t *names = json_array();
        for (size_t j = 0; j < config->spec.classes; j++)
            json_array_append_new(names, json_string(config->spec.class_names[j]));
        if (json_object_set_new(object, "class_names", names) != 0)
            CAPS_TRY(out_of_memory(err));
    }
    CAPS_TRY(set_text(object, "arch", config->arch, err));
    CAPS_TRY(set_text(object, "data", config->data, err));
    CAPS_TRY(set_text(object, "profile", config->profile, err));
    CAPS_TRY(set_text(object, "conv", config->conv, err));
    CAPS_TRY(set_text(object, "routing", config->routing, err));
    CAPS_TRY(set_text(object, "init", config->init, err));
    CAPS_TRY(set_text(object, "rate_factors", config->rate_factors, err));
    json_t *const values[] = {caps_config_json_u64(config->epochs),
        caps_config_json_u64(config->max_steps), caps_config_json_u64(config->batch),
        json_string(optimizers[config->optimizer]), caps_json_double(config->rate),
        caps_json_double(config->rate_decay), caps_config_json_u64(config->seed),
        json_string(caps_augment_name((int)config->augment)), json_boolean(config->shuffle),
        caps_config_json_u64(config->limit), caps_config_json_u64(config->eval_every),
        caps_config_json_u64(config->save_every), caps_config_json_u64(config->memory_limit_bytes),
        caps_config_json_u64(config->micro_batch), json_incref(spec),
        caps_config_json_u64(config->rate_decay_steps), json_boolean(config->rate_staircase),
        caps_config_json_u64(config->rate_linear_epochs), caps_json_double(config->rate_min),
        json_string(initialisers[config->initialiser]), caps_config_json_u64(config->validation),
        caps_loss_to_json(&config->loss)};
    static const char *const keys[] = {"epochs", "max_steps", "batch", "optimizer", "rate",
        "rate_decay", "seed", "augment", "shuffle", "limit", "eval_every", "save_every",
        "memory_limit_bytes", "micro_batch", "spec", "rate_decay_steps", "rate_staircase",
        "rate_linear_epochs", "rate_min", "initialiser", "validation", "loss"};
    bool stored = true;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        stored = json_object_set_new(object, keys[i], values[i]) == 0 && stored;
    if (!stored)
        CAPS_TRY(out_of_memory(err));
    *out = json_incref(object);
done:
    free(spec_text);
    json_decref(spec);
    json_decref(object);
    return status;
}

caps_status caps_config_format(char **text, const json_t *object, size_t indent, caps_error *err)
{
    static const int digits[] = {6, 15, 17};
    *text = NULL;
    for (size_t i = 0; i < sizeof digits / sizeof digits[0]; i++) {
        free(*text);
        *text = caps_json_format(object, indent, digits[i]);
        if (!*text)
            return out_of_memory(err);
        json_t *again = json_loads(*text, JSON_DECODE_ANY, NULL);
        bool same = json_equal(again, object);
        json_decref(again);
        if (same)
            break;
    }
    return CAPS_OK;
}

/* ---- from JSON ------------------------------------------------------------------------------ */

/* The settings are read through tables: where each one is kept, and what it may be. */
static const struct {
    const char *key;
    size_t offset, bytes;
    bool later; /* runs from before there was such a setting have none */
} texts[] = {
    {"arch", offsetof(caps_train_config, arch), sizeof((caps_train_config *)0)->arch, false},
    {"data", offsetof(caps_train_config, data), sizeof((caps_train_config *)0)->data, false},
    {"profile", offsetof(caps_train_config, profile), sizeof((caps_train_config *)0)->profile,
        false},
    {"init", offsetof(caps_train_config, init), sizeof((caps_train_config *)0)->init, false},
    {"conv", offsetof(caps_train_config, conv), sizeof((caps_train_config *)0)->conv, true},
    {"rate_factors", offsetof(caps_train_config, rate_factors),
        sizeof((caps_train_config *)0)->rate_factors, true},
};

static caps_status bad_field(caps_error *err, const char *where, const char *key, const char *need)
{
    return caps_fail(err, CAPS_ERR_FORMAT,
        "%s: %s is missing or not %s, need the settings of a run", where, key, need);
}

static int choice(const json_t *object, const char *key, const char *const *names)
{
    const char *text = json_string_value(json_object_get(object, key));
    for (int i = 0; text && names[i]; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

static int choice_of_augment(const json_t *object)
{
    const char *text = json_string_value(json_object_get(object, "augment"));
    for (int i = 0; text && caps_augment_name(i); i++)
        if (strcmp(text, caps_augment_name(i)) == 0)
            return i;
    return -1;
}

/* What came with the profiles; runs from before have the paper's. */
static caps_status read_terms(
    caps_train_config *c, const json_t *object, const char *where, caps_error *err)
{
    const json_t *loss = json_object_get(object, "loss");
    const json_t *staircase = json_object_get(object, "rate_staircase");
    double positive, negative, down;
    caps_status status = CAPS_OK;
    c->loss = CAPS_LOSS_DEFAULT;
    positive = (double)c->loss.margin.positive;
    negative = (double)c->loss.margin.negative;
    down = (double)c->loss.margin.down;
    const struct {
        const json_t *from;
        const char *key;
        double *to;
    } reals[] = {{object, "rate_min", &c->rate_min}, {loss, "margin_positive", &positive},
        {loss, "margin_negative", &negative}, {loss, "margin_down", &down},
        {loss, "margin_scale", &c->loss.margin_scale},
        {loss, "reconstruction_weight", &c->loss.reconstruction_weight}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        const json_t *value = json_object_get(reals[i].from, reals[i].key);
        if (value && !json_is_number(value))
            CAPS_TRY(bad_field(err, where, reals[i].key, "a number"));
        if (value)
            *reals[i].to = json_number_value(value);
    }
    c->loss.margin = (caps_margin){(float)positive, (float)negative, (float)down};
    if (staircase && !json_is_boolean(staircase))
        CAPS_TRY(bad_field(err, where, "rate_staircase", "true or false"));
    c->rate_staircase = json_is_true(staircase);
    if (json_object_get(object, "initialiser")) {
        const int initialiser = choice(object, "initialiser", initialisers);
        if (initialiser < 0)
            CAPS_TRY(bad_field(err, where, "initialiser", "scaled or authors"));
        c->initialiser = (caps_initialiser)initialiser;
    }
done:
    return status;
}

caps_status caps_config_from_json(
    caps_train_config *config, const json_t *object, const char *where, caps_error *err)
{
    caps_train_config c = {0};
    caps_status status = CAPS_OK;
    char *spec_text = NULL;
    if (!json_is_object(object))
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: not a JSON object, need one", where);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const json_t *value = json_object_get(object, texts[i].key);
        const char *text = value || !texts[i].later ? json_string_value(value) : "";
        if (!text || strlen(text) >= texts[i].bytes)
            CAPS_TRY(bad_field(err, where, texts[i].key, "a text of fitting length"));
        memcpy((char *)&c + texts[i].offset, text, strlen(text) + 1);
    }

    if (json_object_get(object, "routing")) {
        const int routing = choice(object, "routing", routings);
        if (routing < 0)
            CAPS_TRY(bad_field(err, where, "routing", "stored or fused"));
        snprintf(c.routing, sizeof c.routing, "%s", routings[routing]);
    }

    uint64_t batch = 0, limit = 0, micro = 0, validation = 0;
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = {{"epochs", &c.epochs}, {"max_steps", &c.max_steps}, {"batch", &batch},
        {"seed", &c.seed}, {"limit", &limit}, {"eval_every", &c.eval_every},
        {"save_every", &c.save_every}};
    /* Runs from before there was such a setting have none of these. */
    const struct {
        const char *key;
        uint64_t *to;
    } later[] = {{"memory_limit_bytes", &c.memory_limit_bytes}, {"micro_batch", &micro},
        {"rate_decay_steps", &c.rate_decay_steps}, {"rate_linear_epochs", &c.rate_linear_epochs},
        {"validation", &validation}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!caps_config_get_u64(object, numbers[i].key, numbers[i].to))
            CAPS_TRY(bad_field(err, where, numbers[i].key, "a whole number"));
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
        if (json_object_get(object, later[i].key) &&
            !caps_config_get_u64(object, later[i].key, later[i].to))
            CAPS_TRY(bad_field(err, where, later[i].key, "a whole number"));
    if (batch > SIZE_MAX)
        CAPS_TRY(bad_field(err, where, "batch", "small enough"));
    if (limit > SIZE_MAX)
        CAPS_TRY(bad_field(err, where, "limit", "small enough"));
    c.batch = (size_t)batch;
    c.limit = (size_t)limit;
    if (micro > batch)
        CAPS_TRY(bad_field(err, where, "micro_batch", "at most the batch"));
    c.micro_batch = (size_t)micro;
    if (validation > SIZE_MAX)
        CAPS_TRY(bad_field(err, where, "validation", "small enough"));
    c.validation = (size_t)validation;
    CAPS_TRY(read_terms(&c, object, where, err));

    const struct {
        const char *key;
        double *to;
    } reals[] = {{"rate", &c.rate}, {"rate_decay", &c.rate_decay}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        const json_t *value = json_object_get(object, reals[i].key);
        if (!json_is_number(value))
            CAPS_TRY(bad_field(err, where, reals[i].key, "a number"));
        *reals[i].to = json_number_value(value);
    }
    int optimizer = choice(object, "optimizer", optimizers);
    int augment = choice_of_augment(object);
    const json_t *shuffle = json_object_get(object, "shuffle");
    if (optimizer < 0)
        CAPS_TRY(bad_field(err, where, "optimizer", "adam or sgd"));
    if (augment < 0)
        CAPS_TRY(bad_field(err, where, "augment", "an augmentation"));
    if (!json_is_boolean(shuffle))
        CAPS_TRY(bad_field(err, where, "shuffle", "true or false"));
    c.optimizer = (caps_optimizer)optimizer;
    c.augment = (caps_augment)augment;
    c.shuffle = json_is_true(shuffle);

    const json_t *spec = json_object_get(object, "spec");
    if (!json_is_object(spec))
        CAPS_TRY(bad_field(err, where, "spec", "an object"));
    spec_text = json_dumps(spec, JSON_COMPACT);
    if (!spec_text)
        CAPS_TRY(out_of_memory(err));
    CAPS_TRY(caps_model_spec_parse(&c.spec, spec_text, where, err));
    const json_t *names = json_object_get(object, "class_names");
    if (names) {
        free(spec_text);
        spec_text = json_dumps(names, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!spec_text)
            CAPS_TRY(out_of_memory(err));
        CAPS_TRY(caps_class_names_parse(&c.spec, spec_text, where, err));
    }
    status = caps_config_check(&c, err);
    if (status == CAPS_ERR_ARGUMENT)
        status = caps_fail_prefix(err, CAPS_ERR_FORMAT, "%s", where);
    if (status == CAPS_OK)
        *config = c;
done:
    free(spec_text);
    return status;
}

/* ---- config.json ---------------------------------------------------------------------------- */

/* Device and driver names come from outside and may hold anything. */
static json_t *foreign_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char plain[256];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof plain; n++)
        plain[n] = (unsigned char)text[n] < 128 ? text[n] : '?';
    plain[n] = 0;
    return json_string(plain);
}

static void record(
    json_t *algorithms, const char *layer, const caps_runtime *rt, size_t m, size_t n, size_t k)
{
    const caps_gemm_shape shape = {
        .m = m, .n = n, .k = k, .lda = k, .ldb = n, .ldc = n, .alpha = 1, .count = 1};
    json_object_set_new(algorithms, layer, json_string(caps_gemm_algorithm(rt, &shape)));
}

/* The matrix product of every layer's forward, and the algorithm that it takes on this runtime for
 * an image (convolutions: a column a pixel) or a batch (decoder). */
static json_t *describe_gemm(const caps_train_config *config, const caps_runtime *rt)
{
    const caps_model_spec *spec = &config->spec;
    caps_model_sizes sizes;
    json_t *algorithms = json_object();
    if (!algorithms || caps_model_spec_check(spec, &sizes, NULL) != CAPS_OK)
        return algorithms;
    if (strcmp(spec->kind, "capsnet") != 0)
        return algorithms;
    size_t k1 = spec->conv1.kernel, k2 = spec->primary.kernel;
    record(algorithms, "conv1", rt, spec->conv1.channels, sizes.h1 * sizes.w1,
        spec->input[0] * k1 * k1);
    record(algorithms, "primary", rt, spec->primary.types * spec->primary.dim, sizes.h2 * sizes.w2,
        spec->conv1.channels * k2 * k2);
    size_t in = spec->classes * spec->class_caps.dim;
    const size_t at_once = config->micro_batch ? config->micro_batch : config->batch;
    for (size_t i = 0; spec->has_decoder && i <= spec->decoder_hidden_count; i++) {
        char layer[32];
        size_t to = i < spec->decoder_hidden_count ? spec->decoder_hidden[i] : sizes.pixels;
        snprintf(layer, sizeof layer, "decoder.fc%zu", i + 1);
        record(algorithms, layer, rt, at_once, to, in);
        in = to;
    }
    return algorithms;
}

caps_status caps_config_describe(
    json_t **out, const caps_train_config *config, const caps_runtime *rt, caps_error *err)
{
    caps_status status = CAPS_OK;
    json_t *object = NULL;
    *out = NULL;
    CAPS_TRY(caps_config_to_json(&object, config, err));
    const caps_device_info *device = caps_runtime_device(rt);
    json_t *tuned = NULL;
    char *choices = caps_tuning_format(rt);
    if (!choices)
        CAPS_TRY(out_of_memory(err));
    status = caps_json_parse(
        &tuned, choices, strlen(choices), "measured choices", CAPS_ERR_INTERNAL, err);
    free(choices);
    CAPS_TRY(status);
    const struct {
        const char *key;
        json_t *value;
    } rows[] = {
        {"capscl_version", json_string(caps_version())},
        {"device", foreign_text(device->name)},
        {"device_id", json_string(device->id)},
        {"device_type", json_string(caps_device_type_name(device->type))},
        {"device_version", foreign_text(device->version)},
        {"driver_version", foreign_text(device->driver)},
        {"platform", foreign_text(device->platform)},
        {"vendor", foreign_text(device->vendor)},
        {"kernels", json_string(caps_family_name(caps_runtime_family(rt)))},
        {"gemm", describe_gemm(config, rt)},
        {"tuned", tuned},
    };
    bool stored = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        stored = json_object_set_new(object, rows[i].key, rows[i].value) == 0 && stored;
    if (!stored)
        CAPS_TRY(out_of_memory(err));
    *out = json_incref(object);
done:
    json_decref(object);
    return status;
}
