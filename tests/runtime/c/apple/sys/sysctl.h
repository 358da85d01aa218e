/* Of Apple's headers what the runtime uses, so that its part for them can run on another system. */
#include <stddef.h>
#include <string.h>

enum { QOS_CLASS_USER_INITIATED = 0x19 };

static inline int pthread_set_qos_class_self_np(int class, int priority) {
    (void)class, (void)priority;
    return 0;
}

static inline int sysctlbyname(const char *name, void *value, size_t *size, void *set, size_t bytes) {
    (void)name, (void)set, (void)bytes;
    int cpus = 4;
    memcpy(value, &cpus, *size = sizeof cpus);
    return 0;
}
