/* solids_shapes.c: what an instance of a class is made of; see solids.h. */
#include <assert.h>
#include <math.h>

#include "angle.h"
#include "rng.h"
#include "solids.h"

/* An instance that is being made, and its draws. */
typedef struct maker {
    caps_object *object;
    uint64_t seed, instance;
    uint32_t drawn;
    double shade;
} maker;

/* The next draw, uniform in low..high. Never two in one expression: C leaves open which of them is
 * the first. */
static double between(maker *m, double low, double high)
{
    const double u = caps_rng_uniform(m->seed, CAPS_RNG_SOLID, m->drawn++, m->instance);
    return low + (high - low) * u;
}

static int chance(maker *m)
{
    return between(m, 0, 1) < 0.5;
}

typedef struct at {
    double x, y, z;
} at;

/* A solid of these half sizes about `centre`, turned about x (y towards z), then about y (x towards
 * z): degrees. */
static void add_turned(
    maker *m, caps_solid_kind kind, at centre, at half, double about_x, double about_y)
{
    assert(m->object->n < CAPS_SOLIDS_MOST);
    caps_solid *s = &m->object->solids[m->object->n++];
    const double sx = caps_sin_degrees(about_x), cx = caps_cos_degrees(about_x);
    const double sy = caps_sin_degrees(about_y), cy = caps_cos_degrees(about_y);
    /* Columns: where the solid's own axes point. */
    const double axes[3][3] = {{cy, -sx * sy, -cx * sy}, {0, cx, -sx}, {sy, sx * cy, cx * cy}};
    const double sizes[3] = {half.x, half.y, half.z};
    *s = (caps_solid){.kind = kind, .centre = {centre.x, centre.y, centre.z}, .shade = m->shade};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 3; i++)
            s->to_own[k][i] = axes[i][k] / sizes[k];
    s->radius = sqrt(half.x * half.x + half.y * half.y + half.z * half.z);
}

static void add(maker *m, caps_solid_kind kind, at centre, at half)
{
    add_turned(m, kind, centre, half, 0, 0);
}

/* The solid's own z forwards; half sizes are those of the object's axes. */
static void add_long(maker *m, caps_solid_kind kind, at centre, at half)
{
    add_turned(m, kind, centre, (at){half.z, half.y, half.x}, 0, -90);
}

/* Left and right of the middle. */
static void add_both(
    maker *m, caps_solid_kind kind, at centre, at half, double about_x, double about_y)
{
    add_turned(m, kind, centre, half, about_x, about_y);
    add_turned(m, kind, (at){centre.x, -centre.y, centre.z}, half, -about_x, about_y);
}

/* Both wheels of an axle. */
static void add_wheels(maker *m, double x, double y, double z, double radius, double width)
{
    add_both(m, CAPS_SOLID_CYLINDER, (at){x, y, z}, (at){radius, radius, width}, 90, 0);
}

/* ---- the classes ---------------------------------------------------------------------------- */

static void make_animal(maker *m)
{
    const double length = between(m, 0.45, 0.7), width = between(m, 0.17, 0.28);
    const double height = between(m, 0.18, 0.3), leg = between(m, 0.25, 0.45);
    const double z = leg + height - 0.55, thick = between(m, 0.05, 0.1);
    const double neck = between(m, 0.15, 0.4), head = between(m, 0.13, 0.2);
    const at at_head = {length + 0.12, 0, z + neck};
    add_long(m, chance(m) ? CAPS_SOLID_BALL : CAPS_SOLID_CYLINDER, (at){0, 0, z},
        (at){length, width, height});
    add_turned(m, CAPS_SOLID_CYLINDER, (at){length - 0.05, 0, z + neck / 2},
        (at){head * 0.6, head * 0.6, neck / 2 + 0.1}, 0, -between(m, 15, 35));
    add(m, CAPS_SOLID_BALL, at_head, (at){head * between(m, 1.1, 1.7), head, head});
    for (int hind = 0; hind < 2; hind++)
        add_both(m, CAPS_SOLID_CYLINDER,
            (at){(hind ? -0.7 : 0.7) * length, width * 0.7, z - height * 0.5 - leg / 2},
            (at){thick, thick, leg / 2 + height * 0.4}, 0, between(m, -12, 12));
    const double tail_angle = between(m, 40, 130), tail = between(m, 0.15, 0.35);
    add_turned(m, CAPS_SOLID_CONE, (at){-length - 0.1, 0, z + 0.05}, (at){0.06, 0.06, tail}, 0,
        tail_angle);
    if (chance(m)) {
        const double ear_angle = between(m, -25, 10), ear = between(m, 0.08, 0.25);
        add_both(m, CAPS_SOLID_CONE, (at){at_head.x, head * 0.6, at_head.z + head},
            (at){0.06, 0.05, ear}, ear_angle, 0);
    }
}

static void make_figure(maker *m)
{
    const double torso = between(m, 0.22, 0.34), broad = between(m, 0.17, 0.27);
    const double leg = between(m, 0.3, 0.44), thick = between(m, 0.06, 0.1);
    const double z = 2 * leg - 0.85 + torso, head = between(m, 0.13, 0.19);
    const double arm = between(m, 0.22, 0.33), stride = between(m, 0, 30);
    const double deep = between(m, 0.1, 0.17);
    add(m, chance(m) ? CAPS_SOLID_BOX : CAPS_SOLID_BALL, (at){0, 0, z}, (at){deep, broad, torso});
    add(m, CAPS_SOLID_BALL, (at){0.02, 0, z + torso + head * 1.1}, (at){head, head, head * 1.15});
    for (int side = 0; side < 2; side++) {
        const double y = side ? -1 : 1;
        const double swing = y * stride, spread = between(m, 5, 70), lift = between(m, -40, 60);
        add_turned(m, CAPS_SOLID_CYLINDER,
            (at){leg * caps_sin_degrees(swing), y * broad * 0.55,
                z - torso - leg * caps_cos_degrees(swing) + 0.06},
            (at){thick * 1.15, thick * 1.15, leg}, 0, swing);
        add_turned(m, CAPS_SOLID_CYLINDER,
            (at){-arm * caps_sin_degrees(lift) * caps_cos_degrees(spread),
                y * (broad + arm * caps_sin_degrees(spread)),
                z + torso * 0.75 - arm * caps_cos_degrees(spread) * caps_cos_degrees(lift)},
            (at){thick, thick, arm}, y * spread, -lift);
    }
    if (chance(m)) /* a hat */
        add(m, CAPS_SOLID_CONE, (at){0.02, 0, z + torso + head * 2.4},
            (at){head, head, head * 0.7});
}

static void make_plane(maker *m)
{
    const double length = between(m, 0.7, 0.95), body = between(m, 0.09, 0.16);
    const double span = between(m, 0.65, 0.95), chord = between(m, 0.12, 0.24);
    const double wing_z = chance(m) ? 0.7 * body : -0.4 * body;
    const double tail = between(m, 0.25, 0.4), x = between(m, -0.05, 0.2);
    const double high = body * between(m, 0.9, 1.3);
    add_long(m, chance(m) ? CAPS_SOLID_BALL : CAPS_SOLID_CYLINDER, (at){0, 0, 0},
        (at){length, body, high});
    add_both(m, CAPS_SOLID_BOX, (at){x, span / 2, wing_z}, (at){chord, span / 2, 0.025},
        between(m, -3, 8), 0);
    add(m, CAPS_SOLID_BOX, (at){-length * 0.85, 0, chance(m) ? 0.3 : 0.05},
        (at){chord * 0.6, tail, 0.022});
    const double fin_angle = between(m, -15, 15), fin = between(m, 0.14, 0.22);
    add_turned(m, CAPS_SOLID_BOX, (at){-length * 0.85, 0, 0.2}, (at){chord * 0.6, 0.025, fin}, 0,
        fin_angle);
    if (chance(m))
        add_both(m, CAPS_SOLID_BALL, (at){x + 0.08, span * 0.45, wing_z - 0.09},
            (at){0.17, 0.06, 0.06}, 0, 0);
    else
        add(m, CAPS_SOLID_BALL, (at){length * 0.4, 0, body}, (at){0.18, body * 0.7, body * 0.8});
}

static void make_truck(maker *m)
{
    const double width = between(m, 0.26, 0.34), cab = between(m, 0.16, 0.24);
    const double cab_height = between(m, 0.2, 0.3), load = between(m, 0.45, 0.6);
    const double load_height = between(m, 0.16, 0.36), wheel = between(m, 0.11, 0.16);
    const double front = cab + load - 0.05, bed = -0.35 + wheel;
    add(m, CAPS_SOLID_BOX, (at){0, 0, bed}, (at){cab + load, width * 0.85, 0.06});
    add(m, CAPS_SOLID_BOX, (at){front - cab + 0.05, 0, bed + 0.05 + cab_height},
        (at){cab, width, cab_height});
    const double middle = -cab - 0.04;
    if (chance(m))
        add(m, CAPS_SOLID_BOX, (at){middle, 0, bed + 0.06 + load_height},
            (at){load - 0.03, width, load_height});
    else
        add_long(m, CAPS_SOLID_CYLINDER, (at){middle, 0, bed + 0.06 + load_height},
            (at){load - 0.03, width, load_height});
    if (chance(m)) /* a bonnet before the cabin */
        add(m, CAPS_SOLID_BOX, (at){front + 0.12, 0, bed + 0.13}, (at){0.14, width * 0.8, 0.13});
    add_wheels(m, front - cab * 0.6, width * 0.9, bed - 0.05, wheel, 0.06);
    add_wheels(m, middle + load * 0.1, width * 0.9, bed - 0.05, wheel, 0.06);
    if (chance(m))
        add_wheels(m, middle - load * 0.65, width * 0.9, bed - 0.05, wheel, 0.06);
}

static void make_car(maker *m)
{
    const double length = between(m, 0.6, 0.85), width = between(m, 0.27, 0.37);
    const double height = between(m, 0.1, 0.16), wheel = between(m, 0.11, 0.17);
    const double roof = between(m, 0.1, 0.18), cabin = between(m, 0.28, 0.48);
    const double z = -0.3 + wheel, x = between(m, -0.22, 0.08);
    const int round = chance(m);
    add(m, CAPS_SOLID_BOX, (at){0, 0, z}, (at){length, width, height});
    add(m, round ? CAPS_SOLID_BALL : CAPS_SOLID_BOX,
        (at){x, 0, z + height + roof * (round ? 0.3 : 0.9)},
        (at){cabin * (round ? 1.25 : 1), width * 0.9, roof * (round ? 1.6 : 1)});
    if (chance(m))
        add_turned(m, CAPS_SOLID_BOX, (at){x + cabin + 0.06, 0, z + height + roof * 0.4},
            (at){0.2, width * 0.85, 0.03}, 0, -40);
    if (chance(m))
        add(m, CAPS_SOLID_BOX, (at){-length * 0.95, 0, z + height + 0.1}, (at){0.08, width, 0.02});
    add_wheels(m, length * 0.62, width * 0.95, z - height * 0.8, wheel, 0.06);
    add_wheels(m, -length * 0.62, width * 0.95, z - height * 0.8, wheel, 0.06);
}

void caps_object_make(caps_object *o, uint64_t seed, unsigned class, unsigned instance)
{
    static void (*const makers[])(maker *) = {
        make_animal, make_figure, make_plane, make_truck, make_car};
    maker m = {.object = o, .seed = seed, .instance = class * 256u + instance};
    o->n = 0;
    m.shade = between(&m, 0.6, 0.95);
    makers[class](&m);
}
