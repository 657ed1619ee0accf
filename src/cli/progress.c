/* progress.c: see progress.h. */
#include "progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "text.h"

/* There is one terminal, so there is one line. */
static struct {
    bool shown;
    double last_seconds;
} line;

/* Nor does more than one task go on at a time. */
static struct {
    double begin_seconds, begin_fraction; /* where it was first seen */
    double last_fraction;
} task = {.last_fraction = 2};

bool caps_progress_enabled(void)
{
    static int terminal = -1;
    if (terminal < 0) {
        const char *term = getenv("TERM");
        terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    }
    return terminal && !caps_cli_is_quiet();
}

int caps_progress_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

bool caps_progress_due(void)
{
    return caps_progress_enabled() && caps_clock_seconds() - line.last_seconds >= 0.1;
}

void caps_progress_show(const char *format, ...)
{
    if (!caps_progress_enabled())
        return;
    char raw[512], text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    caps_text_clean(text, sizeof text, raw);
    /* A full last column would wrap on some terminals. */
    fprintf(stderr, "\r%.*s\033[K", caps_progress_columns() - 1, text);
    fflush(stderr);
    line.shown = true;
    line.last_seconds = caps_clock_seconds();
}

void caps_progress_clear(void)
{
    if (!line.shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    line.shown = false;
    line.last_seconds = 0;
}

char *caps_progress_bar(char *text, double fraction)
{
    const int cells = 10;
    if (!(fraction > 0))
        fraction = 0;
    if (fraction > 1)
        fraction = 1;
    int full = (int)(fraction * cells);
    char *at = text;
    *at++ = '[';
    for (int i = 0; i < cells; i++)
        *at++ = i < full ? '=' : i == full ? '>' : ' ';
    *at++ = ']';
    *at = 0;
    return text;
}

char *caps_progress_time(char *text, double seconds)
{
    if (!(seconds >= 0) || seconds > 1e8) {
        snprintf(text, 32, "?");
        return text;
    }
    long whole = lround(seconds);
    if (whole >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(text, 32, "%ld:%02ld", whole / 60, whole % 60);
    return text;
}

char *caps_progress_left(char *text, double fraction)
{
    char left[32];
    const double now = caps_clock_seconds();
    if (fraction < task.last_fraction) {
        task.begin_seconds = now;
        task.begin_fraction = fraction;
    }
    task.last_fraction = fraction;
    text[0] = 0;
    const double spent = now - task.begin_seconds, done = fraction - task.begin_fraction;
    if (spent >= 1 && done > 0)
        snprintf(text, 32, "  %.24s left", caps_progress_time(left, spent * (1 - fraction) / done));
    return text;
}
