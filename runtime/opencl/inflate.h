/* Decompression of DEFLATE (RFC 1951): kernels' sources lie compressed in an artifact. */
#ifndef ARMLET_INFLATE_H
#define ARMLET_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

/* Fills `out` with exactly `out_bytes`; false if the raw stream is damaged or of another length. */
bool inflate(const unsigned char *in, size_t in_bytes, unsigned char *out, size_t out_bytes);

#endif
