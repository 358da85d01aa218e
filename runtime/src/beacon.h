/* A number that one thread sets and another waits for: spinning first, then asleep. */
#ifndef ARMLET_BEACON_H
#define ARMLET_BEACON_H

#include <stdatomic.h>
#include <stdint.h>

#define CACHE_LINE 64

/* Has a cache line for itself: written by its setter, read by its only waiter. */
typedef struct {
    _Alignas(CACHE_LINE) _Atomic uint32_t value;
    _Atomic uint32_t sleeping;
} beacon;

/* What was written before is seen by the waiter. No system call unless the waiter sleeps. */
void beacon_set(beacon *b, uint32_t value);

/* Returns the value once it differs from `old`, after spinning for at most `spin_ns`. */
uint32_t beacon_wait(beacon *b, uint32_t old, int64_t spin_ns);

int64_t now_ns(void);

#endif
