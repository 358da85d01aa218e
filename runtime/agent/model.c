#define _GNU_SOURCE
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "clock.h"
#include "facts.h"
#include "model_child.h"

enum { MODELS = 16, PIECE_BYTES = 1 << 20, VALUE_BYTES = 1 << 19, OUTPUTS_WANTED = 1 };
/* Seconds that a request may name: a number that is not one, or beyond this, is refused. */
static const double MOST_SECONDS = 1e6;

/* A handle is a place in this table and how many models have been there before. */
typedef struct {
    process process;
    uint32_t generation;
    uint8_t *tensors;
    uint32_t inputs, outputs;
    tensor_place *places;
} model;

static model models[MODELS];

static uint32_t handle_of(const model *m) { return m->generation << 8 | (uint32_t)(m - models); }

/* The model of a handle, or NULL after an answer that there is none. */
static model *find(session *s, uint32_t handle) {
    model *m = &models[(handle & 0xff) % MODELS];
    if (m->process.pid && handle_of(m) == handle) return m;
    done_failed(s, MISSING, "there is no model with this handle: it was closed, or has ended");
    return NULL;
}

bool model_any(void) {
    for (int i = 0; i < MODELS; i++)
        if (models[i].process.pid) return true;
    return false;
}

static void end(session *s, model *m) {
    process_end(&m->process);
    if (m->tensors) munmap(m->tensors, (size_t)TENSOR_BYTES);
    free(m->places);
    *m = (model){.generation = (m->generation + 1) & 0xffffff};
    session_release(s);
}

/* Ends a model whose process did not answer, and says why. */
static bool end_with(session *s, model *m, outcome status) {
    char why[512];
    process_reason(&m->process, status, why, sizeof why);
    end(s, m);
    return done_failed(s, status, "%s", why);
}

/* A child that does not keep to what it should say has been tampered with by what it runs. */
static bool end_astray(session *s, model *m) {
    end(s, m);
    return done_failed(s, CRASHED, "it has overwritten what serves it");
}

static int64_t deadline_of(const session *s, uint32_t ms) {
    uint32_t most = s->settings->deadline_ms;
    return deadline_after(ms && ms < most ? ms : most);
}

/* ---- open and close -------------------------------------------------------------------- */

static model *free_place(void) {
    for (int i = 0; i < MODELS; i++)
        if (!models[i].process.pid) return &models[i];
    return NULL;
}

/* Reads the places of tensors, and the text into the answer. */
static outcome read_description(model *m, uint64_t size, writer *w, int64_t deadline) {
    description d;
    outcome status = size < sizeof d ? CRASHED : process_read(&m->process, &d, sizeof d, deadline);
    if (status != OK) return status;
    if (d.inputs > MOST_TENSORS || d.outputs > MOST_TENSORS) return CRASHED;
    uint32_t count = d.inputs + d.outputs;
    m->inputs = d.inputs;
    m->outputs = d.outputs;
    m->places = calloc(count + 1, sizeof *m->places);
    if (!m->places) return OUT_OF_MEMORY;
    status = process_read(&m->process, m->places, count * sizeof *m->places, deadline);
    for (uint32_t i = 0; i < count && status == OK; i++)
        if (m->places[i].offset > TENSOR_BYTES || m->places[i].bytes > TENSOR_BYTES - m->places[i].offset)
            status = CRASHED;
    if (status != OK) return status;
    write_u32(w, d.text_size);
    if (d.text_size > (size_t)(w->end - w->at)) return CRASHED;
    status = process_read(&m->process, w->at, d.text_size, deadline);
    w->at += d.text_size;
    return status;
}

static bool start(session *s, model *m, opening *o, uint64_t memory, uint32_t deadline_ms) {
    int64_t deadline = deadline_of(s, deadline_ms);
    reply r;
    m->tensors = mmap(NULL, (size_t)TENSOR_BYTES, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->tensors == MAP_FAILED) m->tensors = NULL;
    o->tensors = m->tensors;
    if (!m->tensors || !process_start(&m->process, memory, model_child, o)) {
        end(s, m);
        return done_failed(s, OUT_OF_MEMORY, "the device has no memory or no process left for a model");
    }
    outcome status = process_read(&m->process, &r, sizeof r, deadline);
    if (status != OK) return end_with(s, m, status);
    if (r.status != OK) {
        end(s, m);
        r.reason[sizeof r.reason - 1] = 0;
        return done_failed(s, r.status, "%s", r.reason);
    }
    writer w = done_begin(s);
    write_u32(&w, handle_of(m));
    write_f64(&w, r.seconds);
    status = read_description(m, r.size, &w, deadline);
    if (status == OK) return done_send(s, &w);
    return m->process.ended || status == TIMEOUT ? end_with(s, m, status) : end_astray(s, m);
}

static uint64_t lower(uint64_t a, uint64_t b) { return !a || (b && b < a) ? b : a; }

bool model_open(session *s, reader *r) {
    opening o = {.session = s};
    const uint8_t *hash = read_raw(r, HASH_BYTES);
    o.threads = read_u32(r);
    o.spin_us = read_i32(r);
    uint64_t memory = read_u64(r);
    uint32_t deadline_ms = read_u32(r);
    o.cpu_count = read_u32(r);
    if (o.cpu_count > MOST_CPUS)
        return done_failed(s, REFUSED, "open names %u CPUs; %d are the most", o.cpu_count, MOST_CPUS);
    for (uint32_t i = 0; i < o.cpu_count; i++) o.cpus[i] = read_i32(r);
    if (!complete(r) || o.threads > MOST_CPUS)
        return done_failed(s, REFUSED, "open is malformed: a hash, how to run it, and CPUs");
    if (!store_path(s, hash, o.path))
        return done_failed(s, MISSING, "the artifact is not on the device");
    snprintf(o.device_cache, sizeof o.device_cache, "%s/drivers", s->settings->folder);
    mkdir(o.device_cache, 0700); /* where it cannot be, regions tell of it */
    model *m = free_place();
    if (!m) return done_failed(s, REFUSED, "%d models are open, which are the most", MODELS);
    if (!session_hold(s)) return !s->channel.broken;
    return start(s, m, &o, lower(memory, s->settings->memory_bytes), deadline_ms);
}

bool model_close(session *s, reader *r) {
    uint32_t handle = read_u32(r);
    if (!complete(r)) return done_failed(s, REFUSED, "close is malformed: it has a handle");
    model *m = find(s, handle);
    if (!m) return !s->channel.broken;
    end(s, m);
    writer w = done_begin(s);
    return done_send(s, &w);
}

/* ---- running --------------------------------------------------------------------------- */

bool model_input(session *s, reader *r) {
    uint32_t handle = read_u32(r), index = read_u32(r), size;
    uint64_t offset = read_u64(r);
    const uint8_t *from = read_bytes(r, &size);
    if (!complete(r)) return done_failed(s, REFUSED, "input is malformed: where to put which bytes");
    model *m = find(s, handle);
    if (!m) return !s->channel.broken;
    if (index >= m->inputs)
        return done_failed(s, REFUSED, "there is no input %u: the model has %u", index, m->inputs);
    const tensor_place *place = &m->places[index];
    if (offset > place->bytes || size > place->bytes - offset)
        return done_failed(s, REFUSED, "input %u has %llu bytes, and more are given", index,
                           (unsigned long long)place->bytes);
    if (size) memcpy(m->tensors + place->offset + offset, from, size);
    writer w = done_begin(s);
    return done_send(s, &w);
}

static bool send_outputs(session *s, const model *m) {
    for (uint32_t i = 0; i < m->outputs; i++) {
        const tensor_place *place = &m->places[m->inputs + i];
        for (uint64_t at = 0; at < place->bytes; at += PIECE_BYTES) {
            uint64_t left = place->bytes - at;
            writer w = part_begin(s);
            write_u32(&w, i);
            write_u64(&w, at);
            write_bytes(&w, m->tensors + place->offset + at,
                        (uint32_t)(left < PIECE_BYTES ? left : PIECE_BYTES));
            if (!part_send(s, &w)) return false;
        }
    }
    return true;
}

/* What follows a reply becomes fields of an answer. */
static outcome pass_on(model *m, uint64_t size, writer *w, int64_t deadline) {
    if (size > (uint64_t)(w->end - w->at)) return CRASHED;
    outcome status = process_read(&m->process, w->at, (size_t)size, deadline);
    w->at += size;
    return status;
}

/* Runs of a benchmark, and how the device does. */
static outcome on_times(session *s, model *m, const reply *r, int64_t deadline) {
    writer w = part_begin(s);
    write_u32(&w, (uint32_t)(r->size / sizeof(double)));
    if (r->size % sizeof(double)) return CRASHED;
    outcome status = pass_on(m, r->size, &w, deadline);
    facts_state(&w);
    return status == OK && !part_send(s, &w) ? FAILED : status;
}

static outcome on_value(session *s, model *m, const reply *r, int64_t deadline) {
    observed o;
    outcome status = r->size == sizeof o ? process_read(&m->process, &o, sizeof o, deadline) : CRASHED;
    if (status != OK) return status;
    if (o.name_size > MOST_NAME || o.rank < 0 || o.rank > MOST_RANK) return CRASHED;
    uint64_t at = 0;
    do { /* a value without elements is one piece, too */
        uint64_t left = o.bytes - at, size = left < VALUE_BYTES ? left : VALUE_BYTES;
        writer w = part_begin(s);
        write_u32(&w, (uint32_t)o.task);
        write_bytes(&w, o.name, o.name_size);
        write_u32(&w, (uint32_t)o.dtype);
        write_u32(&w, (uint32_t)o.rank);
        for (int32_t i = 0; i < o.rank; i++) write_i64(&w, o.shape[i]);
        write_u64(&w, at);
        write_u32(&w, (uint32_t)size);
        status = pass_on(m, size, &w, deadline);
        if (status == OK && !part_send(s, &w)) return FAILED;
        at += size;
    } while (status == OK && at < o.bytes);
    return status;
}

typedef outcome on_part(session *s, model *m, const reply *r, int64_t deadline);

/* Has a model do something. Its answer is in `*r`, of which `r->size` bytes are to be read; false after
 * an answer to the host that it failed, or if the host is gone. */
static bool command_model(session *s, model *m, const command *c, int64_t deadline, on_part *part,
                          reply *r) {
    outcome status = process_write(&m->process, c, sizeof *c) ? OK : CRASHED;
    do {
        /* also where it has ended: reading tells how */
        status = process_read(&m->process, r, sizeof *r, deadline);
        if (status == OK && r->part && !part) return end_astray(s, m), false;
        if (status == OK && r->part) status = part(s, m, r, deadline);
        if (s->channel.broken) return end(s, m), false;
    } while (status == OK && r->part);
    if (status != OK && !m->process.ended && status != TIMEOUT) return end_astray(s, m), false;
    if (status != OK) return end_with(s, m, status), false;
    r->reason[sizeof r->reason - 1] = 0;
    if (r->status != OK) return done_failed(s, r->status, "%s", r->reason), false;
    return true;
}

/* Fields of an answer that the child has made. */
static bool answer_with(session *s, model *m, const reply *r, int64_t deadline) {
    writer w = done_begin(s);
    outcome status = pass_on(m, r->size, &w, deadline);
    if (status == OK) return done_send(s, &w);
    return m->process.ended || status == TIMEOUT ? end_with(s, m, status) : end_astray(s, m);
}

bool model_run(session *s, reader *r) {
    uint32_t handle = read_u32(r), deadline_ms = read_u32(r), flags = read_u32(r);
    reply found;
    if (!complete(r) || (flags & ~(uint32_t)OUTPUTS_WANTED))
        return done_failed(s, REFUSED, "run is malformed: a handle, a deadline, and flags");
    model *m = find(s, handle);
    if (!m) return !s->channel.broken;
    if (!command_model(s, m, &(command){.kind = RUN}, deadline_of(s, deadline_ms), NULL, &found))
        return !s->channel.broken;
    if ((flags & OUTPUTS_WANTED) && !send_outputs(s, m)) return false;
    writer w = done_begin(s);
    write_f64(&w, found.seconds);
    return done_send(s, &w);
}

static bool is_time(double seconds) { return seconds >= 0 && seconds <= MOST_SECONDS; }

bool model_bench(session *s, reader *r) {
    command c = {.kind = BENCH};
    uint32_t handle = read_u32(r), deadline_ms = read_u32(r);
    reply found;
    c.warm_up = read_f64(r);
    c.seconds = read_f64(r);
    c.runs = read_u32(r);
    c.rate = read_f64(r);
    if (!complete(r) || !is_time(c.warm_up) || !is_time(c.seconds) || !(c.rate >= 0 && c.rate <= 1e9))
        return done_failed(s, REFUSED, "bench is malformed: how long, how many, and how often");
    model *m = find(s, handle);
    if (!m) return !s->channel.broken;
    if (!command_model(s, m, &c, deadline_of(s, deadline_ms), on_times, &found))
        return !s->channel.broken;
    writer w = done_begin(s);
    facts_state(&w);
    return done_send(s, &w);
}

bool model_profile(session *s, reader *r) {
    uint32_t handle = read_u32(r), deadline_ms = read_u32(r), runs = read_u32(r);
    reply found;
    if (!complete(r)) return done_failed(s, REFUSED, "profile is malformed: a handle, a deadline, runs");
    model *m = find(s, handle);
    if (!m) return !s->channel.broken;
    int64_t deadline = deadline_of(s, deadline_ms);
    if (!command_model(s, m, &(command){.kind = PROFILE, .runs = runs}, deadline, NULL, &found))
        return !s->channel.broken;
    return answer_with(s, m, &found, deadline);
}

/* Requests of a handle and a deadline. */
static bool look(session *s, reader *r, command_kind kind, on_part *part) {
    uint32_t handle = read_u32(r), deadline_ms = read_u32(r);
    reply found;
    if (!complete(r)) return done_failed(s, REFUSED, "it is malformed: a handle and a deadline");
    model *m = find(s, handle);
    if (!m) return !s->channel.broken;
    int64_t deadline = deadline_of(s, deadline_ms);
    if (!command_model(s, m, &(command){.kind = kind}, deadline, part, &found))
        return !s->channel.broken;
    return answer_with(s, m, &found, deadline);
}

bool model_observe(session *s, reader *r) { return look(s, r, OBSERVE, on_value); }

bool model_selftest(session *s, reader *r) { return look(s, r, SELFTEST, NULL); }
