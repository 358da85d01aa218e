/* Compiled programs, kept in a folder that the application names.
 *
 * The folder never holds more than CACHE_SLOTS files of CACHE_FILE_BYTES. A file is believed only if it is
 * for this device, driver and source, and if its checksum is right; another is ignored and replaced. */
#ifndef ARMLET_OPENCL_CACHE_H
#define ARMLET_OPENCL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CACHE_SLOTS = 64, CACHE_WAYS = 4, CACHE_FILE_BYTES = 8 << 20 };

typedef struct {
    uint64_t source, device;
} cache_key;

/* What the driver made of each source. */
typedef struct {
    uint32_t count;
    size_t *sizes;
    unsigned char **data; /* in memory */
    unsigned char *memory;
} cache_binaries;

/* Room for `count` binaries of the sizes that `sizes` tells of. */
bool binaries_make(cache_binaries *b, uint32_t count, const uint64_t *sizes);
void binaries_free(cache_binaries *b);

/* True if the folder has the `count` binaries of this key; they are to be freed. Otherwise `*why` is
 * NULL, or tells of a file that was there and is ignored. */
bool cache_load(const char *folder, const cache_key *key, uint32_t count, cache_binaries *b,
                const char **why);

/* Writes beside and renames. Returns NULL, or why they are not kept. */
const char *cache_store(const char *folder, const cache_key *key, const cache_binaries *b);

#endif
