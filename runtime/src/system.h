/* What systems do in their own ways: CPUs for threads, and threads that sleep. One file a system. */
#ifndef ARMLET_SYSTEM_H
#define ARMLET_SYSTEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* CPUs that this process may use, at least 1. */
int32_t system_usable_cpus(void);

/* Those of them that are big cores, at least 1: a model runs on these unless it is told otherwise.
 * Where the system does not tell cores apart, all are big. */
int32_t system_big_cpus(void);

/* The CPU that the calling thread is on; NOT_TOLD if the system keeps that to itself. */
enum { NOT_TOLD = -1 };
int system_cpu(void);

/* These place the calling thread: on one CPU (false if that cannot be), on the big cores, and on any
 * other CPU than the one that it was seen on. */
bool system_place(int32_t cpu);
void system_stay_big(void);
bool system_leave(int cpu);

/* Returns once the number differs from `old`, or sooner. No wake-up that comes later is lost. */
void system_sleep(_Atomic uint32_t *number, uint32_t old);

/* Wakes all that sleep for the number, which has been changed before. */
void system_wake(_Atomic uint32_t *number);

#endif
