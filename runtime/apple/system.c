/* macOS and iOS: threads are not put on CPUs; what they are for decides. The system's own calls to
 * sleep until a number changes are not public before macOS 14.4, so POSIX's are used: one lock for
 * all, taken only by those that go to sleep or wake others. */
#include "system.h"

#include <pthread.h>
#include <sys/sysctl.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* A number that the kernel tells by name; 0 if it does not know it. */
static int32_t told(const char *name) {
    int32_t value = 0;
    size_t size = sizeof value;
    if (sysctlbyname(name, &value, &size, NULL, 0) != 0 || size != sizeof value) return 0;
    return value;
}

int32_t system_usable_cpus(void) {
    int32_t count = told("hw.activecpu");
    return count > 0 ? count : 1;
}

int32_t system_big_cpus(void) {
    int32_t count = told("hw.perflevel0.logicalcpu");
    return count > 0 ? count : system_usable_cpus();
}

int system_cpu(void) { return NOT_TOLD; }

bool system_place(int32_t cpu) {
    (void)cpu;
    return false;
}

void system_stay_big(void) { pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0); }

bool system_leave(int cpu) {
    (void)cpu;
    return false;
}

void system_sleep(_Atomic uint32_t *number, uint32_t old) {
    pthread_mutex_lock(&lock);
    while (atomic_load(number) == old) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void system_wake(_Atomic uint32_t *number) {
    (void)number;
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
