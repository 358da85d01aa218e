/* Each candidate of a workload is first checked: its answer on the batch's data, and that it writes
 * nowhere else. Then the right ones race: they run in turns, and one that is surely slower than the best does
 * not go on. Constant operands have copies that take turns, more than L2 holds, as the weights of a whole
 * model do not stay in the cache either. One that uses too much processor time is ended by SIGPROF; time on
 * the clock would say nothing on a busy machine.
 *
 * A baseline that depends on nothing but the clock is timed now and then. Where it is slower than it was, the
 * device throttles: it rests, and what was raced meanwhile is raced again. */
#define _GNU_SOURCE
#include "race.h"

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "../src/system.h"
#include "clock.h"
#include "difference.h"

enum { ALIGNMENT = 64, GUARD = 4096, UNWRITTEN = 0xFF };
/* Bytes that copies of constants fill, and the most copies. */
enum { FILL = 4 << 20, COPIES = 64 };
/* Turns after which a candidate may be given up. */
enum { SURE = 2 };
/* Seconds of a turn; times the best that is surely slower. */
static const double TURN = 1e-3, SLOWER = 1.15;
/* Steps of the baseline and how often it is timed; the share that is a drift; the first rest and the last. */
enum { STEPS = 100000, TIMINGS = 5, FIRST_REST_MS = 100, LAST_REST_MS = 3200 };
static const double DRIFT = 1.05;

typedef void kernel(void *const *pointers, int32_t begin, int32_t end, void *scratch);

/* Aligned, with bytes behind it that nobody may write. */
typedef struct {
    uint8_t *start;
    size_t size;
} memory;

/* A workload's operands, its output, and the sets of pointers that calls take in turns. */
typedef struct {
    memory *all, output, scratch;
    size_t count;
    void **pointers;
    uint32_t copies, width;
} data;

/* A candidate in its race. */
typedef struct {
    uint32_t number;
    kernel *code;
    int64_t calls; /* of a turn; 0: it has not run */
    uint32_t count;
    double sum, least;
    double *times;
} racer;

typedef struct {
    batch *batch;
    int pipe;
    void *library;
    uint32_t since; /* candidates that ran since the baseline */
    uint32_t running;
} child;

static child *self; /* for the handler of SIGPROF */

#define ENDLESS __builtin_inf()

/* libm is not the agent's to need. */
static double lesser(double a, double b) {
    return a < b ? a : b;
}

/* -- telling ------------------------------------------------------------------------------------ */

static void put(const child *c, const void *from, size_t size) {
    const uint8_t *at = from;
    while (size) {
        ssize_t sent = write(c->pipe, at, size);
        if (sent <= 0) _exit(1); /* nobody listens */
        at += sent;
        size -= (size_t)sent;
    }
}

static void tell(const child *c, event *e, const double *seconds) {
    put(c, e, sizeof *e);
    put(c, seconds, e->count * sizeof *seconds);
}

static void tell_failure(child *c, uint32_t number, outcome status, const char *reason) {
    event e = {.what = RACE_OUTCOME, .candidate = number, .status = status};
    snprintf(e.reason, sizeof e.reason, "%s", reason);
    c->batch->candidates[number].over = true;
    tell(c, &e, NULL);
}

static void took_too_long(int signal) {
    (void)signal;
    event e = {.what = RACE_OUTCOME, .candidate = self->running, .status = TIMEOUT};
    tell(self, &e, NULL);
    _exit(0);
}

static void watch(double seconds) {
    int64_t us = (int64_t)(seconds * 1e6);
    struct itimerval timer = {.it_value = {.tv_sec = (time_t)(us / 1000000),
                                           .tv_usec = (suseconds_t)(us % 1000000)}};
    setitimer(ITIMER_PROF, &timer, NULL);
}

static void begin(child *c, uint32_t number) {
    event e = {.what = RACE_BEGUN, .candidate = number};
    c->running = number;
    tell(c, &e, NULL);
    watch(c->batch->patience);
}

static double now(void) {
    return (double)steady_ns() / 1e9;
}

/* -- data --------------------------------------------------------------------------------------- */

static bool memory_make(memory *m, const void *from, uint64_t size) {
    void *start;
    if (size > SIZE_MAX - GUARD || posix_memalign(&start, ALIGNMENT, (size_t)size + GUARD) != 0) return false;
    *m = (memory){start, (size_t)size};
    memset(m->start, UNWRITTEN, m->size + GUARD);
    if (from) memcpy(m->start, from, m->size);
    return true;
}

static bool memory_whole(const memory *m) {
    for (size_t i = m->size; i < m->size + GUARD; i++)
        if (m->start[i] != UNWRITTEN) return false;
    return true;
}

static uint32_t copies_of(const workload *w) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < w->count; i++)
        if (w->operands[i].constant) bytes += w->operands[i].bytes;
    if (!bytes || bytes >= FILL) return 1;
    uint64_t copies = (FILL + bytes - 1) / bytes;
    return copies < COPIES ? (uint32_t)copies : COPIES;
}

static void data_free(data *d) {
    for (size_t i = 0; i < d->count; i++) free(d->all[i].start);
    free(d->all);
    free(d->pointers);
    free(d->output.start);
    free(d->scratch.start);
}

/* The operands of a copy: its own constants, and what all copies share. */
static bool data_copy(data *d, const workload *w, uint32_t copy) {
    void **pointers = d->pointers + (size_t)copy * d->width;
    for (uint32_t i = 0; i < w->count; i++) {
        const operand *o = &w->operands[i];
        if (copy && !o->constant) {
            pointers[i] = d->pointers[i];
            continue;
        }
        if (!memory_make(&d->all[d->count], o->data, o->bytes)) return false;
        pointers[i] = d->all[d->count++].start;
    }
    pointers[w->count] = d->output.start;
    return true;
}

static bool data_make(data *d, const workload *w, uint64_t scratch) {
    *d = (data){.copies = copies_of(w), .width = w->count + 1};
    d->all = calloc((size_t)d->copies * d->width, sizeof *d->all);
    d->pointers = calloc((size_t)d->copies * d->width, sizeof *d->pointers);
    if (!d->all || !d->pointers || !memory_make(&d->output, NULL, w->right_bytes) ||
        !memory_make(&d->scratch, NULL, scratch))
        return false;
    for (uint32_t copy = 0; copy < d->copies; copy++)
        if (!data_copy(d, w, copy)) return false;
    return true;
}

/* -- the race ----------------------------------------------------------------------------------- */

static bool check(child *c, racer *r, data *d) {
    const candidate *own = &c->batch->candidates[r->number];
    const workload *w = &c->batch->workloads[own->workload];
    char name[32], reason[128];
    snprintf(name, sizeof name, "call_%u", own->index);
    *(void **)&r->code = dlsym(c->library, name);
    if (!r->code) {
        tell_failure(c, r->number, FAILED, "the library has no such function");
        return false;
    }
    memory scratch = {d->scratch.start, (size_t)own->scratch};
    memset(scratch.start, UNWRITTEN, scratch.size + GUARD);
    memset(d->output.start, UNWRITTEN, d->output.size + GUARD);
    begin(c, r->number);
    r->code(d->pointers, 0, own->extent, scratch.start);
    watch(0);
    if (!memory_whole(&scratch) || !memory_whole(&d->output))
        snprintf(reason, sizeof reason, "it writes beyond its buffers");
    else if (difference_none(w, d->output.start, reason, sizeof reason))
        return true;
    tell_failure(c, r->number, WRONG_OUTPUT, reason);
    return false;
}

static double run(child *c, const racer *r, const data *d) {
    int64_t calls = r->calls ? r->calls : 1;
    int32_t extent = c->batch->candidates[r->number].extent;
    begin(c, r->number);
    double begun = now();
    for (int64_t i = 0, set = 0; i < calls; i++) {
        r->code(d->pointers + set * d->width, 0, extent, d->scratch.start);
        set = set + 1 == d->copies ? 0 : set + 1;
    }
    double seconds = now() - begun;
    watch(0);
    return seconds / (double)calls;
}

static void turn(child *c, racer *r, const data *d) {
    double seconds = run(c, r, d);
    if (!r->calls) { /* caches and clock warm up */
        double calls = TURN / (seconds > 1e-9 ? seconds : 1e-9);
        r->calls = calls > 1 ? (int64_t)calls : 1;
        return;
    }
    r->times[r->count++] = seconds;
    r->sum += seconds * (double)r->calls;
    if (seconds < r->least) r->least = seconds;
}

static void race(child *c, racer *racers, uint32_t count, const data *d) {
    for (uint32_t i = 0; i < count; i++) {
        racer *r = &racers[i];
        *r = (racer){r->number, r->code, .least = ENDLESS, .times = r->times};
    }
    for (uint32_t t = 0; t <= c->batch->turns; t++) {
        double best = ENDLESS;
        for (uint32_t i = 0; i < count; i++) best = lesser(best, racers[i].least);
        for (uint32_t i = 0; i < count; i++) {
            racer *r = &racers[i];
            double least = lesser(best, c->batch->candidates[r->number].best);
            bool slow = c->batch->races && r->least > SLOWER * least;
            if (t > SURE && (slow || r->sum > c->batch->most)) continue;
            turn(c, r, d);
        }
    }
}

/* -- the baseline ------------------------------------------------------------------------------- */

/* A chain of multiplications waits for each: its time is the clock's, whatever else the core does. */
static double baseline(void) {
    static volatile uint64_t made = 1;
    double best = ENDLESS;
    for (int i = 0; i < TIMINGS; i++) {
        uint64_t x = made;
        double begun = now();
        for (int step = 0; step < STEPS; step++) x = x * 6364136223846793005u + 1442695040888963407u;
        made = x;
        best = lesser(best, now() - begun);
    }
    return best;
}

static bool steady(level *l) {
    bool first = l->best == 0, raised = l->usual > l->best;
    l->now = baseline();
    l->best = first ? l->now : lesser(l->best, l->now);
    if (!raised) l->usual = l->best;
    return l->now <= DRIFT * l->usual;
}

/* Whether the device was as fast as usual; else it has rested now. What stays slow is usual from then on. */
static bool was_steady(child *c) {
    level *l = &c->batch->level;
    c->since = 0;
    bool at_once = steady(l), rested = at_once;
    for (long ms = FIRST_REST_MS; !rested && ms <= LAST_REST_MS; ms *= 2) {
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
        rested = steady(l);
    }
    if (l->now > DRIFT * l->usual) l->usual = l->now;
    event e = {.what = RACE_BASELINE, .level = *l};
    tell(c, &e, NULL);
    return at_once;
}

/* -- a workload --------------------------------------------------------------------------------- */

static void tell_times(child *c, const racer *r) {
    event e = {.what = RACE_OUTCOME, .candidate = r->number, .status = OK, .count = r->count};
    c->batch->candidates[r->number].over = true;
    tell(c, &e, r->times);
}

/* Checks, then the race, of the candidates that are not over. */
static void run_workload(child *c, racer *racers, uint32_t count, data *d) {
    uint32_t right = 0;
    for (uint32_t i = 0; i < count; i++)
        if (check(c, &racers[i], d)) {
            double *times = racers[right].times; /* each place keeps its room */
            racers[right] = (racer){.number = racers[i].number, .code = racers[i].code, .times = times};
            right++;
        }
    c->since += right;
    uint32_t every = c->batch->baseline_every;
    race(c, racers, right, d);
    if (every && c->since >= every && !was_steady(c)) race(c, racers, right, d);
    for (uint32_t i = 0; i < right; i++) tell_times(c, &racers[i]);
}

static void do_workload(child *c, uint32_t workload) {
    batch *b = c->batch;
    racer *racers = calloc((size_t)b->candidate_count + 1, sizeof *racers);
    uint64_t scratch = 0;
    uint32_t count = 0;
    bool room = racers;
    for (uint32_t i = 0; room && i < b->candidate_count; i++) {
        const candidate *own = &b->candidates[i];
        if (own->over || own->workload != workload) continue;
        racers[count] = (racer){.number = i, .times = calloc(b->turns, sizeof(double))};
        room = racers[count++].times;
        if (own->scratch > scratch) scratch = own->scratch;
    }
    data d = {0};
    if (count && (room = room && data_make(&d, &b->workloads[workload], scratch)))
        run_workload(c, racers, count, &d);
    for (uint32_t i = 0; !room && i < b->candidate_count; i++)
        if (!b->candidates[i].over && b->candidates[i].workload == workload)
            tell_failure(c, i, OUT_OF_MEMORY, "there is no memory for its data");
    data_free(&d);
    for (uint32_t i = 0; racers && i < count; i++) free(racers[i].times);
    free(racers);
}

/* To the CPUs that were asked for, else to the fast ones. */
static void take_cpus(const batch *b) {
    if (!b->cpu_count) {
        system_stay_big();
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < b->cpu_count; i++)
        if (b->cpus[i] >= 0 && b->cpus[i] < CPU_SETSIZE) CPU_SET((size_t)b->cpus[i], &set);
    sched_setaffinity(0, sizeof set, &set);
}

int race_run(int pipe, report *report, void *context) {
    batch *b = context;
    child c = {.batch = b, .pipe = pipe};
    (void)report; /* its sentence needs no place: the outcome is the candidate's */
    self = &c;
    signal(SIGPROF, took_too_long);
    signal(SIGINT, SIG_IGN); /* which reaches a whole group of processes */
    take_cpus(b);
    if (b->baseline_every && b->level.best == 0) was_steady(&c);
    c.library = dlopen(b->library, RTLD_NOW | RTLD_LOCAL);
    const char *reason = c.library ? "" : dlerror();
    size_t path = strlen(b->library); /* which it begins with, and which says nothing */
    if (strncmp(reason, b->library, path) == 0 && reason[path] == ':') reason += path + 2;
    for (uint32_t i = 0; !c.library && i < b->candidate_count; i++)
        if (!b->candidates[i].over) tell_failure(&c, i, FAILED, reason);
    for (uint32_t w = 0; w < b->workload_count; w++) do_workload(&c, w);
    event e = {.what = RACE_OVER};
    tell(&c, &e, NULL);
    return 0;
}
