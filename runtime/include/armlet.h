/* armlet.h: the C interface of every armlet artifact.
 *
 * An artifact is one shared library that holds a compiled model: code, weights and this
 * interface. Link it, or open it with dlopen and look these names up; every artifact has
 * the same ones, so that a program can swap models. A minimal use:
 *
 *     armlet_instance *model;
 *     if (armlet_create(NULL, &model) != ARMLET_OK) ...
 *     armlet_set_input(model, 0, image, image_bytes);
 *     if (armlet_run(model) != ARMLET_OK) puts(armlet_error(model));
 *     const float *scores = armlet_output(model, 0);
 *     armlet_destroy(model);
 *
 * Threads. Instances share the weights and nothing else: use different instances from
 * different threads freely. One instance belongs to one thread at a time; only
 * armlet_cancel and armlet_current_task may be called on it from elsewhere. The functions
 * without an instance may be called from any thread at any time.
 *
 * Ownership. Strings and shapes that the library returns are constants that live as long as
 * the library is loaded. Buffers given to it stay the caller's and must outlive their use.
 *
 * Units. Sizes are in bytes, shapes in elements; tensors are dense and row-major. A buffer
 * needs its elements' natural alignment; one that begins on a cache line is fastest.
 *
 * Growth. A struct begins with struct_size, which the caller sets to sizeof the struct: older
 * programs work with newer artifacts and the other way round.
 */
#ifndef ARMLET_H
#define ARMLET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ARMLET_API __attribute__((visibility("default")))
#else
#define ARMLET_API
#endif

/* Version of this interface; grows when a function or a field is added. */
#define ARMLET_ABI_VERSION 3

typedef struct armlet_instance armlet_instance;

typedef enum armlet_status {
    ARMLET_OK = 0,
    ARMLET_ERROR_ARGUMENT = 1,  /* a null or impossible argument, or a wrong struct_size */
    ARMLET_ERROR_MEMORY = 2,    /* out of memory */
    ARMLET_ERROR_CPU = 3,       /* the CPU or the OS lacks an instruction set the code needs */
    ARMLET_ERROR_THREADS = 4,   /* threads could not be started or placed */
    ARMLET_ERROR_INPUT = 5,     /* an input is not set, or has a wrong size or alignment */
    ARMLET_ERROR_BUSY = 6,      /* the instance is running already, in another thread */
    ARMLET_CANCELLED = 7,       /* armlet_cancel stopped the run; outputs are undefined */
    ARMLET_ERROR_SELFTEST = 8,  /* the self-test's outputs differ from the expected ones */
    ARMLET_ERROR_UNSUPPORTED = 9, /* this artifact or platform does not have that */
    ARMLET_UNAVAILABLE = 10      /* an accelerator that is needed cannot be used */
} armlet_status;

/* What becomes of regions: the parts of a model that an accelerator may do. */
typedef enum armlet_devices {
    ARMLET_DEVICES_USE = 0,     /* accelerators where they are there, else the CPU */
    ARMLET_DEVICES_REQUIRE = 1, /* accelerators, or armlet_create and armlet_run fail */
    ARMLET_DEVICES_LEAVE = 2    /* the CPU alone */
} armlet_devices;

typedef enum armlet_dtype {
    ARMLET_FLOAT16 = 1,
    ARMLET_FLOAT32 = 2,
    ARMLET_FLOAT64 = 3,
    ARMLET_INT8 = 4,
    ARMLET_INT16 = 5,
    ARMLET_INT32 = 6,
    ARMLET_INT64 = 7,
    ARMLET_UINT8 = 8,
    ARMLET_UINT16 = 9,
    ARMLET_UINT32 = 10,
    ARMLET_UINT64 = 11,
    ARMLET_BOOL = 12 /* one byte, 0 or 1 */
} armlet_dtype;

/* ---- The artifact ---------------------------------------------------------------------- */

ARMLET_API int32_t armlet_abi_version(void);

/* A short text for a status; never NULL. armlet_error has the details. */
ARMLET_API const char *armlet_status_text(armlet_status status);

/* What the artifact is made of and for, as JSON; `size` (may be NULL) receives its length. */
ARMLET_API const char *armlet_manifest(size_t *size);

typedef struct armlet_tensor_info {
    size_t struct_size;
    const char *name;
    const int64_t *shape; /* `rank` extents */
    int32_t rank;
    int32_t dtype; /* an armlet_dtype */
    size_t bytes;
} armlet_tensor_info;

ARMLET_API int32_t armlet_input_count(void);
ARMLET_API int32_t armlet_output_count(void);
ARMLET_API armlet_status armlet_input_info(int32_t index, armlet_tensor_info *info);
ARMLET_API armlet_status armlet_output_info(int32_t index, armlet_tensor_info *info);

/* ---- Instances ------------------------------------------------------------------------- */

typedef struct armlet_options {
    size_t struct_size;
    /* Threads that work on a run, the caller's included. 0: one for each of `cpus` if given,
     * else one for each big core that the process may use. */
    int32_t threads;
    /* Microseconds that a waiting thread spins before it sleeps. 0: the default; less: none. */
    int32_t spin_us;
    /* CPU numbers, one a thread, repeated when there are fewer. The first is the place of
     * the caller's thread, which the caller pins if it wants to. NULL: not pinned. */
    const int32_t *cpus;
    size_t cpu_count;
    /* Receives the reason, as text, when armlet_create fails. May be NULL. */
    char *message;
    size_t message_size;
    /* An armlet_devices. Since version 3, as all that follows. */
    int32_t devices;
    /* A kernel of a GPU that takes longer, in ms, is run in parts or not at all. 0: no limit. */
    uint32_t max_kernel_ms;
    /* A folder that programs may be kept in which drivers compiled. NULL: none. */
    const char *device_cache;
} armlet_options;

/* Makes an instance: checks the CPU, takes memory, starts threads. `options` may be NULL. On
 * failure `*instance` is NULL and nothing is held. */
ARMLET_API armlet_status armlet_create(const armlet_options *options, armlet_instance **instance);

/* Stops the threads and frees everything. NULL is fine. Not during a run. */
ARMLET_API void armlet_destroy(armlet_instance *instance);

/* Threads in use, the caller's included: no more than the model can keep busy. */
ARMLET_API int32_t armlet_thread_count(const armlet_instance *instance);

/* Uses the caller's buffer, of exactly `bytes` bytes, from the next run on, without a copy. The
 * library never writes to it. It must stay until another is set or the instance is destroyed. */
ARMLET_API armlet_status armlet_set_input(armlet_instance *instance, int32_t index,
                                          const void *data, size_t bytes);

/* Lets runs write an output into the caller's buffer, which overlaps no other buffer of the
 * run. NULL with 0 bytes returns to the instance's own. */
ARMLET_API armlet_status armlet_set_output(armlet_instance *instance, int32_t index, void *data,
                                           size_t bytes);

/* Where runs write an output: the caller's buffer if one is set, else the instance's own, which
 * lives until armlet_destroy. NULL for an index out of range. */
ARMLET_API void *armlet_output(armlet_instance *instance, int32_t index);

/* Computes the outputs. Allocates nothing. The caller's thread does its part of the work. */
ARMLET_API armlet_status armlet_run(armlet_instance *instance);

/* From any thread: ends the run that is going on, if there is one, after its current task. */
ARMLET_API void armlet_cancel(armlet_instance *instance);

/* The reason of the last error of this instance, "" if there was none. Valid until the next call. */
ARMLET_API const char *armlet_error(const armlet_instance *instance);

/* ---- Looking inside -------------------------------------------------------------------- */

/* Tasks of the model: what profile entries and observed values are counted by. */
ARMLET_API int32_t armlet_task_count(void);

/* The task that a run is at, -1 if there is no run. From any thread and from signal handlers, too: what
 * a crash was in. Since version 2. */
ARMLET_API int32_t armlet_current_task(const armlet_instance *instance);

/* Clears the profile and turns it on (not 0) or off (0, as in a new instance). */
ARMLET_API armlet_status armlet_set_profiling(armlet_instance *instance, int32_t on);

typedef struct armlet_profile_entry {
    size_t struct_size;
    const char *value;         /* the value that the task computes */
    const char *source;        /* the layer's name in the source model, or "" */
    const char *template_name; /* the schedule template that made the kernel */
    double seconds;            /* total over all calls */
    uint64_t calls;
    int32_t threads; /* that share a call */
} armlet_profile_entry;

ARMLET_API armlet_status armlet_profile(const armlet_instance *instance, int32_t task,
                                        armlet_profile_entry *entry);

typedef struct armlet_region_info {
    size_t struct_size;
    const char *name;     /* the layers at its ends */
    const char *back_end; /* the accelerator that the artifact has a program for */
    /* Why the CPU does it. While the accelerator does, "" or what is not as good as it could be, such
     * as a cache that cannot be written. Valid until the instance's next run. */
    const char *reason;
    int32_t live; /* whether the accelerator does it */
    int32_t first_task, task_count;
    int32_t step_count; /* inside, as far as the accelerator tells; for armlet_region_step */
    size_t program_bytes;
    double seconds; /* total of the runs on the accelerator that were profiled */
    uint64_t calls;
} armlet_region_info;

/* Regions of the model, in order. While one is live, its tasks are neither run nor profiled, and only
 * those of them that make its results are observed. Since version 3, as the next two. */
ARMLET_API int32_t armlet_region_count(void);
ARMLET_API armlet_status armlet_region(const armlet_instance *instance, int32_t region,
                                       armlet_region_info *info);

/* A step inside a live region: its layer, and its time in the last profiled run. */
ARMLET_API armlet_status armlet_region_step(const armlet_instance *instance, int32_t region,
                                            int32_t step, const char **layer, double *seconds);

typedef struct armlet_value {
    size_t struct_size;
    int32_t task;
    int32_t rank;
    const char *name;
    const char *source;
    const int64_t *shape;
    const void *data; /* valid during the callback only: later tasks reuse the memory */
    size_t bytes;
    int32_t dtype;
} armlet_value;

typedef void (*armlet_observer)(void *context, const armlet_value *value);

/* Calls `observer` after every task, in the thread that runs; NULL stops that. The observer may
 * call armlet_cancel. */
ARMLET_API armlet_status armlet_observe(armlet_instance *instance, armlet_observer observer,
                                        void *context);

typedef struct armlet_selftest_report {
    size_t struct_size;
    uint64_t compared; /* elements */
    uint64_t wrong;    /* elements out of tolerance */
    /* The element with the largest error. */
    const char *output;
    uint64_t element;
    double expected;
    double actual;
    double tolerance; /* the largest absolute error that is right, for this output */
} armlet_selftest_report;

/* Runs the model on inputs made by a formula and compares with answers kept in the artifact.
 * Buffers that the caller has set are left alone. `report` may be NULL. */
ARMLET_API armlet_status armlet_selftest(armlet_instance *instance, armlet_selftest_report *report);

#ifdef __cplusplus
}
#endif
#endif
