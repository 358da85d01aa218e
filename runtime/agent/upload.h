/* A file that grows: written and hashed by a process of its own, while the next piece is on its way. */
#ifndef AGENT_UPLOAD_H
#define AGENT_UPLOAD_H

#include "process.h"

typedef struct {
    process process;
    int file; /* -1: none is going on */
    uint64_t size; /* with what has been handed over */
    uint8_t *ring; /* pieces on their way */
    uint32_t next, waiting;
} upload;

/* Goes on with a file that is open, after what it holds. The upload closes it. False, with errno, if that
 * cannot be. */
bool upload_begin(upload *u, session *s, int file);

/* Hands over at most a message. */
bool upload_add(upload *u, const uint8_t *from, size_t size);

/* Waits until all is written. False, with errno, if some is not: the file ends before it, and so must the
 * upload. */
bool upload_settle(upload *u);

/* Settles, and tells the hash of the whole file. */
bool upload_hash(upload *u, uint8_t hash[HASH_BYTES]);

/* Fine on one that has not begun. */
void upload_end(upload *u);

#endif
