#ifndef ARMLET_WEB_STDLIB_H
#define ARMLET_WEB_STDLIB_H

#include <stddef.h>

void *malloc(size_t bytes);
void *calloc(size_t count, size_t size);
void free(void *memory);
int posix_memalign(void **memory, size_t alignment, size_t bytes);

#endif
