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

enum { OWNER_BYTES = 64, FOLDER_BYTES = 4096 };

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
    char owner[OWNER_BYTES];
    uint32_t wait_ms;
    int lock; /* held while the session needs the device alone; -1 */
} session;

/* Whether a request was as long as its fields; what a handler asks before it acts. */
static inline bool complete(const reader *r) { return !r->bad && r->at == r->end; }

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

/* Holds the device, or answers `busy`. Fine if it is held already. */
bool session_hold(session *s);
/* The session needs the device no more, unless it has a model open. */
void session_release(session *s);

/* In a child that runs code of the host's: it keeps neither keys nor the connection. The lock stays, so that
 * the device is held as long as that code may run. */
void session_forget(session *s);

/* The lock of the device, for `owner`; -1, and who holds it in `holder`, if it is not free within `wait_ms`.
 * Closing the file gives it back. */
int device_lock(const settings *settings, const char *owner, uint32_t wait_ms,
                char holder[OWNER_BYTES]);

/* A folder for this process's files, made now; the supervisor removes it when the session ends. */
bool session_folder(const settings *settings, char path[FOLDER_BYTES]);

#endif
