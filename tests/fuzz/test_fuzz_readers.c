/* test_fuzz_readers.c: every reader of files on valid files damaged at random, reproducibly. None
 * may crash (the sanitizers watch), print or hang; a refusal has one line of text and nothing left
 * over; and what is accepted can be read through to its last byte. */
#include "data_files.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "file.h"
#include "image.h"
#include "jpeg_files.h"
#include "rng.h"
#include "safetensors.h"

/* ---- damage --------------------------------------------------------------------------------- */

typedef struct bytes {
    unsigned char *data;
    size_t n;
} bytes;

typedef struct dice {
    uint32_t which; /* fuzzer */
    uint64_t round, throws;
} dice;

static size_t throw(dice * d, size_t n)
{
    return (size_t)caps_rng_below(n, 77, CAPS_RNG_TEST, d->which, d->round << 16 | d->throws++);
}

/* Sizes that have led readers astray: nothing, one less or more than a power of two, the largest.
 */
static uint64_t odd_number(dice *d)
{
    uint64_t power = 1ull << throw(d, 64);
    switch (throw(d, 5)) {
    case 0:
        return 0;
    case 1:
        return power - 1;
    case 2:
        return power + 1;
    case 3:
        return UINT64_MAX - throw(d, 9);
    default:
        return power;
    }
}

/* A damaged copy of `good`: one to four changes. */
static bytes damaged(const bytes *good, dice *d)
{
    const size_t spare = 300;
    bytes b = {malloc(good->n + 4 * spare), good->n};
    memcpy(b.data, good->data, good->n);
    for (size_t changes = 1 + throw(d, 4); changes > 0; changes--) {
        /* Half of the changes near the start, where headers are. */
        size_t reach = b.n > 64 && throw(d, 2) ? 64 : b.n;
        size_t at = reach ? throw(d, reach) : 0, length;
        switch (throw(d, 8)) {
        case 0: /* a bit */
            if (b.n)
                b.data[at] ^= (unsigned char)(1u << throw(d, 8));
            break;
        case 1: /* a byte */
            if (b.n)
                b.data[at] = (unsigned char) throw(d, 256);
            break;
        case 2: /* the end is missing */
            b.n = throw(d, b.n + 1);
            break;
        case 3: /* something more */
            length = throw(d, spare);
            for (size_t i = 0; i < length; i++)
                b.data[b.n++] = (unsigned char) throw(d, 256);
            break;
        case 4: /* a number of 4 or 8 bytes, in either order */
        {
            uint64_t value = odd_number(d);
            size_t width = throw(d, 2) ? 8 : 4;
            bool big = throw(d, 2);
            for (size_t i = 0; i < width && at + i < b.n; i++)
                b.data[at + i] = (unsigned char)(value >> 8 * (big ? width - 1 - i : i));
            break;
        }
        case 5: /* a piece is missing */
            length = throw(d, 40);
            length = length < b.n - at ? length : b.n - at;
            memmove(b.data + at, b.data + at + length, b.n - at - length);
            b.n -= length;
            break;
        case 6: /* a piece is somewhere else too */
            length = throw(d, 40);
            length = length < b.n - at ? length : b.n - at;
            if (length)
                memmove(b.data + throw(d, b.n - length + 1), b.data + at, length);
            break;
        default: /* a digit: sizes and offsets in text */
            for (size_t i = at; i < b.n; i++)
                if (b.data[i] >= '0' && b.data[i] <= '9') {
                    b.data[i] = (unsigned char)('0' + throw(d, 10));
                    break;
                }
        }
    }
    /* An exact allocation: the sanitizer sees a read past the end. */
    bytes exact = {malloc(b.n ? b.n : 1), b.n};
    memcpy(exact.data, b.data, b.n);
    free(b.data);
    return exact;
}

static void put(const char *path, bytes b)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(b.data, 1, b.n, f), b.n);
    ck_assert_int_eq(fclose(f), 0);
}

static void expect_report(caps_status status, const caps_error *err, const char *where)
{
    ck_assert_int_eq(err->status, status);
    ck_assert_msg(status == CAPS_ERR_FORMAT || status == CAPS_ERR_MEMORY, "%s: %s",
        caps_status_name(status), err->message);
    ck_assert_uint_gt(strlen(err->message), strlen(where) + 2);
    ck_assert_msg(strncmp(err->message, where, strlen(where)) == 0, "%s", err->message);
    for (const char *p = err->message; *p; p++)
        ck_assert((unsigned char)*p >= 32);
}

/* Reads every byte, so that the sanitizer sees one that is not there. */
static unsigned sum_of(const void *data, size_t n)
{
    const unsigned char *p = data;
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    return sum;
}

static volatile unsigned sink;

static uint64_t rounds(uint64_t n)
{
    return test_small() ? n / 10 : getenv("CAPSCL_TEST_LONG") ? n : n / 4;
}

/* ---- IDX ------------------------------------------------------------------------------------ */

static bytes idx_bytes(int ndim, const uint32_t *dims, size_t payload)
{
    bytes b = {NULL, 4 + 4 * (size_t)ndim + payload};
    b.data = calloc(1, b.n);
    b.data[2] = 8;
    b.data[3] = (unsigned char)ndim;
    for (int d = 0; d < ndim; d++)
        for (int k = 0; k < 4; k++)
            b.data[4 + 4 * d + k] = (unsigned char)(dims[d] >> (24 - 8 * k));
    for (size_t i = 0; i < payload; i++)
        b.data[4 + 4 * (size_t)ndim + i] = (unsigned char)(i * i % 10);
    return b;
}

static bytes gzipped(bytes plain)
{
    bytes out;
    out.data = test_gzipped(plain.data, plain.n, 9, &out.n);
    free(plain.data);
    return out;
}

/* Damages one of the two files of a set in turn. */
static void fuzz_idx(bytes images, const char *image_name, bytes labels, const char *label_name,
    uint32_t which, uint64_t count)
{
    char *dir = test_directory();
    char *image_path = caps_path_join(dir, image_name),
         *label_path = caps_path_join(dir, label_name);
    uint64_t refused = 0;
    put(image_path, images);
    put(label_path, labels);
    for (uint64_t round = 0; round < count; round++) {
        dice d = {which, round, 0};
        bool of_images = round % 3 != 0;
        bytes b = damaged(of_images ? &images : &labels, &d);
        put(of_images ? image_path : label_path, b);
        caps_error err = {0};
        caps_dataset ds;
        caps_status status = test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, throw(&d, 5), &err);
        if (status == CAPS_OK) {
            size_t image_bytes = ds.channels * ds.height * ds.width;
            sink = sum_of(ds.images, ds.n * image_bytes) + sum_of(ds.labels, ds.n);
            float *out = malloc(image_bytes * sizeof *out);
            caps_dataset_image(&ds, ds.n - 1, CAPS_AUGMENT_SHIFT2, 1, round, out);
            free(out);
            caps_dataset_release(&ds);
        } else {
            expect_report(status, &err, dir);
            ck_assert(!ds.images && !ds.labels && !ds.path);
            refused++;
        }
        put(of_images ? image_path : label_path, of_images ? images : labels);
        free(b.data);
    }
    /* Damage to pixels of a plain file cannot be seen; most of the rest must be. */
    ck_assert_uint_gt(refused, count / 3);
    free(image_path);
    free(label_path);
    free(dir);
    free(images.data);
    free(labels.data);
}

START_TEST(idx_plain)
{
    fuzz_idx(idx_bytes(3, (uint32_t[]){7, 6, 5}, 7 * 6 * 5), "t10k-images-idx3-ubyte",
        idx_bytes(1, (uint32_t[]){7}, 7), "t10k-labels-idx1-ubyte", 1, rounds(3000));
}
END_TEST

START_TEST(idx_colour)
{
    fuzz_idx(idx_bytes(4, (uint32_t[]){7, 3, 2, 5}, 7 * 3 * 2 * 5), "t10k-images-idx4-ubyte",
        idx_bytes(1, (uint32_t[]){7}, 7), "t10k-labels-idx1-ubyte", 2, rounds(1000));
}
END_TEST

START_TEST(idx_gz)
{
    fuzz_idx(gzipped(idx_bytes(3, (uint32_t[]){40, 6, 5}, 40 * 6 * 5)), "t10k-images-idx3-ubyte.gz",
        gzipped(idx_bytes(1, (uint32_t[]){40}, 40)), "t10k-labels-idx1-ubyte.gz", 3, rounds(3000));
}
END_TEST

/* The bytes that come out of a .gz damaged, then compressed rightly: faults behind a good checksum.
 */
START_TEST(idx_within_gz)
{
    char *dir = test_directory(), *image_path = caps_path_join(dir, "train-images-idx3-ubyte.gz");
    char *label_path = caps_path_join(dir, "train-labels-idx1-ubyte");
    bytes images = idx_bytes(3, (uint32_t[]){7, 6, 5}, 7 * 6 * 5);
    bytes labels = idx_bytes(1, (uint32_t[]){7}, 7);
    put(label_path, labels);
    for (uint64_t round = 0; round < rounds(1000); round++) {
        dice d = {4, round, 0};
        bytes packed = gzipped(damaged(&images, &d));
        put(image_path, packed);
        caps_error err = {0};
        caps_dataset ds;
        caps_status status = test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, 0, &err);
        if (status == CAPS_OK)
            sink = sum_of(ds.images, ds.n * ds.channels * ds.height * ds.width);
        else
            expect_report(status, &err, dir);
        caps_dataset_release(&ds);
        free(packed.data);
    }
    free(labels.data);
    free(images.data);
    free(label_path);
    free(image_path);
    free(dir);
}
END_TEST

/* ---- PNG ------------------------------------------------------------------------------------ */

/* libpng checks each chunk's sum before its content; with the sums put right the rest is reached.
 */
static void mend_checksums(bytes *b)
{
    for (size_t at = 8; at + 12 <= b->n;) {
        const unsigned char *p = b->data + at;
        size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > b->n - at - 12)
            return;
        uint32_t crc = (uint32_t)crc32(0, p + 4, (uInt)length + 4);
        for (int k = 0; k < 4; k++)
            b->data[at + 8 + length + (size_t)k] = (unsigned char)(crc >> (24 - 8 * k));
        at += 12 + length;
    }
}

/* A picture as libpng's simplified writer makes it; with a palette for format
 * PNG_FORMAT_RGB_COLORMAP. */
static bytes png_bytes(uint32_t format)
{
    enum { SIDE = 12 };
    unsigned char pixels[SIDE * SIDE * 8], colours[256 * 4];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (unsigned char)(i * 7 % 60);
    for (size_t i = 0; i < sizeof colours; i++)
        colours[i] = (unsigned char)(i * 11);
    png_image png = {.version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = format};
    png.colormap_entries = 60;
    bytes b = {malloc(10000), 10000};
    png_alloc_size_t n = b.n;
    ck_assert_msg(
        png_image_write_to_memory(&png, b.data, &n, 0, pixels, 0, colours), "%s", png.message);
    b.n = n;
    return b;
}

static uint8_t jpeg_sample(size_t x, size_t y, size_t c)
{
    return (uint8_t)(x * 17 + y * 29 + c * 50);
}

/* More than a third of the damaged pictures, but not all, are refused in words; the others are
 * read, and of PNG converted too. Some PNG have their checksums mended, so that what is behind
 * these is read. */
static void fuzz_pictures(
    const char *name, const bytes *good, int kinds, uint32_t which, uint64_t count, bool png)
{
    char *dir = test_directory(), *path = caps_path_join(dir, name);
    uint64_t refused = 0;
    for (uint64_t round = 0; round < count; round++) {
        dice d = {which, round, 0};
        bytes b = damaged(&good[round % (uint64_t)kinds], &d);
        if (png && throw(&d, 4))
            mend_checksums(&b);
        put(path, b);
        caps_error err = {0};
        caps_image image;
        caps_status status = caps_image_read(&image, path, &err);
        if (status == CAPS_OK) {
            float out[3 * 8 * 9];
            sink = sum_of(image.pixels, image.width * image.height * image.channels);
            if (png)
                test_ok(caps_image_convert(out, &image, 3, 8, 9, round & 1, &err));
        } else {
            expect_report(status, &err, path);
            ck_assert_ptr_null(image.pixels);
            refused++;
        }
        caps_image_release(&image);
        free(b.data);
    }
    ck_assert_uint_gt(refused, count / 3);
    ck_assert_uint_lt(refused, count); /* some damage leaves a picture */
    free(path);
    free(dir);
}

/* Also of EXIF data, which we read ourselves. */
START_TEST(jpeg_files)
{
    static const test_jpeg kinds[] = {{12, 9, 1, jpeg_sample, .orientation = 5},
        {9, 12, 3, jpeg_sample, .progressive = true, .orientation = 8, .big_endian = true},
        {16, 16, 4, jpeg_sample, .ycck = true}, {8, 20, 3, jpeg_sample, .separate = true},
        {11, 11, 4, jpeg_sample, .no_adobe = true, .progressive = true}};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    bytes good[KINDS];
    for (int i = 0; i < KINDS; i++)
        good[i].data = test_jpeg_make(&good[i].n, &kinds[i]);
    fuzz_pictures("x.jpg", good, KINDS, 15, rounds(3000), false);
    for (int i = 0; i < KINDS; i++)
        free(good[i].data);
}
END_TEST

START_TEST(png_files)
{
    static const uint32_t formats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB,
        PNG_FORMAT_RGBA, PNG_FORMAT_RGBA_COLORMAP, PNG_FORMAT_LINEAR_RGB_ALPHA};
    enum { FORMATS = sizeof formats / sizeof formats[0] };
    bytes good[FORMATS];
    for (int i = 0; i < FORMATS; i++)
        good[i] = png_bytes(formats[i]);
    fuzz_pictures("x.png", good, FORMATS, 5, rounds(4000), true);
    for (int i = 0; i < FORMATS; i++)
        free(good[i].data);
}
END_TEST

/* ---- sets of several files ------------------------------------------------------------------ */

/* Damages one of the files after the other; each round reads the whole set, as single images or as
 * pairs. `must_tell`: what is refused at least, of 100. */
static void fuzz_set(const char *dir, char *const paths[], const bytes *good, size_t files,
    const char *name, uint32_t which, uint64_t count, uint64_t must_tell)
{
    uint64_t refused = 0;
    for (size_t i = 0; i < files; i++)
        put(paths[i], good[i]);
    for (uint64_t round = 0; round < count; round++) {
        dice d = {which, round, 0};
        const size_t at = round % files;
        bytes b = damaged(&good[at], &d);
        if (throw(&d, 2))
            mend_checksums(&b);
        put(paths[at], b);
        caps_error err = {0};
        caps_dataset ds;
        caps_status status = test_dataset_load(&ds, name, CAPS_SPLIT_TRAIN, throw(&d, 5), &err);
        if (status == CAPS_OK) {
            size_t chw[3];
            test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_NONE, chw, &err));
            float *out = malloc(3 * chw[0] * chw[1] * chw[2] * sizeof *out);
            int32_t labels[2];
            for (size_t i = 0; i < ds.n; i++) {
                caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 1, round, out, labels,
                    out + chw[0] * chw[1] * chw[2]);
                ck_assert_uint_lt((size_t)labels[0], ds.classes);
            }
            for (size_t c = 0; ds.class_names && c < ds.classes; c++)
                sink = sum_of(ds.class_names[c], strlen(ds.class_names[c]));
            free(out);
        } else {
            expect_report(status, &err, strncmp(name, "multi:", 6) ? dir : "");
            ck_assert(!ds.images && !ds.labels && !ds.path && !ds.class_names && !ds.pairs);
            refused++;
        }
        caps_dataset_release(&ds);
        put(paths[at], good[at]);
        free(b.data);
    }
    ck_assert_uint_gt(refused, count * must_tell / 100);
    ck_assert_uint_lt(refused, count);
}

START_TEST(folders_of_pictures)
{
    enum { FILES = 4 };
    static const char *const names[FILES] = {"a/1.png", "a/2.png", "b/1.png", "c/1.png"};
    caps_error err = {0};
    char *dir = test_directory(), *paths[FILES], *multi = caps_format("multi:%s", dir);
    bytes good[FILES];
    for (int i = 0; i < FILES; i++) {
        char *class = caps_format("%s/%c", dir, names[i][0]);
        test_ok(caps_directory_make(class, &err));
        free(class);
        paths[i] = caps_path_join(dir, names[i]);
        good[i] = png_bytes(i % 2 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB);
    }
    fuzz_set(dir, paths, good, FILES, dir, 7, rounds(2000), 33);
    fuzz_set(dir, paths, good, FILES, multi, 8, rounds(500), 33);
    for (int i = 0; i < FILES; i++) {
        free(good[i].data);
        free(paths[i]);
    }
    free(multi);
    free(dir);
}
END_TEST

/* Five batches of one image, and the names. */
START_TEST(cifar_files)
{
    enum { FILES = 6, ROW = 3073 };
    static const char names[] = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
    char *dir = test_directory(), *paths[FILES];
    bytes good[FILES];
    for (int i = 0; i < FILES; i++) {
        const bool meta = i == FILES - 1;
        good[i] = (bytes){calloc(1, ROW), meta ? sizeof names - 1 : ROW};
        good[i].data[0] = (unsigned char)i;
        if (meta)
            memcpy(good[i].data, names, sizeof names);
        paths[i] = meta ? caps_path_join(dir, "batches.meta.txt")
                        : caps_format("%s/data_batch_%d.bin", dir, i + 1);
    }
    fuzz_set(dir, paths, good, FILES, dir, 9, rounds(2000), 33);
    for (int i = 0; i < FILES; i++) {
        free(good[i].data);
        free(paths[i]);
    }
    free(dir);
}
END_TEST

/* smallNORB: a number, little-endian; a header, of at least three sizes. */
static void put_number(bytes *b, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        b->data[b->n++] = (unsigned char)(x >> (8 * i));
}

static bytes norb_bytes(uint32_t magic, uint32_t ndim, const uint32_t *dims, size_t room)
{
    bytes b = {calloc(1, room + 24), 0};
    put_number(&b, magic);
    put_number(&b, ndim);
    for (uint32_t d = 0; d < ndim || d < 3; d++)
        put_number(&b, d < ndim ? dims[d] : 1);
    return b;
}

enum { NORB = 12, NORB_PIXELS = 2 * 6 * 4, NORB_FILES = 3 };

static const char *const norb_parts[NORB_FILES] = {"dat", "cat", "info"};

/* Images of 6x4 by two cameras, their classes, their viewpoints. */
static void norb_files(bytes made[NORB_FILES])
{
    made[0] = norb_bytes(0x1E3D4C55, 4, (uint32_t[]){NORB, 2, 6, 4}, NORB * NORB_PIXELS);
    for (size_t i = 0; i < NORB * NORB_PIXELS; i++)
        made[0].data[made[0].n++] = (unsigned char)(i * 5);
    made[1] = norb_bytes(0x1E3D4C54, 1, (uint32_t[]){NORB}, 4 * NORB);
    made[2] = norb_bytes(0x1E3D4C54, 2, (uint32_t[]){NORB, 4}, 16 * NORB);
    for (uint32_t i = 0; i < NORB; i++) {
        put_number(&made[1], i % 5);
        put_number(&made[2], i % 10);
        put_number(&made[2], i % 9);
        put_number(&made[2], 2 * (i % 18));
        put_number(&made[2], i % 6);
    }
}

/* Plain; gzipped; and what comes out of the .gz damaged. Of the files one is read for images, one
 * for labels, one for viewpoints: their counts may differ. */
START_TEST(smallnorb_files)
{
    for (int gz = 0; gz < 2; gz++) {
        char *dir = test_directory(), *paths[NORB_FILES];
        bytes good[NORB_FILES];
        norb_files(good);
        for (int i = 0; i < NORB_FILES; i++) {
            paths[i] = caps_format("%s/smallnorb-5x46789x9x18x6x2x6x4-training-%s.mat%s", dir,
                norb_parts[i], gz ? ".gz" : "");
            good[i] = gz ? gzipped(good[i]) : good[i];
        }
        fuzz_set(dir, paths, good, NORB_FILES, dir, gz ? 17 : 16, rounds(2000), 33);
        for (int i = 0; i < NORB_FILES; i++) {
            free(good[i].data);
            free(paths[i]);
        }
        free(dir);
    }
}
END_TEST

START_TEST(smallnorb_within_gz)
{
    char *dir = test_directory(), *paths[NORB_FILES];
    bytes good[NORB_FILES];
    uint64_t refused = 0, count = rounds(1500);
    norb_files(good);
    for (int i = 0; i < NORB_FILES; i++) {
        paths[i] =
            caps_format("%s/smallnorb-5x01235x9x18x6x2x6x4-testing-%s.mat.gz", dir, norb_parts[i]);
        bytes packed = {NULL, 0};
        packed.data = test_gzipped(good[i].data, good[i].n, 1, &packed.n);
        put(paths[i], packed);
        free(packed.data);
    }
    for (uint64_t round = 0; round < count; round++) {
        dice d = {18, round, 0};
        const size_t at = round % NORB_FILES;
        bytes plain = damaged(&good[at], &d), packed = {NULL, 0};
        caps_error err = {0};
        caps_dataset ds;
        packed.data = test_gzipped(plain.data, plain.n, 1, &packed.n);
        put(paths[at], packed);
        caps_status status = test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, throw(&d, 5), &err);
        if (status == CAPS_OK) {
            sink = sum_of(ds.images, ds.n * ds.channels * ds.height * ds.width);
            sink = sum_of(ds.labels, ds.n);
        } else {
            expect_report(status, &err, dir);
            ck_assert(!ds.images && !ds.labels && !ds.path && !ds.class_names);
            refused++;
        }
        caps_dataset_release(&ds);
        free(packed.data);
        packed.data = test_gzipped(good[at].data, good[at].n, 1, &packed.n);
        put(paths[at], packed);
        free(packed.data);
        free(plain.data);
    }
    ck_assert_uint_gt(refused, count / 3);
    ck_assert_uint_lt(refused, count);
    for (int i = 0; i < NORB_FILES; i++) {
        free(good[i].data);
        free(paths[i]);
    }
    free(dir);
}
END_TEST

/* ---- safetensors ---------------------------------------------------------------------------- */

static bytes safetensors_bytes(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"capscl.format\":\"1\",\"note\":\"a \\\"quoted\\\" word\"},"
        "\"conv1.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"conv1.bias\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[24,40]},"
        "\"step\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[40,48]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[48,48]}}";
    size_t n = sizeof header - 1, padded = (n + 7) / 8 * 8;
    bytes b = {malloc(8 + padded + 48), 8 + padded + 48};
    for (int i = 0; i < 8; i++)
        b.data[i] = (unsigned char)(padded >> 8 * i);
    memset(b.data + 8, ' ', padded);
    memcpy(b.data + 8, header, n);
    for (size_t i = 0; i < 48; i++)
        b.data[8 + padded + i] = (unsigned char)i;
    return b;
}

START_TEST(safetensors_files)
{
    caps_error err = {0};
    caps_safetensors st;
    bytes good = safetensors_bytes();
    test_ok(caps_safetensors_parse(&st, good.data, good.n, "good", &err));
    ck_assert_uint_eq(st.count, 4);
    caps_safetensors_release(&st);
    uint64_t refused = 0, count = rounds(20000);
    for (uint64_t round = 0; round < count; round++) {
        dice d = {6, round, 0};
        bytes b = damaged(&good, &d);
        err = (caps_error){0};
        caps_status status = caps_safetensors_parse(&st, b.data, b.n, "damaged", &err);
        if (status == CAPS_OK) {
            for (size_t i = 0; i < st.count; i++) {
                const caps_st_tensor *t = &st.tensors[i];
                ck_assert_int_ge(t->ndim, 0);
                ck_assert_int_le(t->ndim, CAPS_ST_MAX_DIMS);
                ck_assert_ptr_eq(caps_safetensors_get(&st, t->name), t);
                sink = sum_of(t->data, t->bytes);
            }
            for (size_t i = 0; i < st.metadata_count; i++)
                sink = sum_of(st.metadata[i].value, strlen(st.metadata[i].value));
        } else {
            expect_report(status, &err, "damaged");
            refused++;
        }
        caps_safetensors_release(&st);
        free(b.data);
    }
    ck_assert_uint_gt(refused, count / 3);
    ck_assert_uint_lt(refused, count);
    free(good.data);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("fuzz");
    TCase *readers = tcase_create("readers");
    tcase_set_timeout(readers, 300);
    tcase_add_test(readers, idx_plain);
    tcase_add_test(readers, idx_colour);
    tcase_add_test(readers, idx_gz);
    tcase_add_test(readers, idx_within_gz);
    tcase_add_test(readers, png_files);
    tcase_add_test(readers, jpeg_files);
    tcase_add_test(readers, folders_of_pictures);
    tcase_add_test(readers, cifar_files);
    tcase_add_test(readers, smallnorb_files);
    tcase_add_test(readers, smallnorb_within_gz);
    tcase_add_test(readers, safetensors_files);
    suite_add_tcase(s, readers);
    return s;
}
