/* listen.c: see listen.h. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "serve.h"

enum { WAITING = 64 }; /* connections that nobody has taken yet */

typedef union place {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} place;

static caps_status place_of(
    place *p, bool *v6, bool *loopback, const char *address, unsigned port, caps_error *err)
{
    const char *numbers = strcmp(address, "localhost") == 0 ? "127.0.0.1" : address;
    memset(p, 0, sizeof *p);
    *v6 = false;
    if (inet_pton(AF_INET, numbers, &p->v4.sin_addr) == 1) {
        p->v4.sin_family = AF_INET;
        p->v4.sin_port = htons((uint16_t)port);
        *loopback = ntohl(p->v4.sin_addr.s_addr) >> 24 == 127;
        return CAPS_OK;
    }
    if (inet_pton(AF_INET6, numbers, &p->v6.sin6_addr) == 1) {
        p->v6.sin6_family = AF_INET6;
        p->v6.sin6_port = htons((uint16_t)port);
        *loopback = IN6_IS_ADDR_LOOPBACK(&p->v6.sin6_addr);
        *v6 = true;
        return CAPS_OK;
    }
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "--address: '%s' is no address, need one in numbers like 127.0.0.1 or ::1, or localhost",
        address);
}

caps_status caps_serve_check_address(bool *loopback, const char *address, caps_error *err)
{
    place p;
    bool v6;
    return place_of(&p, &v6, loopback, address, 0, err);
}

static bool prepare(int fd, const place *p, bool v6)
{
    const int on = 1;
    const socklen_t n = v6 ? sizeof p->v6 : sizeof p->v4;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
           bind(fd, &p->any, n) == 0 && listen(fd, WAITING) == 0;
}

caps_status caps_listener_init(
    caps_listener *l, const char *address, unsigned port, caps_error *err)
{
    place p;
    socklen_t n = sizeof p;
    char numbers[64] = "";
    *l = (caps_listener){.fd = -1};
    caps_status status = place_of(&p, &l->v6, &l->loopback, address, port, err);
    if (status != CAPS_OK)
        return status;
    l->fd = socket(l->v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    if (l->fd < 0 || !prepare(l->fd, &p, l->v6) || getsockname(l->fd, &p.any, &n) != 0) {
        status =
            caps_fail_errno(err, CAPS_ERR_IO, "serve: cannot listen on %s port %u", address, port);
        if (l->fd >= 0)
            close(l->fd);
        l->fd = -1;
        return status;
    }
    if (l->v6)
        inet_ntop(AF_INET6, &p.v6.sin6_addr, numbers, sizeof numbers);
    else
        inet_ntop(AF_INET, &p.v4.sin_addr, numbers, sizeof numbers);
    snprintf(l->url, sizeof l->url, l->v6 ? "http://[%s]:%u/" : "http://%s:%u/", numbers,
        (unsigned)ntohs(l->v6 ? p.v6.sin6_port : p.v4.sin_port));
    return CAPS_OK;
}
