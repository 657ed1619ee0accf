/* completion_zsh.c: the completion script of zsh, for its _arguments. */
#include <stdio.h>
#include <string.h>

#include "completion.h"

/* How much of a help text is listed beside a flag. */
enum { MOST_LISTED = 90 };

/* A text within '...' in which `escaped` need a backslash; in one line, its beginning where it is
 * long. */
static void put_quoted(const char *text, const char *escaped)
{
    size_t n = strlen(text);
    const bool cut = n > MOST_LISTED;
    for (n = cut ? MOST_LISTED : n; cut && text[n] != ' ' && text[n] != '\n';)
        n--;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\'')
            printf("'\\''");
        else if (strchr(escaped, text[i]))
            printf("\\%c", text[i]);
        else
            putchar(text[i] == '\n' ? ' ' : text[i]);
    printf(cut ? " ..." : "");
}

static void put_files(caps_completion_files files)
{
    static const char *const actions[] = {"", "_files", "_files -/", "_capscl_data"};
    printf("%s", actions[files]);
}

/* What completes a value: names, files, or either. */
static void put_action(const caps_flag *flag)
{
    const caps_completion_files files = caps_completion_files_of(flag);
    if (!caps_completion_name(flag, 0)) {
        put_files(files);
        return;
    }
    printf(files ? "_alternative \"names:name:(" : "(");
    for (size_t i = 0; caps_completion_name(flag, i); i++)
        printf("%s%s", i ? " " : "", caps_completion_name(flag, i));
    printf(")");
    if (files) {
        printf("\" \"files:file:");
        put_files(files);
        printf("\"");
    }
}

static void put_flag(const caps_flag *flag)
{
    const bool takes = !caps_completion_is_switch(flag);
    printf(" \\\n            '%s%s%s[", flag->kind == CAPS_FLAG_TEXTS ? "*" : "", flag->name,
        takes ? "=" : "");
    put_quoted(flag->help, "\\[]:");
    printf("]");
    if (takes) {
        printf(":");
        put_quoted(flag->value, "\\:");
        printf(":");
        put_action(flag);
    }
    printf("'");
}

static void put_command(const caps_command *command)
{
    printf("        %s)\n            _arguments", command->name);
    for (const caps_flag *flag = command->flags; flag && flag->name; flag++)
        put_flag(flag);
    printf(" \\\n            '(- *)'{-h,--help}'[this text]'");
    if (command->positional_max > 0) {
        printf(" \\\n            '%s:argument:", command->positional_max > 1 ? "*" : "1");
        if (command->positional) {
            printf("(");
            for (size_t i = 0; command->positional(i, NULL); i++)
                printf("%s%s", i ? " " : "", command->positional(i, NULL));
            printf(")'");
        } else {
            printf("_files'");
        }
    }
    printf("\n            ;;\n");
}

void caps_completion_print_zsh(void)
{
    const caps_command *command;
    printf("#compdef capscl\n"
           "# Completes command lines of capscl in zsh; made by 'capscl help --completion zsh'.\n"
           "\n"
           "# Folders, and data sets by name.\n"
           "_capscl_data() {\n"
           "    local -a names places=(${CAPSCL_DATA-} ${XDG_DATA_HOME:-$HOME/.local/share}/capscl "
           "/usr/share/datasets)\n"
           "    names=(${^places}/*(/N:t))\n"
           "    _alternative 'sets:data set:compadd -a names' 'folders:folder:_files -/'\n"
           "}\n"
           "\n"
           "_capscl() {\n"
           "    local context state line curcontext=$curcontext\n"
           "    typeset -A opt_args\n"
           "    local -a subcommands=(\n");
    for (size_t i = 0; (command = caps_command_at(i)) != NULL; i++) {
        printf("        '%s:", command->name);
        put_quoted(command->summary, "\\:");
        printf("'\n");
    }
    printf("    )\n"
           "    _arguments -C '1:subcommand:->subcommand' '*::argument:->argument'\n"
           "    case $state in\n"
           "    subcommand) _describe subcommand subcommands ;;\n"
           "    argument)\n"
           "        curcontext=\"${curcontext%%:*:*}:capscl-$words[1]:\"\n"
           "        case $words[1] in\n");
    for (size_t i = 0; (command = caps_command_at(i)) != NULL; i++)
        put_command(command);
    printf("        esac\n"
           "        ;;\n"
           "    esac\n"
           "}\n"
           "\n"
           "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
           "    _capscl \"$@\"\n"
           "else\n"
           "    compdef _capscl capscl\n"
           "fi\n");
}
