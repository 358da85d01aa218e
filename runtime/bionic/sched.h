#pragma once
#include <sys/types.h>

/* Larger than bionic's own on 32 bits, which is for 32 processors: the functions take its size. */
#define CPU_SETSIZE 1024

typedef struct {
    unsigned long bits[CPU_SETSIZE / (8 * sizeof(unsigned long))];
} cpu_set_t;

#define CPU_WORD_(cpu, set) (set)->bits[(cpu) / (8 * sizeof(unsigned long))]
#define CPU_BIT_(cpu) (1ul << (cpu) % (8 * sizeof(unsigned long)))
#define CPU_ZERO(set) __builtin_memset(set, 0, sizeof *(set))
#define CPU_SET(cpu, set) (CPU_WORD_(cpu, set) |= CPU_BIT_(cpu))
#define CPU_CLR(cpu, set) (CPU_WORD_(cpu, set) &= ~CPU_BIT_(cpu))
#define CPU_ISSET(cpu, set) ((CPU_WORD_(cpu, set) & CPU_BIT_(cpu)) != 0)
#define CPU_COUNT(set) __sched_cpucount(sizeof *(set), set)

int __sched_cpucount(size_t, const cpu_set_t *);
int sched_getaffinity(pid_t, size_t, cpu_set_t *);
int sched_setaffinity(pid_t, size_t, const cpu_set_t *);
int sched_getcpu(void);
int sched_yield(void);
