/* args.c: see args.h. */
#include "args.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

/* ---- numbers -------------------------------------------------------------------------------- */

static caps_status fail_count(
    const char *text, uint64_t min, uint64_t max, const char *what, const char *is, caps_error *err)
{
    if (max == UINT64_MAX)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: '%s' %s, need a whole number >= %llu", what,
            text, is, (unsigned long long)min);
    return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: '%s' %s, need a whole number in %llu..%llu", what,
        text, is, (unsigned long long)min, (unsigned long long)max);
}

caps_status caps_parse_count(
    uint64_t *out, const char *text, uint64_t min, uint64_t max, const char *what, caps_error *err)
{
    /* strtoull would take blanks, signs and wrapped negative numbers: only digits may come here. */
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return fail_count(text, min, max, what, "is not a whole number", err);
    if (digits != text)
        return fail_count(text, min, max, what, "is negative", err);
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno == ERANGE || value < min || value > max)
        return fail_count(text, min, max, what, "is out of range", err);
    *out = value;
    return CAPS_OK;
}

/* The number at the start of `text`, in plain decimal notation; *end is what follows it. False:
 * there is none (strtod alone would also take blanks, nan, inf and hexadecimal). */
static bool read_real(double *out, const char *text, char **end)
{
    const char *first = text + (*text == '-' || *text == '+');
    if (*first == '.')
        first++;
    if (!isdigit((unsigned char)*first) || (first[0] == '0' && (first[1] | 0x20) == 'x'))
        return false;
    *out = strtod(text, end);
    return true;
}

caps_status caps_parse_real(
    double *out, const char *text, double above, double most, const char *what, caps_error *err)
{
    double value;
    char *end;
    if (!read_real(&value, text, &end) || *end)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s: '%s' is not a number, need one > %g", what, text, above);
    if (!(value > above && value <= most))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: '%s' is out of range, need > %g and <= %g",
            what, text, above, most);
    *out = value;
    return CAPS_OK;
}

caps_status caps_parse_amount(
    double *out, const char *text, double most, const char *what, caps_error *err)
{
    double value;
    char *end;
    if (!read_real(&value, text, &end) || *end)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s: '%s' is not a number, need 0 or more", what, text);
    if (!(value >= 0 && value <= most))
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s: '%s' is out of range, need 0 to %g", what, text, most);
    *out = value;
    return CAPS_OK;
}

caps_status caps_parse_seconds(double *out, const char *text, const char *what, caps_error *err)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}};
    const double most = 1e9;
    double value;
    char *end;
    if (read_real(&value, text, &end))
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (strcmp(end, units[i].unit) == 0) {
                value *= units[i].seconds;
                if (!(value > 0 && value <= most))
                    return caps_fail(err, CAPS_ERR_ARGUMENT,
                        "%s: '%s' is out of range, need more than 0 and at most %g seconds", what,
                        text, most);
                *out = value;
                return CAPS_OK;
            }
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "%s: '%s' is not a time, need for instance 90, 90s, 30m or 2h", what, text);
}

caps_status caps_parse_bytes(uint64_t *out, const char *text, const char *what, caps_error *err)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"", 1}, {"K", 0x1p10}, {"M", 0x1p20}, {"G", 0x1p30}, {"T", 0x1p40}};
    const double most = 0x1p60;
    double value;
    char *end;
    if (read_real(&value, text, &end))
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (strcmp(end, units[i].unit) == 0) {
                value *= units[i].bytes;
                if (!(value >= 1 && value <= most))
                    return caps_fail(err, CAPS_ERR_ARGUMENT,
                        "%s: '%s' is out of range, need at least 1 byte and at most %.0fT", what,
                        text, most / 0x1p40);
                *out = (uint64_t)value;
                return CAPS_OK;
            }
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "%s: '%s' is not a size, need for instance 300M, 1.5G or a number of bytes", what, text);
}

/* ---- nearest name --------------------------------------------------------------------------- */

#define NEAREST_BYTES 40 /* longer texts are no typo of ours */

/* Edits from a to b: insertions, deletions, changes and swaps of neighbours, each 1. */
static size_t edits(const char *a, size_t na, const char *b, size_t nb)
{
    size_t d[NEAREST_BYTES + 1][NEAREST_BYTES + 1];
    for (size_t i = 0; i <= na; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= nb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= na; i++)
        for (size_t j = 1; j <= nb; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[na][nb];
}

const char *caps_nearest(const char *text, caps_name_list name, const void *context)
{
    /* Dashes do not count, so "-batch" and "batch" are near "--batch". */
    text += strspn(text, "-");
    size_t n = strlen(text);
    if (n == 0 || n > NEAREST_BYTES)
        return NULL;
    const char *best = NULL;
    size_t best_edits = n / 3 > 2 ? n / 3 : 2;
    if (n <= 3)
        best_edits = 1;
    best_edits++;
    for (size_t i = 0;; i++) {
        const char *candidate = name(i, context);
        if (!candidate)
            return best;
        const char *bare = candidate + strspn(candidate, "-");
        size_t bare_n = strlen(bare);
        if (bare_n > NEAREST_BYTES)
            continue;
        size_t distance = edits(text, n, bare, bare_n);
        /* "evaluate" means eval, "dev" means devices. */
        size_t common = n < bare_n ? n : bare_n;
        if (common >= 3 && distance > 1 && strncmp(text, bare, common) == 0)
            distance = 1;
        if (distance < best_edits) {
            best = candidate;
            best_edits = distance;
        }
    }
}

static const char *flag_name(size_t i, const void *context)
{
    static const char *const help[] = {"--help", NULL};
    const caps_flag *flags = context;
    for (size_t k = 0; flags && flags[k].name; k++)
        if (k == i)
            return flags[k].name;
        else if (!flags[k + 1].name)
            return i == k + 1 ? help[0] : NULL;
    return i == 0 ? help[0] : NULL;
}

/* ---- parsing -------------------------------------------------------------------------------- */

/* Does this argument begin a flag? "-" is a name, "-1" a (wrong) number. */
static bool is_flag(const char *text)
{
    return text[0] == '-' && text[1] && !isdigit((unsigned char)text[1]) && text[1] != '.';
}

static void *member(const caps_args *args, const caps_flag *flag)
{
    return (char *)args->options + flag->offset;
}

#define MOST_IN_RANGE 1000000

/* "7", or "3-7" where the flag takes ranges: the first and the last. */
static caps_status parse_range(
    uint64_t *first, uint64_t *last, const caps_flag *flag, const char *text, caps_error *err)
{
    const size_t digits = strspn(text, "0123456789");
    char begin[24];
    caps_status status;
    if (!flag->ranges || digits == 0 || digits >= sizeof begin || text[digits] != '-') {
        status = caps_parse_count(first, text, flag->min, flag->max, flag->name, err);
        *last = *first;
        return status;
    }
    snprintf(begin, sizeof begin, "%.*s", (int)digits, text);
    CAPS_TRY(caps_parse_count(first, begin, flag->min, flag->max, flag->name, err));
    CAPS_TRY(caps_parse_count(last, text + digits + 1, flag->min, flag->max, flag->name, err));
    if (*last < *first || *last - *first >= MOST_IN_RANGE)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: '%s' is no range, need the smaller number first and at most %d of them",
            flag->name, text, MOST_IN_RANGE));
done:
    return status;
}

static caps_status add_count(
    caps_args *args, const caps_flag *flag, const char *text, caps_error *err)
{
    caps_counts *list = member(args, flag);
    uint64_t first, last;
    caps_status status = parse_range(&first, &last, flag, text, err);
    if (status != CAPS_OK)
        return status;
    const size_t count = (size_t)(last - first) + 1;
    uint64_t *more = realloc(list->values, (list->count + count) * sizeof *more);
    if (!more)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", flag->name);
    for (size_t i = 0; i < count; i++)
        more[list->count + i] = first + i;
    list->values = more;
    list->count += count;
    return CAPS_OK;
}

static caps_status add_text(
    caps_args *args, const caps_flag *flag, const char *text, caps_error *err)
{
    caps_texts *list = member(args, flag);
    const char **more = realloc(list->values, (list->count + 1) * sizeof *more);
    if (!more)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", flag->name);
    more[list->count] = text;
    list->values = more;
    list->count++;
    return CAPS_OK;
}

static caps_status add_real(
    caps_args *args, const caps_flag *flag, const char *text, caps_error *err)
{
    caps_reals *list = member(args, flag);
    double value;
    caps_status status = caps_parse_amount(&value, text, flag->most, flag->name, err);
    if (status != CAPS_OK)
        return status;
    double *more = realloc(list->values, (list->count + 1) * sizeof *more);
    if (!more)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", flag->name);
    more[list->count] = value + 0.0; /* -0 is 0 */
    list->values = more;
    list->count++;
    return CAPS_OK;
}

bool caps_flag_is_list(const caps_flag *flag)
{
    return flag->kind == CAPS_FLAG_COUNTS || flag->kind == CAPS_FLAG_REALS ||
           flag->kind == CAPS_FLAG_TEXTS;
}

/* Makes a list empty. */
static void clear_list(caps_args *args, const caps_flag *flag)
{
    if (flag->kind == CAPS_FLAG_COUNTS) {
        caps_counts *list = member(args, flag);
        free(list->values);
        *list = (caps_counts){0};
    } else if (flag->kind == CAPS_FLAG_REALS) {
        caps_reals *list = member(args, flag);
        free(list->values);
        *list = (caps_reals){0};
    } else if (flag->kind == CAPS_FLAG_TEXTS) {
        caps_texts *list = member(args, flag);
        free(list->values);
        *list = (caps_texts){0};
    }
}

static caps_status set_choice(
    caps_args *args, const caps_flag *flag, const char *text, caps_error *err)
{
    char all[256] = "";
    size_t at = 0;
    for (int i = 0; flag->choices[i]; i++) {
        if (strcmp(flag->choices[i], text) == 0) {
            *(int *)member(args, flag) = i;
            return CAPS_OK;
        }
        int n = snprintf(all + at, sizeof all - at, "%s%s", i ? " or " : "", flag->choices[i]);
        if (n > 0 && at + (size_t)n < sizeof all)
            at += (size_t)n;
    }
    return caps_fail(
        err, CAPS_ERR_ARGUMENT, "%s: unknown value '%s', need %s", flag->name, text, all);
}

static caps_status set_value(
    caps_args *args, const caps_flag *flag, const char *text, caps_error *err)
{
    if (!*text)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s: the value is empty, need %s", flag->name, flag->value);
    switch (flag->kind) {
    case CAPS_FLAG_TEXT:
        *(const char **)member(args, flag) = text;
        return CAPS_OK;
    case CAPS_FLAG_COUNT:
        return caps_parse_count(member(args, flag), text, flag->min, flag->max, flag->name, err);
    case CAPS_FLAG_REAL:
        return caps_parse_real(member(args, flag), text, flag->above, flag->most, flag->name, err);
    case CAPS_FLAG_AMOUNT:
        return caps_parse_amount(member(args, flag), text, flag->most, flag->name, err);
    case CAPS_FLAG_CHOICE:
        return set_choice(args, flag, text, err);
    case CAPS_FLAG_SECONDS:
        return caps_parse_seconds(member(args, flag), text, flag->name, err);
    case CAPS_FLAG_BYTES:
        return caps_parse_bytes(member(args, flag), text, flag->name, err);
    case CAPS_FLAG_COUNTS:
        return add_count(args, flag, text, err);
    case CAPS_FLAG_TEXTS:
        return add_text(args, flag, text, err);
    case CAPS_FLAG_REALS:
        return add_real(args, flag, text, err);
    case CAPS_FLAG_SWITCH:
    case CAPS_FLAG_OFF:
        break;
    }
    return caps_fail(err, CAPS_ERR_INTERNAL, "%s: a switch has no value", flag->name);
}

/* argv[*at] is a flag: reads it with its values and moves *at past them. */
static caps_status read_flag(caps_args *args, int argc, char **argv, int *at, caps_error *err)
{
    const char *text = argv[(*at)++];
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    const caps_flag *flag = args->flags;
    while (flag && flag->name && (strlen(flag->name) != n || strncmp(flag->name, text, n) != 0))
        flag++;
    if (!flag || !flag->name) {
        char given[64];
        snprintf(given, sizeof given, "%.*s", (int)(n < 48 ? n : 48), text);
        const char *near = caps_nearest(given, flag_name, args->flags);
        return caps_fail(err, CAPS_ERR_ARGUMENT, "unknown flag %s%s%s%s", given,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }

    const size_t row = (size_t)(flag - args->flags);
    assert(row < 128);
    const bool before = args->given[row / 64] >> row % 64 & 1;
    args->given[row / 64] |= (uint64_t)1 << row % 64;
    if (flag->kind == CAPS_FLAG_SWITCH || flag->kind == CAPS_FLAG_OFF) {
        if (equals)
            return caps_fail(
                err, CAPS_ERR_ARGUMENT, "%s takes no value, has '%s'", flag->name, equals + 1);
        *(bool *)member(args, flag) = flag->kind == CAPS_FLAG_SWITCH;
        return CAPS_OK;
    }
    if (before && flag->kind != CAPS_FLAG_TEXTS) /* the last one wins */
        clear_list(args, flag);                  /* the last one wins */
    if (!equals && (*at >= argc || is_flag(argv[*at])))
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s needs a value: %s %s", flag->name, flag->name, flag->value);
    caps_status status = set_value(args, flag, equals ? equals + 1 : argv[(*at)++], err);
    while (status == CAPS_OK && caps_flag_is_list(flag) && *at < argc && !is_flag(argv[*at]))
        status = set_value(args, flag, argv[(*at)++], err);
    return status;
}

caps_status caps_args_parse(caps_args *args, const caps_flag *flags, void *options, int argc,
    char **argv, size_t positional_max, caps_error *err)
{
    caps_status status = CAPS_OK;
    *args = (caps_args){.flags = flags, .options = options};
    args->positional = calloc((size_t)argc + 1, sizeof *args->positional);
    if (!args->positional)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
    bool only_names = false;
    for (int at = 0; at < argc;) {
        if (!only_names && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)) {
            args->help = true;
            break;
        }
        if (!only_names && strcmp(argv[at], "--") == 0) {
            only_names = true;
            at++;
        } else if (!only_names && argv[at][0] == '-' && argv[at][1]) {
            CAPS_TRY(read_flag(args, argc, argv, &at, err));
        } else if (args->positional_count >= positional_max) {
            status = caps_fail(err, CAPS_ERR_ARGUMENT, "unexpected argument '%s'", argv[at]);
            goto done;
        } else {
            args->positional[args->positional_count++] = argv[at++];
        }
    }
done:
    if (status != CAPS_OK)
        caps_args_release(args);
    return status;
}

void caps_args_release(caps_args *args)
{
    for (const caps_flag *flag = args->flags; flag && flag->name; flag++)
        clear_list(args, flag);
    free(args->positional);
    for (size_t i = 0; i < args->kept_count; i++)
        free(args->kept[i]);
    free(args->kept);
    *args = (caps_args){0};
}

caps_status caps_args_keep(caps_args *args, char *text, caps_error *err)
{
    char **more = text ? realloc(args->kept, (args->kept_count + 1) * sizeof *more) : NULL;
    if (!more) {
        free(text);
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for names of files");
    }
    args->kept = more;
    args->kept[args->kept_count++] = text;
    return CAPS_OK;
}

bool caps_args_given(const caps_args *args, const char *name)
{
    for (size_t i = 0; args->flags && args->flags[i].name; i++)
        if (strcmp(args->flags[i].name, name) == 0)
            return args->given[i / 64] >> i % 64 & 1;
    return false;
}

/* ---- help ----------------------------------------------------------------------------------- */

static void help_row(FILE *out, const char *name, const char *value, const char *help)
{
    const int column = 22;
    int n = fprintf(out, "  %s%s%s", name, value ? " " : "", value ? value : "");
    if (n >= column) {
        fputc('\n', out);
        n = 0;
    }
    for (const char *line = help;;) {
        size_t length = strcspn(line, "\n");
        fprintf(out, "%*s%.*s\n", column - n, "", (int)length, line);
        if (!line[length])
            return;
        line += length + 1;
        n = 0;
    }
}

void caps_args_help(FILE *out, const caps_flag *flags)
{
    for (const caps_flag *flag = flags; flag && flag->name; flag++)
        help_row(out, flag->name, flag->value, flag->help);
    help_row(out, "--help", NULL, "this text");
}
