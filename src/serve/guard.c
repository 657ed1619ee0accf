/* guard.c: see guard.h. */
#define _GNU_SOURCE /* strcasecmp */
#include "guard.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "fail.h"

void caps_guard_init(caps_guard *g, bool loopback)
{
    *g = (caps_guard){.loopback = loopback};
    if (gethostname(g->host_name, sizeof g->host_name - 1) != 0)
        g->host_name[0] = 0;
}

/* "name:port" without its port, "[::1]:port" without its brackets too. False: it is no such thing.
 */
static bool host_part(char *to, size_t bytes, const char *host)
{
    const bool bracket = host[0] == '[';
    const char *begin = host + bracket;
    const size_t n = strcspn(begin, bracket ? "]" : ":");
    const char *rest = begin + n;
    if (n == 0 || n >= bytes || (bracket && *rest++ != ']'))
        return false;
    if (*rest == ':' && (rest[1] == 0 || strlen(rest) > 6))
        return false;
    if (*rest && (*rest != ':' || rest[1 + strspn(rest + 1, "0123456789")]))
        return false;
    memcpy(to, begin, n);
    to[n] = 0;
    return !bracket || strchr(to, ':');
}

static bool is_known_host(const caps_guard *g, const char *host)
{
    char name[256];
    unsigned char v4[4], v6[16];
    static const unsigned char loopback6[16] = {[15] = 1};
    if (!host_part(name, sizeof name, host))
        return false;
    if (strcasecmp(name, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, name, v4) == 1)
        return !g->loopback || v4[0] == 127;
    if (inet_pton(AF_INET6, name, v6) == 1)
        return !g->loopback || memcmp(v6, loopback6, sizeof v6) == 0;
    return !g->loopback && g->host_name[0] && strcasecmp(name, g->host_name) == 0;
}

caps_status caps_guard_check(const caps_guard *g, const char *host, const char *origin,
    const char *fetch_site, bool document, caps_error *err)
{
    if (!host)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "no Host header");
    if (!is_known_host(g, host))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "Host '%.80s' is not served, need localhost or the address that it listens on", host);
    if (origin && (strncasecmp(origin, "http://", 7) != 0 || strcasecmp(origin + 7, host) != 0))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "Origin '%.80s' is another site, need 'http://%.80s'", origin, host);
    if (!document && fetch_site && strcmp(fetch_site, "same-origin") != 0 &&
        strcmp(fetch_site, "none") != 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "the request comes from another site (Sec-Fetch-Site '%.20s')", fetch_site);
    return CAPS_OK;
}
