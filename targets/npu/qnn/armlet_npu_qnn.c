/* The shim for Qualcomm's HTP (Hexagon NPU): loads a QNN context binary and runs its graph.
 *
 * The declarations follow the public API reference of Qualcomm AI Engine Direct, QNN 2.x. They are
 * ours; the library is Qualcomm's libQnnHtp.so, looked for by name or where ARMLET_QNN_LIBRARY says.
 * Tensors are found by the numbers that they had when the region was compiled, so libQnnSystem.so is
 * not needed.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "armlet_npu.h"

typedef uint64_t qnn_error; /* 0: success */
typedef void *qnn_handle;

typedef struct { uint32_t major, minor, patch; } qnn_version;

/* Functions that are not used keep their places. */
typedef struct {
    void *has_capability;
    qnn_error (*backend_create)(qnn_handle log, const void **config, qnn_handle *backend);
    void *backend_others[6];
    qnn_error (*backend_free)(qnn_handle backend);
    void *context_others[4];
    qnn_error (*context_from_binary)(qnn_handle backend, qnn_handle device, const void **config,
                                     const void *binary, uint64_t bytes, qnn_handle *context,
                                     qnn_handle profile);
    qnn_error (*context_free)(qnn_handle context, qnn_handle profile);
    void *graph_others[5];
    qnn_error (*graph_retrieve)(qnn_handle context, const char *name, qnn_handle *graph);
    qnn_error (*graph_execute)(qnn_handle graph, const void *inputs, uint32_t input_count,
                               void *outputs, uint32_t output_count, qnn_handle profile,
                               qnn_handle signal);
} qnn_functions;

typedef struct {
    uint32_t backend_id;
    const char *provider;
    qnn_version core, backend;
    qnn_functions f;
} qnn_interface;

typedef qnn_error get_providers(const qnn_interface ***list, uint32_t *count);

/* Qnn_Tensor_t of version 1; it is as large as version 2. */
typedef struct {
    uint32_t version;
    struct {
        uint32_t id;
        const char *name;
        uint32_t type, format, dtype;
        struct {
            uint32_t defined, encoding;
            uint64_t unused[4];
        } quantization;
        uint32_t rank;
        uint32_t *shape;
        uint32_t memory; /* 0: a buffer of the caller's */
        struct { void *data; uint32_t bytes; } buffer;
        uint64_t version_2[3];
    } v1;
} qnn_tensor;
_Static_assert(sizeof(void *) != 8 || sizeof(qnn_tensor) == 144, "not the size of Qnn_Tensor_t");

enum { QNN_MAJOR = 2, WRITTEN = 0, READ = 1, UNSIGNED_FIXED_8 = 0x0408, UNDEFINED = 0x7fffffff };

/* A tensor in the blob. */
typedef struct { uint32_t id, flip, bytes, rank, shape[4]; } entry;

typedef struct {
    void *library;
    const qnn_functions *f;
    qnn_handle backend, context, graph;
    const char *graph_name;
    const unsigned char *binary;
    uint64_t binary_bytes;
    uint32_t input_count, output_count;
    const entry *entries;
    qnn_tensor *tensors;
    unsigned char **copies; /* of tensors that are signed in the model, else NULL */
} region;

static armlet_status say(char *error, size_t size, armlet_status status, const char *text) {
    snprintf(error, size, "%s", text);
    return status;
}

static void describe(qnn_tensor *t, const entry *e, uint32_t type) {
    t->version = 1;
    t->v1.id = e->id;
    t->v1.name = "";
    t->v1.type = type;
    t->v1.dtype = UNSIGNED_FIXED_8;
    t->v1.quantization.defined = t->v1.quantization.encoding = UNDEFINED;
    t->v1.rank = e->rank;
    t->v1.shape = (uint32_t *)(uintptr_t)e->shape;
    t->v1.buffer.bytes = e->bytes;
}

/* "AQN1", inputs, outputs, bytes of the name and the binary, entries, name, binary. */
static armlet_status read_blob(region *r, const armlet_npu_blob *blob, char *error, size_t size) {
    const unsigned char *data = blob->data;
    uint32_t head[4];
    const size_t start = 4 + sizeof head;
    if (blob->bytes < start || memcmp(data, "AQN1", 4) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, "the program for QNN is damaged");
    memcpy(head, data + 4, sizeof head);
    uint64_t count = (uint64_t)head[0] + head[1], entries = count * sizeof(entry);
    if (!head[2] || start + entries + head[2] + head[3] != blob->bytes)
        return say(error, size, ARMLET_UNAVAILABLE, "the program for QNN is damaged");
    r->input_count = head[0], r->output_count = head[1];
    r->entries = (const entry *)(const void *)(data + start);
    r->graph_name = (const char *)data + start + entries;
    r->binary = data + start + entries + head[2], r->binary_bytes = head[3];
    r->tensors = calloc((size_t)count + 1, sizeof *r->tensors);
    r->copies = calloc((size_t)count + 1, sizeof *r->copies);
    if (!r->tensors || !r->copies) return say(error, size, ARMLET_ERROR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        describe(&r->tensors[i], &r->entries[i], i < r->input_count ? WRITTEN : READ);
        if (r->entries[i].flip && !(r->copies[i] = malloc((size_t)r->entries[i].bytes + 1)))
            return say(error, size, ARMLET_ERROR_MEMORY, "out of memory");
    }
    return ARMLET_OK;
}

static armlet_status open_library(region *r, char *error, size_t size) {
    const char *path = getenv("ARMLET_QNN_LIBRARY");
    r->library = dlopen(path ? path : "libQnnHtp.so", RTLD_NOW | RTLD_LOCAL);
    if (!r->library) return say(error, size, ARMLET_UNAVAILABLE, "libQnnHtp.so cannot be opened");
    get_providers *get = (get_providers *)dlsym(r->library, "QnnInterface_getProviders");
    const qnn_interface **list = NULL;
    uint32_t count = 0;
    if (!get || get(&list, &count) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, "libQnnHtp.so has no QNN interface");
    for (uint32_t i = 0; i < count && !r->f; i++)
        if (list[i]->core.major == QNN_MAJOR) r->f = &list[i]->f;
    if (r->f) return ARMLET_OK;
    return say(error, size, ARMLET_UNAVAILABLE, "libQnnHtp.so is of another version than QNN 2");
}

static armlet_status load(region *r, char *error, size_t size) {
    if (r->f->backend_create(NULL, NULL, &r->backend) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, "QNN finds no HTP");
    if (r->f->context_from_binary(r->backend, NULL, NULL, r->binary, r->binary_bytes, &r->context,
                                  NULL) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, "QNN refuses the program; another chip, or older");
    if (r->f->graph_retrieve(r->context, r->graph_name, &r->graph) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, "QNN does not find the graph in the program");
    return ARMLET_OK;
}

static void destroy(void *handle) {
    region *r = handle;
    if (r->context) r->f->context_free(r->context, NULL);
    if (r->backend) r->f->backend_free(r->backend);
    for (uint32_t i = 0; r->copies && i < r->input_count + r->output_count; i++) free(r->copies[i]);
    free(r->copies);
    free(r->tensors);
    if (r->library) dlclose(r->library);
    free(r);
}

static armlet_status create(const armlet_npu_blob *blob, void **made, char *error, size_t size) {
    region *r = calloc(1, sizeof *r);
    if (!r) return say(error, size, ARMLET_ERROR_MEMORY, "out of memory");
    armlet_status status = read_blob(r, blob, error, size);
    if (status == ARMLET_OK) status = open_library(r, error, size);
    if (status == ARMLET_OK) status = load(r, error, size);
    if (status == ARMLET_OK)
        *made = r;
    else
        destroy(r);
    return status;
}

static void flip(unsigned char *to, const unsigned char *from, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) to[i] = from[i] ^ 128;
}

static armlet_status run(void *handle, const void *const *inputs, void *const *outputs, char *error,
                         size_t size) {
    region *r = handle;
    uint32_t count = r->input_count + r->output_count;
    for (uint32_t i = 0; i < count; i++) {
        void *given = i < r->input_count ? (void *)(uintptr_t)inputs[i] : outputs[i - r->input_count];
        if (r->copies[i] && i < r->input_count) flip(r->copies[i], given, r->entries[i].bytes);
        r->tensors[i].v1.buffer.data = r->copies[i] ? r->copies[i] : given;
    }
    qnn_tensor *results = r->tensors + r->input_count;
    if (r->f->graph_execute(r->graph, r->tensors, r->input_count, results, r->output_count, NULL,
                            NULL) != 0)
        return say(error, size, ARMLET_UNAVAILABLE, "QNN failed in a run");
    for (uint32_t i = r->input_count; i < count; i++)
        if (r->copies[i]) flip(outputs[i - r->input_count], r->copies[i], r->entries[i].bytes);
    return ARMLET_OK;
}

const armlet_npu_api armlet_npu_qnn = {
    .version = ARMLET_NPU_VERSION,
    .name = "qnn",
    .create = create,
    .run = run,
    .destroy = destroy,
};
