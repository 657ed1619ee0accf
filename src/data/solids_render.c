/* solids_render.c: a picture of an object: of every ray the nearest point of a solid, in the light
 * of one lamp and of what comes from everywhere. There are no shadows. See solids.h. */
#include <math.h>
#include <stdbool.h>

#include "angle.h"
#include "solids.h"

#define DISTANCE 6.0  /* of the cameras from the object's middle */
#define BASELINE 0.45 /* between them */
#define HALF     1.5  /* half of what a picture shows, at the object's middle */

/* Towards the lamp: right, up, backwards, of the camera's; its strength, what comes from everywhere,
 * and the ground behind the object. */
static const struct {
    double towards[3], lamp, ambient, ground;
} lights[] = {
    {{-0.7, 0.5, 0.6}, 0.75, 0.25, 0.55},
    {{0.7, 0.5, 0.6}, 0.75, 0.25, 0.55},
    {{0, 1, 0.35}, 0.8, 0.2, 0.5},
    {{0, 0.15, 1}, 0.7, 0.2, 0.4},
    {{-1, 0.05, 0.35}, 0.65, 0.15, 0.45},
    {{1, 0.05, 0.35}, 0.65, 0.15, 0.45},
};

typedef struct camera {
    double eye[3], right[3], up[3], forward[3];
} camera;

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void normalise(double a[3])
{
    const double length = sqrt(dot(a, a));
    for (int i = 0; i < 3; i++)
        a[i] /= length;
}

static void cross(double out[3], const double a[3], const double b[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

/* Both cameras look at the origin. */
static void camera_set(camera *c, unsigned azimuth, unsigned elevation, unsigned which)
{
    const double sa = caps_sin_degrees(20.0 * azimuth), ca = caps_cos_degrees(20.0 * azimuth);
    const double angle = 30 + 5.0 * elevation;
    const double se = caps_sin_degrees(angle), ce = caps_cos_degrees(angle);
    const double side = which ? BASELINE / 2 : -BASELINE / 2, up[3] = {0, 0, 1};
    const double right[3] = {-sa, ca, 0};
    const double middle[3] = {ce * ca, ce * sa, se};
    for (int i = 0; i < 3; i++) {
        c->eye[i] = DISTANCE * middle[i] + side * right[i];
        c->forward[i] = -c->eye[i];
    }
    normalise(c->forward);
    cross(c->right, c->forward, up);
    normalise(c->right);
    cross(c->up, c->right, c->forward);
}

/* ---- a ray and a solid ---------------------------------------------------------------------- */

/* A ray in a solid's own coordinates, and where it first meets it. */
typedef struct hit {
    double from[3], along[3];
    double t;
    double normal[3]; /* in own coordinates, outwards, of any length */
} hit;

static void meet(hit *h, double t, double x, double y, double z)
{
    h->t = t;
    h->normal[0] = x;
    h->normal[1] = y;
    h->normal[2] = z;
}

static bool meet_ball(hit *h)
{
    const double a = dot(h->along, h->along), b = dot(h->from, h->along);
    const double d = b * b - a * (dot(h->from, h->from) - 1);
    if (d < 0)
        return false;
    const double t = (-b - sqrt(d)) / a;
    meet(h, t, h->from[0] + t * h->along[0], h->from[1] + t * h->along[1],
        h->from[2] + t * h->along[2]);
    return true;
}

static bool meet_box(hit *h)
{
    double enter = -1e300, leave = 1e300;
    int axis = 0;
    for (int i = 0; i < 3; i++) {
        if (!(h->along[i] < 0) && !(h->along[i] > 0)) {
            if (fabs(h->from[i]) > 1)
                return false;
            continue;
        }
        const double a = (-1 - h->from[i]) / h->along[i], b = (1 - h->from[i]) / h->along[i];
        const double first = a < b ? a : b, last = a < b ? b : a;
        if (first > enter) {
            enter = first;
            axis = i;
        }
        leave = last < leave ? last : leave;
    }
    if (enter > leave)
        return false;
    const double out = h->along[axis] > 0 ? -1 : 1;
    meet(h, enter, axis == 0 ? out : 0, axis == 1 ? out : 0, axis == 2 ? out : 0);
    return true;
}

/* The flat ends at z = -1 and, of a cylinder, at z = 1; true where one is nearer than h->t. */
static void meet_ends(hit *h, bool *met, bool both)
{
    for (int end = 0; end < 1 + both; end++) {
        const double z = end ? 1 : -1;
        if (!(h->along[2] < 0) && !(h->along[2] > 0))
            return;
        const double t = (z - h->from[2]) / h->along[2];
        const double x = h->from[0] + t * h->along[0], y = h->from[1] + t * h->along[1];
        if (x * x + y * y <= 1 && (!*met || t < h->t)) {
            meet(h, t, 0, 0, z);
            *met = true;
        }
    }
}

/* Of x^2 + y^2 = r(z)^2 with r = 1, or, of a cone, r = (1 - z) / 2. */
static bool meet_round(hit *h, bool cone)
{
    const double slope = cone ? -0.5 : 0, at = cone ? 0.5 : 1;
    const double *o = h->from, *d = h->along;
    const double ro = at + slope * o[2], rd = slope * d[2];
    const double a = d[0] * d[0] + d[1] * d[1] - rd * rd;
    const double b = o[0] * d[0] + o[1] * d[1] - ro * rd;
    const double c = o[0] * o[0] + o[1] * o[1] - ro * ro, root = b * b - a * c;
    bool met = false;
    if (root >= 0 && (a < 0 || a > 0))
        for (int sign = -1; sign <= 1; sign += 2) {
            const double t = (-b + sign * sqrt(root)) / a, z = o[2] + t * d[2];
            if (z < -1 || z > 1 || (met && t >= h->t))
                continue;
            const double r = at + slope * z;
            meet(h, t, o[0] + t * d[0], o[1] + t * d[1], -slope * r);
            met = true;
        }
    meet_ends(h, &met, !cone);
    return met;
}

static bool meet_solid(hit *h, caps_solid_kind kind)
{
    switch (kind) {
    case CAPS_SOLID_BALL:
        return meet_ball(h);
    case CAPS_SOLID_BOX:
        return meet_box(h);
    default:
        return meet_round(h, kind == CAPS_SOLID_CONE);
    }
}

/* ---- a picture ------------------------------------------------------------------------------ */

enum { SIDE = CAPS_SOLIDS_SIDE };

/* What of a row or a column a solid can cover, from the distance of its middle to the side and
 * ahead: *first to *end of 0..SIDE. */
static void span(int *first, int *end, double side, double ahead, double radius)
{
    const double low = side - radius, high = side + radius;
    const double scale = SIDE / 2.0 * DISTANCE / HALF;
    const double from = low / (low < 0 ? ahead - radius : ahead + radius) * scale + SIDE / 2.0;
    const double to = high / (high > 0 ? ahead - radius : ahead + radius) * scale + SIDE / 2.0;
    *first = from < 1 ? 0 : from > SIDE ? SIDE : (int)from - 1;
    *end = to < 0 ? 0 : to > SIDE - 2 ? SIDE : (int)to + 2;
}

/* The brightness of a point with this outward normal, in own coordinates. */
static double shade(const caps_solid *s, const double own[3], const double lamp[3], unsigned light)
{
    double normal[3];
    for (int i = 0; i < 3; i++)
        normal[i] = own[0] * s->to_own[0][i] + own[1] * s->to_own[1][i] + own[2] * s->to_own[2][i];
    const double length = sqrt(dot(normal, normal));
    const double lit = length > 0 ? dot(normal, lamp) / length : 0;
    return s->shade * (lights[light].ambient + (lit > 0 ? lights[light].lamp * lit : 0));
}

static void transform(double out[3], const double m[3][3], const double v[3])
{
    for (int k = 0; k < 3; k++)
        out[k] = dot(m[k], v);
}

/* The ray through the middle of a pixel, of length 1 ahead. */
static void ray(double out[3], const camera *c, int y, int x)
{
    const double right = (x + 0.5 - SIDE / 2.0) / (SIDE / 2.0) * (HALF / DISTANCE);
    const double up = (SIDE / 2.0 - y - 0.5) / (SIDE / 2.0) * (HALF / DISTANCE);
    for (int i = 0; i < 3; i++)
        out[i] = c->forward[i] + right * c->right[i] + up * c->up[i];
}

/* One solid, where it is nearer than what was drawn before. */
static void draw_solid(uint8_t *out, double *depth, const caps_solid *s, const camera *c,
    const double lamp[3], unsigned light)
{
    double away[3], rows[2];
    int x0, x1, y0, y1;
    hit h = {0};
    for (int i = 0; i < 3; i++)
        away[i] = s->centre[i] - c->eye[i];
    rows[0] = dot(away, c->forward);
    span(&x0, &x1, dot(away, c->right), rows[0], s->radius);
    span(&y0, &y1, -dot(away, c->up), rows[0], s->radius);
    for (int i = 0; i < 3; i++)
        away[i] = -away[i];
    transform(h.from, s->to_own, away);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            double along[3];
            ray(along, c, y, x);
            transform(h.along, s->to_own, along);
            if (!meet_solid(&h, s->kind) || h.t >= depth[y * SIDE + x])
                continue;
            depth[y * SIDE + x] = h.t;
            const double v = 255 * shade(s, h.normal, lamp, light);
            out[y * SIDE + x] = v < 255 ? (uint8_t)(v + 0.5) : 255;
        }
}

void caps_object_render(uint8_t *out, const caps_object *o, unsigned azimuth, unsigned elevation,
    unsigned light, unsigned camera_number)
{
    double depth[SIDE * SIDE], lamp[3], towards[3];
    camera c;
    camera_set(&c, azimuth, elevation, camera_number);
    for (int i = 0; i < 3; i++)
        towards[i] = lights[light].towards[i];
    normalise(towards);
    for (int i = 0; i < 3; i++)
        lamp[i] = towards[0] * c.right[i] + towards[1] * c.up[i] - towards[2] * c.forward[i];
    for (int i = 0; i < SIDE * SIDE; i++) {
        depth[i] = 1e300;
        out[i] = (uint8_t)(255 * lights[light].ground + 0.5);
    }
    for (size_t i = 0; i < o->n; i++)
        draw_solid(out, depth, &o->solids[i], &c, lamp, light);
}
