#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../include/armlet.h"

#define MOST_SCRATCH ((uint64_t)1 << 30)

/* Zeroed room for so many things, of which each takes at least `least` bytes of the message. */
static void *room(reader *r, uint32_t count, size_t least, size_t size) {
    if (count > (size_t)(r->end - r->at) / least) r->bad = true;
    return r->bad ? NULL : calloc((size_t)count + 1, size);
}

/* A blob, mapped; an empty one is a pointer all the same. */
static outcome read_blob(session *s, reader *r, const void **data, uint64_t *bytes, char *reason, size_t size) {
    const uint8_t *hash = read_raw(r, HASH_BYTES);
    *bytes = read_u64(r);
    if (r->bad) return REFUSED;
    *data = store_map(s, hash, *bytes);
    if (*data) return OK;
    snprintf(reason, size, "there is no blob %02x%02x%02x%02x… of %llu bytes", hash[0], hash[1], hash[2],
             hash[3], (unsigned long long)*bytes);
    return MISSING;
}

static bool answers(const workload *w) {
    static const uint8_t widths[] = {0, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1};
    return w->dtype && w->dtype < sizeof widths && w->right_bytes % widths[w->dtype] == 0 &&
           w->tolerance >= 0;
}

static outcome read_workload(workload *w, session *s, reader *r, char *reason, size_t size) {
    uint32_t count = read_u32(r);
    w->operands = room(r, count, HASH_BYTES + 9, sizeof *w->operands);
    if (!w->operands) return REFUSED;
    for (; w->count < count; w->count++) {
        operand *o = &w->operands[w->count];
        outcome status = read_blob(s, r, &o->data, &o->bytes, reason, size);
        if (status != OK) return status;
        o->constant = read_u8(r);
    }
    outcome status = read_blob(s, r, &w->right, &w->right_bytes, reason, size);
    w->dtype = read_u32(r);
    w->tolerance = read_f64(r);
    return status != OK || answers(w) ? status : REFUSED;
}

static bool read_candidate(const batch *b, candidate *c, reader *r) {
    c->workload = read_u32(r);
    c->index = read_u32(r);
    c->extent = read_i32(r);
    c->scratch = read_u64(r);
    c->best = read_f64(r);
    return !r->bad && c->workload < b->workload_count && c->extent > 0 && c->scratch <= MOST_SCRATCH;
}

static bool read_rules(batch *b, const session *s, reader *r) {
    b->races = read_u32(r);
    b->turns = read_u32(r);
    b->most = read_f64(r);
    b->patience = read_f64(r);
    b->baseline_every = read_u32(r);
    b->cpu_count = read_u32(r);
    b->cpus = room(r, b->cpu_count, sizeof *b->cpus, sizeof *b->cpus);
    if (!b->cpus) return false;
    for (uint32_t i = 0; i < b->cpu_count; i++) b->cpus[i] = read_i32(r);
    const uint8_t *id = read_raw(r, HASH_BYTES);
    if (!id || r->at != r->end) return false;
    memcpy(b->id, id, HASH_BYTES);
    return b->turns && b->turns <= MOST_TURNS && b->most >= 0 && b->patience > 0 &&
           b->patience * 1000 <= s->settings->deadline_ms;
}

outcome batch_read(batch *b, session *s, reader *r, char *reason, size_t size) {
    memset(b, 0, sizeof *b);
    snprintf(reason, size, "the batch is malformed");
    const uint8_t *library = read_raw(r, HASH_BYTES);
    uint32_t count = read_u32(r);
    b->workloads = room(r, count, HASH_BYTES + 24, sizeof *b->workloads);
    if (!b->workloads) return REFUSED;
    while (b->workload_count < count) {
        outcome status = read_workload(&b->workloads[b->workload_count++], s, r, reason, size);
        if (status != OK) return status;
    }
    count = read_u32(r);
    b->candidates = room(r, count, 28, sizeof *b->candidates);
    if (!b->candidates) return REFUSED;
    for (; b->candidate_count < count; b->candidate_count++)
        if (!read_candidate(b, &b->candidates[b->candidate_count], r)) return REFUSED;
    if (!read_rules(b, s, r)) return REFUSED;
    if (store_path(s, library, b->library)) return OK;
    snprintf(reason, size, "the library is not here");
    return MISSING;
}

static void unmap(const void *data, uint64_t bytes) {
    if (data && bytes) munmap((void *)(uintptr_t)data, (size_t)bytes);
}

void batch_free(batch *b) {
    for (uint32_t i = 0; i < b->workload_count; i++) {
        workload *w = &b->workloads[i];
        /* one more than was read whole: a blob may be mapped of what was not */
        for (uint32_t k = 0; w->operands && k <= w->count; k++) unmap(w->operands[k].data, w->operands[k].bytes);
        unmap(w->right, w->right_bytes);
        free(w->operands);
    }
    free(b->workloads);
    free(b->candidates);
    free(b->cpus);
}
