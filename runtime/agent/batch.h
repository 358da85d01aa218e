/* What the request `measure` asks for: workloads with their data, and the candidates that compute them. */
#ifndef AGENT_BATCH_H
#define AGENT_BATCH_H

#include "session.h"
#include "store.h"

enum { MOST_TURNS = 1000 };

typedef struct {
    const void *data;
    uint64_t bytes;
    bool constant; /* of the model, so that its copies take turns */
} operand;

typedef struct {
    operand *operands;
    uint32_t count;
    const void *right; /* the answer */
    uint64_t right_bytes;
    uint32_t dtype; /* an armlet_dtype */
    double tolerance;
} workload;

typedef struct {
    uint32_t workload, index; /* it is the library's function call_<index> */
    int32_t extent;
    uint64_t scratch;
    double best; /* seconds to beat, beside those of the same workload's others */
    bool over;   /* its outcome is known */
} candidate;

/* Seconds of the baseline: at its best, what it is compared with, and now; zeros before the first. */
typedef struct {
    double best, usual, now;
} level;

typedef struct {
    char library[STORE_PATH];
    workload *workloads;
    candidate *candidates;
    uint32_t workload_count, candidate_count;
    bool races; /* what is surely slower is given up */
    uint32_t turns;
    double most;     /* seconds of all turns of a candidate */
    double patience; /* processor seconds of a run */
    uint32_t baseline_every;
    level level;
    int32_t *cpus; /* that run it; none: the fastest */
    uint32_t cpu_count;
    uint8_t id[HASH_BYTES];
} batch;

/* OK, or the status and the sentence why not. `batch_free` is fine after either. */
outcome batch_read(batch *b, session *s, reader *r, char *reason, size_t size);
void batch_free(batch *b);

#endif
