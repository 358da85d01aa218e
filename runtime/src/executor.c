/* Runs the tasks in order. The caller's thread leads: it alone looks at tasks, profile, observer
 * and cancellation; the pool's threads see one kernel call at a time. */
#include "instance.h"

static void prepare(armlet_instance *m, const task_entry *task) {
    const kernel_entry *kernel = m->kernels[task->kernel];
    const location_entry *arguments = &armlet_model.locations[task->arguments];
    m->kernel = kernel;
    for (uint32_t i = 0; i < kernel->pointers; i++) m->pointers[i] = address_of(m, &arguments[i]);
}

static void run_part(void *context, int32_t part, int32_t parts) {
    armlet_instance *m = context;
    int64_t extent = m->kernel->extent;
    m->kernel->code(m->pointers, (int32_t)(extent * part / parts),
                    (int32_t)(extent * (part + 1) / parts),
                    m->scratch + armlet_model.scratch_bytes * (uint64_t)part);
}

static void observe(armlet_instance *m, int32_t index, const task_entry *task) {
    const tensor_entry *value = &task->value;
    armlet_value seen = {
        .struct_size = sizeof seen,
        .task = index,
        .rank = value->rank,
        .name = text_of(value->name),
        .source = text_of(value->source),
        .shape = armlet_model.extents + value->shape,
        .data = m->pointers[m->kernel->pointers - 1],
        .bytes = (size_t)value->bytes,
        .dtype = value->dtype,
    };
    m->observer(m->observer_context, &seen);
}

/* The last task of a region that writes where one of its results is. */
static int32_t maker(const region_entry *r, const location_entry *result) {
    int32_t found = -1;
    for (int32_t i = r->first_task; i < r->first_task + r->task_count; i++) {
        const task_entry *task = &armlet_model.tasks[i];
        uint32_t last = task->arguments + armlet_model.kernels[task->kernel].pointers - 1;
        const location_entry *l = &armlet_model.locations[last];
        if (l->base == result->base && l->offset == result->offset) found = i;
    }
    return found;
}

static void observe_results(armlet_instance *m, const region_entry *r) {
    for (int32_t i = 0; i < r->output_count; i++) {
        int32_t task = maker(r, &armlet_model.locations[r->outputs + (uint32_t)i]);
        if (task < 0) continue;
        prepare(m, &armlet_model.tasks[task]);
        observe(m, task, &armlet_model.tasks[task]);
    }
}

static void run_kernel(armlet_instance *m, const task_entry *task) {
    prepare(m, task);
    int32_t parts = threads_for(m, m->kernel);
    if (parts > 1)
        pool_run(m->pool, run_part, m, parts);
    else
        run_part(m, 0, 1);
}

/* Runs the task, or the live region that begins with it, of which `last` is then the last task. */
static armlet_status run_step(armlet_instance *m, int32_t *region, int32_t *last) {
    int32_t first = *last;
    const region_entry *r = &armlet_model.regions[*region];
    bool begins = *region < armlet_model.region_count && r->first_task == first;
    armlet_status status = ARMLET_OK;
    int64_t before = m->profiling ? now_ns() : 0;
    tally *time = &m->tallies[first];
    bool live = false;
    if (begins) status = region_run(m, *region, &live);
    if (live) {
        time = &m->regions[*region].time;
        *last = r->first_task + r->task_count - 1;
    } else if (status == ARMLET_OK) {
        run_kernel(m, &armlet_model.tasks[first]);
    }
    *region += begins;
    if (status != ARMLET_OK) return status;
    if (m->profiling) {
        time->calls++;
        time->ns += now_ns() - before;
    }
    if (m->observer && live)
        observe_results(m, r);
    else if (m->observer)
        observe(m, first, &armlet_model.tasks[first]);
    return ARMLET_OK;
}

static armlet_status run_tasks(armlet_instance *m) {
    int32_t region = 0;
    for (int32_t i = 0; i < armlet_model.task_count; i++) {
        if (atomic_load_explicit(&m->cancelled, memory_order_relaxed))
            return fail(m, ARMLET_CANCELLED, "the run was cancelled");
        atomic_store_explicit(&m->current, i, memory_order_relaxed);
        armlet_status status = run_step(m, &region, &i);
        if (status != ARMLET_OK) return status;
    }
    return ARMLET_OK;
}

armlet_status execute(armlet_instance *m) {
    armlet_status status = run_tasks(m);
    atomic_store_explicit(&m->current, -1, memory_order_relaxed);
    return status;
}

armlet_status armlet_run(armlet_instance *m) {
    if (!m) return ARMLET_ERROR_ARGUMENT;
    if (atomic_exchange(&m->busy, true)) return ARMLET_ERROR_BUSY;
    atomic_store(&m->cancelled, false);
    armlet_status status = ARMLET_OK;
    for (int32_t i = 0; i < armlet_model.input_count && status == ARMLET_OK; i++)
        if (!m->bases[BASE_INPUTS + i] && armlet_model.inputs[i].bytes)
            status = fail(m, ARMLET_ERROR_INPUT, "input '%.80s' is not set",
                          text_of(armlet_model.inputs[i].name));
    if (status == ARMLET_OK) status = execute(m);
    atomic_store(&m->busy, false);
    return status;
}

void armlet_cancel(armlet_instance *m) {
    if (m) atomic_store(&m->cancelled, true);
}
