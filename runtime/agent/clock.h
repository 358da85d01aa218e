/* The steady clock, which every deadline is a time of. */
#ifndef AGENT_CLOCK_H
#define AGENT_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t steady_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t deadline_after(uint32_t ms) { return steady_ns() + (int64_t)ms * 1000000; }

/* What poll is told: until then, rounded up, and never less than 0. */
static inline int ms_until(int64_t deadline_ns) {
    int64_t left = (deadline_ns - steady_ns() + 999999) / 1000000;
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

#endif
