/* picture_files.c: pictures that are named on the command line, as a network takes them. */
#include "cli_inspect.h"
#include "fail.h"
#include "file.h"
#include "picture.h"

static caps_status read_file(float *input, const caps_model_info *info, const char *path,
    bool alone, const caps_picture_options *how, caps_picture_facts *facts, caps_error *err)
{
    const size_t *chw = info->input;
    caps_image image = {0};
    char conversion[CAPS_PICTURE_TEXT];
    caps_status status;
    CAPS_TRY(caps_picture_read(&image, path, how, facts, err));
    CAPS_TRY(caps_picture_convert(input, &image, chw[0], chw[1], chw[2], how, facts, err));
    caps_picture_describe(conversion, facts);
    if (!alone || !caps_picture_is_changed(facts)) /* else a note says it */
        caps_cli_detail("%s: %s", path, conversion);
done:
    caps_image_release(&image);
    return status;
}

static char *name_file(void *of, size_t i)
{
    char *const *paths = of;
    return caps_format("%s", paths[i]);
}

caps_status caps_cli_read_pictures(float *inputs, const caps_model_info *info, char **paths,
    size_t n, const caps_subset_pictures *chosen, caps_error *err)
{
    const caps_dataset_options wanted = {.background = chosen->background,
        .invert = chosen->invert,
        .stretch = chosen->stretch,
        .ground = chosen->ground};
    caps_picture_options how;
    caps_picture_counts counts = {0};
    caps_status status;
    CAPS_TRY(caps_picture_options_of(&how, &wanted, err));
    for (size_t i = 0; i < n; i++) {
        caps_picture_facts facts;
        CAPS_TRY(read_file(inputs + i * info->pixels, info, paths[i], n == 1, &how, &facts, err));
        caps_picture_count(&counts, &facts, i);
    }
    const caps_picture_noting noting = {.what = "pictures",
        .channels = info->input[0],
        .height = info->input[1],
        .width = info->input[2],
        .options = &how,
        .file = name_file,
        .of = paths,
        .note = caps_cli_on_note};
    caps_picture_notes(&counts, &noting);
done:
    return status;
}
