/* not_finite.c: see not_finite.h; kernel in cl/not_finite.cl. */
#include "not_finite.h"

#include "fail.h"
#include "launch.h"
#include "require.h"

#define NOT_FINITE_GROUP  64   /* GPU family: items in a work-group */
#define NOT_FINITE_ITEMS  4096 /* GPU family: items in all */
#define NOT_FINITE_ON_CPU 16   /* CPU family */

void caps_not_finite_pack(int32_t to[CAPS_NOT_FINITE_ROW], const caps_not_finite_row *row)
{
    const uint32_t words[CAPS_NOT_FINITE_ROW] = {(uint32_t)row->offset,
        (uint32_t)(row->offset >> 32), (uint32_t)row->count, (uint32_t)(row->count >> 32),
        (uint32_t)row->before, (uint32_t)(row->before >> 32), row->images, row->buffer};
    for (size_t i = 0; i < CAPS_NOT_FINITE_ROW; i++)
        to[i] = (int32_t)words[i];
}

caps_status caps_not_finite(caps_runtime *rt, const caps_tensor *record, const caps_tensor *table,
    cl_mem buffer, uint32_t number, size_t images, uint32_t rank, bool always, caps_error *err)
{
    caps_status status;
    const size_t rows = table && table->ndim == 2 ? table->shape[0] : 0;
    CAPS_TRY(caps_require_tensor("not_finite", "table", table, CAPS_I32, 2,
        (size_t[]){rows ? rows : 1, CAPS_NOT_FINITE_ROW}, err));
    CAPS_TRY(caps_require_tensor(
        "not_finite", "record", record, CAPS_I32, 1, (size_t[]){CAPS_NOT_FINITE_RECORD}, err));
    CAPS_TRY(caps_require_count("not_finite", "the number of images", 1, &images, err));
    if (rank < rows || rank > INT32_MAX)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "not_finite: rank is %u, need %zu to %d", rank,
            rows, INT32_MAX));
    const caps_tensor data = caps_tensor_wrap(buffer, 0, CAPS_F32, 1, (size_t[]){1});
    const caps_arg args[] = {CAPS_ARG_TENSOR(record), CAPS_ARG_TENSOR(table),
        CAPS_ARG_TENSOR(&data), CAPS_ARG_UINT(rows), CAPS_ARG_UINT(number), CAPS_ARG_UINT(images),
        CAPS_ARG_UINT(rank), CAPS_ARG_UINT(always)};
    size_t local = 1, global = NOT_FINITE_ON_CPU;
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, NOT_FINITE_GROUP);
        global = caps_round_up(NOT_FINITE_ITEMS, local);
    }
    CAPS_TRY(caps_launch(rt, "not_finite", CAPS_ARGS(args), 1, &global, &local, err));
done:
    return status;
}
