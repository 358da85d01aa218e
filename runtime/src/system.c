/* Linux: sets of CPUs, capacities in sysfs, futexes. */
#define _GNU_SOURCE
#include "system.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CORES_FOLDER
#define CORES_FOLDER "/sys/devices/system/cpu"
#endif

/* A core with less than 1 / LITTLE of the largest capacity holds up those that share a call with
 * it: parts are equal. */
enum { LITTLE = 2 };

/* How fast a core is beside the system's fastest, which has 1024; 0 if that is not told. */
static int32_t capacity(int cpu) {
    char path[sizeof CORES_FOLDER + 40], text[16];
    snprintf(path, sizeof path, CORES_FOLDER "/cpu%d/cpu_capacity", cpu);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = read(file, text, sizeof text);
    close(file);
    int32_t value = 0;
    for (ssize_t i = 0; i < size && i < 6 && text[i] >= '0' && text[i] <= '9'; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

/* Takes the little cores out of a set of CPUs and returns how many stay, at least 1 of 1. */
static int32_t keep_big(cpu_set_t *set) {
    int32_t most = 0, kept = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, set)) {
            int32_t found = capacity(cpu);
            if (!found) return CPU_COUNT(set); /* one that is not told, none is */
            if (found > most) most = found;
        }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, set)) {
            if (capacity(cpu) * LITTLE < most)
                CPU_CLR((size_t)cpu, set);
            else
                kept++;
        }
    return kept;
}

int32_t system_usable_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}

int32_t system_big_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int32_t count = keep_big(&set);
    return count > 0 ? count : 1;
}

int system_cpu(void) { return sched_getcpu(); }

bool system_place(int32_t cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

void system_stay_big(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    int all = CPU_COUNT(&set);
    if (keep_big(&set) < all) sched_setaffinity(0, sizeof set, &set);
}

bool system_leave(int cpu) {
    cpu_set_t usable, others;
    if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
    if (sched_getaffinity(0, sizeof usable, &usable) != 0) return false;
    others = usable;
    CPU_CLR((size_t)cpu, &others);
    if (sched_setaffinity(0, sizeof others, &others) != 0) return false;
    sched_setaffinity(0, sizeof usable, &usable);
    return true;
}

void system_sleep(_Atomic uint32_t *number, uint32_t old) {
    syscall(SYS_futex, number, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
}

void system_wake(_Atomic uint32_t *number) {
    syscall(SYS_futex, number, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
