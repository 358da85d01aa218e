/* What the compiler tells the executor: read-only tables, written as C by compiler/link/tables.py.
 *
 * References are indices and offsets, not pointers, so that the tables need no relocation and
 * stay shared between processes. Both sides are built together; ARMLET_FORMAT guards a mix-up.
 */
#ifndef ARMLET_TABLES_H
#define ARMLET_TABLES_H

#include <stdint.h>

#include "armlet_npu.h"

#define ARMLET_FORMAT 2

/* Calls a kernel on [begin, end) of its parallel axis. The tables have one for each kernel: it spreads
 * the pointers out to `kernel(p[0], p[1], ..., begin, end, scratch)`. */
typedef void kernel_code(void *const *p, int32_t begin, int32_t end, void *scratch);

typedef struct {
    uint64_t bytes;
    uint32_t name;   /* in strings */
    uint32_t source; /* in strings: the layer's name */
    uint32_t shape;  /* in extents */
    uint16_t rank;
    uint16_t dtype;
} tensor_entry;

/* An address: `offset` bytes into one of the bases. */
typedef struct {
    uint64_t offset;
    uint32_t base;
} location_entry;

/* Bases: the arena, the constants, then every input, then every output. */
enum { BASE_ARENA = 0, BASE_CONSTANTS = 1, BASE_INPUTS = 2 };

typedef struct {
    kernel_code *code;
    uint32_t template_name; /* in strings */
    uint32_t pointers;
    int32_t extent; /* of the parallel axis */
    int32_t ways;   /* threads that the work is worth, 1 .. extent */
} kernel_entry;

/* Where the processor has the features, `better` takes the place of `kernel`. Of several versions
 * of a kernel the last one that can run does. */
typedef struct {
    uint32_t kernel, better;
    uint32_t first_feature, feature_count; /* in features */
} version_entry;

typedef struct {
    uint32_t kernel;
    uint32_t arguments; /* in locations; the last one is the value's */
    tensor_entry value;
} task_entry;

/* Tasks that an accelerator does in one step, where it is there. Regions are in the order of their
 * tasks and share none. */
typedef struct {
    const armlet_npu_api *api;
    uint64_t blob, blob_bytes; /* in constants */
    int32_t first_task, task_count;
    uint32_t inputs, outputs; /* in locations */
    int32_t input_count, output_count;
    uint32_t name, back_end; /* in strings */
} region_entry;

/* Expected elements 0, stride, 2 * stride, ... of an output. */
typedef struct {
    double tolerance; /* absolute */
    uint64_t stride;
    uint32_t first; /* in selftest_values */
    uint32_t count;
} expectation_entry;

typedef struct {
    uint32_t format;
    int32_t input_count, output_count, task_count, region_count;
    int32_t ways;           /* the most that any kernel has, at least 1 */
    uint32_t most_pointers; /* that any kernel has */
    uint32_t feature_count; /* that the model needs: the first of features */
    uint32_t kernel_count, version_count;
    uint64_t arena_bytes, scratch_bytes; /* multiples of a cache line; scratch is a thread's */
    const tensor_entry *inputs, *outputs;
    const kernel_entry *kernels;
    const version_entry *versions;
    const task_entry *tasks;
    const region_entry *regions;
    const location_entry *locations;
    const int64_t *extents;
    const char *strings;
    const uint32_t *features; /* in strings: names as in /proc/cpuinfo */
    const unsigned char *constants;
    const char *manifest;
    uint64_t manifest_size;
    uint64_t selftest_seed;
    const expectation_entry *selftest; /* one an output; NULL: there is no self-test */
    const double *selftest_values;
} model_tables;

extern const model_tables armlet_model __attribute__((visibility("hidden")));

#endif
