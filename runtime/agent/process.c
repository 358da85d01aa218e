#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

/* A handler may have to work where a stack has overflowed. */
enum { STACK_BYTES = 1 << 16, LAST_WORDS_MS = 200, LOOK_AGAIN_MS = 1 };
/* With less of its limit left, a crash is put down to memory: an allocation has failed. */
enum { SHARE_LEFT = 8 };
/* Asks a child that takes too long what it is doing. */
#define ASK SIGUSR2

static const struct {
    int number;
    const char *name;
} FAULTS[] = {
    {SIGSEGV, "a segmentation fault"},     {SIGBUS, "a bus error"},
    {SIGILL, "an illegal instruction"},    {SIGFPE, "an arithmetic exception"},
    {SIGABRT, "an abort"},                 {SIGTRAP, "a trap"},
    {SIGSYS, "a forbidden system call"},
};
enum { FAULT_COUNT = sizeof FAULTS / sizeof *FAULTS };

void (*process_tell)(report *report);

/* Of the child. */
static report *own_report;
static uint64_t own_limit;

/* What the child may take, tried out. */
static bool is_short_of_memory(void) {
    if (!own_limit) return false;
    size_t probe = (size_t)(own_limit / SHARE_LEFT);
    void *tried = mmap(NULL, probe, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (tried == MAP_FAILED) return true;
    munmap(tried, probe);
    return false;
}

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    own_report->signal = number;
    own_report->address = (uint64_t)(uintptr_t)info->si_addr;
    own_report->out_of_memory = is_short_of_memory();
    if (process_tell) process_tell(own_report);
    signal(number, SIG_DFL);
    raise(number);
}

static void on_ask(int number) {
    (void)number;
    if (process_tell) process_tell(own_report);
    _exit(0);
}

static void catch_faults(void) {
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction ask = {.sa_handler = on_ask, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES};
    if (stack.ss_sp) sigaltstack(&stack, NULL);
    sigemptyset(&fault.sa_mask);
    sigemptyset(&ask.sa_mask);
    for (int i = 0; i < FAULT_COUNT; i++) sigaction(FAULTS[i].number, &fault, NULL);
    sigaction(ASK, &ask, NULL);
}

/* Address space in use, as the limit counts all of it. */
static uint64_t taken(void) {
    char text[32] = "";
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    return size > 0 ? strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void limit_memory(uint64_t memory) {
    own_limit = memory;
    uint64_t most = taken() + memory;
    if (!memory || (rlim_t)most != most) return;
    struct rlimit limit = {.rlim_cur = (rlim_t)most, .rlim_max = (rlim_t)most};
    setrlimit(RLIMIT_AS, &limit);
}

/* Where memory is short for the whole system, this is what should go. */
static void offer_first(void) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "1000", 4) != 4) { /* it takes its chances */
    }
    close(file);
}

bool process_start(process *p, uint64_t memory, int (*body)(int pipe, report *report, void *context),
                   void *context) {
    int ends[2];
    pid_t parent = getpid();
    *p = (process){0};
    p->report = mmap(NULL, sizeof *p->report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->report == MAP_FAILED) return false;
    p->pid = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ? fork() : -1;
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        close(ends[0]);
        own_report = p->report;
        catch_faults();
        offer_first();
        limit_memory(memory);
        _exit(body(ends[1], p->report, context));
    }
    if (p->pid > 0) {
        close(ends[1]);
        p->pipe = ends[0];
        return true;
    }
    munmap(p->report, sizeof *p->report);
    *p = (process){0};
    return false;
}

/* Waits for its end; false if that does not come in time. */
static bool wait_end(process *p, int64_t deadline_ns) {
    while (!p->ended) {
        pid_t found = waitpid(p->pid, &p->status, WNOHANG);
        if (found == p->pid || (found < 0 && errno == ECHILD)) p->ended = true;
        if (p->ended || ms_until(deadline_ns) == 0) break;
        usleep(LOOK_AGAIN_MS * 1000);
    }
    return p->ended;
}

/* Lets it say what it is doing. */
static outcome out_of_time(process *p) {
    kill(p->pid, ASK);
    wait_end(p, deadline_after(LAST_WORDS_MS));
    return TIMEOUT;
}

static outcome how_it_ended(process *p, int64_t deadline_ns) {
    if (!wait_end(p, deadline_ns)) return out_of_time(p);
    bool killed = WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL;
    return killed || p->report->out_of_memory ? OUT_OF_MEMORY : CRASHED;
}

outcome process_read(process *p, void *to, size_t size, int64_t deadline_ns) {
    uint8_t *at = to;
    while (size) {
        ssize_t got = recv(p->pipe, at, size, MSG_DONTWAIT);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
            continue;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) return how_it_ended(p, deadline_ns);
        struct pollfd wait = {.fd = p->pipe, .events = POLLIN};
        int left = ms_until(deadline_ns);
        if (left == 0) return out_of_time(p);
        poll(&wait, 1, left);
    }
    return OK;
}

bool process_write(process *p, const void *from, size_t size) {
    return send(p->pipe, from, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static const char *fault_name(int number) {
    for (int i = 0; i < FAULT_COUNT; i++)
        if (FAULTS[i].number == number) return FAULTS[i].name;
    return NULL;
}

/* The report is the child's to write: nothing ends its text for sure. */
static void place_of(const report *r, char text[sizeof r->running + 8]) {
    size_t size = strnlen(r->running, sizeof r->running);
    snprintf(text, sizeof r->running + 8, "%s%.*s", size ? " in " : "", (int)size, r->running);
}

void process_reason(const process *p, outcome status, char *text, size_t size) {
    char place[sizeof p->report->running + 8];
    place_of(p->report, place);
    if (status == TIMEOUT) {
        snprintf(text, size, "it took longer than its deadline%s", place);
    } else if (status == OUT_OF_MEMORY && p->report->out_of_memory) {
        snprintf(text, size, "it met its limit on memory%s", place);
    } else if (status == OUT_OF_MEMORY) {
        snprintf(text, size, "the system killed it%s, as it does when memory is short", place);
    } else if (p->ended && WIFEXITED(p->status)) {
        snprintf(text, size, "it ended the process with status %d%s", WEXITSTATUS(p->status), place);
    } else {
        int number = WTERMSIG(p->status);
        const char *name = fault_name(number);
        if (name && number == p->report->signal)
            snprintf(text, size, "it ended with %s (signal %d) at address 0x%llx%s", name, number,
                     (unsigned long long)p->report->address, place);
        else
            snprintf(text, size, "it ended with signal %d%s", number, place);
    }
}

void process_end(process *p) {
    if (!p->pid) return;
    if (!p->ended) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, &p->status, 0);
    }
    close(p->pipe);
    munmap(p->report, sizeof *p->report);
    *p = (process){0};
}
