#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"
#include "facts.h"
#include "outcomes.h"
#include "process.h"
#include "race.h"

/* Times the patience of a run that the process may be silent; how often it may end having done nothing. */
static const double SILENCE = 12;
enum { STARTS = 2, REASON_BYTES = 256, LOOK_AGAIN_MS = 20 };

typedef struct {
    session *session;
    batch *batch;
    int file;        /* of the outcomes; -1: the batch has no id */
    uint64_t told;   /* bytes of it */
    bool connected;
    uint32_t settled; /* candidates, by this attempt */
} work;

/* The baseline of this session, to which later batches are compared. */
static level known_level;

static void send_outcome(work *k, const uint8_t *fields, size_t size) {
    if (!k->connected) return;
    writer w = part_begin(k->session);
    write_raw(&w, fields, size);
    k->connected = part_send(k->session, &w);
}

/* Tells what an earlier session, or one that still works, has found. */
static void replay(work *k) {
    uint8_t fields[OUTCOME_BYTES];
    for (uint32_t size; (size = outcomes_next(k->file, &k->told, fields));) {
        reader r = {.at = fields, .end = fields + size};
        uint32_t number = read_u32(&r);
        if (!r.bad && number < k->batch->candidate_count) k->batch->candidates[number].over = true;
        send_outcome(k, fields, size);
    }
}

static void settle(work *k, uint32_t number, outcome status, const char *reason, const double *seconds,
                   uint32_t count) {
    uint8_t fields[OUTCOME_BYTES];
    const level *l = &k->batch->level;
    writer w = {.start = fields, .at = fields, .end = fields + sizeof fields};
    write_u32(&w, number);
    write_u16(&w, (uint16_t)status);
    write_text(&w, reason);
    write_u32(&w, count);
    write_raw(&w, seconds, count * sizeof *seconds);
    write_f64(&w, l->best > 0 ? l->now / l->best - 1 : 0);
    facts_state(&w);
    k->batch->candidates[number].over = true;
    k->settled++;
    if (k->file >= 0) outcomes_add(k->file, fields, (uint32_t)(w.at - w.start));
    send_outcome(k, fields, (size_t)(w.at - w.start));
}

/* What the child tells of itself is not trusted. */
static outcome hear(work *k, process *p, event *e, int64_t *running, int64_t deadline) {
    static double seconds[MOST_TURNS];
    const batch *b = k->batch;
    if (e->candidate >= b->candidate_count || e->count > b->turns) return FAILED;
    outcome status = process_read(p, seconds, e->count * sizeof *seconds, deadline);
    if (status != OK) return status;
    e->reason[sizeof e->reason - 1] = 0;
    if (e->what == RACE_BEGUN) *running = e->candidate;
    if (e->what == RACE_BASELINE) k->batch->level = e->level;
    if (e->what != RACE_OUTCOME || b->candidates[e->candidate].over) return OK;
    if (e->status == TIMEOUT) snprintf(e->reason, sizeof e->reason, "it ran for %.3g s", b->patience);
    settle(k, e->candidate, (outcome)e->status, e->reason, seconds, e->count);
    return OK;
}

static int child(int pipe, report *report, void *context) {
    work *k = context;
    if (k->file >= 0) close(k->file);
    session_forget(k->session);
    return race_run(pipe, report, k->batch);
}

/* Starts a process for what is left and listens until it ends; the one that ended it is settled. */
static outcome attempt(work *k, char *reason) {
    process p;
    event e;
    int64_t running = -1;
    outcome status;
    k->settled = 0;
    snprintf(reason, REASON_BYTES, "no process can be started");
    if (!process_start(&p, k->session->settings->memory_bytes, child, k)) return FAILED;
    do {
        int64_t deadline = deadline_after((uint32_t)(k->batch->patience * SILENCE * 1000));
        status = process_read(&p, &e, sizeof e, deadline);
        if (status == OK) status = hear(k, &p, &e, &running, deadline);
    } while (status == OK && e.what != RACE_OVER && (k->connected || k->file >= 0));
    if (status != OK) {
        process_reason(&p, status, reason, REASON_BYTES);
        if (running >= 0 && !k->batch->candidates[running].over)
            settle(k, (uint32_t)running, status, reason, NULL, 0);
    }
    process_end(&p);
    return status;
}

static bool left(const batch *b) {
    for (uint32_t i = 0; i < b->candidate_count; i++)
        if (!b->candidates[i].over) return true;
    return false;
}

static bool answer(work *k) {
    char reason[REASON_BYTES];
    int idle = 0;
    while (left(k->batch) && (k->connected || k->file >= 0)) {
        outcome status = attempt(k, reason);
        idle = k->settled ? 0 : idle + 1;
        if (idle > STARTS)
            return done_failed(k->session, status == OK ? FAILED : status,
                               "the process that measures ends before it has run anything: %s", reason);
    }
    if (!k->connected) return false;
    writer w = done_begin(k->session);
    facts_state(&w);
    return done_send(k->session, &w);
}

/* Waits until no other session works at the batch, telling what that one finds. */
static bool take_over(work *k) {
    bool taken = false;
    while (!taken && k->connected) {
        replay(k);
        taken = outcomes_take(k->file);
        if (!taken) usleep(LOOK_AGAIN_MS * 1000);
    }
    replay(k);
    return taken && outcomes_cut(k->file, k->told);
}

static bool measure_batch(work *k) {
    static const uint8_t none[HASH_BYTES];
    session *s = k->session;
    if (memcmp(k->batch->id, none, HASH_BYTES) != 0) {
        k->file = outcomes_open(s, k->batch->id);
        if (k->file < 0 || !take_over(k))
            return k->connected && done_failed(s, FAILED, "the batch's outcomes cannot be kept");
    }
    if (left(k->batch) && !session_hold(s)) return !s->channel.broken;
    k->batch->level = known_level;
    bool going = answer(k);
    known_level = k->batch->level;
    session_release(s);
    return going;
}

bool measure(session *s, reader *r) {
    batch b;
    char reason[REASON_BYTES];
    work k = {.session = s, .batch = &b, .file = -1, .connected = true};
    outcome status = batch_read(&b, s, r, reason, sizeof reason);
    bool going = status == OK ? measure_batch(&k) : done_failed(s, status, "%s", reason);
    if (k.file >= 0) close(k.file);
    batch_free(&b);
    return going;
}
