/* The tracker's side of the conversation: `i32 size`, then a JSON list; each of ours is answered before the
 * next. Read from TVM 0.27's python/tvm/rpc/tracker.py and server.py. */
#define _GNU_SOURCE
#include "tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "peer.h"

enum { MAGIC = 0x2f271, UPDATE_INFO = 5, PUT = 3, GET_PENDING = 7 };
enum { PING_MS = 2000, REPLY_MS = 10000, FIRST_PAUSE_MS = 250, MOST_PAUSE_MS = 5000 };
/* A client that the tracker has sent comes within this, or does not come. */
enum { TAKEN_MS = 8000 };
enum { MATCH_BYTES = PEER_KEY_BYTES + 34, REPLY_BYTES = 1 << 20 };

/* What is waited for; from RESTING on the tracker answers what was asked last. */
typedef enum { CONNECTING, GREETED, INFORMED, OFFERED, RESTING, ASKED, PAUSING } stage;

struct tracker {
    peer peer;
    char matches[2][MATCH_BYTES]; /* the current one, and the one before; "" */
    char both[2 * MATCH_BYTES];
    uint16_t port;
    int socket; /* -1 while PAUSING */
    stage stage;
    int64_t deadline; /* of the stage */
    uint32_t pause_ms;
    bool busy, freed; /* `freed`: a session has ended since the tracker was asked */
    int64_t taken;    /* since when the match key was seen to be given away; 0: it is not */
    uint8_t *reply;
    size_t have;
};

/* ---- Match keys ------------------------------------------------------------------------ */

static void new_match_key(tracker *t) {
    uint8_t random[16] = {0};
    char digits[2 * sizeof random + 1];
    int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, random, sizeof random);
    if (file >= 0) close(file);
    for (size_t i = 0; i < sizeof random; i++) sprintf(digits + 2 * i, "%02x", random[i]);
    memcpy(t->matches[1], t->matches[0], MATCH_BYTES);
    /* without chance no key is as good as none: it matches nothing */
    if (got != sizeof random) digits[0] = 0;
    snprintf(t->matches[0], MATCH_BYTES, "%s:%s", t->peer.key, digits);
    snprintf(t->both, sizeof t->both, "%s %s", t->matches[0], t->matches[1]);
    t->taken = 0;
}

const char *tracker_match_keys(const tracker *t) { return t->both; }

void tracker_busy(tracker *t, bool busy) {
    if (t->busy && !busy) {
        t->freed = true;
        if (t->stage == RESTING) t->deadline = steady_ns();
    }
    t->busy = busy;
}

/* ---- Connection ------------------------------------------------------------------------ */

static void pause_then_connect(tracker *t) {
    if (t->socket >= 0) close(t->socket);
    t->socket = -1;
    t->stage = PAUSING;
    t->deadline = deadline_after(t->pause_ms);
    t->pause_ms = t->pause_ms * 2 < MOST_PAUSE_MS ? t->pause_ms * 2 : MOST_PAUSE_MS;
}

static void begin_connecting(tracker *t) {
    t->socket = socket(t->peer.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    t->stage = CONNECTING;
    t->deadline = deadline_after(REPLY_MS);
    t->have = 0;
    if (t->socket < 0 || (connect(t->socket, (struct sockaddr *)&t->peer.address, t->peer.size) != 0 &&
                          errno != EINPROGRESS))
        pause_then_connect(t);
}

/* All that is said is short, so that a socket's buffer takes it whole or the tracker is stuck. */
static void say(tracker *t, const void *data, size_t size, stage next) {
    t->stage = next;
    t->deadline = deadline_after(REPLY_MS);
    if (send(t->socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
        pause_then_connect(t);
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void say_json(tracker *t, stage next, const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    int32_t size = vsnprintf(message + sizeof size, sizeof message - sizeof size, format, arguments);
    va_end(arguments);
    memcpy(message, &size, sizeof size);
    say(t, message, sizeof size + (size_t)size, next);
}

/* ---- The conversation ------------------------------------------------------------------ */

static void rest(tracker *t) {
    t->stage = RESTING;
    t->deadline = t->freed && !t->busy ? steady_ns() : deadline_after(PING_MS);
}

static void offer(tracker *t) {
    new_match_key(t);
    t->freed = false;
    say_json(t, OFFERED, "[%d,\"%s\",[%u,\"%s\"],null]", PUT, t->peer.key, t->port, t->matches[0]);
}

/* The key is random, so that it is among the pending ones if its text is. */
static void learn_pending(tracker *t) {
    char quoted[MATCH_BYTES + 2];
    int size = snprintf(quoted, sizeof quoted, "\"%s\"", t->matches[0]);
    if (memmem(t->reply + 4, t->have - 4, quoted, (size_t)size)) {
        t->taken = 0;
        t->freed = false;
        rest(t);
        return;
    }
    int64_t now = steady_ns();
    if (!t->taken || t->busy) t->taken = now;
    bool nobody_came = now - t->taken > (int64_t)TAKEN_MS * 1000000;
    if (!t->busy && (t->freed || nobody_came))
        offer(t);
    else
        rest(t);
}

static void answered(tracker *t) {
    bool fine = t->have == 5 && t->reply[4] == '0';
    switch (t->stage) {
    case INFORMED:
        if (fine) offer(t); else pause_then_connect(t);
        break;
    case OFFERED:
        t->pause_ms = FIRST_PAUSE_MS;
        if (fine) rest(t); else pause_then_connect(t);
        break;
    case ASKED: learn_pending(t); break;
    default: pause_then_connect(t);
    }
}

static void greet(tracker *t) {
    int error = 0;
    int32_t magic = MAGIC;
    socklen_t size = sizeof error;
    if (getsockopt(t->socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error)
        pause_then_connect(t);
    else
        say(t, &magic, sizeof magic, GREETED);
}

/* Whether `size` bytes of a reply are there. */
static bool gather(tracker *t, size_t size) {
    while (t->have < size) {
        ssize_t got = recv(t->socket, t->reply + t->have, size - t->have, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return false;
        if (got <= 0) {
            pause_then_connect(t);
            return false;
        }
        t->have += (size_t)got;
    }
    return true;
}

static void listen_to(tracker *t) {
    int32_t first;
    if (!gather(t, sizeof first)) return;
    memcpy(&first, t->reply, sizeof first);
    if (t->stage == GREETED) {
        t->have = 0;
        if (first == MAGIC)
            say_json(t, INFORMED, "[%d,{\"key\":\"server:%s\",\"addr\":[null,%u]}]", UPDATE_INFO, t->peer.key,
                     t->port);
        else
            pause_then_connect(t);
        return;
    }
    if (first < 1 || (size_t)first > REPLY_BYTES - sizeof first) {
        pause_then_connect(t);
        return;
    }
    if (!gather(t, sizeof first + (size_t)first)) return;
    answered(t);
    t->have = 0;
}

static void time_over(tracker *t) {
    if (t->stage == PAUSING)
        begin_connecting(t);
    else if (t->stage == RESTING)
        say_json(t, ASKED, "[%d]", GET_PENDING);
    else
        pause_then_connect(t);
}

int tracker_file(const tracker *t, short *events, int *timeout_ms) {
    *events = t->stage == CONNECTING ? POLLOUT : POLLIN;
    *timeout_ms = ms_until(t->deadline);
    return t->socket;
}

void tracker_work(tracker *t, short events) {
    if (events && t->stage == CONNECTING)
        greet(t);
    else if (events && t->stage == RESTING)
        pause_then_connect(t); /* it says nothing unasked: it has gone */
    else if (events && t->stage != PAUSING)
        listen_to(t);
    else if (ms_until(t->deadline) == 0)
        time_over(t);
}

/* ---- Beginning ------------------------------------------------------------------------- */

tracker *tracker_start(const char *place, uint16_t port, const char **why) {
    peer parsed;
    *why = peer_parse(place, &parsed);
    tracker *t = *why ? NULL : calloc(1, sizeof *t);
    if (!t) return NULL;
    t->reply = malloc(REPLY_BYTES);
    if (!t->reply) abort();
    t->peer = parsed;
    t->port = port;
    t->socket = -1;
    t->pause_ms = FIRST_PAUSE_MS;
    begin_connecting(t);
    return t;
}
