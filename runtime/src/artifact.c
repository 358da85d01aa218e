/* The part of armlet.h that needs no instance. */
#include "instance.h"

int32_t armlet_abi_version(void) { return ARMLET_ABI_VERSION; }

const char *armlet_status_text(armlet_status status) {
    switch (status) {
    case ARMLET_OK: return "ok";
    case ARMLET_ERROR_ARGUMENT: return "invalid argument";
    case ARMLET_ERROR_MEMORY: return "out of memory";
    case ARMLET_ERROR_CPU: return "unsupported CPU";
    case ARMLET_ERROR_THREADS: return "threads could not be started or placed";
    case ARMLET_ERROR_INPUT: return "invalid or missing input";
    case ARMLET_ERROR_BUSY: return "the instance is running already";
    case ARMLET_CANCELLED: return "cancelled";
    case ARMLET_ERROR_SELFTEST: return "self-test failed";
    case ARMLET_ERROR_UNSUPPORTED: return "not available here";
    case ARMLET_UNAVAILABLE: return "an accelerator cannot be used";
    }
    return "unknown status";
}

const char *armlet_manifest(size_t *size) {
    if (size) *size = (size_t)armlet_model.manifest_size;
    return armlet_model.manifest;
}

int32_t armlet_input_count(void) { return armlet_model.input_count; }
int32_t armlet_output_count(void) { return armlet_model.output_count; }
int32_t armlet_task_count(void) { return armlet_model.task_count; }
int32_t armlet_region_count(void) { return armlet_model.region_count; }

static armlet_status describe(const tensor_entry *tensors, int32_t count, int32_t index,
                              armlet_tensor_info *info) {
    if (index < 0 || index >= count) return ARMLET_ERROR_ARGUMENT;
    const tensor_entry *t = &tensors[index];
    armlet_tensor_info found = {
        .name = text_of(t->name),
        .shape = armlet_model.extents + t->shape,
        .rank = t->rank,
        .dtype = t->dtype,
        .bytes = (size_t)t->bytes,
    };
    return give(info, &found, sizeof found);
}

armlet_status armlet_input_info(int32_t index, armlet_tensor_info *info) {
    return describe(armlet_model.inputs, armlet_model.input_count, index, info);
}

armlet_status armlet_output_info(int32_t index, armlet_tensor_info *info) {
    return describe(armlet_model.outputs, armlet_model.output_count, index, info);
}
