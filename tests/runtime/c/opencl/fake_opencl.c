/* A driver that stands in for libOpenCL: it counts its objects, fails where it is told to, and knows two
 * kernels by their names, which it computes on the CPU. */
#include "fake_opencl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_api.h"

#define EXPORT __attribute__((visibility("default")))
enum { MOST_BYTES = 1 << 26, FAILED = -5, REFUSED = -42, NO_KERNEL = -46, BAD_GROUP = -54 };

EXPORT fake_driver fake = {.group_items = 256, .alignment = 1024, .fp16 = 1, .unified = 1, .driver = "1"};

typedef enum { CONTEXT, QUEUE, MEMORY, PROGRAM, KERNEL, EVENT } kind;

typedef struct object {
    kind kind;
    int references;
    struct object *parent; /* kept alive by it */
    unsigned char *data;
    size_t bytes;
    int mapped;
    char text[32]; /* a kernel's name */
    struct object *arguments[8];
} object;

static object *make(kind kind, object *parent, size_t bytes) {
    object *o = calloc(1, sizeof *o);
    o->kind = kind;
    o->references = 1;
    o->parent = parent;
    o->bytes = bytes;
    if (parent) parent->references++;
    fake.live++;
    return o;
}

static void release(object *o, kind kind) {
    assert(o->kind == kind && o->references > 0);
    if (--o->references) return;
    assert(!o->mapped);
    fake.live--;
    /* A sub-buffer's memory is its parent's. */
    if (!(o->parent && o->parent->kind == MEMORY)) free(o->data);
    if (o->parent) release(o->parent, o->parent->kind);
    free(o);
}

static int fails(void) { return ++fake.calls == fake.fail_at; }
static int lost(void) { return ++fake.enqueues >= fake.lost_at && fake.lost_at; }

/* A pointer or NULL with a status. */
static void *given(void *made, cl_int *status, cl_int failed) {
    if (status) *status = made ? CL_SUCCESS : failed;
    return made;
}

static cl_int tell(const void *from, size_t bytes, size_t room, void *to, size_t *size) {
    if (size) *size = bytes;
    if (to && room < bytes) return -30;
    if (to) memcpy(to, from, bytes);
    return CL_SUCCESS;
}

static cl_int tell_text(const char *text, size_t room, void *to, size_t *size) {
    return tell(text, strlen(text) + 1, room, to, size);
}

EXPORT cl_int clGetPlatformIDs(cl_uint room, cl_platform_id *platforms, cl_uint *count) {
    if (fails()) return FAILED;
    if (room) platforms[0] = (cl_platform_id)&fake;
    *count = 1;
    return CL_SUCCESS;
}

EXPORT cl_int clGetPlatformInfo(cl_platform_id p, cl_uint what, size_t room, void *to, size_t *size) {
    (void)p, (void)what;
    return fails() ? FAILED : tell_text("OpenCL 1.2 fake", room, to, size);
}

EXPORT cl_int clGetDeviceIDs(cl_platform_id p, cl_bitfield type, cl_uint room, cl_device_id *devices,
                             cl_uint *count) {
    (void)p, (void)type, (void)room;
    if (fails()) return FAILED;
    devices[0] = (cl_device_id)&fake;
    *count = 1;
    return CL_SUCCESS;
}

EXPORT cl_int clGetDeviceInfo(cl_device_id d, cl_uint what, size_t room, void *to, size_t *size) {
    size_t items[3] = {1024, 1024, 64};
    cl_uint yes = 1, unified = (cl_uint)fake.unified, alignment = (cl_uint)fake.alignment;
    cl_ulong memory = (cl_ulong)1 << 30;
    (void)d;
    if (fails()) return FAILED;
    switch (what) {
    case CL_DEVICE_NAME: return tell_text("Fake GPU", room, to, size);
    case CL_DEVICE_VERSION: return tell_text("OpenCL 1.2", room, to, size);
    case CL_DRIVER_VERSION: return tell_text(fake.driver, room, to, size);
    case CL_DEVICE_EXTENSIONS: return tell_text(fake.fp16 ? "cl_khr_fp16 " : "", room, to, size);
    case CL_DEVICE_IMAGE_SUPPORT: return tell(&yes, sizeof yes, room, to, size);
    case CL_DEVICE_HOST_UNIFIED_MEMORY: return tell(&unified, sizeof unified, room, to, size);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN: return tell(&alignment, sizeof alignment, room, to, size);
    case CL_DEVICE_GLOBAL_MEM_SIZE: return tell(&memory, sizeof memory, room, to, size);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES: return tell(items, sizeof items, room, to, size);
    default: return -30;
    }
}

EXPORT cl_context clCreateContext(const cl_context_properties *p, cl_uint n, const cl_device_id *d,
                                  cl_notify f, void *data, cl_int *status) {
    (void)p, (void)n, (void)d, (void)f, (void)data;
    return given(fails() ? NULL : make(CONTEXT, NULL, 0), status, FAILED);
}

EXPORT cl_command_queue clCreateCommandQueue(cl_context c, cl_device_id d, cl_bitfield flags,
                                             cl_int *status) {
    (void)d, (void)flags;
    return given(fails() ? NULL : make(QUEUE, (object *)c, 0), status, FAILED);
}

static object *memory(cl_context c, size_t bytes, const void *data) {
    if (fails() || bytes > MOST_BYTES) return NULL;
    object *o = make(MEMORY, (object *)c, bytes);
    o->data = calloc(1, bytes);
    if (data) memcpy(o->data, data, bytes);
    return o;
}

EXPORT cl_mem clCreateBuffer(cl_context c, cl_bitfield flags, size_t bytes, void *data, cl_int *status) {
    assert(!data == !(flags & CL_MEM_COPY_HOST_PTR));
    return given(memory(c, bytes, data), status, -4);
}

EXPORT cl_mem clCreateSubBuffer(cl_mem parent, cl_bitfield flags, cl_uint type, const void *region,
                                cl_int *status) {
    const cl_buffer_region *r = region;
    object *whole = (object *)parent;
    (void)flags;
    assert(type == CL_BUFFER_CREATE_TYPE_REGION && r->origin + r->size <= whole->bytes);
    assert(r->origin * 8 % (size_t)fake.alignment == 0);
    if (fails()) return given(NULL, status, FAILED);
    object *o = make(MEMORY, whole, r->size);
    o->data = whole->data + r->origin;
    return given(o, status, 0);
}

EXPORT cl_mem clCreateImage(cl_context c, cl_bitfield flags, const cl_image_format *format,
                            const cl_image_desc *d, void *data, cl_int *status) {
    size_t texel = format->channel_type == CL_FLOAT ? 16 : 8, layers = d->array_size ? d->array_size : 1;
    assert(!data == !(flags & CL_MEM_COPY_HOST_PTR));
    return given(memory(c, d->width * d->height * layers * texel, data), status, -4);
}

EXPORT cl_program clCreateProgramWithSource(cl_context c, cl_uint count, const char **texts,
                                            const size_t *sizes, cl_int *status) {
    (void)sizes;
    if (fails()) return given(NULL, status, FAILED);
    object *o = make(PROGRAM, (object *)c, 1);
    for (cl_uint i = 0; i < count; i++) o->bytes += strlen(texts[i]);
    o->data = calloc(1, o->bytes + 1);
    o->data[0] = 'S';
    for (cl_uint i = 0; i < count; i++) strcat((char *)o->data, texts[i]);
    return given(o, status, 0);
}

EXPORT cl_program clCreateProgramWithBinary(cl_context c, cl_uint count, const cl_device_id *d,
                                            const size_t *sizes, const unsigned char **data,
                                            cl_int *binary_status, cl_int *status) {
    (void)count, (void)d;
    if (fails() || fake.binary_refused) return given(NULL, status, REFUSED);
    assert(sizes[0] && data[0][0] == 'B');
    object *o = make(PROGRAM, (object *)c, sizes[0]);
    o->data = calloc(1, sizes[0] + 1);
    memcpy(o->data, data[0], sizes[0]);
    *binary_status = CL_SUCCESS;
    return given(o, status, 0);
}

EXPORT cl_int clBuildProgram(cl_program program, cl_uint n, const cl_device_id *d, const char *options,
                             cl_notify f, void *data) {
    object *o = (object *)program;
    (void)n, (void)d, (void)options, (void)f, (void)data;
    if (fails()) return FAILED;
    if (o->data[0] == 'S') {
        if (fake.build_fails) return CL_BUILD_PROGRAM_FAILURE;
        fake.compiled++;
        o->data[0] = 'B';
    }
    return CL_SUCCESS;
}

EXPORT cl_int clGetProgramInfo(cl_program program, cl_uint what, size_t room, void *to, size_t *size) {
    object *o = (object *)program;
    if (fails()) return FAILED;
    if (what == CL_PROGRAM_BINARY_SIZES) return tell(&o->bytes, sizeof o->bytes, room, to, size);
    assert(what == CL_PROGRAM_BINARIES && room == sizeof(void *));
    memcpy(*(unsigned char **)to, o->data, o->bytes);
    return CL_SUCCESS;
}

EXPORT cl_int clGetProgramBuildInfo(cl_program program, cl_device_id d, cl_uint what, size_t room,
                                    void *to, size_t *size) {
    (void)program, (void)d, (void)what;
    return fails() ? FAILED : tell_text("warning: one\nkernel.cl:3: error: no such type\n", room, to, size);
}

EXPORT cl_kernel clCreateKernel(cl_program program, const char *name, cl_int *status) {
    object *p = (object *)program;
    if (fails() || !strstr((const char *)p->data, name)) return given(NULL, status, NO_KERNEL);
    object *o = make(KERNEL, p, 0);
    snprintf(o->text, sizeof o->text, "%s", name);
    return given(o, status, 0);
}

EXPORT cl_int clSetKernelArg(cl_kernel kernel, cl_uint index, size_t bytes, const void *value) {
    assert(bytes == sizeof(cl_mem));
    if (fails() || index >= 8) return FAILED;
    memcpy(&((object *)kernel)->arguments[index], value, bytes);
    return CL_SUCCESS;
}

EXPORT cl_int clGetKernelWorkGroupInfo(cl_kernel k, cl_device_id d, cl_uint what, size_t room, void *to,
                                       size_t *size) {
    size_t items = (size_t)fake.group_items;
    (void)k, (void)d;
    assert(what == CL_KERNEL_WORK_GROUP_SIZE);
    return fails() ? FAILED : tell(&items, sizeof items, room, to, size);
}

/* twice(x, y): y = 2 x. plus(x, w, y): y = x + w. */
static void compute(const object *k, size_t begin, size_t end) {
    int plus = strcmp(k->text, "plus") == 0;
    object *const *a = k->arguments;
    const float *x = (const float *)a[0]->data, *w = (const float *)a[1]->data;
    float *y = (float *)a[plus ? 2 : 1]->data;
    assert(!a[0]->mapped && !a[plus ? 2 : 1]->mapped && end * sizeof *y <= a[plus ? 2 : 1]->bytes);
    for (size_t i = begin; i < end; i++) y[i] = plus ? x[i] + w[i] : 2 * x[i];
}

static void give_event(object *queue, cl_event *event) {
    if (event) *event = (cl_event)make(EVENT, queue, 0);
}

EXPORT cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel kernel, cl_uint dims,
                                     const size_t *offset, const size_t *global, const size_t *local,
                                     cl_uint n, const cl_event *wait, cl_event *event) {
    size_t items = 1, begin = offset ? offset[0] : 0;
    (void)n, (void)wait;
    if (fails() || lost()) return FAILED;
    for (cl_uint i = 0; local && i < dims; i++) {
        assert(global[i] % local[i] == 0);
        items *= local[i];
    }
    if (items > (size_t)fake.group_items) return BAD_GROUP;
    fake.launches++;
    compute((object *)kernel, begin, begin + global[0]);
    give_event((object *)q, event);
    return CL_SUCCESS;
}

EXPORT cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool block, size_t at, size_t bytes,
                                  void *to, cl_uint n, const cl_event *wait, cl_event *event) {
    object *o = (object *)m;
    (void)block, (void)n, (void)wait;
    if (fails() || lost()) return FAILED;
    assert(at + bytes <= o->bytes);
    memcpy(to, o->data + at, bytes);
    give_event((object *)q, event);
    return CL_SUCCESS;
}

EXPORT cl_int clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool block, size_t at, size_t bytes,
                                   const void *from, cl_uint n, const cl_event *wait, cl_event *event) {
    object *o = (object *)m;
    (void)block, (void)n, (void)wait;
    if (fails() || lost()) return FAILED;
    assert(at + bytes <= o->bytes);
    memcpy(o->data + at, from, bytes);
    give_event((object *)q, event);
    return CL_SUCCESS;
}

EXPORT void *clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool block, cl_bitfield how, size_t at,
                                size_t bytes, cl_uint n, const cl_event *wait, cl_event *event,
                                cl_int *status) {
    object *o = (object *)m;
    (void)q, (void)block, (void)how, (void)n, (void)wait, (void)event;
    if (fails() || lost()) return given(NULL, status, FAILED);
    assert(at + bytes <= o->bytes);
    o->mapped++;
    fake.mapped++;
    return given(o->data + at, status, 0);
}

EXPORT cl_int clEnqueueUnmapMemObject(cl_command_queue q, cl_mem m, void *at, cl_uint n,
                                      const cl_event *wait, cl_event *event) {
    object *o = (object *)m;
    (void)q, (void)at, (void)n, (void)wait, (void)event;
    assert(o->mapped == 1);
    o->mapped = 0; /* a queue that fails lets go of what was mapped, too */
    return fails() || lost() ? FAILED : CL_SUCCESS;
}

EXPORT cl_int clFlush(cl_command_queue q) { return (void)q, fails() ? FAILED : CL_SUCCESS; }
EXPORT cl_int clFinish(cl_command_queue q) { return (void)q, fails() || lost() ? FAILED : CL_SUCCESS; }

EXPORT cl_int clGetEventProfilingInfo(cl_event e, cl_uint what, size_t room, void *to, size_t *size) {
    cl_ulong ns = what == CL_PROFILING_COMMAND_END ? 5000000 : 1000000;
    (void)e;
    return fails() ? FAILED : tell(&ns, sizeof ns, room, to, size);
}

EXPORT cl_int clReleaseContext(cl_context o) { return release((object *)o, CONTEXT), CL_SUCCESS; }
EXPORT cl_int clReleaseCommandQueue(cl_command_queue o) { return release((object *)o, QUEUE), CL_SUCCESS; }
EXPORT cl_int clReleaseMemObject(cl_mem o) { return release((object *)o, MEMORY), CL_SUCCESS; }
EXPORT cl_int clReleaseProgram(cl_program o) { return release((object *)o, PROGRAM), CL_SUCCESS; }
EXPORT cl_int clReleaseKernel(cl_kernel o) { return release((object *)o, KERNEL), CL_SUCCESS; }
EXPORT cl_int clReleaseEvent(cl_event o) { return release((object *)o, EVENT), CL_SUCCESS; }
