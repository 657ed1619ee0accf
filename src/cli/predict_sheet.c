/* predict_sheet.c: see predict_sheet.h. */
#include "predict_sheet.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "sheet.h"

static caps_status sheet_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "predict: out of memory for the sheet");
}

static bool keep_init(caps_predicted *kept, const caps_predicted *b)
{
    const size_t most = CAPS_SHEET_MAX, pixels = b->info->pixels;
    kept->info = b->info;
    kept->spec = b->spec;
    kept->sources = calloc(most, sizeof *kept->sources);
    kept->true_labels = calloc(most, sizeof *kept->true_labels);
    kept->inputs = calloc(most * pixels, sizeof *kept->inputs);
    kept->made.labels = calloc(most, sizeof *kept->made.labels);
    kept->made.lengths = calloc(most * b->info->classes, sizeof *kept->made.lengths);
    kept->made.reconstruction = calloc(most * pixels, sizeof *kept->made.reconstruction);
    return kept->sources && kept->true_labels && kept->inputs && kept->made.labels &&
           kept->made.lengths && kept->made.reconstruction;
}

caps_status caps_predict_sheet_keep(caps_predicted *kept, const caps_predicted *b, caps_error *err)
{
    const size_t pixels = b->info->pixels, classes = b->info->classes;
    if (!kept->info && !keep_init(kept, b))
        return sheet_out_of_memory(err);
    for (size_t i = 0; i < b->n && kept->n < CAPS_SHEET_MAX; i++) {
        const size_t k = kept->n;
        kept->sources[k] = caps_format("%s", b->sources[i]);
        if (!kept->sources[k])
            return sheet_out_of_memory(err);
        kept->n++;
        kept->true_labels[k] = b->true_labels[i];
        kept->made.labels[k] = b->made.labels[i];
        memcpy(kept->inputs + k * pixels, b->inputs + i * pixels, pixels * sizeof(float));
        memcpy(kept->made.reconstruction + k * pixels, b->made.reconstruction + i * pixels,
            pixels * sizeof(float));
        memcpy(kept->made.lengths + k * classes, b->made.lengths + i * classes,
            classes * sizeof(float));
    }
    return CAPS_OK;
}

/* Of a path the last name is enough in a small cell; of a data set, split and index,
 * or class and file. */
static const char *short_source(const char *source, bool of_data)
{
    const char *slash = strrchr(source, '/');
    if (!slash)
        return source;
    if (!of_data)
        return slash + 1;
    while (slash > source && slash[-1] != '/')
        slash--;
    return slash;
}

static void fill_cell(caps_sheet_cell *cell, const caps_predicted *b, size_t i, bool of_data)
{
    const size_t pixels = b->info->pixels;
    const int32_t label = b->made.labels[i];
    *cell = (caps_sheet_cell){.source = short_source(b->sources[i], of_data),
        .input = b->inputs + i * pixels,
        .reconstruction = b->made.reconstruction + i * pixels,
        .label = label,
        .true_label = b->true_labels[i],
        .length = b->made.lengths[i * b->info->classes + (size_t)label]};
}

caps_status caps_predict_sheet_write(const caps_predicted *kept, const char *path,
    const char *model, const char *data, size_t all, caps_error *err)
{
    const size_t n = kept->n, classes = kept->info->classes;
    caps_sheet_cell *cells = calloc(n, sizeof *cells);
    char(*texts)[CAPS_CLASS_NAME] = calloc(classes, sizeof *texts);
    const char **names = calloc(classes, sizeof *names);
    caps_status status = CAPS_OK;
    char files[64];
    if (!cells || !texts || !names)
        CAPS_TRY(sheet_out_of_memory(err));
    for (size_t j = 0; j < classes; j++)
        names[j] = caps_class_name(kept->spec, j, texts[j]);
    for (size_t i = 0; i < n; i++)
        fill_cell(&cells[i], kept, i, data != NULL);
    snprintf(files, sizeof files, "%zu file%s", all, all == 1 ? "" : "s");
    const caps_sheet sheet = {.model = model,
        .data = data ? data : files,
        .names = names,
        .cells = cells,
        .count = n,
        .channels = kept->info->input[0],
        .height = kept->info->input[1],
        .width = kept->info->input[2]};
    CAPS_TRY(caps_sheet_write(&sheet, path, err));
    if (n < all)
        caps_cli_warn("%s shows the first %zu of %zu images", path, n, all);
    caps_cli_log("reconstructions: %s", path);
done:
    free(cells);
    free(texts);
    free(names);
    return status;
}
