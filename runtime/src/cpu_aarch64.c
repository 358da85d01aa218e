#if defined(__aarch64__)
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "cpu.h"

/* Bits of AT_HWCAP (0 ..) and AT_HWCAP2 (64 ..), as in Linux's asm/hwcap.h. */
static const struct {
    const char *name;
    uint8_t bit;
} features[] = {
    {"fp", 0},         {"asimd", 1},  {"aes", 3},       {"pmull", 4},  {"sha1", 5},
    {"sha2", 6},       {"crc32", 7},  {"atomics", 8},   {"fphp", 9},   {"asimdhp", 10},
    {"asimdrdm", 12},  {"jscvt", 13}, {"fcma", 14},     {"lrcpc", 15}, {"dcpop", 16},
    {"sha3", 17},      {"sm3", 18},   {"sm4", 19},      {"asimddp", 20}, {"sha512", 21},
    {"sve", 22},       {"asimdfhm", 23}, {"sve2", 64 + 1}, {"i8mm", 64 + 13}, {"bf16", 64 + 14},
    {"sme", 64 + 23},
};

bool cpu_has(const char *name) {
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (strcmp(features[i].name, name) == 0) {
            uint8_t bit = features[i].bit;
            return (bit < 64 ? getauxval(AT_HWCAP) : getauxval(AT_HWCAP2)) >> (bit & 63) & 1;
        }
    return false;
}
#endif
