/* The shim: brings a region's blob to the toy chip. The vendor's library is looked for by name, or
 * where TOY_NPU_LIBRARY says; without it, or with another version of it, the CPU does the region. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "armlet_npu.h"
#include "toy_device.h"

typedef struct {
    void *library;
    toy_program *program;
    int (*run)(toy_program *, const float *const *, float *const *);
    void (*free)(toy_program *);
} region;

static armlet_status say(char *error, size_t size, armlet_status status, const char *text) {
    snprintf(error, size, "%s", text);
    return status;
}

/* Finds the library's functions and loads the blob. */
static armlet_status load(region *r, const armlet_npu_blob *blob, char *error, size_t size) {
    const char *path = getenv("TOY_NPU_LIBRARY");
    r->library = dlopen(path ? path : "libtoynpu.so", RTLD_NOW | RTLD_LOCAL);
    if (!r->library) return say(error, size, ARMLET_UNAVAILABLE, "libtoynpu.so cannot be opened");
    int (*version)(void) = (int (*)(void))dlsym(r->library, "toy_version");
    if (!version || version() != TOY_VERSION)
        return say(error, size, ARMLET_UNAVAILABLE, "libtoynpu.so is of another version than 1");
    int (*toy_load)(const void *, uint64_t, toy_program **) =
        (int (*)(const void *, uint64_t, toy_program **))dlsym(r->library, "toy_load");
    r->run = (int (*)(toy_program *, const float *const *, float *const *))dlsym(r->library, "toy_run");
    r->free = (void (*)(toy_program *))dlsym(r->library, "toy_free");
    if (!toy_load || !r->run || !r->free)
        return say(error, size, ARMLET_UNAVAILABLE, "libtoynpu.so lacks a function");
    switch (toy_load(blob->data, blob->bytes, &r->program)) {
    case 0: return ARMLET_OK;
    case TOY_MEMORY: return say(error, size, ARMLET_ERROR_MEMORY, "the toy NPU is out of memory");
    case TOY_DAMAGED: return say(error, size, ARMLET_UNAVAILABLE, "the program is damaged");
    default: return say(error, size, ARMLET_UNAVAILABLE, "the toy NPU does not answer");
    }
}

static void destroy(void *handle) {
    region *r = handle;
    if (r->program) r->free(r->program);
    if (r->library) dlclose(r->library);
    free(r);
}

static armlet_status create(const armlet_npu_blob *blob, void **made, char *error, size_t size) {
    region *r = calloc(1, sizeof *r);
    if (!r) return say(error, size, ARMLET_ERROR_MEMORY, "out of memory");
    armlet_status status = load(r, blob, error, size);
    if (status == ARMLET_OK)
        *made = r;
    else
        destroy(r);
    return status;
}

static armlet_status run(void *handle, const void *const *inputs, void *const *outputs, char *error,
                         size_t size) {
    region *r = handle;
    if (r->run(r->program, (const float *const *)inputs, (float *const *)outputs) == 0)
        return ARMLET_OK;
    return say(error, size, ARMLET_UNAVAILABLE, "the toy NPU was lost during a run");
}

const armlet_npu_api armlet_npu_toy = {
    .version = ARMLET_NPU_VERSION,
    .name = "toy",
    .create = create,
    .run = run,
    .destroy = destroy,
};
