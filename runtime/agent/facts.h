/* What the device is and how it does: cores, clocks, temperature, memory. */
#ifndef AGENT_FACTS_H
#define AGENT_FACTS_H

#include <stddef.h>

#include "fields.h"
#include "session.h"

/* JSON of `hello`; cut short if it does not fit, which `size` bytes of 16 KiB never are. */
void facts_text(const session *s, char *text, size_t size);
/* The `state` of device-protocol.md. */
void facts_state(writer *w);

#endif
