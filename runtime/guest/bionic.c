/* Android's libc.so for a guest of glibc: the functions whose structs are laid out in another way
 * there. All others are glibc's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t flags;
    void *stack_base;
    size_t stack_size, guard_size;
    int32_t sched_policy, sched_priority;
#if defined(__LP64__)
    char reserved[16];
#endif
} bionic_attr;

typedef unsigned long bionic_sigset;

/* glibc's other parts, which the linker leaves out where nothing is used of them */
void *const bionic_needs[] = {(void *)tgamma, (void *)pthread_join};

#define GLIBC(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int *__errno(void) { return &errno; }

int pthread_attr_init(pthread_attr_t *made) {
    memset(made, 0, sizeof(bionic_attr));
    return 0;
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes) {
    ((bionic_attr *)(void *)attributes)->stack_size = bytes;
    return 0;
}

int pthread_attr_destroy(pthread_attr_t *attributes) {
    memset(attributes, 0xff, sizeof(bionic_attr));
    return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *given, void *(*start)(void *),
                   void *argument) {
    pthread_attr_t ours;
    if (!given) return GLIBC(pthread_create)(thread, NULL, start, argument);
    GLIBC(pthread_attr_init)(&ours);
    GLIBC(pthread_attr_setstacksize)(&ours, ((const bionic_attr *)(const void *)given)->stack_size);
    int failed = GLIBC(pthread_create)(thread, &ours, start, argument);
    GLIBC(pthread_attr_destroy)(&ours);
    return failed;
}

int sigfillset(sigset_t *set) {
    memset(set, 0xff, sizeof(bionic_sigset));
    return 0;
}

int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    sigset_t wanted, found;
    sigemptyset(&wanted);
    if (set) memcpy(&wanted, set, sizeof(bionic_sigset));
    int failed = GLIBC(pthread_sigmask)(how, set ? &wanted : NULL, &found);
    if (old) memcpy(old, &found, sizeof(bionic_sigset));
    return failed;
}
