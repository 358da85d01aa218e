/* Blobs by the SHA-256 of their content, whole or as far as they have come, in `FOLDER/blobs`. */
#ifndef AGENT_STORE_H
#define AGENT_STORE_H

#include "session.h"

#define WHOLE UINT64_MAX
enum { STORE_PATH = 4096 };

/* The requests `have`, `put` and `remove`. */
bool store_have(session *s, reader *r);
bool store_put(session *s, reader *r);
bool store_remove(session *s, reader *r);

/* Writes what has come of an upload, and lets go of it; the next `put` takes it up again. Who is about to fork
 * a process must not leave it the lock. */
void store_rest(void);

/* Where a whole blob lies, which is marked as used now; false if it is not there. */
bool store_path(const session *s, const uint8_t hash[HASH_BYTES], char path[STORE_PATH]);
/* Maps a whole blob for reading; NULL if it is not there or not of `size` bytes. */
const void *store_map(const session *s, const uint8_t hash[HASH_BYTES], uint64_t size);

#endif
