/* One connection in a process of its own: requests in, answers out. */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

#include "channel.h"
#include "fields.h"

/* Of requests and of candidates; device-protocol.md explains each. */
typedef enum {
    OK = 0,
    TIMEOUT = 1,
    CRASHED = 2,
    OUT_OF_MEMORY = 3,
    REFUSED = 4,
    WRONG_OUTPUT = 5,
    FAILED = 6,
    BUSY = 7,
    MISSING = 8
} outcome;

/* How this agent was started. */
typedef struct {
    const char *folder;  /* absolute; holds `blobs/`, the lock, and the folders of sessions */
    const uint8_t *key;  /* NULL: none */
    uint64_t store_bytes;  /* blobs are forgotten, oldest first, to stay below */
    uint64_t memory_bytes; /* the most that a process that runs kernels may take; 0: unlimited */
    uint32_t deadline_ms;  /* the longest that a request may ask for */
    uint32_t idle_ms;
} settings;

typedef struct {
    channel channel;
    const settings *settings;
    uint32_t id; /* of the request that is being answered */
    char owner[64];
    uint32_t wait_ms;
    int lock; /* held while the session needs the device alone; -1 */
} session;

/* Speaks until the connection ends; the caller's process ends then. */
void session_run(session *s);

/* A part of the answer: fields are written between the two. */
writer part_begin(session *s);
bool part_send(session *s, const writer *w);

/* The end of an answer that is ok, with fields. */
writer done_begin(session *s);
bool done_send(session *s, const writer *w);

/* The end of an answer that is not: one sentence. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
bool done_failed(session *s, outcome status, const char *format, ...);

/* Holds the device, or answers `busy`. */
bool session_hold(session *s);

#endif
