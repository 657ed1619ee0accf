/* server_state.h: what a server holds; seen by the files that speak HTTP. */
#ifndef CAPS_SERVER_STATE_H
#define CAPS_SERVER_STATE_H

#include "connections.h"
#include "guard.h"
#include "http.h"
#include "listen.h"
#include "queue.h"

struct caps_server {
    caps_serve_options options;
    caps_explorer explorer;
    caps_queue queue;
    caps_listener listener;
    caps_guard guard;
    caps_connections connections;
    struct MHD_Daemon *daemon;
    size_t body_limit; /* bytes */
};

/* exchange.c: callbacks of the library; user: the server. */
enum MHD_Result caps_exchange_handle(void *user, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *bytes, void **state);
void caps_exchange_complete(void *user, struct MHD_Connection *connection, void **state,
    enum MHD_RequestTerminationCode code);

/* reply.c: answers. `text` is taken (freed with free()). Each gives what the handler returns. */
enum MHD_Result caps_reply_json(
    struct MHD_Connection *connection, unsigned code, char *text, size_t n);
/* {"error": "..."}; allow: for 405, else NULL. */
enum MHD_Result caps_reply_error(
    struct MHD_Connection *connection, unsigned code, const char *message, const char *allow);
/* A file of the page, or 304 where the client has it. */
struct caps_asset;
enum MHD_Result caps_reply_asset(struct MHD_Connection *connection, const struct caps_asset *asset);

#endif
