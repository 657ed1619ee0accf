/* server_absent.c: in place of the server where libmicrohttpd was not there when the program was
 * built. */
#include "fail.h"
#include "serve.h"

const char *caps_server_library(void)
{
    return NULL;
}

caps_status caps_server_check(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "serve: this capscl was built without libmicrohttpd, need it (libmicrohttpd-dev) and a new "
        "build");
}

caps_status caps_server_create(
    caps_server **out, const caps_serve_options *options, caps_error *err)
{
    (void)options;
    *out = NULL;
    return caps_server_check(err);
}

const char *caps_server_url(const caps_server *s)
{
    (void)s;
    return "";
}

void caps_server_tend(caps_server *s)
{
    (void)s;
}

void caps_server_free(caps_server *s)
{
    (void)s;
}
