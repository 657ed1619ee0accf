/* parts.c: see parts.h; and selectors that name several devices. */
#include "parts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "prepare.h"

/* ---- one part ------------------------------------------------------------------------------- */

/* "12" at the start of a text: what comes after it, or NULL where there is no such number. */
static const char *read_count(size_t *count, const char *text)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return NULL;
    *count = strtoul(text, &end, 10);
    return end;
}

caps_status caps_part_read(caps_part *part, const char *selector, caps_error *err)
{
    size_t count, index;
    if (!selector || !*selector)
        selector = getenv("CAPSCL_DEVICE");
    selector = selector ? selector : "";
    *part = (caps_part){.index = SIZE_MAX};
    if (strlen(selector) >= sizeof part->base)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "device \"%.40s...\": has %zu characters, need < %d", selector, strlen(selector),
            CAPS_DEVICE_SELECTOR);
    snprintf(part->base, sizeof part->base, "%s", selector);
    char *slash = strrchr(part->base, '/');
    const char *rest = slash ? read_count(&count, slash + 1) : NULL;
    if (!rest || (*rest && *rest != ':')) /* a name may have a slash */
        return CAPS_OK;
    part->count = count;
    if (*rest == ':') {
        const char *end = read_count(&index, rest + 1);
        if (!end || *end || index >= count)
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "device \"%s\": no such part, need /%zu:0 to /%zu:%zu", selector, count, count,
                count > 0 ? count - 1 : 0);
        part->index = index;
    }
    if (count < 1 || count > CAPS_DEVICES_MOST)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "device \"%s\": %zu parts, need 1 to %d", selector,
            count, CAPS_DEVICES_MOST);
    *slash = 0;
    return CAPS_OK;
}

caps_status caps_part_take(caps_device_info *info, const caps_part *part, caps_error *err)
{
    cl_device_partition_property properties[CAPS_DEVICES_MOST + 3] = {
        CL_DEVICE_PARTITION_BY_COUNTS};
    cl_device_id parts[CAPS_DEVICES_MOST] = {0};
    const size_t count = part->count, units = info->compute_units;
    cl_uint made = 0;
    caps_device_info whole = *info;
    if (units < count)
        return caps_fail(err, CAPS_ERR_NO_DEVICE,
            "device %s (%s): has %zu compute units, need at least %zu for %zu parts", info->id,
            info->name, units, count, count);
    for (size_t i = 0; i < count; i++)
        properties[1 + i] = (cl_device_partition_property)(units / count + (i < units % count));
    properties[1 + count] = CL_DEVICE_PARTITION_BY_COUNTS_LIST_END;
    properties[2 + count] = 0;
    const cl_int code = clCreateSubDevices(info->handle, properties, (cl_uint)count, parts, &made);
    if (code != CL_SUCCESS || made < count)
        return caps_fail_cl(err, code == CL_SUCCESS ? CL_DEVICE_PARTITION_FAILED : code,
            "device %s (%s): cutting it into %zu parts", info->id, info->name, count);
    const caps_status status = caps_device_describe(info, whole.platform_handle, parts[part->index],
        whole.platform_index, whole.device_index, err);
    for (size_t i = 0; i < count; i++)
        if (i != part->index || status != CAPS_OK)
            clReleaseDevice(parts[i]);
    if (status != CAPS_OK)
        *info = whole;
    else
        snprintf(info->id, sizeof info->id, "%.10s/%zu:%zu", whole.id, count, part->index);
    return status;
}

/* ---- several devices ------------------------------------------------------------------------ */

typedef struct selection {
    caps_device_info *list; /* what there is */
    size_t n;
    caps_device_selector *out;
    size_t count;
} selection;

/* Where the parts of a device begin in its id: "0:0/2:1" at '/'. */
static size_t base_length(const char *id)
{
    return strcspn(id, "/");
}

/* Are both of one device, and not two parts of the same division of it? */
static bool overlap(const char *x, const char *y)
{
    const size_t n = base_length(x);
    if (n != base_length(y) || strncmp(x, y, n) != 0)
        return false;
    return x[n] == 0 || y[n] == 0 || strtoul(x + n + 1, NULL, 10) != strtoul(y + n + 1, NULL, 10);
}

/* The same device twice would take turns with itself. */
static caps_status add_device(selection *s, const char *id, const char *selector, caps_error *err)
{
    const int n = (int)base_length(id);
    for (size_t i = 0; i < s->count; i++) {
        const char *other = s->out[i].text;
        if (strcmp(other, id) == 0)
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "device \"%s\": is %s, which is named already; need another one, or %.*s/2 for two "
                "halves of it",
                selector, id, n, id);
        if (overlap(other, id))
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "device \"%s\": is %s, but %s is named already, which has units in common with it; "
                "need all of them from one division, as %.*s/2:0 and %.*s/2:1",
                selector, id, other, n, id, n, id);
    }
    if (s->count == CAPS_DEVICES_MOST)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "more than %d devices", CAPS_DEVICES_MOST);
    snprintf(s->out[s->count++].text, CAPS_DEVICE_SELECTOR, "%s", id);
    return CAPS_OK;
}

static caps_status add_all(selection *s, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].available)
            CAPS_TRY(add_device(s, s->list[i].id, "all", err));
    if (s->count == 0)
        status = caps_device_select(s->list, s->n, NULL, &(size_t){0}, NULL, err); /* says why */
done:
    return status;
}

/* Those that one selector names. */
static caps_status add_selected(selection *s, const char *selector, caps_error *err)
{
    caps_status status;
    caps_part part;
    size_t index;
    char id[CAPS_DEVICE_SELECTOR];
    if (strcmp(selector, "all") == 0)
        return add_all(s, err);
    CAPS_TRY(caps_part_read(&part, selector, err));
    CAPS_TRY(caps_device_select(s->list, s->n, part.base, &index, NULL, err));
    const char *whole = s->list[index].id;
    if (part.count == 0)
        CAPS_TRY(add_device(s, whole, selector, err));
    for (size_t i = 0; i < part.count; i++) {
        if (part.index != SIZE_MAX && part.index != i)
            continue;
        snprintf(id, sizeof id, "%s/%zu:%zu", whole, part.count, i);
        CAPS_TRY(add_device(s, id, selector, err));
    }
done:
    return status;
}

caps_status caps_device_select_several(caps_device_selector out[CAPS_DEVICES_MOST], size_t *count,
    const char *const *selectors, size_t n, caps_error *err)
{
    selection s = {.out = out};
    caps_status status;
    *count = 0;
    CAPS_TRY(caps_device_list(&s.list, &s.n, err));
    for (size_t i = 0; i < n; i++)
        CAPS_TRY(add_selected(&s, selectors[i], err));
    *count = s.count;
done:
    caps_device_list_free(s.list);
    return status;
}
