/* serve.h: the explorer: a server of HTTP that computes what models make of images, and gives the
 * browser a page to look at it. docs/serve.md has the routes.
 *
 * It needs libmicrohttpd, which is loaded when it is needed: caps_server_check. */
#ifndef CAPS_SERVE_H
#define CAPS_SERVE_H

#include <capscl/inspect.h>

/* "libmicrohttpd 0.9.75"; NULL: it was built without, or cannot be loaded. */
const char *caps_server_library(void);
/* CAPS_ERR_ARGUMENT where there is none: the message says why. */
caps_status caps_server_check(caps_error *err);

typedef struct caps_serve_options {
    const char *address; /* IPv4 or IPv6 in numbers, or "localhost" */
    unsigned port;       /* 0: a free one */
    /* Models for several images at once, made with `reconstruct`, all on one runtime, and the files
     * that they are from. The caller's; nobody else may use them meanwhile. */
    caps_model *const *models; /* [count] */
    const char *const *files;
    size_t count;
    /* What the first model, and so all, can be fed with: caps_data_fit. A split may be NULL. */
    const caps_dataset *test, *train;
    const char *data_name; /* NULL: no data */
    const char *conv;      /* see caps_model_options */
} caps_serve_options;

typedef struct caps_server caps_server;

/* Is it an address that only this machine reaches? CAPS_ERR_ARGUMENT: it is none. */
caps_status caps_serve_check_address(bool *loopback, const char *address, caps_error *err);

/* Makes what is computed with, runs all of it once so that every kernel is compiled, and listens.
 * What the options point to must last. Errors: CAPS_ERR_ARGUMENT (the address), CAPS_ERR_MISMATCH
 * (the data do not fit a model), CAPS_ERR_IO (the port is not to be had), those of the device. */
caps_status caps_server_create(
    caps_server **out, const caps_serve_options *options, caps_error *err);
/* "http://127.0.0.1:8080/" */
const char *caps_server_url(const caps_server *s);
/* Ends connections of clients that are too slow: to be called about once a second. */
void caps_server_tend(caps_server *s);
/* Answers what is being computed, then ends. NULL is allowed. */
void caps_server_free(caps_server *s);

#endif
