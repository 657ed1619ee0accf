/* idx.h: the IDX format of LeCun's MNIST page: a big-endian magic number (0, 0, type, dimensions),
 * one 32-bit size for each dimension, then the elements, here unsigned bytes. */
#ifndef CAPS_IDX_H
#define CAPS_IDX_H

#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

#define CAPS_IDX_MAX_DIMS 4

typedef struct caps_idx {
    int ndim;
    size_t dims[CAPS_IDX_MAX_DIMS]; /* as the header says, also where only a part is stored */
    size_t stored;                  /* items of the first dimension in `data` */
    uint8_t *data;                  /* [stored, dims[1], ...] */
} caps_idx;

/* Reads a file of `ndim` dimensions, decompressing one whose name ends in ".gz", and stores the
 * first `limit` items (0: all). The whole file is read and checked in any case: magic number, sizes
 * of at least 1, exactly as many bytes as the sizes say, checksums of a .gz. `items` names them in
 * messages
 * ("images"). On failure *idx is zeroed.
 * Errors: CAPS_ERR_NOT_FOUND (cannot be opened or read), CAPS_ERR_FORMAT, CAPS_ERR_MEMORY. */
caps_status caps_idx_load(
    caps_idx *idx, const char *path, int ndim, const char *items, size_t limit, caps_error *err);
void caps_idx_release(caps_idx *idx);

#endif
