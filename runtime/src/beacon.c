#define _GNU_SOURCE
#include "beacon.h"

#include <time.h>

#include "system.h"

enum { SPINS_BETWEEN_LOOKS = 16 };

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

int beacon_place(beacon *b) {
    int cpu = system_cpu();
    if (atomic_load_explicit(&b->cpu, memory_order_relaxed) != cpu)
        atomic_store_explicit(&b->cpu, cpu, memory_order_relaxed);
    return cpu;
}

/* Setter: value, then is it asleep? Waiter: asleep, then value? In one total order one of the
 * two sees the other, so that no wake-up is lost. */
void beacon_set(beacon *b, uint32_t value) {
    atomic_store(&b->value, value);
    if (atomic_load(&b->sleeping)) system_wake(&b->value);
}

uint32_t beacon_wait(beacon *b, uint32_t old, int64_t spin_ns) {
    uint32_t value = atomic_load_explicit(&b->value, memory_order_acquire);
    if (value != old) return value;
    for (int64_t end = spin_ns > 0 ? now_ns() + spin_ns : 0; end && now_ns() < end;) {
        for (int i = 0; i < SPINS_BETWEEN_LOOKS; i++) {
            value = atomic_load_explicit(&b->value, memory_order_acquire);
            if (value != old) return value;
            pause_cpu();
        }
        int cpu = system_cpu();
        if (cpu != NOT_TOLD && cpu == atomic_load_explicit(&b->cpu, memory_order_relaxed)) break;
    }
    atomic_store(&b->sleeping, 1);
    while ((value = atomic_load(&b->value)) == old) system_sleep(&b->value, old);
    atomic_store(&b->sleeping, 0);
    return value;
}
