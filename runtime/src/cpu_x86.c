#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#include <stdint.h>
#include <string.h>

#include "cpu.h"

/* Registers that cpuid answers in, and the parts of the register file that the OS must save. */
enum { L1C, L1D, L7B, L7C, L7D, L71A, EXT_C, WORDS };
enum { NONE = 0, YMM = 0x06, ZMM = 0xe6, TILE = 0x60000 };

static const struct {
    const char *name;
    uint8_t word, bit;
    uint32_t saved;
} features[] = {
    {"sse2", L1D, 26, NONE},
    {"pni", L1C, 0, NONE},
    {"sse3", L1C, 0, NONE},
    {"pclmulqdq", L1C, 1, NONE},
    {"ssse3", L1C, 9, NONE},
    {"fma", L1C, 12, YMM},
    {"cx16", L1C, 13, NONE},
    {"sse4_1", L1C, 19, NONE},
    {"sse4_2", L1C, 20, NONE},
    {"movbe", L1C, 22, NONE},
    {"popcnt", L1C, 23, NONE},
    {"aes", L1C, 25, NONE},
    {"avx", L1C, 28, YMM},
    {"f16c", L1C, 29, YMM},
    {"lahf_lm", EXT_C, 0, NONE},
    {"abm", EXT_C, 5, NONE},
    {"bmi1", L7B, 3, NONE},
    {"avx2", L7B, 5, YMM},
    {"bmi2", L7B, 8, NONE},
    {"avx512f", L7B, 16, ZMM},
    {"avx512dq", L7B, 17, ZMM},
    {"avx512ifma", L7B, 21, ZMM},
    {"avx512cd", L7B, 28, ZMM},
    {"sha_ni", L7B, 29, NONE},
    {"avx512bw", L7B, 30, ZMM},
    {"avx512vl", L7B, 31, ZMM},
    {"avx512vbmi", L7C, 1, ZMM},
    {"avx512_vbmi2", L7C, 6, ZMM},
    {"gfni", L7C, 8, NONE},
    {"vaes", L7C, 9, YMM},
    {"vpclmulqdq", L7C, 10, YMM},
    {"avx512_vnni", L7C, 11, ZMM},
    {"avx512_bitalg", L7C, 12, ZMM},
    {"avx512_vpopcntdq", L7C, 14, ZMM},
    {"amx_bf16", L7D, 22, TILE},
    {"avx512_fp16", L7D, 23, ZMM},
    {"amx_tile", L7D, 24, TILE},
    {"amx_int8", L7D, 25, TILE},
    {"avx_vnni", L71A, 4, YMM},
    {"avx512_bf16", L71A, 5, ZMM},
};

static void read_words(uint32_t words[WORDS]) {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    memset(words, 0, WORDS * sizeof *words);
    if (__get_cpuid(1, &a, &b, &c, &d)) words[L1C] = c, words[L1D] = d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        words[L7B] = b, words[L7C] = c, words[L7D] = d;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) words[L71A] = a;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) words[EXT_C] = c;
}

/* XCR0: the register state that the OS saves; readable if it has set OSXSAVE. */
static uint32_t saved_state(const uint32_t words[WORDS]) {
    if (!(words[L1C] >> 27 & 1)) return 0;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool cpu_has(const char *name) {
    uint32_t words[WORDS];
    read_words(words);
    uint32_t saved = saved_state(words);
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (strcmp(features[i].name, name) == 0)
            return (words[features[i].word] >> features[i].bit & 1) &&
                   (saved & features[i].saved) == features[i].saved;
    return false;
}
#endif
