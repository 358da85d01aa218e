/* armlet_npu.h: what a shim brings an accelerator's programs to its device with.
 *
 * An artifact holds a blob for each region that an accelerator may do, and the shim of its back
 * end: one constant armlet_npu_api, linked in. A shim needs nothing but libc; the vendor's library
 * is opened with dlopen in `create`, and its version checked there.
 *
 * Every function may return ARMLET_UNAVAILABLE, with a sentence in `error` that says why: the CPU
 * then does the region, from that call on. Any other status but ARMLET_OK ends armlet_create or
 * armlet_run with it. Regions are used by one thread at a time each, different ones from different
 * threads. `run` may be called again after it failed.
 */
#ifndef ARMLET_NPU_H
#define ARMLET_NPU_H

#include "armlet.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ARMLET_NPU_VERSION 1

typedef struct armlet_npu_blob {
    uint32_t struct_size;
    const void *data; /* on a cache line; stays as long as the library is loaded */
    uint64_t bytes;
    const char *cache_dir;  /* for what the driver makes of it; NULL: none. Stays until create ends */
    uint32_t max_kernel_ms; /* of a single piece of work; 0: no limit */
} armlet_npu_blob;

typedef struct armlet_npu_api {
    uint32_t version; /* ARMLET_NPU_VERSION */
    const char *name; /* of the back end */
    /* `*region` is anything but NULL if it is ARMLET_OK; otherwise nothing is held. With ARMLET_OK
     * `error` may tell of something that only costs time. */
    armlet_status (*create)(const armlet_npu_blob *blob, void **region, char *error,
                            size_t error_bytes);
    /* Tensors in the order of the region's function, dense and row-major; inputs are only read.
     * Returns when all outputs are written. */
    armlet_status (*run)(void *region, const void *const *inputs, void *const *outputs, char *error,
                         size_t error_bytes);
    void (*destroy)(void *region);
    /* Each of these may be NULL. The steps inside, and of each the layer and what it took in the
     * last run for which profiling was on; the text stays until destroy. */
    int32_t (*step_count)(void *region);
    armlet_status (*step)(void *region, int32_t index, const char **layer, int64_t *ns);
    armlet_status (*set_profiling)(void *region, int32_t on);
} armlet_npu_api;

#ifdef __cplusplus
}
#endif
#endif
