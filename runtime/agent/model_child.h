/* What a session and the child that has an artifact open say to each other, over the child's stream. */
#ifndef AGENT_MODEL_CHILD_H
#define AGENT_MODEL_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "process.h"
#include "store.h"

/* Inputs and outputs lie in memory that both have mapped before they knew how much it would be. */
#define TENSOR_BYTES ((uint64_t)1 << (sizeof(void *) == 8 ? 32 : 27))

enum { MOST_CPUS = 1024, MOST_TENSORS = 4096, MOST_RANK = 16, MOST_NAME = 512, MOST_TIMES = 32768 };
enum { REASON_TEXT = 320 };

/* What the child is started with. */
typedef struct {
    session *session;
    char path[STORE_PATH];
    uint8_t *tensors;
    uint32_t threads;
    int32_t spin_us;
    uint32_t cpu_count;
    int32_t cpus[MOST_CPUS];
    char device_cache[STORE_PATH]; /* the folder for what drivers compiled */
} opening;

typedef enum { RUN, BENCH, PROFILE, OBSERVE, SELFTEST } command_kind;

typedef struct {
    command_kind kind;
    uint32_t runs;
    double warm_up, seconds, rate;
} command;

/* Then `size` bytes follow. The last one of a command is not a part. */
typedef struct {
    outcome status;
    uint32_t part;
    uint64_t size;
    double seconds;
    char reason[REASON_TEXT];
} reply;

/* Where a tensor is in the memory; what `opening` is answered with: so many inputs, so many outputs, their
 * places, then a text of `text_size` bytes. */
typedef struct {
    uint64_t offset, bytes;
} tensor_place;

typedef struct {
    uint32_t inputs, outputs, text_size;
} description;

/* A value that is observed; then its bytes follow, which the reply's size does not count. */
typedef struct {
    int32_t task, dtype, rank;
    uint32_t name_size;
    uint64_t bytes;
    int64_t shape[MOST_RANK];
    char name[MOST_NAME];
} observed;

/* The body of the process; `context` is an opening. */
int model_child(int pipe, report *report, void *context);

#endif
