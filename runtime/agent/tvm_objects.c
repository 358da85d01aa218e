#define _GNU_SOURCE
#include "tvm_objects.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

enum { PLACES = 1 << 16 };

bool objects_open(tvm_objects *o) {
    *o = (tvm_objects){.places = calloc(PLACES, sizeof(tvm_object))};
    return o->places != NULL;
}

tvm_object *objects_add(tvm_objects *o, tvm_kind kind) {
    uint32_t i = 0;
    while (i < o->used && o->places[i].kind != KIND_FREE) i++;
    if (i == PLACES) return NULL;
    if (i == o->used) o->used++;
    tvm_object *object = &o->places[i];
    *object = (tvm_object){
        .kind = kind, .generation = object->generation + 1, .references = 1};
    if (kind == KIND_LIBRARY) object->library.file = -1;
    return object;
}

/* Never 0, as a place is in use for the first time with generation 1. */
uint64_t objects_handle(const tvm_objects *o, const tvm_object *object) {
    return (uint64_t)object->generation << 32 | (uint64_t)(object - o->places);
}

tvm_object *objects_find(const tvm_objects *o, uint64_t handle, tvm_kind kind) {
    uint32_t place = (uint32_t)handle;
    if (place >= o->used) return NULL;
    tvm_object *object = &o->places[place];
    return object->kind == kind && object->generation == handle >> 32 ? object : NULL;
}

tvm_object *objects_keep(tvm_object *object) {
    object->references++;
    return object;
}

static void close_library(tvm_objects *o, tvm_object *object) {
    for (int i = 0; i < object->library.imported; i++)
        objects_release(o, object->library.imports[i]);
    if (object->library.opened) dlclose(object->library.opened);
    if (object->library.file >= 0) close(object->library.file);
}

void objects_release(tvm_objects *o, tvm_object *object) {
    if (!object || --object->references) return;
    switch (object->kind) {
    case KIND_MEMORY:
        free(object->memory.data);
        o->memory -= object->memory.bytes;
        break;
    case KIND_LIBRARY: close_library(o, object); break;
    case KIND_FUNCTION:
        free(object->function.state);
        objects_release(o, object->function.needs);
        break;
    case KIND_FREE: break;
    }
    object->kind = KIND_FREE;
}
