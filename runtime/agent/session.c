#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "crypto.h"
#include "facts.h"
#include "measure.h"
#include "model.h"
#include "store.h"
#include "tvm.h"

enum { HEAD_BYTES = 8, PART = 1, DONE = 2, FACTS_BYTES = 16384, LOOK_AGAIN_MS = 10 };

static writer begin(session *s) {
    uint8_t *space = channel_space(&s->channel);
    return (writer){.start = space, .at = space + HEAD_BYTES, .end = space + MESSAGE_BYTES};
}

static bool finish(session *s, const writer *w, uint16_t kind, outcome status) {
    size_t size = (size_t)(w->at - w->start);
    writer head = {.start = w->start, .at = w->start, .end = w->start + HEAD_BYTES};
    write_u16(&head, kind);
    write_u16(&head, (uint16_t)status);
    write_u32(&head, s->id);
    return channel_send(&s->channel, size);
}

writer part_begin(session *s) { return begin(s); }

bool part_send(session *s, const writer *w) { return !w->full && finish(s, w, PART, OK); }

writer done_begin(session *s) {
    writer w = begin(s);
    write_text(&w, "");
    return w;
}

bool done_send(session *s, const writer *w) {
    if (w->full) return done_failed(s, FAILED, "the answer is longer than a message may be");
    return finish(s, w, DONE, OK);
}

bool done_failed(session *s, outcome status, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    writer w = begin(s);
    write_text(&w, text);
    return finish(s, &w, DONE, status);
}

/* Who holds the device is told in the lock's file. */
int device_lock(const settings *settings, const char *owner, uint32_t wait_ms,
                char holder[OWNER_BYTES]) {
    char path[FOLDER_BYTES];
    snprintf(path, sizeof path, "%s/device", settings->folder);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    snprintf(holder, OWNER_BYTES, "another session");
    if (file < 0) return -1;
    int64_t deadline = deadline_after(wait_ms);
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        if (ms_until(deadline) == 0) {
            ssize_t size = pread(file, holder, OWNER_BYTES - 1, 0);
            if (size > 0) holder[size] = 0;
            close(file);
            return -1;
        }
        usleep(LOOK_AGAIN_MS * 1000);
    }
    size_t size = strlen(owner);
    if (ftruncate(file, 0) != 0 || pwrite(file, owner, size, 0) != (ssize_t)size) {
        /* the next one is told less; the lock is held all the same */
    }
    return file;
}

bool session_hold(session *s) {
    char holder[OWNER_BYTES];
    store_rest();
    if (s->lock < 0) s->lock = device_lock(s->settings, s->owner, s->wait_ms, holder);
    return s->lock >= 0 || (done_failed(s, BUSY, "the device is held by %s", holder), false);
}

void session_release(session *s) {
    if (s->lock < 0 || model_any()) return;
    close(s->lock);
    s->lock = -1;
}

void session_forget(session *s) {
    channel_close(&s->channel);
    if (s->settings->key) crypto_wipe((void *)(uintptr_t)s->settings->key, KEY_BYTES);
}

bool session_folder(const settings *settings, char path[FOLDER_BYTES]) {
    snprintf(path, FOLDER_BYTES, "%s/sessions/%d", settings->folder, (int)getpid());
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Printable, as others are shown it. */
static void keep_owner(session *s, const uint8_t *name, uint32_t size) {
    uint32_t kept = size < OWNER_BYTES - 1 ? size : OWNER_BYTES - 1;
    for (uint32_t i = 0; i < kept; i++) {
        bool plain = name[i] >= ' ' && name[i] < 0x7f && name[i] != '"' && name[i] != '\\';
        s->owner[i] = plain ? (char)name[i] : '?';
    }
    s->owner[kept] = 0;
}

static bool hello(session *s, reader *r) {
    uint32_t size;
    const uint8_t *name = read_bytes(r, &size);
    uint32_t wait_ms = read_u32(r);
    if (!complete(r) || !size)
        return done_failed(s, REFUSED, "hello is malformed: it has a name and a time");
    keep_owner(s, name, size);
    s->wait_ms = wait_ms < s->settings->deadline_ms ? wait_ms : s->settings->deadline_ms;
    char text[FACTS_BYTES];
    facts_text(s, text, sizeof text);
    writer w = done_begin(s);
    write_text(&w, text);
    return done_send(s, &w);
}

static bool state(session *s, reader *r) {
    if (!complete(r)) return done_failed(s, REFUSED, "state is malformed: it has no fields");
    writer w = done_begin(s);
    facts_state(&w);
    return done_send(s, &w);
}

/* The connection is TVM's from here on. */
static bool tunnel(session *s, reader *r) {
    if (!complete(r)) return done_failed(s, REFUSED, "tunnel is malformed: it has no fields");
    if (!session_hold(s)) return !s->channel.broken;
    writer w = done_begin(s);
    if (done_send(s, &w))
        tvm_session((tvm_stream){.socket = s->channel.socket, .through = &s->channel}, s->settings,
                    "");
    return false;
}

typedef bool handler(session *s, reader *r);

/* By the numbers of device-protocol.md. */
static handler *const HANDLERS[] = {
    NULL,        hello,       store_have, store_put,   model_open,    model_close,
    model_input, model_run,   model_bench, model_profile, model_observe, model_selftest,
    measure,     state,       store_remove, tunnel,
};
enum { HELLO = 1, REQUESTS = sizeof HANDLERS / sizeof *HANDLERS };

/* Whether the connection goes on. */
static bool serve(session *s, const uint8_t *message, size_t size) {
    reader r = {.at = message, .end = message + size};
    uint16_t request = read_u16(&r), zero = read_u16(&r);
    s->id = read_u32(&r);
    if (r.bad) return false;
    if (zero || request >= REQUESTS || !HANDLERS[request])
        return done_failed(s, REFUSED, "there is no request %u", request);
    if (!s->owner[0] && request != HELLO)
        return done_failed(s, REFUSED, "the first request must be hello");
    return HANDLERS[request](s, &r);
}

void session_run(session *s) {
    size_t size;
    const uint8_t *message;
    do
        message = channel_receive(&s->channel, (int)s->settings->idle_ms, &size);
    while (message && serve(s, message, size));
    store_rest();
}
