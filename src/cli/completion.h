/* completion.h: what may stand in a command line, for the completion scripts of the shells. */
#ifndef CAPS_COMPLETION_H
#define CAPS_COMPLETION_H

#include "cli.h"

/* What a value or an argument may be besides the names that the table knows. */
typedef enum caps_completion_files {
    CAPS_COMPLETES_NOTHING, /* numbers, other texts */
    CAPS_COMPLETES_FILES,
    CAPS_COMPLETES_FOLDERS,
    CAPS_COMPLETES_DATA, /* folders, and data sets by name */
} caps_completion_files;

/* By how help calls the value. */
caps_completion_files caps_completion_files_of(const caps_flag *flag);

/* The i-th name that the table knows for the flag's value, NULL past the last. */
const char *caps_completion_name(const caps_flag *flag, size_t i);

/* Does the flag take no value? */
bool caps_completion_is_switch(const caps_flag *flag);

#endif
