/* Regions: what accelerators do of a model, and the CPU where they cannot. */
#include <stdio.h>
#include <stdlib.h>

#include "instance.h"

static const region_entry *entry_of(int32_t region) { return &armlet_model.regions[region]; }

static armlet_status explain(armlet_instance *m, int32_t region, armlet_status status,
                             const char *error) {
    const region_entry *r = entry_of(region);
    return fail(m, status, "region %d (%.60s) on %.40s: %.120s", region, text_of(r->name),
                text_of(r->back_end), error[0] ? error : armlet_status_text(status));
}

/* The CPU does the region from now on, unless an accelerator is required. */
static armlet_status leave(armlet_instance *m, int32_t region) {
    if (m->devices != ARMLET_DEVICES_REQUIRE) return ARMLET_OK;
    return explain(m, region, ARMLET_UNAVAILABLE, m->regions[region].reason);
}

static armlet_status give_up(armlet_instance *m, int32_t region, const char *reason) {
    region_state *s = &m->regions[region];
    if (s->handle) entry_of(region)->api->destroy(s->handle);
    s->handle = NULL;
    snprintf(s->reason, sizeof s->reason, "%s", reason[0] ? reason : "no reason was given");
    return leave(m, region);
}

static armlet_status create(armlet_instance *m, int32_t region, const armlet_options *o) {
    const region_entry *r = entry_of(region);
    armlet_npu_blob blob = {
        .struct_size = sizeof blob,
        .max_kernel_ms = o->max_kernel_ms,
        .data = armlet_model.constants + r->blob,
        .bytes = r->blob_bytes,
        .cache_dir = o->device_cache,
    };
    char error[ERROR_BYTES] = "";
    void *handle = NULL;
    if (m->devices == ARMLET_DEVICES_LEAVE) return give_up(m, region, "accelerators are not used");
    if (r->api->version != ARMLET_NPU_VERSION)
        return give_up(m, region, "its shim is of another version than the executor");
    armlet_status status = r->api->create(&blob, &handle, error, sizeof error);
    if (status == ARMLET_UNAVAILABLE) return give_up(m, region, error);
    if (status != ARMLET_OK) return explain(m, region, status, error);
    m->regions[region].handle = handle;
    snprintf(m->regions[region].reason, ERROR_BYTES, "%s", error);
    return ARMLET_OK;
}

armlet_status regions_open(armlet_instance *m, const armlet_options *o) {
    const model_tables *t = &armlet_model;
    int32_t most = 0;
    for (int32_t i = 0; i < t->region_count; i++) {
        int32_t pointers = t->regions[i].input_count + t->regions[i].output_count;
        if (pointers > most) most = pointers;
    }
    m->devices = (armlet_devices)o->devices;
    m->regions = calloc((size_t)t->region_count + 1, sizeof *m->regions);
    m->region_pointers = calloc((size_t)most + 1, sizeof *m->region_pointers);
    if (!m->regions || !m->region_pointers) return fail(m, ARMLET_ERROR_MEMORY, "out of memory");
    armlet_status status = ARMLET_OK;
    for (int32_t i = 0; i < t->region_count && status == ARMLET_OK; i++) status = create(m, i, o);
    return status;
}

void regions_close(armlet_instance *m) {
    for (int32_t i = 0; m->regions && i < armlet_model.region_count; i++)
        if (m->regions[i].handle) entry_of(i)->api->destroy(m->regions[i].handle);
    free(m->region_pointers);
    free(m->regions);
}

armlet_status region_run(armlet_instance *m, int32_t region, bool *done) {
    const region_entry *r = entry_of(region);
    void *handle = m->regions[region].handle;
    char error[ERROR_BYTES] = "";
    if (!handle) return leave(m, region);
    for (int32_t i = 0; i < r->input_count + r->output_count; i++)
        m->region_pointers[i] = address_of(m, &armlet_model.locations[r->inputs + (uint32_t)i]);
    const void *const *inputs = (const void *const *)m->region_pointers;
    void *const *outputs = m->region_pointers + r->input_count;
    armlet_status status = r->api->run(handle, inputs, outputs, error, sizeof error);
    *done = status == ARMLET_OK;
    if (*done) return status;
    return status == ARMLET_UNAVAILABLE ? give_up(m, region, error)
                                        : explain(m, region, status, error);
}

void regions_profile(armlet_instance *m, bool on) {
    for (int32_t i = 0; i < armlet_model.region_count; i++) {
        const armlet_npu_api *api = entry_of(i)->api;
        void *handle = m->regions[i].handle;
        m->regions[i].time = (tally){0};
        if (handle && api->set_profiling) api->set_profiling(handle, on);
    }
}

armlet_status armlet_region(const armlet_instance *m, int32_t region, armlet_region_info *info) {
    if (!m || region < 0 || region >= armlet_model.region_count) return ARMLET_ERROR_ARGUMENT;
    const region_entry *r = entry_of(region);
    const region_state *s = &m->regions[region];
    armlet_region_info found = {
        .name = text_of(r->name),
        .back_end = text_of(r->back_end),
        .reason = s->reason,
        .live = s->handle != NULL,
        .first_task = r->first_task,
        .task_count = r->task_count,
        .step_count = s->handle && r->api->step_count ? r->api->step_count(s->handle) : 0,
        .program_bytes = (size_t)r->blob_bytes,
        .seconds = (double)s->time.ns * 1e-9,
        .calls = s->time.calls,
    };
    return give(info, &found, sizeof found);
}

armlet_status armlet_region_step(const armlet_instance *m, int32_t region, int32_t step,
                                 const char **layer, double *seconds) {
    if (!m || region < 0 || region >= armlet_model.region_count || !layer || !seconds)
        return ARMLET_ERROR_ARGUMENT;
    const armlet_npu_api *api = entry_of(region)->api;
    void *handle = m->regions[region].handle;
    if (!handle || !api->step) return ARMLET_ERROR_UNSUPPORTED;
    int64_t ns = 0;
    armlet_status status = api->step(handle, step, layer, &ns);
    *seconds = (double)ns * 1e-9;
    return status;
}
