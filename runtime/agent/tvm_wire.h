/* Packets of TVM's RPC and the values in them, with a bound on everything that arrives. */
#ifndef AGENT_TVM_WIRE_H
#define AGENT_TVM_WIRE_H

#include <stdbool.h>

#include "tvm.h"
#include "tvm_abi.h"

/* Codes of packets. */
enum {
    TVM_SHUTDOWN = 1,
    TVM_INIT_SERVER,
    TVM_CALL,
    TVM_RETURN,
    TVM_EXCEPTION,
    TVM_COPY_FROM,
    TVM_COPY_TO,
    TVM_COPY_ACK,
    TVM_GET_FUNCTION,
    TVM_FREE_HANDLE,
    TVM_SET_DEVICE,
    TVM_GET_ATTRIBUTE,
    TVM_ALLOCATE,
    TVM_FREE_DATA,
    TVM_SYNC,
    TVM_COPY_AMONG,
    TVM_ALLOCATE_SCOPED,
    TVM_CREATE_STREAM,
    TVM_FREE_STREAM,
    TVM_SET_STREAM,
    TVM_GET_STREAM,
    TVM_CODES
};

/* A tensor as it arrives: `data` is NULL, its place is a handle. */
typedef struct {
    tvm_tensor tensor; /* first, as values point here */
    uint64_t handle;
    uint64_t bytes;
} tvm_remote_tensor;

typedef struct {
    tvm_stream stream;
    const uint8_t *at, *end; /* received, not yet read */
    uint8_t *in;             /* of a socket */
    uint8_t *out;
    size_t filled, room; /* of `out` */
    uint64_t left;       /* bytes of this packet that were not read */
    int64_t deadline;    /* for what is to arrive */
    void *kept;          /* allocations that live as long as the packet */
    const char *malformed; /* why the rest of the stream means nothing; or NULL: it ended */
} tvm_wire;

bool wire_open(tvm_wire *w, tvm_stream stream);

/* Memory that is freed before the next packet; NULL if there is none. */
void *wire_keep(tvm_wire *w, size_t size);

/* Reading. False once the stream has ended or makes no sense. */
bool wire_read(tvm_wire *w, void *to, uint64_t size);
/* Skips the rest of the last packet and waits for the next one until `deadline_ns`. */
bool wire_next(tvm_wire *w, int64_t deadline_ns, int32_t *code);
bool wire_tensor(tvm_wire *w, tvm_remote_tensor **tensor);
bool wire_values(tvm_wire *w, tvm_value **values, int32_t *count);

/* Writing: nothing leaves before wire_flush, unless there is much of it. */
bool wire_write(tvm_wire *w, const void *from, size_t size);
bool wire_flush(tvm_wire *w);
bool wire_head(tvm_wire *w, int32_t code, uint64_t body);
bool wire_return(tvm_wire *w, const tvm_value *values, int32_t count);
bool wire_exception(tvm_wire *w, const char *text);

#endif
