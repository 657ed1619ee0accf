/* slots.h: state that an operation keeps with a runtime (a scratch buffer, for instance). */
#ifndef CAPS_SLOTS_H
#define CAPS_SLOTS_H

#include <capscl/device.h>

typedef enum caps_slot {
    CAPS_SLOT_GEMM,
    CAPS_SLOT_COUNT,
} caps_slot;

/* What a runtime holds for them; part of struct caps_runtime. */
typedef struct caps_slots {
    void *value[CAPS_SLOT_COUNT];
    void (*release[CAPS_SLOT_COUNT])(caps_runtime *rt, void *value);
} caps_slots;

/* The slot's place, NULL inside at first. A value that is put there is given to `release` when the
 * runtime is freed: the queue has run dry, the context still stands. */
void **caps_runtime_slot(
    caps_runtime *rt, caps_slot slot, void (*release)(caps_runtime *rt, void *value));

/* For caps_runtime_free. */
void caps_runtime_slots_release(caps_runtime *rt);

/* The runtime's own struct (runtime.c). */
caps_slots *caps_runtime_get_slots(caps_runtime *rt);

#endif
