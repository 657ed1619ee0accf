/* help_man.c: the manual page, from the same tables as --help.
 *
 * The texts of a command are plain: paragraphs, headings ("examples:"), lists ("  name  what it
 * is") and examples (other indented lines). Here they become roff. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

/* Of a text, with the characters that roff and terminals would change. Words, which may be names, are
 * not hyphenated; lines may break after the commas and bars of a long one. */
static void put_escaped(const char *text, size_t n)
{
    static const struct {
        char c;
        const char *roff;
    } special[] = {{'\\', "\\e"}, {'-', "\\-"}, {'\'', "\\(aq"}, {'`', "\\(ga"}, {'^', "\\(ha"},
        {'~', "\\(ti"}};
    if (n > 0 && text[0] == '.')
        printf("\\&");
    for (size_t i = 0; i < n; i++) {
        const char *roff = NULL;
        if (text[i] != ' ' && (i == 0 || text[i - 1] == ' '))
            printf("\\%%");
        for (size_t k = 0; k < sizeof special / sizeof special[0]; k++)
            if (special[k].c == text[i])
                roff = special[k].roff;
        if (roff)
            fputs(roff, stdout);
        else
            putchar(text[i]);
        if (strchr("|,", text[i]) && i + 1 < n && text[i + 1] != ' ')
            printf("\\:");
    }
}

static void put_upper(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        putchar(toupper((unsigned char)text[i]));
}

static size_t line_length(const char *line)
{
    return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
    line += line_length(line);
    return line + (*line == '\n');
}

static size_t indent_of(const char *line)
{
    return strspn(line, " ");
}

/* Where the explanation begins in a row of a list, "  name  what it is"; 0: it is none. */
static size_t explanation_at(const char *line)
{
    const size_t n = line_length(line);
    for (size_t i = indent_of(line); i + 2 < n; i++)
        if (line[i] == ' ' && line[i + 1] == ' ')
            return i + indent_of(line + i);
    return 0;
}

/* "examples:" and the like: a word or two above indented lines. */
static bool is_heading(const char *line)
{
    const size_t n = line_length(line);
    size_t spaces = 0;
    for (size_t i = 0; i < n; i++)
        spaces += line[i] == ' ';
    return n > 1 && line[n - 1] == ':' && spaces <= 1 && *next_line(line) == ' ';
}

static bool has_examples(const char *heading)
{
    return strncmp(heading, "examples", 8) == 0 || strncmp(heading, "first steps", 11) == 0;
}

/* The indented lines at `line`; gives what follows them. */
static const char *put_indented(const char *line, bool examples)
{
    const size_t column = examples ? 0 : explanation_at(line);
    const size_t indent = indent_of(line);
    if (column == 0)
        printf(".RS 4\n.EX\n");
    for (; *line == ' '; line = next_line(line)) {
        const size_t at = indent_of(line), n = line_length(line);
        if (column == 0) {
            printf("%*s", at > indent ? (int)(at - indent) : 0, "");
            put_escaped(line + at, n - at);
        } else if (at >= column) {
            put_escaped(line + at, n - at);
        } else {
            const size_t text = explanation_at(line) ? explanation_at(line) : n;
            size_t name = text;
            while (name > at && line[name - 1] == ' ')
                name--;
            printf(".TP\n\\fB");
            put_escaped(line + at, name - at);
            printf("\\fR\n");
            put_escaped(line + text, n - text);
        }
        putchar('\n');
    }
    printf(column == 0 ? ".EE\n.RE\n" : ".PP\n");
    return line;
}

/* Paragraphs, headings, lists, examples. Headings are sections of a page of one command. */
static void put_text(const char *text, bool sections)
{
    const char *heading = "";
    for (const char *line = text; line && *line;) {
        const size_t n = line_length(line);
        if (*line == ' ') {
            line = put_indented(line, has_examples(heading));
            heading = "";
            continue;
        }
        if (n == 0) {
            printf(".PP\n");
        } else if (is_heading(line)) {
            heading = line;
            printf(sections ? ".SH " : ".PP\n.I ");
            if (sections)
                put_upper(line, n - 1);
            else
                put_escaped(line, n);
            putchar('\n');
        } else {
            put_escaped(line, n);
            putchar('\n');
        }
        line = next_line(line);
    }
}

static void put_usage(const caps_command *command)
{
    for (const char *line = command->usage; *line; line = next_line(line)) {
        const size_t at = indent_of(line), n = line_length(line);
        const size_t program = strlen("capscl ");
        const bool begins = strncmp(line, "capscl ", program) == 0;
        if (begins && line != command->usage)
            printf(".YS\n");
        if (begins)
            printf(".SY capscl\n");
        put_escaped(line + (begins ? program : at), n - (begins ? program : at));
        /* The rest of a word that goes on in the next line. */
        const char *next = next_line(line);
        if (n > 0 && strchr("|,", line[n - 1]) && *next == ' ')
            printf("\\c");
        putchar('\n');
    }
    printf(".YS\n");
}

static void put_flag(const char *name, const char *value, const char *help)
{
    printf(".TP\n\\fB");
    put_escaped(name, strlen(name));
    printf("\\fR");
    if (value) {
        printf(" \\fI");
        put_escaped(value, strlen(value));
        printf("\\fR");
    }
    putchar('\n');
    for (const char *line = help; *line; line = next_line(line)) {
        put_escaped(line, line_length(line));
        putchar('\n');
    }
}

static void put_flags(const caps_command *command)
{
    for (const caps_flag *flag = command->flags; flag && flag->name; flag++)
        put_flag(flag->name, flag->value, flag->help);
    put_flag("--help", NULL, "the same as text");
}

static void put_title(const caps_command *command)
{
    printf(".\\\" Made by 'capscl help%s%s --man'.\n.TH CAPSCL", command ? " " : "",
        command ? command->name : "");
    if (command) {
        printf("\\-");
        put_upper(command->name, strlen(command->name));
    }
    printf(" 1 \"\" \"capscl " CAPSCL_VERSION "\" \"capscl manual\"\n.ad l\n.SH NAME\ncapscl");
    if (command)
        printf("\\-%s", command->name);
    printf(" \\- ");
}

static void put_see_also(const caps_command *command)
{
    printf(".SH SEE ALSO\n");
    if (command)
        printf(".BR capscl (1)\n");
    for (size_t i = 0; !command && caps_command_at(i); i++)
        printf(".BR \\%%capscl\\-%s (1)%s\n", caps_command_at(i)->name,
            caps_command_at(i + 1) ? "," : "");
    printf(".PP\nREADME.md and docs/ in /usr/share/doc/capscl, or in the source tree.\n");
}

static void put_command_page(const caps_command *command)
{
    put_title(command);
    put_escaped(command->summary, strlen(command->summary));
    printf("\n.SH SYNOPSIS\n");
    put_usage(command);
    if (command->about) {
        printf(".SH DESCRIPTION\n");
        put_text(command->about, true);
    }
    printf(".SH OPTIONS\n");
    put_flags(command);
    if (command->notes) {
        if (!is_heading(command->notes))
            printf(".SH NOTES\n");
        put_text(command->notes, true);
    }
    put_see_also(command);
}

void caps_command_man_print(const caps_command *command, const char *general)
{
    if (command) {
        put_command_page(command);
        return;
    }
    put_title(NULL);
    printf("trains and runs capsule networks on any OpenCL device\n"
           ".SH SYNOPSIS\n.SY capscl\n\\fISUBCOMMAND\\fR [flags]\n.YS\n.SH DESCRIPTION\n");
    put_text(general, true);
    printf(".SH SUBCOMMANDS\n");
    for (size_t i = 0; (command = caps_command_at(i)) != NULL; i++) {
        printf(".SS capscl %s: ", command->name);
        put_escaped(command->summary, strlen(command->summary));
        putchar('\n');
        put_usage(command);
        printf(".PP\n");
        if (command->about)
            put_text(command->about, false);
        put_flags(command);
        if (command->notes) {
            printf(".PP\n");
            put_text(command->notes, false);
        }
    }
    put_see_also(NULL);
}
