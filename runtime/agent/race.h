/* The child process that runs a batch's candidates, and what it tells. */
#ifndef AGENT_RACE_H
#define AGENT_RACE_H

#include "batch.h"
#include "process.h"

typedef enum {
    RACE_BEGUN,    /* this candidate runs now, so that whoever waits knows which one crashed */
    RACE_OUTCOME,  /* a candidate's; `count` seconds follow */
    RACE_BASELINE, /* `level` */
    RACE_OVER      /* nothing is left */
} telling;

typedef struct {
    uint32_t what, candidate, status, count;
    level level;
    char reason[128];
} event;

/* The body of the child: `context` is the batch, of which what is not over is run. */
int race_run(int pipe, report *report, void *context);

#endif
