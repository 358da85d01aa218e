/* The process that has an artifact open: does what its session says, until that is gone. */
#define _GNU_SOURCE
#include "model_child.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "armlet.h"
#include "clock.h"
#include "model_text.h"

enum { PART_NS = 500000000, ALIGNMENT = 64 };

static struct {
    int pipe;
    const opening *opening;
    model_functions call;
    armlet_instance *instance;
} own;

static bool say(const void *from, size_t size) {
    const uint8_t *at = from;
    while (size) {
        ssize_t sent = send(own.pipe, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool answer(const reply *r, const void *data) { return say(r, sizeof *r) && say(data, (size_t)r->size); }

static outcome outcome_of(armlet_status status) {
    return status == ARMLET_OK ? OK : status == ARMLET_ERROR_MEMORY ? OUT_OF_MEMORY : FAILED;
}

/* The answer to a command that failed. */
static bool failed(armlet_status status) {
    reply r = {.status = outcome_of(status)};
    const char *why = own.instance ? own.call.error(own.instance) : "";
    snprintf(r.reason, sizeof r.reason, "%s", why[0] ? why : own.call.status_text(status));
    return answer(&r, NULL);
}

/* A layer by the name that the user gave it, or else that of what it computes. */
static void tell_layer(report *to) {
    armlet_profile_entry entry = {.struct_size = sizeof entry};
    int32_t task = own.call.current_task ? own.call.current_task(own.instance) : -1;
    if (task < 0 || own.call.profile(own.instance, task, &entry) != ARMLET_OK) return;
    snprintf(to->running, sizeof to->running, "layer '%s'",
             entry.source[0] ? entry.source : entry.value);
}

/* ---- Opening --------------------------------------------------------------------------- */

static bool refuse(const char *why, outcome status) {
    reply r = {.status = status};
    snprintf(r.reason, sizeof r.reason, "%s", why);
    answer(&r, NULL);
    return false;
}

static bool load(void) {
    void *library = dlopen(own.opening->path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        return refuse(why ? why : "the loader refuses it", FAILED);
    }
    const char *missing = find_functions(library, &own.call);
    if (!missing) return true;
    char text[128];
    snprintf(text, sizeof text, "it is no artifact: it has no %s", missing);
    return refuse(text, FAILED);
}

static bool create(void) {
    const opening *o = own.opening;
    char why[REASON_TEXT] = "";
    armlet_options options = {
        .struct_size = sizeof options,
        .threads = (int32_t)o->threads,
        .spin_us = o->spin_us,
        .cpus = o->cpu_count ? o->cpus : NULL,
        .cpu_count = o->cpu_count,
        .message = why,
        .message_size = sizeof why,
        .device_cache = o->device_cache,
    };
    if (o->cpu_count) {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (o->cpus[0] >= 0 && o->cpus[0] < CPU_SETSIZE) CPU_SET((size_t)o->cpus[0], &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0)
            return refuse("a thread could not be pinned to one of the CPUs given", FAILED);
    }
    armlet_status status = own.call.create(&options, &own.instance);
    if (status == ARMLET_OK) return true;
    return refuse(why[0] ? why : own.call.status_text(status), outcome_of(status));
}

/* Gives every tensor its place, one after the other. */
static bool place_tensors(const description *d, tensor_place *places) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < d->inputs + d->outputs; i++) {
        bool input = i < d->inputs;
        int32_t index = (int32_t)(input ? i : i - d->inputs);
        armlet_tensor_info info = {.struct_size = sizeof info};
        armlet_status status = input ? own.call.input_info(index, &info) : own.call.output_info(index, &info);
        if (status != ARMLET_OK || info.bytes > TENSOR_BYTES - at) return false;
        places[i] = (tensor_place){.offset = at, .bytes = info.bytes};
        uint8_t *data = own.opening->tensors + at;
        status = input ? own.call.set_input(own.instance, index, data, info.bytes)
                       : own.call.set_output(own.instance, index, data, info.bytes);
        if (status != ARMLET_OK) return false;
        at += (info.bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        if (at > TENSOR_BYTES) return false;
    }
    return true;
}

static bool describe(int64_t began) {
    static uint8_t text[1 << 20];
    int32_t inputs = own.call.input_count(), outputs = own.call.output_count();
    if (inputs < 0 || outputs < 0 || inputs > MOST_TENSORS || outputs > MOST_TENSORS)
        return refuse("it has more inputs or outputs than an agent serves", FAILED);
    description d = {.inputs = (uint32_t)inputs, .outputs = (uint32_t)outputs};
    size_t bytes = (d.inputs + d.outputs) * sizeof(tensor_place);
    tensor_place *places = calloc(d.inputs + d.outputs + 1, sizeof *places);
    if (!places || !place_tensors(&d, places))
        return refuse("its inputs and outputs do not fit into this agent's memory for them", OUT_OF_MEMORY);
    writer w = {.start = text, .at = text, .end = text + sizeof text};
    write_description(&w, &own.call, own.instance);
    if (w.full) return refuse("what it tells of itself is longer than a message may be", FAILED);
    d.text_size = (uint32_t)(w.at - w.start);
    reply r = {.size = sizeof d + bytes + d.text_size, .seconds = (double)(steady_ns() - began) * 1e-9};
    bool said = say(&r, sizeof r) && say(&d, sizeof d) && say(places, bytes) && say(text, d.text_size);
    free(places);
    return said;
}

/* ---- Commands -------------------------------------------------------------------------- */

static bool run(void) {
    reply r = {0};
    int64_t began = steady_ns();
    armlet_status status = own.call.run(own.instance);
    r.seconds = (double)(steady_ns() - began) * 1e-9;
    return status == ARMLET_OK ? answer(&r, NULL) : failed(status);
}

static void sleep_until(int64_t when) {
    for (int64_t left; (left = when - steady_ns()) > 0;)
        nanosleep(&(struct timespec){.tv_sec = (time_t)(left / 1000000000),
                                     .tv_nsec = (long)(left % 1000000000)}, NULL);
}

static bool bench(const command *c) {
    static double times[MOST_TIMES];
    armlet_status status = ARMLET_OK;
    int64_t warm = steady_ns() + (int64_t)(c->warm_up * 1e9);
    do
        status = own.call.run(own.instance);
    while (status == ARMLET_OK && steady_ns() < warm);
    int64_t began = steady_ns(), end = began + (int64_t)(c->seconds * 1e9), told = began, now = began;
    int64_t period = c->rate > 0 ? (int64_t)(1e9 / c->rate) : 0, next = began;
    uint32_t kept = 0;
    for (uint32_t done = 0; status == ARMLET_OK && (c->runs ? done < c->runs : now < end); done++) {
        if (period) sleep_until(next);
        int64_t before = steady_ns();
        status = own.call.run(own.instance);
        now = steady_ns();
        if (status != ARMLET_OK) break;
        times[kept++] = (double)(now - before) * 1e-9;
        /* a run that took longer than the period does not make the next ones come faster */
        next = next + period > now ? next + period : now;
        if (now - told < PART_NS && kept < MOST_TIMES) continue;
        if (!answer(&(reply){.part = 1, .size = kept * sizeof *times}, times)) return false;
        kept = 0;
        told = now;
    }
    if (status != ARMLET_OK) return failed(status);
    if (kept && !answer(&(reply){.part = 1, .size = kept * sizeof *times}, times)) return false;
    return answer(&(reply){0}, NULL);
}

/* The time of every region, and of the steps inside. */
static armlet_status put_regions(writer *w) {
    int32_t regions = count_regions(&own.call);
    armlet_status status = ARMLET_OK;
    write_u32(w, (uint32_t)regions);
    for (int32_t i = 0; i < regions && status == ARMLET_OK; i++) {
        armlet_region_info info = {.struct_size = sizeof info};
        status = own.call.region(own.instance, i, &info);
        write_f64(w, info.seconds);
        write_u64(w, info.calls);
        write_u32(w, (uint32_t)info.step_count);
        for (int32_t step = 0; step < info.step_count && status == ARMLET_OK; step++) {
            const char *layer = "";
            double seconds = 0;
            status = own.call.region_step(own.instance, i, step, &layer, &seconds);
            write_text(w, layer);
            write_f64(w, seconds);
        }
    }
    return status;
}

static bool profile(const command *c) {
    static uint8_t fields[1 << 20];
    writer w = {.start = fields, .at = fields, .end = fields + sizeof fields};
    int32_t tasks = own.call.task_count();
    armlet_status status = own.call.set_profiling(own.instance, 1);
    for (uint32_t i = 0; i < c->runs && status == ARMLET_OK; i++) status = own.call.run(own.instance);
    write_u32(&w, (uint32_t)tasks);
    for (int32_t i = 0; i < tasks && status == ARMLET_OK; i++) {
        armlet_profile_entry entry = {.struct_size = sizeof entry};
        status = own.call.profile(own.instance, i, &entry);
        write_f64(&w, entry.seconds);
        write_u64(&w, entry.calls);
        write_u32(&w, (uint32_t)entry.threads);
    }
    if (status == ARMLET_OK) status = put_regions(&w);
    own.call.set_profiling(own.instance, 0);
    if (status != ARMLET_OK) return failed(status);
    if (w.full) return refuse("it has more tasks than a message may tell of", FAILED), true;
    return answer(&(reply){.size = (uint64_t)(w.at - w.start)}, fields);
}

static void see(void *context, const armlet_value *value) {
    bool *heard = context;
    observed o = {.task = value->task, .dtype = value->dtype, .rank = value->rank, .bytes = value->bytes};
    o.name_size = (uint32_t)strnlen(value->name, MOST_NAME);
    memcpy(o.name, value->name, o.name_size);
    if (value->rank > MOST_RANK) _exit(1);
    for (int32_t i = 0; i < value->rank; i++) o.shape[i] = value->shape[i];
    reply r = {.part = 1, .size = sizeof o};
    *heard = answer(&r, &o) && say(value->data, value->bytes);
    if (!*heard) own.call.cancel(own.instance);
}

static bool observe(void) {
    bool heard = true;
    armlet_status status = own.call.observe(own.instance, see, &heard);
    if (status == ARMLET_OK) status = own.call.run(own.instance);
    own.call.observe(own.instance, NULL, NULL);
    return heard && (status == ARMLET_OK ? answer(&(reply){0}, NULL) : failed(status));
}

/* Wrong answers are an answer: how many there are, and the worst. */
static bool selftest(void) {
    static uint8_t fields[4096];
    writer w = {.start = fields, .at = fields, .end = fields + sizeof fields};
    armlet_selftest_report found = {.struct_size = sizeof found};
    armlet_status status = own.call.selftest(own.instance, &found);
    if (status != ARMLET_OK && status != ARMLET_ERROR_SELFTEST) return failed(status);
    write_u64(&w, found.compared);
    write_u64(&w, found.wrong);
    write_text(&w, found.output ? found.output : "");
    write_u64(&w, found.element);
    write_f64(&w, found.expected);
    write_f64(&w, found.actual);
    write_f64(&w, found.tolerance);
    return answer(&(reply){.size = (uint64_t)(w.at - w.start)}, fields);
}

static bool obey(const command *c) {
    switch (c->kind) {
    case RUN: return run();
    case BENCH: return bench(c);
    case PROFILE: return profile(c);
    case OBSERVE: return observe();
    case SELFTEST: return selftest();
    }
    return false;
}

int model_child(int pipe, report *report, void *context) {
    command c;
    own.pipe = pipe;
    own.opening = context;
    session_forget(own.opening->session);
    snprintf(report->running, sizeof report->running, "opening it");
    int64_t began = steady_ns();
    if (!load() || !create() || !describe(began)) return 1;
    report->running[0] = 0;
    process_tell = tell_layer;
    while (recv(pipe, &c, sizeof c, MSG_WAITALL) == sizeof c)
        if (!obey(&c)) break;
    return 0;
}
