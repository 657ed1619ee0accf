/* assets.h: the files of src/serve/page, in the program (made by cmake/embed_page.cmake). */
#ifndef CAPS_ASSETS_H
#define CAPS_ASSETS_H

#include <stddef.h>

typedef struct caps_asset {
    const char *name; /* "index.html" */
    const unsigned char *bytes;
    size_t count;
} caps_asset;

/* Ends with a row whose name is NULL. */
extern const caps_asset caps_assets[];

/* NULL: there is none of this name. */
const caps_asset *caps_asset_find(const char *name);
/* "text/html; charset=utf-8", by the end of its name. */
const char *caps_asset_type(const caps_asset *asset);

#endif
