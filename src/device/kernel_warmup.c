/* kernel_warmup.c: see kernel_warmup.h. */
#include "kernel_warmup.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "file.h"
#include "runtime_state.h"

enum { WAIT_MS = 10, MOST_WAITS = 1000 };

typedef struct listed {
    char *name; /* with a template's options behind */
    bool done;
} listed;

typedef enum phase { LISTING, TEMPLATES, LATER_PART } phase;

struct caps_warmup {
    phase phase;
    listed *kernels; /* by first launch */
    size_t count, capacity;
};

bool caps_cache_is_cold(void)
{
    char *place = NULL;
    if (caps_cache_directory(&place, NULL, NULL) != CAPS_OK || !place)
        return false; /* there is none to fill */
    DIR *directory = opendir(place);
    bool cold = true;
    for (const struct dirent *e; directory && cold && (e = readdir(directory));)
        cold = strncmp(e->d_name, "program-", 8) != 0;
    if (directory)
        closedir(directory);
    free(place);
    return cold;
}

bool caps_warmup_is_useful(const caps_runtime *rt)
{
    return strcmp(rt->device.platform, "Portable Computing Language") == 0;
}

caps_status caps_warmup_list(caps_runtime *rt, caps_error *err)
{
    caps_warmup_free(rt->warmup);
    rt->warmup = calloc(1, sizeof *rt->warmup);
    return rt->warmup ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
}

void caps_warmup_compile_templates(caps_runtime *rt)
{
    rt->warmup->phase = TEMPLATES;
}

caps_status caps_warmup_compile(caps_runtime *rt, caps_error *err)
{
    const struct timespec moment = {.tv_nsec = WAIT_MS * 1000000L};
    for (int i = 0; i < MOST_WAITS && !caps_registry_is_cached(rt); i++)
        nanosleep(&moment, NULL);
    rt->warmup->phase = LATER_PART;
    return caps_runtime_build(rt, err);
}

static caps_status warmup_append(caps_warmup *w, char *name, caps_error *err)
{
    if (w->count == w->capacity) {
        const size_t capacity = w->capacity ? 2 * w->capacity : 64;
        listed *grown = realloc(w->kernels, capacity * sizeof *grown);
        if (!grown) {
            free(name);
            return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu kernels", capacity);
        }
        w->kernels = grown;
        w->capacity = capacity;
    }
    w->kernels[w->count++] = (listed){.name = name};
    return CAPS_OK;
}

caps_status caps_warmup_should_launch(bool *launch, caps_runtime *rt, const caps_template *template,
    const char *kernel, caps_error *err)
{
    caps_warmup *w = rt->warmup;
    cl_program program;
    size_t at = 0;
    *launch = false;
    char *name = caps_format("%s%s", kernel, template ? template->options : "");
    if (!name)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a kernel's name");
    while (at < w->count && strcmp(w->kernels[at].name, name) != 0)
        at++;
    if (at == w->count) {
        caps_status status = warmup_append(w, name, err);
        if (status == CAPS_OK && template && w->phase == LISTING)
            status = caps_registry_get(&program, rt, template, err);
        return status;
    }
    free(name);
    const bool mine =
        w->phase == TEMPLATES ? template != NULL : w->phase == LATER_PART && at >= w->count / 2;
    if (mine && !w->kernels[at].done)
        *launch = w->kernels[at].done = true;
    return CAPS_OK;
}

void caps_warmup_free(caps_warmup *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        free(w->kernels[i].name);
    free(w->kernels);
    free(w);
}
