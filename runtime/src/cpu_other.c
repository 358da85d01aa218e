#if !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__) && \
    !defined(__arm__) && !defined(__riscv)
#include "cpu.h"

/* Targets whose code needs no more than the ABI promises. */
bool cpu_has(const char *name) {
    (void)name;
    return false;
}
#endif
