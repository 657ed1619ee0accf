/* clock.c */
#include "clock.h"

#include <math.h>
#include <time.h>

uint64_t caps_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double caps_clock_seconds(void)
{
    return (double)caps_clock_ns() * 1e-9;
}

bool caps_clock_wait(pthread_cond_t *changed, pthread_mutex_t *lock, double until)
{
    struct timespec at;
    if (until <= 0)
        return pthread_cond_wait(changed, lock) == 0;
    const double left = until - caps_clock_seconds();
    if (left <= 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += (time_t)left;
    at.tv_nsec += (long)((left - floor(left)) * 1e9);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(changed, lock, &at);
    return true;
}
