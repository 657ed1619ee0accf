/* http.h: the functions of libmicrohttpd that the server calls. The library is loaded when a server
 * begins, not with the program: it would bring ten more, which no other subcommand needs, nor a
 * machine that serves nothing. */
#ifndef CAPS_HTTP_H
#define CAPS_HTTP_H

#include <microhttpd.h>

#include <capscl/error.h>

#define CAPS_HTTP_FUNCTIONS(X)                                                                     \
    X(start_daemon)                                                                                \
    X(quiesce_daemon)                                                                              \
    X(stop_daemon)                                                                                 \
    X(get_version)                                                                                 \
    X(http_unescape)                                                                               \
    X(get_connection_info)                                                                         \
    X(lookup_connection_value)                                                                     \
    X(suspend_connection)                                                                          \
    X(resume_connection)                                                                           \
    X(create_response_from_buffer)                                                                 \
    X(add_response_header)                                                                         \
    X(queue_response)                                                                              \
    X(destroy_response)

/* caps_http.start_daemon is MHD_start_daemon, once caps_http_load has succeeded. */
typedef struct caps_http_library {
#define CAPS_HTTP_MEMBER(name) __typeof__(MHD_##name) *name;
    CAPS_HTTP_FUNCTIONS(CAPS_HTTP_MEMBER)
#undef CAPS_HTTP_MEMBER
} caps_http_library;

extern caps_http_library caps_http;

/* Before other threads call it. CAPS_ERR_ARGUMENT: it is not here. */
caps_status caps_http_load(caps_error *err);

#endif
