#if defined(__arm__)
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "cpu.h"

/* Bits of AT_HWCAP, as in Linux's arch/arm/include/uapi/asm/hwcap.h. */
static const struct {
    const char *name;
    uint8_t bit;
} features[] = {
    {"neon", 12},    {"vfpv3", 13},   {"vfpv4", 16},    {"idiva", 17},   {"idivt", 18},
    {"fphp", 22},    {"asimdhp", 23}, {"asimddp", 24},  {"asimdfhm", 25}, {"asimdbf16", 26},
    {"i8mm", 27},
};

bool cpu_has(const char *name) {
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (strcmp(features[i].name, name) == 0) return getauxval(AT_HWCAP) >> features[i].bit & 1;
    return false;
}
#endif
