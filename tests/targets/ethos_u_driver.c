/* Stands for Arm's driver: checks the call, and copies scratch [0, 60) to [64, 124) as the "network". */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct ethosu_driver { int reserved; } ethosu_driver;
static ethosu_driver only;

ethosu_driver *ethosu_reserve_driver(void) {
    if (getenv("NO_NPU") || only.reserved) return NULL;
    only.reserved = 1;
    return &only;
}

void ethosu_release_driver(ethosu_driver *driver) { driver->reserved = 0; }

int ethosu_invoke_v3(ethosu_driver *driver, const void *commands, int bytes, const uint64_t *bases,
                     const size_t *sizes, int count, void *user) {
    if (!driver->reserved || user || count != 3 || sizes[1] != 128 || sizes[2] != 0) return -1;
    if (bytes != 8 || memcmp(commands, "COP1test", 8) != 0) return -1;
    if (memcmp((const char *)(uintptr_t)bases[0], "weights", 7) != 0) return -1;
    if (getenv("NPU_FAILS")) return -1;
    unsigned char *scratch = (unsigned char *)(uintptr_t)bases[1];
    if (scratch[1] != ((20 ^ 128) & 255)) return -2; /* the second channel of the first pixel */
    memcpy(scratch + 64, scratch, 60);
    return 0;
}
