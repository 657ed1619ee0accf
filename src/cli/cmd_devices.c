/* cmd_devices.c: the OpenCL devices of this machine. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fail.h"
#include "json.h"
#include "textbuf.h"

typedef struct options {
    caps_common common;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_JSON(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* `selected` is n where the default choice finds nothing. */
static caps_status devices_print_json(
    const caps_device_info *list, size_t n, size_t selected, caps_error *err)
{
    json_t *all = json_array();
    for (size_t i = 0; all && i < n; i++) {
        const caps_device_info *d = &list[i];
        /* Names come from drivers and may hold bytes that are no UTF-8. */
        json_t *row =
            json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:b}", "id", d->id,
                "platform", caps_json_text(d->platform), "vendor", caps_json_text(d->vendor),
                "name", caps_json_text(d->name), "type", caps_device_type_name(d->type), "version",
                caps_json_text(d->version), "driver", caps_json_text(d->driver), "compute_units",
                (json_int_t)d->compute_units, "global_mem_bytes", (json_int_t)d->global_mem_bytes,
                "max_alloc_bytes", (json_int_t)d->max_alloc_bytes, "local_mem_bytes",
                (json_int_t)d->local_mem_bytes, "selected", i == selected);
        caps_json_append(&all, row);
    }
    return caps_cli_print_json(all, err);
}

static int widest(int width, const char *text)
{
    int n = (int)strlen(text);
    return n > width ? n : width;
}

static void devices_print_table(
    const caps_device_info *list, size_t n, size_t selected, bool verbose)
{
    int id = 2, type = 4, name = 4, platform = 8;
    for (size_t i = 0; i < n; i++) {
        id = widest(id, list[i].id);
        type = widest(type, caps_device_type_name(list[i].type));
        name = widest(name, list[i].name);
        platform = widest(platform, list[i].platform);
    }
    printf("  %-*s  %-*s  %-*s  %-*s  %5s  %9s\n", id, "id", type, "type", name, "name", platform,
        "platform", "units", "memory");
    for (size_t i = 0; i < n; i++) {
        const caps_device_info *d = &list[i];
        char memory[32], alloc[32], local[32];
        printf("%c %-*s  %-*s  %-*s  %-*s  %5u  %9s%s\n", i == selected ? '*' : ' ', id, d->id,
            type, caps_device_type_name(d->type), name, d->name, platform, d->platform,
            d->compute_units, caps_bytes_text(memory, d->global_mem_bytes),
            d->available ? "" : "  (not available)");
        if (verbose)
            printf("    vendor %s; version %s; driver %s; largest allocation %s; local memory %s\n",
                d->vendor, d->version, d->driver, caps_bytes_text(alloc, d->max_alloc_bytes),
                caps_bytes_text(local, d->local_mem_bytes));
    }
}

static int devices_run(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_device_info *list = NULL;
    size_t n = 0, selected = 0;
    char reason[256] = "";
    CAPS_TRY(caps_device_list(&list, &n, &err));
    caps_cli_show_cache_note();
    caps_error choice = {0};
    if (caps_device_select(list, n, NULL, &selected, reason, &choice) != CAPS_OK)
        selected = n;
    if (o.common.json)
        CAPS_TRY(devices_print_json(list, n, selected, &err));
    else if (n > 0)
        devices_print_table(list, n, selected, o.common.verbose);
    if (n == 0) {
        /* The library's words for it: they say what to install. */
        err = choice;
        status = choice.status;
    } else if (selected == n) {
        caps_cli_warn("no device is selected: %s", choice.message);
    } else {
        caps_cli_detail("* %s: %s", list[selected].id, reason);
    }
done:
    caps_device_list_free(list);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_devices = {
    .name = "devices",
    .run = devices_run,
    .summary = "the OpenCL devices of this machine",
    .usage = "capscl devices [--json] [--verbose]",
    .about = "Lists every device of every OpenCL platform. '*' marks the one that is used where\n"
             "--device is not given ($CAPSCL_DEVICE, else the best GPU, else the CPU).\n",
    .flags = flags,
    .notes =
        "exit codes: 4 where there is no OpenCL device at all (with --json, [] is printed too).\n"
        "\n"
        "The id, the type, or part of a name is what --device takes:\n"
        "  capscl train --device 0:0 ...\n"
        "  capscl train --device gpu ...\n"
        "  capscl train --device nvidia ...\n",
};
