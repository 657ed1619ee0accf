/* viewpoints.h: sets of objects that are seen from known directions: smallNORB and solids. */
#ifndef CAPS_VIEWPOINTS_H
#define CAPS_VIEWPOINTS_H

#include <capscl/dataset.h>

enum {
    CAPS_AZIMUTHS = 18,  /* 0, 20, ... 340 degrees */
    CAPS_ELEVATIONS = 9, /* 30, 35, ... 70 degrees */
    CAPS_LIGHTS = 6,
    CAPS_OBJECT_CLASSES = 5
};

/* Whether images of this azimuth (0..17) and elevation (0..8) are among those. */
bool caps_viewpoints_have(caps_viewpoints viewpoints, unsigned azimuth, unsigned elevation);

/* Half the size each way: out [h / 2, w / 2], each the mean of 2x2 of `plane` [h, w], rounded. */
void caps_viewpoints_halve(uint8_t *out, const uint8_t *plane, size_t h, size_t w);

#endif
