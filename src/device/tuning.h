/* tuning.h: what `capscl tune` measured for a device.
 *
 * A key names a choice and its problem: "gemm 100x512x160 nt". Its value is the name of an
 * algorithm. The file lies in the cache directory, one for each device and driver; a file that is
 * damaged, or of another device or version, is as if it were not there, with one warning
 * (caps_runtime_take_warning). It is read when a key is first looked up and not again, so the
 * answers of a runtime do not change while it lives. */
#ifndef CAPS_TUNING_H
#define CAPS_TUNING_H

#include <capscl/device.h>

enum { CAPS_TUNING_KEY = 96, CAPS_TUNING_ALGORITHM = 48 }; /* most characters, the zero counted */

/* The algorithm that was measured to be the fastest, or NULL. Valid until the next
 * caps_tuning_set. */
const char *caps_tuning_get(const caps_runtime *rt, const char *key);

/* For `capscl tune`: stores a result in memory, over any older one. */
caps_status caps_tuning_set(
    caps_runtime *rt, const char *key, const char *algorithm, double milliseconds, caps_error *err);
/* Images/s of a training step of a network (any name for it, shorter than CAPS_TUNING_KEY), as it
 * was measured; 0: it was not. */
double caps_tuning_speed(const caps_runtime *rt, const char *network);
caps_status caps_tuning_set_speed(
    caps_runtime *rt, const char *network, double images_per_second, caps_error *err);
/* Writes the file with all that is known, whole or not at all. */
caps_status caps_tuning_save(caps_runtime *rt, caps_error *err);
/* The file's path, or NULL where there is no cache directory. Freed with free(). */
char *caps_tuning_path(const caps_runtime *rt);

/* Device, driver and kernel family, for which a measurement counts. Freed with free(); NULL: out of
 * memory. */
char *caps_tuning_device_text(const caps_device_info *device, caps_family family);

/* All that was measured, as a JSON object of key: algorithm; freed with free(), NULL: out of
 * memory. */
char *caps_tuning_format(const caps_runtime *rt);
/* The same of what the file of a device and a family has, without a runtime; {} where there is none
 * that counts. */
char *caps_tuning_known(const caps_device_info *device, caps_family family);
/* Puts such an object in the place of whatever was measured: a resumed run chooses as it did when
 * it began. CAPS_ERR_FORMAT. */
caps_status caps_tuning_restore(caps_runtime *rt, const char *text, caps_error *err);

/* For runtime.c. */
typedef struct caps_tuning caps_tuning;
caps_tuning *caps_tuning_create(void); /* NULL: out of memory */
void caps_tuning_free(caps_tuning *tuning);

#endif
