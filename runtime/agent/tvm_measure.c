/* What tuners ask of a device beside running a kernel: its time, cold caches, inputs, threads. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "tvm_server.h"

enum { MOST_REPEATS = 1 << 16, MOST_COOLDOWN_MS = 60000 };
static const int64_t MOST_NUMBER = INT64_C(1) << 30, MOST_FLUSH_BYTES = INT64_C(1) << 28;

typedef struct {
    int64_t number, repeat, min_repeat_ms, zero_limit, cooldown_ms, cooldown_every, flush_bytes;
    tvm_builtin *before;
} timing;

/* ---- Cold caches ----------------------------------------------------------------------- */

#if defined(__x86_64__)
static bool flush(const char *data, uint64_t size) {
    for (uint64_t at = 0; at < size; at += 64) __builtin_ia32_clflush(data + at);
    return true;
}
#elif defined(__aarch64__)
static bool flush(const char *data, uint64_t size) {
    uint64_t ctr;
    __asm__ volatile("mrs %0, ctr_el0" : "=r"(ctr));
    uint64_t line = UINT64_C(4) << (ctr >> 16 & 15);
    for (uint64_t at = 0; at < size; at += line)
        __asm__ volatile("dc civac, %0" : : "r"(data + at) : "memory");
    __asm__ volatile("dmb ish" : : : "memory");
    return true;
}
#else
static bool flush(const char *data, uint64_t size) {
    (void)data;
    (void)size;
    return false;
}
#endif

bool tvm_flush_cache(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                     tvm_value *result) {
    (void)self;
    (void)result;
    for (int32_t i = 1; i < count; i++) {
        if (a[i].type != TVM_TENSOR_POINTER) continue;
        const tvm_remote_tensor *t = (const tvm_remote_tensor *)a[i].tensor;
        if (!flush((const char *)t->tensor.data + t->tensor.byte_offset, t->bytes))
            return tvm_fail(s, "programs cannot flush this processor's caches");
    }
    return true;
}

/* Reads and writes so much that nothing else stays in the caches. */
static void wash(char *memory, int64_t bytes) {
    memmove(memory, memory + bytes, (size_t)bytes);
}

/* ---- Time ------------------------------------------------------------------------------ */

static bool run_many(tvm_server *s, tvm_object *kernel, const tvm_value *a, int32_t count,
                     int64_t number) {
    tvm_value ignored = {.type = TVM_NONE};
    int failed = 0;
    for (int64_t i = 0; i < number && !failed; i++)
        failed = kernel->function.kernel(NULL, a, count, &ignored);
    return !failed || tvm_blame(s, kernel);
}

/* One figure: as many runs as `min_repeat_ms` asks for. */
static bool time_once(tvm_server *s, timing *t, tvm_object *kernel, const tvm_value *a,
                      int32_t count, char *washing, double *seconds) {
    double ns = 0, wanted = (double)t->min_repeat_ms * 1e6;
    int64_t zeros = 0;
    do {
        if (ns > 0) {
            double enough = wanted / (ns / (double)t->number) + 1, more = (double)t->number * 1.618;
            double number = enough > more ? enough : more;
            t->number = number < (double)MOST_NUMBER ? (int64_t)number : MOST_NUMBER;
        }
        if (washing) wash(washing, t->flush_bytes);
        int64_t start = steady_ns();
        if (!run_many(s, kernel, a, count, t->number)) return false;
        ns = (double)(steady_ns() - start);
        if (ns == 0) zeros++;
    } while (ns < wanted && zeros < t->zero_limit && t->number < MOST_NUMBER);
    *seconds = ns * 1e-9 / (double)t->number;
    return true;
}

static void cool_down(int64_t ms) {
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    nanosleep(&pause, NULL);
}

static bool time_all(tvm_server *s, timing *t, tvm_object *kernel, const tvm_value *a,
                     int32_t count, char *washing, double *seconds) {
    tvm_value ignored;
    if (!run_many(s, kernel, a, count, 1)) return false;
    for (int64_t i = 0; i < t->repeat; i++) {
        if (t->before && !t->before(s, NULL, a, count, &ignored)) return false;
        if (!time_once(s, t, kernel, a, count, washing, &seconds[i])) return false;
        if (t->cooldown_ms > 0 && i % t->cooldown_every == 0) cool_down(t->cooldown_ms);
    }
    return true;
}

/* The function that a time evaluator is: float64 seconds of a run, `repeat` of them. */
static bool evaluate(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                     tvm_value *result) {
    timing *t = self->function.state;
    tvm_object *kernel = self->function.needs;
    size_t size = (size_t)t->repeat * sizeof(double);
    tvm_bytes *bytes = wire_keep(&s->wire, sizeof *bytes + size);
    if (!tvm_takes(s, kernel, a, count)) return false;
    char *washing = t->flush_bytes > 0 ? calloc(2, (size_t)t->flush_bytes) : NULL;
    if (!bytes || (t->flush_bytes > 0 && !washing)) {
        free(washing);
        return tvm_fail(s, "out of memory");
    }
    *bytes = (tvm_bytes){(char *)(bytes + 1), size};
    guard_enter(kernel->function.name);
    bool timed = time_all(s, t, kernel, a, count, washing, (double *)(bytes + 1));
    guard_leave();
    free(washing);
    *result = (tvm_value){.type = TVM_BYTE_ARRAY, .bytes = bytes};
    return timed;
}

static int64_t within(int64_t value, int64_t least, int64_t most) {
    return value < least ? least : value > most ? most : value;
}

static bool read_timing(tvm_server *s, const tvm_value *a, timing *t) {
    *t = (timing){
        .number = within(a[4].integer, 1, MOST_NUMBER),
        .repeat = within(a[5].integer, 1, MOST_REPEATS),
        .min_repeat_ms = within(a[6].integer, 0, s->settings->deadline_ms),
        .zero_limit = within(a[7].integer, 1, MOST_REPEATS),
        .cooldown_ms = within(a[8].integer, 0, MOST_COOLDOWN_MS),
        .cooldown_every = within(a[9].integer, 1, MOST_REPEATS),
        .flush_bytes = within(a[10].integer, 0, MOST_FLUSH_BYTES),
    };
    if (!*a[11].string) return true;
    t->before = tvm_builtin_named(a[11].string);
    return t->before == tvm_flush_cache ||
           tvm_fail(s, "a time evaluator runs nothing before it but cache_flush_cpu_non_first_arg, "
                       "not %.100s", a[11].string);
}

/* What is timed: a library's function. */
static tvm_object *timed_function(tvm_server *s, const tvm_value *library, const char *name) {
    if (library->type == TVM_NONE) {
        tvm_fail(s, "functions of this agent's own are not timed: %.100s is none of a library",
                 name);
        return NULL;
    }
    tvm_object *found = objects_find(&s->objects, library->bits, KIND_LIBRARY);
    if (found) return tvm_library_function(s, found, name);
    tvm_fail(s, "the library was freed or never loaded");
    return NULL;
}

bool tvm_time_evaluator(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                        tvm_value *result) {
    (void)self;
    timing t;
    if (!tvm_check(s, "RPCTimeEvaluator", "Msiiiiiiiiis", a, count)) return false;
    tvm_device device = {(int32_t)a[2].integer, (int32_t)a[3].integer};
    if (!tvm_is_here(s, device) || !read_timing(s, a, &t)) return false;
    tvm_object *kernel = timed_function(s, &a[0], a[1].string);
    if (!kernel) return false;
    tvm_object *evaluator = objects_add(&s->objects, KIND_FUNCTION);
    timing *state = malloc(sizeof *state);
    if (!evaluator || !state) {
        free(state);
        objects_release(&s->objects, evaluator);
        objects_release(&s->objects, kernel);
        return tvm_fail(s, "the session holds too many objects");
    }
    *state = t;
    evaluator->function.builtin = evaluate;
    evaluator->function.state = state;
    evaluator->function.needs = kernel;
    *result = (tvm_value){.type = TVM_FUNCTION, .bits = objects_handle(&s->objects, evaluator)};
    return true;
}

/* ---- Inputs and threads ---------------------------------------------------------------- */

static uint32_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* Elements that no kernel is slow or fast on: floats of a few units, small integers. */
static bool fill_element(tvm_data_type type, uint32_t random, void *to) {
    enum { SIGNED, UNSIGNED, REAL, BFLOAT = 4, BOOLEAN = 6 };
    float real = (float)(random & 0xffff) / 65536.0f + 0.5f;
    double wide = (double)real;
    /* in [0.5, 1): the mantissa is random */
    uint16_t half = (uint16_t)(0x3800 | (random & 0x3ff)), brain = (uint16_t)(0x3f00 | (random & 0x7f));
    uint64_t small = type.code == BOOLEAN ? random & 1 : random & 7;
    if (type.code == REAL && type.bits == 32)
        memcpy(to, &real, 4);
    else if (type.code == REAL && type.bits == 64)
        memcpy(to, &wide, 8);
    else if (type.code == REAL && type.bits == 16)
        memcpy(to, &half, 2);
    else if (type.code == BFLOAT && type.bits == 16)
        memcpy(to, &brain, 2);
    else if (type.code == SIGNED || type.code == UNSIGNED || type.code == BOOLEAN)
        memcpy(to, &small, type.bits / 8u);
    else
        return false;
    return true;
}

bool tvm_fill_random(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                     tvm_value *result) {
    (void)self;
    (void)result;
    if (!tvm_check(s, "random_fill", "t", a, count)) return false;
    const tvm_remote_tensor *t = (const tvm_remote_tensor *)a[0].tensor;
    tvm_data_type type = t->tensor.dtype;
    uint64_t width = type.bits / 8u, seed = 1;
    bool whole = width && type.bits % 8 == 0 && width <= 8 && t->bytes % width == 0;
    char *data = (char *)t->tensor.data + t->tensor.byte_offset;
    for (uint64_t at = 0; whole && at < t->bytes; at += width)
        whole = fill_element(type, next_random(&seed), data + at);
    return whole || tvm_fail(s, "tensors of type %d with %d bits cannot be filled", type.code,
                             type.bits);
}

/* As TVM's runtime: a mode, which chooses among cores and is not asked for here, and the number of threads. */
bool tvm_set_threads(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                     tvm_value *result) {
    (void)self;
    (void)result;
    if (!tvm_check(s, "config_threadpool", "ii", a, count)) return false;
    tvm_use_threads((int32_t)within(a[1].integer, 0, 256));
    return true;
}
