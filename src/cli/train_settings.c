/* train_settings.c: see train_settings.h. */
#include "train_settings.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

static const char *const optimizers[] = {"adam", "sgd", NULL};
static const char *const augments[] = {"none", "shift2", "place40", "crop24", NULL};
static const char *const routing_grads[] = {"full", "last", NULL};
static const char *const initialisers[] = {"scaled", "authors", NULL};

static const char *profile_name(size_t i, const void *context)
{
    (void)context;
    const caps_profile *p = caps_profile_at(i);
    return p ? p->name : NULL;
}

const caps_flag caps_train_flag_table[] = {
    CAPS_ROW_TEXT("--data", caps_train_flags, data, "D",
        "a directory with IDX files, PNG folders or CIFAR-10 (docs/data.md), or\n"
        "a name looked for in $CAPSCL_DATA, $XDG_DATA_HOME/capscl and\n"
        "/usr/share/datasets; multi:D for overlapping pairs of D (required)"),
    CAPS_ROW_TEXT("--out", caps_train_flags, out, "RUN", "the run directory to write (required)"),
    CAPS_ROW_DEVICE(caps_train_flags),
    CAPS_ROW_CONV(caps_train_flags),
    CAPS_ROW_TEXT("--arch", caps_train_flags, arch, "FILE",
        "the network: a JSON spec, or a name: mnist (the paper's), small,\n"
        "multimnist, cifar10, cnn (the paper's baseline), cnn-small\n"
        "(default: mnist, or the spec of --init)"),
    CAPS_ROW_TEXT("--profile", caps_train_flags, profile, "P",
        "what the settings begin with: paper, authors or keras\n"
        "(docs/profiles.md; default: paper)"),
    CAPS_ROW_COUNT("--iterations", caps_train_flags, iterations, 1, 1000, "N",
        "of routing (default: the network's, 3)"),
    CAPS_ROW_CHOICE("--routing-grad", caps_train_flags, routing_grad, routing_grads, "G",
        "full: gradients through every iteration; last: couplings are constants"),
    CAPS_ROW_SWITCH("--leaky", caps_train_flags, leaky,
        "one more logit, always 0, in each softmax of the routing: no parent"),
    CAPS_ROW_SWITCH("--class-bias", caps_train_flags, class_bias,
        "a bias for every class capsule, added in every iteration"),
    CAPS_ROW_OFF("--no-class-bias", caps_train_flags, class_bias,
        "none, also where the profile has one; of both flags the last wins"),
    CAPS_ROW_SWITCH("--primary-average", caps_train_flags, primary_average,
        "divide the primary convolution by the number of types, before its bias"),
    CAPS_ROW_OFF("--no-primary-average", caps_train_flags, primary_average, "do not divide it"),
    CAPS_ROW_SWITCH("--no-decoder", caps_train_flags, no_decoder, "train without reconstruction"),
    CAPS_ROW_CHOICE("--initialiser", caps_train_flags, initialiser, initialisers, "I",
        "scaled (by layer sizes) or authors (docs/profiles.md)"),
    CAPS_ROW_COUNT("--epochs", caps_train_flags, epochs, 1, 1000000000, "N",
        "end after N epochs (default: 10, keras: 50; no end where --max-steps is\ngiven)"),
    CAPS_ROW_COUNT("--max-steps", caps_train_flags, max_steps, 1, 1000000000000000, "N",
        "end after N steps; with --epochs, whichever comes first"),
    CAPS_ROW_COUNT("--batch", caps_train_flags, batch, 1, 1000000, "N",
        "images in a step (default: 100; authors: 128)"),
    CAPS_ROW_BYTES("--memory-limit", caps_train_flags, memory_limit, "SIZE",
        "take no more device memory: bytes, or 300M, 1.5G; a batch that does\n"
        "not fit goes in equal parts (default: all that the device has)"),
    CAPS_ROW_CHOICE("--optimizer", caps_train_flags, optimizer, optimizers, "O",
        "adam or sgd: plain w -= rate * gradient (default: adam)"),
    CAPS_ROW_REAL(
        "--lr", caps_train_flags, rate, 0, FLT_MAX, "X", "first learning rate (default: 0.001)"),
    CAPS_ROW_REAL("--lr-decay", caps_train_flags, rate_decay, 0, 1, "X",
        "factor on the rate for each epoch, smoothly by step; 1 keeps it\n"
        "constant; Adam only (default: 0.9; authors: 0.96)"),
    CAPS_ROW_COUNT("--lr-decay-steps", caps_train_flags, rate_decay_steps, 0, 1000000000, "N",
        "the factor is for N steps; 0: for an epoch (default: 0; authors: 2000)"),
    CAPS_ROW_SWITCH("--lr-staircase", caps_train_flags, rate_staircase,
        "change the rate only every epoch (or N steps), not smoothly"),
    CAPS_ROW_OFF("--no-lr-staircase", caps_train_flags, rate_staircase, "change it smoothly"),
    CAPS_ROW_COUNT("--lr-linear", caps_train_flags, rate_linear_epochs, 1, 1000000000, "N",
        "let the rate fall to 0 in a straight line over N epochs, in the place of\n"
        "--lr-decay (or times it, where that is given too)"),
    CAPS_ROW_AMOUNT("--lr-min", caps_train_flags, rate_min, FLT_MAX, "X",
        "never a lower rate (default: 0;\nauthors: 1e-6)"),
    CAPS_ROW_TEXT("--layer-lr", caps_train_flags, rate_factors, "L=X,...",
        "factors on the rate by layer: primary=0.1,class_caps=0.5; 0 keeps a layer\n"
        "as it is (default: 1 for all)"),
    CAPS_ROW_AMOUNT("--margin-positive", caps_train_flags, margin_positive, 1, "X",
        "m+ of the margin loss, a length: 0 to 1 and above m- (default: 0.9)"),
    CAPS_ROW_AMOUNT("--margin-negative", caps_train_flags, margin_negative, 1, "X",
        "m- of the margin loss (default: 0.1)"),
    CAPS_ROW_AMOUNT("--margin-down", caps_train_flags, margin_down, FLT_MAX, "X",
        "weight of absent classes in it (default: 0.5)"),
    CAPS_ROW_SWITCH("--class-mean", caps_train_flags, class_mean,
        "average the margin loss over classes too, and halve it"),
    CAPS_ROW_OFF("--no-class-mean", caps_train_flags, class_mean, "sum it over classes"),
    CAPS_ROW_AMOUNT("--reconstruction-weight", caps_train_flags, reconstruction_weight, FLT_MAX,
        "X", "of the squared error, summed over pixels (default: 0.0005)"),
    CAPS_ROW_AMOUNT("--reconstruction-mean", caps_train_flags, reconstruction_mean, FLT_MAX, "X",
        "of the squared error averaged over pixels, in its place"),
    CAPS_ROW_COUNT("--seed", caps_train_flags, seed, 0, UINT64_MAX, "N",
        "of weights, order and shifts (default: 1)"),
    CAPS_ROW_COUNT("--repeat", caps_train_flags, repeat, 1, 1000, "N",
        "train with N seeds, --seed and those after it, one after the other,\n"
        "into RUN/seed-1, RUN/seed-2, ...; --resume goes on with all of them"),
    CAPS_ROW_CHOICE("--augment", caps_train_flags, augment, augments, "A",
        "none; shift2: move by -2..2 pixels each way; place40: anywhere on\n"
        "40x40 black; crop24: any part of 24x24 (default: what the network's\n"
        "input asks for: shift2, or place40 or crop24 where it has another\n"
        "size than the data; none for pairs, which are shifted themselves)"),
    CAPS_ROW_SWITCH(
        "--no-shuffle", caps_train_flags, no_shuffle, "take the images in the order of the file"),
    CAPS_ROW_COUNT("--limit", caps_train_flags, limit, 1, UINT32_MAX, "N",
        "train on the first N images only (default: all)"),
    CAPS_ROW_COUNT("--validation", caps_train_flags, validation, 1, UINT32_MAX, "N",
        "keep N training images, drawn from the seed, to choose by: they are\n"
        "evaluated as training goes on, the test split at the end only"),
    CAPS_ROW_TEXT("--init", caps_train_flags, init, "FILE",
        "first parameters from a checkpoint (and the spec, unless --arch is\n"
        "given: then both must agree)"),
    CAPS_ROW_SWITCH("--resume", caps_train_flags, resume,
        "go on with the run in RUN; its settings stay, only --epochs,\n"
        "--max-steps and --device may be given anew"),
    CAPS_ROW_SWITCH("--overwrite", caps_train_flags, overwrite,
        "remove the files of an earlier run in RUN first"),
    CAPS_ROW_COUNT("--eval-every", caps_train_flags, eval_every, 1, 1000000000, "N",
        "evaluate on the test split (with --validation: on that) every N epochs,\nand at the end "
        "(default: 1)"),
    CAPS_ROW_COUNT("--save-every", caps_train_flags, save_every, 1, 1000000000000000, "N",
        "save the state every N steps too (default: every epoch)"),
    CAPS_ROW_SECONDS("--time-limit", caps_train_flags, time_limit_seconds, "T",
        "stop, saved, after this time, start-up included: 90, 90s, 30m, 2h"),
    CAPS_ROW_SWITCH("--kernel-times", caps_train_flags, kernel_times,
        "time every kernel and print the sums to stderr at the end (slower)"),
    CAPS_ROW_TRACE(caps_train_flags),
    CAPS_ROW_TRACE_EVENTS(caps_train_flags),
    CAPS_ROW_JSON(caps_train_flags),
    CAPS_ROW_QUIET(caps_train_flags),
    CAPS_ROW_VERBOSE(caps_train_flags),
    {0},
};

caps_status caps_train_check_usage(
    const caps_train_flags *o, const caps_args *args, caps_error *err)
{
    static const char *const with_resume[] = {"--out", "--resume", "--epochs", "--max-steps",
        "--device", "--time-limit", "--kernel-times", "--trace", "--trace-events", "--json",
        "--quiet", "--verbose", NULL};
    if (!o->out)
        return caps_cli_usage(err, "train: --out is missing, need a run directory (--out RUN)");
    if (o->resume && o->overwrite)
        return caps_cli_usage(err, "train: --resume and --overwrite exclude each other");
    for (const caps_flag *flag = caps_train_flag_table; o->resume && flag->name; flag++) {
        bool allowed = !caps_args_given(args, flag->name);
        for (size_t i = 0; with_resume[i]; i++)
            allowed = allowed || strcmp(flag->name, with_resume[i]) == 0;
        if (!allowed)
            return caps_cli_usage(err,
                "train: %s with --resume: a run keeps its settings, only --epochs, --max-steps and "
                "--device may change",
                flag->name);
    }
    if (!o->resume && !o->data)
        return caps_cli_usage(err, "train: --data is missing, need a data set (--data D)");
    return CAPS_OK;
}

static caps_status copy_text(
    char *to, size_t bytes, const char *from, const char *flag, caps_error *err)
{
    if (strlen(from) >= bytes)
        return caps_cli_usage(err, "%s: a name of %zu bytes is too long, need less than %zu", flag,
            strlen(from), bytes);
    memcpy(to, from, strlen(from) + 1);
    return CAPS_OK;
}

/* The switch or its opposite; the flags' member then has the last of them. */
static bool switch_given(const caps_args *args, const char *on, const char *off)
{
    return caps_args_given(args, on) || caps_args_given(args, off);
}

/* The network as the flags change it. Parameters of --init have the shapes of its own spec. */
static void change_spec(const caps_train_flags *o, const caps_args *args, caps_model_spec *spec)
{
    if (caps_args_given(args, "--iterations"))
        spec->class_caps.iterations = (size_t)o->iterations;
    if (caps_args_given(args, "--routing-grad"))
        spec->class_caps.routing_grad =
            o->routing_grad == 0 ? CAPS_ROUTING_GRAD_FULL : CAPS_ROUTING_GRAD_LAST;
    spec->class_caps.leaky = spec->class_caps.leaky || o->leaky;
    if (switch_given(args, "--class-bias", "--no-class-bias"))
        spec->class_caps.bias = o->class_bias;
    if (switch_given(args, "--primary-average", "--no-primary-average"))
        spec->primary.average = o->primary_average;
    if (o->no_decoder)
        spec->has_decoder = false;
}

/* Flags that say something of capsules, where the network has none. */
static caps_status check_kind(
    const caps_args *args, const caps_train_config *config, caps_error *err)
{
    static const char *const capsules[] = {"--iterations", "--routing-grad", "--leaky",
        "--class-bias", "--no-class-bias", "--primary-average", "--no-primary-average",
        "--no-decoder", "--margin-positive", "--margin-negative", "--margin-down", "--class-mean",
        "--no-class-mean", "--reconstruction-weight", "--reconstruction-mean", NULL};
    for (size_t i = 0; capsules[i] && strcmp(config->spec.kind, "cnn") == 0; i++)
        if (caps_args_given(args, capsules[i]))
            return caps_cli_usage(
                err, "train: %s with a CNN (%s), which has no capsules", capsules[i], config->arch);
    static const char *const decoder[] = {"--reconstruction-weight", "--reconstruction-mean"};
    for (size_t i = 0; i < 2 && !config->spec.has_decoder; i++)
        if (caps_args_given(args, decoder[i]))
            return caps_cli_usage(
                err, "train: %s without a decoder, nothing is reconstructed", decoder[i]);
    if (caps_args_given(args, "--reconstruction-weight") &&
        caps_args_given(args, "--reconstruction-mean"))
        return caps_cli_usage(
            err, "train: --reconstruction-weight and --reconstruction-mean exclude each other");
    return CAPS_OK;
}

/* Flags of a schedule, which sgd does not have. A decay of 1 says so itself. */
static caps_status check_schedule(const caps_train_flags *o, const caps_args *args, caps_error *err)
{
    static const char *const flags[] = {"--lr-decay", "--lr-decay-steps", "--lr-staircase",
        "--no-lr-staircase", "--lr-linear", "--lr-min"};
    for (size_t i = o->rate_decay < 1 ? 0 : 1; i < sizeof flags / sizeof flags[0]; i++)
        if (caps_args_given(args, flags[i]))
            return caps_cli_usage(
                err, "train: %s with --optimizer sgd, which has no schedule", flags[i]);
    return CAPS_OK;
}

/* Augmentations that give images of another size than the data's. */
static const struct {
    caps_augment augment;
    size_t size;
} resizing[] = {{CAPS_AUGMENT_PLACE40, 40}, {CAPS_AUGMENT_CROP24, 24}};

/* The augmentation, and the size of the input that it asks for. */
static caps_status choose_augment(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err)
{
    caps_model_spec *spec = &config->spec;
    const bool given = caps_args_given(args, "--augment"), pairs = spec->labels > 1;
    config->augment = given ? (caps_augment)o->augment : CAPS_AUGMENT_SHIFT2;
    if (pairs && given && config->augment != CAPS_AUGMENT_NONE)
        return caps_cli_usage(err,
            "train: --augment %s with pairs of images, which are shifted themselves, need none",
            caps_augment_name(o->augment));
    if (pairs)
        config->augment = CAPS_AUGMENT_NONE;
    for (size_t i = 0; i < sizeof resizing / sizeof resizing[0]; i++) {
        const size_t size = resizing[i].size;
        const bool fits = spec->source[0] && spec->input[1] == size && spec->input[2] == size;
        if (!given && fits)
            config->augment = resizing[i].augment;
        if (!given || config->augment != resizing[i].augment || fits)
            continue;
        if (spec->source[0] || o->init)
            return caps_cli_usage(err,
                "train: --augment %s gives images of %zux%zu, the network takes %zux%zu",
                caps_augment_name(o->augment), size, size, spec->input[1], spec->input[2]);
        memcpy(spec->source, spec->input, sizeof spec->source);
        spec->input[1] = spec->input[2] = size;
    }
    return CAPS_OK;
}

/* Names of the data's classes, where it has some; those of --init are of its own data. A built-in
 * network gets as many classes as there are names; another must have them. */
static caps_status adopt_classes(
    const caps_train_flags *o, bool own, caps_model_spec *spec, caps_error *err)
{
    char **names = NULL;
    size_t count = 0;
    bool builtin = !o->arch && !own;
    caps_status status;
    CAPS_TRY(caps_dataset_names(&names, &count, o->data, err));
    for (size_t i = 0; o->arch && caps_model_spec_builtin(i); i++)
        builtin = builtin || strcmp(o->arch, caps_model_spec_builtin(i)) == 0;
    if (names && builtin)
        spec->classes = count;
    if (names && spec->classes > count) /* fewer: some label is too great, which is said then */
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH, "%s: has %zu classes, the network %zu", o->data,
            count, spec->classes));
    if (names && caps_class_names_set(spec, names, count, err) != CAPS_OK)
        CAPS_TRY(caps_fail_prefix(err, CAPS_ERR_FORMAT, "%s", o->data));
done:
    free(names);
    return status;
}

/* The spec: --arch, else that of --init, else the default, with what profile and flags change. The
 * checkpoint is read whole here, so that a bad one is refused before anything is written. */
static caps_status choose_spec(const caps_train_flags *o, const caps_args *args,
    caps_train_config *config, const caps_profile *profile, caps_checkpoint *init, caps_error *err)
{
    const bool own = o->init && !o->arch; /* the checkpoint's own */
    caps_status status = CAPS_OK;
    if (!own) {
        const char *arch = o->arch ? o->arch : "mnist";
        CAPS_TRY(caps_model_spec_load(&config->spec, arch, err));
        CAPS_TRY(copy_text(config->arch, sizeof config->arch, arch, "--arch", err));
    } else {
        CAPS_TRY(caps_checkpoint_load(init, o->init, NULL, err));
        config->spec = init->spec;
        /* A long path is cut: the file itself stands under "init". */
        snprintf(config->arch, sizeof config->arch, "%.*s", (int)sizeof config->arch - 1, o->init);
    }
    CAPS_TRY(choose_augment(o, args, config, err));
    CAPS_TRY(adopt_classes(o, own, &config->spec, err));
    caps_profile_apply(config, profile, !own);
    change_spec(o, args, &config->spec);
    CAPS_TRY(caps_model_spec_check(&config->spec, NULL, err));
    if (o->init) {
        CAPS_TRY(copy_text(config->init, sizeof config->init, o->init, "--init", err));
        if (!own)
            CAPS_TRY(caps_checkpoint_load(init, o->init, &config->spec, err));
        if (o->arch && init->has_spec && !caps_model_spec_equal(&init->spec, &config->spec)) {
            status = caps_fail(err, CAPS_ERR_MISMATCH,
                "%s: its spec is not that of --arch %s, need both to agree", o->init, o->arch);
            goto done;
        }
    }
done:
    return status;
}

/* Numbers of the profile that flags replace. */
static void change_numbers(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config)
{
    const caps_model_spec *spec = &config->spec;
    const double pixels = (double)(spec->input[0] * spec->input[1] * spec->input[2]);
    const struct {
        const char *flag;
        double from, *to;
    } reals[] = {{"--lr", o->rate, &config->rate},
        {"--lr-decay", o->rate_decay, &config->rate_decay},
        {"--lr-min", o->rate_min, &config->rate_min},
        {"--reconstruction-weight", o->reconstruction_weight, &config->loss.reconstruction_weight},
        {"--reconstruction-mean", o->reconstruction_mean / pixels,
            &config->loss.reconstruction_weight}};
    const struct {
        const char *flag;
        double from;
        float *to;
    } margins[] = {{"--margin-positive", o->margin_positive, &config->loss.margin.positive},
        {"--margin-negative", o->margin_negative, &config->loss.margin.negative},
        {"--margin-down", o->margin_down, &config->loss.margin.down}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        if (caps_args_given(args, reals[i].flag))
            *reals[i].to = reals[i].from;
    for (size_t i = 0; i < sizeof margins / sizeof margins[0]; i++)
        if (caps_args_given(args, margins[i].flag))
            *margins[i].to = (float)margins[i].from;
    if (caps_args_given(args, "--batch"))
        config->batch = (size_t)o->batch;
    if (caps_args_given(args, "--lr-linear")) {
        config->rate_linear_epochs = o->rate_linear_epochs;
        if (!caps_args_given(args, "--lr-decay"))
            config->rate_decay = 1;
    }
    if (caps_args_given(args, "--lr-decay-steps"))
        config->rate_decay_steps = o->rate_decay_steps;
    if (switch_given(args, "--lr-staircase", "--no-lr-staircase"))
        config->rate_staircase = o->rate_staircase;
    if (switch_given(args, "--class-mean", "--no-class-mean"))
        config->loss.margin_scale = o->class_mean ? caps_loss_class_mean(spec) : 1;
    if (caps_args_given(args, "--initialiser"))
        config->initialiser = (caps_initialiser)o->initialiser;
}

caps_status caps_train_new_config(const caps_train_flags *o, const caps_args *args,
    caps_train_config *config, caps_checkpoint *init, caps_error *err)
{
    caps_status status;
    const caps_profile *profile = caps_profile_find(o->profile ? o->profile : "paper");
    *config = caps_train_config_default();
    if (!profile) {
        const char *near = caps_nearest(o->profile, profile_name, NULL);
        return caps_cli_usage(err,
            "--profile: unknown value '%s', need paper, authors or keras%s%s%s", o->profile,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    CAPS_TRY(choose_spec(o, args, config, profile, init, err));
    CAPS_TRY(check_kind(args, config, err));
    CAPS_TRY(copy_text(config->data, sizeof config->data, o->data, "--data", err));
    if (caps_args_given(args, "--epochs"))
        config->epochs = o->epochs;
    else if (caps_args_given(args, "--max-steps"))
        config->epochs = 0;
    config->max_steps = o->max_steps;
    config->optimizer = o->optimizer == 0 ? CAPS_OPTIMIZER_ADAM : CAPS_OPTIMIZER_SGD;
    if (config->optimizer == CAPS_OPTIMIZER_SGD)
        CAPS_TRY(check_schedule(o, args, err));
    config->seed = o->seed;
    config->shuffle = !o->no_shuffle;
    config->limit = (size_t)o->limit;
    config->validation = (size_t)o->validation;
    config->eval_every = o->eval_every;
    config->save_every = o->save_every;
    config->memory_limit_bytes = o->memory_limit;
    change_numbers(o, args, config);
    const caps_margin *margin = &config->loss.margin;
    if (margin->positive <= margin->negative)
        CAPS_TRY(caps_cli_usage(err,
            "train: m+ is %g and m- %g, need a larger m+ (--margin-positive, --margin-negative)",
            (double)margin->positive, (double)margin->negative));
    if (config->rate_min > config->rate && config->optimizer == CAPS_OPTIMIZER_ADAM)
        CAPS_TRY(caps_cli_usage(err, "--lr-min: %g is more than the first learning rate, %g",
            config->rate_min, config->rate));
    if (o->common.conv)
        CAPS_TRY(copy_text(config->conv, sizeof config->conv, o->common.conv, "--conv", err));
    if (o->rate_factors)
        CAPS_TRY(copy_text(
            config->rate_factors, sizeof config->rate_factors, o->rate_factors, "--layer-lr", err));
done:
    return status;
}

void caps_train_change_end(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config)
{
    bool epochs = caps_args_given(args, "--epochs"), steps = caps_args_given(args, "--max-steps");
    if (epochs || steps) {
        config->epochs = epochs ? o->epochs : 0;
        config->max_steps = steps ? o->max_steps : 0;
    }
}

caps_status caps_train_old_config(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err)
{
    caps_status status = caps_train_config_load(config, o->out, err);
    if (status == CAPS_OK)
        caps_train_change_end(o, args, config);
    return status;
}
