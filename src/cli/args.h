/* args.h: command-line flags by table.
 *
 * A subcommand has a struct of options and a table of caps_flag that says which flag fills which
 * member (by offsetof); the same table prints its help. `--flag value` and `--flag=value` are the
 * same; a flag given twice counts the last time; `--` ends the flags. A value must be wholly right:
 * "1e", "7 ", "nan", "-1" for a count are errors, and so is a flag without its value. */
#ifndef CAPS_ARGS_H
#define CAPS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <capscl/error.h>

typedef enum caps_flag_kind {
    CAPS_FLAG_SWITCH,  /* bool; takes no value */
    CAPS_FLAG_OFF,     /* the same, turns the bool off: beside the switch, the last one wins */
    CAPS_FLAG_TEXT,    /* const char *, borrowed from argv; not empty */
    CAPS_FLAG_COUNT,   /* uint64_t, min..max */
    CAPS_FLAG_REAL,    /* double, above..most: greater than `above`, at most `most` */
    CAPS_FLAG_AMOUNT,  /* double, 0..most */
    CAPS_FLAG_CHOICE,  /* int: position in `choices` */
    CAPS_FLAG_SECONDS, /* double > 0: "90", "90s", "30m", "1.5h" */
    CAPS_FLAG_BYTES,   /* uint64_t > 0: "1048576", "300M", "1.5G" */
    CAPS_FLAG_TEXTS,   /* caps_texts: all that were given, one or more after each flag */
    CAPS_FLAG_COUNTS,  /* caps_counts: numbers up to the next flag, each min..max; with `ranges`
                          also "3-7", both ends counted */
    CAPS_FLAG_REALS,   /* caps_reals: the same, each 0..most */
} caps_flag_kind;

/* Lists of numbers: caps_args_release frees them. */
typedef struct caps_counts {
    uint64_t *values;
    size_t count;
} caps_counts;

/* The strings are argv's; the list is freed likewise. */
typedef struct caps_texts {
    const char **values;
    size_t count;
} caps_texts;

typedef struct caps_reals {
    double *values;
    size_t count;
} caps_reals;

/* A list of names: the i-th, NULL past the last. `context` is the function's own. */
typedef const char *(*caps_name_list)(size_t i, const void *context);

typedef struct caps_flag {
    const char *name; /* "--batch"; NULL ends the table */
    caps_flag_kind kind;
    size_t offset;     /* of the member that it fills */
    const char *value; /* how help calls its value: "N"; NULL for a switch. Of FILE, RUN, DIR, D and
                          names with an ending, completion offers files (help_completion.c) */
    const char *help;  /* what it does, with its default; lines broken by '\n' */
    uint64_t min, max;
    double above, most;
    const char *const *choices; /* NULL-terminated */
    bool ranges;
    caps_name_list
        names; /* values that completion offers, where others are right too; context NULL */
} caps_flag;

/* Rows of a table. */
#define CAPS_ROW_SWITCH(flag, type, member, text)                                                  \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_SWITCH, .offset = offsetof(type, member), .help = (text) \
    }
#define CAPS_ROW_OFF(flag, type, member, text)                                                     \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_OFF, .offset = offsetof(type, member), .help = (text)    \
    }
#define CAPS_ROW_TEXT(flag, type, member, called, text)                                            \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_TEXT, .offset = offsetof(type, member),                  \
        .value = (called), .help = (text)                                                          \
    }
/* One text or several (sort: TEXT, TEXTS), with values that completion offers. */
#define CAPS_ROW_NAMED(flag, sort, type, member, list, called, text)                               \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_##sort, .offset = offsetof(type, member),                \
        .names = (list), .value = (called), .help = (text)                                         \
    }
#define CAPS_ROW_TEXTS(flag, type, member, called, text)                                           \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_TEXTS, .offset = offsetof(type, member),                 \
        .value = (called), .help = (text)                                                          \
    }
#define CAPS_ROW_COUNT(flag, type, member, least, greatest, called, text)                          \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_COUNT, .offset = offsetof(type, member), .min = (least), \
        .max = (greatest), .value = (called), .help = (text)                                       \
    }
#define CAPS_ROW_COUNTS(flag, type, member, least, greatest, called, text)                         \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_COUNTS, .offset = offsetof(type, member),                \
        .min = (least), .max = (greatest), .value = (called), .help = (text)                       \
    }
#define CAPS_ROW_INDICES(flag, type, member, called, text)                                         \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_COUNTS, .offset = offsetof(type, member),                \
        .max = UINT32_MAX, .ranges = true, .value = (called), .help = (text)                       \
    }
#define CAPS_ROW_REALS(flag, type, member, at_most, called, text)                                  \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_REALS, .offset = offsetof(type, member),                 \
        .most = (at_most), .value = (called), .help = (text)                                       \
    }
#define CAPS_ROW_REAL(flag, type, member, more_than, at_most, called, text)                        \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_REAL, .offset = offsetof(type, member),                  \
        .above = (more_than), .most = (at_most), .value = (called), .help = (text)                 \
    }
#define CAPS_ROW_AMOUNT(flag, type, member, at_most, called, text)                                 \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_AMOUNT, .offset = offsetof(type, member),                \
        .most = (at_most), .value = (called), .help = (text)                                       \
    }
#define CAPS_ROW_CHOICE(flag, type, member, names, called, text)                                   \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_CHOICE, .offset = offsetof(type, member),                \
        .choices = (names), .value = (called), .help = (text)                                      \
    }
#define CAPS_ROW_SECONDS(flag, type, member, called, text)                                         \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_SECONDS, .offset = offsetof(type, member),               \
        .value = (called), .help = (text)                                                          \
    }
#define CAPS_ROW_BYTES(flag, type, member, called, text)                                           \
    {                                                                                              \
        .name = (flag), .kind = CAPS_FLAG_BYTES, .offset = offsetof(type, member),                 \
        .value = (called), .help = (text)                                                          \
    }

/* What was given. */
typedef struct caps_args {
    const caps_flag *flags;
    void *options;
    uint64_t given[2]; /* bit n % 64 of word n / 64: flags[n] was given; at most 128 rows */
    char **positional; /* what is no flag, in order; the strings are argv's, or kept */
    size_t positional_count;
    char **kept; /* strings that live as long as this */
    size_t kept_count;
    bool help; /* --help or -h: parsing stopped there */
} caps_args;

/* Reads argv[0..argc) (without the program's and the subcommand's name) into *options, which holds
 * the defaults. `positional_max` is the number of other arguments that the subcommand takes. On
 * failure everything is released. CAPS_ERR_ARGUMENT (unknown flags suggest the nearest). */
caps_status caps_args_parse(caps_args *args, const caps_flag *flags, void *options, int argc,
    char **argv, size_t positional_max, caps_error *err);
void caps_args_release(caps_args *args); /* a zeroed one is allowed */

/* Keeps a string (malloc'd, NULL: out of memory) until the release. CAPS_ERR_MEMORY: it is
 * freed. */
caps_status caps_args_keep(caps_args *args, char *text, caps_error *err);

/* Was the flag (a name of the table) on the command line? */
bool caps_args_given(const caps_args *args, const char *name);

/* Whole texts as numbers: CAPS_ERR_ARGUMENT, the message begins with `what`. */
caps_status caps_parse_count(
    uint64_t *out, const char *text, uint64_t min, uint64_t max, const char *what, caps_error *err);
caps_status caps_parse_real(
    double *out, const char *text, double above, double most, const char *what, caps_error *err);
caps_status caps_parse_amount(
    double *out, const char *text, double most, const char *what, caps_error *err);
caps_status caps_parse_seconds(double *out, const char *text, const char *what, caps_error *err);
caps_status caps_parse_bytes(uint64_t *out, const char *text, const char *what, caps_error *err);

/* The name nearest to `text` by edits (insert, delete, change, swap of neighbours), or NULL where
 * none is near enough to be meant. `name(i, context)` gives the i-th, NULL past the last. */
const char *caps_nearest(const char *text, caps_name_list name, const void *context);

/* Does the flag take one value or more, up to the next flag? */
bool caps_flag_is_list(const caps_flag *flag);

/* The flag part of a help text. */
void caps_args_help(FILE *out, const caps_flag *flags);

#endif
