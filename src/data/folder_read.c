/* folder_read.c: the pictures of folders, read and converted to the images of a data set. */
#include "folder.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "fail.h"
#include "picture.h"
#include "parallel.h"

typedef struct reading {
    const caps_folder *f;
    const caps_folder_picture *pictures; /* [ds->n] */
    const caps_dataset *ds;
    const caps_dataset_options *o;
    caps_picture_options how;
    pthread_mutex_t mutex; /* guards the rest */
    caps_picture_counts counts;
    size_t done;
    size_t failed; /* the first picture that cannot be read, or SIZE_MAX */
    caps_status status;
    caps_error err;
} reading;

static caps_status read_one(const reading *r, caps_folder_picture picture, uint8_t *out,
    float *values, caps_picture_facts *facts, caps_error *err)
{
    caps_status status;
    const caps_dataset *ds = r->ds;
    caps_image image = {0};
    char *path = caps_folder_file(r->f, picture);
    if (!path || !values)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", r->f->path));
    CAPS_TRY(caps_picture_read(&image, path, &r->how, facts, err));
    status = caps_picture_convert(
        values, &image, ds->channels, ds->height, ds->width, &r->how, facts, err);
    if (status != CAPS_OK)
        CAPS_TRY(caps_fail_prefix(err, status, "%s", path));
    for (size_t i = 0; i < ds->channels * ds->height * ds->width; i++)
        out[i] = (uint8_t)lrintf(values[i] * 255.0f);
done:
    caps_image_release(&image);
    free(path);
    return status;
}

static void read_part(void *context, size_t first, size_t end)
{
    reading *r = context;
    const size_t bytes = r->ds->channels * r->ds->height * r->ds->width;
    float *values = malloc(bytes * sizeof *values);
    caps_picture_facts facts;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    for (size_t i = first; i < end && status == CAPS_OK; i++) {
        status = read_one(r, r->pictures[i], r->ds->images + i * bytes, values, &facts, &err);
        pthread_mutex_lock(&r->mutex);
        if (status == CAPS_OK)
            caps_picture_count(&r->counts, &facts, i);
        /* Of several faults the one that a single thread would have met is reported. */
        if (status != CAPS_OK && i < r->failed) {
            r->failed = i;
            r->status = status;
            r->err = err;
        }
        r->done++;
        if (r->o->progress && status == CAPS_OK && r->failed == SIZE_MAX)
            r->o->progress(r->o->user, r->done, r->ds->n);
        const bool stop = r->failed < i;
        pthread_mutex_unlock(&r->mutex);
        if (stop)
            break;
    }
    free(values);
}

caps_status caps_pictures_size(
    caps_dataset *ds, const char *first, const caps_dataset_options *o, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_image image = {0};
    if (o->channels > 3 || o->channels == 2)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model takes %zu channels, a picture gives 1 or 3", ds->path, o->channels));
    if (!o->channels || !o->height || !o->width)
        CAPS_TRY(caps_image_read(&image, first, err));
    ds->channels = o->channels ? o->channels : image.channels;
    ds->height = o->height ? o->height : image.height;
    ds->width = o->width ? o->width : image.width;
done:
    caps_image_release(&image);
    return status;
}

static char *name_picture(void *of, size_t index)
{
    const reading *r = of;
    return caps_folder_file(r->f, r->pictures[index]);
}

static void note_pictures(reading *r)
{
    static const char *const whats[] = {[CAPS_SPLIT_TRAIN] = "training pictures",
        [CAPS_SPLIT_TEST] = "test pictures",
        [CAPS_SPLIT_VALIDATION] = "validation pictures"};
    const caps_picture_noting noting = {.what = whats[r->ds->split],
        .channels = r->ds->channels,
        .height = r->ds->height,
        .width = r->ds->width,
        .options = &r->how,
        .file = name_picture,
        .of = r,
        .note = r->o->note,
        .user = r->o->user};
    caps_picture_notes(&r->counts, &noting);
}

caps_status caps_pictures_read(caps_dataset *ds, const caps_folder *f,
    const caps_folder_picture *pictures, const caps_dataset_options *o, caps_error *err)
{
    reading r = {.f = f, .pictures = pictures, .ds = ds, .o = o, .failed = SIZE_MAX};
    const size_t bytes = ds->channels * ds->height * ds->width;
    caps_status status = caps_picture_options_of(&r.how, o, err);
    if (status != CAPS_OK)
        return status;
    if (ds->height <= SIZE_MAX / ds->width / 12 && bytes <= SIZE_MAX / 4 / ds->n)
        ds->images = malloc(ds->n * bytes);
    if (!ds->images)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu images of %zux%zux%zu",
            ds->path, ds->n, ds->channels, ds->height, ds->width);
    if (pthread_mutex_init(&r.mutex, NULL) != 0)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", ds->path);
    caps_parallel(ds->n, 16, read_part, &r);
    pthread_mutex_destroy(&r.mutex);
    if (r.status != CAPS_OK && err)
        *err = r.err;
    if (r.status == CAPS_OK)
        note_pictures(&r);
    return r.status;
}
