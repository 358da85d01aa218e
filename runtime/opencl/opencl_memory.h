/* The buffers and images of a region on the GPU. */
#ifndef ARMLET_OPENCL_MEMORY_H
#define ARMLET_OPENCL_MEMORY_H

#include "opencl_driver.h"
#include "opencl_program.h"

typedef struct {
    cl_mem arena;    /* NULL: none, or its buffers are alone */
    cl_mem *buffers; /* one for each of the program */
} opencl_memory;

/* Takes all memory and uploads the constants. What was taken before a failure is freed by
 * memory_free. */
bool memory_make(const opencl_device *d, const program_view *p, opencl_memory *m, opencl_message message);
void memory_free(const opencl_device *d, const program_view *p, opencl_memory *m);

/* Copies between the host and a plain buffer. Where both have one memory, by mapping: the driver then
 * copies nothing. Where not, `from` must stay until the queue is finished, and `to` is there then. */
cl_int memory_write(const opencl_device *d, cl_command_queue queue, cl_mem buffer, const void *from,
                    size_t bytes);
cl_int memory_read(const opencl_device *d, cl_command_queue queue, cl_mem buffer, void *to, size_t bytes);

#endif
