/* A child process for code that is not trusted: limits, deadline, and how it ended. */
#ifndef AGENT_PROCESS_H
#define AGENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "session.h"

/* Shared between the parent and the child: what runs now, and where it went wrong. */
typedef struct {
    char running[128];    /* a layer, a candidate; "" */
    int signal;           /* that the child caught */
    uint64_t address;     /* that it was about */
    uint8_t out_of_memory; /* an allocation failed because of the limit */
} report;

typedef struct {
    pid_t pid; /* 0: there is none */
    int pipe;  /* a stream to and from the child */
    int status; /* of waitpid, once it has ended */
    bool ended;
    report *report;
} process;

/* In the child, called by its signal handlers before they tell how it ends: fills in what runs, where
 * that is not kept up to date. NULL: nothing is asked. */
extern void (*process_tell)(report *report);

/* Forks; the child calls `body` with its end of the stream and ends with what that returns. The child has
 * default signal handlers but those that fill the report, dies with its parent, and can take `memory` bytes
 * beyond those of the agent itself (0: any; an emulator of the whole process does not hold it to that). False if
 * there are no processes left. */
bool process_start(process *p, uint64_t memory, int (*body)(int pipe, report *report, void *context),
                   void *context);

/* Reads `size` bytes from the child, waiting until `deadline_ns` of the steady clock. OK, TIMEOUT, or how the
 * child ended. */
outcome process_read(process *p, void *to, size_t size, int64_t deadline_ns);
/* Writes all to the child; false if it has ended. */
bool process_write(process *p, const void *from, size_t size);

/* The sentence for an outcome of process_read. */
void process_reason(const process *p, outcome status, char *text, size_t size);

/* Kills the child if it runs, and waits for its end. Fine on one that was never started. */
void process_end(process *p);

#endif
