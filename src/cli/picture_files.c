/* picture_files.c: see picture_files.h. */
#include "picture_files.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "parallel.h"

caps_status caps_picture_reader_init(caps_picture_reader *r, const caps_model_info *info,
    const caps_subset_pictures *chosen, caps_error *err)
{
    const caps_dataset_options wanted = {.background = chosen->background,
        .invert = chosen->invert,
        .stretch = chosen->stretch,
        .ground = chosen->ground};
    *r = (caps_picture_reader){.info = info};
    return caps_picture_options_of(&r->how, &wanted, err);
}

void caps_picture_reader_release(caps_picture_reader *r)
{
    for (size_t i = 0; i < r->names_count; i++)
        free(r->names[i].name);
    *r = (caps_picture_reader){0};
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A file, and what became of it. */
typedef struct one_file {
    caps_status status;
    char message[CAPS_ERROR_MESSAGE_BYTES];
    caps_picture_facts facts;
} one_file;

typedef struct reading {
    const caps_picture_reader *reader;
    float *inputs;
    char **paths;
    one_file *files;
} reading;

static void read_one(one_file *file, const caps_picture_reader *r, float *input, const char *path)
{
    const size_t *chw = r->info->input;
    caps_image image = {0};
    caps_error err = {0};
    caps_status status;
    CAPS_TRY(caps_picture_read(&image, path, &r->how, &file->facts, &err));
    CAPS_TRY(
        caps_picture_convert(input, &image, chw[0], chw[1], chw[2], &r->how, &file->facts, &err));
done:
    file->status = status;
    memcpy(file->message, err.message, sizeof file->message);
    caps_image_release(&image);
}

static void read_part(void *context, size_t first, size_t end)
{
    const reading *r = context;
    for (size_t i = first; i < end; i++)
        read_one(&r->files[i], r->reader, r->inputs + i * r->reader->info->pixels, r->paths[i]);
}

/* Counts a picture, and keeps its name where a note may need it. */
static caps_status count_picture(
    caps_picture_reader *r, const caps_picture_facts *facts, const char *path, caps_error *err)
{
    caps_picture_counts *c = &r->counts;
    const size_t index = c->n;
    caps_picture_count(c, facts, index);
    if (index > 0 && !(facts->flat && c->flat <= CAPS_PICTURES_NAMED) &&
        !(facts->other_ground && c->other_ground <= CAPS_PICTURES_NAMED) &&
        !(facts->imperfect && c->imperfect <= CAPS_PICTURES_NAMED))
        return CAPS_OK;
    char *name = caps_format("%s", path);
    if (!name)
        return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory");
    r->names[r->names_count].index = index;
    r->names[r->names_count++].name = name;
    return CAPS_OK;
}

static void tell_conversion(const char *path, const caps_picture_facts *facts, bool alone)
{
    char conversion[CAPS_PICTURE_TEXT];
    caps_picture_describe(conversion, facts);
    if (!alone || !caps_picture_is_changed(facts)) /* else a note says it */
        caps_cli_detail("%s: %s", path, conversion);
}

caps_status caps_picture_reader_take(
    caps_picture_reader *r, float *inputs, char **paths, size_t *n, bool alone, caps_error *err)
{
    const size_t pixels = r->info->pixels, all = *n;
    one_file *files = calloc(all + 1, sizeof *files);
    size_t i = 0, kept = 0;
    caps_status status = CAPS_OK;
    if (!files)
        return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for %zu images", all);
    caps_parallel(all, 8, read_part, &(reading){r, inputs, paths, files});
    for (; i < all; i++) {
        if (files[i].status != CAPS_OK) {
            caps_fail(err, files[i].status, "%s", files[i].message);
            if (caps_cli_exit_code(files[i].status) != CAPS_EXIT_INPUT)
                CAPS_TRY(files[i].status);
            caps_cli_end(files[i].status, err);
            r->failed++;
            free(paths[i]);
            continue;
        }
        tell_conversion(paths[i], &files[i].facts, alone);
        CAPS_TRY(count_picture(r, &files[i].facts, paths[i], err));
        memmove(inputs + kept * pixels, inputs + i * pixels, pixels * sizeof *inputs);
        paths[kept++] = paths[i];
    }
done:
    for (; i < all; i++) /* where it ended early */
        free(paths[i]);
    *n = kept;
    free(files);
    return status;
}

/* ---- notes ---------------------------------------------------------------------------------- */

static char *name_of(void *of, size_t index)
{
    const caps_picture_reader *r = of;
    for (size_t i = 0; i < r->names_count; i++)
        if (r->names[i].index == index)
            return caps_format("%s", r->names[i].name);
    return NULL;
}

void caps_picture_reader_note(const caps_picture_reader *r)
{
    caps_picture_reader named = *r;
    const caps_picture_noting noting = {.what = "pictures",
        .channels = r->info->input[0],
        .height = r->info->input[1],
        .width = r->info->input[2],
        .options = &r->how,
        .file = name_of,
        .of = &named,
        .note = caps_cli_on_note};
    caps_picture_notes(&r->counts, &noting);
}
