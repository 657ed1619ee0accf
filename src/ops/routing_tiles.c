/* routing_tiles.c: tiles of class capsules for the GPU family. */
#include "routing_tiles.h"

#include "launch.h"
#include "require.h"
#include "vendor.h"

#define ITEMS_MOST  256 /* of a group */
#define ITEMS_BEST  192 /* and where it may be less, as few as keep a group's barriers short */
#define LANES       32  /* items that run together on most devices */
#define CHUNK_LEAST 4   /* input capsules of a partial sum, */
#define CHUNKS      96  /* and how many sums are enough for any device */
#define TAKE_FOURS  16  /* elements of w that an item has on their way: read in fours, */
#define TAKE_ONES   8   /* and one at a time, an address for each */
#define HELD_AMD    64  /* floats between rounds in the registers of an item of AMD's, */
#define HELD_ROUNDS 8   /* and what several rounds an input capsule have beside them */
#define BLOCK       4   /* samples of a block of the gradients */
#define ITEMS_FEW   128 /* a group of fewer has smaller tiles instead */
#define HELD_MOST   64  /* sums of dw in an item's registers; */
#define HELD_INTEL  32  /* Intel's compiler keeps more of them in memory, */
#define ITEMS_INTEL 512 /* but its devices have larger groups */
/* Local memory of a group of the gradients: four of them where a unit has 64 KiB. */
#define GRADIENT_LOCAL 16384

static bool is_of(const caps_runtime *rt, caps_vendor vendor)
{
    return caps_vendor_of(caps_runtime_device(rt)) == vendor;
}

/* Votes of an item's tile, at most; what the compilers of each vendor make of more is in
 * docs/performance-log.md. */
static size_t tile_of(const caps_runtime *rt, const caps_fused *n)
{
    return is_of(rt, CAPS_VENDOR_INTEL) || n->k % 4 != 0 ? 8 : 16;
}

static size_t items_most(const caps_runtime *rt)
{
    return caps_group_size(rt, ITEMS_MOST);
}

/* The greatest power of two that is at most n. */
static size_t power_below(size_t n)
{
    size_t power = 1;
    while (power * 2 <= n)
        power *= 2;
    return power;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t caps_routing_chunk(size_t i)
{
    const size_t chunk = caps_div_up(i, CHUNKS);
    return chunk < CHUNK_LEAST ? CHUNK_LEAST : chunk;
}

/* ---- passes --------------------------------------------------------------------------------- */

/* As in the kernels. */
size_t caps_routing_tiles_local(const caps_routing_tiles *t, const caps_fused *n)
{
    const size_t ln = n->j * caps_div_up(n->d, t->wn), row = n->j | 1;
    const size_t operands =
        t->kc * (caps_round_up(ln * t->wn, 4) + 4 + caps_round_up(t->batch, 4) + 4);
    return (operands + t->batch * ((ln | 1) + 3 * row)) * sizeof(float);
}

/* Elements of w that an item may have on their way. */
static size_t take_most(const caps_runtime *rt, const caps_fused *n)
{
    return n->k % 4 == 0 && !is_of(rt, CAPS_VENDOR_INTEL) ? TAKE_FOURS : TAKE_ONES;
}

/* Work-items along samples: as many as fill LANES best, the larger group of two that do it equally.
 * For few samples as many as are needed to read w. */
static size_t rows_of(const caps_runtime *rt, const caps_routing_tiles *t, const caps_fused *n,
    size_t ln, size_t most)
{
    const size_t samples = caps_row_width(caps_div_up(n->b, t->wm), ITEMS_MOST);
    const size_t readers = caps_div_up(t->wn * least(n->k, 8), take_most(rt, n));
    const size_t full = most / ln, enough = least(full, ITEMS_BEST / ln > 0 ? ITEMS_BEST / ln : 1);
    size_t best = enough;
    double best_fill = 0;
    for (size_t lm = enough; lm > 0 && 2 * lm >= enough; lm--) {
        const double fill = (double)(lm * ln) / (double)caps_round_up(lm * ln, LANES);
        if (fill > best_fill) {
            best = lm;
            best_fill = fill;
        }
    }
    return least(best, samples > readers ? samples : readers);
}

static void set_sizes(const caps_runtime *rt, caps_routing_tiles *t, const caps_fused *n, size_t ln)
{
    t->items = t->lm * ln;
    t->batch = t->lm * t->wm;
    t->kc = least(n->k, 8);
    while (t->kc > 1 && caps_div_up(n->j * n->d * t->kc, t->items) > take_most(rt, n))
        t->kc = t->kc % 4 == 0 ? t->kc / 2 : t->kc - 1;
    /* Rounds of equal length. In fours, where there are any. */
    if (t->kc % 4 != 0 || n->k % 4 != 0)
        t->kc = caps_div_up(n->k, caps_div_up(n->k, t->kc));
}

/* Floats that an item has in registers from round to round: votes, what they are multiplied with,
 * sums, and operands on their way. */
static size_t floats_held(const caps_routing_tiles *t, const caps_fused *n)
{
    const size_t w = caps_div_up(n->j * n->d * t->kc, t->items);
    const size_t u = caps_div_up(t->batch * t->kc, t->items);
    const size_t more = t->kc < n->k ? HELD_ROUNDS : 0;
    return 3 * t->wm * t->wn + caps_round_up(w, 4) + caps_round_up(u, 4) + more;
}

/* Tiles of at most so many votes an item. */
static void set_tiles(const caps_runtime *rt, caps_routing_tiles *t, const caps_fused *n,
    size_t tile, size_t ln, size_t most)
{
    t->wm = tile > t->wn ? least(power_below(tile / t->wn), 8) : 1;
    t->wm = least(least(t->wm, power_below(ln)), caps_row_width(n->b, 8));
    t->lm = rows_of(rt, t, n, ln, most);
    set_sizes(rt, t, n, ln);
}

bool caps_routing_tiles_choose(caps_routing_tiles *t, const caps_runtime *rt, const caps_fused *n)
{
    const size_t most = items_most(rt), local = caps_runtime_device(rt)->local_mem_bytes;
    if (n->b == 0 || n->i == 0 || n->j == 0 || n->d == 0 || n->k == 0)
        return false;
    size_t parts = caps_div_up(n->d, 8), tile = tile_of(rt, n);
    while (parts > 1 && n->j * parts > most)
        parts = caps_div_up(parts, 2);
    t->wn = caps_div_up(n->d, parts);
    /* Rows of vectors: a few outputs too many are better than reading one at a time. */
    if (t->wn > 4 && t->wn % 4 != 0 && caps_round_up(t->wn, 4) <= t->wn + t->wn / 4)
        t->wn = caps_round_up(t->wn, 4);
    const size_t ln = n->j * caps_div_up(n->d, t->wn);
    /* More outputs than a group has items for, or a capsule has than an item. */
    if (ln > most || t->wn > 32)
        return false;
    t->chunk = caps_routing_chunk(n->i);
    t->chunks = caps_div_up(n->i, t->chunk);
    set_tiles(rt, t, n, tile, ln, most);
    if (is_of(rt, CAPS_VENDOR_AMD) && floats_held(t, n) > HELD_AMD)
        set_tiles(rt, t, n, tile / 2, ln, most);
    while (caps_routing_tiles_local(t, n) > local && t->lm * t->wm > 1) {
        if (t->lm > 1)
            t->lm /= 2;
        else
            t->wm /= 2;
        set_sizes(rt, t, n, ln);
    }
    while (caps_routing_tiles_local(t, n) > local && t->kc > 1)
        t->kc = t->kc % 4 == 0 ? t->kc / 2 : t->kc - 1;
    return caps_routing_tiles_local(t, n) <= local;
}

/* ---- gradients ------------------------------------------------------------------------------ */

/* Tiles of dw in a group. */
static size_t gradient_count(const caps_routing_gradient_tiles *t, const caps_fused *n)
{
    return t->ci * (n->j * n->d / t->v) * caps_div_up(n->k, t->kv);
}

/* As in the kernel. */
size_t caps_routing_gradient_tiles_local(const caps_routing_gradient_tiles *t, const caps_fused *n)
{
    const size_t e = n->j * n->d, kq = least(n->k, 4), du = t->ci * caps_div_up(n->k, kq);
    const size_t parts = du >= t->items ? 1 : least(t->items / du, e / t->v);
    const size_t dvotes = t->ci * t->sb * (caps_round_up(e, 4) + 4), sums = du * parts * t->sb * kq;
    const size_t steps = n->routing.grad == CAPS_ROUTING_GRAD_FULL ? n->routing.iterations : 1;
    const size_t coefs = t->sb * n->j * (2 * steps - 1) * t->ci;
    const size_t inputs = t->sb * t->ci * caps_round_up(n->k, t->kv);
    return ((dvotes > sums ? dvotes : sums) + coefs + inputs) * sizeof(float);
}

/* Tiles of at most kv dimensions, and work-items for them. How many tiles an item has. */
static size_t set_gradient(
    caps_routing_gradient_tiles *t, const caps_fused *n, size_t kv, size_t most)
{
    t->kv = caps_div_up(n->k, caps_div_up(n->k, kv));
    const size_t count = gradient_count(t, n), held = caps_div_up(count, most);
    t->items = least(caps_round_up(caps_div_up(count, held), LANES), most);
    return held;
}

bool caps_routing_gradient_tiles_choose(
    caps_routing_gradient_tiles *t, const caps_runtime *rt, const caps_fused *n)
{
    const size_t local = caps_runtime_device(rt)->local_mem_bytes;
    const bool intel = is_of(rt, CAPS_VENDOR_INTEL);
    const size_t most = caps_group_size(rt, intel ? ITEMS_INTEL : ITEMS_MOST);
    const size_t sums = intel ? HELD_INTEL : HELD_MOST;
    t->v = n->d % 4 == 0 ? 4 : n->d % 2 == 0 ? 2 : 1;
    t->sb = BLOCK;
    for (t->ci = 4; t->ci > 0; t->ci /= 2) {
        const size_t held = set_gradient(t, n, 8, most);
        if (t->ci == 1 && held > 1 && is_of(rt, CAPS_VENDOR_AMD))
            t->sb = BLOCK / 2;
        if (t->ci > 1 ? held == 1 &&
                            caps_routing_gradient_tiles_local(t, n) <= least(GRADIENT_LOCAL, local)
                      : held * t->v * t->kv <= sums)
            break;
    }
    if (t->ci == 0) /* an input capsule has more weights than a group */
        return false;
    if (t->items < ITEMS_FEW)
        set_gradient(t, n, 4, most);
    while (t->sb > 1 && caps_routing_gradient_tiles_local(t, n) > local)
        t->sb /= 2;
    return caps_routing_gradient_tiles_local(t, n) <= local;
}
