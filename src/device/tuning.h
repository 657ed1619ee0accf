/* tuning.h: what `capscl tune` measured for a device, and which choices a runtime has made.
 *
 * A key says what is chosen and for which sizes: "gemm 100x512x160 nt". Its value is the name of a
 * variant. The file lies in the cache directory, one for each device and driver; a file that is
 * damaged, or of another device or version, is as if it were not there, with one warning
 * (caps_runtime_take_warning). It is read at the first question and not again, so the answers of a
 * runtime do not change while it lives. */
#ifndef CAPS_TUNING_H
#define CAPS_TUNING_H

#include <capscl/device.h>

enum { CAPS_TUNING_KEY = 96, CAPS_TUNING_VARIANT = 48 }; /* most characters, the zero counted */

/* The variant that was measured to be the best, or NULL. Valid until the next caps_tuning_set. */
const char *caps_tuning_get(const caps_runtime *rt, const char *key);

/* For `capscl tune`: remembers a result in memory, over any older one. */
caps_status caps_tuning_set(
    caps_runtime *rt, const char *key, const char *variant, double milliseconds, caps_error *err);
/* Writes the file with all that is known, whole or not at all. */
caps_status caps_tuning_save(caps_runtime *rt, caps_error *err);
/* The file's path, or NULL where there is no cache directory. Freed with free(). */
char *caps_tuning_path(const caps_runtime *rt);

/* All that was measured, as a JSON object of key: variant; freed with free(), NULL: out of memory.
 */
char *caps_tuning_format(const caps_runtime *rt);
/* Puts such an object in the place of whatever was measured: a run that goes on chooses as it did
 * when it began. CAPS_ERR_FORMAT. */
caps_status caps_tuning_restore(caps_runtime *rt, const char *text, caps_error *err);

/* A choice in force. */
typedef struct caps_choice {
    char key[CAPS_TUNING_KEY];
    char variant[CAPS_TUNING_VARIANT];
    bool measured; /* from the file; else by rule */
    void *subject; /* what to measure it with: the chooser's own struct, a copy of `bytes` */
    size_t bytes;
} caps_choice;

/* For choosers: notes what was chosen for a key, once. `subject` may be NULL. Failing to (no
 * memory) loses the note, nothing else. */
void caps_tuning_record(const caps_runtime *rt, const char *key, const char *variant, bool measured,
    const void *subject, size_t bytes);
/* All notes so far, in the order in which they were made; the runtime's. */
size_t caps_tuning_choices(const caps_runtime *rt, const caps_choice **list);

/* For runtime.c. */
typedef struct caps_tuning caps_tuning;
caps_tuning *caps_tuning_create(void); /* NULL: out of memory */
void caps_tuning_free(caps_tuning *tuning);

#endif
