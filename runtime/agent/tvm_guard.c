#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "clock.h"
#include "tvm_server.h"

/* Below this the C library's own handlers of signals may not fit. */
enum { STACK_BYTES = 1 << 16 };

static const struct {
    int number;
    const char *name;
} FAULTS[] = {
    {SIGSEGV, "a segmentation fault"}, {SIGBUS, "a bus error"},
    {SIGILL, "an illegal instruction"}, {SIGFPE, "an arithmetic exception"},
    {SIGABRT, "abort"},
};
enum { FAULT_COUNT = sizeof FAULTS / sizeof *FAULTS };

static tvm_server *served;
static const char *volatile running; /* NULL: nothing of the client's */
static volatile sig_atomic_t session_over;

static void append(char *text, size_t size, const char *more) {
    size_t used = strlen(text), length = strlen(more);
    if (length > size - 1 - used) length = size - 1 - used;
    memcpy(text + used, more, length);
    text[used + length] = 0;
}

/* Only what a signal handler may call. Nothing of an answer has been written while client's code runs, so that
 * this is the answer. */
static _Noreturn void tell(const char *before, const char *after) {
    char text[512] = "";
    append(text, sizeof text, before);
    if (running) append(text, sizeof text, running);
    append(text, sizeof text, after);
    wire_exception(&served->wire, text);
    _exit(1);
}

static void fault(int number, siginfo_t *info, void *context) {
    (void)info;
    (void)context;
    char after[128] = " ended with ";
    for (int i = 0; i < FAULT_COUNT; i++)
        if (FAULTS[i].number == number) append(after, sizeof after, FAULTS[i].name);
    if (!running) _exit(1);
    append(after, sizeof after, ", and with it this session");
    tell("", after);
}

static void expired(int number) {
    (void)number;
    if (!running) return;
    if (session_over)
        tell("RPCSessionTimeoutError: the session's time was over while it ran ", "");
    tell("", " took longer than this agent lets a call take");
}

static void catch(int number, void (*act)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = act, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

bool guard_open(tvm_server *s) {
    served = s;
    for (int i = 0; i < FAULT_COUNT; i++) catch(FAULTS[i].number, fault);
    struct sigaction alarm = {.sa_handler = expired, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigfillset(&alarm.sa_mask);
    sigaction(SIGALRM, &alarm, NULL);
    guard_thread();
    return true;
}

/* The stack stays until the process ends. Threads of the pool take no signals unless they are told to. */
void guard_thread(void) {
    stack_t stack = {.ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES};
    if (stack.ss_sp) sigaltstack(&stack, NULL);
    sigset_t faults;
    sigemptyset(&faults);
    for (int i = 0; i < FAULT_COUNT; i++) sigaddset(&faults, FAULTS[i].number);
    pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
}

static void set_alarm(int64_t ms) {
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)(ms / 1000),
                                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

void guard_enter(const char *name) {
    int64_t limit = served->settings->deadline_ms, left = ms_until(served->end);
    session_over = left < limit;
    running = name;
    set_alarm(session_over ? left + 1 : limit);
}

void guard_leave(void) {
    set_alarm(0);
    running = NULL;
}
