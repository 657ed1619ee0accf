/* predict_images.c: see predict_images.h. */
#include "predict_images.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "progress.h"

static caps_status predict_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory");
}

/* ---- memory --------------------------------------------------------------------------------- */

/* The batch is empty again. */
static void batch_clear(caps_predicted *b)
{
    for (size_t i = 0; b->sources && i < b->n; i++)
        free(b->sources[i]);
    caps_predictions_release(&b->made);
    b->n = 0;
}

void caps_predict_batch_release(caps_predicted *b)
{
    batch_clear(b);
    free(b->sources);
    free(b->true_labels);
    free(b->inputs);
    *b = (caps_predicted){0};
}

caps_status caps_predict_batch_init(
    caps_predicted *b, const caps_predict_images *from, caps_error *err)
{
    const caps_model_info *info = from->info;
    *b = (caps_predicted){.info = info, .spec = from->spec};
    b->sources = calloc(from->most, sizeof *b->sources);
    b->true_labels = calloc(from->most * info->labels, sizeof *b->true_labels);
    b->inputs = calloc(from->most * info->pixels, sizeof *b->inputs);
    if (b->sources && b->true_labels && b->inputs)
        return CAPS_OK;
    caps_predict_batch_release(b);
    return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", from->most);
}

/* ---- of a data set -------------------------------------------------------------------------- */

/* "mnist/test/12", where an image has no file of its own: the set's last name, split and index. */
static char *source_name(const char *data, const char *split, size_t index)
{
    size_t n = strlen(data);
    while (n > 1 && data[n - 1] == '/')
        n--;
    return caps_format("%.*s/%s/%zu", (int)n, data, split, index);
}

static size_t image_index(const caps_predict_images *from, size_t place)
{
    return from->index->count ? (size_t)from->index->values[place] : place;
}

static caps_status take_images(caps_predicted *b, caps_predict_images *from, caps_error *err)
{
    const caps_dataset *ds = from->ds;
    while (b->n < from->most && from->next < from->total) {
        const size_t index = image_index(from, from->next++), i = b->n;
        const char *file = caps_dataset_file(ds, index);
        b->sources[i] =
            file ? caps_format("%s", file) : source_name(from->data, from->split, index);
        if (!b->sources[i])
            return predict_out_of_memory(err);
        b->n++;
        caps_dataset_draw(ds, index, CAPS_AUGMENT_NONE, 0, 0, b->inputs + i * b->info->pixels,
            b->true_labels + i * b->info->labels, NULL);
    }
    from->ended = from->next == from->total;
    return CAPS_OK;
}

/* ---- of files ------------------------------------------------------------------------------- */

/* The next name; NULL: none now, or none any more. */
static caps_status next_name(char **name, caps_predict_images *from, bool wait, caps_error *err)
{
    if (from->names)
        return caps_names_next(from->names, wait, name, err);
    *name = NULL;
    if (from->next == from->total)
        return CAPS_OK;
    *name = caps_format("%s", from->paths[from->next]);
    return *name ? CAPS_OK : predict_out_of_memory(err);
}

static caps_status take_files(caps_predicted *b, caps_predict_images *from, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *name = NULL;
    while (b->n < from->most) {
        CAPS_TRY(next_name(&name, from, b->n == 0, err));
        if (!name)
            break;
        b->sources[b->n++] = name;
        from->next++;
        CAPS_TRY(caps_cli_check_apart("--reconstruct", from->output, name, err));
    }
    from->ended = from->names ? from->names->ended && !name : from->next == from->total;
    for (size_t i = 0; i < b->n * b->info->labels; i++)
        b->true_labels[i] = -1;
    CAPS_TRY(caps_picture_reader_take(
        &from->reader, b->inputs, b->sources, &b->n, from->ended && from->next == 1, err));
done:
    return status;
}

caps_status caps_predict_batch_take(caps_predicted *b, caps_predict_images *from, caps_error *err)
{
    batch_clear(b);
    return from->ds ? take_images(b, from, err) : take_files(b, from, err);
}

/* ---- what is seen in them ------------------------------------------------------------------- */

/* The images as they are seen from elsewhere: drawn anew, or, files, moved over black. */
typedef struct look {
    const caps_predicted *b;
    const caps_predict_images *from;
} look;

static void draw_look(void *user, const caps_offset *by, float *inputs)
{
    const look *l = user;
    const size_t pixels = l->b->info->pixels, *size = l->b->info->input;
    const size_t first = l->from->next - l->b->n;
    for (size_t i = 0; i < l->b->n; i++) {
        float *to = inputs + i * pixels;
        if (l->from->ds) {
            int32_t labels[CAPS_MAX_LABELS];
            caps_dataset moved = *l->from->ds;
            moved.offset[0] += by->down;
            moved.offset[1] += by->right;
            caps_dataset_draw(
                &moved, image_index(l->from, first + i), CAPS_AUGMENT_NONE, 0, 0, to, labels, NULL);
        } else {
            caps_looks_move(to, l->b->inputs + i * pixels, size, by);
        }
    }
}

/* How far it is, of all images. */
static bool predict_progress(void *user, size_t done, size_t all)
{
    const look *l = user;
    const size_t n = l->b->n, before = l->from->next - n;
    char bar[32], left[32];
    if (!caps_progress_due())
        return false;
    if (l->from->total == 0) {
        caps_progress_show("predicting: %zu so far", before);
        return false;
    }
    const double fraction =
        ((double)before + (double)n * (double)done / (double)all) / (double)l->from->total;
    caps_progress_show("predicting %s %3.0f %%  %zu of %zu%s", caps_progress_bar(bar, fraction),
        100 * fraction, before, l->from->total, caps_progress_left(left, fraction));
    return false;
}

caps_status caps_predict_batch_run(caps_predicted *b, const caps_predict_images *from,
    caps_model *const *models, size_t count, const caps_looks *looks, unsigned what,
    caps_error *err)
{
    look l = {b, from};
    const caps_inspect_progress progress = {predict_progress, &l};
    if (looks->count)
        return caps_looks_predict(
            looks, models, count, b->n, draw_look, &l, &progress, &b->made, err);
    return caps_predict_by(models, count, b->inputs, b->n, what, &progress, &b->made, err);
}
