/* From a program's sources to compiled ones, by way of the cache. */
#ifndef ARMLET_OPENCL_BUILD_H
#define ARMLET_OPENCL_BUILD_H

#include "opencl_driver.h"
#include "opencl_program.h"

/* Compiles each source into `programs`, which has room for all, or takes it from the cache's folder
 * (NULL: none); those of a failed build are released by the caller, too. `split`: launches may be cut into
 * several. False with a message on failure; on success the message is "" or tells of a file that was
 * ignored, and `compiled` is whether any source was. */
bool opencl_build(const opencl_device *d, const program_view *p, const char *folder, bool split,
                  cl_program *programs, bool *compiled, opencl_message message);

/* Keeps what was compiled; a message tells why that cannot be. */
void opencl_keep(const opencl_device *d, const program_view *p, const char *folder, bool split,
                 cl_program *programs, opencl_message message);

#endif
