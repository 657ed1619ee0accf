/* solids.c: sets of rendered solids: which pictures a split has, in which order; see solids.h. */
#include "solids.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "formats.h"
#include "parallel.h"
#include "rng.h"
#include "viewpoints.h"

enum {
    INSTANCES = 5, /* of each class, in each split */
    CAMERAS = 2,
    HALF_SIDE = CAPS_SOLIDS_SIDE / 2,
    PLANE = HALF_SIDE * HALF_SIDE,
    OBJECTS = CAPS_OBJECT_CLASSES * INSTANCES,
    VIEWS = CAPS_AZIMUTHS * CAPS_ELEVATIONS * CAPS_LIGHTS,
    PICTURES = OBJECTS * VIEWS,
};

static const char *const class_names[CAPS_OBJECT_CLASSES] = {
    "animal", "figure", "plane", "truck", "car"};

/* What picture `id` of a split shows. */
typedef struct view {
    unsigned class, instance, azimuth, elevation, light;
} view;

static view view_of(unsigned id)
{
    view v;
    v.light = id % CAPS_LIGHTS;
    id /= CAPS_LIGHTS;
    v.azimuth = id % CAPS_AZIMUTHS;
    id /= CAPS_AZIMUTHS;
    v.elevation = id % CAPS_ELEVATIONS;
    id /= CAPS_ELEVATIONS;
    v.instance = id % INSTANCES;
    v.class = id / INSTANCES;
    return v;
}

/* Those of the viewpoints, drawn without order from (seed, split), at most `limit`; *n of them. */
static unsigned *choose(size_t *n, uint64_t seed, const caps_dataset_options *o)
{
    unsigned *ids = malloc(PICTURES * sizeof *ids);
    *n = 0;
    for (unsigned id = 0; ids && id < PICTURES; id++) {
        const view v = view_of(id);
        if (caps_viewpoints_have(o->viewpoints, v.azimuth, v.elevation))
            ids[(*n)++] = id;
    }
    const size_t kept = o->limit && o->limit < *n ? o->limit : *n;
    for (size_t i = 0; ids && i < kept; i++) {
        const size_t pick =
            i + (size_t)caps_rng_below(*n - i, seed, CAPS_RNG_SOLID_ORDER, (uint32_t)o->split, i);
        const unsigned id = ids[pick];
        ids[pick] = ids[i];
        ids[i] = id;
    }
    *n = kept;
    return ids;
}

typedef struct job {
    const unsigned *ids;
    const caps_object *objects;
    uint8_t *images;
} job;

static void render(void *context, size_t first, size_t end)
{
    const job *j = context;
    uint8_t large[CAPS_SOLIDS_SIDE * CAPS_SOLIDS_SIDE];
    for (size_t i = first; i < end; i++) {
        const view v = view_of(j->ids[i]);
        for (unsigned camera = 0; camera < CAMERAS; camera++) {
            caps_object_render(large, &j->objects[v.class * INSTANCES + v.instance], v.azimuth,
                v.elevation, v.light, camera);
            caps_viewpoints_halve(j->images + (i * CAMERAS + camera) * PLANE, large,
                CAPS_SOLIDS_SIDE, CAPS_SOLIDS_SIDE);
        }
    }
}

caps_status caps_solids_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    /* Instances of the training split are not those of the test split. */
    const unsigned first = o->split == CAPS_SPLIT_TRAIN ? 0 : INSTANCES;
    caps_object *objects = malloc(OBJECTS * sizeof *objects);
    unsigned *ids = choose(&ds->n, l->seed, o);
    caps_status status = CAPS_OK;
    ds->channels = CAMERAS;
    ds->height = ds->width = HALF_SIDE;
    ds->standardised = true;
    CAPS_TRY(caps_solids_name(ds, l, err));
    ds->images = malloc(ds->n * CAMERAS * PLANE);
    ds->labels = malloc(ds->n);
    if (!objects || !ids || !ds->images || !ds->labels)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for %zu pictures", l->path, ds->n));
    for (unsigned i = 0; i < OBJECTS; i++)
        caps_object_make(&objects[i], l->seed, i / INSTANCES, first + i % INSTANCES);
    for (size_t i = 0; i < ds->n; i++)
        ds->labels[i] = (uint8_t)view_of(ids[i]).class;
    const job j = {ids, objects, ds->images};
    caps_parallel(ds->n, 16, render, (void *)(uintptr_t)&j);
done:
    free(objects);
    free(ids);
    return status;
}

caps_status caps_solids_has(bool *has, const caps_location *l, caps_split split, caps_error *err)
{
    (void)l;
    (void)err;
    *has = split != CAPS_SPLIT_VALIDATION;
    return CAPS_OK;
}

caps_status caps_solids_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    ds->classes = CAPS_OBJECT_CLASSES;
    ds->class_names = caps_class_names_copy(class_names, CAPS_OBJECT_CLASSES);
    return ds->class_names ? CAPS_OK
                           : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", l->path);
}
