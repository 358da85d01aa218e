/* The functions of an artifact that is loaded, and what it tells of itself as JSON. */
#ifndef AGENT_MODEL_TEXT_H
#define AGENT_MODEL_TEXT_H

#include "armlet.h"
#include "fields.h"

typedef struct {
    __typeof__(&armlet_status_text) status_text;
    __typeof__(&armlet_manifest) manifest;
    __typeof__(&armlet_input_count) input_count;
    __typeof__(&armlet_output_count) output_count;
    __typeof__(&armlet_input_info) input_info;
    __typeof__(&armlet_output_info) output_info;
    __typeof__(&armlet_create) create;
    __typeof__(&armlet_thread_count) thread_count;
    __typeof__(&armlet_set_input) set_input;
    __typeof__(&armlet_set_output) set_output;
    __typeof__(&armlet_run) run;
    __typeof__(&armlet_cancel) cancel;
    __typeof__(&armlet_error) error;
    __typeof__(&armlet_task_count) task_count;
    __typeof__(&armlet_set_profiling) set_profiling;
    __typeof__(&armlet_profile) profile;
    __typeof__(&armlet_observe) observe;
    __typeof__(&armlet_selftest) selftest;
    /* These are NULL in artifacts of older versions: current_task of 1, the others of 2. */
    __typeof__(&armlet_current_task) current_task;
    __typeof__(&armlet_region_count) region_count;
    __typeof__(&armlet_region) region;
    __typeof__(&armlet_region_step) region_step;
} model_functions;

/* NULL, or the name of one that the library lacks. */
const char *find_functions(void *library, model_functions *found);

/* Parts that accelerators may do; 0 in an artifact that knows of none. */
int32_t count_regions(const model_functions *call);

/* As device-protocol.md shows it. */
void write_description(writer *w, const model_functions *call, armlet_instance *instance);

#endif
