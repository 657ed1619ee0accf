/* device_details.c: see device_details.h. */
#include "device_details.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "device_limits.h"
#include "textbuf.h"
#include "trust.h"
#include "tuning.h"

static const caps_family families[] = {CAPS_FAMILY_CPU, CAPS_FAMILY_GPU};

json_t *caps_device_row(const caps_device_info *d, bool selected)
{
    /* Names come from drivers and may hold bytes that are no UTF-8. */
    json_t *row = json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:b}", "id",
        d->id, "platform", caps_json_text(d->platform), "vendor", caps_json_text(d->vendor), "name",
        caps_json_text(d->name), "type", caps_device_type_name(d->type), "version",
        caps_json_text(d->version), "driver", caps_json_text(d->driver), "compute_units",
        (json_int_t)d->compute_units, "global_mem_bytes", (json_int_t)d->global_mem_bytes,
        "max_alloc_bytes", (json_int_t)d->max_alloc_bytes, "local_mem_bytes",
        (json_int_t)d->local_mem_bytes, "selected", selected);
    caps_json_set(&row, "shares_host_memory", json_boolean(d->shares_host_memory));
    caps_json_set(&row, "clock_mhz", json_integer(d->clock_mhz));
    caps_json_set(&row, "peak_gflops", caps_json_double(d->peak_gflops));
    caps_json_set(&row, "usable", json_boolean(d->available));
    caps_json_set(
        &row, "unusable_because", d->available ? json_null() : caps_json_text(d->unusable));
    return row;
}

/* ---- --verbose ------------------------------------------------------------------------------ */

static void print_limits(const caps_device_info *d, const caps_device_limits *l)
{
    char alloc[32], local[32], cache[32];
    printf("    memory    %s, largest buffer %s, local %s, cache %s\n",
        d->shares_host_memory ? "shared with the host" : "its own",
        caps_bytes_text(alloc, d->max_alloc_bytes), caps_bytes_text(local, d->local_mem_bytes),
        caps_bytes_text(cache, l->cache_bytes));
    printf("    speed     %u unit%s of %llu lane%s", d->compute_units,
        d->compute_units == 1 ? "" : "s", (unsigned long long)l->lanes, l->lanes == 1 ? "" : "s");
    if (d->clock_mhz)
        printf(" at %.2f GHz", d->clock_mhz * 1e-3);
    else
        printf(", no clock given, as if 1 GHz");
    printf(": at most %.0f Gflop/s (computed)\n", d->peak_gflops);
    printf("    limits    groups of %llu (%llu x %llu x %llu), %llu-bit addresses, vectors of %llu",
        (unsigned long long)l->max_group, (unsigned long long)l->item_sizes[0],
        (unsigned long long)l->item_sizes[1], (unsigned long long)l->item_sizes[2],
        (unsigned long long)l->address_bits, (unsigned long long)l->float_width);
    if (l->timer_ns)
        printf(", times to %llu ns", (unsigned long long)l->timer_ns);
    putchar('\n');
}

static void print_extensions(const caps_device_info *d)
{
    char *all = caps_device_extensions(d);
    size_t n = 0, used = 0;
    const char *name, *purpose;
    for (const char *c = all; c && *c; c++)
        n += *c != ' ' && (c == all || c[-1] == ' ');
    printf("    extensions  %zu, of them used: ", n);
    for (size_t i = 0; all && (name = caps_extension_used(i, &purpose)) != NULL; i++)
        if (strstr(all, name))
            printf("%s%s (%s)", used++ ? ", " : "", name, purpose);
    printf("%s\n", used ? "" : "none");
    free(all);
}

json_t *caps_device_tuned(const caps_device_info *d, caps_family family)
{
    char *text = caps_tuning_known(d, family);
    json_t *choices = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return choices ? choices : json_object();
}

static void print_refused(const caps_verdict *v)
{
    if (v->tolerance > 0)
        printf("      refused %s: %s (error %.1e, need <= %.0e)\n", v->variant, v->why, v->error,
            v->tolerance);
    else
        printf("      refused %s: %s\n", v->variant, v->why);
}

/* What of a family was checked and measured on the device. */
static void print_family(const caps_device_info *d, caps_family family)
{
    caps_verdict *list = NULL;
    json_t *choices = caps_device_tuned(d, family);
    size_t n = 0, passed = 0;
    const size_t tuned = json_object_size(choices);
    json_decref(choices);
    if (caps_verdicts_read(&list, &n, d, family, NULL) != CAPS_OK)
        n = 0;
    for (size_t i = 0; i < n; i++)
        passed += list[i].passed;
    printf("    kernels %s  ", caps_family_name(family));
    if (n)
        printf("%zu of %zu variants trusted; ", passed, n);
    else
        printf("not checked here yet; ");
    if (tuned)
        printf("tuned, %zu choices\n", tuned);
    else
        printf("not tuned\n");
    for (size_t i = 0; i < n; i++)
        if (!list[i].passed)
            print_refused(&list[i]);
    free(list);
}

void caps_device_details_print(const caps_device_info *d)
{
    caps_device_limits limits;
    printf("    driver    %s; vendor %s; version %s\n", d->driver, d->vendor, d->version);
    caps_device_limits_ask(&limits, d);
    print_limits(d, &limits);
    print_extensions(d);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        print_family(d, families[f]);
}
