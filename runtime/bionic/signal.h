#pragma once
#include <sys/types.h>

typedef unsigned long sigset_t;
typedef int sig_atomic_t;

enum {
    SIGINT = 2, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGSEGV = 11,
    SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGCHLD = 17, SIGPROF = 27, SIGSYS = 31
};
enum { SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 };
enum { SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000 };

#define SIG_DFL ((void (*)(int))0)
#define SIG_IGN ((void (*)(int))1)
#define SIG_ERR ((void (*)(int))-1)

/* The part that is used, in 128 bytes: what has been caught, and about which address or process. */
typedef struct {
    int si_signo, si_errno, si_code;
    union {
        void *address;
        pid_t pid;
        long padding[(128 - 4 * sizeof(int)) / sizeof(long)];
    } details_;
} siginfo_t;
#define si_addr details_.address
#define si_pid details_.pid

#define SIGACTION_HANDLERS_ \
    union { \
        void (*sa_handler)(int); \
        void (*sa_sigaction)(int, siginfo_t *, void *); \
    };

struct sigaction {
#if defined(__LP64__)
    int sa_flags;
    SIGACTION_HANDLERS_
    sigset_t sa_mask;
#else
    SIGACTION_HANDLERS_
    sigset_t sa_mask;
    int sa_flags;
#endif
    void (*sa_restorer)(void);
};

typedef struct {
    void *ss_sp;
    int ss_flags;
    size_t ss_size;
} stack_t;

int sigaction(int, const struct sigaction *, struct sigaction *);
int sigaltstack(const stack_t *, stack_t *);
int sigprocmask(int, const sigset_t *, sigset_t *);
void (*signal(int, void (*)(int)))(int);
int kill(pid_t, int);
int raise(int);

int sigemptyset(sigset_t *);
int sigfillset(sigset_t *);
int sigaddset(sigset_t *, int);
