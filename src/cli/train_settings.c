/* train_settings.c: see train_settings.h. */
#include "train_settings.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "class_weights.h"
#include "fail.h"
#include "train_session.h"

static const char *const optimizers[] = {"adam", "sgd", NULL};
static const char *const augments[] = {
    "none", "shift2", "place40", "crop24", "affine", "crop", NULL};
static const char *const routing_grads[] = {"full", "last", NULL};
static const char *const reduces[] = {"exact", "fast", "bf16", NULL}; /* caps_reduce */
static const char *const initialisers[] = {"scaled", "authors", NULL};

static const char *profile_name(size_t i, const void *context)
{
    (void)context;
    const caps_profile *p = caps_profile_at(i);
    return p ? p->name : NULL;
}

const caps_flag caps_train_flag_table[] = {
    CAPS_ROW_TEXT("--data", caps_train_flags, data, "D",
        "a directory with IDX files, folders of pictures or CIFAR-10 (docs/data.md), or\n"
        "a name looked for in $CAPSCL_DATA, $XDG_DATA_HOME/capscl and\n"
        "/usr/share/datasets; multi:D for overlapping pairs of D, solids:SEED for\n"
        "rendered solids (required)"),
    CAPS_ROW_TEXT("--out", caps_train_flags, out, "RUN", "the run directory to write (required)"),
    CAPS_ROW_DEVICES(caps_train_flags, "computes a share of every batch"),
    CAPS_ROW_TEXT("--split", caps_train_flags, split, "N:N",
        "shares of several devices, as 60:40; auto: as fast as each is, measured\n"
        "before the first epoch and changed between epochs (default: as fast as\n"
        "'capscl tune' has found each to be, else equal)"),
    CAPS_ROW_SWITCH("--keep-going", caps_train_flags, keep_going,
        "where one of several devices fails the others go on without it"),
    CAPS_ROW_SECONDS("--device-timeout", caps_train_flags, device_timeout, "T",
        "of several devices, one that does not answer for so long has failed:\n"
        "90, 90s, 5m (default: 10m; ten times that for the first step)"),
    CAPS_ROW_CHOICE("--reduce", caps_train_flags, reduce, reduces, "R",
        "gradients of several ranks (mpirun, srun) are summed in their order (exact, the\n"
        "default), by MPI in whatever order is fast (fast), or sent as bfloat16, which\n"
        "halves what goes through a slow link (bf16; docs/scaling.md)"),
    CAPS_ROW_CONV(caps_train_flags),
    CAPS_ROW_NAMED("--arch", TEXT, caps_train_flags, arch, caps_cli_arch, "FILE",
        "the network: a JSON spec, or a name: mnist (the paper's), small,\n"
        "multimnist, cifar10, cnn (the paper's baseline), cnn-small, cnn-pool,\n"
        "efficient (Efficient-CapsNet), matrix-small, matrix (matrix capsules)\n"
        "(default: mnist, or the spec of --init)"),
    CAPS_ROW_NAMED("--profile", TEXT, caps_train_flags, profile, profile_name, "P",
        "what the settings begin with: paper, authors, keras, efficient, em or\n"
        "em-authors\n"
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
        "not fit goes in micro-batches (default: all that the device has)"),
    CAPS_ROW_CHOICE("--optimizer", caps_train_flags, optimizer, optimizers, "O",
        "adam or sgd: plain w -= lr * gradient (default: adam)"),
    CAPS_ROW_REAL(
        "--lr", caps_train_flags, lr, 0, FLT_MAX, "X", "first learning rate (default: 0.001)"),
    CAPS_ROW_REAL("--lr-decay", caps_train_flags, lr_decay, 0, 1, "X",
        "factor on the learning rate for each epoch, smoothly by step; 1 keeps it\n"
        "constant; Adam only (default: 0.9; authors: 0.96)"),
    CAPS_ROW_COUNT("--lr-decay-steps", caps_train_flags, lr_decay_steps, 0, 1000000000, "N",
        "the factor is for N steps; 0: for an epoch (default: 0; authors: 2000)"),
    CAPS_ROW_SWITCH("--lr-staircase", caps_train_flags, lr_staircase,
        "change the learning rate only every epoch (or N steps), not smoothly"),
    CAPS_ROW_OFF("--no-lr-staircase", caps_train_flags, lr_staircase, "change it smoothly"),
    CAPS_ROW_COUNT("--lr-linear", caps_train_flags, lr_linear_epochs, 1, 1000000000, "N",
        "let the learning rate fall to 0 in a straight line over N epochs, in place of\n"
        "--lr-decay (or times it, where that is given too)"),
    CAPS_ROW_COUNT("--lr-warmup", caps_train_flags, lr_warmup_steps, 0, 1000000000, "N",
        "let the learning rate rise in a straight line over the first N steps, as large\n"
        "batches want it (docs/scaling.md); Adam only (default: 0)"),
    CAPS_ROW_AMOUNT("--lr-min", caps_train_flags, lr_min, FLT_MAX, "X",
        "never a lower learning rate (default: 0; authors: 1e-6)"),
    CAPS_ROW_AMOUNT("--weight-decay", caps_train_flags, weight_decay, FLT_MAX, "X",
        "add X times the weight to the gradient of every weight, but not of biases\n"
        "(default: 0; em, em-authors: 2e-7)"),
    CAPS_ROW_AMOUNT("--ema", caps_train_flags, ema, 1, "X",
        "also keep an exponential moving average of the weights that decays by X a step,\n"
        "as 0.999: evaluated beside them, saved as RUN/model-ema.safetensors (default: 0,\n"
        "none)"),
    CAPS_ROW_TEXT("--layer-lr", caps_train_flags, lr_multipliers, "L=X,...",
        "learning-rate multipliers: primary=0.1,class_caps=0.5; 0 keeps a layer\n"
        "as it is (default: 1 for all)"),
    CAPS_ROW_CHOICE("--loss", caps_train_flags, loss, caps_train_losses, "L",
        "of the classes: margin; or spread, of matrix capsules (default: spread for\n"
        "them, else the network's own)"),
    CAPS_ROW_TEXT("--spread-margin", caps_train_flags, spread_margin, "M|A:B",
        "m of the spread loss, above 0 up to 1; A:B: a straight line over the steps\n"
        "of the run (default: 0.2:0.9)"),
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
    CAPS_ROW_TEXT("--class-weights", caps_train_flags, class_weights, "W",
        "of the classes in the loss: balanced (inversely to how many training\n"
        "images they have), or a number for each: 1,2.5,...; none (default)"),
    CAPS_ROW_COUNT("--seed", caps_train_flags, seed, 0, UINT64_MAX, "N",
        "of weights, order and shifts (default: 1)"),
    CAPS_ROW_COUNT("--repeat", caps_train_flags, repeat, 1, 1000, "N",
        "train with N seeds, --seed and those after it, one after the other,\n"
        "into RUN/seed-1, RUN/seed-2, ...; --resume goes on with all of them"),
    CAPS_ROW_CHOICE("--augment", caps_train_flags, augment, augments, "A",
        "none; shift2: move by -2..2 pixels each way; place40: anywhere on\n"
        "40x40 black; crop24: any part of 24x24; affine: turned, squeezed,\n"
        "shifted, a part erased; crop: any part of the network's size, brighter\n"
        "or darker (default: what the network's input asks for: shift2, or\n"
        "place40 or crop24 where it has another size than the data; crop for\n"
        "smallNORB and solids; none for pairs, which are shifted themselves)"),
    CAPS_ROW_AMOUNT("--affine-rotate", caps_train_flags, affine_rotate, 180, "DEGREES",
        "of affine: half of the images are turned, normal with this standard\n"
        "deviation; 0: none (default: 10)"),
    CAPS_ROW_AMOUNT("--affine-squeeze", caps_train_flags, affine_squeeze, 0.9, "X",
        "of affine: narrower by up to this share; 0: not (default: 0.25)"),
    CAPS_ROW_COUNT("--affine-erase", caps_train_flags, affine_erase, 0, 65535, "N",
        "of affine: a square of NxN is made black; 0: none (default: 4)"),
    CAPS_ROW_OFF("--no-affine-shift", caps_train_flags, affine_shift,
        "of affine: no shift within the black margin"),
    CAPS_ROW_AMOUNT("--crop-brightness", caps_train_flags, crop_brightness, 10, "X",
        "of crop: up to so much is added to all pixels, or subtracted (default: 0.5)"),
    CAPS_ROW_AMOUNT("--crop-contrast", caps_train_flags, crop_contrast, 1, "X",
        "of crop: all pixels times 1-X to 1+X, about their mean (default: 0.5)"),
    CAPS_ROW_SWITCH("--flip", caps_train_flags, flip,
        "exchange left and right in half of the images, whatever else is done; for\n"
        "data that allow it, not for digits"),
    CAPS_ROW_VIEWPOINTS(caps_train_flags,
        "of smallNORB and solids: train and test on these only: familiar-azimuths,\n"
        "familiar-elevations, novel-azimuths, novel-elevations (default: all)"),
    CAPS_ROW_SWITCH(
        "--no-shuffle", caps_train_flags, no_shuffle, "take the images in the order of the file"),
    CAPS_ROW_COUNT("--limit", caps_train_flags, limit, 1, UINT32_MAX, "N",
        "train on the first N images only (default: all)"),
    CAPS_ROW_COUNT("--validation", caps_train_flags, validation, 1, UINT32_MAX, "N",
        "hold out N training images, drawn from the seed, to choose by: they are\n"
        "evaluated as training goes on, the test split at the end only (a folder\n"
        "val/ of the data is used so without this flag)"),
    CAPS_ROW_BACKGROUND(caps_train_flags),
    CAPS_ROW_INVERT(caps_train_flags),
    CAPS_ROW_STRETCH(caps_train_flags),
    CAPS_ROW_TEXT("--init", caps_train_flags, init, "FILE",
        "first parameters from a checkpoint, and its network, unless --arch is\n"
        "given; layers that do not fit (other classes, say) begin anew"),
    CAPS_ROW_SWITCH("--resume", caps_train_flags, resume,
        "go on with the run in RUN; its settings stay, only --epochs,\n"
        "--max-steps, --device, --split and the place of --data may be anew"),
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
    CAPS_ROW_TEXT("--tensorboard", caps_train_flags, tensorboard, "DIR",
        "write loss, errors, learning rate and images/s as events for TensorBoard\n"
        "(tensorboard --logdir DIR); with --repeat into DIR/seed-N"),
    CAPS_ROW_TRACE(caps_train_flags),
    CAPS_ROW_TRACE_EVENTS(caps_train_flags),
    CAPS_ROW_JSON(caps_train_flags),
    CAPS_ROW_QUIET(caps_train_flags),
    CAPS_ROW_VERBOSE(caps_train_flags),
    {0},
};

caps_status caps_train_check_usage(const caps_train_flags *o, caps_error *err)
{
    caps_status status = caps_cli_check_pictures(&o->pictures, err);
    if (status != CAPS_OK)
        return status;
    if (!o->out)
        return caps_cli_usage(err, "train: --out is missing, need a run directory (--out RUN)");
    if (o->resume && o->overwrite)
        return caps_cli_usage(err, "train: --resume and --overwrite exclude each other");
    if (!o->resume && !o->data)
        return caps_cli_usage(err, "train: --data is missing, need a data set (--data D)");
    if (o->ema >= 1)
        return caps_cli_usage(
            err, "--ema: is 1, need less (0.999): the average would never change");
    return CAPS_OK;
}

/* text NULL: not given. */
static caps_status check_length(const char *text, size_t bytes, const char *flag, caps_error *err)
{
    return text && strlen(text) >= bytes
               ? caps_cli_usage(err, "%s: a name of %zu bytes is too long, need less than %zu",
                     flag, strlen(text), bytes)
               : CAPS_OK;
}

static caps_status copy_text(
    char *to, size_t bytes, const char *from, const char *flag, caps_error *err)
{
    caps_status status = check_length(from, bytes, flag, err);
    if (status == CAPS_OK && from)
        memcpy(to, from, strlen(from) + 1);
    return status;
}

/* The switch or its opposite; the flags' member then has the last of them. */
static bool switch_given(const caps_args *args, const char *on, const char *off)
{
    return caps_args_given(args, on) || caps_args_given(args, off);
}

/* ---- the network ---------------------------------------------------------------------------- */

size_t caps_train_requests(const caps_train_flags *o, const caps_args *args,
    caps_spec_request requests[CAPS_TRAIN_REQUESTS], char iterations[32])
{
    const char *grad = o->routing_grad == 0 ? "\"full\"" : "\"last\"";
    const struct {
        const char *flag, *kind, *field, *json;
    } rows[] = {
        {"--iterations", "caps", "routing.iterations", iterations},
        {"--iterations", "matrix_conv", "routing.iterations", iterations},
        {"--iterations", "matrix_caps", "routing.iterations", iterations},
        {"--routing-grad", "caps", "routing.grad", grad},
        {"--routing-grad", "matrix_conv", "routing.grad", grad},
        {"--routing-grad", "matrix_caps", "routing.grad", grad},
        {"--leaky", "caps", "routing.leaky", "true"},
        {"--class-bias", "caps", "bias", o->class_bias ? "true" : "false"},
        {"--no-class-bias", "caps", "bias", o->class_bias ? "true" : "false"},
        {"--primary-average", "primary_caps", "average", o->primary_average ? "true" : "false"},
        {"--no-primary-average", "primary_caps", "average", o->primary_average ? "true" : "false"},
    };
    size_t n = 0;
    snprintf(iterations, 32, "%llu", (unsigned long long)o->iterations);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const bool again = n > 0 && strcmp(requests[n - 1].field, rows[i].field) == 0 &&
                           strcmp(requests[n - 1].kind, rows[i].kind) == 0;
        if (caps_args_given(args, rows[i].flag) && !again)
            requests[n++] =
                (caps_spec_request){rows[i].flag, rows[i].kind, rows[i].field, rows[i].json};
    }
    return n;
}

/* Flags of a schedule, which sgd does not have. A decay of 1 says so itself. */
static caps_status check_schedule(const caps_train_flags *o, const caps_args *args, caps_error *err)
{
    static const char *const flags[] = {"--lr-decay", "--lr-decay-steps", "--lr-staircase",
        "--no-lr-staircase", "--lr-linear", "--lr-min", "--lr-warmup"};
    for (size_t i = o->lr_decay < 1 ? 0 : 1; i < sizeof flags / sizeof flags[0]; i++)
        if (caps_args_given(args, flags[i]))
            return caps_cli_usage(
                err, "train: %s with --optimizer sgd, which has no schedule", flags[i]);
    return CAPS_OK;
}

/* Numbers of the profile that flags replace. */
static void change_numbers(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config)
{
    const double pixels = (double)caps_model_spec_info(config->spec)->pixels;
    const struct {
        const char *flag;
        double from, *to;
    } reals[] = {{"--lr", o->lr, &config->lr}, {"--lr-decay", o->lr_decay, &config->lr_decay},
        {"--lr-min", o->lr_min, &config->lr_min},
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
        config->lr_linear_epochs = o->lr_linear_epochs;
        if (!caps_args_given(args, "--lr-decay"))
            config->lr_decay = 1;
    }
    if (caps_args_given(args, "--ema"))
        config->ema = o->ema;
    if (caps_args_given(args, "--lr-warmup"))
        config->lr_warmup_steps = o->lr_warmup_steps;
    if (caps_args_given(args, "--lr-decay-steps"))
        config->lr_decay_steps = o->lr_decay_steps;
    if (switch_given(args, "--lr-staircase", "--no-lr-staircase"))
        config->lr_staircase = o->lr_staircase;
    if (switch_given(args, "--class-mean", "--no-class-mean"))
        config->loss.margin_scale = o->class_mean ? caps_loss_class_mean(config->spec) : 1;
    if (caps_args_given(args, "--initialiser"))
        config->initialiser = (caps_initialiser)o->initialiser;
}

static caps_status find_profile(
    const caps_profile **profile, const caps_train_flags *o, caps_error *err)
{
    char names[128];
    *profile = caps_profile_find(o->profile ? o->profile : caps_profile_at(0)->name);
    if (*profile)
        return CAPS_OK;
    const char *near = caps_nearest(o->profile, profile_name, NULL);
    return caps_cli_usage(err, "--profile: unknown value '%s', need %s%s%s%s", o->profile,
        caps_profile_names(names, sizeof names), near ? "; did you mean " : "", near ? near : "",
        near ? "?" : "");
}

/* What the library begins with: network, augmentation, classes, profile. */
static caps_status start_config(caps_train_session *s, caps_train_config *config, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    const caps_args *args = s->args;
    caps_spec_request requests[CAPS_TRAIN_REQUESTS];
    char iterations[32];
    caps_start start = {.data = o->data,
        .arch = o->arch,
        .init = o->init,
        .augment = caps_args_given(args, "--augment") ? o->augment : -1,
        .augment_option = "--augment",
        .requests = requests,
        .no_decoder = o->no_decoder,
        .no_decoder_option = "--no-decoder"};
    caps_status status;
    CAPS_TRY(find_profile(&start.profile, o, err));
    CAPS_TRY(check_length(o->data, sizeof config->data, "--data", err));
    CAPS_TRY(check_length(o->arch, sizeof config->arch, "--arch", err));
    CAPS_TRY(check_length(o->init, sizeof config->init, "--init", err));
    start.request_count = caps_train_requests(o, args, requests, iterations);
    CAPS_TRY(caps_train_config_init(config, err));
    CAPS_TRY(caps_train_config_start(config, &start, &s->init, err));
    s->lacks_profile = caps_start_lacks_profile(&start, config->spec);
done:
    return status;
}

/* Numbers that contradict each other. */
static caps_status check_numbers(const caps_train_config *config, caps_error *err)
{
    const caps_margin *margin = &config->loss.margin;
    if (margin->positive <= margin->negative)
        return caps_cli_usage(err,
            "train: m+ is %g and m- %g, need a larger m+ (--margin-positive, --margin-negative)",
            (double)margin->positive, (double)margin->negative);
    if (config->lr_min > config->lr && config->optimizer == CAPS_OPTIMIZER_ADAM)
        return caps_cli_usage(err, "--lr-min: %g is more than the first learning rate, %g",
            config->lr_min, config->lr);
    return CAPS_OK;
}

/* text NULL: not given. */
static caps_status take_class_weights(caps_train_config *config, const char *text, caps_error *err)
{
    const size_t classes = caps_model_spec_info(config->spec)->classes;
    if (!text)
        return CAPS_OK;
    caps_status status =
        *text ? CAPS_OK
              : caps_fail(err, CAPS_ERR_ARGUMENT, "there is none, need balanced, none or numbers");
    text = strcmp(text, "none") == 0 ? "" : text;
    if (status == CAPS_OK)
        status = caps_class_weights_check(text, classes, err);
    if (status != CAPS_OK)
        return caps_fail_prefix(err, status, "--class-weights");
    return copy_text(
        config->class_weights, sizeof config->class_weights, text, "--class-weights", err);
}

caps_status caps_train_take_settings(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err)
{
    const struct {
        const char *flag;
        uint64_t from, *to;
    } counts[] = {{"--seed", o->seed, &config->seed},
        {"--eval-every", o->eval_every, &config->eval_every},
        {"--save-every", o->save_every, &config->save_every},
        {"--memory-limit", o->memory_limit, &config->memory_limit_bytes}};
    const char *background = o->pictures.background;
    caps_status status;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (caps_args_given(args, counts[i].flag))
            *counts[i].to = counts[i].from;
    if (caps_args_given(args, "--optimizer"))
        config->optimizer = o->optimizer == 0 ? CAPS_OPTIMIZER_ADAM : CAPS_OPTIMIZER_SGD;
    if (caps_args_given(args, "--no-shuffle"))
        config->shuffle = false;
    if (caps_args_given(args, "--limit"))
        config->limit = (size_t)o->limit;
    if (caps_args_given(args, "--validation"))
        config->validation = (size_t)o->validation;
    if (caps_args_given(args, "--invert"))
        config->invert = o->pictures.invert;
    if (caps_args_given(args, "--stretch"))
        config->stretch = o->pictures.stretch;
    change_numbers(o, args, config);
    if (caps_args_given(args, "--weight-decay"))
        config->weight_decay = o->weight_decay;
    CAPS_TRY(caps_train_take_spread_margin(o->spread_margin, config, err));
    caps_train_change_augment(o, args, config);
    CAPS_TRY(copy_text(config->background, sizeof config->background,
        background && strcmp(background, "auto") == 0 ? "" : background, "--background", err));
    if (caps_args_given(args, "--reduce"))
        config->reduce = (caps_reduce)o->reduce;
    config->split_auto = o->split && strcmp(o->split, "auto") == 0;
    if (!config->split_auto)
        CAPS_TRY(copy_text(config->split, sizeof config->split, o->split, "--split", err));
    CAPS_TRY(copy_text(config->conv, sizeof config->conv, o->common.conv, "--conv", err));
    CAPS_TRY(copy_text(config->lr_multipliers, sizeof config->lr_multipliers, o->lr_multipliers,
        "--layer-lr", err));
    CAPS_TRY(take_class_weights(config, o->class_weights, err));
done:
    return status;
}

caps_status caps_train_new_config(caps_train_session *s, caps_train_config *config, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    const caps_args *args = s->args;
    caps_status status;
    CAPS_TRY(start_config(s, config, err));
    CAPS_TRY(caps_train_take_loss(o, args, config, err));
    CAPS_TRY(caps_train_check_loss_flags(args, config, err));
    CAPS_TRY(caps_train_check_augment(args, config, err));
    if (caps_args_given(args, "--epochs"))
        config->epochs = o->epochs;
    else if (caps_args_given(args, "--max-steps"))
        config->epochs = 0;
    config->max_steps = o->max_steps;
    CAPS_TRY(caps_train_take_settings(o, args, config, err));
    if (config->optimizer == CAPS_OPTIMIZER_SGD)
        CAPS_TRY(check_schedule(o, args, err));
    CAPS_TRY(check_numbers(config, err));
done:
    return status;
}
