/* Launches: chosen and bound at load, so that a run only puts them into a queue. */
#ifndef ARMLET_OPENCL_LAUNCH_H
#define ARMLET_OPENCL_LAUNCH_H

#include "opencl_driver.h"
#include "opencl_program.h"

typedef struct {
    cl_kernel kernel;
    const shape_entry *shape; /* of the entry's, the first that the device can run */
    cl_event first, last;     /* of a run that measures: its pieces */
    int64_t ns;               /* of the last such run; before it, a guess */
} opencl_launch;

/* Takes the first shape that the device can run and binds the arguments. What was taken before a
 * failure stays in `launch`. */
bool launch_make(const opencl_device *d, const program_view *p, const launch_entry *entry,
                 const cl_program *programs, const cl_mem *buffers, opencl_launch *launch,
                 opencl_message message);
void launch_free(const opencl_device *d, opencl_launch *launch);

/* Puts it into the queue, in pieces of about `most_ns` (0: in one). With `measure` its events are kept. */
cl_int launch_enqueue(const opencl_device *d, cl_command_queue queue, opencl_launch *launch,
                      int64_t most_ns, bool measure);

/* After the queue has finished: what the events tell, into `ns`. Lets go of them. */
void launch_measured(const opencl_device *d, opencl_launch *launch);

#endif
