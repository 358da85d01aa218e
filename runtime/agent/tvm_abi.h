/* How TVM 0.27 hands values and tensors to compiled functions; the same numbers are on the wire. */
#ifndef AGENT_TVM_ABI_H
#define AGENT_TVM_ABI_H

#include <stddef.h>
#include <stdint.h>

/* What a tvm_value is. Indices from TVM_OBJECT on are reference counted objects of TVM's runtime. */
enum {
    TVM_NONE = 0,
    TVM_INT = 1,
    TVM_BOOL = 2,
    TVM_FLOAT = 3,
    TVM_POINTER = 4,
    TVM_DATA_TYPE = 5,
    TVM_DEVICE = 6,
    TVM_TENSOR_POINTER = 7,
    TVM_RAW_STRING = 8, /* char *, which a zero ends */
    TVM_BYTE_ARRAY = 9, /* tvm_bytes * */
    TVM_SMALL_STRING = 11,
    TVM_SMALL_BYTES = 12,
    TVM_OBJECT = 64,
    TVM_STRING = 65,
    TVM_BYTES = 66,
    TVM_FUNCTION = 68,
    TVM_MODULE = 73
};

enum { TVM_CPU = 1 };

typedef struct {
    uint8_t code; /* 0 signed, 1 unsigned, 2 float, 4 bfloat, 6 bool, … */
    uint8_t bits;
    uint16_t lanes;
} tvm_data_type;

typedef struct {
    int32_t type, id;
} tvm_device;

typedef struct {
    const char *data;
    size_t size;
} tvm_bytes;

/* DLPack's tensor. */
typedef struct {
    void *data;
    tvm_device device;
    int32_t rank;
    tvm_data_type dtype;
    int64_t *shape, *strides; /* strides NULL: dense */
    uint64_t byte_offset;
} tvm_tensor;

typedef struct {
    int32_t type;
    uint32_t small_size; /* of a small string; else 0 */
    union {
        int64_t integer;
        uint64_t bits;
        double real;
        void *pointer;
        const char *string;
        const tvm_bytes *bytes;
        tvm_tensor *tensor;
        tvm_data_type dtype;
        tvm_device device;
        char small[8];
    };
} tvm_value;

/* A function of a library is exported as `__tvm_ffi_NAME`; not 0 if it failed, and then the reason was
 * given to TVMFFIErrorSetRaisedFromCStr or its like. */
#define TVM_SYMBOL_PREFIX "__tvm_ffi_"
typedef int tvm_function(void *self, const tvm_value *arguments, int32_t count, tvm_value *result);

#endif
