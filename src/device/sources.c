/* sources.c: which kernel sources are built. */
#include "sources.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "file.h"

enum { SOURCE_LIMIT = 16 << 20 };

const char *caps_sources_place(void)
{
    const char *place = getenv("CAPSCL_CL_PATH");
    return place && *place ? place : NULL;
}

static void hash_all(char text[17], const char *place)
{
    uint64_t hash = CAPS_HASH_START;
    for (const caps_source *s = caps_sources; s->name; s++) {
        unsigned char *file = NULL;
        size_t n = 0;
        char *path = place ? caps_path_join(place, s->name) : NULL;
        if (path && caps_file_read(&file, &n, path, SOURCE_LIMIT, NULL) == CAPS_OK)
            hash = caps_hash(hash, file, n);
        else
            hash = caps_hash(hash, s->text, s->bytes);
        free(file);
        free(path);
    }
    snprintf(text, 17, "%016llx", (unsigned long long)hash);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char own[17];

static void hash_own(void)
{
    hash_all(own, NULL);
}

void caps_sources_hash(char text[17], const char *place)
{
    if (place) {
        hash_all(text, place);
        return;
    }
    pthread_once(&once, hash_own);
    snprintf(text, 17, "%s", own);
}
