/* The outcomes of a batch with an id, in `FOLDER/batches` until the host removes them: so a batch goes on when
 * the connection breaks, and the same request finds what it missed. */
#ifndef AGENT_OUTCOMES_H
#define AGENT_OUTCOMES_H

#include "session.h"

enum { OUTCOME_BYTES = 16384 };

/* The file of a batch, made if there is none; -1 if that cannot be. Files that nobody has asked for in a day are
 * removed. */
int outcomes_open(const session *s, const uint8_t id[HASH_BYTES]);

/* Keeps the fields of a part. */
bool outcomes_add(int file, const void *fields, uint32_t size);

/* The fields of the next part at `*at`, which moves on; 0 if there is none, or it is not whole. */
uint32_t outcomes_next(int file, uint64_t *at, uint8_t fields[OUTCOME_BYTES]);

/* Whether no other process works at the batch, and none will until the file is closed. */
bool outcomes_take(int file);

/* Forgets what is not whole at the end. */
bool outcomes_cut(int file, uint64_t at);

/* Forgets a batch; false if it is not known. */
bool outcomes_remove(const session *s, const uint8_t id[HASH_BYTES]);

#endif
