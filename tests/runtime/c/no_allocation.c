/* Counts what asks for heap memory while an artifact runs, in the artifact and in libc alike. */
#include <stddef.h>

#include "check.h"

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static volatile int watching, allocations;

void *malloc(size_t n) { return allocations += watching, __libc_malloc(n); }
void *calloc(size_t n, size_t s) { return allocations += watching, __libc_calloc(n, s); }
void *realloc(void *p, size_t n) { return allocations += watching, __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { return allocations += watching, __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    return allocations += watching, (*p = __libc_memalign(a, n)) ? 0 : 12;
}

int main(void) {
    static float x[8 * 64];
    armlet_options options = {.struct_size = sizeof options, .threads = 2};
    armlet_instance *m;
    allocations = 0;
    watching = 1;
    CHECK(armlet_create(&options, &m) == ARMLET_OK);
    CHECK(allocations > 0); /* the counters work */
    allocations = 0;
    CHECK(armlet_set_input(m, 0, x, sizeof x) == ARMLET_OK);
    for (int i = 0; i < 100; i++) CHECK(armlet_run(m) == ARMLET_OK);
    CHECK(armlet_set_profiling(m, 1) == ARMLET_OK && armlet_run(m) == ARMLET_OK);
    CHECK(allocations == 0);
    watching = 0;
    armlet_destroy(m);
    return 0;
}
