/* solids.h: simple solids, composed to objects and rendered. docs/data.md says what and how.
 *
 *     solids_shapes.c   what an instance of a class is made of
 *     solids_render.c   a picture of it
 *     solids.c          which pictures a set has
 *
 * The same bytes on every machine: +, -, *, / and sqrt in double, in a fixed order, and random
 * numbers of counters (rng.h); these files are compiled without contraction. */
#ifndef CAPS_SOLIDS_H
#define CAPS_SOLIDS_H

#include <stddef.h>
#include <stdint.h>

/* In its own coordinates a solid is of the size of [-1, 1]^3. */
typedef enum caps_solid_kind {
    CAPS_SOLID_BALL,
    CAPS_SOLID_BOX,
    CAPS_SOLID_CYLINDER, /* along z */
    CAPS_SOLID_CONE,     /* the point at z = 1 */
} caps_solid_kind;

typedef struct caps_solid {
    caps_solid_kind kind;
    double centre[3];
    double to_own[3][3]; /* own = to_own (p - centre) */
    double radius;       /* of a ball around it */
    double shade;        /* 0..1, of white that it reflects */
} caps_solid;

enum { CAPS_SOLIDS_MOST = 24, CAPS_SOLIDS_SIDE = 96 };

/* x is forwards, y to the left, z up; within 1.2 of the origin. */
typedef struct caps_object {
    caps_solid solids[CAPS_SOLIDS_MOST];
    size_t n;
} caps_object;

/* Instance `instance` of a class, 0..4, drawn from (seed, class, instance). */
void caps_object_make(caps_object *o, uint64_t seed, unsigned class, unsigned instance);

/* From camera 0 or 1, at an azimuth (0..17) and elevation (0..8), in light 0..5:
 * out [CAPS_SOLIDS_SIDE, CAPS_SOLIDS_SIDE]. */
void caps_object_render(uint8_t *out, const caps_object *o, unsigned azimuth, unsigned elevation,
    unsigned light, unsigned camera);

#endif
