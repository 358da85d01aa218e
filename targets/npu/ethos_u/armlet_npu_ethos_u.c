/* The shim for Arm Ethos-U: runs Vela's command stream by Arm's driver, ethos-u-core-driver.
 *
 * The driver's functions are declared here as its public header ethosu_driver.h has them (Apache-2.0,
 * release 24.08 and later). They are looked for in libethosu_core_driver.so, the library that a board's
 * vendor builds of it, or where ARMLET_ETHOS_U_LIBRARY says. Never met the hardware.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "armlet_npu.h"

enum { MEMORIES = 3, ALIGNMENT = 16, FIELDS = 7 };

typedef struct ethosu_driver ethosu_driver;
typedef ethosu_driver *reserve_function(void);
typedef void release_function(ethosu_driver *);
typedef int invoke_function(ethosu_driver *, const void *commands, int bytes, const uint64_t *bases,
                            const size_t *sizes, int count, void *user);

/* An input or output: where it lies, and [N, C, H, W] as the model has it. */
typedef struct {
    uint32_t offset, memory, flip, n, c, h, w;
} image;

typedef struct {
    void *library;
    reserve_function *reserve;
    release_function *release;
    invoke_function *invoke;
    const unsigned char *commands;
    uint32_t command_bytes, input_count, output_count;
    const image *images;
    unsigned char *memory[MEMORIES]; /* the first is in the blob */
    size_t sizes[MEMORIES];
} region;

static armlet_status say(char *error, size_t size, armlet_status status, const char *text) {
    snprintf(error, size, "%s", text);
    return status;
}

static uint64_t padded(uint64_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Whether every input and output lies in memory that is written. */
static int fits(const region *r) {
    for (uint32_t i = 0; i < r->input_count + r->output_count; i++) {
        const image *v = &r->images[i];
        uint64_t bytes = (uint64_t)v->n * v->c * v->h * v->w;
        if (v->memory == 0 || v->memory >= MEMORIES || v->offset + bytes > r->sizes[v->memory]) return 0;
    }
    return 1;
}

static armlet_status read_blob(region *r, const armlet_npu_blob *blob, char *error, size_t size) {
    const unsigned char *data = blob->data;
    const char *damaged = "the program for Ethos-U is damaged";
    uint32_t head[6];
    if (blob->bytes < 4 + sizeof head || memcmp(data, "AEU1", 4) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, damaged);
    memcpy(head, data + 4, sizeof head);
    uint64_t images = ((uint64_t)head[4] + head[5]) * sizeof(image);
    uint64_t commands = padded(4 + sizeof head + images), weights = commands + padded(head[0]);
    if (weights + padded(head[1]) != blob->bytes) return say(error, size, ARMLET_UNAVAILABLE, damaged);
    r->images = (const image *)(const void *)(data + 4 + sizeof head);
    r->commands = data + commands, r->command_bytes = head[0];
    r->input_count = head[4], r->output_count = head[5];
    r->memory[0] = (unsigned char *)(uintptr_t)(data + weights);
    for (int i = 0; i < MEMORIES; i++) r->sizes[i] = head[i + 1];
    if (!fits(r)) return say(error, size, ARMLET_UNAVAILABLE, damaged);
    for (int i = 1; i < MEMORIES; i++) {
        void *made = NULL;
        if (r->sizes[i] && posix_memalign(&made, ALIGNMENT, r->sizes[i]) != 0)
            return say(error, size, ARMLET_ERROR_MEMORY, "out of memory for Ethos-U's tensors");
        r->memory[i] = made;
    }
    return ARMLET_OK;
}

static armlet_status open_driver(region *r, char *error, size_t size) {
    const char *path = getenv("ARMLET_ETHOS_U_LIBRARY");
    r->library = dlopen(path ? path : "libethosu_core_driver.so", RTLD_NOW | RTLD_LOCAL);
    if (!r->library)
        return say(error, size, ARMLET_UNAVAILABLE, "libethosu_core_driver.so cannot be opened");
    r->reserve = (reserve_function *)dlsym(r->library, "ethosu_reserve_driver");
    r->release = (release_function *)dlsym(r->library, "ethosu_release_driver");
    r->invoke = (invoke_function *)dlsym(r->library, "ethosu_invoke_v3");
    if (r->reserve && r->release && r->invoke) return ARMLET_OK;
    return say(error, size, ARMLET_UNAVAILABLE,
               "libethosu_core_driver.so is of a version without ethosu_invoke_v3");
}

static void destroy(void *handle) {
    region *r = handle;
    for (int i = 1; i < MEMORIES; i++) free(r->memory[i]);
    if (r->library) dlclose(r->library);
    free(r);
}

static armlet_status create(const armlet_npu_blob *blob, void **made, char *error, size_t size) {
    region *r = calloc(1, sizeof *r);
    if (!r) return say(error, size, ARMLET_ERROR_MEMORY, "out of memory");
    armlet_status status = open_driver(r, error, size);
    if (status == ARMLET_OK) status = read_blob(r, blob, error, size);
    if (status == ARMLET_OK)
        *made = r;
    else
        destroy(r);
    return status;
}

/* Between [N, C, H, W] of the model and [N, H, W, C] of the NPU. */
static void turn(const image *v, unsigned char *chip, unsigned char *model, int to_chip) {
    size_t area = (size_t)v->h * v->w;
    for (size_t n = 0; n < v->n; n++, chip += area * v->c, model += area * v->c)
        for (size_t c = 0; c < v->c; c++)
            for (size_t i = 0; i < area; i++) {
                unsigned char *a = &chip[i * v->c + c], *b = &model[c * area + i];
                if (to_chip)
                    *a = (unsigned char)(*b ^ v->flip);
                else
                    *b = (unsigned char)(*a ^ v->flip);
            }
}

static armlet_status run(void *handle, const void *const *inputs, void *const *outputs, char *error,
                         size_t size) {
    region *r = handle;
    uint64_t bases[MEMORIES];
    for (int i = 0; i < MEMORIES; i++) bases[i] = (uint64_t)(uintptr_t)r->memory[i];
    for (uint32_t i = 0; i < r->input_count; i++) {
        const image *v = &r->images[i];
        turn(v, r->memory[v->memory] + v->offset, (unsigned char *)(uintptr_t)inputs[i], 1);
    }
    ethosu_driver *driver = r->reserve();
    if (!driver) return say(error, size, ARMLET_UNAVAILABLE, "no Ethos-U is free");
    int failed = r->invoke(driver, r->commands, (int)r->command_bytes, bases, r->sizes, MEMORIES, NULL);
    r->release(driver);
    if (failed) return say(error, size, ARMLET_UNAVAILABLE, "Ethos-U refused the command stream");
    for (uint32_t i = 0; i < r->output_count; i++) {
        const image *v = &r->images[r->input_count + i];
        turn(v, r->memory[v->memory] + v->offset, outputs[i], 0);
    }
    return ARMLET_OK;
}

const armlet_npu_api armlet_npu_ethos_u = {
    .version = ARMLET_NPU_VERSION,
    .name = "ethos-u",
    .create = create,
    .run = run,
    .destroy = destroy,
};
