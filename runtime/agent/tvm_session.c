/* One client of TVM's RPC: its handshake, then its packets until it leaves. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "crypto.h"
#include "tvm_server.h"

static const char VERSION[] = "0.8.0";
enum { ACCEPTED = 0xff271, MISMATCH = 0xff271 + 2, MOST_KEY = 1024, HANDSHAKE_MS = 5000 };
/* A client that asks for nothing has forgotten us; while it waits for a person it may take its time. */
enum { IDLE_MS = 600000, WAIT_MS = 600000 };

/* ---- Requests -------------------------------------------------------------------------- */

typedef bool request(tvm_server *s, tvm_value *a, tvm_value *result);

static bool get_function(tvm_server *s, tvm_value *a, tvm_value *result) {
    *result = (tvm_value){.type = TVM_POINTER};
    tvm_builtin *builtin = tvm_builtin_named(a[0].string);
    if (!builtin) return true;
    tvm_object *function = objects_add(&s->objects, KIND_FUNCTION);
    if (!function) return tvm_fail(s, "the session holds too many objects");
    function->function.builtin = builtin;
    result->bits = objects_handle(&s->objects, function);
    return true;
}

static bool free_handle(tvm_server *s, tvm_value *a, tvm_value *result) {
    (void)result;
    tvm_object *object = objects_find(&s->objects, a[0].bits, KIND_FUNCTION);
    if (!object) object = objects_find(&s->objects, a[0].bits, KIND_LIBRARY);
    if (!object) return tvm_fail(s, "there is no such function or library to free");
    objects_release(&s->objects, object);
    return true;
}

static bool any_device(tvm_server *s, tvm_value *a, tvm_value *result) {
    (void)result;
    return tvm_is_here(s, a[0].device);
}

static bool get_attribute(tvm_server *s, tvm_value *a, tvm_value *result) {
    enum { EXISTS = 0, TOTAL_MEMORY = 14, FREE_MEMORY = 15 };
    bool here = tvm_is_here(s, a[0].device);
    int64_t page = sysconf(_SC_PAGESIZE);
    *result = (tvm_value){.type = TVM_INT};
    switch (a[1].integer) {
    case EXISTS: result->integer = here; return true;
    case TOTAL_MEMORY: result->integer = sysconf(_SC_PHYS_PAGES) * page; break;
    case FREE_MEMORY: result->integer = sysconf(_SC_AVPHYS_PAGES) * page; break;
    default: result->type = TVM_NONE;
    }
    return here;
}

static bool allocate(tvm_server *s, tvm_value *a, tvm_value *result) {
    if (!tvm_is_here(s, a[0].device)) return false;
    if (a[1].integer < 0 || a[2].integer < 0)
        return tvm_fail(s, "memory has no negative size");
    return tvm_allocate(s, a[1].bits, a[2].bits, result);
}

static bool allocate_scoped(tvm_server *s, tvm_value *a, tvm_value *result) {
    const tvm_remote_tensor *t = (const tvm_remote_tensor *)a[0].tensor;
    if (!tvm_is_here(s, t->tensor.device)) return false;
    if (a[1].type == TVM_RAW_STRING && *a[1].string && strcmp(a[1].string, "global") != 0)
        return tvm_fail(s, "this agent has global memory only, no %.100s", a[1].string);
    return tvm_allocate(s, t->bytes, 0, result);
}

static bool free_data(tvm_server *s, tvm_value *a, tvm_value *result) {
    (void)result;
    tvm_object *memory = objects_find(&s->objects, a[1].bits, KIND_MEMORY);
    if (!memory) return tvm_fail(s, "memory was freed before, or never allocated");
    objects_release(&s->objects, memory);
    return true;
}

static bool copy_among(tvm_server *s, tvm_value *a, tvm_value *result) {
    (void)result;
    const tvm_remote_tensor *from = (const tvm_remote_tensor *)a[0].tensor;
    const tvm_remote_tensor *to = (const tvm_remote_tensor *)a[1].tensor;
    char *source, *target;
    if (!tvm_locate(s, from, &source) || !tvm_locate(s, to, &target)) return false;
    if (from->bytes != to->bytes)
        return tvm_fail(s, "tensors of %llu and %llu bytes cannot be copied",
                        (unsigned long long)from->bytes, (unsigned long long)to->bytes);
    if (from->bytes)
        memmove(target + to->tensor.byte_offset, source + from->tensor.byte_offset,
                (size_t)from->bytes);
    return true;
}

/* The processor has one stream, which is 0. */
static bool get_stream(tvm_server *s, tvm_value *a, tvm_value *result) {
    *result = (tvm_value){.type = TVM_POINTER};
    return tvm_is_here(s, a[0].device);
}

/* With the kinds of arguments, as tvm_check has them. */
static const struct {
    const char *name, *kinds;
    request *answer;
} REQUESTS[TVM_CODES] = {
    [TVM_GET_FUNCTION] = {"GetGlobalFunc", "s", get_function},
    [TVM_FREE_HANDLE] = {"FreeHandle", "p", free_handle},
    [TVM_SET_DEVICE] = {"SetDevice", "d", any_device},
    [TVM_GET_ATTRIBUTE] = {"GetAttr", "di", get_attribute},
    [TVM_ALLOCATE] = {"AllocData", "diiy", allocate},
    [TVM_FREE_DATA] = {"FreeData", "dp", free_data},
    [TVM_SYNC] = {"StreamSync", "dp", any_device},
    [TVM_COPY_AMONG] = {"CopyAmongRemote", "ttp", copy_among},
    [TVM_ALLOCATE_SCOPED] = {"AllocDataWithScope", "tS", allocate_scoped},
    [TVM_CREATE_STREAM] = {"CreateStream", "d", get_stream},
    [TVM_FREE_STREAM] = {"FreeStream", "dp", any_device},
    [TVM_SET_STREAM] = {"SetStream", "dp", any_device},
    [TVM_GET_STREAM] = {"GetCurrentStream", "d", get_stream},
};

/* Whether the session goes on. */
static bool answer_request(tvm_server *s, int32_t code) {
    tvm_value *values, result = {.type = TVM_NONE};
    int32_t count;
    if (!wire_values(&s->wire, &values, &count)) return false;
    bool done = tvm_check(s, REQUESTS[code].name, REQUESTS[code].kinds, values, count) &&
                REQUESTS[code].answer(s, values, &result);
    return done ? wire_return(&s->wire, &result, 1) : wire_exception(&s->wire, s->error);
}

/* ---- Packets with a form of their own -------------------------------------------------- */

static bool init_server(tvm_server *s) {
    char version[sizeof VERSION] = "";
    uint64_t size;
    tvm_value *values;
    int32_t count;
    if (!wire_read(&s->wire, &size, sizeof size)) return false;
    bool right = size == sizeof VERSION - 1;
    if (!wire_read(&s->wire, right ? version : NULL, size)) return false;
    if (!right || strcmp(version, VERSION) != 0)
        return wire_exception(&s->wire, "this agent speaks version 0.8.0 of TVM's protocol (TVM 0.27)");
    if (!wire_values(&s->wire, &values, &count)) return false;
    if (count)
        return wire_exception(&s->wire, "this agent serves sessions of its own only, without a constructor");
    tvm_value none = {.type = TVM_NONE};
    return wire_return(&s->wire, &none, 1);
}

/* The type of the result comes first, as TVM's runtime would have it, then what it is sent as. */
static bool return_result(tvm_server *s, const tvm_value *result) {
    tvm_value pair[2] = {{.type = TVM_INT, .integer = result->type}, *result};
    switch (result->type) {
    case TVM_FUNCTION:
    case TVM_MODULE: pair[1].type = TVM_POINTER; break;
    case TVM_RAW_STRING: pair[0].integer = TVM_STRING; break;
    case TVM_BYTE_ARRAY: pair[0].integer = TVM_BYTES; break;
    default: break;
    }
    return wire_return(&s->wire, pair, 2);
}

static bool call(tvm_server *s) {
    uint64_t handle;
    tvm_value *values, result;
    int32_t count;
    if (!wire_read(&s->wire, &handle, sizeof handle) || !wire_values(&s->wire, &values, &count))
        return false;
    tvm_object *function = objects_find(&s->objects, handle, KIND_FUNCTION);
    if (!function) return wire_exception(&s->wire, "the function was freed or never found");
    objects_keep(function);
    bool done = tvm_resolve(s, values, count) && tvm_call(s, function, values, count, &result);
    objects_release(&s->objects, function);
    return done ? return_result(s, &result) : wire_exception(&s->wire, s->error);
}

/* A tensor, the number of bytes and, to the device, these bytes, which go to their place straight away. */
static bool copy(tvm_server *s, int32_t code) {
    tvm_remote_tensor *t;
    uint64_t bytes;
    char *data = NULL;
    if (!wire_tensor(&s->wire, &t) || !wire_read(&s->wire, &bytes, sizeof bytes)) return false;
    bool right = tvm_locate(s, t, &data);
    if (right && bytes != t->bytes)
        right = tvm_fail(s, "a tensor of %llu bytes was copied as %llu", (unsigned long long)t->bytes,
                         (unsigned long long)bytes);
    if (!right) return wire_exception(&s->wire, s->error);
    data = data ? data + t->tensor.byte_offset : NULL;
    if (code == TVM_COPY_FROM)
        return wire_head(&s->wire, TVM_COPY_ACK, bytes) &&
               wire_write(&s->wire, data, (size_t)bytes) && wire_flush(&s->wire);
    tvm_value none = {.type = TVM_NONE};
    return wire_read(&s->wire, data, bytes) && wire_return(&s->wire, &none, 1);
}

static bool answer_packet(tvm_server *s, int32_t code) {
    switch (code) {
    case TVM_SHUTDOWN: return false;
    case TVM_INIT_SERVER: return init_server(s);
    case TVM_CALL: return call(s);
    case TVM_COPY_FROM:
    case TVM_COPY_TO: return copy(s, code);
    default:
        if (code > 0 && code < TVM_CODES && REQUESTS[code].answer) return answer_request(s, code);
        s->wire.malformed = "there is no such code";
        return false;
    }
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

static void serve(tvm_server *s) {
    int32_t code;
    while (wire_next(&s->wire, earlier(deadline_after(IDLE_MS), s->end), &code))
        if (!answer_packet(s, code)) break;
    char text[200];
    if (s->wire.malformed) {
        snprintf(text, sizeof text, "malformed packet: %s; this session has ended", s->wire.malformed);
        wire_exception(&s->wire, text);
    } else if (s->end <= steady_ns()) {
        snprintf(text, sizeof text, "RPCSessionTimeoutError: the %g seconds of this session are over",
                 s->session_seconds);
        wire_exception(&s->wire, text);
    }
}

/* ---- Handshake ------------------------------------------------------------------------- */

static bool is_one_of(const char *key, const char *keys) {
    size_t size = strlen(key);
    if (!*keys) return true;
    for (const char *at = keys; *at;) {
        size_t length = strcspn(at, " ");
        if (length == size && memcmp(at, key, size) == 0) return true;
        at += length + strspn(at + length, " ");
    }
    return false;
}

/* `client:KEY -timeout=SECONDS`; the key is cut out in place. */
static const char *key_of(tvm_server *s, char *text) {
    static const char CLIENT[] = "client:", TIMEOUT[] = "-timeout=";
    if (strncmp(text, CLIENT, sizeof CLIENT - 1) != 0) return NULL;
    char *rest = text + strcspn(text, " ");
    char *timeout = strstr(rest, TIMEOUT);
    if (timeout) s->session_seconds = strtod(timeout + sizeof TIMEOUT - 1, NULL);
    *rest = 0;
    return text + sizeof CLIENT - 1;
}

/* The clock starts when the client is served, as TVM's server has it. */
static void start_clock(tvm_server *s) {
    s->end = INT64_MAX;
    if (s->session_seconds > 0 && s->session_seconds < 1e9)
        s->end = steady_ns() + (int64_t)(s->session_seconds * 1e9);
}

static bool answer_key(tvm_server *s, int32_t answer, const char *key) {
    char text[MOST_KEY + 16];
    int32_t size = snprintf(text, sizeof text, "server:%s", key);
    if (!wire_write(&s->wire, &answer, sizeof answer)) return false;
    if (answer == ACCEPTED &&
        (!wire_write(&s->wire, &size, sizeof size) || !wire_write(&s->wire, text, (size_t)size)))
        return false;
    return wire_flush(&s->wire);
}

static bool read_key(tvm_server *s, char *text) {
    int32_t size;
    if (!wire_read(&s->wire, &size, sizeof size) || size < 0 || size >= MOST_KEY) return false;
    text[size] = 0;
    return wire_read(&s->wire, text, (uint64_t)size);
}

/* Clients queue for the device, as at TVM's server; one that goes away meanwhile is told nothing. */
static int hold_device(tvm_server *s) {
    char holder[OWNER_BYTES];
    return device_lock(s->settings, "a TVM client", WAIT_MS, holder);
}

static bool shake_hands(tvm_server *s, const char *match_keys, int *lock) {
    int32_t magic;
    char text[MOST_KEY];
    s->wire.deadline = deadline_after(HANDSHAKE_MS);
    /* a proxy has said this already */
    if (match_keys && (!wire_read(&s->wire, &magic, sizeof magic) || magic != ACCEPTED)) return false;
    if (!read_key(s, text)) return false;
    const char *key = key_of(s, text);
    if (key && !match_keys) {
        *lock = hold_device(s);
        start_clock(s);
        return true;
    }
    if (!key || !is_one_of(key, match_keys)) {
        answer_key(s, MISMATCH, "");
        return false;
    }
    if (!s->wire.stream.through) *lock = hold_device(s);
    start_clock(s);
    return answer_key(s, ACCEPTED, key);
}

/* The peer that vanished without a word is noticed within a minute. */
static void watch_peer(int socket) {
    int on = 1, idle = 20, interval = 10, probes = 3;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void tvm_session(tvm_stream stream, const settings *settings, const char *match_keys) {
    tvm_server *s = calloc(1, sizeof *s);
    int lock = -1;
    if (!s || !wire_open(&s->wire, stream) || !objects_open(&s->objects)) return;
    s->settings = settings;
    watch_peer(stream.socket);
    /* code of the client's will run in this process */
    if (settings->key) crypto_wipe((void *)(uintptr_t)settings->key, KEY_BYTES);
    if (shake_hands(s, match_keys, &lock) && guard_open(s)) {
        s->wire.left = 0;
        serve(s);
    }
    free(s);
}
