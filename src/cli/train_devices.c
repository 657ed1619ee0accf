/* train_devices.c: the devices of a training, and what each did. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fail.h"
#include "json.h"
#include "launcher.h"
#include "train_session.h"

typedef struct deal {
    caps_device_selector list[CAPS_DEVICES_MOST];
    const char *words[CAPS_DEVICES_MOST];
} deal;

/* Of several ranks each takes some of the devices; how they were named is what a run records, as a
 * run that goes on may have other ranks. */
static caps_status deal_devices(caps_train_session *s, caps_train_config *config,
    caps_texts *selectors, deal *dealt, caps_error *err)
{
    char *note = NULL;
    caps_status status;
    size_t n, used = 0;
    if (!s->ranks)
        return CAPS_OK;
    CAPS_TRY(caps_launch_deal(s->ranks, selectors, dealt->list, &n, &note, err));
    config->devices[0] = 0;
    for (size_t i = 0; i < selectors->count && used < sizeof config->devices; i++)
        used += (size_t)snprintf(config->devices + used, sizeof config->devices - used, "%s%s",
            i ? " " : "", selectors->values[i]);
    for (size_t i = 0; i < n; i++)
        dealt->words[i] = dealt->list[i].text;
    *selectors = (caps_texts){dealt->words, n};
    caps_cli_log("ranks: %d on %s", caps_ranks_count(s->ranks), caps_ranks_host(s->ranks, 0));
    if (note)
        caps_cli_note("%s", note);
    if (caps_launch_threads_note())
        caps_cli_note("%s", caps_launch_threads_note());
done:
    free(note);
    return status;
}

caps_status caps_train_open_devices(
    caps_train_session *s, caps_train_config *config, caps_error *err)
{
    const caps_train_flags *o = s->flags;
    const bool recorded = o->devices.count == 0 && o->resume && config->devices[0];
    const char *words[CAPS_DEVICES_MOST];
    char text[sizeof config->devices], *at = text;
    caps_texts selectors = o->devices;
    deal dealt;
    caps_status status;
    if (recorded) { /* a run that goes on has the devices that it had */
        memcpy(text, config->devices, sizeof text);
        selectors = (caps_texts){words, 0};
        for (char *word; selectors.count < CAPS_DEVICES_MOST && (word = strsep(&at, " "));)
            words[selectors.count++] = word;
    }
    CAPS_TRY(deal_devices(s, config, &selectors, &dealt, err));
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
    free(s->named);
}

caps_status caps_train_gather_devices(caps_train_session *s, caps_error *err)
{
    const size_t ranks = (size_t)caps_ranks_count(s->ranks), n = s->opened.n;
    caps_status status = CAPS_OK;
    caps_train_named *own = calloc(n, sizeof *own);
    size_t *firsts = calloc(ranks + 1, sizeof *firsts);
    void *all = NULL;
    if (!own || !firsts)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n));
    for (size_t i = 0; i < n; i++) {
        const caps_device_info *d = caps_runtime_device(s->opened.rts[i]);
        own[i].rank = caps_ranks_rank(s->ranks);
        own[i].did = s->devices[i];
        snprintf(own[i].id, sizeof own[i].id, "%.63s", d->id);
        snprintf(own[i].name, sizeof own[i].name, "%.127s", d->name);
    }
    CAPS_TRY(caps_ranks_collect(s->ranks, own, n, sizeof *own, &all, firsts, err));
    free(s->named);
    s->named = all;
    s->named_count = all ? firsts[ranks] : 0;
done:
    free(own);
    free(firsts);
    return status;
}

json_t *caps_train_devices_json(const caps_train_session *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->named_count; i++) {
        const caps_train_named *d = &s->named[i];
        const caps_train_device *did = &d->did;
        caps_json_append(&list,
            json_pack("{s:o, s:i, s:o, s:I, s:o, s:o, s:I}", "id", caps_json_text(d->id), "rank",
                d->rank, "name", caps_json_text(d->name), "images", (json_int_t)did->images,
                "busy_seconds", caps_json_double(did->busy_seconds), "waiting_seconds",
                caps_json_double(did->waiting_seconds), "share", (json_int_t)did->share));
    }
    return list;
}

void caps_train_devices_print(const caps_train_session *s)
{
    for (size_t i = 0; s->named_count > 1 && i < s->named_count; i++) {
        const caps_train_named *d = &s->named[i];
        const caps_train_device *did = &d->did;
        const double all = did->busy_seconds + did->waiting_seconds;
        char rank[32] = "";
        if (s->ranks)
            snprintf(rank, sizeof rank, "rank %d, ", d->rank);
        printf("%sdevice %s (%s): %zu images of a batch, %llu in all, %.1f images/s, waiting "
               "%.1f %%\n",
            rank, d->id, d->name, did->share, (unsigned long long)did->images,
            all > 0 ? (double)did->images / all : 0,
            all > 0 ? 100 * did->waiting_seconds / all : 0);
    }
}

static size_t batch_of(const caps_train_metrics *m)
{
    size_t batch = 0;
    for (size_t i = 0; i < m->device_count; i++)
        batch += m->devices[i].share;
    return batch;
}

void caps_train_devices_log(const caps_train_metrics *m)
{
    for (size_t i = 0; i < m->device_count; i++) {
        const caps_train_epoch_device *d = &m->devices[i];
        const double all = d->busy_seconds + d->waiting_seconds;
        char rank[32] = "";
        if (m->devices[m->device_count - 1].rank > 0)
            snprintf(rank, sizeof rank, "rank %d, ", d->rank);
        if (all > 0 && d->images_per_second > 0)
            caps_cli_log("  %sdevice %s: %zu of %zu images, %.1f images/s, waiting %.1f %%", rank,
                d->id, d->share, batch_of(m), d->images_per_second, 100 * d->waiting_seconds / all);
    }
}
