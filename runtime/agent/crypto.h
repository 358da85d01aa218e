/* The primitives that the protocol uses, of Zig's standard library (crypto.zig). */
#ifndef AGENT_CRYPTO_H
#define AGENT_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ChaCha20-Poly1305 (RFC 8439), in place; `data` has room for 16 bytes more. */
void crypto_seal(uint8_t *data, size_t size, const uint8_t *extra, size_t extra_size,
                 const uint8_t nonce[12], const uint8_t key[32]);
/* `size` counts the 16 bytes. False, and `data` is undefined, if they are not right. */
bool crypto_open(uint8_t *data, size_t size, const uint8_t *extra, size_t extra_size,
                 const uint8_t nonce[12], const uint8_t key[32]);

/* X25519 (RFC 7748). False where the shared secret would be zero. */
void crypto_public(uint8_t public_key[32], const uint8_t secret[32]);
bool crypto_shared(uint8_t shared[32], const uint8_t secret[32], const uint8_t theirs[32]);

/* HKDF-SHA256 (RFC 5869) and HMAC-SHA256 (RFC 2104). */
void crypto_derive(uint8_t *out, size_t size, const uint8_t salt[32], const uint8_t input[32],
                   const uint8_t *info, size_t info_size);
void crypto_authenticate(uint8_t tag[32], const uint8_t *data, size_t size, const uint8_t key[32]);
/* In a time that does not depend on where they differ. */
bool crypto_equal(const uint8_t a[32], const uint8_t b[32]);
void crypto_wipe(void *data, size_t size);

/* SHA-256 (FIPS 180-4), of what is given piece by piece. */
enum { CRYPTO_HASH_STATE = 128 };
typedef struct {
    _Alignas(16) uint8_t state[CRYPTO_HASH_STATE];
} crypto_hash;
void crypto_hash_begin(crypto_hash *h);
void crypto_hash_add(crypto_hash *h, const void *data, size_t size);
void crypto_hash_end(crypto_hash *h, uint8_t hash[32]);

#endif
