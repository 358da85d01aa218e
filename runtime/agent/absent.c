/* Stand-ins for parts that are being written. */
#include "facts.h"
#include "measure.h"
#include "model.h"

#define ABSENT(name)                                                 \
    __attribute__((weak)) bool name(session *s, reader *r) {         \
        (void)r;                                                     \
        return done_failed(s, REFUSED, "this agent cannot do that"); \
    }
ABSENT(model_open)
ABSENT(model_close)
ABSENT(model_input)
ABSENT(model_run)
ABSENT(model_bench)
ABSENT(model_profile)
ABSENT(model_observe)
ABSENT(model_selftest)
ABSENT(measure)
__attribute__((weak)) bool model_any(void) { return false; }
