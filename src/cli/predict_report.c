/* predict_report.c: see predict_report.h. */
#include "predict_report.h"

#include <stdlib.h>
#include <string.h>

#include "colour.h"
#include "csv.h"
#include "fail.h"
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

static json_t *row_json(const caps_predict_printer *p, const caps_predicted *b, size_t i)
{
    const int32_t *label = b->made.labels + i * b->info->labels;
    const int32_t *truth = b->true_labels + i * b->info->labels;
    json_t *row =
        json_pack("{s:o, s:i}", "source", caps_json_text(b->sources[i]), "label", (int)label[0]);
    if (truth[0] >= 0)
        caps_json_set(&row, "true_label", json_integer(truth[0]));
    if (b->info->labels > 1) {
        caps_json_set(&row, "labels", json_labels(label, b->info->labels));
        if (truth[0] >= 0)
            caps_json_set(&row, "true_labels", json_labels(truth, b->info->labels));
    }
    if (b->info->has_class_names) {
        char name[CAPS_CLASS_NAME];
        caps_json_set(&row, "class", json_string(caps_class_name(b->spec, (size_t)label[0], name)));
    }
    caps_json_set(
        &row, "lengths", json_floats(b->made.lengths + i * b->info->classes, b->info->classes));
    if (p->capsules)
        add_capsules(&row, b, i);
    return row;
}

/* Rows of the array, which grows batch by batch. */
static void put_json(caps_textbuf *t, const caps_predict_printer *p, const caps_predicted *b)
{
    for (size_t i = 0; i < b->n; i++) {
        json_t *row = row_json(p, b, i);
        char *text = row ? caps_json_format(row, 0, 9) : NULL;
        json_decref(row);
        caps_textbuf_put(t, "%s%s", p->rows + i > 0 ? "," : "[", text ? text : "");
        t->out_of_memory = t->out_of_memory || !text;
        free(text);
    }
}

/* ---- comma-separated values ----------------------------------------------------------------- */

static void put_columns(caps_textbuf *t, const char *name, size_t labels)
{
    for (size_t i = 0; i < labels; i++)
        if (labels == 1)
            caps_textbuf_put(t, ",%s", name);
        else
            caps_textbuf_put(t, ",%s_%zu", name, i + 1);
}

static void put_csv_head(caps_textbuf *t, const caps_predicted *b)
{
    caps_textbuf_put(t, "source");
    if (b->true_labels[0] >= 0)
        put_columns(t, "true_label", b->info->labels);
    put_columns(t, "label", b->info->labels);
    if (b->info->has_class_names)
        caps_textbuf_put(t, ",class");
    for (size_t j = 0; j < b->info->classes; j++)
        caps_textbuf_put(t, ",length_%zu", j);
    caps_textbuf_put(t, "\n");
}

static void put_csv_row(caps_textbuf *t, const caps_predicted *b, size_t i)
{
    const size_t labels = b->info->labels, classes = b->info->classes;
    char name[CAPS_CLASS_NAME];
    caps_csv_put(t, b->sources[i]);
    for (size_t k = 0; b->true_labels[0] >= 0 && k < labels; k++)
        caps_textbuf_put(t, ",%d", (int)b->true_labels[i * labels + k]);
    for (size_t k = 0; k < labels; k++)
        caps_textbuf_put(t, ",%d", (int)b->made.labels[i * labels + k]);
    if (b->info->has_class_names) {
        caps_textbuf_put(t, ",");
        caps_csv_put(t, caps_class_name(b->spec, (size_t)b->made.labels[i * labels], name));
    }
    for (size_t j = 0; j < classes; j++)
        caps_textbuf_put(t, ",%.9g", (double)b->made.lengths[i * classes + j]);
    caps_textbuf_put(t, "\n");
}

static void put_csv(caps_textbuf *t, const caps_predict_printer *p, const caps_predicted *b)
{
    if (p->rows == 0)
        put_csv_head(t, b);
    for (size_t i = 0; i < b->n; i++)
        put_csv_row(t, b, i);
}

/* ---- text ----------------------------------------------------------------------------------- */

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

static void print_truth(const caps_predicted *b, const int32_t *label, const int32_t *truth)
{
    const bool right = same_labels(b, label, truth);
    printf("  true ");
    print_labels(b, truth);
    printf(" %s%s%s", caps_colour(stdout, right ? CAPS_TINT_GOOD : CAPS_TINT_BAD),
        right ? "right" : "WRONG", caps_colour_end(stdout));
}

static void print_text(const caps_predict_printer *p, const caps_predicted *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *label = b->made.labels + i * b->info->labels;
        const int32_t *truth = b->true_labels + i * b->info->labels;
        printf("%-*s  label ", p->width, caps_cli_shown(b->sources[i]));
        print_labels(b, label);
        if (truth[0] >= 0)
            print_truth(b, label, truth);
        printf("  %s ", b->info->scores);
        print_top(b->spec, b->made.lengths + i * b->info->classes);
        printf("\n");
        for (size_t j = 0; p->capsules && j < b->info->classes; j++) {
            char name[CAPS_CLASS_NAME];
            printf("  capsule %s:", caps_class_name(b->spec, j, name));
            for (size_t d = 0; d < b->info->dim; d++)
                printf(" %.4f",
                    (double)b->made.capsules[(i * b->info->classes + j) * b->info->dim + d]);
            printf("\n");
        }
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

void caps_predict_printer_fit(caps_predict_printer *p, const char *source)
{
    const int n = (int)strlen(caps_cli_shown(source));
    if (n > p->width)
        p->width = n;
}

caps_status caps_predict_print(caps_predict_printer *p, const caps_predicted *b, caps_error *err)
{
    caps_textbuf t = {0}; /* a batch is printed whole or not at all */
    if (b->n == 0)
        return CAPS_OK;
    if (p->form == CAPS_PREDICT_JSON) {
        put_json(&t, p, b);
    } else if (p->form == CAPS_PREDICT_CSV) {
        put_csv(&t, p, b);
    } else {
        for (size_t i = 0; i < b->n; i++)
            caps_predict_printer_fit(p, b->sources[i]);
        print_text(p, b);
    }
    const bool whole = !t.out_of_memory;
    if (whole && t.text)
        fwrite(t.text, 1, t.used, stdout);
    caps_textbuf_release(&t);
    p->rows += b->n;
    return whole ? CAPS_OK
                 : caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu rows", b->n);
}

void caps_predict_print_end(const caps_predict_printer *p)
{
    if (p->form == CAPS_PREDICT_JSON && p->rows > 0)
        puts("]");
}
