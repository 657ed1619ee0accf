/* slots.c: see slots.h. */
#include "slots.h"

#include <stddef.h>

void **caps_runtime_slot(
    caps_runtime *rt, caps_slot slot, void (*release)(caps_runtime *rt, void *value))
{
    caps_slots *s = caps_runtime_get_slots(rt);
    s->release[slot] = release;
    return &s->value[slot];
}

void caps_runtime_slots_release(caps_runtime *rt)
{
    caps_slots *s = caps_runtime_get_slots(rt);
    for (int i = 0; i < CAPS_SLOT_COUNT; i++) {
        if (s->value[i])
            s->release[i](rt, s->value[i]);
        s->value[i] = NULL;
    }
}
