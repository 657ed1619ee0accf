/* offsets.c: images seen from several places: parts of them, or shifted. */
#include <capscl/inspect.h>

#include "fail.h"

/* Of the free pixels each way, in quarters: the middle, on the diagonals half the way out, the
 * middles of the sides, the corners. */
static const int parts[CAPS_CROPS_MOST][2] = {{2, 2}, {1, 1}, {1, 3}, {3, 1}, {3, 3}, {0, 2},
    {2, 0}, {2, 4}, {4, 2}, {0, 0}, {0, 4}, {4, 0}, {4, 4}};

/* From near to far. */
static const int shifts[CAPS_SHIFTS_MOST][2] = {{0, 0}, {-1, 0}, {0, -1}, {0, 1}, {1, 0}, {-1, -1},
    {-1, 1}, {1, -1}, {1, 1}, {-2, 0}, {0, -2}, {0, 2}, {2, 0}, {-2, -1}, {-2, 1}, {-1, -2},
    {-1, 2}, {1, -2}, {1, 2}, {2, -1}, {2, 1}, {-2, -2}, {-2, 2}, {2, -2}, {2, 2}};

caps_status caps_offsets_crops(
    caps_offset out[CAPS_CROPS_MOST], size_t n, const caps_dataset *ds, caps_error *err)
{
    size_t chw[3];
    if (n != 1 && n != 5 && n != 9 && n != 13)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "crops: %zu, need 1, 5, 9 or 13", n);
    const caps_status status = caps_dataset_view_size(ds, CAPS_AUGMENT_NONE, chw, err);
    if (status != CAPS_OK)
        return status;
    if (chw[1] > ds->height || chw[2] > ds->width || (chw[1] == ds->height && chw[2] == ds->width))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: images are %zux%zu, need more than the network's %zux%zu for crops", ds->path,
            ds->height, ds->width, chw[1], chw[2]);
    const size_t down = ds->height - chw[1], right = ds->width - chw[2];
    for (size_t i = 0; i < n; i++) {
        const size_t y = down * (size_t)parts[i][0] / 4, x = right * (size_t)parts[i][1] / 4;
        out[i].down = (ptrdiff_t)(down / 2) - (ptrdiff_t)y;
        out[i].right = (ptrdiff_t)(right / 2) - (ptrdiff_t)x;
    }
    return CAPS_OK;
}

caps_status caps_offsets_shifts(caps_offset out[CAPS_SHIFTS_MOST], size_t n, caps_error *err)
{
    if (n != 1 && n != 5 && n != 9 && n != 13 && n != 25)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "shifts: %zu, need 1, 5, 9, 13 or 25", n);
    for (size_t i = 0; i < n; i++)
        out[i] = (caps_offset){shifts[i][0], shifts[i][1]};
    return CAPS_OK;
}
