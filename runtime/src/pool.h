/* Threads that share a job in equal parts. The caller of pool_run does part 0. */
#ifndef ARMLET_POOL_H
#define ARMLET_POOL_H

#include <stddef.h>
#include <stdint.h>

typedef struct pool pool;
typedef void pool_job(void *context, int32_t part, int32_t parts);

typedef enum { POOL_OK, POOL_NO_MEMORY, POOL_NO_THREAD, POOL_NO_PLACE } pool_status;

/* `threads` counts the caller's. Thread i > 0 is pinned to cpus[i % cpu_count] if there are any,
 * else kept on the big cores if these are enough for all threads. */
pool_status pool_create(int32_t threads, int64_t spin_ns, const int32_t *cpus, size_t cpu_count,
                        pool **made);
void pool_destroy(pool *p);

/* Calls job(context, part, parts) for each part at the same time; parts <= threads. Returns when
 * all are done, with everything they wrote visible. */
void pool_run(pool *p, pool_job *job, void *context, int32_t parts);

#endif
