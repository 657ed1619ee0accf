/* train_devices.c: the devices of a training, and what each did. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fail.h"
#include "json.h"
#include "train_session.h"

/* Selectors of single devices; *count 0: the default one. */
static caps_status select_devices(caps_device_selector devices[CAPS_DEVICES_MOST], size_t *count,
    const caps_train_session *s, const caps_train_config *config, caps_error *err)
{
    const caps_texts *given = &s->flags->devices;
    const char *recorded[CAPS_DEVICES_MOST];
    char text[sizeof config->devices], *at = text;
    size_t n = 0;
    *count = 0;
    if (given->count > 0)
        return caps_device_select_several(devices, count, given->values, given->count, err);
    if (!s->flags->resume || !config->devices[0])
        return CAPS_OK;
    memcpy(text, config->devices, sizeof text);
    for (char *word; n < CAPS_DEVICES_MOST && (word = strsep(&at, " "));)
        recorded[n++] = word;
    const caps_status status = caps_device_select_several(devices, count, recorded, n, err);
    return status == CAPS_OK ? status
                             : caps_fail_prefix(err, status,
                                   "the run was on the devices %s, and --device may name others",
                                   config->devices);
}

caps_status caps_train_open_devices(
    caps_train_session *s, const caps_train_config *config, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    caps_device_selector devices[CAPS_DEVICES_MOST];
    caps_common common = o->common;
    caps_status status;
    size_t n = 0;
    CAPS_TRY(select_devices(devices, &n, s, config, err));
    /* What one device was named is the reason that is logged. */
    if (n == 1 && o->devices.count == 1 && strcmp(o->devices.values[0], "all") != 0)
        common.device = o->devices.values[0];
    else if (n > 0)
        common.device = devices[0].text;
    if (o->common.trace && n > 1)
        CAPS_TRY(caps_cli_usage(err, "--trace with %zu devices, need one", n));
    CAPS_TRY(caps_cli_open(&s->rt, &common, o->kernel_times, err));
    s->devices = calloc(n ? n : 1, sizeof *s->devices);
    s->others = calloc(n ? n : 1, sizeof(caps_runtime *));
    if (!s->devices || !s->others)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    for (size_t i = 1; i < n; i++) {
        CAPS_TRY(caps_cli_open_other(
            &s->others[s->others_count], devices[i].text, o->kernel_times, err));
        s->others_count++;
    }
done:
    return status;
}

void caps_train_close_devices(caps_train_session *s)
{
    for (size_t i = 0; s->devices && i < s->others_count; i++)
        if (!s->devices[i + 1].stuck)
            caps_runtime_free(s->others[i]);
    if (!s->devices || !s->devices[0].stuck)
        caps_runtime_free(s->rt);
    free(s->others);
    free(s->devices);
}

static const caps_device_info *device_of(const caps_train_session *s, size_t i)
{
    return caps_runtime_device(i == 0 ? s->rt : s->others[i - 1]);
}

json_t *caps_train_devices_json(const caps_train_session *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i <= s->others_count; i++) {
        const caps_device_info *d = device_of(s, i);
        const caps_train_device *did = &s->devices[i];
        caps_json_append(&list,
            json_pack("{s:o, s:i, s:o, s:I, s:o, s:o, s:I}", "id", caps_json_text(d->id), "rank", 0,
                "name", caps_json_text(d->name), "images", (json_int_t)did->images, "busy_seconds",
                caps_json_double(did->busy_seconds), "waiting_seconds",
                caps_json_double(did->waiting_seconds), "share", (json_int_t)did->share));
    }
    return list;
}

void caps_train_devices_print(const caps_train_session *s)
{
    for (size_t i = 0; s->others_count > 0 && i <= s->others_count; i++) {
        const caps_device_info *d = device_of(s, i);
        const caps_train_device *did = &s->devices[i];
        const double all = did->busy_seconds + did->waiting_seconds;
        printf(
            "device %s (%s): %zu images of a batch, %llu in all, %.1f images/s, waiting %.1f %%\n",
            d->id, d->name, did->share, (unsigned long long)did->images,
            all > 0 ? (double)did->images / all : 0,
            all > 0 ? 100 * did->waiting_seconds / all : 0);
    }
}
