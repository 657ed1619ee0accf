/* conv_lanes.c: how convolutions with images in lanes are cut into items. */
#include "conv_lanes.h"

#include "call.h"

/* What an item's rows may take of a cache, and items for each unit of the device. */
enum { CACHE_BYTES = 768 << 10, ITEMS = 4 };

static size_t wanted(const caps_runtime *rt)
{
    return (size_t)caps_runtime_device(rt)->compute_units * ITEMS;
}

size_t caps_conv_parts(const caps_runtime *rt, size_t items, size_t most)
{
    const size_t parts = caps_div_up(wanted(rt), items);
    return parts < most ? parts : most;
}

caps_conv_cut caps_conv_cut_of(const caps_runtime *rt, const caps_conv_lines *l)
{
    const size_t fit = CACHE_BYTES / l->row_bytes, most = CAPS_BAND / l->ow;
    caps_conv_cut cut = {1, 1, 0, caps_div_up(l->n, CAPS_LANES)};
    if (fit > l->first)
        cut.rows = 1 + (fit - l->first) / l->step;
    cut.rows = cut.rows < most ? cut.rows : most;
    cut.rows = cut.rows < l->oh ? cut.rows : l->oh;
    /* Whole cache lines of outputs, where there are as many rows. */
    size_t whole = 1;
    while (whole * l->ow % CAPS_LANES)
        whole *= 2;
    if (cut.rows > whole && cut.rows < l->oh)
        cut.rows -= cut.rows % whole;
    const size_t eights = caps_div_up(l->outputs, CAPS_EIGHT);
    while (cut.rows > 1 && caps_div_up(l->oh, cut.rows) * cut.blocks * eights < wanted(rt))
        cut.rows = caps_div_up(cut.rows, 2);
    const size_t bands = caps_div_up(l->oh, cut.rows);
    cut.parts = caps_conv_parts(rt, bands * cut.blocks, eights);
    cut.items = bands * cut.parts;
    return cut;
}

caps_tensor caps_conv_place(const caps_tensor *workspace, size_t first)
{
    const size_t one = 1;
    return caps_tensor_wrap(workspace->buffer, workspace->offset + first, CAPS_F32, 1, &one);
}

size_t caps_conv_images(const caps_tensor *workspace, size_t first, size_t each, size_t b)
{
    const size_t blocks = caps_div_up(b, CAPS_LANES);
    const size_t room = (caps_tensor_count(workspace) - first) / each;
    return caps_div_up(blocks, caps_div_up(blocks, room)) * CAPS_LANES;
}
