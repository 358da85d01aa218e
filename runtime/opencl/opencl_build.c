/* Builds programs: from the cache's binaries if the driver takes them, else from source. */
#include "opencl_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_cache.h"

/* OpenCL counts groups from 0 in every launch, also in one that begins at an offset. */
static const char PRELUDE[] =
    "#define get_group_id(d) (get_group_id(d) + get_global_offset(d) / get_local_size(d))\n";

static void release(const opencl_device *d, cl_program *programs, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (programs[i]) d->cl.clReleaseProgram(programs[i]);
        programs[i] = NULL;
    }
}

/* The first line of the compiler's log that tells of an error. */
static bool build_failed(const opencl_device *d, cl_program program, cl_int status,
                         opencl_message message) {
    size_t bytes = 0;
    d->cl.clGetProgramBuildInfo(program, d->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    char *log = calloc(bytes + 1, 1);
    if (log && bytes)
        d->cl.clGetProgramBuildInfo(program, d->device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    char *line = log ? strstr(log, "error") : NULL;
    if (!line) line = log;
    int length = line ? (int)strcspn(line, "\n") : 0;
    opencl_fail(message, "the driver of %s does not compile a kernel: %s (%d) %.*s", d->name,
                opencl_error(status), status, length < 120 ? length : 120, line ? line : "");
    free(log);
    return false;
}

static bool build_sources(const opencl_device *d, const program_view *p, bool split,
                          cl_program *programs, opencl_message message) {
    char *sources = program_sources(p);
    if (!sources) return opencl_fail(message, "out of memory for the sources of GPU kernels");
    const char *options = p->strings + p->header->options, *source = sources;
    bool built = true;
    for (uint32_t i = 0; built && i < p->header->source_count; i++) {
        const char *texts[] = {split ? PRELUDE : "", source};
        cl_int status = CL_SUCCESS;
        programs[i] = d->cl.clCreateProgramWithSource(d->context, 2, texts, NULL, &status);
        if (!programs[i]) {
            built = opencl_fail(message, "the driver of %s takes no source: %s (%d)", d->name,
                                opencl_error(status), status);
            break;
        }
        status = d->cl.clBuildProgram(programs[i], 1, &d->device, options, NULL, NULL);
        if (status != CL_SUCCESS) built = build_failed(d, programs[i], status, message);
        source += strlen(source) + 1;
    }
    free(sources);
    return built;
}

static bool build_binaries(const opencl_device *d, const program_view *p, const cache_binaries *b,
                           cl_program *programs) {
    const char *options = p->strings + p->header->options;
    for (uint32_t i = 0; i < b->count; i++) {
        const unsigned char *data = b->data[i];
        cl_int status = CL_SUCCESS, binary_status = CL_SUCCESS;
        programs[i] = d->cl.clCreateProgramWithBinary(d->context, 1, &d->device, &b->sizes[i], &data,
                                                      &binary_status, &status);
        if (!programs[i] || status != CL_SUCCESS || binary_status != CL_SUCCESS ||
            d->cl.clBuildProgram(programs[i], 1, &d->device, options, NULL, NULL) != CL_SUCCESS) {
            release(d, programs, b->count);
            return false;
        }
    }
    return true;
}

/* What the driver made; false if it does not tell, or if it is too much to keep. */
static bool take_binaries(const opencl_device *d, cl_program *programs, uint32_t count,
                          cache_binaries *b) {
    uint64_t *sizes = calloc((size_t)count + 1, sizeof *sizes);
    bool told = sizes != NULL;
    for (uint32_t i = 0; told && i < count; i++) {
        size_t size = 0;
        told = d->cl.clGetProgramInfo(programs[i], CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) ==
                   CL_SUCCESS && size;
        sizes[i] = size;
    }
    told = told && binaries_make(b, count, sizes);
    free(sizes);
    for (uint32_t i = 0; told && i < count; i++)
        told = d->cl.clGetProgramInfo(programs[i], CL_PROGRAM_BINARIES, sizeof b->data[i], &b->data[i],
                                      NULL) == CL_SUCCESS;
    return told;
}

/* Programs for launches that may be cut are others. */
static cache_key key_of(const opencl_device *d, const program_view *p, bool split) {
    const unsigned char variant = split;
    return (cache_key){hash_more(p->header->source_hash, &variant, 1), d->identity};
}

void opencl_keep(const opencl_device *d, const program_view *p, const char *folder, bool split,
                 cl_program *programs, opencl_message message) {
    cache_binaries b = {0};
    cache_key key = key_of(d, p, split);
    const char *problem = "the driver does not give away what it compiled, or it is too large to keep";
    if (take_binaries(d, programs, p->header->source_count, &b)) problem = cache_store(folder, &key, &b);
    binaries_free(&b);
    if (problem) opencl_fail(message, "%s: kernels are compiled at every open", problem);
}

bool opencl_build(const opencl_device *d, const program_view *p, const char *folder, bool split,
                  cl_program *programs, bool *compiled, opencl_message message) {
    uint32_t count = p->header->source_count;
    cache_key key = key_of(d, p, split);
    const char *ignored = NULL;
    cache_binaries b;
    *compiled = false;
    opencl_fail(message, "%s", "");
    if (folder && cache_load(folder, &key, count, &b, &ignored)) {
        bool taken = build_binaries(d, p, &b, programs);
        binaries_free(&b);
        if (taken) return true;
        ignored = "the driver refused what the GPU cache had";
    }
    *compiled = build_sources(d, p, split, programs, message);
    if (*compiled && ignored) opencl_fail(message, "%s: kernels were compiled anew", ignored);
    return *compiled;
}
