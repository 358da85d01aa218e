/* Functions that TVM's client looks up by name, and those of libraries that it has uploaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tvm_server.h"

bool tvm_fail(tvm_server *s, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->error, sizeof s->error, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_kind(char kind, int32_t type) {
    switch (kind) {
    case 's': return type == TVM_RAW_STRING;
    case 'b': return type == TVM_BYTE_ARRAY;
    case 'i': return type == TVM_INT || type == TVM_BOOL;
    case 'd': return type == TVM_DEVICE;
    case 'p': return type == TVM_POINTER || type == TVM_NONE;
    case 'y': return type == TVM_DATA_TYPE;
    case 't': return type == TVM_TENSOR_POINTER;
    case 'm': return type == TVM_MODULE;
    case 'S': return type == TVM_RAW_STRING || type == TVM_NONE;
    case 'M': return type == TVM_MODULE || type == TVM_NONE;
    }
    return false;
}

bool tvm_check(tvm_server *s, const char *name, const char *kinds, const tvm_value *arguments,
               int32_t count) {
    int32_t wanted = (int32_t)strlen(kinds);
    if (count != wanted)
        return tvm_fail(s, "%s takes %d arguments, not %d", name, wanted, count);
    for (int32_t i = 0; i < count; i++)
        if (!is_kind(kinds[i], arguments[i].type))
            return tvm_fail(s, "argument %d of %s has the wrong type (%d)", i, name,
                            arguments[i].type);
    return true;
}

/* ---- Calls ----------------------------------------------------------------------------- */

/* What may go back: objects would be of a runtime that is not here, and addresses stay here. */
static bool check_result(tvm_server *s, const char *name, tvm_value *result) {
    switch (result->type) {
    case TVM_NONE:
    case TVM_INT:
    case TVM_BOOL:
    case TVM_FLOAT:
    case TVM_DATA_TYPE:
    case TVM_DEVICE: return true;
    case TVM_SMALL_STRING:
    case TVM_SMALL_BYTES: break;
    default:
        return tvm_fail(s, "%s gave a result of type %d, which cannot leave this agent", name,
                        result->type);
    }
    size_t size = result->small_size <= 7 ? result->small_size : 7;
    tvm_bytes *kept = wire_keep(&s->wire, sizeof *kept + size + 1);
    if (!kept) return tvm_fail(s, "out of memory");
    char *text = memcpy(kept + 1, result->small, size);
    text[size] = 0;
    *kept = (tvm_bytes){text, size};
    *result = result->type == TVM_SMALL_STRING
                  ? (tvm_value){.type = TVM_RAW_STRING, .string = text}
                  : (tvm_value){.type = TVM_BYTE_ARRAY, .bytes = kept};
    return true;
}

bool tvm_takes(tvm_server *s, const tvm_object *kernel, const tvm_value *arguments,
               int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        int32_t type = arguments[i].type;
        if (type == TVM_MODULE || type == TVM_FUNCTION ||
            (type == TVM_POINTER && arguments[i].bits))
            return tvm_fail(s, "argument %d of %s is an address, which this agent takes for tensors only",
                            i, kernel->function.name);
    }
    return true;
}

bool tvm_blame(tvm_server *s, const tvm_object *kernel) {
    tvm_take_raised(s->error, sizeof s->error);
    return *s->error ? false : tvm_fail(s, "%s failed without a reason", kernel->function.name);
}

static bool call_kernel(tvm_server *s, tvm_object *self, const tvm_value *arguments, int32_t count,
                        tvm_value *result) {
    if (!tvm_takes(s, self, arguments, count)) return false;
    guard_enter(self->function.name);
    int failed = self->function.kernel(NULL, arguments, count, result);
    guard_leave();
    return failed ? tvm_blame(s, self) : check_result(s, self->function.name, result);
}

bool tvm_call(tvm_server *s, tvm_object *function, const tvm_value *arguments, int32_t count,
              tvm_value *result) {
    *result = (tvm_value){.type = TVM_NONE};
    tvm_builtin *builtin = function->function.builtin;
    return (builtin ? builtin : call_kernel)(s, function, arguments, count, result);
}

/* ---- Libraries ------------------------------------------------------------------------- */

/* TVM's modules for machines with a compiler, which a device has not. */
static bool is_library(tvm_server *s, const tvm_file *f) {
    char magic[SELFMAG];
    if (pread(f->file, magic, SELFMAG, 0) == SELFMAG && memcmp(magic, ELFMAG, SELFMAG) == 0) {
        uint16_t kind = 0;
        ssize_t got = pread(f->file, &kind, sizeof kind, EI_NIDENT);
        if (got == sizeof kind && kind == ET_DYN) return true;
    }
    return tvm_fail(s, "%s is no shared library, and there is no linker here: use export_library(\"NAME.so\", "
                       "fcompile=...) with a linker for this device", f->name);
}

/* Kernels call mathematical functions as if they were there, as in TVM's server they are. */
static void have_mathematics(void) {
    if (!dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL)) dlopen("libm.so", RTLD_NOW | RTLD_GLOBAL);
}

/* The path of an open file is a name that no other library has, whatever was uploaded before. */
static bool open_library(tvm_server *s, const tvm_file *f, tvm_object *library) {
    char path[32];
    library->library.file = fcntl(f->file, F_DUPFD_CLOEXEC, 3);
    if (library->library.file < 0) return tvm_fail(s, "too many files are open");
    snprintf(path, sizeof path, "/proc/self/fd/%d", library->library.file);
    have_mathematics();
    guard_enter(f->name);
    library->library.opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    guard_leave();
    if (!library->library.opened)
        return tvm_fail(s, "%s cannot be opened: %s", f->name, dlerror());
    return tvm_connect_library(s, library->library.opened);
}

static bool load_module(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                        tvm_value *result) {
    (void)self;
    if (!tvm_check(s, "load_module", "s", a, count)) return false;
    tvm_file *f = tvm_find_file(s, a[0].string);
    if (!f || !is_library(s, f)) return false;
    tvm_object *library = objects_add(&s->objects, KIND_LIBRARY);
    if (!library) return tvm_fail(s, "the session holds too many objects");
    if (!open_library(s, f, library)) {
        objects_release(&s->objects, library);
        return false;
    }
    *result = (tvm_value){.type = TVM_MODULE, .bits = objects_handle(&s->objects, library)};
    return true;
}

static void *find_symbol(tvm_object *library, const char *name, tvm_object **owner) {
    char symbol[sizeof TVM_SYMBOL_PREFIX + 512];
    if (strlen(name) > 512) return NULL;
    snprintf(symbol, sizeof symbol, TVM_SYMBOL_PREFIX "%s", name);
    void *found = dlsym(library->library.opened, symbol);
    *owner = library;
    for (int i = 0; !found && i < library->library.imported; i++) {
        *owner = library->library.imports[i];
        found = dlsym((*owner)->library.opened, symbol);
    }
    return found;
}

tvm_object *tvm_library_function(tvm_server *s, tvm_object *library, const char *name) {
    tvm_object *owner;
    void *found = find_symbol(library, name, &owner);
    if (!found) {
        tvm_fail(s, "the library has no function %.200s", name);
        return NULL;
    }
    tvm_object *function = objects_add(&s->objects, KIND_FUNCTION);
    if (!function) {
        tvm_fail(s, "the session holds too many objects");
        return NULL;
    }
    memcpy(&function->function.kernel, &found, sizeof found);
    function->function.needs = objects_keep(owner);
    snprintf(function->function.name, sizeof function->function.name, "%s", name);
    return function;
}

static tvm_object *library_of(tvm_server *s, const tvm_value *v) {
    tvm_object *library = objects_find(&s->objects, v->bits, KIND_LIBRARY);
    if (!library) tvm_fail(s, "the library was freed or never loaded");
    return library;
}

static bool module_get_function(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                                tvm_value *result) {
    (void)self;
    if (!tvm_check(s, "ModuleGetFunction", "msi", a, count)) return false;
    tvm_object *library = library_of(s, &a[0]);
    tvm_object *function = library ? tvm_library_function(s, library, a[1].string) : NULL;
    if (!library) return false;
    /* none of that name: TVM's client says so in its own words */
    if (function)
        *result = (tvm_value){.type = TVM_FUNCTION, .bits = objects_handle(&s->objects, function)};
    return true;
}

static bool import_module(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                          tvm_value *result) {
    (void)self;
    (void)result;
    if (!tvm_check(s, "ImportModule", "mm", a, count)) return false;
    tvm_object *parent = library_of(s, &a[0]), *child = library_of(s, &a[1]);
    if (!parent || !child) return false;
    if (parent == child || parent->library.imported == MOST_IMPORTS)
        return tvm_fail(s, "a library imports at most %d others", MOST_IMPORTS);
    parent->library.imports[parent->library.imported++] = objects_keep(child);
    return true;
}

/* ---- Names ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    tvm_builtin *builtin;
} BUILTINS[] = {
    {"tvm.rpc.server.upload", tvm_upload},
    {"tvm.rpc.server.download", tvm_download},
    {"tvm.rpc.server.remove", tvm_remove},
    {"tvm.rpc.server.listdir", tvm_list},
    {"tvm.rpc.server.load_module", load_module},
    {"tvm.rpc.server.ModuleGetFunction", module_get_function},
    {"tvm.rpc.server.ImportModule", import_module},
    {"runtime.RPCTimeEvaluator", tvm_time_evaluator},
    {"runtime.config_threadpool", tvm_set_threads},
    {"cache_flush_cpu_non_first_arg", tvm_flush_cache},
    {"tvm.contrib.random.random_fill", tvm_fill_random},
    {"tvm.contrib.random.random_fill_for_measure", tvm_fill_random},
};

tvm_builtin *tvm_builtin_named(const char *name) {
    for (size_t i = 0; i < sizeof BUILTINS / sizeof *BUILTINS; i++)
        if (strcmp(BUILTINS[i].name, name) == 0) return BUILTINS[i].builtin;
    return NULL;
}
