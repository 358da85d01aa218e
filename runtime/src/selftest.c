/* Inputs by a formula that compiler/link/selftest.py repeats bit for bit, and the comparison with
 * the answers that it kept. Little-endian, as every target. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "instance.h"

static size_t width_of(uint16_t dtype) {
    static const uint8_t widths[] = {1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1};
    return widths[dtype];
}

/* SplitMix64, as a function of a counter. */
static uint64_t random_bits(uint64_t seed, int32_t input, uint64_t element) {
    uint64_t z = seed + (uint64_t)input * 0xd1342543de82ef95u + (element + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Reals in [-1, 1), exact in their type; halves with magnitudes in [0.5, 1); bytes of any value;
 * wider integers 0 or 1, which is a legal index or length nearly everywhere. */
static uint64_t random_element(uint16_t dtype, uint64_t z) {
    double real = (double)(z >> 40) * 0x1p-23 - 1;
    float single = (float)real;
    uint64_t bits = 0;
    switch (dtype) {
    case ARMLET_FLOAT16: return z >> 63 << 15 | 14 << 10 | (z >> 53 & 0x3ff);
    case ARMLET_FLOAT32: memcpy(&bits, &single, sizeof single); return bits;
    case ARMLET_FLOAT64: memcpy(&bits, &real, sizeof real); return bits;
    case ARMLET_INT8: case ARMLET_UINT8: return z >> 56;
    default: return z >> 63;
    }
}

static void fill(unsigned char *to, const tensor_entry *t, int32_t input) {
    size_t width = width_of(t->dtype);
    for (uint64_t i = 0; i < t->bytes / width; i++) {
        uint64_t z = random_bits(armlet_model.selftest_seed, input, i);
        uint64_t bits = random_element(t->dtype, z);
        memcpy(to + i * width, &bits, width);
    }
}

static double from_half(uint16_t h) {
    uint32_t exponent = h >> 10 & 31, fraction = h & 0x3ff;
    double sign = h >> 15 ? -1 : 1;
    if (exponent == 31) return fraction ? __builtin_nan("") : sign * __builtin_inf();
    if (exponent == 0) return sign * fraction * 0x1p-24;
    return sign * (double)(fraction | 0x400) * (double)(1 << exponent) * 0x1p-25;
}

static double read_element(const unsigned char *data, uint16_t dtype, uint64_t index) {
    size_t width = width_of(dtype);
    uint64_t bits = 0;
    float single;
    double real;
    memcpy(&bits, data + index * width, width);
    switch (dtype) {
    case ARMLET_FLOAT16: return from_half((uint16_t)bits);
    case ARMLET_FLOAT32: memcpy(&single, &bits, sizeof single); return (double)single;
    case ARMLET_FLOAT64: memcpy(&real, &bits, sizeof real); return real;
    case ARMLET_INT8: return (int8_t)bits;
    case ARMLET_INT16: return (int16_t)bits;
    case ARMLET_INT32: return (int32_t)bits;
    case ARMLET_INT64: return (double)(int64_t)bits;
    default: return (double)bits;
    }
}

static double error_of(double actual, double expected) {
    if (actual == expected || (actual != actual && expected != expected)) return 0;
    double error = actual > expected ? actual - expected : expected - actual;
    return error == error ? error : __builtin_inf();
}

static void compare(const unsigned char *data, const tensor_entry *t, const expectation_entry *e,
                    armlet_selftest_report *report, double *worst) {
    for (uint32_t i = 0; i < e->count; i++) {
        double expected = armlet_model.selftest_values[e->first + i];
        double actual = read_element(data, t->dtype, i * e->stride);
        double error = error_of(actual, expected);
        report->compared++;
        if (!(error <= e->tolerance)) report->wrong++;
        if (error <= *worst) continue;
        *worst = error;
        report->output = text_of(t->name);
        report->element = i * e->stride;
        report->expected = expected;
        report->actual = actual;
        report->tolerance = e->tolerance;
    }
}

/* Bases for a run of its own: inputs one after the other in `buffer`, outputs of the instance. */
static void rebase(const armlet_instance *m, unsigned char **bases, unsigned char *buffer) {
    bases[BASE_ARENA] = m->bases[BASE_ARENA];
    bases[BASE_CONSTANTS] = m->bases[BASE_CONSTANTS];
    for (int32_t i = 0; i < armlet_model.input_count; i++) {
        bases[BASE_INPUTS + i] = buffer;
        fill(buffer, &armlet_model.inputs[i], i);
        buffer += padded(armlet_model.inputs[i].bytes);
    }
    for (int32_t i = 0; i < armlet_model.output_count; i++)
        bases[BASE_INPUTS + armlet_model.input_count + i] = m->own_outputs[i];
}

static armlet_status run_and_compare(armlet_instance *m, armlet_selftest_report *report) {
    double worst = -1;
    armlet_status status = execute(m);
    if (status != ARMLET_OK) return status;
    for (int32_t i = 0; i < armlet_model.output_count; i++)
        compare(m->own_outputs[i], &armlet_model.outputs[i], &armlet_model.selftest[i], report, &worst);
    if (!report->wrong) return ARMLET_OK;
    return fail(m, ARMLET_ERROR_SELFTEST,
                "%llu of %llu elements are wrong; output '%.60s', element %llu: %g, expected %g",
                (unsigned long long)report->wrong, (unsigned long long)report->compared,
                report->output, (unsigned long long)report->element, report->actual,
                report->expected);
}

armlet_status armlet_selftest(armlet_instance *m, armlet_selftest_report *report) {
    armlet_selftest_report found = {0};
    if (!m) return ARMLET_ERROR_ARGUMENT;
    if (!armlet_model.selftest)
        return fail(m, ARMLET_ERROR_UNSUPPORTED, "the artifact was built without a self-test");
    if (report && give(report, &found, sizeof found) != ARMLET_OK)
        return fail(m, ARMLET_ERROR_ARGUMENT, "the report's struct_size is impossible");
    if (atomic_exchange(&m->busy, true)) return ARMLET_ERROR_BUSY;
    atomic_store(&m->cancelled, false);
    uint64_t bytes = CACHE_LINE;
    for (int32_t i = 0; i < armlet_model.input_count; i++)
        bytes += padded(armlet_model.inputs[i].bytes);
    int32_t bases = BASE_INPUTS + armlet_model.input_count + armlet_model.output_count;
    unsigned char **own = calloc((size_t)bases, sizeof *own), **callers = m->bases;
    void *buffer = NULL;
    armlet_status status = ARMLET_ERROR_MEMORY;
    if (own && posix_memalign(&buffer, CACHE_LINE, (size_t)bytes) == 0) {
        rebase(m, own, buffer);
        m->bases = own;
        status = run_and_compare(m, &found);
        m->bases = callers;
    }
    free(buffer);
    free(own);
    atomic_store(&m->busy, false);
    if (report) give(report, &found, sizeof found);
    return status;
}
