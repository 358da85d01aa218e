#define _GNU_SOURCE
#include "facts.h"

#include <math.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "clock.h"

#ifndef AGENT_VERSION
#define AGENT_VERSION "0"
#endif

void facts_text(const session *s, char *text, size_t size) {
    snprintf(text, size,
             "{\"agent\": \"%s\", \"message_bytes\": %d, \"deadline_ms\": %u, \"idle_ms\": %u, "
             "\"memory_limit_bytes\": %llu}",
             AGENT_VERSION, MESSAGE_BYTES, s->settings->deadline_ms, s->settings->idle_ms,
             (unsigned long long)s->settings->memory_bytes);
}

void facts_state(writer *w) {
    write_f64(w, (double)steady_ns() * 1e-9);
    write_f64(w, __builtin_nan(""));
    write_u64(w, 0);
    write_u32(w, 0);
}
