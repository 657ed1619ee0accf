/* data_files.h: files of data sets, for tests that read them. Part of test_support. */
#ifndef CAPS_TEST_DATA_FILES_H
#define CAPS_TEST_DATA_FILES_H

#include "support.h"

/* A new directory; hundreds of them lie in one that is removed at exit. malloc'd. */
char *test_new_directory(void);
/* Writes directory/name, making the directories on the way; removes it. */
void test_put(const char *directory, const char *name, const void *data, size_t n);
void test_drop(const char *directory, const char *name);
void test_make_directory(const char *directory, const char *name);
/* A PNG file of w x h pixels, those of picture `which`; its folders are made. */
void test_put_png(
    const char *directory, const char *name, unsigned which, size_t w, size_t h, size_t channels);
/* Pixel i of picture `which`, any fixed value. */
uint8_t test_pixel_of(unsigned which, size_t i);

/* The same bytes as a .gz file: *n of them, malloc'd. level: 0 to 9. */
unsigned char *test_gzipped(const void *data, size_t bytes, int level, size_t *n);

/* An IDX set of n images with labels i * 3 % classes and pixels 1..255, both splits: its directory,
 * malloc'd. */
char *test_put_set(size_t n, size_t channels, size_t classes, size_t h, size_t w);
/* Opens it, or pairs of it ("multi:"). */
caps_dataset test_open_single(const char *directory, caps_split split);
caps_dataset test_open_pairs(const char *directory, caps_split split, size_t limit);
/* Of all pairs of an epoch: which images, and where. */
uint64_t test_hash_of_pairs(const caps_dataset *ds, uint64_t seed, uint64_t epoch);

/* Opening fails so, with one line that begins with `directory` (NULL: anything) and has `needle`;
 * nothing is left over. */
void test_expect_refused(const char *name, const caps_dataset_options *o, caps_status expected,
    const char *directory, const char *needle);

#endif
