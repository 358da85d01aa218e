/* Making instances, and the buffers that they run on. */
#define _GNU_SOURCE
#include "instance.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "system.h"

enum { DEFAULT_SPIN_US = 100, MAX_THREADS = 1024 };

static armlet_status keep(char *text, size_t size, armlet_status status, const char *format,
                          va_list arguments) {
    if (text && size) vsnprintf(text, size, format, arguments);
    return status;
}

armlet_status fail(armlet_instance *m, armlet_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    keep(m->error, sizeof m->error, status, format, arguments);
    va_end(arguments);
    return status;
}

/* As fail, for an instance that does not come to be. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static armlet_status refuse(const armlet_options *o, armlet_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    keep(o->message, o->message_size, status, format, arguments);
    va_end(arguments);
    return status;
}

static armlet_status check_options(const armlet_options *o) {
    if (o->threads < 0 || o->threads > MAX_THREADS)
        return refuse(o, ARMLET_ERROR_ARGUMENT, "threads is %d; 0 .. %d are possible", o->threads,
                      MAX_THREADS);
    if (o->devices < ARMLET_DEVICES_USE || o->devices > ARMLET_DEVICES_LEAVE)
        return refuse(o, ARMLET_ERROR_ARGUMENT, "devices is %d, which is no armlet_devices", o->devices);
    if (o->cpu_count > MAX_THREADS || (o->cpu_count && !o->cpus))
        return refuse(o, ARMLET_ERROR_ARGUMENT, "cpus and cpu_count do not fit together");
    return ARMLET_OK;
}

/* Before any code of a kernel runs: none has constructors, and the runtime is baseline code. */
static armlet_status check_cpu(const armlet_options *o) {
    char missing[ERROR_BYTES] = "";
    for (uint32_t i = 0; i < armlet_model.feature_count; i++) {
        const char *name = text_of(armlet_model.features[i]);
        size_t used = strlen(missing);
        if (!cpu_has(name))
            snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", name);
    }
    if (!missing[0]) return ARMLET_OK;
    return refuse(o, ARMLET_ERROR_CPU, "this CPU (or its OS) lacks what the model was compiled for: %s",
                  missing);
}

static void choose_versions(armlet_instance *m) {
    const model_tables *t = &armlet_model;
    for (uint32_t i = 0; i < t->kernel_count; i++) m->kernels[i] = &t->kernels[i];
    for (uint32_t i = 0; i < t->version_count; i++) {
        const version_entry *v = &t->versions[i];
        bool able = true;
        for (uint32_t f = 0; f < v->feature_count && able; f++)
            able = cpu_has(text_of(t->features[v->first_feature + f]));
        if (able) m->kernels[v->kernel] = &t->kernels[v->better];
    }
}

/* Address space for everything that a run writes; pages that no run touches cost nothing. */
static armlet_status take_memory(armlet_instance *m) {
    const model_tables *t = &armlet_model;
    uint64_t work = t->arena_bytes + t->scratch_bytes * (uint64_t)m->threads;
    uint64_t total = work + CACHE_LINE;
    for (int32_t i = 0; i < t->output_count; i++) total += padded(t->outputs[i].bytes);
    void *memory;
    if (total > PTRDIFF_MAX || posix_memalign(&memory, CACHE_LINE, (size_t)total) != 0)
        return ARMLET_ERROR_MEMORY;
    m->memory = memory;
    m->scratch = m->memory + t->arena_bytes;
    m->bases = calloc((size_t)(BASE_INPUTS + t->input_count + t->output_count), sizeof *m->bases);
    m->pointers = calloc((size_t)t->most_pointers + 1, sizeof *m->pointers);
    m->own_outputs = calloc((size_t)t->output_count + 1, sizeof *m->own_outputs);
    m->tallies = calloc((size_t)t->task_count + 1, sizeof *m->tallies);
    m->kernels = calloc((size_t)t->kernel_count + 1, sizeof *m->kernels);
    if (!m->bases || !m->pointers || !m->own_outputs || !m->tallies || !m->kernels)
        return ARMLET_ERROR_MEMORY;
    m->bases[BASE_ARENA] = m->memory;
    m->bases[BASE_CONSTANTS] = (unsigned char *)(uintptr_t)t->constants;
    unsigned char *free_place = m->memory + work;
    for (int32_t i = 0; i < t->output_count; i++) {
        m->own_outputs[i] = m->bases[BASE_INPUTS + t->input_count + i] = free_place;
        free_place += padded(t->outputs[i].bytes);
    }
    return ARMLET_OK;
}

static armlet_status start_threads(armlet_instance *m, const armlet_options *o, int32_t usable) {
    int32_t spin_us = o->spin_us ? o->spin_us : DEFAULT_SPIN_US;
    /* A spinning thread would hold up the one that it waits for. */
    bool crowded = m->threads > usable;
    int64_t spin_ns = spin_us < 0 || crowded ? 0 : (int64_t)spin_us * 1000;
    switch (pool_create(m->threads, spin_ns, o->cpus, o->cpu_count, &m->pool)) {
    case POOL_OK: return ARMLET_OK;
    case POOL_NO_MEMORY: return ARMLET_ERROR_MEMORY;
    case POOL_NO_PLACE:
        return refuse(o, ARMLET_ERROR_THREADS, "a thread could not be pinned to one of the CPUs given");
    case POOL_NO_THREAD: break;
    }
    return refuse(o, ARMLET_ERROR_THREADS, "%d threads could not be started", m->threads - 1);
}

static armlet_status build(armlet_instance *m, const armlet_options *o) {
    int32_t usable = system_usable_cpus();
    int32_t wanted = o->threads ? o->threads : o->cpu_count ? (int32_t)o->cpu_count : system_big_cpus();
    m->threads = wanted < armlet_model.ways ? wanted : armlet_model.ways;
    armlet_status status = take_memory(m);
    if (status == ARMLET_OK) choose_versions(m);
    if (status == ARMLET_OK) status = start_threads(m, o, usable);
    if (status == ARMLET_OK && (status = regions_open(m, o)) != ARMLET_OK)
        return refuse(o, status, "%s", m->error);
    if (status == ARMLET_ERROR_MEMORY) refuse(o, status, "out of memory");
    return status;
}

armlet_status armlet_create(const armlet_options *options, armlet_instance **instance) {
    armlet_options o = {0};
    void *made = NULL;
    if (!instance) return ARMLET_ERROR_ARGUMENT;
    *instance = NULL;
    armlet_status status = options ? take(&o, options, sizeof o) : ARMLET_OK;
    if (status == ARMLET_OK) status = check_options(&o);
    if (status == ARMLET_OK) status = check_cpu(&o);
    if (status != ARMLET_OK) return status;
    if (posix_memalign(&made, CACHE_LINE, sizeof(armlet_instance)) != 0)
        return refuse(&o, ARMLET_ERROR_MEMORY, "out of memory");
    armlet_instance *m = memset(made, 0, sizeof(armlet_instance));
    atomic_init(&m->current, -1);
    status = build(m, &o);
    if (status == ARMLET_OK)
        *instance = m;
    else
        armlet_destroy(m);
    return status;
}

void armlet_destroy(armlet_instance *m) {
    if (!m) return;
    regions_close(m);
    pool_destroy(m->pool);
    free(m->kernels);
    free(m->tallies);
    free(m->own_outputs);
    free(m->pointers);
    free(m->bases);
    free(m->memory);
    free(m);
}

int32_t armlet_thread_count(const armlet_instance *m) { return m ? m->threads : 0; }

const char *armlet_error(const armlet_instance *m) { return m ? m->error : ""; }

static size_t alignment_of(uint16_t dtype) {
    switch (dtype) {
    case ARMLET_FLOAT64: case ARMLET_INT64: case ARMLET_UINT64: return 8;
    case ARMLET_FLOAT32: case ARMLET_INT32: case ARMLET_UINT32: return 4;
    case ARMLET_FLOAT16: case ARMLET_INT16: case ARMLET_UINT16: return 2;
    default: return 1;
    }
}

static armlet_status check_buffer(armlet_instance *m, const char *kind, const tensor_entry *t,
                                  const void *data, size_t bytes) {
    if (bytes != t->bytes)
        return fail(m, ARMLET_ERROR_INPUT, "%s '%.80s' has %llu bytes, but %llu were given", kind,
                    text_of(t->name), (unsigned long long)t->bytes, (unsigned long long)bytes);
    if (!data && bytes)
        return fail(m, ARMLET_ERROR_ARGUMENT, "%s '%.80s' is NULL", kind, text_of(t->name));
    if ((uintptr_t)data % alignment_of(t->dtype))
        return fail(m, ARMLET_ERROR_INPUT, "%s '%.80s' is not aligned to its elements", kind,
                    text_of(t->name));
    return ARMLET_OK;
}

static armlet_status check_index(armlet_instance *m, const char *kind, int32_t index, int32_t count) {
    if (index >= 0 && index < count) return ARMLET_OK;
    return fail(m, ARMLET_ERROR_ARGUMENT, "there is no %s %d: the model has %d", kind, index, count);
}

armlet_status armlet_set_input(armlet_instance *m, int32_t index, const void *data, size_t bytes) {
    if (!m) return ARMLET_ERROR_ARGUMENT;
    armlet_status status = check_index(m, "input", index, armlet_model.input_count);
    if (status == ARMLET_OK)
        status = check_buffer(m, "input", &armlet_model.inputs[index], data, bytes);
    if (status == ARMLET_OK) m->bases[BASE_INPUTS + index] = (unsigned char *)(uintptr_t)data;
    return status;
}

armlet_status armlet_set_output(armlet_instance *m, int32_t index, void *data, size_t bytes) {
    if (!m) return ARMLET_ERROR_ARGUMENT;
    armlet_status status = check_index(m, "output", index, armlet_model.output_count);
    bool own = !data && !bytes;
    if (status == ARMLET_OK && !own)
        status = check_buffer(m, "output", &armlet_model.outputs[index], data, bytes);
    if (status == ARMLET_OK)
        m->bases[BASE_INPUTS + armlet_model.input_count + index] = own ? m->own_outputs[index] : data;
    return status;
}

void *armlet_output(armlet_instance *m, int32_t index) {
    if (!m || index < 0 || index >= armlet_model.output_count) return NULL;
    return m->bases[BASE_INPUTS + armlet_model.input_count + index];
}
