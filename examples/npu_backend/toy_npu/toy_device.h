/* The toy chip's library, as its vendor would ship it; every call returns 0, or tells an error. */
#ifndef TOY_DEVICE_H
#define TOY_DEVICE_H

#include <stdint.h>

#define TOY_VERSION 1

typedef struct toy_program toy_program;

int toy_version(void);
int toy_load(const void *blob, uint64_t bytes, toy_program **program);
int toy_run(toy_program *program, const float *const *inputs, float *const *outputs);
void toy_free(toy_program *program);

/* Errors. */
enum { TOY_DAMAGED = 1, TOY_MEMORY = 2, TOY_LOST = 3 };

/* Nanoseconds: of a start, and of each byte moved, multiply-add and element made. */
#define TOY_LAUNCH 200e3
#define TOY_BYTE 0.1
#define TOY_MAC 1e-3
#define TOY_ELEMENT 10e-3

#endif
