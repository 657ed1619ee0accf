/* completion_bash.c: the completion script of bash. Its functions are the same for all commands;
 * what they look up is printed from the tables of flags. */
#include <stdio.h>

#include "completion.h"

/* _capscl_takes COMMAND FLAG prints what may follow the flag (no flag: other arguments): names, and
 * @files, @folders, @data, @list (several values). It fails for a switch. */
static void put_takes(const caps_command *command, const caps_flag *flag)
{
    static const char *const files[] = {"", " @files", " @folders", " @data"};
    if (caps_completion_is_switch(flag))
        return;
    printf("    %s:%s) echo \"", command->name, flag->name);
    for (size_t i = 0; caps_completion_name(flag, i); i++)
        printf("%s%s", i ? " " : "", caps_completion_name(flag, i));
    printf("%s%s\" ;;\n", files[caps_completion_files_of(flag)],
        caps_flag_is_list(flag) ? " @list" : "");
}

static void put_arguments(const caps_command *command)
{
    if (command->positional_max == 0)
        return;
    printf("    %s:) echo \"", command->name);
    for (size_t i = 0; command->positional && command->positional(i, NULL); i++)
        printf("%s%s", i ? " " : "", command->positional(i, NULL));
    printf("%s\" ;;\n", command->positional ? "" : "@files");
}

static const char functions[] =
    "\n"
    "# Adds the files, folders or names among $1 (see _capscl_takes) that begin with $2.\n"
    "_capscl_offer() {\n"
    "    local word names='' place\n"
    "    local -a found=()\n"
    "    for word in $1; do\n"
    "        case $word in\n"
    "        @files) mapfile -t found < <(compgen -f -- \"$2\") ;;\n"
    "        @folders) mapfile -t found < <(compgen -d -- \"$2\") ;;\n"
    "        @data)\n"
    "            mapfile -t found < <(compgen -d -- \"$2\")\n"
    "            for place in \"${CAPSCL_DATA-}\" \"${XDG_DATA_HOME:-$HOME/.local/share}/capscl\" "
    "\\\n"
    "                /usr/share/datasets; do\n"
    "                [[ -n $place && -d $place ]] || continue\n"
    "                names+=\" $(cd \"$place\" && compgen -d)\"\n"
    "            done\n"
    "            ;;\n"
    "        @list) ;;\n"
    "        *) names+=\" $word\" ;;\n"
    "        esac\n"
    "    done\n"
    "    ((${#found[@]} == 0)) || compopt -o filenames 2>/dev/null\n"
    "    mapfile -t -O ${#found[@]} found < <(compgen -W \"$names\" -- \"$2\")\n"
    "    COMPREPLY+=(\"${found[@]}\")\n"
    "}\n"
    "\n"
    "_capscl() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
    "    local flag='' only='' takes='' i word\n"
    "    COMPREPLY=()\n"
    "    if ((COMP_CWORD == 1)); then\n"
    "        _capscl_offer \"$_capscl_commands\" \"$current\"\n"
    "        return\n"
    "    fi\n"
    "    # The flag whose value is completed; `only`: it has none yet. --flag=value is three "
    "words.\n"
    "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        case $word in\n"
    "        =) ;;\n"
    "        -*)\n"
    "            flag='' only=''\n"
    "            if takes=$(_capscl_takes \"$command\" \"$word\"); then flag=$word only=1; fi\n"
    "            ;;\n"
    "        *)\n"
    "            [[ $takes == *@list* ]] || flag=\n"
    "            only=\n"
    "            ;;\n"
    "        esac\n"
    "    done\n"
    "    [[ $current != = ]] || current=\n"
    "    if [[ -z $only && $current == -* ]]; then\n"
    "        _capscl_offer \"$(_capscl_flags \"$command\")\" \"$current\"\n"
    "    else\n"
    "        takes=$(_capscl_takes \"$command\" \"$flag\") || takes=$(_capscl_flags \"$command\")\n"
    "        _capscl_offer \"$takes\" \"$current\"\n"
    "    fi\n"
    "}\n"
    "complete -F _capscl capscl\n";

void caps_completion_print_bash(void)
{
    const caps_command *command;
    printf("# Completes command lines of capscl in bash; made by 'capscl help --completion bash'.\n"
           "_capscl_commands=\"");
    for (size_t i = 0; (command = caps_command_at(i)) != NULL; i++)
        printf("%s%s", i ? " " : "", command->name);
    printf("\"\n\n# The flags of a subcommand.\n_capscl_flags() {\n    case $1 in\n");
    for (size_t i = 0; (command = caps_command_at(i)) != NULL; i++) {
        printf("    %s) echo \"", command->name);
        for (const caps_flag *flag = command->flags; flag && flag->name; flag++)
            printf("%s ", flag->name);
        printf("--help\" ;;\n");
    }
    printf(
        "    esac\n}\n\n"
        "# What may follow a flag of a subcommand (without a flag: its other arguments): names,\n"
        "# @files, @folders, @data for data sets, @list for several. Fails where nothing may.\n"
        "_capscl_takes() {\n    case $1:$2 in\n");
    for (size_t i = 0; (command = caps_command_at(i)) != NULL; i++) {
        put_arguments(command);
        for (const caps_flag *flag = command->flags; flag && flag->name; flag++)
            put_takes(command, flag);
    }
    printf("    *) return 1 ;;\n    esac\n}\n");
    fputs(functions, stdout);
}
