/* One thread: the caller's. */
#include "pool.h"

pool_status pool_create(int32_t threads, int64_t spin_ns, const int32_t *cpus, size_t cpu_count,
                        pool **made) {
    (void)spin_ns, (void)cpus, (void)cpu_count;
    *made = NULL;
    return threads == 1 ? POOL_OK : POOL_NO_THREAD;
}

void pool_destroy(pool *p) { (void)p; }

void pool_run(pool *p, pool_job *job, void *context, int32_t parts) {
    (void)p;
    for (int32_t part = 0; part < parts; part++) job(context, part, parts);
}
