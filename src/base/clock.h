/* clock.h */
#ifndef CAPS_CLOCK_H
#define CAPS_CLOCK_H
#include <stdint.h>
/* Monotonic time since an arbitrary start. */
uint64_t caps_clock_ns(void);
double caps_clock_seconds(void);
#endif
