/* reply.c: answers with their headers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets.h"
#include "file.h"
#include "json.h"
#include "server_state.h"

/* Nothing from elsewhere, nothing into another page; what is served is what it says it is. */
static const struct {
    const char *name, *value;
} headers[] = {
    {"Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
};

/* Takes the response; NULL: out of memory. */
static enum MHD_Result reply(struct MHD_Connection *connection, unsigned code,
    struct MHD_Response *response, const char *type, const char *caching)
{
    enum MHD_Result result = response ? MHD_YES : MHD_NO;
    for (size_t i = 0; result == MHD_YES && i < sizeof headers / sizeof headers[0]; i++)
        result = caps_http.add_response_header(response, headers[i].name, headers[i].value);
    if (result == MHD_YES && type)
        result = caps_http.add_response_header(response, "Content-Type", type);
    if (result == MHD_YES)
        result = caps_http.add_response_header(response, "Cache-Control", caching);
    if (result == MHD_YES)
        result = caps_http.queue_response(connection, code, response);
    if (response)
        caps_http.destroy_response(response);
    return result;
}

static struct MHD_Response *response_of(char *text, size_t n)
{
    struct MHD_Response *response =
        caps_http.create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(text);
    return response;
}

enum MHD_Result caps_reply_json(
    struct MHD_Connection *connection, unsigned code, char *text, size_t n)
{
    return reply(connection, code, response_of(text, n), "application/json", "no-store");
}

enum MHD_Result caps_reply_error(
    struct MHD_Connection *connection, unsigned code, const char *message, const char *allow)
{
    json_t *error = json_pack("{s:o}", "error", caps_json_text(message));
    char *text = caps_json_format(error, 0, 9);
    json_decref(error);
    if (!text)
        return MHD_NO;
    struct MHD_Response *response = response_of(text, strlen(text));
    if (response && allow)
        caps_http.add_response_header(response, "Allow", allow);
    if (response && code == MHD_HTTP_SERVICE_UNAVAILABLE)
        caps_http.add_response_header(response, "Retry-After", "1");
    return reply(connection, code, response, "application/json", "no-store");
}

enum MHD_Result caps_reply_asset(struct MHD_Connection *connection, const caps_asset *asset)
{
    char tag[24];
    snprintf(tag, sizeof tag, "\"%016llx\"",
        (unsigned long long)caps_hash(CAPS_HASH_START, asset->bytes, asset->count));
    const char *have =
        caps_http.lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");
    const bool same = have && strcmp(have, tag) == 0;
    struct MHD_Response *response = caps_http.create_response_from_buffer(
        same ? 0 : asset->count, (void *)(uintptr_t)asset->bytes, MHD_RESPMEM_PERSISTENT);
    if (response)
        caps_http.add_response_header(response, "ETag", tag);
    return reply(connection, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response,
        caps_asset_type(asset), "no-cache");
}
