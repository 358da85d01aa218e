/* What the runtime uses of a C library, where there is none: memory, and the text of messages. */
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory: blocks behind one another, first fit; neighbours that are free become one. A block
 * is a header, then its bytes; both begin on a cache line, as vectors and arenas like it. */

enum { LINE = 64, PAGE = 64 << 10 };

typedef struct {
    alignas(LINE) size_t bytes; /* behind the header; a multiple of LINE */
    bool used;
} block;

extern unsigned char __heap_base;
static block *first;
static unsigned char *end;

static block *after(block *b) { return (block *)((unsigned char *)(b + 1) + b->bytes); }
static bool is_last(block *b) { return (unsigned char *)after(b) >= end; }

static void absorb(block *b) {
    while (!is_last(b) && !after(b)->used) b->bytes += sizeof(block) + after(b)->bytes;
}

/* A free block at the end of all, of at least `bytes`. */
static block *grow(size_t bytes) {
    unsigned char *start = end;
    if (!first) start = (unsigned char *)(((uintptr_t)&__heap_base + LINE - 1) / LINE * LINE);
    size_t has = (size_t)__builtin_wasm_memory_size(0) * PAGE - (size_t)(uintptr_t)start;
    size_t wants = bytes + sizeof(block);
    if (first || has < wants) {
        size_t more = first ? wants : wants - has;
        size_t pages = (more + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX) return NULL;
        has = (first ? 0 : has) + pages * PAGE;
    }
    block *made = (block *)start;
    made->bytes = has / LINE * LINE - sizeof(block);
    made->used = false;
    end = (unsigned char *)after(made);
    if (!first) first = made;
    return made;
}

void *malloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX) return NULL;
    bytes = (bytes + LINE - 1) / LINE * LINE;
    block *b = first;
    for (; b; b = is_last(b) ? NULL : after(b)) {
        if (b->used) continue;
        absorb(b);
        if (b->bytes >= bytes) break;
    }
    if (!b && !(b = grow(bytes))) return NULL;
    if (b->bytes - bytes > sizeof(block)) {
        size_t rest = b->bytes - bytes - sizeof(block);
        b->bytes = bytes;
        after(b)->bytes = rest;
        after(b)->used = false;
    }
    b->used = true;
    return b + 1;
}

void free(void *memory) {
    if (memory) ((block *)memory - 1)->used = false;
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    void *memory = malloc(bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    return alignment > LINE || !(*memory = malloc(bytes));
}

/* ---- Strings. With bulk memory, the compiler makes one instruction of each of the first three. */

void *memcpy(void *to, const void *from, size_t n) { return __builtin_memcpy(to, from, n); }
void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }
void *memset(void *to, int value, size_t n) { return __builtin_memset(to, value, n); }

size_t strlen(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

/* ---- Text: %d, %llu, %s, %.Ns and %g, which are what messages are made of. */

typedef struct {
    char *text;
    size_t room, used;
} sink;

static void put(sink *s, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++, s->used++)
        if (s->used + 1 < s->room) s->text[s->used] = text[i];
}

static void put_number(sink *s, uint64_t value, int digits) {
    char text[20];
    size_t at = sizeof text;
    for (; value || digits > 0; value /= 10, digits--) text[--at] = (char)('0' + value % 10);
    put(s, text + at, sizeof text - at);
}

/* Six digits, always with an exponent: 1.50000e-3. */
static void put_real(sink *s, double value) {
    if (value < 0) put(s, "-", 1), value = -value;
    if (!(value <= 1.7976931348623157e308)) {
        put(s, value == value ? "inf" : "nan", 3);
        return;
    }
    int exponent = 0;
    for (; value >= 10; value /= 10) exponent++;
    for (; value > 0 && value < 1; value *= 10) exponent--;
    uint64_t digits = (uint64_t)(value * 1e5 + .5);
    put_number(s, digits / 100000, 1);
    put(s, ".", 1);
    put_number(s, digits % 100000, 5);
    if (!exponent) return;
    put(s, exponent < 0 ? "e-" : "e", exponent < 0 ? 2 : 1);
    put_number(s, (uint64_t)(exponent < 0 ? -exponent : exponent), 1);
}

static void put_text(sink *s, const char *text, size_t most) {
    size_t n = 0;
    while (n < most && text[n]) n++;
    put(s, text, n);
}

int vsnprintf(char *text, size_t room, const char *format, va_list arguments) {
    sink s = {text, room, 0};
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            put(&s, f, 1);
            continue;
        }
        size_t most = SIZE_MAX;
        if (*++f == '.')
            for (most = 0, f++; *f >= '0' && *f <= '9'; f++) most = most * 10 + (size_t)(*f - '0');
        if (*f == 's') put_text(&s, va_arg(arguments, const char *), most);
        if (*f == 'g') put_real(&s, va_arg(arguments, double));
        if (*f == 'l') f += 2, put_number(&s, va_arg(arguments, unsigned long long), 1);
        if (*f == 'd') {
            int value = va_arg(arguments, int);
            if (value < 0) put(&s, "-", 1);
            put_number(&s, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
        }
    }
    if (room) text[s.used < room ? s.used : room - 1] = 0;
    return (int)s.used;
}

int snprintf(char *text, size_t room, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, room, format, arguments);
    va_end(arguments);
    return used;
}
