/* progress.h: one line on a terminal that is redrawn in place. Where stderr is no terminal, or
 * under --quiet, nothing is drawn. */
#ifndef CAPS_PROGRESS_H
#define CAPS_PROGRESS_H

#include <stdbool.h>

#include <capscl/error.h>

/* Is there a terminal to draw on? */
bool caps_progress_enabled(void);
/* The terminal's width; 80 where it does not say. */
int caps_progress_columns(void);
/* Is it time to draw again (ten times a second at most)? Saves making a text that is not shown. */
bool caps_progress_due(void);
/* Draws the line, cut at the terminal's width. */
void caps_progress_show(const char *format, ...) CAPS_PRINTF(1, 2);
/* Wipes it, if there is one; the log does so before each of its lines. */
void caps_progress_clear(void);

/* "[=====>    ]": a bar of 20 cells; text of at least 32 bytes, returned. */
char *caps_progress_bar(char *text, double fraction);
/* "0:07", "12:34", "3:02:11"; "?" for NaN; text of at least 32 bytes, returned. */
char *caps_progress_time(char *text, double seconds);

/* "  0:12 left" of a task of which this fraction is done, by how long that took; "" in its first
 * second. The least fraction begins a task: so does one that is less than the last. text of at least
 * 32 bytes, returned. */
char *caps_progress_left(char *text, double fraction);

#endif
