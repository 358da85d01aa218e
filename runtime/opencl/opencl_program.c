/* The reader of GPU programs: nothing in them is believed before it is checked. */
#include "opencl_program.h"

#include <stdlib.h>
#include <string.h>

#include "inflate.h"

/* As in compiler/gpu/program.py. */
#define MOST_BYTES ((uint64_t)1 << 40)
enum {
    MOST_SOURCES = 1 << 12,
    MOST_ENTRIES = 1 << 16,
    MOST_SHAPES = 1 << 18,
    MOST_ALL_ARGUMENTS = 1 << 20,
    MOST_BOUNDARY = 1 << 10,
    MOST_ARGUMENTS = 64,
    MOST_TEXT = 64 << 20,
    MOST_EXTENT = 1 << 30,
    MOST_SIDE = 1 << 16,
    ALIGNMENT = 64,
};

_Static_assert(sizeof(program_header) == 96, "as in pack.py");
_Static_assert(sizeof(buffer_entry) == 40, "as in pack.py");
_Static_assert(sizeof(launch_entry) == 32, "as in pack.py");
_Static_assert(sizeof(shape_entry) == 32, "as in pack.py");
_Static_assert(sizeof(kernel_source) == 8, "as in pack.py");

uint64_t hash_more(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (; bytes; bytes--) hash = (hash ^ *at++) * 0x100000001B3u;
    return hash;
}

uint64_t program_next_constant(uint64_t offset) {
    return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

typedef struct {
    const unsigned char *at, *end;
} cursor;

/* The next `count` records; NULL if they are not all there. */
static const void *take(cursor *c, uint64_t count, uint64_t size) {
    const void *found = c->at;
    if (!found || count * size > (uint64_t)(c->end - c->at)) return c->at = NULL;
    c->at += count * size;
    return found;
}

static const char *check_header(const program_header *h, uint64_t bytes) {
    if (memcmp(h->magic, "ARCL", 4) != 0) return "it is no GPU program";
    if (h->version != PROGRAM_VERSION) return "it is a GPU program of another version";
    bool fits = h->bytes == bytes && h->source_count <= MOST_SOURCES &&
                h->kernel_count <= MOST_ENTRIES && h->buffer_count <= MOST_ENTRIES &&
                h->launch_count <= MOST_ENTRIES && h->shape_count <= MOST_SHAPES &&
                h->argument_count <= MOST_ALL_ARGUMENTS && h->input_count <= MOST_BOUNDARY &&
                h->output_count <= MOST_BOUNDARY && h->source_bytes <= MOST_TEXT + MOST_SOURCES &&
                h->arena_bytes <= 2 * MOST_BYTES;
    if (!fits) return "its header is damaged";
    return h->needs & ~(uint32_t)NEEDS_ALL ? "it needs a feature that this runtime does not know" : NULL;
}

static bool is_text(const program_view *p, uint32_t at) { return at < p->header->string_bytes; }

static bool image_fits(const buffer_entry *b) {
    if (!b->width) return !b->height && !b->layers;
    if (b->width > MOST_SIDE || b->height > MOST_SIDE || !b->height || b->layers > MOST_SIDE) return false;
    if (b->dtype > DTYPE_FLOAT16 || b->kind == IN_ARENA) return false;
    uint64_t texels = (uint64_t)b->width * b->height * (b->layers ? b->layers : 1);
    return b->bytes == texels * (b->dtype == DTYPE_FLOAT32 ? 16 : 8);
}

static bool buffers_fit(const program_view *p) {
    uint64_t constant = 0, room = p->header->bytes - (uint64_t)(p->constants - (const unsigned char *)p->header);
    for (uint32_t i = 0; i < p->header->buffer_count; i++) {
        const buffer_entry *b = &p->buffers[i];
        if (!b->bytes || b->bytes > MOST_BYTES || b->offset > MOST_BYTES || b->kind > CONSTANT ||
            b->dtype >= DTYPE_COUNT || !image_fits(b))
            return false;
        if (b->kind == IN_ARENA && b->offset + b->bytes > p->header->arena_bytes) return false;
        if (b->kind == CONSTANT) {
            constant = program_next_constant(constant) + b->bytes;
            if (constant > room) return false;
        }
    }
    return true;
}

static bool shape_fits(const program_view *p, const shape_entry *s) {
    if (s->kernel >= p->header->kernel_count || !s->dims || s->dims > 3) return false;
    for (uint32_t d = 0; d < 3; d++) {
        if (!s->global[d] || s->global[d] > MOST_EXTENT || (d >= s->dims && s->global[d] != 1)) return false;
        if (!s->local[d] != !s->local[0]) return false;
        if (s->local[d] && s->global[d] % s->local[d]) return false;
    }
    return true;
}

static bool launches_fit(const program_view *p) {
    const program_header *h = p->header;
    for (uint32_t i = 0; i < h->shape_count; i++)
        if (!shape_fits(p, &p->shapes[i])) return false;
    for (uint32_t i = 0; i < h->argument_count; i++)
        if (p->arguments[i] >= h->buffer_count) return false;
    for (uint32_t i = 0; i < h->launch_count; i++) {
        const launch_entry *l = &p->launches[i];
        if (!l->shape_count || !is_text(p, l->layer) || l->argument_count > MOST_ARGUMENTS ||
            (uint64_t)l->first_argument + l->argument_count > h->argument_count ||
            (uint64_t)l->first_shape + l->shape_count > h->shape_count)
            return false;
    }
    return true;
}

static bool kernels_fit(const program_view *p) {
    for (uint32_t i = 0; i < p->header->kernel_count; i++)
        if (p->kernels[i].source >= p->header->source_count || !is_text(p, p->kernels[i].name)) return false;
    return true;
}

static bool boundary_fits(const program_view *p, const uint32_t *places, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (places[i] >= p->header->buffer_count) return false;
        const buffer_entry *b = &p->buffers[places[i]];
        if (b->width || b->kind == CONSTANT || b->dtype != DTYPE_FLOAT32) return false;
    }
    return true;
}

static uint64_t source_hash(const program_view *p) {
    const char *options = p->strings + p->header->options;
    uint64_t hash = hash_more(HASH_START, options, strlen(options) + 1);
    return hash_more(hash, p->packed, p->header->packed_bytes);
}

const char *program_open(const void *data, uint64_t bytes, program_view *p) {
    cursor c = {data, (const unsigned char *)data + bytes};
    if ((uintptr_t)data % 8) return "its place in memory is not aligned";
    const program_header *h = p->header = take(&c, 1, sizeof *h);
    if (!h) return "it is cut short";
    const char *wrong = check_header(h, bytes);
    if (wrong) return wrong;
    p->buffers = take(&c, h->buffer_count, sizeof *p->buffers);
    p->launches = take(&c, h->launch_count, sizeof *p->launches);
    p->shapes = take(&c, h->shape_count, sizeof *p->shapes);
    p->kernels = take(&c, h->kernel_count, sizeof *p->kernels);
    p->arguments = take(&c, h->argument_count, sizeof *p->arguments);
    p->inputs = take(&c, h->input_count, sizeof *p->inputs);
    p->outputs = take(&c, h->output_count, sizeof *p->outputs);
    p->strings = take(&c, h->string_bytes, 1);
    p->packed = take(&c, h->packed_bytes, 1);
    if (!p->packed) return "it is cut short";
    uint64_t place = program_next_constant((uint64_t)(c.at - (const unsigned char *)data));
    p->constants = (const unsigned char *)data + (place < bytes ? place : bytes);
    if (!is_text(p, h->options) || p->strings[h->string_bytes - 1]) return "its names are damaged";
    if (!buffers_fit(p)) return "its buffers are damaged";
    if (!launches_fit(p) || !kernels_fit(p)) return "its launches are damaged";
    if (!boundary_fits(p, p->inputs, h->input_count) || !boundary_fits(p, p->outputs, h->output_count))
        return "its inputs or outputs are damaged";
    return source_hash(p) == h->source_hash ? NULL : "its sources are damaged";
}

char *program_sources(const program_view *p) {
    const program_header *h = p->header;
    char *text = malloc((size_t)h->source_bytes + 1);
    if (!text) return NULL;
    uint32_t ends = 0;
    bool whole = inflate(p->packed, h->packed_bytes, (unsigned char *)text, h->source_bytes);
    for (uint32_t i = 0; whole && i < h->source_bytes; i++) ends += !text[i];
    if (whole && ends == h->source_count && (!ends || !text[h->source_bytes - 1])) return text;
    free(text);
    return NULL;
}
