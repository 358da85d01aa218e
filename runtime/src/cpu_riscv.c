#if defined(__riscv)
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "cpu.h"

/* Bytes of a vector register, which only those who have vectors may ask for. */
static uint64_t vector_bytes(void) {
    uint64_t bytes;
    __asm__(".option push\n.option arch, +v\ncsrr %0, vlenb\n.option pop" : "=r"(bytes));
    return bytes;
}

/* AT_HWCAP has a bit for each extension of one letter; "zvl256b" promises registers of 256 bits. */
bool cpu_has(const char *name) {
    uint64_t letters = getauxval(AT_HWCAP);
    if (strlen(name) == 1) return letters >> (name[0] - 'a') & 1;
    if (strncmp(name, "zvl", 3) != 0 || !(letters >> ('v' - 'a') & 1)) return false;
    uint64_t bits = 0;
    for (const char *c = name + 3; *c >= '0' && *c <= '9'; c++)
        bits = bits * 10 + (uint64_t)(*c - '0');
    return vector_bytes() * 8 >= bits;
}
#endif
