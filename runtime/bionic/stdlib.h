#pragma once
#include <sys/types.h>

_Noreturn void abort(void);
void *malloc(size_t);
void *calloc(size_t, size_t);
void free(void *);
int posix_memalign(void **, size_t, size_t);
