/* cmd_devices.c: the OpenCL devices of this machine. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "device_details.h"
#include "fail.h"
#include "json.h"
#include "textbuf.h"

typedef struct options {
    caps_common common;
    bool report;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_JSON(options),
    CAPS_ROW_SWITCH("--report", options, report,
        "print one JSON document with all that is known of the devices, and a\n"
        "small selftest of each: what to send with a question about a device"),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* `selected` is n where the default choice finds nothing. */
static caps_status devices_print_json(
    const caps_device_info *list, size_t n, size_t selected, caps_error *err)
{
    json_t *all = json_array();
    for (size_t i = 0; all && i < n; i++)
        caps_json_append(&all, caps_device_row(&list[i], i == selected));
    return caps_cli_print_json(all, err);
}

/* Indented: people read it too before they send it. */
static caps_status devices_print_report(
    const caps_device_info *list, size_t n, size_t selected, caps_error *err)
{
    json_t *report = caps_device_report(list, n, selected);
    char *text = report ? caps_json_format(report, 2, 9) : NULL;
    json_decref(report);
    if (!text)
        return caps_fail(err, CAPS_ERR_MEMORY, "JSON output: out of memory");
    puts(text);
    free(text);
    return CAPS_OK;
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
        char memory[32];
        printf("%c %-*s  %-*s  %-*s  %-*s  %5u  %9s%s%s%s\n", i == selected ? '*' : ' ', id, d->id,
            type, caps_device_type_name(d->type), name, d->name, platform, d->platform,
            d->compute_units, caps_bytes_text(memory, d->global_mem_bytes),
            d->available ? "" : "  (cannot be used: ", d->unusable, d->available ? "" : ")");
        if (verbose)
            caps_device_details_print(d);
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
    if (o.report)
        CAPS_TRY(devices_print_report(list, n, selected, &err));
    else if (o.common.json)
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
    .usage = "capscl devices [--json | --report] [--verbose]",
    .about =
        "Lists every device of every OpenCL platform. '*' marks the one that is used where\n"
        "--device is not given ($CAPSCL_DEVICE, else the best GPU, else the CPU).\n"
        "--verbose adds limits, speed, extensions, and which kernels were checked and tuned.\n",
    .flags = flags,
    .notes =
        "exit codes: 4 where there is no OpenCL device at all (with --json, [] is printed too).\n"
        "\n"
        "The id, the type, or part of a name is what --device takes:\n"
        "  capscl train --device 0:0 ...\n"
        "  capscl train --device gpu ...\n"
        "  capscl train --device nvidia ...\n"
        "\n"
        "To tell others about a device (docs/devices.md says what is expected of each kind):\n"
        "  capscl devices --report > report.json\n",
};
