/* One kernel object a launch, whose arguments are set once. */
#include "opencl_launch.h"

/* Whether the device can run groups of this shape, for the registers that the kernel needs. */
static bool can_run(const opencl_device *d, const shape_entry *s, cl_kernel kernel, size_t *most) {
    size_t items = 1;
    *most = 0;
    if (!s->local[0]) return true;
    for (uint32_t i = 0; i < s->dims; i++) {
        if (s->local[i] > d->work_items[i]) return false;
        items *= s->local[i];
    }
    cl_int status = d->cl.clGetKernelWorkGroupInfo(kernel, d->device, CL_KERNEL_WORK_GROUP_SIZE,
                                                   sizeof *most, most, NULL);
    return status == CL_SUCCESS && items <= *most;
}

static bool choose_shape(const opencl_device *d, const program_view *p, const launch_entry *entry,
                         const cl_program *programs, opencl_launch *launch, opencl_message message) {
    const char *name = "";
    size_t most = 0;
    for (uint32_t i = 0; i < entry->shape_count; i++) {
        const shape_entry *shape = &p->shapes[entry->first_shape + i];
        const kernel_source *kernel = &p->kernels[shape->kernel];
        cl_int status = CL_SUCCESS;
        name = p->strings + kernel->name;
        launch->kernel = d->cl.clCreateKernel(programs[kernel->source], name, &status);
        if (!launch->kernel)
            return opencl_fail(message, "the driver of %s has not made the kernel %.60s: %s (%d)", d->name,
                               name, opencl_error(status), status);
        launch->shape = shape;
        if (can_run(d, shape, launch->kernel, &most)) return true;
        launch_free(d, launch);
    }
    return opencl_fail(message, "the GPU %s runs at most %zu work items in a group of the kernel %.60s, which needs more",
                       d->name, most, name);
}

bool launch_make(const opencl_device *d, const program_view *p, const launch_entry *entry,
                 const cl_program *programs, const cl_mem *buffers, opencl_launch *launch,
                 opencl_message message) {
    if (!choose_shape(d, p, entry, programs, launch, message)) return false;
    launch->ns = entry->expected_ns < INT64_MAX ? (int64_t)entry->expected_ns : INT64_MAX;
    for (uint32_t i = 0; i < entry->argument_count; i++) {
        const cl_mem *buffer = &buffers[p->arguments[entry->first_argument + i]];
        cl_int status = d->cl.clSetKernelArg(launch->kernel, i, sizeof *buffer, buffer);
        if (status != CL_SUCCESS)
            return opencl_fail(message, "the driver of %s refuses argument %u of the kernel %.60s: %s (%d)",
                               d->name, i, p->strings + p->kernels[launch->shape->kernel].name,
                               opencl_error(status), status);
    }
    return true;
}

static void drop_events(const opencl_device *d, opencl_launch *launch) {
    if (launch->first) d->cl.clReleaseEvent(launch->first);
    if (launch->last) d->cl.clReleaseEvent(launch->last);
    launch->first = launch->last = NULL;
}

void launch_free(const opencl_device *d, opencl_launch *launch) {
    drop_events(d, launch);
    if (launch->kernel) d->cl.clReleaseKernel(launch->kernel);
    launch->kernel = NULL;
}

/* The dimension with the most groups, and how many it has. */
static uint32_t longest(const shape_entry *s, uint32_t *groups) {
    uint32_t best = 0;
    *groups = 0;
    for (uint32_t i = 0; i < s->dims; i++) {
        uint32_t count = s->global[i] / (s->local[i] ? s->local[i] : 1);
        if (count >= *groups) {
            *groups = count;
            best = i;
        }
    }
    return best;
}

cl_int launch_enqueue(const opencl_device *d, cl_command_queue queue, opencl_launch *launch,
                      int64_t most_ns, bool measure) {
    const shape_entry *s = launch->shape;
    uint32_t groups, axis = longest(s, &groups);
    uint32_t unit = s->local[axis] ? s->local[axis] : 1;
    int64_t wanted = most_ns ? launch->ns / most_ns + 1 : 1;
    uint32_t pieces = wanted < groups ? (uint32_t)wanted : groups;
    size_t offset[3] = {0}, local[3] = {s->local[0], s->local[1], s->local[2]};
    size_t global[3] = {s->global[0], s->global[1], s->global[2]};
    drop_events(d, launch);
    for (uint32_t i = 0; i < pieces; i++) {
        uint64_t begin = (uint64_t)groups * i / pieces, end = (uint64_t)groups * (i + 1) / pieces;
        cl_event event = NULL;
        offset[axis] = (size_t)begin * unit;
        global[axis] = (size_t)(end - begin) * unit;
        cl_int status = d->cl.clEnqueueNDRangeKernel(queue, launch->kernel, s->dims,
                                                     pieces > 1 ? offset : NULL, global,
                                                     s->local[0] ? local : NULL, 0, NULL,
                                                     measure && (!i || i + 1 == pieces) ? &event : NULL);
        if (event && !i) launch->first = event;
        if (event && i) launch->last = event;
        /* A piece by itself, so that the screen's work has its turn between two. */
        if (status == CL_SUCCESS && pieces > 1) status = d->cl.clFlush(queue);
        if (status != CL_SUCCESS) return status;
    }
    return CL_SUCCESS;
}

void launch_measured(const opencl_device *d, opencl_launch *launch) {
    uint64_t start = 0, end = 0;
    cl_event last = launch->last ? launch->last : launch->first;
    if (launch->first &&
        d->cl.clGetEventProfilingInfo(launch->first, CL_PROFILING_COMMAND_START, sizeof start, &start,
                                      NULL) == CL_SUCCESS &&
        d->cl.clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) ==
            CL_SUCCESS)
        launch->ns = end > start ? (int64_t)(end - start) : 0;
    drop_events(d, launch);
}
