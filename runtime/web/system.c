/* A browser does not tell cores apart, and there is one thread: nobody sleeps. */
#include "system.h"

int32_t system_usable_cpus(void) { return 1; }
int32_t system_big_cpus(void) { return 1; }
