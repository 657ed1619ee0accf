/* clock.h */
#ifndef CAPS_CLOCK_H
#define CAPS_CLOCK_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
/* Monotonic time since an arbitrary start. */
uint64_t caps_clock_ns(void);
double caps_clock_seconds(void);
/* Waits for a change of a condition, whose lock is held, or for nothing: the caller looks. False: it
 * is `until` on caps_clock_seconds already; 0: for ever. */
bool caps_clock_wait(pthread_cond_t *changed, pthread_mutex_t *lock, double until);
#endif
