/* A browser does not tell cores apart. */
#include "pool.h"

int32_t pool_big_cpus(void) { return 1; }
