/* connections.c: see connections.h. */
#include "connections.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "clock.h"

void caps_connections_init(caps_connections *all)
{
    all->first = NULL;
    pthread_mutex_init(&all->lock, NULL);
}

caps_connection *caps_connections_add(caps_connections *all, int fd)
{
    caps_connection *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    pthread_mutex_lock(&all->lock);
    *c = (caps_connection){fd, CAPS_PHASE_RECEIVING, caps_clock_seconds(), all->first};
    all->first = c;
    pthread_mutex_unlock(&all->lock);
    return c;
}

void caps_connections_remove(caps_connections *all, caps_connection *c)
{
    pthread_mutex_lock(&all->lock);
    for (caps_connection **at = &all->first; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    pthread_mutex_unlock(&all->lock);
    free(c);
}

void caps_connections_set(caps_connections *all, caps_connection *c, caps_phase phase)
{
    if (!c)
        return;
    pthread_mutex_lock(&all->lock);
    c->phase = phase;
    c->since = caps_clock_seconds();
    pthread_mutex_unlock(&all->lock);
}

/* The descriptor is not closed before the connection is removed, so it is this one's. */
void caps_connections_tend(caps_connections *all)
{
    static const double most[] = {[CAPS_PHASE_RECEIVING] = CAPS_REQUEST_SECONDS,
        [CAPS_PHASE_COMPUTING] = 1e30,
        [CAPS_PHASE_SENDING] = CAPS_ANSWER_SECONDS};
    pthread_mutex_lock(&all->lock);
    const double now = caps_clock_seconds();
    for (caps_connection *c = all->first; c; c = c->next)
        if (now - c->since > most[c->phase])
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&all->lock);
}

bool caps_connections_busy(caps_connections *all)
{
    bool busy = false;
    pthread_mutex_lock(&all->lock);
    for (caps_connection *c = all->first; c; c = c->next)
        busy = busy || c->phase != CAPS_PHASE_RECEIVING;
    pthread_mutex_unlock(&all->lock);
    return busy;
}

void caps_connections_release(caps_connections *all)
{
    while (all->first) {
        caps_connection *next = all->first->next;
        free(all->first);
        all->first = next;
    }
    pthread_mutex_destroy(&all->lock);
}
