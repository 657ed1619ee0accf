/* cli_data.c: data sets as the subcommands open them. */
#include "cli.h"
#include "evaluate.h"
#include "fail.h"
#include "progress.h"

static void on_pictures(void *user, size_t done, size_t total)
{
    (void)user;
    if (caps_progress_due())
        caps_progress_show("reading pictures: %zu of %zu", done, total);
}

caps_status caps_cli_data_open(caps_dataset *ds, const char *data, caps_split split, size_t limit,
    const caps_model_spec *spec, caps_error *err)
{
    const size_t *size = spec->source[0] ? spec->source : spec->input;
    const caps_dataset_options options = {.split = split,
        .limit = limit,
        .channels = size[0],
        .height = size[1],
        .width = size[2],
        .progress = on_pictures};
    caps_status status;
    CAPS_TRY(caps_dataset_open(ds, data, &options, err));
    caps_progress_clear();
    if (spec->source[0])
        caps_dataset_set_view(ds, spec->input[1], spec->input[2]);
    CAPS_TRY(caps_data_check(ds, spec, err));
done:
    caps_progress_clear();
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}
