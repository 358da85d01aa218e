/* Big and little cores: a model runs on the big ones unless it is told otherwise. */
#ifndef ARMLET_CORES_H
#define ARMLET_CORES_H

#include <sched.h>
#include <stdint.h>

/* Takes the little cores out of a set of CPUs and returns how many stay, at least 1 of 1. Where
 * Linux does not tell cores apart, all stay. */
int32_t cores_keep_big(cpu_set_t *set);

#endif
