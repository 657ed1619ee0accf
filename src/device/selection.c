/* selection.c: which device `--device` means. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/device.h>

#include "drivers.h"
#include "fail.h"
#include "parts.h"
#include "prepare.h"

#define REASON_BYTES 256

/* Is `part` in `text`, case ignored? */
static bool contains(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return n == 0;
}

static bool equal_nocase(const char *a, const char *b)
{
    return strlen(a) == strlen(b) && contains(a, b);
}

/* "0:0 name (platform), 0:1 ..." of the devices for which marks[] is set (NULL: all). */
static void describe(
    char *to, size_t capacity, const caps_device_info *list, size_t n, const bool *marks)
{
    size_t at = 0;
    to[0] = 0;
    for (size_t i = 0; i < n && at < capacity - 1; i++) {
        if (marks && !marks[i])
            continue;
        int wrote = snprintf(to + at, capacity - at, "%s%s %s (%s)", at ? ", " : "", list[i].id,
            list[i].name, list[i].platform);
        at += wrote > 0 ? (size_t)wrote : 0;
    }
}

/* Is `a` the better one of two of a type? Memory of its own is what a GPU is fast by: a discrete
 * one has several times the bandwidth of one that shares the host's. */
static bool is_better(const caps_device_info *a, const caps_device_info *b)
{
    if (a->type == CAPS_DEVICE_GPU && a->shares_host_memory != b->shares_host_memory)
        return b->shares_host_memory;
    if (a->peak_gflops < b->peak_gflops || a->peak_gflops > b->peak_gflops)
        return a->peak_gflops > b->peak_gflops;
    if (a->compute_units != b->compute_units)
        return a->compute_units > b->compute_units;
    return a->global_mem_bytes > b->global_mem_bytes;
}

/* The best of a type that can be used, of equal ones the first; n if there is none. */
static size_t best_of(const caps_device_info *list, size_t n, caps_device_type type)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if (list[i].type != type || !list[i].available)
            continue;
        if (best == n || is_better(&list[i], &list[best]))
            best = i;
    }
    return best;
}

/* "12:3" and nothing else. */
static bool parse_id(const char *text, unsigned long *platform, unsigned long *device)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    *platform = strtoul(text, &end, 10);
    if (*end != ':' || !isdigit((unsigned char)end[1]))
        return false;
    *device = strtoul(end + 1, &end, 10);
    return *end == 0;
}

static caps_status select_id(const caps_device_info *list, size_t n, const char *selector,
    unsigned long platform, unsigned long device, size_t *index, caps_error *err)
{
    size_t on_platform = 0;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned long)list[i].platform_index != platform)
            continue;
        on_platform++;
        if ((unsigned long)list[i].device_index == device) {
            *index = i;
            return CAPS_OK;
        }
    }
    if (on_platform == 1)
        return caps_fail(err, CAPS_ERR_NO_DEVICE,
            "device \"%s\": platform %lu has 1 device, need %lu:0", selector, platform, platform);
    if (on_platform)
        return caps_fail(err, CAPS_ERR_NO_DEVICE,
            "device \"%s\": platform %lu has %zu devices, need %lu:0 to %lu:%zu", selector,
            platform, on_platform, platform, platform, on_platform - 1);
    return caps_fail(err, CAPS_ERR_NO_DEVICE,
        "device \"%s\": there is no platform %lu with a device", selector, platform);
}

static caps_status select_name(
    const caps_device_info *list, size_t n, const char *selector, size_t *index, caps_error *err)
{
    char names[480];
    size_t fits = 0;
    bool *marks = calloc(n, sizeof *marks);
    if (!marks)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu devices", n);
    for (size_t i = 0; i < n; i++) {
        if (contains(list[i].name, selector) || contains(list[i].platform, selector)) {
            marks[i] = true;
            fits++;
            *index = i;
        }
    }
    describe(names, sizeof names, list, n, fits ? marks : NULL);
    free(marks);
    if (fits == 1)
        return CAPS_OK;
    if (fits == 0)
        return caps_fail(err, CAPS_ERR_NO_DEVICE,
            "device \"%s\": no device or platform has it in its name (there is: %s)", selector,
            names);
    return caps_fail(err, CAPS_ERR_AMBIGUOUS_DEVICE,
        "device \"%s\" fits %zu devices: %s; name one of them by its number", selector, fits,
        names);
}

static const caps_device_type preference[] = {
    CAPS_DEVICE_GPU, CAPS_DEVICE_CPU, CAPS_DEVICE_ACCELERATOR, CAPS_DEVICE_OTHER};

/* Without a request: the best GPU, else the best CPU, else what there is. */
static caps_status select_best(const caps_device_info *list, size_t n, size_t *index,
    char because[REASON_BYTES], caps_error *err)
{
    size_t best = n;
    for (size_t t = 0; t < sizeof preference / sizeof *preference && best == n; t++) {
        best = best_of(list, n, preference[t]);
        snprintf(because, REASON_BYTES, "%s",
            t == 0   ? "the best GPU"
            : t == 1 ? "no GPU found: the CPU"
                     : "neither GPU nor CPU found: what there is");
    }
    if (best == n && n == 1)
        return caps_device_explain(&list[0], err);
    if (best == n)
        return caps_fail(err, CAPS_ERR_NO_DEVICE,
            "none of the %zu OpenCL devices can be used ('capscl devices' says why)", n);
    *index = best;
    return CAPS_OK;
}

/* Is the selector the word of a type? *type is set then. */
static bool find_type(const char *selector, caps_device_type *type)
{
    for (size_t t = 0; t < 3; t++)
        if (equal_nocase(selector, caps_device_type_name(preference[t]))) {
            *type = preference[t];
            return true;
        }
    return false;
}

static caps_status select_type(const caps_device_info *list, size_t n, const char *selector,
    caps_device_type type, size_t *index, caps_error *err)
{
    char names[480];
    *index = best_of(list, n, type);
    if (*index < n)
        return CAPS_OK;
    for (size_t i = 0; i < n; i++)
        if (list[i].type == type) /* there is one, which cannot be used */
            return caps_device_explain(&list[i], err);
    describe(names, sizeof names, list, n, NULL);
    return caps_fail(err, CAPS_ERR_NO_DEVICE,
        "device \"%s\": there is none of that type (there is: %s)", selector, names);
}

caps_status caps_device_select(const caps_device_info *list, size_t n, const char *selector,
    size_t *index, char *reason, caps_error *err)
{
    char because[REASON_BYTES] = "";
    const char *source = "";
    caps_status status = CAPS_OK;
    caps_device_type type;
    caps_part part;
    unsigned long platform, device;
    if (!selector || !*selector) {
        selector = getenv("CAPSCL_DEVICE");
        source = selector && *selector ? " by CAPSCL_DEVICE" : "";
    }
    if (n == 0)
        return caps_drivers_explain(err);

    CAPS_TRY(caps_part_read(&part, selector, err));
    if (part.count > 0 && part.index == SIZE_MAX)
        CAPS_TRY(caps_fail(err, CAPS_ERR_AMBIGUOUS_DEVICE,
            "device \"%s\": is %zu devices, need one of them: %s:0 to %s:%zu", selector, part.count,
            selector, selector, part.count - 1));
    selector = part.base;
    if (!*selector) {
        CAPS_TRY(select_best(list, n, index, because, err));
    } else if (parse_id(selector, &platform, &device)) {
        CAPS_TRY(select_id(list, n, selector, platform, device, index, err));
        const int used =
            snprintf(because, sizeof because, "requested%s as %.64s", source, selector);
        if (part.count > 0)
            snprintf(
                because + used, sizeof because - (size_t)used, "/%zu:%zu", part.count, part.index);
    } else if (find_type(selector, &type)) {
        CAPS_TRY(select_type(list, n, selector, type, index, err));
        snprintf(because, sizeof because, "the best of type %s, requested%s",
            caps_device_type_name(type), source);
    } else {
        CAPS_TRY(select_name(list, n, selector, index, err));
        snprintf(because, sizeof because, "requested%s by the name \"%.64s\"", source, selector);
    }
    if (!list[*index].available)
        return caps_device_explain(&list[*index], err);
    if (reason)
        snprintf(reason, REASON_BYTES, "%s", because);
done:
    if (status != CAPS_OK && *source) /* who set the variable may have forgotten it */
        return caps_fail_prefix(err, status, "CAPSCL_DEVICE");
    return status;
}
