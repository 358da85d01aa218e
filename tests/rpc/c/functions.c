/* Functions as TVM's compiled libraries export them, which do what kernels do not: give back what they are
 * given, fail, crash, never end. Written after TVM's c_api.h, not after the agent's declarations. */
#include <stdint.h>

typedef struct {
    int32_t type;
    uint32_t size;
    union {
        int64_t integer;
        void *pointer;
        const char *string;
        char small[8];
        struct {
            const unsigned char *data;
            uint64_t size;
        } *bytes;
    };
} any;

void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);

#define FUNCTION(name)                        \
    __attribute__((visibility("default"))) int \
    __tvm_ffi_##name(void *self, const any *arguments, int32_t count, any *result)

FUNCTION(echo) { return *result = arguments[count - 1], 0; }

/* Of a string or bytes, so that none is lost or changed: the sum of i * byte i, from 1. */
FUNCTION(sum) {
    int64_t sum = 0;
    result->type = 1;
    if (arguments->type == 8)
        for (int64_t i = 0; arguments->string[i]; i++)
            sum += (i + 1) * (unsigned char)arguments->string[i];
    if (arguments->type == 9)
        for (uint64_t i = 0; i < arguments->bytes->size; i++)
            sum += (int64_t)(i + 1) * arguments->bytes->data[i];
    result->integer = sum;
    return 0;
}

FUNCTION(hello) {
    result->type = 11;
    result->size = 5;
    for (int i = 0; i < 5; i++) result->small[i] = "hello"[i];
    return 0;
}

FUNCTION(address) {
    result->type = 4;
    result->pointer = result;
    return 0;
}

FUNCTION(object) {
    result->type = 71;
    return 0;
}

FUNCTION(fail) {
    TVMFFIErrorSetRaisedFromCStr("ValueError", "it is Tuesday");
    return -1;
}

FUNCTION(fail_silently) { return -1; }

FUNCTION(crash) { return *(volatile int *)16 = 1; }

FUNCTION(loop) {
    for (;;) __asm__ volatile("");
}
