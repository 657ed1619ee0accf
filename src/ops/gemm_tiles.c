/* gemm_tiles.c: a table of tiles for each class of devices, and a model of what they take.
 *
 * The model counts, in cycles of a compute unit, the instructions that a round of a tile issues,
 * and rounds of groups over the units; a round takes at least as long as memory needs to answer,
 * and k is cut into parts where that keeps more of the device busy. It sees the shape and what the
 * driver says of the device, so it answers the same every time. */
#include "gemm_tiles.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "choice.h"
#include "fail.h"
#include "launch.h"
#include "trust.h"
#include "vendor.h"

/* ---- classes of devices --------------------------------------------------------------------- */

enum { NVIDIA = 1, AMD = 2, INTEL = 4, OTHER = 8, LANES = 16, GPUS = 15 };

/* What a compute unit is for the model: multiply-adds a cycle, floats of registers, cycles until
 * memory answers, bytes of operands a cycle, groups at most; bytes a cycle of what no cache holds;
 * cycles of a launch, with the time in which the device waits for it. */
typedef struct device_class {
    int bit;
    size_t merged; /* of the driver's units make one that a group runs on */
    double lanes, registers, latency, bytes, groups, memory, launch;
} device_class;

static const device_class classes[] = {
    {NVIDIA, 1, 128, 65536, 700, 32, 16, 8, 7000}, {AMD, 1, 64, 131072, 1000, 32, 16, 8, 14000},
    {INTEL, 16, 128, 131072, 1000, 64, 16, 8, 16000}, /* its units are a sixteenth of a core */
    {OTHER, 1, 64, 65536, 1000, 32, 16, 8, 10000},
    {LANES, 1, 16, 1e9, 0, 64, 1, 64, 4000}, /* a processor: items of a group one after the other */
};

static const device_class *class_of(const caps_runtime *rt)
{
    const caps_device_info *d = caps_runtime_device(rt);
    if (caps_is_simulated(rt))
        return &classes[3];
    if (d->type == CAPS_DEVICE_CPU)
        return &classes[4];
    switch (caps_vendor_of(d)) {
    case CAPS_VENDOR_NVIDIA:
        return &classes[0];
    case CAPS_VENDOR_AMD:
        return &classes[1];
    case CAPS_VENDOR_INTEL:
        return &classes[2];
    default:
        return &classes[3];
    }
}

/* ---- tiles ---------------------------------------------------------------------------------- */

/* Rows of an item are made fewer where the matrix is cut more evenly so: 100 rows are 8 x 13, not
 * 128. vector 0: the device's; an item then has wn of them. What the compilers of each vendor make
 * of a row is in docs/performance-log.md. */
static const struct tile {
    const char *name;
    int classes;
    unsigned lm, ln, wm, wn, vector, kc, first;
} tiles[] = {
    {"104x128", NVIDIA, 8, 16, 13, 8, 4, 8, 4},
    {"128x128", AMD | INTEL | OTHER, 16, 16, 8, 8, 4, 8, 4},
    {"64x64", NVIDIA | AMD | OTHER, 8, 8, 8, 8, 4, 8, 4},
    {"32x32", GPUS, 8, 8, 4, 4, 4, 8, 4},
    {"8x64", GPUS, 4, 16, 2, 4, 4, 16, 8},
    {"16x8", GPUS, 4, 2, 4, 4, 4, 8, 4},
    {"8x8", OTHER, 1, 1, 8, 8, 4, 8, 0},
    {"64x2 vectors", LANES, 8, 1, 8, 2, 0, 128, 0},
    {"32x1 vectors", LANES, 4, 1, 8, 1, 0, 128, 0},
    {"8x2 vectors", LANES, 1, 1, 8, 2, 0, 128, 0},
};
enum { TILES = sizeof tiles / sizeof tiles[0] };

static const caps_algorithm names[TILES] = {{"104x128", NULL}, {"128x128", NULL}, {"64x64", NULL},
    {"32x32", NULL}, {"8x64", NULL}, {"16x8", NULL}, {"8x8", NULL}, {"64x2 vectors", NULL},
    {"32x1 vectors", NULL}, {"8x2 vectors", NULL}};
_Static_assert((int)TILES <= (int)CAPS_ALGORITHMS, "a chooser has room for all tiles");

size_t caps_gemm_tiles_count(void)
{
    return TILES;
}

const char *caps_gemm_tile_name(size_t tile)
{
    return tiles[tile].name;
}

size_t caps_gemm_tile_find(const char *name)
{
    size_t tile = 0;
    while (tile < TILES && strcmp(tiles[tile].name, name) != 0)
        tile++;
    return tile;
}

static size_t vector_of(const caps_runtime *rt)
{
    const size_t width = caps_runtime_vector_width(rt);
    return width >= 16 ? 16 : width >= 8 ? 8 : 4;
}

/* Steps of an item of one row before its loads: those of more steps are all on their way at once,
 * in registers. */
enum { FIRST_OF_ONE = 4 };

/* Intel's compiler keeps so many sums in memory, not in registers, where k has a rest or anything
 * is done to them. */
static bool keeps_sums_in_memory(const caps_runtime *rt, const caps_gemm_cut *c)
{
    return class_of(rt)->bit == INTEL && c->wm * c->wn > 16;
}

/* Rows of each of lm items: as many tiles as of `most` rows would be, and no more rows in them than
 * needed. */
static size_t rows_of(size_t m, size_t lm, size_t most)
{
    return caps_div_up(m, caps_div_up(m, lm * most) * lm);
}

/* The items and elements of a tile for m rows. */
static caps_gemm_cut cut_of(const caps_runtime *rt, size_t tile, size_t m)
{
    const struct tile *t = &tiles[tile];
    caps_gemm_cut c = {.tile = tile,
        .lm = t->lm,
        .ln = t->ln,
        .vector = t->vector,
        .kc = t->kc,
        .first = t->first};
    if (c.vector == 0)
        c.vector = vector_of(rt);
    c.wn = t->vector ? t->wn : t->wn * c.vector;
    c.wm = rows_of(m, t->lm, t->wm);
    if (c.wm == 1 && c.first > FIRST_OF_ONE)
        c.first = FIRST_OF_ONE;
    c.items = c.lm * c.ln;
    c.apart = keeps_sums_in_memory(rt, &c);
    c.tm = c.lm * c.wm;
    c.tn = c.ln * c.wn;
    return c;
}

/* As cl/gemm_tiled_gpu.clt has it. */
static size_t local_bytes(const caps_gemm_cut *c)
{
    const size_t pitches = caps_round_up(c->tm, 8) + 4 + caps_round_up(c->tn, 8) + 4;
    return c->kc * (c->first ? 2 * pitches : c->tn) * sizeof(float);
}

const char *caps_gemm_tile_reason(const caps_runtime *rt, size_t tile, const caps_gemm_shape *s)
{
    const caps_gemm_cut c = cut_of(rt, tile, s->m);
    /* Offsets in a tile have 32 bits. */
    const size_t most = UINT32_MAX / 256;
    if (caps_group_size(rt, c.items) < c.items)
        return "its groups are larger than the device takes";
    if (local_bytes(&c) > caps_runtime_device(rt)->local_mem_bytes)
        return "it needs more local memory than the device has";
    if (s->lda > most || s->ldb > most || s->ldc > UINT32_MAX)
        return "a row stride has more than 24 bits";
    const double all = ceil((double)s->m / (double)c.tm) * ceil((double)s->n / (double)c.tn);
    if (all * (double)s->count * (double)c.items > (double)UINT32_MAX)
        return "it needs more than 2^32 work-items";
    return caps_trust_refusal(rt, "tile", tiles[tile].name);
}

bool caps_gemm_tile_is_for(const caps_runtime *rt, size_t tile)
{
    return tiles[tile].classes & class_of(rt)->bit;
}

/* ---- the model ------------------------------------------------------------------------------ */

/* Cycles of a group before and after its rounds. */
#define GROUP 1500.0

/* Instructions of an item in a round: steps, reads of local memory, loads, the rest. */
static double round_instructions(const caps_gemm_cut *c, const caps_gemm_shape *s)
{
    const double a = ceil((double)(c->kc * c->tm) / (4.0 * (double)c->items));
    const double b = ceil((double)(c->kc * c->tn) / (4.0 * (double)c->items));
    const double vectors = (double)c->wn / (double)c->vector;
    const bool lanes = c->first == 0 && c->vector > 4;
    const double width = lanes ? (double)c->vector : 1; /* in multiply-adds an instruction */
    const double multiply = (double)(c->wm * c->wn) / width;
    const double reads = lanes ? 0 : (double)(c->wm / 4 + c->wm / 2 % 2 + c->wm % 2) + vectors;
    return (double)c->kc * (multiply + reads) + a * (s->trans_a ? 4 : 7) +
           b * (s->trans_b ? 7 : 4) + 20;
}

/* Cycles of the device for so many parts. */
static double cut_cycles(
    const caps_runtime *rt, const caps_gemm_cut *c, const caps_gemm_shape *s, size_t parts)
{
    const device_class *d = class_of(rt);
    const double units = ceil((double)caps_runtime_device(rt)->compute_units / (double)d->merged);
    const double tiles_m = (double)caps_div_up(s->m, c->tm), count = (double)s->count;
    const double groups = tiles_m * (double)caps_div_up(s->n, c->tn) * count * (double)parts;
    const double rounds = (double)caps_div_up(caps_div_up(s->k, parts), c->kc);
    const double each = round_instructions(c, s), items = (double)c->items;
    const double registers = items * (double)(c->wm * c->wn + 64);
    const double most = fmax(1, fmin(d->groups, floor(d->registers / registers)));
    const double bytes = 4.0 * (double)(c->kc * (c->tm + c->tn)) / d->bytes;
    const bool lanes = d->bit == LANES;
    double left = ceil(groups / units), cycles = d->launch;
    while (left > 0) {
        const double now = fmin(left, most), waves = left >= most ? floor(left / most) : 1;
        const double issue = lanes ? items * each : fmax(now * items * each / d->lanes, each);
        cycles += waves * (GROUP + rounds * fmax(fmax(issue, now * bytes), d->latency));
        left -= waves * now;
    }
    if (parts > 1)
        cycles += d->launch + 8.0 * (double)parts * (double)s->m * (double)s->n * count /
                                  (units * d->memory); /* written and read */
    return cycles;
}

/* Parts of whole rounds; a part is never empty. */
static void cut_into(caps_gemm_cut *c, const caps_gemm_shape *s, size_t parts)
{
    c->chunk = caps_round_up(caps_div_up(s->k, parts), c->kc);
    c->parts = caps_div_up(s->k, c->chunk);
}

enum { MOST_PARTS = 128, LEAST_ROUNDS = 4 }; /* rounds of a part */

caps_gemm_cut caps_gemm_cut_by(
    const caps_runtime *rt, size_t tile, const caps_gemm_shape *s, size_t parts)
{
    caps_gemm_cut c = cut_of(rt, tile, s->m), best;
    cut_into(&c, s, parts > 0 ? parts : 1);
    c.cycles = cut_cycles(rt, &c, s, c.parts);
    best = c;
    for (size_t p = 2; parts == 0 && p <= MOST_PARTS; p += p < 8 ? 1 : p / 4) {
        if (p * LEAST_ROUNDS * c.kc > s->k)
            break;
        cut_into(&c, s, p);
        c.cycles = cut_cycles(rt, &c, s, c.parts);
        if (c.cycles < 0.95 * best.cycles) /* not for a trifle: partial sums take memory */
            best = c;
    }
    return best;
}

/* Compilers of AMD's that have 128 registers for an item (gfx11 by clang 15) spill up to 50 of the
 * larger tiles' with more rows than these, and a newer one loses little by them. */
enum { ROWS_APART = 5, ROWS_REST = 6 };

bool caps_gemm_cut_limit(
    caps_gemm_cut *cut, const caps_runtime *rt, const caps_gemm_shape *s, bool fours)
{
    const size_t most = !fours ? ROWS_APART : s->k % cut->kc != 0 ? ROWS_REST : cut->wm;
    if (class_of(rt)->bit != AMD || cut->wm <= most || cut->wn < 8)
        return false;
    cut->wm = rows_of(s->m, cut->lm, most);
    cut->tm = cut->lm * cut->wm;
    return true;
}

/* ---- the choice ----------------------------------------------------------------------------- */

static void tile_key(char key[CAPS_TUNING_KEY], const void *problem)
{
    char gemm[CAPS_TUNING_KEY];
    caps_gemm_key(gemm, problem);
    snprintf(key, CAPS_TUNING_KEY, "tile%.*s", CAPS_TUNING_KEY - 5, gemm + strlen("gemm"));
}

static const char *tile_unsupported(const caps_runtime *rt, size_t tile, const void *problem)
{
    return caps_gemm_tile_reason(rt, tile, problem);
}

/* A tile of other devices is taken only where a test requests it. */
static double tile_cost(const caps_runtime *rt, size_t tile, const void *problem)
{
    if (!(tiles[tile].classes & class_of(rt)->bit))
        return (double)INFINITY;
    const caps_gemm_cut c = caps_gemm_cut_by(rt, tile, problem, 0);
    const caps_gemm_shape *s = problem;
    return keeps_sums_in_memory(rt, &c) && s->k % c.kc != 0 ? (double)INFINITY : c.cycles;
}

bool caps_gemm_tile_may_serve(const caps_runtime *rt, size_t tile, const caps_gemm_shape *shape)
{
    return !caps_gemm_tile_reason(rt, tile, shape) && !isinf(tile_cost(rt, tile, shape));
}

/* What the model sees far behind is not measured. */
static bool tile_tunable(const caps_runtime *rt, size_t tile, const void *problem)
{
    if (caps_gemm_tile_reason(rt, tile, problem))
        return false;
    double least = INFINITY;
    for (size_t t = 0; t < TILES; t++)
        if (!caps_gemm_tile_reason(rt, t, problem))
            least = fmin(least, tile_cost(rt, t, problem));
    return tile_cost(rt, tile, problem) < 4 * least;
}

static void tile_describe(char *text, size_t bytes, const void *problem)
{
    const caps_gemm_shape *s = problem;
    snprintf(text, bytes, "cannot take %zux%zux%zu", s->m, s->n, s->k);
}

static const caps_chooser tile_chooser = {
    .name = "tile",
    .algorithms = names,
    .count = TILES,
    .problem_bytes = sizeof(caps_gemm_shape),
    .key = tile_key,
    .describe = tile_describe,
    .unsupported_reason = tile_unsupported,
    .cost = tile_cost,
    .tunable = tile_tunable,
};

caps_status caps_gemm_cut_choose(caps_gemm_cut *cut, const caps_runtime *rt,
    const caps_gemm_shape *s, bool record, caps_error *err)
{
    size_t tile;
    caps_status status = caps_choose(&tile, &tile_chooser, rt, s, CAPS_CHOICE_FREE, record, err);
    if (status == CAPS_OK)
        *cut = caps_gemm_cut_by(rt, tile, s, 0);
    return status;
}

void caps_gemm_tiled_plan(const caps_runtime *rt, const caps_gemm_shape *s)
{
    size_t tile;
    (void)caps_choose(&tile, &tile_chooser, rt, s, CAPS_CHOICE_FREE, true, NULL);
}

size_t caps_gemm_tile_candidates(
    const caps_runtime *rt, const caps_gemm_shape *s, const char **found, size_t capacity)
{
    size_t all[CAPS_ALGORITHMS], n = 0;
    const size_t count = caps_choice_candidates(&tile_chooser, rt, s, all);
    while (n < count && n < capacity) {
        found[n] = names[all[n]].name;
        n++;
    }
    return n;
}
