#define _GNU_SOURCE
#include "model_text.h"

#include <dlfcn.h>

#include "json.h"

#define FUNCTION(name) {"armlet_" #name, offsetof(model_functions, name)}
static const struct {
    const char *name;
    size_t at;
} FUNCTIONS[] = {
    FUNCTION(status_text),  FUNCTION(manifest),    FUNCTION(input_count), FUNCTION(output_count),
    FUNCTION(input_info),   FUNCTION(output_info), FUNCTION(create),      FUNCTION(thread_count),
    FUNCTION(set_input),    FUNCTION(set_output),  FUNCTION(run),         FUNCTION(cancel),
    FUNCTION(error),        FUNCTION(task_count),  FUNCTION(set_profiling), FUNCTION(profile),
    FUNCTION(observe),      FUNCTION(selftest),    FUNCTION(current_task), FUNCTION(region_count),
    FUNCTION(region),       FUNCTION(region_step),
};
enum { FUNCTION_COUNT = sizeof FUNCTIONS / sizeof *FUNCTIONS, NEEDED = FUNCTION_COUNT - 4 };

static const char *const DTYPES[] = {
    "",      "float16", "float32", "float64", "int8",   "int16",  "int32",
    "int64", "uint8",   "uint16",  "uint32",  "uint64", "bool",
};

const char *find_functions(void *library, model_functions *found) {
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        void *function = dlsym(library, FUNCTIONS[i].name);
        if (!function && i < NEEDED) return FUNCTIONS[i].name;
        memcpy((char *)found + FUNCTIONS[i].at, &function, sizeof function);
    }
    return NULL;
}

static void put_tensors(writer *w, int32_t count, __typeof__(&armlet_input_info) info_of) {
    for (int32_t i = 0; i < count; i++) {
        armlet_tensor_info info = {.struct_size = sizeof info};
        if (info_of(i, &info) != ARMLET_OK) return;
        bool known = info.dtype > 0 && info.dtype < (int32_t)(sizeof DTYPES / sizeof *DTYPES);
        json_raw(w, i ? ", {\"name\": " : "{\"name\": ");
        json_string(w, info.name);
        json_raw(w, ", \"dtype\": ");
        json_string(w, known ? DTYPES[info.dtype] : "");
        json_raw(w, ", \"shape\": [");
        for (int32_t d = 0; d < info.rank; d++) {
            json_raw(w, d ? ", " : "");
            json_number(w, info.shape[d]);
        }
        json_raw(w, "]}");
    }
}

static void put_tasks(writer *w, const model_functions *call, armlet_instance *instance) {
    int32_t count = call->task_count();
    for (int32_t i = 0; i < count; i++) {
        armlet_profile_entry entry = {.struct_size = sizeof entry};
        if (call->profile(instance, i, &entry) != ARMLET_OK) return;
        json_raw(w, i ? ", {\"value\": " : "{\"value\": ");
        json_string(w, entry.value);
        json_raw(w, ", \"source\": ");
        json_string(w, entry.source);
        json_raw(w, ", \"template\": ");
        json_string(w, entry.template_name);
        json_raw(w, "}");
    }
}

int32_t count_regions(const model_functions *call) {
    bool known = call->region_count && call->region && call->region_step;
    return known ? call->region_count() : 0;
}

static void put_regions(writer *w, const model_functions *call, armlet_instance *instance) {
    for (int32_t i = 0; i < count_regions(call); i++) {
        armlet_region_info info = {.struct_size = sizeof info};
        if (call->region(instance, i, &info) != ARMLET_OK) return;
        json_raw(w, i ? ", {\"name\": " : "{\"name\": ");
        json_string(w, info.name);
        json_raw(w, ", \"back_end\": ");
        json_string(w, info.back_end);
        json_raw(w, info.live ? ", \"live\": true, \"reason\": " : ", \"live\": false, \"reason\": ");
        json_string(w, info.reason);
        json_raw(w, ", \"first_task\": ");
        json_number(w, info.first_task);
        json_raw(w, ", \"task_count\": ");
        json_number(w, info.task_count);
        json_raw(w, ", \"program_bytes\": ");
        json_number(w, (long long)info.program_bytes);
        json_raw(w, "}");
    }
}

void write_description(writer *w, const model_functions *call, armlet_instance *instance) {
    size_t size = 0;
    const char *manifest = call->manifest(&size);
    json_raw(w, "{\"threads\": ");
    json_number(w, call->thread_count(instance));
    json_raw(w, ", \"manifest\": ");
    write_raw(w, manifest, size);
    json_raw(w, ", \"inputs\": [");
    put_tensors(w, call->input_count(), call->input_info);
    json_raw(w, "], \"outputs\": [");
    put_tensors(w, call->output_count(), call->output_info);
    json_raw(w, "], \"tasks\": [");
    put_tasks(w, call, instance);
    json_raw(w, "], \"regions\": [");
    put_regions(w, call, instance);
    json_raw(w, "]}");
}
