/* data_files.c: see data_files.h. */
#include "data_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "file.h"
#include "image.h"
#include "pairs.h"
#include "rng.h"

char *test_new_directory(void)
{
    static char *root;
    static unsigned count;
    root = root ? root : test_directory();
    char *path = caps_format("%s/%u", root, count++);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    return path;
}

void test_put(const char *directory, const char *name, const void *data, size_t n)
{
    caps_error err = {0};
    char *path = caps_path_join(directory, name), *parent = strdup(path);
    *strrchr(parent, '/') = '\0';
    test_ok(caps_directory_make(parent, &err));
    test_ok(caps_file_write(path, data, n, &err));
    free(parent);
    free(path);
}

void test_drop(const char *directory, const char *name)
{
    char *path = caps_path_join(directory, name);
    ck_assert_int_eq(unlink(path), 0);
    free(path);
}

unsigned char *test_gzipped(const void *data, size_t bytes, int level, size_t *n)
{
    z_stream z = {0};
    const size_t capacity = bytes + bytes / 100 + 1000;
    unsigned char *out = malloc(capacity);
    ck_assert_int_eq(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (uInt)bytes;
    z.next_out = out;
    z.avail_out = (uInt)capacity;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *n = capacity - z.avail_out;
    deflateEnd(&z);
    return out;
}

char *test_put_set(size_t n, size_t channels, size_t classes, size_t h, size_t w)
{
    static const char *const splits[] = {"train", "t10k"};
    caps_error err = {0};
    char *dir = test_directory();
    const size_t bytes = n * channels * h * w, header = channels > 1 ? 20 : 16;
    unsigned char *b = calloc(1, 20 + bytes + n);
    for (int s = 0; s < 2; s++) {
        char *path = caps_format("%s/%s-images-idx%d-ubyte", dir, splits[s], channels > 1 ? 4 : 3);
        const size_t sizes[] = {n, channels, h, w};
        memset(b, 0, header);
        b[2] = 8;
        b[3] = channels > 1 ? 4 : 3;
        for (size_t d = 0, at = 4; d < 4; d++)
            if (d != 1 || channels > 1) {
                b[at + 2] = (unsigned char)(sizes[d] >> 8);
                b[at + 3] = (unsigned char)sizes[d];
                at += 4;
            }
        for (size_t i = 0; i < bytes; i++)
            b[header + i] =
                (unsigned char)(1 + caps_rng_below(255, 9, CAPS_RNG_TEST, (uint32_t)s, i));
        test_ok(caps_file_write(path, b, header + bytes, &err));
        free(path);
        path = caps_format("%s/%s-labels-idx1-ubyte", dir, splits[s]);
        memcpy(b, (unsigned char[]){0, 0, 8, 1, 0, 0, 0, 0}, 8);
        b[6] = (unsigned char)(n >> 8);
        b[7] = (unsigned char)n;
        for (size_t i = 0; i < n; i++)
            b[8 + i] = (unsigned char)(i * 3 % classes);
        test_ok(caps_file_write(path, b, 8 + n, &err));
        free(path);
    }
    free(b);
    return dir;
}

caps_dataset test_open_single(const char *dir, caps_split split)
{
    caps_error err = {0};
    caps_dataset ds;
    test_ok(test_dataset_load(&ds, dir, split, 0, &err));
    return ds;
}

caps_dataset test_open_pairs(const char *dir, caps_split split, size_t limit)
{
    caps_error err = {0};
    caps_dataset ds;
    char *name = caps_format("multi:%s", dir);
    test_ok(test_dataset_load(&ds, name, split, limit, &err));
    ck_assert_str_eq(ds.path, name);
    ck_assert_uint_eq(ds.labels_per_image, 2);
    free(name);
    return ds;
}

void test_expect_refused(const char *name, const caps_dataset_options *o, caps_status expected,
    const char *dir, const char *needle)
{
    caps_error err = {0};
    caps_dataset ds;
    const caps_status status = caps_dataset_open(&ds, name, o, &err);
    ck_assert_msg(status == expected, "%s: %s, need %s: %s", name, caps_status_name(status),
        caps_status_name(expected), err.message);
    ck_assert_msg(strstr(err.message, needle) != NULL, "'%s' lacks '%s'", err.message, needle);
    ck_assert_msg(!dir || strncmp(err.message, dir, strlen(dir)) == 0, "'%s' does not begin '%s'",
        err.message, dir);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    ck_assert(!ds.path && !ds.images && !ds.labels && !ds.class_names && !ds.pairs && ds.n == 0);
}

uint64_t test_hash_of_pairs(const caps_dataset *ds, uint64_t seed, uint64_t epoch)
{
    uint64_t hash = CAPS_HASH_START;
    for (size_t i = 0; i < ds->n; i++) {
        const caps_pair p = caps_pair_draw(ds, i, seed, epoch);
        unsigned char bytes[6] = {(unsigned char)p.image[0], (unsigned char)p.image[1],
            (unsigned char)(p.dx[0] + 6), (unsigned char)(p.dy[0] + 6),
            (unsigned char)(p.dx[1] + 6), (unsigned char)(p.dy[1] + 6)};
        hash = caps_hash(hash, bytes, sizeof bytes);
    }
    return hash;
}

void test_make_directory(const char *dir, const char *name)
{
    caps_error err = {0};
    char *path = caps_path_join(dir, name);
    test_ok(caps_directory_make(path, &err));
    free(path);
}

void test_put_png(
    const char *dir, const char *name, unsigned which, size_t w, size_t h, size_t channels)
{
    caps_error err = {0};
    caps_image image;
    char *path = caps_path_join(dir, name), *parent = strdup(path);
    *strrchr(parent, '/') = '\0';
    test_ok(caps_directory_make(parent, &err));
    test_ok(caps_image_init(&image, w, h, channels, &err));
    for (size_t i = 0; i < w * h * channels; i++)
        image.pixels[i] = test_pixel_of(which, i);
    test_ok(caps_image_write_png(&image, path, &err));
    caps_image_release(&image);
    free(parent);
    free(path);
}

uint8_t test_pixel_of(unsigned which, size_t i)
{
    return (uint8_t)caps_rng_below(256, which, CAPS_RNG_TEST, 3, i);
}
