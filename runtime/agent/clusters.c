#define _GNU_SOURCE
#include "clusters.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cluster known[MOST_CLUSTERS];
static int count = -1;

/* What stands behind a key of a line of /proc/cpuinfo, or NULL. */
static const char *value_of(const char *line, const char *key) {
    size_t size = strlen(key);
    if (strncmp(line, key, size) != 0) return NULL;
    line += size;
    while (*line == ' ' || *line == '\t') line++;
    return *line == ':' ? line + 1 + (line[1] == ' ') : NULL;
}

/* Implementer and part of every CPU, as /proc/cpuinfo of Arm has them. */
static void read_parts(char parts[CLUSTER_CPUS][16]) {
    static char text[1 << 16];
    size_t size = 0;
    int file = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; file >= 0 && got > 0 && size < sizeof text - 1; size += got > 0 ? (size_t)got : 0)
        got = read(file, text + size, sizeof text - 1 - size);
    if (file >= 0) close(file);
    text[size] = 0;
    unsigned long cpu = CLUSTER_CPUS, maker = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *value;
        if ((value = value_of(line, "processor"))) cpu = strtoul(value, NULL, 10);
        if ((value = value_of(line, "CPU implementer"))) maker = strtoul(value, NULL, 16);
        if ((value = value_of(line, "CPU part")) && cpu < CLUSTER_CPUS)
            snprintf(parts[cpu], 16, "%lx:%lx", maker & 0xff, strtoul(value, NULL, 16) & 0xfff);
    }
}

static uint32_t number(const char *name, int cpu) {
    char text[32];
    return read_text(text, sizeof text, CPUS "/cpu%d/%s", cpu, name)
               ? (uint32_t)strtoul(text, NULL, 10)
               : 0;
}

static int alike(const cluster *a, const cluster *b) {
    return strcmp(a->part, b->part) == 0 && a->khz_max == b->khz_max && a->capacity == b->capacity;
}

static void add(int cpu, const char *part) {
    cluster c = {.cpu_count = 1, .cpus = {(uint16_t)cpu}};
    snprintf(c.part, sizeof c.part, "%s", part);
    c.khz_min = number("cpufreq/cpuinfo_min_freq", cpu);
    c.khz_max = number("cpufreq/cpuinfo_max_freq", cpu);
    c.capacity = number("cpu_capacity", cpu);
    for (int i = 0; i < count; i++)
        if (alike(&known[i], &c)) {
            known[i].cpus[known[i].cpu_count++] = (uint16_t)cpu;
            return;
        }
    if (count == MOST_CLUSTERS) return;
    read_text(c.governor, sizeof c.governor, CPUS "/cpu%d/cpufreq/scaling_governor", cpu);
    known[count++] = c;
}

static int slower_first(const void *left, const void *right) {
    const cluster *a = left, *b = right;
    if (a->capacity != b->capacity) return a->capacity < b->capacity ? -1 : 1;
    return a->khz_max < b->khz_max ? -1 : a->khz_max > b->khz_max;
}

int clusters(const cluster **found) {
    static char parts[CLUSTER_CPUS][16];
    *found = known;
    if (count >= 0) return count;
    count = 0;
    read_parts(parts);
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    for (int cpu = 0; cpu < cpus && cpu < CLUSTER_CPUS; cpu++) add(cpu, parts[cpu]);
    qsort(known, (size_t)count, sizeof *known, slower_first);
    return count;
}
