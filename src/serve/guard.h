/* guard.h: who may ask. A page of another site must not reach the server: neither by its own name
 * for this machine's address (DNS rebinding, told by the header Host) nor by requests across sites
 * (told by Origin and Sec-Fetch-Site). */
#ifndef CAPS_GUARD_H
#define CAPS_GUARD_H

#include <stdbool.h>

#include <capscl/error.h>

typedef struct caps_guard {
    bool loopback;       /* it listens to this machine alone */
    char host_name[256]; /* of the machine, which counts where it does not */
} caps_guard;

void caps_guard_init(caps_guard *g, bool loopback);

/* The headers, NULL where they are not there. document: the page itself is asked for, which another
 * site may link to. CAPS_ERR_ARGUMENT: it may not. */
caps_status caps_guard_check(const caps_guard *g, const char *host, const char *origin,
    const char *fetch_site, bool document, caps_error *err);

#endif
