/* Does this CPU, and the OS for its registers, have an instruction set? One file an ISA. */
#ifndef ARMLET_CPU_H
#define ARMLET_CPU_H

#include <stdbool.h>

/* `name` as in /proc/cpuinfo; false for a name that is not known. */
bool cpu_has(const char *name);

#endif
