/* Reading and writing the fields of messages: little-endian, and never beyond the end. */
#ifndef AGENT_FIELDS_H
#define AGENT_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HASH_BYTES = 32 };

/* A reader that was asked for more than there is has `bad` set, and gives zeros. */
typedef struct {
    const uint8_t *at, *end;
    bool bad;
} reader;

typedef struct {
    uint8_t *start, *at, *end;
    bool full; /* something did not fit */
} writer;

static inline const uint8_t *read_raw(reader *r, size_t size) {
    if (r->bad || size > (size_t)(r->end - r->at)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *found = r->at;
    r->at += size;
    return found;
}

/* Every target is little-endian, so that numbers are copied as they are. */
#define READER(name, type)                                    \
    static inline type read_##name(reader *r) {               \
        type value = 0;                                       \
        const uint8_t *from = read_raw(r, sizeof value);      \
        if (from) memcpy(&value, from, sizeof value);         \
        return value;                                         \
    }                                                         \
    static inline void write_##name(writer *w, type value) {  \
        if (sizeof value > (size_t)(w->end - w->at)) {        \
            w->full = true;                                   \
            return;                                           \
        }                                                     \
        memcpy(w->at, &value, sizeof value);                  \
        w->at += sizeof value;                                \
    }
READER(u8, uint8_t)
READER(u16, uint16_t)
READER(u32, uint32_t)
READER(i32, int32_t)
READER(u64, uint64_t)
READER(i64, int64_t)
READER(f64, double)
#undef READER

/* A `str` or `bytes`, in place; `*size` bytes, which nothing ends. */
static inline const uint8_t *read_bytes(reader *r, uint32_t *size) {
    *size = read_u32(r);
    const uint8_t *found = read_raw(r, *size);
    if (!found) *size = 0;
    return found;
}

static inline void write_raw(writer *w, const void *from, size_t size) {
    if (size > (size_t)(w->end - w->at)) {
        w->full = true;
        return;
    }
    if (size) memcpy(w->at, from, size);
    w->at += size;
}

static inline void write_bytes(writer *w, const void *from, uint32_t size) {
    write_u32(w, size);
    write_raw(w, from, size);
}

static inline void write_text(writer *w, const char *text) {
    write_bytes(w, text, (uint32_t)strlen(text));
}

#endif
