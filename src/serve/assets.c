/* assets.c: see assets.h. */
#include "assets.h"

#include <string.h>

const caps_asset *caps_asset_find(const char *name)
{
    for (size_t i = 0; caps_assets[i].name; i++)
        if (strcmp(caps_assets[i].name, name) == 0)
            return &caps_assets[i];
    return NULL;
}

const char *caps_asset_type(const caps_asset *asset)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".json", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".woff2", "font/woff2"},
        {".txt", "text/plain; charset=utf-8"},
    };
    const char *end = strrchr(asset->name, '.');
    for (size_t i = 0; end && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(end, types[i].end) == 0)
            return types[i].type;
    return "application/octet-stream";
}
