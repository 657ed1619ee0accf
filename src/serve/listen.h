/* listen.h: addresses, and the socket that connections come to. */
#ifndef CAPS_LISTEN_H
#define CAPS_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include <capscl/error.h>

/* Begins zeroed, but for `fd`: -1. */
typedef struct caps_listener {
    int fd;
    bool loopback, v6;
    char url[80]; /* "http://127.0.0.1:8080/" */
} caps_listener;

/* CAPS_ERR_ARGUMENT (no address in numbers, nor "localhost"), CAPS_ERR_IO (it is not to be had). */
caps_status caps_listener_init(
    caps_listener *l, const char *address, unsigned port, caps_error *err);

#endif
