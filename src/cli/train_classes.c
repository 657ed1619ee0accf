/* train_classes.c: errors by class, as `train` logs and keeps them. */
#include <math.h>
#include <stdlib.h>

#include "eval_report.h"
#include "json.h"
#include "textbuf.h"
#include "train_session.h"

enum { MOST_LISTED = 10 }; /* classes in a line; of more the worst */

static double class_percent(const caps_train_metrics *m, size_t j)
{
    return 100 * (double)m->class_errors[j] / (double)m->class_images[j];
}

/* Classes that are worse than class j, of equal ones those before it. */
static size_t class_rank(const caps_train_metrics *m, size_t j)
{
    size_t rank = 0;
    for (size_t k = 0; k < m->classes; k++)
        if (m->class_images[k] > 0)
            rank += class_percent(m, k) > class_percent(m, j) ||
                    (k < j && class_percent(m, k) >= class_percent(m, j));
    return rank;
}

/* "error by class: cat 1.00 % (1 of 100), ..."; malloc'd, or NULL. */
static char *format_line(const caps_train_config *config, const caps_train_metrics *m)
{
    caps_textbuf line = {0};
    char name[CAPS_CLASS_NAME];
    const char *between = "";
    caps_textbuf_put(
        &line, "error by class%s: ", m->classes > MOST_LISTED ? ", the worst of them" : "");
    for (size_t j = 0; j < m->classes; j++) {
        if (m->class_images[j] == 0 ||
            (m->classes > MOST_LISTED && class_rank(m, j) >= MOST_LISTED))
            continue;
        caps_textbuf_put(&line, "%s%s: %.2f %% (%llu of %llu)", between,
            caps_class_name(config->spec, j, name), class_percent(m, j),
            (unsigned long long)m->class_errors[j], (unsigned long long)m->class_images[j]);
        between = ", ";
    }
    if (line.out_of_memory)
        caps_textbuf_release(&line);
    return line.text;
}

void caps_train_release_classes(caps_train_session *s)
{
    free(s->class_line);
    json_decref(s->class_errors);
    s->class_line = NULL;
    s->class_errors = NULL;
}

void caps_train_keep_classes(caps_train_watch *w, const caps_train_metrics *m)
{
    caps_train_session *s = w->session;
    caps_train_release_classes(s);
    if (!m->class_images)
        return;
    s->class_errors = caps_class_errors_json(m->class_images, m->class_errors, m->classes);
    if (!m->classes_uneven)
        return;
    s->class_line = format_line(w->config, m);
    if (s->class_line)
        caps_cli_log("  %s", s->class_line);
}
