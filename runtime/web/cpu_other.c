#include "cpu.h"

/* An engine refuses the whole module if it lacks one of its instructions. */
bool cpu_has(const char *name) {
    (void)name;
    return true;
}
