/* Stands for libQnnHtp.so: the same interface, whose "graph" copies its input. QNN_FAIL names the call
 * that fails; QNN_MAJOR is the version of the interface. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t backend_id;
    const char *provider;
    uint32_t core[3], backend[3];
    void *functions[64];
} interface;

typedef struct { /* the parts of a Qnn_Tensor_t that are looked at */
    uint32_t version, pad, id, pad2;
    const char *name;
    uint32_t type, format, dtype, pad3;
    uint64_t quantization[5];
    uint32_t rank, pad4;
    const uint32_t *shape;
    uint32_t memory, pad5;
    void *data;
    uint32_t bytes, pad6;
    uint64_t version_2[3];
} tensor;
_Static_assert(sizeof(tensor) == 144, "not the size of Qnn_Tensor_t");

static int held;

static uint64_t fails(const char *call) {
    const char *wanted = getenv("QNN_FAIL");
    return wanted && strcmp(wanted, call) == 0;
}

static uint64_t backend_create(void *log, const void **config, void **backend) {
    (void)log, (void)config;
    if (fails("backend")) return 1;
    *backend = &held, held++;
    return 0;
}

static uint64_t backend_free(void *backend) { return backend == &held ? (uint64_t)(held-- < 0) : 1; }

static uint64_t context(void *backend, void *device, const void **config, const void *binary,
                        uint64_t bytes, void **made, void *profile) {
    (void)device, (void)config, (void)profile;
    if (fails("context") || backend != &held || bytes != 6 || memcmp(binary, "binary", 6)) return 1;
    *made = malloc(1); /* a leak unless it is freed */
    return 0;
}

static uint64_t context_free(void *made, void *profile) {
    (void)profile;
    free(made);
    return 0;
}

static uint64_t graph_retrieve(void *made, const char *name, void **graph) {
    *graph = made;
    return fails("graph") || strcmp(name, "net") != 0;
}

static uint64_t execute(void *graph, const void *inputs, uint32_t in, void *outputs, uint32_t out,
                        void *profile, void *signal) {
    (void)profile, (void)signal;
    const tensor *x = inputs, *y = outputs;
    if (!graph || fails("execute") || in != 1 || out != 1 || x->id != 7 || y->id != 9) return 1;
    if (x->type != 0 || y->type != 1 || x->dtype != 0x408 || x->rank != 4 || x->shape[3] != 5) return 2;
    if (x->bytes != 60 || ((const unsigned char *)x->data)[1] != atoi(getenv("QNN_FIRST"))) return 3;
    memcpy(y->data, x->data, y->bytes);
    return 0;
}

uint64_t QnnInterface_getProviders(const interface ***list, uint32_t *count) {
    static interface only;
    static const interface *all[] = {&only};
    only.core[0] = (uint32_t)atoi(getenv("QNN_MAJOR"));
    void *functions[64] = {0};
    functions[1] = (void *)backend_create, functions[8] = (void *)backend_free;
    functions[13] = (void *)context, functions[14] = (void *)context_free;
    functions[20] = (void *)graph_retrieve, functions[21] = (void *)execute;
    memcpy(only.functions, functions, sizeof functions);
    *list = all, *count = 1;
    return 0;
}
