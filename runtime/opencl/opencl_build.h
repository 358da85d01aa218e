/* From a program's sources to compiled ones, by way of the cache. */
#ifndef ARMLET_OPENCL_BUILD_H
#define ARMLET_OPENCL_BUILD_H

#include "opencl_driver.h"
#include "opencl_program.h"

/* Compiles each source into `programs`, which has room for all; those of a failed build are released
 * by the caller, too. `split`: launches may be cut into several. False with a message on failure;
 * on success the message is "" or tells what became of the cache. */
bool opencl_build(const opencl_device *d, const program_view *p, const char *cache_folder, bool split,
                  cl_program *programs, opencl_message message);

#endif
