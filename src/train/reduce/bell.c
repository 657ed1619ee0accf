/* bell.c: see bell.h. By Linux's futexes, which processes can share. */
#include "bell.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { AWAKE, FOR_URGENT, FOR_ALL };

bool caps_bell_works(void)
{
    return true;
}

uint32_t caps_bell_read(const caps_bell *bell)
{
    return atomic_load(&bell->rings);
}

void caps_bell_ring(caps_bell *bell, bool urgent)
{
    atomic_fetch_add(&bell->rings, 1);
    const uint32_t sleep = atomic_load(&bell->sleep);
    if (sleep == FOR_ALL || (urgent && sleep == FOR_URGENT))
        syscall(SYS_futex, &bell->rings, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void caps_bell_wait(caps_bell *bell, uint32_t seen, long ns, bool all)
{
    const struct timespec most = {ns / 1000000000, ns % 1000000000};
    atomic_store(&bell->sleep, all ? FOR_ALL : FOR_URGENT);
    /* Does not sleep where `rings` is no longer what it was. */
    syscall(SYS_futex, &bell->rings, FUTEX_WAIT, seen, &most, NULL, 0);
    atomic_store(&bell->sleep, AWAKE);
}

#else

bool caps_bell_works(void)
{
    return false;
}

uint32_t caps_bell_read(const caps_bell *bell)
{
    return atomic_load(&bell->rings);
}

void caps_bell_ring(caps_bell *bell, bool urgent)
{
    (void)bell;
    (void)urgent;
}

void caps_bell_wait(caps_bell *bell, uint32_t seen, long ns, bool all)
{
    (void)bell;
    (void)seen;
    (void)ns;
    (void)all;
}

#endif
