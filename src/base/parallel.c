/* parallel.c: see parallel.h. */
#include "parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#define MOST_THREADS 16

typedef struct share {
    void (*body)(void *context, size_t first, size_t end);
    void *context;
    size_t first, end;
    pthread_t thread;
    bool started;
} share;

static void *parallel_run(void *context)
{
    const share *s = context;
    s->body(s->context, s->first, s->end);
    return NULL;
}

static size_t threads_for(size_t n, size_t least)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = processors > 0 ? (size_t)processors : 1;
    if (threads > MOST_THREADS)
        threads = MOST_THREADS;
    if (least < 1)
        least = 1;
    if (threads > n / least)
        threads = n / least;
    return threads > 0 ? threads : 1;
}

void caps_parallel(
    size_t n, size_t least, void (*body)(void *context, size_t first, size_t end), void *context)
{
    const size_t threads = threads_for(n, least);
    share shares[MOST_THREADS];
    sigset_t all, before;
    /* Ctrl-C is for the thread that was here before. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    size_t first = 0;
    for (size_t i = 0; i < threads; i++) {
        const size_t end = first + n / threads + (i < n % threads);
        shares[i] = (share){.body = body, .context = context, .first = first, .end = end};
        if (i > 0)
            shares[i].started =
                pthread_create(&shares[i].thread, NULL, parallel_run, &shares[i]) == 0;
        first = end;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (size_t i = 0; i < threads; i++)
        if (!shares[i].started)
            parallel_run(&shares[i]);
    for (size_t i = 0; i < threads; i++)
        if (shares[i].started)
            pthread_join(shares[i].thread, NULL);
}
