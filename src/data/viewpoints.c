/* viewpoints.c: see viewpoints.h. */
#include "viewpoints.h"

const char *caps_viewpoints_name(int viewpoints)
{
    static const char *const names[CAPS_VIEWPOINTS_COUNT] = {
        "all", "familiar-azimuths", "novel-azimuths", "familiar-elevations", "novel-elevations"};
    return viewpoints >= 0 && viewpoints < CAPS_VIEWPOINTS_COUNT ? names[viewpoints] : NULL;
}

bool caps_viewpoints_have(caps_viewpoints viewpoints, unsigned azimuth, unsigned elevation)
{
    const bool front = azimuth <= 2 || azimuth >= 15; /* 300 to 40 degrees */
    switch (viewpoints) {
    case CAPS_VIEWPOINTS_FAMILIAR_AZIMUTHS:
        return front;
    case CAPS_VIEWPOINTS_NOVEL_AZIMUTHS:
        return !front;
    case CAPS_VIEWPOINTS_FAMILIAR_ELEVATIONS:
        return elevation < 3;
    case CAPS_VIEWPOINTS_NOVEL_ELEVATIONS:
        return elevation >= 3;
    default:
        return true;
    }
}

void caps_viewpoints_halve(uint8_t *out, const uint8_t *plane, size_t h, size_t w)
{
    for (size_t y = 0; y < h / 2; y++) {
        const uint8_t *above = plane + 2 * y * w, *below = above + w;
        for (size_t x = 0; x < w / 2; x++)
            out[y * (w / 2) + x] =
                (uint8_t)((above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1] + 2) /
                          4);
    }
}
