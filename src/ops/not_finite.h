/* not_finite.h: finds the first of many tensors with a value that is not finite, on the device. */
#ifndef CAPS_NOT_FINITE_H
#define CAPS_NOT_FINITE_H

#include <capscl/tensor.h>

enum { CAPS_NOT_FINITE_ROW = 8, CAPS_NOT_FINITE_RECORD = 5 };

/* A tensor among them, as a row of the table. */
typedef struct caps_not_finite_row {
    uint64_t offset, count; /* elements; the offset is that of the buffer */
    uint64_t before;        /* elements that lie between the offset and the tensor */
    uint32_t images;        /* count and before are those of as many, or fewer; 0: of all */
    uint32_t buffer;        /* a number of the caller's for its buffer */
} caps_not_finite_row;

void caps_not_finite_pack(int32_t to[CAPS_NOT_FINITE_ROW], const caps_not_finite_row *row);

/* Checks the rows r of `table` (int32 [rows, 6], packed) whose tensors lie in `buffer`,
 * their number `number`, and leaves the greatest of record[4] and rank - r in record[4], r the
 * first one with a value that is not finite. Unless `always`, it checks only where record's float32
 * words 0 and 1 are not finite or its word 3 is not 0. record: int32 [5]; rank >= rows.
 * Enqueues. */
caps_status caps_not_finite(caps_runtime *rt, const caps_tensor *record, const caps_tensor *table,
    cl_mem buffer, uint32_t number, size_t images, uint32_t rank, bool always, caps_error *err);

#endif
