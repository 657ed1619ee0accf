/* safetensors.h: reading and writing safetensors files, every number checked before use. */
#ifndef CAPS_SAFETENSORS_H
#define CAPS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

#define CAPS_ST_MAX_DIMS 8

typedef struct caps_st_tensor {
    const char *name;
    char dtype[8]; /* "F32", "F64", "I64", ... */
    int ndim;
    size_t shape[CAPS_ST_MAX_DIMS];
    const void *data; /* may be unaligned when loaded: copy with memcpy. NULL: not read yet */
    size_t bytes;
    size_t first; /* byte of the file's data at which it begins; not used in writing */
} caps_st_tensor;

typedef struct caps_st_pair {
    const char *key, *value; /* an entry of __metadata__ */
} caps_st_pair;

typedef struct caps_safetensors {
    unsigned char *file; /* owns the header's text and the data, or the header alone */
    void *header;        /* the parsed JSON */
    size_t data_bytes;
    caps_st_tensor *tensors;
    size_t count;
    caps_st_pair *metadata;
    size_t metadata_count;
    bool is_open; /* fd is the file's, at the beginning of its data */
    int fd;
} caps_safetensors;

/* Reads and checks the header alone, so that a file that is of no use is refused before its data
 * take memory; caps_safetensors_read then gives the tensors their data. Checks: header length
 * within the file (and at most 100 MB, as the format says), JSON object without duplicate keys,
 * known dtypes, shapes whose product fits, offsets in range that neither overlap nor leave holes
 * and cover the file exactly. CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT: "path: tensor X: ...". */
caps_status caps_safetensors_open(caps_safetensors *st, const char *path, caps_error *err);
caps_status caps_safetensors_read(caps_safetensors *st, const char *path, caps_error *err);
/* Both in one. */
caps_status caps_safetensors_load(caps_safetensors *st, const char *path, caps_error *err);
/* The same on a buffer of the caller's (fuzzing, tests); `data` is not kept. */
caps_status caps_safetensors_parse(
    caps_safetensors *st, const void *data, size_t n, const char *where, caps_error *err);
void caps_safetensors_release(caps_safetensors *st);
const caps_st_tensor *caps_safetensors_get(const caps_safetensors *st, const char *name);
const char *caps_safetensors_get_metadata(const caps_safetensors *st, const char *key);

/* Atomic (file.h); the header padded with spaces so that data begins 8-aligned; same input, same
 * bytes. */
caps_status caps_safetensors_save(const char *path, const caps_st_tensor *tensors, size_t count,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err);
/* A file of a run directory: links are not followed (caps_atomic_init_own). */
caps_status caps_safetensors_save_own(const char *path, const caps_st_tensor *tensors, size_t count,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err);

#endif
