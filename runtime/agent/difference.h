/* Comparing a kernel's answer with the right one. */
#ifndef AGENT_DIFFERENCE_H
#define AGENT_DIFFERENCE_H

#include "batch.h"

/* Whether an answer of `right_bytes` is right: integers are equal, reals as near as the tolerance says. Else
 * `reason` is a sentence. */
bool difference_none(const workload *w, const uint8_t *got, char *reason, size_t size);

#endif
