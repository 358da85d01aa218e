/* Nobody waits where there is one thread; the time is what JavaScript says, in milliseconds. */
#include "beacon.h"

__attribute__((import_module("env"), import_name("now"))) double js_now(void);

int64_t now_ns(void) { return (int64_t)(js_now() * 1e6); }
