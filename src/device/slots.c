/* slots.c: see slots.h. */
#include "slots.h"

#include <stddef.h>

#include "runtime_state.h"

void **caps_runtime_slot(
    caps_runtime *rt, const void *key, void (*release)(caps_runtime *rt, void *value))
{
    for (int i = 0; i < CAPS_SLOTS; i++) {
        caps_slot *slot = &rt->slots.list[i];
        if (!slot->key)
            *slot = (caps_slot){.key = key, .release = release};
        if (slot->key == key)
            return &slot->value;
    }
    return NULL;
}

void caps_runtime_slots_release(caps_runtime *rt)
{
    for (int i = 0; i < CAPS_SLOTS; i++) {
        const caps_slot slot = rt->slots.list[i];
        if (slot.value)
            slot.release(rt, slot.value);
        rt->slots.list[i] = (caps_slot){0};
    }
}
