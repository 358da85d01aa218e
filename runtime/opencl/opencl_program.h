/* A GPU program in an artifact, as compiler/gpu/pack.py writes it: little-endian records of fixed
 * size, one kind after another, then names, compressed sources and constants. */
#ifndef ARMLET_OPENCL_PROGRAM_H
#define ARMLET_OPENCL_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRAM_VERSION = 1 };

/* Bits of program_header.needs. */
enum { NEEDS_FP16 = 1, NEEDS_IMAGES = 2, NEEDS_SUBGROUPS = 4, NEEDS_DOT8 = 8, NEEDS_ALL = 15 };

typedef struct {
    char magic[4];
    uint32_t version;
    uint64_t bytes; /* of all */
    uint64_t source_hash;
    uint64_t arena_bytes, peak_bytes;
    uint32_t needs;
    uint32_t options; /* in strings: of clBuildProgram */
    uint32_t source_count, kernel_count, buffer_count, launch_count, shape_count, argument_count;
    uint32_t input_count, output_count;
    uint32_t string_bytes, source_bytes, packed_bytes;
    uint32_t zero;
} program_header;

enum { IN_ARENA = 0, ALONE = 1, CONSTANT = 2 };
enum { DTYPE_FLOAT32 = 0, DTYPE_FLOAT16 = 1, DTYPE_COUNT = 5 };

/* An image if `width` is not 0: image2d_array_t if `layers` is not 0. */
typedef struct {
    uint64_t bytes;
    uint64_t offset; /* in the arena */
    uint32_t width, height, layers;
    uint32_t kind;
    uint32_t dtype;
    uint32_t zero;
} buffer_entry;

typedef struct {
    uint64_t expected_ns;
    uint32_t first_argument, argument_count;
    uint32_t first_shape, shape_count; /* at least 1; the first that the device can run is taken */
    uint32_t layer;                    /* in strings */
    uint32_t zero;
} launch_entry;

/* `local` is 0 where the driver chooses; unused dimensions are 1. */
typedef struct {
    uint32_t kernel;
    uint32_t dims;
    uint32_t global[3], local[3];
} shape_entry;

typedef struct {
    uint32_t source;
    uint32_t name; /* in strings */
} kernel_source;

/* Pointers into the program's bytes. */
typedef struct {
    const program_header *header;
    const buffer_entry *buffers;
    const launch_entry *launches;
    const shape_entry *shapes;
    const kernel_source *kernels;
    const uint32_t *arguments, *inputs, *outputs;
    const char *strings;
    const unsigned char *packed, *constants;
} program_view;

/* Checks every field, so that whoever reads the program need check none. Returns NULL, or what is wrong.
 * `data` begins at a multiple of 8 bytes. */
const char *program_open(const void *data, uint64_t bytes, program_view *program);

/* The sources, each ended by 0, one after another; the caller frees. NULL: no memory, or damaged. */
char *program_sources(const program_view *program);

/* The constant that follows one which ends at `offset` of program->constants (0: the first). */
uint64_t program_next_constant(uint64_t offset);

/* FNV-1a of 64 bits, on from `hash`. */
#define HASH_START 0xCBF29CE484222325u
uint64_t hash_more(uint64_t hash, const void *data, size_t bytes);

#endif
