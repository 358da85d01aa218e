/* One arena, cut into sub-buffers by the plan, and what cannot lie in it: constants and images.
 *
 * Arm's and Qualcomm's guides agree that memory shared with the CPU is to be taken by
 * CL_MEM_ALLOC_HOST_PTR and mapped; memory of malloc's (CL_MEM_USE_HOST_PTR) is copied by their drivers. */
#include "opencl_memory.h"

#include <stdlib.h>
#include <string.h>

static cl_bitfield placement(const opencl_device *d) { return d->unified ? CL_MEM_ALLOC_HOST_PTR : 0; }

static cl_mem make_image(const opencl_device *d, const buffer_entry *b, cl_bitfield flags, void *data,
                         cl_int *status) {
    cl_image_format format = {CL_RGBA, b->dtype == DTYPE_FLOAT32 ? CL_FLOAT : CL_HALF_FLOAT};
    cl_image_desc desc = {
        .type = b->layers ? CL_MEM_OBJECT_IMAGE2D_ARRAY : CL_MEM_OBJECT_IMAGE2D,
        .width = b->width,
        .height = b->height,
        .array_size = b->layers,
    };
    return d->cl.clCreateImage(d->context, flags, &format, &desc, data, status);
}

static cl_mem make_buffer(const opencl_device *d, const opencl_memory *m, const buffer_entry *b,
                          const unsigned char *constant, cl_int *status) {
    void *data = (void *)(uintptr_t)constant; /* COPY_HOST_PTR only reads */
    cl_bitfield flags = constant ? CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR : CL_MEM_READ_WRITE;
    if (b->width) return make_image(d, b, flags, data, status);
    if (b->kind == IN_ARENA && m->arena) {
        cl_buffer_region region = {(size_t)b->offset, (size_t)b->bytes};
        return d->cl.clCreateSubBuffer(m->arena, flags, CL_BUFFER_CREATE_TYPE_REGION, &region, status);
    }
    if (b->kind != CONSTANT) flags |= placement(d);
    return d->cl.clCreateBuffer(d->context, flags, (size_t)b->bytes, data, status);
}

/* Whether the device can cut sub-buffers where the plan has them. */
static bool arena_fits(const opencl_device *d, const program_view *p) {
    for (uint32_t i = 0; i < p->header->buffer_count; i++)
        if (p->buffers[i].kind == IN_ARENA && p->buffers[i].offset % d->buffer_alignment) return false;
    return p->header->arena_bytes != 0;
}

static bool no_memory(const opencl_device *d, uint64_t bytes, cl_int status, opencl_message message) {
    return opencl_fail(message, "the GPU %s has no room for %llu bytes: %s (%d)", d->name,
                       (unsigned long long)bytes, opencl_error(status), status);
}

bool memory_make(const opencl_device *d, const program_view *p, opencl_memory *m, opencl_message message) {
    const program_header *h = p->header;
    cl_int status = CL_SUCCESS;
    uint64_t constant = 0;
    m->buffers = calloc((size_t)h->buffer_count + 1, sizeof *m->buffers);
    if (!m->buffers) return opencl_fail(message, "out of memory");
    if (d->memory && h->peak_bytes > d->memory)
        return opencl_fail(message, "the region needs %llu MiB of GPU memory; %s has %llu",
                           (unsigned long long)(h->peak_bytes >> 20), d->name,
                           (unsigned long long)(d->memory >> 20));
    if (h->arena_bytes > SIZE_MAX / 2 || h->bytes > SIZE_MAX / 2)
        return no_memory(d, h->arena_bytes, status, message);
    if (arena_fits(d, p)) {
        m->arena = d->cl.clCreateBuffer(d->context, CL_MEM_READ_WRITE | placement(d),
                                        (size_t)h->arena_bytes, NULL, &status);
        if (!m->arena) return no_memory(d, h->arena_bytes, status, message);
    }
    for (uint32_t i = 0; i < h->buffer_count; i++) {
        const buffer_entry *b = &p->buffers[i];
        const unsigned char *data = NULL;
        if (b->kind == CONSTANT) {
            constant = program_next_constant(constant);
            data = p->constants + constant;
            constant += b->bytes;
        }
        m->buffers[i] = make_buffer(d, m, b, data, &status);
        if (!m->buffers[i]) return no_memory(d, b->bytes, status, message);
    }
    return true;
}

void memory_free(const opencl_device *d, const program_view *p, opencl_memory *m) {
    for (uint32_t i = 0; m->buffers && i < p->header->buffer_count; i++)
        if (m->buffers[i]) d->cl.clReleaseMemObject(m->buffers[i]);
    if (m->arena) d->cl.clReleaseMemObject(m->arena);
    free(m->buffers);
    *m = (opencl_memory){0};
}

static void *map(const opencl_device *d, cl_command_queue queue, cl_mem buffer, cl_bitfield how,
                 size_t bytes, cl_int *status) {
    return d->cl.clEnqueueMapBuffer(queue, buffer, 1, how, 0, bytes, 0, NULL, NULL, status);
}

cl_int memory_write(const opencl_device *d, cl_command_queue queue, cl_mem buffer, const void *from,
                    size_t bytes) {
    cl_int status = CL_SUCCESS;
    if (!d->unified)
        return d->cl.clEnqueueWriteBuffer(queue, buffer, 0, 0, bytes, from, 0, NULL, NULL);
    void *mapped = map(d, queue, buffer, CL_MAP_WRITE_INVALIDATE_REGION, bytes, &status);
    if (!mapped) return status;
    memcpy(mapped, from, bytes);
    return d->cl.clEnqueueUnmapMemObject(queue, buffer, mapped, 0, NULL, NULL);
}

cl_int memory_read(const opencl_device *d, cl_command_queue queue, cl_mem buffer, void *to, size_t bytes) {
    cl_int status = CL_SUCCESS;
    if (!d->unified) return d->cl.clEnqueueReadBuffer(queue, buffer, 0, 0, bytes, to, 0, NULL, NULL);
    void *mapped = map(d, queue, buffer, CL_MAP_READ, bytes, &status);
    if (!mapped) return status;
    memcpy(to, mapped, bytes);
    return d->cl.clEnqueueUnmapMemObject(queue, buffer, mapped, 0, NULL, NULL);
}
