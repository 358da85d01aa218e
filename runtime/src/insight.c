/* Profile and observation. */
#include <string.h>

#include "instance.h"

int32_t armlet_current_task(const armlet_instance *m) {
    return m ? atomic_load_explicit(&m->current, memory_order_relaxed) : -1;
}

armlet_status armlet_set_profiling(armlet_instance *m, int32_t on) {
    if (!m) return ARMLET_ERROR_ARGUMENT;
    memset(m->tallies, 0, sizeof *m->tallies * (size_t)armlet_model.task_count);
    m->profiling = on != 0;
    regions_profile(m, m->profiling);
    return ARMLET_OK;
}

armlet_status armlet_profile(const armlet_instance *m, int32_t task, armlet_profile_entry *entry) {
    if (!m || task < 0 || task >= armlet_model.task_count) return ARMLET_ERROR_ARGUMENT;
    const task_entry *t = &armlet_model.tasks[task];
    const kernel_entry *kernel = m->kernels[t->kernel];
    armlet_profile_entry found = {
        .value = text_of(t->value.name),
        .source = text_of(t->value.source),
        .template_name = text_of(kernel->template_name),
        .seconds = (double)m->tallies[task].ns * 1e-9,
        .calls = m->tallies[task].calls,
        .threads = threads_for(m, kernel),
    };
    return give(entry, &found, sizeof found);
}

armlet_status armlet_observe(armlet_instance *m, armlet_observer observer, void *context) {
    if (!m) return ARMLET_ERROR_ARGUMENT;
    m->observer = observer;
    m->observer_context = context;
    return ARMLET_OK;
}
