/* predict_report.c: see predict_report.h. */
#include "predict_report.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

static json_t *json_floats(const float *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        caps_json_append(&list, caps_json_float(values[i]));
    return list;
}

static json_t *json_labels(const int32_t *labels, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        caps_json_append(&list, json_integer(labels[i]));
    return list;
}

/* The capsules and what the decoder makes of the longest. */
static void add_capsules(json_t **row, const caps_predicted *b, size_t i)
{
    json_t *capsules = json_array();
    for (size_t j = 0; j < b->info->classes; j++)
        caps_json_append(
            &capsules, json_floats(b->made.capsules + (i * b->info->classes + j) * b->info->dim,
                           b->info->dim));
    caps_json_set(row, "capsules", capsules);
    const size_t one = b->info->pixels, all = b->info->labels * one;
    json_t *reconstruction = json_null();
    if (b->made.reconstruction && b->info->labels == 1) {
        reconstruction = json_floats(b->made.reconstruction + i * one, one);
    } else if (b->made.reconstruction) {
        reconstruction = json_array(); /* one for each label */
        for (size_t t = 0; t < b->info->labels; t++)
            caps_json_append(
                &reconstruction, json_floats(b->made.reconstruction + i * all + t * one, one));
    }
    caps_json_set(row, "reconstruction", reconstruction);
}

caps_status caps_predicted_print_json(const caps_predicted *b, bool capsules, caps_error *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->made.labels + i * b->info->labels;
        const int32_t *truth = b->true_labels + i * b->info->labels;
        json_t *row = json_pack(
            "{s:o, s:i}", "source", caps_json_text(b->sources[i]), "label", (int)label[0]);
        if (truth[0] >= 0)
            caps_json_set(&row, "true_label", json_integer(truth[0]));
        if (b->info->labels > 1) {
            caps_json_set(&row, "labels", json_labels(label, b->info->labels));
            if (truth[0] >= 0)
                caps_json_set(&row, "true_labels", json_labels(truth, b->info->labels));
        }
        if (b->info->has_class_names) {
            char name[CAPS_CLASS_NAME];
            caps_json_set(
                &row, "class", json_string(caps_class_name(b->spec, (size_t)label[0], name)));
        }
        caps_json_set(
            &row, "lengths", json_floats(b->made.lengths + i * b->info->classes, b->info->classes));
        if (capsules)
            add_capsules(&row, b, i);
        caps_json_append(&all, row);
    }
    return caps_cli_print_json(all, err);
}

/* The classes by length, longest first: the first three of them. */
static void print_top(const caps_model_spec *spec, const float *lengths)
{
    const size_t classes = caps_model_spec_info(spec)->classes;
    char name[CAPS_CLASS_NAME];
    size_t shown[3];
    for (size_t rank = 0; rank < 3 && rank < classes; rank++) {
        size_t best = classes;
        for (size_t j = 0; j < classes; j++) {
            bool taken = false;
            for (size_t k = 0; k < rank; k++)
                taken = taken || shown[k] == j;
            if (!taken && (best == classes || lengths[j] > lengths[best]))
                best = j;
        }
        shown[rank] = best;
        printf("%s%s: %.3f", rank ? "  " : "", caps_class_name(spec, best, name),
            (double)lengths[best]);
    }
}

/* "3", or of a pair "3+7". */
static void print_labels(const caps_predicted *b, const int32_t *labels)
{
    char name[CAPS_CLASS_NAME];
    for (size_t t = 0; t < b->info->labels; t++)
        printf("%s%s", t ? "+" : "", caps_class_name(b->spec, (size_t)labels[t], name));
}

/* In any order. */
static bool same_labels(const caps_predicted *b, const int32_t *x, const int32_t *y)
{
    for (size_t t = 0; t < b->info->labels; t++) {
        bool found = false;
        for (size_t k = 0; k < b->info->labels; k++)
            found = found || x[t] == y[k];
        if (!found)
            return false;
    }
    return true;
}

void caps_predicted_print_text(const caps_predicted *b, bool capsules)
{
    int width = 0;
    for (size_t i = 0; i < b->n; i++)
        if ((int)strlen(caps_cli_shown(b->sources[i])) > width)
            width = (int)strlen(caps_cli_shown(b->sources[i]));
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->made.labels + i * b->info->labels;
        const int32_t *truth = b->true_labels + i * b->info->labels;
        printf("%-*s  label ", width, caps_cli_shown(b->sources[i]));
        print_labels(b, label);
        if (truth[0] >= 0) {
            printf("  true ");
            print_labels(b, truth);
            printf(" %s", same_labels(b, label, truth) ? "right" : "WRONG");
        }
        printf("  %s ", b->info->scores);
        print_top(b->spec, b->made.lengths + i * b->info->classes);
        printf("\n");
        for (size_t j = 0; capsules && j < b->info->classes; j++) {
            char name[CAPS_CLASS_NAME];
            printf("  capsule %s:", caps_class_name(b->spec, j, name));
            for (size_t d = 0; d < b->info->dim; d++)
                printf(" %.4f",
                    (double)b->made.capsules[(i * b->info->classes + j) * b->info->dim + d]);
            printf("\n");
        }
    }
}
