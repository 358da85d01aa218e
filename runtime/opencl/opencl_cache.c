/* A file is a header, the sizes of the binaries, and the binaries. A program has a few slots that it
 * may be in, chosen by its hash, so that the folder needs no list and no sweeping. */
#define _GNU_SOURCE
#include "opencl_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "opencl_program.h"

enum { CACHE_VERSION = 1, PATH_BYTES = 1024 };

typedef struct {
    char magic[4];
    uint32_t version;
    uint64_t source, device;
    uint64_t checksum; /* of all that follows the header */
    uint64_t bytes;    /* of the binaries */
    uint32_t count;
    uint32_t zero;
} file_header;

bool binaries_make(cache_binaries *b, uint32_t count, const uint64_t *sizes) {
    uint64_t total = 0;
    b->count = count;
    b->sizes = calloc((size_t)count + 1, sizeof *b->sizes);
    b->data = calloc((size_t)count + 1, sizeof *b->data);
    for (uint32_t i = 0; i < count; i++) {
        total = sizes[i] <= CACHE_FILE_BYTES ? total + sizes[i] : UINT64_MAX / 2;
        if (b->sizes) b->sizes[i] = (size_t)sizes[i];
    }
    b->memory = total <= CACHE_FILE_BYTES ? calloc((size_t)total + 1, 1) : NULL;
    if (!b->sizes || !b->data || !b->memory) {
        binaries_free(b);
        return false;
    }
    unsigned char *at = b->memory;
    for (uint32_t i = 0; i < count; at += b->sizes[i], i++) b->data[i] = at;
    return true;
}

void binaries_free(cache_binaries *b) {
    free(b->sizes);
    free(b->data);
    free(b->memory);
    *b = (cache_binaries){0};
}

static bool path_of(char path[PATH_BYTES], const char *folder, const cache_key *key, uint32_t way,
                    const char *suffix) {
    uint32_t slot = (uint32_t)(key->source >> (16 * way)) % CACHE_SLOTS;
    int length = snprintf(path, PATH_BYTES, "%s/armlet-gpu-%02u%s", folder, slot, suffix);
    return length > 0 && length < PATH_BYTES;
}

static bool read_all(int file, void *to, size_t bytes) {
    unsigned char *at = to;
    while (bytes) {
        ssize_t got = read(file, at, bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

static bool write_all(int file, const void *from, size_t bytes) {
    const unsigned char *at = from;
    while (bytes) {
        ssize_t put = write(file, at, bytes);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        at += put;
        bytes -= (size_t)put;
    }
    return true;
}

static uint64_t checksum(const uint64_t *sizes, uint32_t count, const void *data, size_t bytes) {
    uint64_t hash = hash_more(HASH_START, sizes, count * sizeof *sizes);
    return hash_more(hash, data, bytes);
}

static bool is_header(const file_header *h) {
    return memcmp(h->magic, "ARCB", 4) == 0 && h->version == CACHE_VERSION && !h->zero;
}

static bool is_for(const file_header *h, const cache_key *key) {
    return h->source == key->source && h->device == key->device;
}

/* The binaries behind a header. */
static bool read_binaries(int file, const file_header *h, uint32_t count, cache_binaries *b) {
    if (h->count != count || h->bytes > CACHE_FILE_BYTES) return false;
    uint64_t *sizes = calloc((size_t)count + 1, sizeof *sizes), total = 0;
    bool whole = sizes && read_all(file, sizes, count * sizeof *sizes) && binaries_make(b, count, sizes);
    for (uint32_t i = 0; whole && i < count; i++) total += sizes[i];
    if (whole)
        whole = total == h->bytes && read_all(file, b->memory, (size_t)total) &&
                checksum(sizes, count, b->memory, (size_t)total) == h->checksum;
    if (!whole) binaries_free(b);
    free(sizes);
    return whole;
}

bool cache_load(const char *folder, const cache_key *key, uint32_t count, cache_binaries *b,
                const char **why) {
    bool found = false;
    *why = NULL;
    *b = (cache_binaries){0};
    for (uint32_t way = 0; way < CACHE_WAYS && !found; way++) {
        char path[PATH_BYTES];
        file_header h;
        if (!path_of(path, folder, key, way, "")) continue;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        if (!read_all(file, &h, sizeof h) || !is_header(&h))
            *why = "a file in the GPU cache was damaged";
        else if (h.source == key->source && h.device != key->device)
            *why = "the GPU cache was made by another driver or device";
        else if (is_for(&h, key) && !(found = read_binaries(file, &h, count, b)))
            *why = "a file in the GPU cache was damaged";
        close(file);
    }
    if (found) *why = NULL;
    return found;
}

/* The slot to write: this program's own, else a free or worthless one, else the first. */
static uint32_t slot_for(const char *folder, const cache_key *key) {
    uint32_t best = 0, best_worth = 4;
    for (uint32_t way = 0; way < CACHE_WAYS; way++) {
        char path[PATH_BYTES];
        file_header h;
        uint32_t worth = 1;
        if (!path_of(path, folder, key, way, "")) continue;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            bool valid = read_all(file, &h, sizeof h) && is_header(&h);
            worth = !valid ? 1 : h.source == key->source ? 0 : h.device != key->device ? 2 : 3;
            close(file);
        }
        if (worth < best_worth) {
            best = way;
            best_worth = worth;
        }
    }
    return best;
}

static bool write_file(int file, const cache_key *key, const cache_binaries *b) {
    uint64_t *sizes = calloc((size_t)b->count + 1, sizeof *sizes);
    if (!sizes) return false;
    file_header h = {{'A', 'R', 'C', 'B'}, CACHE_VERSION, key->source, key->device, 0, 0, b->count, 0};
    for (uint32_t i = 0; i < b->count; i++) h.bytes += sizes[i] = b->sizes[i];
    h.checksum = checksum(sizes, b->count, b->memory, (size_t)h.bytes);
    bool written = write_all(file, &h, sizeof h) && write_all(file, sizes, b->count * sizeof *sizes) &&
                   write_all(file, b->memory, (size_t)h.bytes);
    free(sizes);
    return written;
}

const char *cache_store(const char *folder, const cache_key *key, const cache_binaries *b) {
    char path[PATH_BYTES], beside[PATH_BYTES];
    uint32_t way = slot_for(folder, key);
    if (!path_of(path, folder, key, way, "") || !path_of(beside, folder, key, way, ".new"))
        return "the name of the GPU cache's folder is too long";
    int file = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 && errno == EEXIST) {
        /* Somebody writes it just now, or died doing so: the next open finds the place free. A file
         * that two wrote at once is found out by its checksum. */
        unlink(beside);
        return "the GPU cache is being written by another process";
    }
    if (file < 0) return "the GPU cache cannot be written";
    bool written = write_file(file, key, b);
    if (close(file) != 0) written = false;
    if (written && rename(beside, path) == 0) return NULL;
    unlink(beside);
    return "the GPU cache cannot be written";
}
