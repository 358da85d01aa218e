#pragma once
#include <sched.h>
#include <signal.h>

typedef long pthread_t;

typedef struct {
    uint32_t flags;
    void *stack_base;
    size_t stack_size, guard_size;
    int32_t sched_policy, sched_priority;
#if defined(__LP64__)
    char reserved[16];
#endif
} pthread_attr_t;

int pthread_attr_init(pthread_attr_t *);
int pthread_attr_setstacksize(pthread_attr_t *, size_t);
int pthread_attr_destroy(pthread_attr_t *);
int pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_join(pthread_t, void **);
int pthread_sigmask(int, const sigset_t *, sigset_t *);

typedef struct {
#if defined(__LP64__)
    int32_t state[10];
#else
    int32_t state[1];
#endif
} pthread_mutex_t;

#define PTHREAD_MUTEX_INITIALIZER {{0}}

int pthread_mutex_lock(pthread_mutex_t *);
int pthread_mutex_unlock(pthread_mutex_t *);
