#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "tvm_server.h"

/* As TVM aligns it: what vector instructions and cache lines like. */
enum { ALIGNMENT = 64, MOST_ALIGNMENT = 4096 };

bool tvm_is_here(tvm_server *s, tvm_device device) {
    return (device.type == TVM_CPU && device.id == 0) ||
           tvm_fail(s, "this agent has cpu(0) only, not device %d of type %d", device.id,
                    device.type);
}

bool tvm_allocate(tvm_server *s, uint64_t bytes, uint64_t alignment, tvm_value *result) {
    uint64_t limit = s->settings->memory_bytes ? s->settings->memory_bytes : SIZE_MAX / 2;
    if (alignment & (alignment - 1) || alignment > MOST_ALIGNMENT)
        return tvm_fail(s, "memory cannot be aligned to %llu bytes", (unsigned long long)alignment);
    if (alignment < ALIGNMENT) alignment = ALIGNMENT;
    if (bytes > limit - s->objects.memory)
        return tvm_fail(s, "%llu bytes are more than this agent gives: %llu of %llu are in use",
                        (unsigned long long)bytes, (unsigned long long)s->objects.memory,
                        (unsigned long long)limit);
    void *data;
    if (posix_memalign(&data, (size_t)alignment, bytes ? (size_t)bytes : 1) != 0)
        return tvm_fail(s, "out of memory: %llu bytes are not to be had",
                        (unsigned long long)bytes);
    tvm_object *memory = objects_add(&s->objects, KIND_MEMORY);
    if (!memory) {
        free(data);
        return tvm_fail(s, "the session holds too many objects");
    }
    memory->memory.data = data;
    memory->memory.bytes = bytes;
    s->objects.memory += bytes;
    *result = (tvm_value){.type = TVM_POINTER, .bits = objects_handle(&s->objects, memory)};
    return true;
}

bool tvm_locate(tvm_server *s, const tvm_remote_tensor *t, char **data) {
    uint64_t offset = t->tensor.byte_offset;
    *data = NULL;
    if (!tvm_is_here(s, t->tensor.device)) return false;
    if (!t->bytes && !t->handle) return true;
    tvm_object *memory = objects_find(&s->objects, t->handle, KIND_MEMORY);
    if (!memory) return tvm_fail(s, "a tensor lies in memory that was freed or never allocated");
    if (offset > memory->memory.bytes || t->bytes > memory->memory.bytes - offset)
        return tvm_fail(s, "a tensor of %llu bytes at %llu is beyond the %llu bytes it was given",
                        (unsigned long long)t->bytes, (unsigned long long)offset,
                        (unsigned long long)memory->memory.bytes);
    *data = memory->memory.data;
    return true;
}

bool tvm_resolve(tvm_server *s, tvm_value *arguments, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        if (arguments[i].type != TVM_TENSOR_POINTER) continue;
        char *data;
        if (!tvm_locate(s, (tvm_remote_tensor *)arguments[i].tensor, &data)) return false;
        arguments[i].tensor->data = data;
    }
    return true;
}
