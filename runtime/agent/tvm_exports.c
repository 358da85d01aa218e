/* What compiled functions of TVM's call, in place of its runtime: errors, scratch memory, parallel loops. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "system.h"
#include "tvm_server.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- Errors ---------------------------------------------------------------------------- */

static pthread_mutex_t raising = PTHREAD_MUTEX_INITIALIZER;
static char raised[1024]; /* "": none */

EXPORT void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count);
EXPORT void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);

/* The first error stays, as others may follow from it. */
EXPORT void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
    pthread_mutex_lock(&raising);
    if (!*raised) {
        size_t used = (size_t)snprintf(raised, sizeof raised, "%s: ", kind);
        for (int32_t i = 0; i < count && used < sizeof raised; i++)
            if (parts[i])
                used += (size_t)snprintf(raised + used, sizeof raised - used, "%s", parts[i]);
    }
    pthread_mutex_unlock(&raising);
}

EXPORT void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message) {
    TVMFFIErrorSetRaisedFromCStrParts(kind, &message, 1);
}

void tvm_take_raised(char *text, size_t size) {
    pthread_mutex_lock(&raising);
    snprintf(text, size, "%s", raised);
    *raised = 0;
    pthread_mutex_unlock(&raising);
}

/* ---- What there is none of ------------------------------------------------------------- */

EXPORT int TVMFFIFunctionCall(void *function, void *arguments, int32_t count, void *result);
EXPORT int TVMFFIEnvModLookupFromImports(void *library, const char *name, void **found);

EXPORT int TVMFFIFunctionCall(void *function, void *arguments, int32_t count, void *result) {
    (void)function;
    (void)arguments;
    (void)count;
    (void)result;
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", "this agent has no functions for compiled code to call");
    return -1;
}

EXPORT int TVMFFIEnvModLookupFromImports(void *library, const char *name, void **found) {
    (void)library;
    *found = NULL;
    const char *parts[] = {"the library calls ", name, ", which this agent does not have"};
    TVMFFIErrorSetRaisedFromCStrParts("RuntimeError", parts, 3);
    return -1;
}

/* ---- Scratch memory -------------------------------------------------------------------- */

/* What is given back is given out again, as a fresh piece would have to be mapped within a kernel's time. */
enum { MOST_PIECES = 16, SCRATCH_ALIGNMENT = 64 };
static struct piece {
    void *data;
    uint64_t size;
    bool used;
} pieces[MOST_PIECES];
static pthread_mutex_t scratch = PTHREAD_MUTEX_INITIALIZER;

EXPORT void *TVMBackendAllocWorkspace(int type, int id, uint64_t size, int code, int bits);
EXPORT int TVMBackendFreeWorkspace(int type, int id, void *data);

static struct piece *find_piece(uint64_t size) {
    struct piece *best = NULL;
    for (int i = 0; i < MOST_PIECES; i++) {
        struct piece *p = &pieces[i];
        if (!p->used && p->data && p->size >= size && (!best || p->size < best->size)) best = p;
    }
    for (int i = 0; !best && i < MOST_PIECES; i++)
        if (!pieces[i].used) best = &pieces[i];
    return best;
}

EXPORT void *TVMBackendAllocWorkspace(int type, int id, uint64_t size, int code, int bits) {
    (void)id;
    (void)code;
    (void)bits;
    void *data = NULL;
    if (type != TVM_CPU || size > SIZE_MAX / 2) return NULL;
    pthread_mutex_lock(&scratch);
    struct piece *p = find_piece(size);
    if (p && (!p->data || p->size < size)) {
        free(p->data);
        p->data = NULL;
        if (posix_memalign(&p->data, SCRATCH_ALIGNMENT, (size_t)size + 1) != 0) p->data = NULL;
        p->size = size;
    }
    if (p) {
        data = p->data;
        p->used = data != NULL;
    }
    pthread_mutex_unlock(&scratch);
    if (!p && posix_memalign(&data, SCRATCH_ALIGNMENT, (size_t)size + 1) != 0) return NULL;
    return data;
}

EXPORT int TVMBackendFreeWorkspace(int type, int id, void *data) {
    (void)type;
    (void)id;
    bool ours = false;
    pthread_mutex_lock(&scratch);
    for (int i = 0; i < MOST_PIECES; i++)
        if (pieces[i].used && pieces[i].data == data) {
            pieces[i].used = false;
            ours = true;
        }
    pthread_mutex_unlock(&scratch);
    if (!ours) free(data);
    return 0;
}

/* ---- Parallel loops -------------------------------------------------------------------- */

typedef struct {
    void *barrier;
    int32_t tasks;
} parallel_group;

typedef int parallel_body(int task, parallel_group *group, void *closure);

typedef struct {
    atomic_int waiting, turn;
    int32_t threads; /* that take part */
} barrier;

typedef struct {
    parallel_body *body;
    void *closure;
    parallel_group group;
    barrier barrier;
    atomic_int failed;
} parallel_loop;

static pool *threads;
static int32_t thread_count;
static atomic_flag looping = ATOMIC_FLAG_INIT;

EXPORT int TVMBackendParallelLaunch(parallel_body *body, void *closure, int tasks);
EXPORT int TVMBackendParallelBarrier(int task, parallel_group *group);

static void guard_part(void *context, int32_t part, int32_t parts) {
    (void)context;
    (void)parts;
    if (part) guard_thread();
}

/* Workers spin as long between kernels as those of an artifact do. */
static bool have_threads(void) {
    enum { SPIN_NS = 200000 };
    if (!thread_count) thread_count = system_big_cpus();
    if (threads) return true;
    if (pool_create(thread_count, SPIN_NS, NULL, 0, &threads) != POOL_OK) return false;
    pool_run(threads, guard_part, NULL, thread_count);
    return true;
}

void tvm_use_threads(int32_t count) {
    pool_destroy(threads);
    threads = NULL;
    thread_count = count;
}

static void run_tasks(void *context, int32_t part, int32_t parts) {
    parallel_loop *loop = context;
    for (int32_t task = part; task < loop->group.tasks; task += parts)
        if (loop->body(task, &loop->group, loop->closure) != 0) atomic_store(&loop->failed, 1);
}

/* A loop within a loop runs in the thread that comes to it. */
EXPORT int TVMBackendParallelLaunch(parallel_body *body, void *closure, int tasks) {
    parallel_loop loop = {.body = body, .closure = closure};
    bool alone = atomic_flag_test_and_set(&looping) || !have_threads();
    int32_t parts = alone ? 1 : thread_count;
    loop.group = (parallel_group){.barrier = &loop.barrier, .tasks = tasks > 0 ? tasks : parts};
    if (loop.group.tasks < parts) parts = loop.group.tasks;
    loop.barrier.threads = parts;
    if (alone)
        run_tasks(&loop, 0, 1);
    else
        pool_run(threads, run_tasks, &loop, parts);
    if (!alone) atomic_flag_clear(&looping);
    return atomic_load(&loop.failed) ? -1 : 0;
}

EXPORT int TVMBackendParallelBarrier(int task, parallel_group *group) {
    (void)task;
    barrier *b = group->barrier;
    if (b->threads != group->tasks) {
        TVMFFIErrorSetRaisedFromCStr("RuntimeError",
                                     "a loop with barriers has more tasks than there are threads");
        return -1;
    }
    int turn = atomic_load(&b->turn);
    if (atomic_fetch_add(&b->waiting, 1) + 1 == b->threads) {
        atomic_store(&b->waiting, 0);
        atomic_fetch_add(&b->turn, 1);
    }
    while (atomic_load(&b->turn) == turn) sched_yield();
    return 0;
}

/* ---- Libraries ------------------------------------------------------------------------- */

EXPORT int TVMFFIHandleInitOnce(void **handle, int (*make)(void **made));
EXPORT int TVMFFIHandleDeinitOnce(void **handle, int (*end)(void *handle));

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

EXPORT int TVMFFIHandleInitOnce(void **handle, int (*make)(void **made)) {
    pthread_mutex_lock(&making);
    int failed = *handle ? 0 : make(handle);
    pthread_mutex_unlock(&making);
    return failed;
}

EXPORT int TVMFFIHandleDeinitOnce(void **handle, int (*end)(void *handle)) {
    pthread_mutex_lock(&making);
    void *had = *handle;
    *handle = NULL;
    int failed = had ? end(had) : 0;
    pthread_mutex_unlock(&making);
    return failed;
}

/* A library keeps addresses of these in variables of its own, which it exports. */
#define SLOT(name) {"__" #name, (void (*)(void))name}
static const struct {
    const char *variable;
    void (*function)(void);
} SLOTS[] = {
    SLOT(TVMFFIErrorSetRaisedFromCStr), SLOT(TVMFFIErrorSetRaisedFromCStrParts),
    SLOT(TVMFFIFunctionCall),           SLOT(TVMFFIEnvModLookupFromImports),
    SLOT(TVMFFIHandleInitOnce),         SLOT(TVMFFIHandleDeinitOnce),
    SLOT(TVMBackendAllocWorkspace),     SLOT(TVMBackendFreeWorkspace),
    SLOT(TVMBackendParallelLaunch),     SLOT(TVMBackendParallelBarrier),
};

bool tvm_connect_library(tvm_server *s, void *opened) {
    if (dlsym(opened, TVM_SYMBOL_PREFIX "_library_bin"))
        return tvm_fail(s, "the library holds modules for other devices than the CPU, which this agent "
                           "does not run");
    for (size_t i = 0; i < sizeof SLOTS / sizeof *SLOTS; i++) {
        void *variable = dlsym(opened, SLOTS[i].variable);
        if (variable) memcpy(variable, &SLOTS[i].function, sizeof SLOTS[i].function);
    }
    return true;
}
