/* server.c: a server from its beginning to its end, over libmicrohttpd. One thread of the library
 * speaks with all clients, one of the queue computes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "server_state.h"

enum {
    CONNECTION_BYTES = 32 * 1024, /* of headers, and of a piece of a body */
    LAST_WORDS_MS = 500           /* for answers that are on their way when it ends */
};

const char *caps_server_library(void)
{
    static char text[64];
    if (!text[0] && caps_http_load(NULL) == CAPS_OK)
        snprintf(text, sizeof text, "libmicrohttpd %s", caps_http.get_version());
    return text[0] ? text : NULL;
}

caps_status caps_server_check(caps_error *err)
{
    return caps_http_load(err);
}

/* A connection comes or goes. */
static void on_connection(void *user, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode code)
{
    caps_server *s = user;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            caps_http.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = info ? caps_connections_add(&s->connections, info->connect_fd) : NULL;
    } else {
        caps_connections_remove(&s->connections, *context);
        *context = NULL;
    }
}

/* %00 does not end a path before its end. */
static size_t on_unescape(void *user, struct MHD_Connection *connection, char *text)
{
    const size_t n = caps_http.http_unescape(text);
    (void)user, (void)connection;
    for (size_t i = 0; i < n; i++)
        if (!text[i])
            text[i] = '?';
    return n;
}

/* By poll: with epoll, a client that is gone in the middle of a request goes unnoticed (seen of
 * 0.9.75) and holds its connection until it has been silent for too long. */
static caps_status start_daemon(caps_server *s, caps_error *err)
{
    const unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                           (s->listener.v6 ? (unsigned)MHD_USE_IPv6 : 0);
    s->daemon = caps_http.start_daemon(flags, 0, NULL, NULL, caps_exchange_handle, s,
        MHD_OPTION_LISTEN_SOCKET, s->listener.fd, MHD_OPTION_NOTIFY_COMPLETED,
        caps_exchange_complete, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CAPS_CONNECTIONS_MOST, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)CAPS_SILENCE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_END);
    if (s->daemon)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_IO, "serve: %s does not start", caps_server_library());
}

caps_status caps_server_create(
    caps_server **out, const caps_serve_options *options, caps_error *err)
{
    caps_status status;
    *out = NULL;
    caps_server *s = calloc(1, sizeof *s);
    if (!s)
        return caps_fail(err, CAPS_ERR_MEMORY, "serve: out of memory");
    s->options = *options;
    caps_connections_init(&s->connections);
    /* First what can be refused at once, then what takes seconds. */
    s->listener.fd = -1;
    CAPS_TRY(caps_http_load(err));
    CAPS_TRY(caps_listener_init(&s->listener, options->address, options->port, err));
    CAPS_TRY(caps_explorer_init(&s->explorer, &s->options, err));
    CAPS_TRY(caps_queue_init(&s->queue, &s->explorer, err));
    caps_guard_init(&s->guard, s->listener.loopback);
    s->body_limit = caps_request_limit(&s->explorer);
    CAPS_TRY(start_daemon(s, err));
    *out = s;
    s = NULL;
done:
    caps_server_free(s);
    return status;
}

const char *caps_server_url(const caps_server *s)
{
    return s->listener.url;
}

void caps_server_tend(caps_server *s)
{
    caps_connections_tend(&s->connections);
}

/* No new clients; those that wait are told; and what was said may still be heard. No connection may
 * be suspended when the library ends. */
static void end_daemon(caps_server *s)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    caps_http.quiesce_daemon(s->daemon);
    caps_queue_end(&s->queue);
    for (int i = 0; i < LAST_WORDS_MS / 5 && caps_connections_busy(&s->connections); i++)
        nanosleep(&moment, NULL);
    caps_http.stop_daemon(s->daemon);
}

void caps_server_free(caps_server *s)
{
    if (!s)
        return;
    if (s->daemon)
        end_daemon(s);
    if (s->listener.fd >= 0)
        close(s->listener.fd);
    caps_queue_release(&s->queue);
    caps_explorer_release(&s->explorer);
    caps_connections_release(&s->connections);
    free(s);
}
