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
    _Atomic int cpu; /* where the setter was seen last */
} beacon;

/* Tells the waiter where its setter runs. Returns that CPU. */
int beacon_place(beacon *b);

/* What was written before is seen by the waiter. No system call unless the waiter sleeps. */
void beacon_set(beacon *b, uint32_t value);

/* Returns the value once it differs from `old`. Spins first, for at most `spin_ns`, and only while
 * the setter may be running: not if it was seen on the CPU of the waiter. */
uint32_t beacon_wait(beacon *b, uint32_t old, int64_t spin_ns);

int64_t now_ns(void);

#endif
