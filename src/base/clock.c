/* clock.c */
#include "clock.h"

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
