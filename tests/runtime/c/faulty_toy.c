/* The toy chip's library, whose TOY_FAIL-th call fails; 0 is the check of its version. */
#define toy_version real_version
#define toy_load real_load
#define toy_run real_run
#include "toy_device.c"
#undef toy_version
#undef toy_load
#undef toy_run

static _Atomic int calls;

static int fails(void) {
    const char *at = getenv("TOY_FAIL");
    return calls++ == (at ? atoi(at) : -1);
}

int toy_version(void) { return fails() ? TOY_VERSION + 1 : real_version(); }

int toy_load(const void *blob, uint64_t bytes, toy_program **program) {
    if (!fails()) return real_load(blob, bytes, program);
    return getenv("TOY_MEMORY") ? TOY_MEMORY : TOY_LOST;
}

int toy_run(toy_program *program, const float *const *inputs, float *const *outputs) {
    return fails() ? TOY_LOST : real_run(program, inputs, outputs);
}
