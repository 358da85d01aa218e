/* Each worker has a mailbox (`posted`) and an answer (`done`), both counted up by one with every
 * job. Only workers that have a part are told, so that the others' sleep is not disturbed. */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "beacon.h"
#include "system.h"

/* Enough for generated code, whatever the C library's default is. */
enum { STACK_BYTES = 1 << 20 };

enum { ANYWHERE = -1, MOST_MEETINGS = 16 };

typedef struct {
    beacon posted, done;
    pool *pool;
    pthread_t thread;
    int32_t part;
    int32_t cpu; /* or ANYWHERE */
    int32_t misplaced;
    int32_t meetings; /* jobs in a row on the leader's CPU */
} worker;

struct pool {
    pool_job *job; /* NULL: the threads end */
    void *context;
    int32_t parts;
    int32_t started; /* workers with a thread */
    int64_t spin_ns;
    bool big; /* unless placed, workers keep to the big cores */
    worker workers[];
};

/* A busy scheduler may keep a worker on its leader's CPU, where each sleeps while the other runs. A
 * worker that has met its leader there for some jobs moves to any other CPU (which takes as long as
 * those jobs did), unless it was placed or there are too few for all. */
static void make_way(worker *w) {
    int cpu = beacon_place(&w->done);
    bool met = cpu != NOT_TOLD && cpu == atomic_load_explicit(&w->posted.cpu, memory_order_relaxed);
    w->meetings = met ? w->meetings + 1 : 0;
    if (w->meetings < MOST_MEETINGS || w->cpu != ANYWHERE || w->pool->spin_ns == 0) return;
    w->meetings = 0;
    if (system_leave(cpu)) beacon_place(&w->done);
}

static void *work(void *argument) {
    worker *w = argument;
    pool *p = w->pool;
    w->misplaced = w->cpu != ANYWHERE && !system_place(w->cpu);
    if (w->cpu == ANYWHERE && p->big) system_stay_big();
    for (uint32_t turn = 1;; turn++) {
        beacon_set(&w->done, turn);
        beacon_wait(&w->posted, turn, p->spin_ns);
        if (!p->job) return NULL;
        make_way(w);
        p->job(p->context, w->part, p->parts);
    }
}

/* The threads take no signals: the program's handlers run in the program's threads. */
static int start(worker *w) {
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_attr_init(&attributes) != 0) return -1;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, &attributes, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed;
}

pool_status pool_create(int32_t threads, int64_t spin_ns, const int32_t *cpus, size_t cpu_count,
                        pool **made) {
    void *memory;
    size_t bytes = sizeof(pool) + sizeof(worker) * (size_t)(threads - 1);
    *made = NULL;
    if (posix_memalign(&memory, CACHE_LINE, bytes) != 0) return POOL_NO_MEMORY;
    memset(memory, 0, bytes);
    pool *p = memory;
    p->spin_ns = spin_ns;
    p->big = threads > 1 && threads <= system_big_cpus();
    pool_status status = POOL_OK;
    for (int32_t i = 0; i < threads - 1 && status == POOL_OK; i++) {
        worker *w = &p->workers[i];
        w->pool = p;
        w->part = i + 1;
        w->cpu = cpu_count ? cpus[(size_t)w->part % cpu_count] : ANYWHERE;
        atomic_init(&w->posted.value, 1);
        if (start(w) != 0)
            status = POOL_NO_THREAD;
        else
            p->started++;
    }
    for (int32_t i = 0; i < p->started; i++) {
        beacon_wait(&p->workers[i].done, 0, 0);
        if (p->workers[i].misplaced) status = POOL_NO_PLACE;
    }
    if (status == POOL_OK)
        *made = p;
    else
        pool_destroy(p);
    return status;
}

static void post(worker *w) {
    uint32_t turn = atomic_load_explicit(&w->posted.value, memory_order_relaxed);
    beacon_place(&w->posted);
    beacon_set(&w->posted, turn + 1);
}

static void await(worker *w) {
    uint32_t turn = atomic_load_explicit(&w->posted.value, memory_order_relaxed);
    beacon_wait(&w->done, turn - 1, w->pool->spin_ns);
}

void pool_run(pool *p, pool_job *job, void *context, int32_t parts) {
    p->job = job;
    p->context = context;
    p->parts = parts;
    for (int32_t i = 0; i < parts - 1; i++) post(&p->workers[i]);
    job(context, 0, parts);
    for (int32_t i = 0; i < parts - 1; i++) await(&p->workers[i]);
}

void pool_destroy(pool *p) {
    if (!p) return;
    p->job = NULL;
    for (int32_t i = 0; i < p->started; i++) post(&p->workers[i]);
    for (int32_t i = 0; i < p->started; i++) pthread_join(p->workers[i].thread, NULL);
    free(p);
}
