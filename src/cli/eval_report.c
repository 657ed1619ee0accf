/* eval_report.c: see eval_report.h. */
#include "eval_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

enum { MOST_NAME = 30 }; /* characters of a class's name in the matrix */

char *caps_interval_text(char *text, size_t errors, size_t n)
{
    double low, high;
    caps_wilson(errors, n, CAPS_Z95, &low, &high);
    snprintf(text, 48, "%.2f to %.2f %%", 100 * low, 100 * high);
    return text;
}

void caps_interval_json(json_t **to, const char *prefix, size_t errors, size_t n)
{
    char key[64];
    double ends[] = {NAN, NAN};
    if (n > 0)
        caps_wilson(errors, n, CAPS_Z95, &ends[0], &ends[1]);
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "%serror_%s_percent", prefix, i ? "high" : "low");
        caps_json_set(to, key, caps_json_double(100 * ends[i]));
    }
}

static json_t *confusion_json(const caps_evaluation *result)
{
    json_t *confusion = json_array();
    for (size_t i = 0; i < result->classes; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < result->classes; j++)
            caps_json_append(
                &row, json_integer((json_int_t)result->confusion[i * result->classes + j]));
        caps_json_append(&confusion, row);
    }
    return confusion;
}

json_t *caps_eval_classes_json(const caps_model_spec *spec)
{
    char name[CAPS_CLASS_NAME];
    const size_t classes = caps_model_spec_info(spec)->classes;
    json_t *list = json_array();
    for (size_t j = 0; j < classes; j++)
        caps_json_append(&list, json_string(caps_class_name(spec, j, name)));
    return list;
}

json_t *caps_class_errors_json(const uint64_t *images, const uint64_t *errors, size_t classes)
{
    json_t *list = json_array();
    for (size_t j = 0; j < classes; j++)
        caps_json_append(&list,
            json_pack("{s:I, s:I, s:o}", "n", (json_int_t)images[j], "errors",
                (json_int_t)errors[j], "error_percent",
                caps_json_double(images[j] ? 100 * (double)errors[j] / (double)images[j] : NAN)));
    return list;
}

static json_t *class_errors_json(const caps_evaluation *result)
{
    uint64_t *images = calloc(2 * result->classes, sizeof *images);
    if (!images)
        return NULL;
    for (size_t j = 0; j < result->classes; j++)
        caps_evaluation_class(result, j, &images[j], &images[result->classes + j]);
    json_t *list = caps_class_errors_json(images, images + result->classes, result->classes);
    free(images);
    return list;
}

/* The greatest class has at least twice the images of the least. */
static bool is_uneven(const caps_evaluation *result)
{
    uint64_t least = UINT64_MAX, most = 0, images, errors;
    for (size_t j = 0; j < result->classes; j++) {
        caps_evaluation_class(result, j, &images, &errors);
        if (images == 0)
            continue;
        least = images < least ? images : least;
        most = images > most ? images : most;
    }
    return most > 0 && most / 2 >= least;
}

json_t *caps_eval_short_json(const caps_evaluation *result)
{
    json_t *all = json_pack("{s:I, s:I, s:o, s:o}", "n", (json_int_t)result->n, "errors",
        (json_int_t)result->errors, "error_percent", caps_json_double(result->error_percent),
        "confusion", confusion_json(result));
    caps_interval_json(&all, "", result->errors, result->n);
    caps_json_set(&all, "class_errors", class_errors_json(result));
    caps_json_set(
        &all, "balanced_error_percent", caps_json_double(caps_evaluation_balanced_percent(result)));
    if (result->labels > 1) {
        caps_json_set(&all, "label_errors", json_integer((json_int_t)result->label_errors));
        caps_json_set(&all, "label_error_percent", caps_json_double(result->label_error_percent));
        caps_interval_json(&all, "label_", result->label_errors, result->n * result->labels);
    }
    return all;
}

json_t *caps_eval_json(const caps_evaluation *result)
{
    json_t *all = caps_eval_short_json(result);
    caps_json_set(&all, "margin_loss", caps_json_double(result->class_loss));
    caps_json_set(&all, "reconstruction_sse", caps_json_double(result->reconstruction_sse));
    caps_json_set(&all, "seconds", caps_json_double(result->seconds));
    return all;
}

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* The byte at which character n of the text begins. */
static size_t byte_of(const char *text, size_t n)
{
    size_t i = 0;
    for (; text[i]; i++)
        if (((unsigned char)text[i] & 0xC0) != 0x80 && n-- == 0)
            break;
    return i;
}

/* A class's name, of which a column may have no room for the middle: names that begin alike often
 * end in a number. */
static const char *name_of(const caps_model_spec *spec, size_t j, char *text)
{
    caps_class_name(spec, j, text);
    const size_t n = (size_t)width_of(text), tail = (MOST_NAME - 2) / 3;
    if (n <= MOST_NAME)
        return text;
    const size_t cut = byte_of(text, MOST_NAME - 2 - tail), rest = byte_of(text, n - tail);
    memcpy(text + cut, "..", 2);
    memmove(text + cut + 2, text + rest, strlen(text + rest) + 1);
    return text;
}

static void print_right_aligned(const char *text, int width)
{
    printf("%*s%s", width - width_of(text), "", text);
}

void caps_confusion_print(const caps_model_spec *spec, const caps_evaluation *result)
{
    const size_t classes = result->classes;
    char name[CAPS_CLASS_NAME];
    uint64_t most = 0;
    int head = 5;
    for (size_t i = 0; i < classes * classes; i++)
        if (result->confusion[i] > most)
            most = result->confusion[i];
    int width = snprintf(NULL, 0, "%llu", (unsigned long long)most);
    width = width < 3 ? 3 : width;
    for (size_t j = 0; j < classes; j++)
        if (width_of(name_of(spec, j, name)) > head)
            head = width_of(name);
    /* Long names stand before the rows; columns have numbers, as the rows do then. */
    const bool numbered = caps_model_spec_info(spec)->has_class_names && head > 5;
    printf("\nconfusion (rows: true class, columns: predicted)\n%*s", head + 1 + 4 * numbered, "");
    for (size_t j = 0; j < classes; j++)
        printf(" %*zu", width, j);
    printf("   error\n");
    for (size_t i = 0; i < classes; i++) {
        uint64_t all = 0;
        printf(" ");
        print_right_aligned(name_of(spec, i, name), head);
        if (numbered)
            printf(" %3zu", i);
        for (size_t j = 0; j < classes; j++) {
            const uint64_t count = result->confusion[i * classes + j];
            all += count;
            if (count)
                printf(" %*llu", width, (unsigned long long)count);
            else
                printf(" %*s", width, ".");
        }
        const uint64_t right = result->confusion[i * classes + i];
        if (all)
            printf("  %5.2f %%", 100 * (double)(all - right) / (double)all);
        printf("\n");
    }
}

void caps_eval_print(const char *split, const caps_model_spec *spec, const char *class_loss,
    const caps_evaluation *result)
{
    char interval[48];
    printf("%s error: %.2f %% (%zu of %zu %s; 95 %% interval %s)\n", split, result->error_percent,
        result->errors, result->n, caps_images_name(result->labels),
        caps_interval_text(interval, result->errors, result->n));
    if (result->labels > 1) {
        const size_t labels = result->n * result->labels;
        printf("of single digits: %.2f %% (%zu of %zu; 95 %% interval %s)\n",
            result->label_error_percent, result->label_errors, labels,
            caps_interval_text(interval, result->label_errors, labels));
    }
    if (is_uneven(result))
        printf("balanced error: %.2f %% (the mean of the classes' own errors)\n",
            caps_evaluation_balanced_percent(result));
    printf("%s: %.5f an image\n", class_loss, result->class_loss);
    if (!isnan(result->reconstruction_sse))
        printf("squared reconstruction error: %.3f an image\n", result->reconstruction_sse);
    printf("%.1f images/s\n", result->seconds > 0 ? (double)result->n / result->seconds : 0);
    caps_confusion_print(spec, result);
}
