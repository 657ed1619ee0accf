/* watch.c: see watch.h. */
#include "watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "class_weights.h"
#include "fail.h"

/* A window is a tenth of the run, and not less than this: on a plateau between two falls the loss
 * of ordinary trainings stays for some tens of steps. */
#define LEAST_STEPS 50
/* Windows in a row before anything is said of a run that goes on: of those whose loss stays and
 * whose error is a guess, or whose capsules are short; and of those whose error is a guess,
 * whatever the loss does. */
#define BAD_WINDOWS      2
#define GUESSING_WINDOWS 3
/* A squashed vector below 0.1 says "not there" (m- of the paper), above 0.9 "there" (m+). At the
 * start most are below; none of a training that learns is above for all classes. */
#define SHORT     0.1f
#define SATURATED 0.9f
/* Steps of saturation: squash is flat there, so it does not come back. */
#define SATURATED_STEPS 10
/* Exactly 0 is where the gradient is 0 too: no later step can differ from these. */
#define DEAD_STEPS 2
/* The loss fell if its line of regression over a window fell by this share, and by more than twice
 * its standard error. */
#define FALL   0.01
#define ERRORS 2.0
/* "No better than a guess": the error of a guess times this, as learning shows first where classes
 * are easily told apart. */
#define GUESS 0.95
/* A class of the usual size that is left out is on its way while the loss falls; a small one is
 * not, as it weighs too little in the loss. */
#define MISSED_EPOCHS       2
#define MISSED_STEPS        100
#define MISSED_SMALL_EPOCHS 3
#define MISSED_IMAGES       20
/* Rates that are far from those that trainings begin with: 0.001 of Adam, 0.1 of sgd. */
#define FAR 10

static size_t watch_classes(const caps_watch *w)
{
    return caps_model_spec_info(w->config->spec)->classes;
}

static bool has_capsules(const caps_watch *w)
{
    return caps_model_spec_info(w->config->spec)->dim > 0 &&
           strcmp(caps_model_spec_info(w->config->spec)->class_loss, "margin loss") == 0;
}

caps_status caps_watch_init(caps_watch *w, const caps_train_config *config,
    const caps_dataset *train, const uint64_t *class_images, uint64_t steps_per_epoch,
    uint64_t last_step, caps_error *err)
{
    const size_t classes = caps_model_spec_info(config->spec)->classes;
    const uint64_t tenth = last_step / 10 + (last_step % 10 > 0);
    *w = (caps_watch){.config = config,
        .train = train,
        .class_images = class_images,
        .window_steps = tenth > LEAST_STEPS ? tenth : LEAST_STEPS,
        .steps_per_epoch = steps_per_epoch,
        .last_step = last_step,
        .least = INFINITY,
        .most = -INFINITY};
    w->window_predicted = calloc(classes, sizeof *w->window_predicted);
    w->epoch_predicted = calloc(classes, sizeof *w->epoch_predicted);
    w->missed = calloc(classes, sizeof *w->missed);
    return w->window_predicted && w->epoch_predicted && w->missed
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu classes", classes);
}

void caps_watch_release(caps_watch *w)
{
    free(w->window_predicted);
    free(w->epoch_predicted);
    free(w->missed);
    *w = (caps_watch){0};
}

/* ---- what a step leaves --------------------------------------------------------------------- */

/* Scores of the step's last micro-batch: the class with the greatest is what is predicted. Of
 * several labels the others are left out. */
static void count_scores(caps_watch *w, const caps_step_result *step)
{
    const size_t classes = watch_classes(w);
    float least = INFINITY;
    for (size_t b = 0; b < step->scored; b++) {
        const float *row = step->scores + b * classes;
        size_t best = 0;
        for (size_t j = 0; j < classes; j++) {
            best = row[j] > row[best] ? j : best;
            least = row[j] < least ? row[j] : least;
            w->most = row[j] > w->most ? row[j] : w->most;
        }
        w->window_predicted[best]++;
        w->epoch_predicted[best]++;
    }
    w->least = least < w->least ? least : w->least;
    w->saturated = least > SATURATED ? w->saturated + 1 : 0;
}

static void count_step(caps_watch *w, const caps_step_result *step)
{
    const double y = step->totals.class_loss / (double)step->images, x = (double)w->steps;
    w->sum_y += y;
    w->sum_xy += x * y;
    w->sum_yy += y * y;
    if (w->steps ==
        w->window_steps / 2) { /* what was learnt in the window shows in its second half */
        w->errors = 0;
        w->images = 0;
    }
    w->errors += step->totals.errors;
    w->images += step->images;
    w->steps++;
    w->epoch_steps++;
    count_scores(w, step);
}

static void begin_window(caps_watch *w)
{
    w->steps = w->images = 0;
    w->errors = w->sum_y = w->sum_xy = w->sum_yy = 0;
    w->least = INFINITY;
    w->most = -INFINITY;
    memset(w->window_predicted, 0, watch_classes(w) * sizeof *w->window_predicted);
}

static double window_loss(const caps_watch *w)
{
    return w->sum_y / (double)w->steps;
}

/* The class loss fell over the window: least squares of y = a + slope x. */
static bool is_falling(const caps_watch *w)
{
    const double n = (double)w->steps, sum_x = n * (n - 1) / 2;
    const double xx = n * (n - 1) * (2 * n - 1) / 6 - sum_x * sum_x / n;
    const double xy = w->sum_xy - sum_x * w->sum_y / n, yy = w->sum_yy - w->sum_y * w->sum_y / n;
    if (n < 3)
        return true; /* not known */
    const double slope = xy / xx, rest = fmax(yy - slope * xy, 0) / (n - 2);
    const double fall = -slope * (n - 1), error = sqrt(rest / xx) * (n - 1);
    return fall > FALL * window_loss(w) && fall > ERRORS * error;
}

static size_t largest_class(const caps_watch *w)
{
    size_t largest = 0;
    for (size_t j = 0; j < watch_classes(w); j++)
        if (w->class_images[j] > w->class_images[largest])
            largest = j;
    return largest;
}

/* Training images, as they are counted by class. */
static uint64_t all_images(const caps_watch *w)
{
    uint64_t all = 0;
    for (size_t j = 0; j < watch_classes(w); j++)
        all += w->class_images[j];
    return all;
}

/* The error of who always names the largest class, with class weights any class, or of who draws a
 * pair. */
static double guess_error(const caps_watch *w)
{
    const double classes = (double)watch_classes(w);
    if (caps_model_spec_info(w->config->spec)->labels > 1)
        return 1 - 2 / (classes * (classes - 1));
    if (w->config->class_weights[0])
        return 1 - 1 / classes;
    return 1 - (double)w->class_images[largest_class(w)] / (double)all_images(w);
}

static bool is_guessing(const caps_watch *w)
{
    const double guess = guess_error(w), n = (double)w->images;
    /* Less a standard deviation of that share of n images. */
    const double least = GUESS * guess - sqrt(guess * (1 - guess) / n);
    return guess > 0 && w->errors / n >= least;
}

/* The one class that every image of the window was predicted as; classes: there is none. */
static size_t only_class(const caps_watch *w)
{
    const size_t classes = watch_classes(w);
    size_t only = classes;
    for (size_t j = 0; j < classes; j++) {
        if (w->window_predicted[j] == 0)
            continue;
        if (only < classes)
            return classes;
        only = j;
    }
    return only;
}

/* ---- likely causes -------------------------------------------------------------------------- */

/* Images of one grey or colour all over, of the first thousand. */
static size_t count_flat(const caps_dataset *ds, size_t *of)
{
    const size_t height = ds->pairs ? ds->height - 8 : ds->height;
    const size_t width = ds->pairs ? ds->width - 8 : ds->width, plane = height * width;
    size_t flat = 0;
    *of = ds->n < 1000 ? ds->n : 1000;
    for (size_t i = 0; i < *of; i++) {
        bool is_flat = true;
        for (size_t c = 0; c < ds->channels; c++) {
            const uint8_t *x = ds->images + (i * ds->channels + c) * plane;
            is_flat = is_flat && (plane < 2 || memcmp(x, x + 1, plane - 1) == 0);
        }
        flat += is_flat;
    }
    return flat;
}

static bool rate_is_high(const caps_watch *w)
{
    return w->config->lr >= (w->config->optimizer == CAPS_OPTIMIZER_SGD ? 0.1 : 0.001) * FAR;
}

static bool rate_is_low(const caps_watch *w)
{
    return w->config->lr <=
           (w->config->optimizer == CAPS_OPTIMIZER_SGD ? 0.1 : 0.001) / (FAR * FAR);
}

static const char *usual_rate(const caps_watch *w)
{
    return w->config->optimizer == CAPS_OPTIMIZER_SGD ? "0.1" : "0.001";
}

/* What is likely, and what to try. high: a rate that is no lower than usual counts as too high. */
static void put_cause(const caps_watch *w, bool high, char *text, size_t bytes)
{
    size_t of;
    const size_t flat = count_flat(w->train, &of), only = only_class(w);
    const double lr = w->config->lr;
    if (2 * flat >= of)
        snprintf(text, bytes,
            "%zu of %zu training images are one flat colour: look at the pictures and how they are "
            "read (docs/data.md)",
            flat, of);
    else if (rate_is_high(w))
        snprintf(text, bytes, "the learning rate (%g) is likely too high: try --lr %s", lr,
            usual_rate(w));
    else if (rate_is_low(w))
        snprintf(text, bytes, "the learning rate (%g) is likely too low: try --lr %s", lr,
            usual_rate(w));
    else if (only == largest_class(w) && !w->config->class_weights[0] &&
             caps_class_images_uneven(w->class_images, watch_classes(w)))
        snprintf(text, bytes, "classes are uneven: try --class-weights balanced");
    else if (high)
        snprintf(text, bytes, "the learning rate (%g) may be too high: try --lr %g", lr, lr / 10);
    else
        snprintf(text, bytes,
            "do the labels belong to the images? If they do, try another learning rate than %g",
            lr);
}

/* ---- what is said --------------------------------------------------------------------------- */

static const char *loss_name(const caps_watch *w)
{
    return caps_loss_name(w->config->spec, &w->config->loss);
}

static void say(const caps_watch *w, const char *what, bool high, char *text, size_t bytes)
{
    char cause[256];
    const uint64_t most =
        w->guessing_windows > w->still_windows ? w->guessing_windows : w->still_windows;
    const uint64_t before = most > 1 ? most - 1 : 0;
    const uint64_t steps = before * w->window_steps + w->steps;
    put_cause(w, high, cause, sizeof cause);
    snprintf(text, bytes,
        "the training does not learn: %s over %llu steps (%s %.5f, error %.2f %%); %s", what,
        (unsigned long long)steps, loss_name(w), window_loss(w),
        100 * w->errors / (double)w->images, cause);
}

/* Short or saturated capsules. */
static bool look_at_lengths(const caps_watch *w, bool bad, char *text, size_t bytes)
{
    char what[160];
    if (!has_capsules(w))
        return false;
    const bool dead = w->most <= 0 && w->steps >= DEAD_STEPS;
    if (dead || (w->most < SHORT && bad)) {
        snprintf(what, sizeof what, "all class capsules are short (lengths up to %.2g)",
            (double)w->most);
        say(w, what, false, text, bytes);
        return true;
    }
    if (w->saturated >= SATURATED_STEPS) {
        snprintf(what, sizeof what, "all class capsules are saturated (lengths near 1)");
        say(w, what, true, text, bytes);
        return true;
    }
    return false;
}

/* A window that is full, or the last of the run. */
static bool look_at_window(caps_watch *w, bool last, char *text, size_t bytes)
{
    char name[CAPS_CLASS_NAME], what[CAPS_CLASS_NAME + 64];
    /* The rest of a run, too short for a window, goes with the bad window before it. */
    const bool rest = last && w->steps < LEAST_STEPS && w->guessing_windows > 0;
    const size_t only = only_class(w);
    const bool full = w->steps >= LEAST_STEPS, falls = is_falling(w);
    const bool stays = only < watch_classes(w) || !falls;
    const bool guessing = is_guessing(w) && (rest || full);
    const bool bad = guessing && (stays || (rest && w->bad_windows > 0));
    const bool uneven = caps_class_images_uneven(w->class_images, watch_classes(w));
    w->guessing_windows = guessing ? w->guessing_windows + 1 : 0;
    w->still_windows = full && !falls ? w->still_windows + 1 : 0;
    w->bad_windows = bad ? w->bad_windows + 1 : 0;
    const bool enough =
        (bad && (last || w->bad_windows >= BAD_WINDOWS)) || w->guessing_windows >= GUESSING_WINDOWS;
    const bool still = w->still_windows > 0 && (last || w->still_windows >= BAD_WINDOWS);
    if (look_at_lengths(w, enough || still, text, bytes))
        return true;
    if (!enough)
        return false;
    if (uneven && only == largest_class(w)) /* said better of the classes that are left out */
        return false;
    if (only < watch_classes(w))
        snprintf(what, sizeof what, "every image is predicted as class %s",
            caps_class_name(w->config->spec, only, name));
    else
        snprintf(what, sizeof what, "%s",
            w->bad_windows > 0 ? "the loss stays where it is" : "the error stays that of a guess");
    say(w, what, false, text, bytes);
    return true;
}

/* A class of few images: no more than half of the largest class. */
static bool is_small(const caps_watch *w, size_t j)
{
    return w->class_images[j] <= w->class_images[largest_class(w)] / 2;
}

/* The class was left out for so long that more of the same will not do. */
static bool is_left_out(const caps_watch *w, size_t j, bool last)
{
    const uint64_t missed = w->missed[j], seen = missed * w->class_images[j];
    if (missed == 0 || seen < MISSED_IMAGES)
        return false;
    if (is_small(w, j))
        return last || missed >= MISSED_SMALL_EPOCHS;
    return w->still_windows > 0 && missed >= MISSED_EPOCHS &&
           missed * w->steps_per_epoch >= MISSED_STEPS;
}

/* At the end of an epoch of which every step was seen. */
static bool look_at_classes(caps_watch *w, bool last, char *text, size_t bytes)
{
    const size_t classes = watch_classes(w);
    size_t count = 0, first = classes;
    char name[CAPS_CLASS_NAME], others[48] = "";
    for (size_t j = 0; j < classes; j++) {
        w->missed[j] = w->class_images[j] > 0 && w->epoch_predicted[j] == 0 ? w->missed[j] + 1 : 0;
        if (!is_left_out(w, j, last))
            continue;
        first = first == classes ? j : first;
        count++;
    }
    memset(w->epoch_predicted, 0, classes * sizeof *w->epoch_predicted);
    if (count == 0 || caps_model_spec_info(w->config->spec)->labels > 1)
        return false;
    if (count > 1)
        snprintf(others, sizeof others, ", and %zu more,", count - 1);
    snprintf(text, bytes,
        "class %s (%llu of %llu training images)%s was never predicted in the last %llu epoch%s: "
        "%s",
        caps_class_name(w->config->spec, first, name), (unsigned long long)w->class_images[first],
        (unsigned long long)all_images(w), others, (unsigned long long)w->missed[first],
        w->missed[first] == 1 ? "" : "s",
        is_small(w, first) && !w->config->class_weights[0]
            ? "classes are uneven: try --class-weights balanced, or more images of it"
            : "are its labels right, and do its images differ from those of the other classes? try "
              "a lower learning rate, or more epochs");
    return true;
}

bool caps_watch_step(caps_watch *w, const caps_step_result *step, char *text, size_t bytes)
{
    const bool last = step->step >= w->last_step;
    const bool epoch = step->step % w->steps_per_epoch == 0;
    bool says = false;
    if (w->said)
        return false;
    count_step(w, step);
    if (w->steps >= w->window_steps || last) {
        says = look_at_window(w, last, text, bytes);
        if (!says && !last)
            begin_window(w);
    } else if (epoch) {
        says = look_at_lengths(w, false, text, bytes);
    }
    if (epoch && !says && w->epoch_steps == w->steps_per_epoch)
        says = look_at_classes(w, last, text, bytes);
    if (epoch)
        w->epoch_steps = 0;
    w->said = says;
    return says;
}
