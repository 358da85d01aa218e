/* Cores that are alike. */
#ifndef AGENT_CLUSTERS_H
#define AGENT_CLUSTERS_H

#include <stddef.h>
#include <stdint.h>

#define CPUS "/sys/devices/system/cpu"

enum { CLUSTER_CPUS = 256, MOST_CLUSTERS = 16 };

typedef struct {
    int cpu_count;
    uint16_t cpus[CLUSTER_CPUS];
    char part[16];               /* implementer and part, as in 41:d05; "" where they are not told */
    char governor[24];           /* "" */
    uint32_t khz_min, khz_max;   /* 0: unknown */
    uint32_t capacity;           /* of 1024, beside the fastest; 0: unknown */
} cluster;

/* From the slowest to the fastest; found out once. */
int clusters(const cluster **found);

/* The first line of a file whose path is a format, "" if it cannot be read; its length. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
size_t read_text(char *text, size_t size, const char *format, ...);

#endif
