/* help_json.c: the subcommands and their flags as JSON, for completions and other programs. */
#include "cli.h"
#include "json.h"

/* Is the flag's value one number, a list, a choice, ...? By caps_flag_kind. */
static const char *const kinds[] = {"switch", "switch", "text", "count", "number", "number",
    "choice", "seconds", "bytes", "texts", "counts", "numbers"};

static json_t *flag_json(const caps_flag *flag)
{
    json_t *row = json_pack("{s:s, s:s, s:s?, s:s}", "name", flag->name, "type", kinds[flag->kind],
        "value", flag->value, "help", flag->help);
    if (!flag->choices)
        return row;
    json_t *choices = json_array();
    for (size_t i = 0; flag->choices[i]; i++)
        caps_json_append(&choices, json_string(flag->choices[i]));
    caps_json_set(&row, "choices", choices);
    return row;
}

static json_t *command_json(const caps_command *command)
{
    json_t *flags = json_array();
    for (const caps_flag *flag = command->flags; flag && flag->name; flag++)
        caps_json_append(&flags, flag_json(flag));
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "name", command->name, "summary", command->summary,
            "usage", command->usage, "about", command->about, "notes", command->notes);
    caps_json_set(&row, "flags", flags);
    return row;
}

caps_status caps_help_print_json(const caps_command *only, caps_error *err)
{
    if (only)
        return caps_cli_print_json(command_json(only), err);
    json_t *all = json_array();
    for (size_t i = 0; caps_command_at(i); i++)
        caps_json_append(&all, command_json(caps_command_at(i)));
    return caps_cli_print_json(
        json_pack("{s:s, s:o}", "version", caps_version(), "subcommands", all), err);
}
