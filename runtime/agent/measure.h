/* Batches of kernels that a tuner wants measured. */
#ifndef AGENT_MEASURE_H
#define AGENT_MEASURE_H

#include "session.h"

/* The request `measure`. Candidates run in a process of the batch, which is started again without the one that
 * ended it. */
bool measure(session *s, reader *r);

#endif
