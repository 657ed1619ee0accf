/* driver_objects.h: PoCL keeps what it compiles on disk, and takes it from there unseen: an object
 * that was cut short, or has other bytes, ends the process that loads it, or computes something
 * else. So its sums are kept beside our own cache, one file for each program
 * ("objects-HASH.json"), and compared before PoCL may load it; what is damaged is removed, and PoCL
 * compiles it again. */
#ifndef CAPS_DRIVER_OBJECTS_H
#define CAPS_DRIVER_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Before a program is built: removes the objects of it that are damaged. `record` is the path of
 * its file of sums. Their number; the name of one of them goes into text. */
size_t caps_objects_check(const char *record, char *text, size_t bytes);

/* The time as files have it, to be taken before a program is built. */
struct timespec caps_objects_time(void);
/* After a program was built, and when its kernels were used: keeps the sums of what PoCL has of it
 * now. `begun`: when its build began; NULL: its sums are kept already, or not at all. Failing to
 * costs nothing but a check. */
void caps_objects_keep(const char *cache_dir, const char *record, const struct timespec *begun);

/* After a process was ended by its driver: removes, of the programs that were built since it began,
 * in any process, the objects that were there before, and of any program bitcode that ends before
 * it says so: one of them may have been the cause. False: there are none. */
bool caps_objects_remove_since(const struct timespec *begun);

#endif
