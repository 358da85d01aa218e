/* The GPU that regions of this artifact share: the driver's library, its functions, one context. */
#ifndef ARMLET_OPENCL_DRIVER_H
#define ARMLET_OPENCL_DRIVER_H

#include <stdbool.h>

#include "opencl_api.h"

/* Where a message is kept: one clear sentence. */
typedef struct {
    char *text;
    size_t bytes;
} opencl_message;

typedef struct {
    opencl_api cl;
    cl_device_id device;
    cl_context context;
    uint32_t features;       /* bits as in program_header.needs */
    uint64_t identity;       /* of device and driver: what a compiled program is for */
    uint64_t memory;         /* bytes */
    size_t buffer_alignment; /* of a sub-buffer, in bytes */
    size_t work_items[3];    /* the most in a group, by dimension */
    bool unified;            /* GPU and CPU have one memory */
    char name[128];
} opencl_device;

/* The device, opened at the first call; NULL with a message if there is none that can be used. Each
 * call has its opencl_release. From any thread. */
const opencl_device *opencl_acquire(opencl_message message);
void opencl_release(void);

/* Keeps the text and returns false. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
bool opencl_fail(opencl_message message, const char *format, ...);

/* "CL_OUT_OF_RESOURCES" and such; "an error" for those without a name here. */
const char *opencl_error(cl_int status);

#endif
