#define _GNU_SOURCE
#include "cores.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pool.h"

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

int32_t cores_keep_big(cpu_set_t *set) {
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

int32_t pool_big_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int32_t count = cores_keep_big(&set);
    return count > 0 ? count : 1;
}
