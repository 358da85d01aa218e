/* Stand-ins for parts that are being written. */
#include "facts.h"
#include "measure.h"
#include "model.h"
#include "tracker.h"
#include "tvm.h"

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
__attribute__((weak)) tracker *tracker_start(const char *place, uint16_t port, const char **why) { return (void)place, (void)port, (void)why, NULL; }
__attribute__((weak)) int tracker_file(const tracker *t, short *e, int *ms) { return (void)t, (void)e, (void)ms, -1; }
__attribute__((weak)) void tracker_work(tracker *t, short events) { (void)t, (void)events; }
__attribute__((weak)) const char *tracker_match_keys(const tracker *t) { return (void)t, ""; }
__attribute__((weak)) void tracker_busy(tracker *t, bool busy) { (void)t, (void)busy; }
__attribute__((weak)) const char *tvm_proxy(const char *p, const settings *s) { return (void)p, (void)s, "absent"; }
__attribute__((weak)) void tvm_session(tvm_stream stream, const settings *s, const char *k) { (void)stream, (void)s, (void)k; }
