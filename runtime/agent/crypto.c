/* Of the functions that see every byte, those that suit this processor. */
#include "crypto.h"

#include "cpu.h"

#define VERSIONS(result, name, parameters)   \
    result name##_plain parameters; \
    result name##_fast parameters;

VERSIONS(void, crypto_seal,
         (uint8_t * data, size_t size, const uint8_t *extra, size_t extra_size,
          const uint8_t nonce[12], const uint8_t key[32]))
VERSIONS(bool, crypto_open,
         (uint8_t * data, size_t size, const uint8_t *extra, size_t extra_size,
          const uint8_t nonce[12], const uint8_t key[32]))
VERSIONS(void, crypto_hash_add, (crypto_hash * h, const void *data, size_t size))

/* What crypto.zig is compiled for a second time (compiler/link/agent.py). */
#if defined(__x86_64__)
static bool found(void) { return cpu_has("avx2") && cpu_has("bmi2") && cpu_has("sha_ni"); }
#elif defined(__aarch64__)
static bool found(void) { return cpu_has("sha2"); }
#else
#define crypto_seal_fast crypto_seal_plain
#define crypto_open_fast crypto_open_plain
#define crypto_hash_add_fast crypto_hash_add_plain
static bool found(void) { return false; }
#endif

static bool is_fast(void) {
    static int known = -1;
    if (known < 0) known = found();
    return known;
}

void crypto_seal(uint8_t *data, size_t size, const uint8_t *extra, size_t extra_size,
                 const uint8_t nonce[12], const uint8_t key[32]) {
    (is_fast() ? crypto_seal_fast : crypto_seal_plain)(data, size, extra, extra_size, nonce, key);
}

bool crypto_open(uint8_t *data, size_t size, const uint8_t *extra, size_t extra_size,
                 const uint8_t nonce[12], const uint8_t key[32]) {
    return (is_fast() ? crypto_open_fast : crypto_open_plain)(data, size, extra, extra_size, nonce, key);
}

void crypto_hash_add(crypto_hash *h, const void *data, size_t size) {
    (is_fast() ? crypto_hash_add_fast : crypto_hash_add_plain)(h, data, size);
}
