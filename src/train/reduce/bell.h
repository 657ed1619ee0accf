/* bell.h: wakes the courier of another process on the same machine, so that a rank which waits need
 * not look for messages again and again.
 *
 * A bell is in memory that both processes have. Whoever has something for its owner rings it: what
 * is urgent wakes it in any case, the rest only where the owner said that it waits.
 *
 *     owner    seen = read | looks for work | wait(seen): not where it was rung since `seen` */
#ifndef CAPS_BELL_H
#define CAPS_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct caps_bell {
    _Atomic uint32_t rings;
    _Atomic uint32_t sleep; /* what the owner waits for; bell.c */
} caps_bell;

/* Can this system do it? Else the other functions do nothing. */
bool caps_bell_works(void);
uint32_t caps_bell_read(const caps_bell *bell);
void caps_bell_ring(caps_bell *bell, bool urgent);
/* Waits until it is rung (but `all`: urgently), at most `ns` nanoseconds. */
void caps_bell_wait(caps_bell *bell, uint32_t seen, long ns, bool all);

#endif
