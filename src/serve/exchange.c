/* exchange.c: one request and its answer. The library calls the handler with the headers, with each
 * piece of the body, and at its end; where the answer is to be computed the connection is suspended
 * then, and the handler called once more when the thread that computes has resumed it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assets.h"
#include "fail.h"
#include "server_state.h"

/* A body of more than this is not even read to its end before it is refused. */
#define MOST_IGNORED ((unsigned long long)16 << 20)

typedef struct route route;

typedef struct exchange {
    caps_server *server;
    struct MHD_Connection *connection;
    caps_connection *link; /* NULL: out of memory */
    const route *route;
    const caps_asset *asset; /* of a file of the page */
    unsigned refused;        /* the status that it ends with once its body is over, or 0 */
    caps_error error;
    const char *allow;
    caps_textbuf body;
    caps_job job;
    bool queued;
} exchange;

struct route {
    const char *path, *method;
    enum MHD_Result (*answer)(exchange *x);
    caps_task task; /* of answer NULL: what is computed of the body */
};

/* ---- answers -------------------------------------------------------------------------------- */

static unsigned code_of(caps_status status, bool superseded)
{
    switch (status) {
    case CAPS_ERR_ARGUMENT:
        return MHD_HTTP_BAD_REQUEST;
    case CAPS_ERR_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case CAPS_ERR_INTERRUPTED:
        return superseded ? MHD_HTTP_CONFLICT : MHD_HTTP_SERVICE_UNAVAILABLE;
    case CAPS_ERR_MEMORY:
    case CAPS_ERR_DEVICE_MEMORY:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static enum MHD_Result answer_error(exchange *x, unsigned code, const char *message)
{
    caps_connections_set(&x->server->connections, x->link, CAPS_PHASE_SENDING);
    return caps_reply_error(x->connection, code, message, x->allow);
}

static enum MHD_Result answer_text(exchange *x, caps_status status, caps_textbuf *text)
{
    if (status != CAPS_OK || text->out_of_memory) {
        caps_textbuf_release(text);
        return status != CAPS_OK
                   ? answer_error(x, code_of(status, false), x->error.message)
                   : answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory for an answer");
    }
    caps_connections_set(&x->server->connections, x->link, CAPS_PHASE_SENDING);
    return caps_reply_json(x->connection, MHD_HTTP_OK, text->text, text->used);
}

static enum MHD_Result answer_job(exchange *x)
{
    caps_textbuf text = x->job.answer;
    x->job.answer = (caps_textbuf){0};
    x->error = x->job.error;
    if (x->job.status == CAPS_ERR_INTERRUPTED) {
        caps_textbuf_release(&text);
        return answer_error(x, code_of(x->job.status, x->job.superseded), x->error.message);
    }
    return answer_text(x, x->job.status, &text);
}

/* ---- what is computed ----------------------------------------------------------------------- */

/* The queue calls it with its lock held: the connection sleeps before anyone can wake it. */
static void hold(void *user)
{
    exchange *x = user;
    x->queued = true;
    caps_http.suspend_connection(x->connection);
}

static void release(void *user)
{
    caps_http.resume_connection(((exchange *)user)->connection);
}

static enum MHD_Result enqueue(exchange *x)
{
    caps_server *s = x->server;
    x->job.hold = hold;
    x->job.release = release;
    x->job.user = x;
    caps_connections_set(&s->connections, x->link, CAPS_PHASE_COMPUTING);
    switch (caps_queue_push(&s->queue, &x->job)) {
    case CAPS_QUEUED:
        return MHD_YES;
    case CAPS_QUEUE_SUPERSEDED:
        return answer_error(x, MHD_HTTP_CONFLICT, "superseded");
    case CAPS_QUEUE_FULL:
        return answer_error(
            x, MHD_HTTP_SERVICE_UNAVAILABLE, "too many requests wait, try again later");
    case CAPS_QUEUE_ENDED:
        break;
    }
    return answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "the server ends");
}

static enum MHD_Result compute(exchange *x)
{
    const char *body = x->body.text ? x->body.text : "";
    x->job.request.task = x->route->task;
    caps_status status =
        caps_request_read(&x->job.request, &x->server->explorer, body, x->body.used, &x->error);
    if (status != CAPS_OK)
        return answer_error(x, code_of(status, false), x->error.message);
    return enqueue(x);
}

/* ---- the other routes ----------------------------------------------------------------------- */

static const char *query(const exchange *x, const char *name)
{
    return caps_http.lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result answer_about(exchange *x)
{
    caps_textbuf text = {0};
    caps_put(&text, x->server->explorer.about);
    return answer_text(x, CAPS_OK, &text);
}

static enum MHD_Result answer_image(exchange *x)
{
    caps_textbuf text = {0};
    const caps_status status = caps_explorer_image(
        &x->server->explorer, &text, query(x, "split"), query(x, "index"), &x->error);
    return answer_text(x, status, &text);
}

static enum MHD_Result answer_ranges(exchange *x)
{
    const caps_explorer *e = &x->server->explorer;
    caps_request *r = &x->job.request;
    size_t class = 0;
    caps_status status =
        caps_query_number(&r->model, "model", query(x, "model"), 0, e->options->count, &x->error);
    if (status == CAPS_OK && !query(x, "class"))
        status = caps_fail(&x->error, CAPS_ERR_ARGUMENT, "class: missing, need a class");
    if (status == CAPS_OK)
        status = caps_query_number(
            &class, "class", query(x, "class"), 0, e->models[r->model].info->classes, &x->error);
    if (status != CAPS_OK)
        return answer_error(x, code_of(status, false), x->error.message);
    r->task = CAPS_TASK_RANGES;
    r->class = (int32_t) class;
    return enqueue(x);
}

static enum MHD_Result answer_asset(exchange *x)
{
    caps_connections_set(&x->server->connections, x->link, CAPS_PHASE_SENDING);
    return caps_reply_asset(x->connection, x->asset);
}

static const route routes[] = {
    {"/", "GET", answer_asset, 0},
    {"/api/model", "GET", answer_about, 0},
    {"/api/image", "GET", answer_image, 0},
    {"/api/ranges", "GET", answer_ranges, 0},
    {"/api/predict", "POST", NULL, CAPS_TASK_PREDICT},
    {"/api/decode", "POST", NULL, CAPS_TASK_DECODE},
    {"/api/attack", "POST", NULL, CAPS_TASK_ATTACK},
    {"/api/sweep", "POST", NULL, CAPS_TASK_SWEEP},
    {"/api/transform", "POST", NULL, CAPS_TASK_TRANSFORM},
};

/* Of any file of the page. */
static const route asset_route = {"/assets/", "GET", answer_asset, 0};

static const caps_asset *asset_of(const char *url)
{
    const char *folder = asset_route.path;
    if (strcmp(url, "/") == 0)
        return caps_asset_find("index.html");
    if (strcmp(url, "/favicon.ico") == 0)
        return caps_asset_find("favicon.ico");
    return strncmp(url, folder, strlen(folder)) == 0 ? caps_asset_find(url + strlen(folder)) : NULL;
}

/* ---- the beginning of a request ------------------------------------------------------------- */

static const char *header(const exchange *x, const char *name)
{
    return caps_http.lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

static void refuse(exchange *x, unsigned code, const char *message)
{
    x->refused = code;
    caps_fail(&x->error, CAPS_ERR_ARGUMENT, "%s", message);
}

/* The route, or why there is none. */
static void choose_route(exchange *x, const char *url, const char *method)
{
    const char *as = strcmp(method, "HEAD") == 0 ? "GET" : method;
    x->asset = asset_of(url);
    x->route = x->asset ? &asset_route : NULL;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
        if (strcmp(routes[i].path, url) == 0)
            x->route = &routes[i];
    if (!x->route) {
        caps_fail(&x->error, CAPS_ERR_NOT_FOUND, "there is no %.80s here", url);
        x->refused = MHD_HTTP_NOT_FOUND;
    } else if (strcmp(x->route->method, as) != 0) {
        caps_fail(&x->error, CAPS_ERR_ARGUMENT, "%.80s: method %.20s, need %s", url, method,
            x->route->method);
        x->refused = MHD_HTTP_METHOD_NOT_ALLOWED;
        x->allow = strcmp(x->route->method, "GET") == 0 ? "GET, HEAD" : "POST";
    }
}

/* Whether the body is acceptable by its length, which must be known: then no memory is taken for a
 * client that only begins. *bytes: its length. */
static void check_length(exchange *x, unsigned long long *bytes)
{
    const char *length = header(x, "Content-Length");
    *bytes = 0;
    if (header(x, "Transfer-Encoding")) {
        refuse(x, MHD_HTTP_LENGTH_REQUIRED, "a body in chunks, need one with Content-Length");
        return;
    }
    if (length)
        *bytes = strtoull(length, NULL, 10);
    if (*bytes > x->server->body_limit) {
        x->refused = 413 /* its name differs by version */;
        caps_fail(&x->error, CAPS_ERR_ARGUMENT, "a body of %llu bytes, need at most %zu", *bytes,
            x->server->body_limit);
    }
}

static void check_headers(exchange *x, const char *url, const char *method)
{
    const caps_guard *guard = &x->server->guard;
    const bool document = strncmp(url, "/api/", 5) != 0;
    if (caps_guard_check(guard, header(x, "Host"), header(x, "Origin"), header(x, "Sec-Fetch-Site"),
            document, &x->error) != CAPS_OK)
        x->refused = MHD_HTTP_FORBIDDEN;
    else
        choose_route(x, url, method);
}

/* With the headers alone. */
static enum MHD_Result begin(exchange *x, const char *url, const char *method)
{
    unsigned long long bytes;
    check_headers(x, url, method);
    const unsigned refused = x->refused;
    const caps_error error = x->error;
    check_length(x, &bytes);
    if (refused) { /* that it is not allowed goes before that it is too long */
        x->refused = refused;
        x->error = error;
    }
    if (x->refused && (bytes > MOST_IGNORED || header(x, "Transfer-Encoding")))
        return answer_error(x, x->refused, x->error.message);
    return MHD_YES;
}

/* ---- callbacks ------------------------------------------------------------------------------ */

static exchange *exchange_create(caps_server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        caps_http.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->server = s;
    x->connection = connection;
    x->link = info ? info->socket_context : NULL;
    return x;
}

enum MHD_Result caps_exchange_handle(void *user, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *bytes, void **state)
{
    exchange *x = *state;
    (void)version;
    if (!x) {
        x = *state = exchange_create(user, connection);
        return x ? begin(x, url, method) : MHD_NO;
    }
    if (*bytes > 0) {
        if (!x->refused && x->body.used + *bytes <= x->server->body_limit)
            caps_textbuf_append(&x->body, data, *bytes);
        *bytes = 0;
        return MHD_YES;
    }
    if (x->queued)
        return answer_job(x);
    if (x->refused)
        return answer_error(x, x->refused, x->error.message);
    if (x->body.out_of_memory)
        return answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory for a request");
    return x->route->answer ? x->route->answer(x) : compute(x);
}

void caps_exchange_complete(void *user, struct MHD_Connection *connection, void **state,
    enum MHD_RequestTerminationCode code)
{
    exchange *x = *state;
    (void)user, (void)connection, (void)code;
    if (!x)
        return;
    caps_connections_set(&x->server->connections, x->link, CAPS_PHASE_RECEIVING);
    caps_job_release(&x->job);
    caps_textbuf_release(&x->body);
    free(x);
    *state = NULL;
}
