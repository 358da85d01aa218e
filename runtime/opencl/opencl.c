/* Regions that run on a GPU by OpenCL: the back end "opencl" of armlet_npu.h.
 *
 * All that can fail is tried at create: the driver, its features, every kernel, all memory. A run puts the
 * inputs, the launches and the outputs into one queue that keeps their order, and waits once. A
 * device that fails in a run is not tried again: the region's CPU copy takes over. */
#include "armlet_npu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "beacon.h"
#include "opencl_build.h"
#include "opencl_launch.h"
#include "opencl_memory.h"

/* Crossings are steps, too: the first and the last. */
enum { CROSSINGS = 2, NS_PER_MS = 1000000, NAME_BYTES = 144 };

typedef struct {
    program_view program;
    const opencl_device *device;
    cl_command_queue queue;
    cl_program *programs;
    opencl_memory memory;
    opencl_launch *launches;
    int64_t most_ns; /* of a launch; 0: no limit */
    int64_t in_ns, out_ns;
    char to[NAME_BYTES], from[NAME_BYTES]; /* the crossings' names */
    bool profiling, lost;
} gpu_region;

static bool check_features(const gpu_region *r, opencl_message message) {
    static const char *const names[] = {"fp16", "images", "subgroups", "8-bit dot products"};
    uint32_t missing = r->program.header->needs & ~r->device->features;
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (missing >> i & 1)
            return opencl_fail(message, "the GPU %s lacks %s, which the kernels were compiled for",
                               r->device->name, names[i]);
    return true;
}

/* A queue that measures, if anything is to be measured. */
static bool make_queue(gpu_region *r, opencl_message message) {
    const opencl_api *cl = &r->device->cl;
    cl_int status = CL_SUCCESS;
    cl_bitfield flags = r->profiling || r->most_ns ? CL_QUEUE_PROFILING_ENABLE : 0;
    cl_command_queue made = cl->clCreateCommandQueue(r->device->context, r->device->device, flags, &status);
    if (!made)
        return opencl_fail(message, "the GPU %s gives no queue: %s (%d)", r->device->name,
                           opencl_error(status), status);
    if (r->queue) cl->clReleaseCommandQueue(r->queue);
    r->queue = made;
    return true;
}

static bool make_launches(gpu_region *r, opencl_message message) {
    const program_view *p = &r->program;
    for (uint32_t i = 0; i < p->header->launch_count; i++)
        if (!launch_make(r->device, p, &p->launches[i], r->programs, r->memory.buffers, &r->launches[i],
                         message))
            return false;
    return true;
}

/* Keeps the first failure's place. */
typedef struct {
    cl_int status;
    const char *where;
} outcome;

static bool good(outcome *o, cl_int status, const char *where) {
    if (status == CL_SUCCESS) return true;
    *o = (outcome){status, where};
    return false;
}

static bool put_inputs(gpu_region *r, const void *const *inputs, outcome *o) {
    const program_view *p = &r->program;
    for (uint32_t i = 0; i < p->header->input_count; i++) {
        uint32_t place = p->inputs[i];
        cl_int status = memory_write(r->device, r->queue, r->memory.buffers[place], inputs[i],
                                     (size_t)p->buffers[place].bytes);
        if (!good(o, status, "its inputs")) return false;
    }
    return true;
}

static bool put_launches(gpu_region *r, bool measure, outcome *o) {
    const program_view *p = &r->program;
    for (uint32_t i = 0; i < p->header->launch_count; i++) {
        cl_int status = launch_enqueue(r->device, r->queue, &r->launches[i], r->most_ns, measure);
        if (!good(o, status, p->strings + p->launches[i].layer)) return false;
    }
    return true;
}

static bool take_outputs(gpu_region *r, void *const *outputs, outcome *o) {
    const program_view *p = &r->program;
    for (uint32_t i = 0; i < p->header->output_count; i++) {
        uint32_t place = p->outputs[i];
        cl_int status = memory_read(r->device, r->queue, r->memory.buffers[place], outputs[i],
                                    (size_t)p->buffers[place].bytes);
        if (!good(o, status, "its outputs")) return false;
    }
    return good(o, r->device->cl.clFinish(r->queue), "its end");
}

static bool failed(const gpu_region *r, const outcome *o, opencl_message message) {
    return opencl_fail(message, "the GPU %s failed at %.80s: %s (%d)", r->device->name, o->where,
                       opencl_error(o->status), o->status);
}

/* A run on zeros. Drivers that compile a kernel at its first launch do it now, and not in the
 * application's first run, and give it away with their binaries. */
static bool rehearse(gpu_region *r, opencl_message message) {
    const program_view *p = &r->program;
    outcome o = {CL_SUCCESS, ""};
    uint64_t most = 0;
    for (uint32_t i = 0; i < p->header->input_count; i++)
        if (p->buffers[p->inputs[i]].bytes > most) most = p->buffers[p->inputs[i]].bytes;
    void *zeros = calloc(1, (size_t)most + 1);
    if (!zeros) return opencl_fail(message, "out of memory");
    bool done = true;
    for (uint32_t i = 0; done && i < p->header->input_count; i++) {
        uint32_t place = p->inputs[i];
        done = good(&o, memory_write(r->device, r->queue, r->memory.buffers[place], zeros,
                                     (size_t)p->buffers[place].bytes), "its inputs");
    }
    done = done && put_launches(r, false, &o);
    cl_int end = r->device->cl.clFinish(r->queue); /* also of what went before a failure */
    done = done && good(&o, end, "its end");
    free(zeros);
    return done || failed(r, &o, message);
}

static bool make_region(gpu_region *r, const armlet_npu_blob *blob, opencl_message message) {
    const char *wrong = program_open(blob->data, blob->bytes, &r->program);
    if (wrong) return opencl_fail(message, "the region's GPU program cannot be used: %s", wrong);
    const program_header *h = r->program.header;
    r->most_ns = (int64_t)blob->max_kernel_ms * NS_PER_MS;
    r->programs = calloc((size_t)h->source_count + 1, sizeof *r->programs);
    r->launches = calloc((size_t)h->launch_count + 1, sizeof *r->launches);
    if (!r->programs || !r->launches) return opencl_fail(message, "out of memory");
    r->device = opencl_acquire(message);
    if (!r->device || !check_features(r, message) || !make_queue(r, message) ||
        !memory_make(r->device, &r->program, &r->memory, message))
        return false;
    snprintf(r->to, sizeof r->to, "to %s", r->device->name);
    snprintf(r->from, sizeof r->from, "from %s", r->device->name);
    bool compiled = false;
    const char *folder = blob->cache_dir;
    if (!opencl_build(r->device, &r->program, folder, r->most_ns != 0, r->programs, &compiled, message) ||
        !make_launches(r, message))
        return false;
    if (!folder || !compiled) return true;
    if (!rehearse(r, message)) return false;
    opencl_keep(r->device, &r->program, folder, r->most_ns != 0, r->programs, message);
    return true;
}

static void destroy(void *region) {
    gpu_region *r = region;
    if (!r) return;
    if (r->device) {
        const opencl_api *cl = &r->device->cl;
        if (r->queue && !r->lost) cl->clFinish(r->queue);
        for (uint32_t i = 0; i < r->program.header->launch_count; i++)
            launch_free(r->device, &r->launches[i]);
        for (uint32_t i = 0; i < r->program.header->source_count; i++)
            if (r->programs[i]) cl->clReleaseProgram(r->programs[i]);
        memory_free(r->device, &r->program, &r->memory);
        if (r->queue) cl->clReleaseCommandQueue(r->queue);
        opencl_release();
    }
    free(r->launches);
    free(r->programs);
    free(r);
}

static armlet_status create(const armlet_npu_blob *blob, void **region, char *error, size_t error_bytes) {
    opencl_message message = {error, error_bytes};
    *region = NULL;
    gpu_region *r = calloc(1, sizeof *r);
    if (!r) {
        opencl_fail(message, "out of memory");
        return ARMLET_UNAVAILABLE;
    }
    if (!make_region(r, blob, message)) {
        destroy(r);
        return ARMLET_UNAVAILABLE;
    }
    *region = r;
    return ARMLET_OK;
}

/* The crossings by the clock, with the queue empty before and after each; the launches by their events. */
static bool run_measured(gpu_region *r, const void *const *inputs, void *const *outputs, outcome *o) {
    const opencl_api *cl = &r->device->cl;
    int64_t start = now_ns();
    if (!put_inputs(r, inputs, o) || !good(o, cl->clFinish(r->queue), "its inputs")) return false;
    r->in_ns = now_ns() - start;
    if (!put_launches(r, true, o) || !good(o, cl->clFinish(r->queue), "its launches")) return false;
    for (uint32_t i = 0; i < r->program.header->launch_count; i++)
        launch_measured(r->device, &r->launches[i]);
    start = now_ns();
    if (!take_outputs(r, outputs, o)) return false;
    r->out_ns = now_ns() - start;
    return true;
}

static armlet_status run(void *region, const void *const *inputs, void *const *outputs, char *error,
                         size_t error_bytes) {
    gpu_region *r = region;
    opencl_message message = {error, error_bytes};
    outcome o = {CL_SUCCESS, ""};
    bool done;
    if (r->lost) {
        opencl_fail(message, "the GPU %s failed in an earlier run", r->device->name);
        return ARMLET_UNAVAILABLE;
    }
    if (r->profiling || r->most_ns)
        done = run_measured(r, inputs, outputs, &o);
    else
        done = put_inputs(r, inputs, &o) && put_launches(r, false, &o) && take_outputs(r, outputs, &o);
    if (done) return ARMLET_OK;
    r->lost = true;
    failed(r, &o, message);
    return ARMLET_UNAVAILABLE;
}

static int32_t step_count(void *region) {
    gpu_region *r = region;
    return (int32_t)r->program.header->launch_count + CROSSINGS;
}

static armlet_status step(void *region, int32_t index, const char **layer, int64_t *ns) {
    gpu_region *r = region;
    int32_t last = step_count(r) - 1;
    if (index < 0 || index > last) return ARMLET_ERROR_ARGUMENT;
    bool crossing = index == 0 || index == last;
    const program_view *p = &r->program;
    *layer = crossing ? (index ? r->from : r->to) : p->strings + p->launches[index - 1].layer;
    *ns = crossing ? (index ? r->out_ns : r->in_ns) : r->launches[index - 1].ns;
    return ARMLET_OK;
}

static armlet_status set_profiling(void *region, int32_t on) {
    gpu_region *r = region;
    bool before = r->profiling;
    opencl_message nowhere = {NULL, 0};
    r->profiling = on != 0;
    if (r->profiling == before || make_queue(r, nowhere)) return ARMLET_OK;
    r->profiling = before;
    return ARMLET_ERROR_UNSUPPORTED;
}

const armlet_npu_api armlet_opencl = {
    .version = ARMLET_NPU_VERSION,
    .name = "opencl",
    .create = create,
    .run = run,
    .destroy = destroy,
    .step_count = step_count,
    .step = step,
    .set_profiling = set_profiling,
};
