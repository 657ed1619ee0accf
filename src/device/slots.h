/* slots.h: state that an operation keeps with a runtime (a scratch buffer, for instance). */
#ifndef CAPS_SLOTS_H
#define CAPS_SLOTS_H

#include <capscl/device.h>

/* A slot is known by an address: that of any static object of the operation. */
typedef struct caps_slot {
    const void *key;
    void *value;
    void (*release)(caps_runtime *rt, void *value);
} caps_slot;

/* What a runtime holds for them; part of struct caps_runtime. */
enum { CAPS_SLOTS = 16 };
typedef struct caps_slots {
    caps_slot list[CAPS_SLOTS];
} caps_slots;

/* The slot's place, NULL inside at first; NULL itself where a runtime has too many slots. A value
 * that is put there is given to `release` when the runtime is freed: the queue has run dry, the
 * context still stands. */
void **caps_runtime_slot(
    caps_runtime *rt, const void *key, void (*release)(caps_runtime *rt, void *value));

/* For caps_runtime_free. */
void caps_runtime_slots_release(caps_runtime *rt);

#endif
