/* What an instance is; shared by the files that implement armlet.h. */
#ifndef ARMLET_INSTANCE_H
#define ARMLET_INSTANCE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "armlet.h"
#include "beacon.h"
#include "pool.h"
#include "tables.h"

enum { ERROR_BYTES = 256 };

typedef struct {
    uint64_t calls;
    int64_t ns;
} tally;

/* A region of an instance; `handle` is its shim's, NULL while the CPU does it. */
typedef struct {
    void *handle;
    tally time;
    char reason[ERROR_BYTES];
} region_state;

struct armlet_instance {
    pool *pool;
    /* The call that the threads are working on. */
    const kernel_entry *kernel;
    /* Of each kernel the version that suits this processor. */
    const kernel_entry **kernels;
    void **pointers;
    int32_t threads;
    bool profiling;
    unsigned char *memory;  /* the arena, every thread's scratch, own outputs; one allocation */
    unsigned char *scratch; /* in memory */
    unsigned char **bases;  /* see tables.h; NULL for an input that is not set */
    unsigned char **own_outputs; /* in memory */
    tally *tallies;              /* one a task */
    region_state *regions; /* one a region */
    void **region_pointers; /* the inputs and outputs of the one that runs */
    armlet_devices devices;
    armlet_observer observer;
    void *observer_context;
    _Atomic bool busy, cancelled;
    _Atomic int32_t current; /* task; -1 between runs */
    char error[ERROR_BYTES];
};

static inline uint64_t padded(uint64_t bytes) {
    return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

static inline const char *text_of(uint32_t at) { return armlet_model.strings + at; }

static inline int32_t threads_for(const armlet_instance *m, const kernel_entry *kernel) {
    return kernel->ways < m->threads ? kernel->ways : m->threads;
}

/* Brings the programs of all regions to their accelerators. */
armlet_status regions_open(armlet_instance *m, const armlet_options *o);
void regions_close(armlet_instance *m);
void regions_profile(armlet_instance *m, bool on);

/* Lets the accelerator do a region. If it cannot and the CPU may, that is ARMLET_OK and not done. */
armlet_status region_run(armlet_instance *m, int32_t region, bool *done);

static inline void *address_of(const armlet_instance *m, const location_entry *l) {
    return m->bases[l->base] + l->offset;
}

/* Runs all tasks; the instance is the caller's alone. */
armlet_status execute(armlet_instance *m);

/* Keeps the text for armlet_error and returns the status. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
armlet_status fail(armlet_instance *m, armlet_status status, const char *format, ...);

/* Fills a caller's struct, as much of it as its struct_size says that it has. */
armlet_status give(void *to, const void *from, size_t size);

/* Takes a caller's struct, shorter or longer than ours; what it lacks is 0. */
armlet_status take(void *to, const void *from, size_t size);

#endif
