#include "difference.h"

#include <stdio.h>

#include "../include/armlet.h"

static double half(uint16_t h) {
    uint32_t exponent = h >> 10 & 31, fraction = h & 0x3ff;
    double sign = h >> 15 ? -1 : 1;
    if (exponent == 31) return fraction ? __builtin_nan("") : sign * __builtin_inf();
    if (exponent == 0) return sign * fraction * 0x1p-24;
    return sign * (double)(fraction | 0x400) * (double)(1u << exponent) * 0x1p-25;
}

static double element(const uint8_t *data, uint32_t dtype, uint64_t index) {
    uint16_t bits;
    float single;
    double real;
    switch (dtype) {
    case ARMLET_FLOAT16: memcpy(&bits, data + index * sizeof bits, sizeof bits); return half(bits);
    case ARMLET_FLOAT32: memcpy(&single, data + index * sizeof single, sizeof single); return (double)single;
    default: memcpy(&real, data + index * sizeof real, sizeof real); return real;
    }
}

bool difference_none(const workload *w, const uint8_t *got, char *reason, size_t size) {
    static const uint8_t widths[] = {0, 2, 4, 8};
    if (w->dtype > ARMLET_FLOAT64) {
        snprintf(reason, size, "its answer differs");
        return memcmp(got, w->right, (size_t)w->right_bytes) == 0;
    }
    double largest = 1e-30, worst = 0;
    for (uint64_t i = 0; i < w->right_bytes / widths[w->dtype]; i++) {
        double want = element(w->right, w->dtype, i);
        double error = __builtin_fabs(element(got, w->dtype, i) - want);
        if (!(error <= worst)) worst = error; /* so that NaN is the worst, and stays */
        if (worst != worst) break;
        if (__builtin_fabs(want) > largest) largest = __builtin_fabs(want);
    }
    snprintf(reason, size, "its answer differs by %.2g of the range", worst / largest);
    return worst <= w->tolerance * largest;
}
