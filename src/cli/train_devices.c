/* train_devices.c: the devices of a training, and what each did. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fail.h"
#include "json.h"
#include "train_session.h"

caps_status caps_train_open_devices(
    caps_train_session *s, const caps_train_config *config, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    const bool recorded = o->devices.count == 0 && o->resume && config->devices[0];
    const char *words[CAPS_DEVICES_MOST];
    char text[sizeof config->devices], *at = text;
    caps_texts selectors = o->devices;
    caps_status status;
    if (recorded) { /* a run that goes on has the devices that it had */
        memcpy(text, config->devices, sizeof text);
        selectors = (caps_texts){words, 0};
        for (char *word; selectors.count < CAPS_DEVICES_MOST && (word = strsep(&at, " "));)
            words[selectors.count++] = word;
    }
    status = caps_cli_open_several(&s->opened, &selectors, &o->common, o->kernel_times, err);
    if (status != CAPS_OK && recorded)
        caps_fail_prefix(
            err, status, "the run was on devices %s (--device names others)", config->devices);
    CAPS_TRY(status);
    s->rt = s->opened.rts[0];
    s->devices = calloc(s->opened.n, sizeof *s->devices);
    if (!s->devices)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", s->opened.n));
done:
    return status;
}

void caps_train_close_devices(caps_train_session *s)
{
    for (size_t i = 0; s->devices && i < s->opened.n; i++)
        if (s->devices[i].stuck) { /* freeing it would wait for ever, as would its driver's end */
            s->opened.rts[i] = NULL;
            caps_cli_leave();
        }
    caps_cli_close(&s->opened);
    free(s->devices);
}

static const caps_device_info *device_of(const caps_train_session *s, size_t i)
{
    return caps_runtime_device(s->opened.rts[i]);
}

json_t *caps_train_devices_json(const caps_train_session *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->opened.n; i++) {
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
    for (size_t i = 0; s->opened.n > 1 && i < s->opened.n; i++) {
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
