#define _GNU_SOURCE
#include "tvm_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"

enum { BUFFER_BYTES = 1 << 16, STALL_MS = 60000, MOST_HANDSHAKE = 2048 };
/* The most that arrives in one packet outside of tensors: an uploaded library. */
static const uint64_t PACKET_BYTES = UINT64_C(1) << 30;
static const uint64_t STRING_BYTES = UINT64_C(1) << 20;
enum { MOST_VALUES = 4096, MOST_RANK = 16 };

bool wire_open(tvm_wire *w, tvm_stream stream) {
    *w = (tvm_wire){.stream = stream, .left = MOST_HANDSHAKE, .deadline = deadline_after(STALL_MS)};
    if (stream.through) {
        w->out = channel_space(stream.through);
        w->room = MESSAGE_BYTES;
        return true;
    }
    w->in = malloc(BUFFER_BYTES);
    w->out = malloc(BUFFER_BYTES);
    w->room = BUFFER_BYTES;
    return w->in && w->out;
}

static bool malformed(tvm_wire *w, const char *why) {
    if (!w->malformed) w->malformed = why;
    return false;
}

/* ---- What lives as long as a packet ---------------------------------------------------- */

void *wire_keep(tvm_wire *w, size_t size) {
    enum { HEAD = 16 };
    if (size > SIZE_MAX - HEAD) return NULL;
    char *made = malloc(HEAD + size);
    if (!made) return NULL;
    memcpy(made, &w->kept, sizeof w->kept);
    w->kept = made;
    return made + HEAD;
}

static void forget(tvm_wire *w) {
    while (w->kept) {
        void *before;
        memcpy(&before, w->kept, sizeof before);
        free(w->kept);
        w->kept = before;
    }
}

/* ---- Bytes in -------------------------------------------------------------------------- */

/* Some bytes from the socket, as soon as there are any; 0 at its end. */
static size_t receive(tvm_wire *w, void *to, size_t size) {
    for (;;) {
        struct pollfd wait = {.fd = w->stream.socket, .events = POLLIN};
        int found = poll(&wait, 1, ms_until(w->deadline));
        if (found == 0) return 0;
        ssize_t got = found < 0 ? -1 : recv(w->stream.socket, to, size, MSG_DONTWAIT);
        if (got >= 0) return (size_t)got;
        if (errno != EINTR && errno != EAGAIN) return 0;
    }
}

static bool fill(tvm_wire *w) {
    size_t size;
    if (w->stream.through) {
        w->at = channel_receive(w->stream.through, ms_until(w->deadline), &size);
        if (!w->at) return false;
    } else {
        size = receive(w, w->in, BUFFER_BYTES);
        w->at = w->in;
    }
    w->end = w->at + size;
    return size > 0;
}

static bool take(tvm_wire *w, uint8_t *to, uint64_t size) {
    while (size) {
        size_t have = (size_t)(w->end - w->at), direct = 0;
        if (!have && to && !w->stream.through && size >= BUFFER_BYTES) {
            direct = receive(w, to, (size_t)size);
            if (!direct) return false;
        } else if (!have) {
            if (!fill(w)) return false;
            continue;
        }
        size_t part = direct ? direct : have < size ? have : (size_t)size;
        if (!direct && to) memcpy(to, w->at, part);
        if (!direct) w->at += part;
        if (to) to += part;
        size -= part;
    }
    return true;
}

bool wire_read(tvm_wire *w, void *to, uint64_t size) {
    if (size > w->left) return malformed(w, "a packet ends within a value");
    w->left -= size;
    return take(w, to, size);
}

bool wire_next(tvm_wire *w, int64_t deadline_ns, int32_t *code) {
    forget(w);
    w->deadline = deadline_after(STALL_MS);
    if (!take(w, NULL, w->left)) return false;
    uint64_t size = 0;
    w->deadline = deadline_ns;
    while (size == 0) {
        w->left = sizeof size;
        if (!wire_read(w, &size, sizeof size)) return false;
    }
    w->deadline = deadline_after(STALL_MS);
    w->left = size;
    return wire_read(w, code, sizeof *code);
}

/* ---- Values in ------------------------------------------------------------------------- */

/* The bytes of a dense tensor; false if there are more than can be counted. */
static bool count_bytes(tvm_remote_tensor *t) {
    uint64_t bits = (uint64_t)t->tensor.dtype.bits * t->tensor.dtype.lanes, bytes = (bits + 7) / 8;
    for (int32_t i = 0; i < t->tensor.rank; i++) {
        int64_t extent = t->tensor.shape[i];
        if (extent < 0 || __builtin_mul_overflow(bytes, (uint64_t)extent, &bytes)) return false;
    }
    t->bytes = bytes;
    return bytes <= SIZE_MAX / 2;
}

bool wire_tensor(tvm_wire *w, tvm_remote_tensor **found) {
    tvm_remote_tensor *t = wire_keep(w, sizeof *t + MOST_RANK * sizeof(int64_t));
    if (!t) return malformed(w, "out of memory");
    *t = (tvm_remote_tensor){.tensor.shape = (int64_t *)(t + 1)};
    tvm_tensor *tensor = &t->tensor;
    if (!wire_read(w, &t->handle, 8) || !wire_read(w, &tensor->device, 8) ||
        !wire_read(w, &tensor->rank, 4) || !wire_read(w, &tensor->dtype, 4))
        return false;
    if (tensor->rank < 0 || tensor->rank > MOST_RANK)
        return malformed(w, "a tensor has more than 16 dimensions");
    if (!wire_read(w, tensor->shape, (uint64_t)tensor->rank * 8) ||
        !wire_read(w, &tensor->byte_offset, 8))
        return false;
    if (!count_bytes(t)) return malformed(w, "a tensor has an impossible shape");
    *found = t;
    return true;
}

/* A string or bytes, with a zero behind. */
static bool read_text(tvm_wire *w, uint64_t most, tvm_bytes *found) {
    uint64_t size;
    if (!wire_read(w, &size, 8)) return false;
    if (size > most || size > w->left) return malformed(w, "a string is too long");
    char *text = wire_keep(w, (size_t)size + 1);
    if (!text) return malformed(w, "out of memory");
    text[size] = 0;
    *found = (tvm_bytes){text, (size_t)size};
    return wire_read(w, text, size);
}

static bool read_string(tvm_wire *w, tvm_value *v) {
    tvm_bytes text;
    if (!read_text(w, STRING_BYTES, &text)) return false;
    *v = (tvm_value){.type = TVM_RAW_STRING, .string = text.data};
    return true;
}

static bool read_bytes_value(tvm_wire *w, tvm_value *v) {
    tvm_bytes *bytes = wire_keep(w, sizeof *bytes);
    if (!bytes) return malformed(w, "out of memory");
    *v = (tvm_value){.type = TVM_BYTE_ARRAY, .bytes = bytes};
    return read_text(w, PACKET_BYTES, bytes);
}

static bool read_object(tvm_wire *w, tvm_value *v) {
    uint32_t type;
    if (!wire_read(w, &type, sizeof type)) return false;
    if (type == TVM_STRING) return read_string(w, v);
    if (type == TVM_BYTES) return read_bytes_value(w, v);
    return malformed(w, "an argument is an object that this agent does not know");
}

static bool read_value(tvm_wire *w, tvm_value *v) {
    *v = (tvm_value){0};
    if (!wire_read(w, &v->type, sizeof v->type)) return false;
    switch (v->type) {
    case TVM_NONE: return true;
    case TVM_INT:
    case TVM_BOOL:
    case TVM_FLOAT:
    case TVM_POINTER:
    case TVM_DATA_TYPE:
    case TVM_DEVICE:
    case TVM_FUNCTION:
    case TVM_MODULE: return wire_read(w, &v->bits, sizeof v->bits);
    case TVM_TENSOR_POINTER: {
        tvm_remote_tensor *t;
        if (!wire_tensor(w, &t)) return false;
        v->tensor = &t->tensor;
        return true;
    }
    case TVM_RAW_STRING: return read_string(w, v);
    case TVM_BYTE_ARRAY: return read_bytes_value(w, v);
    default:
        if (v->type == TVM_SMALL_STRING || v->type == TVM_SMALL_BYTES || v->type >= TVM_OBJECT)
            return read_object(w, v);
        return malformed(w, "an argument has an unknown type");
    }
}

bool wire_values(tvm_wire *w, tvm_value **values, int32_t *count) {
    if (w->left > PACKET_BYTES) return malformed(w, "a packet is longer than 1 GiB");
    if (!wire_read(w, count, sizeof *count)) return false;
    if (*count < 0 || *count > MOST_VALUES) return malformed(w, "there are too many arguments");
    *values = wire_keep(w, (size_t)*count * sizeof **values);
    if (!*values) return malformed(w, "out of memory");
    for (int32_t i = 0; i < *count; i++)
        if (!read_value(w, &(*values)[i])) return false;
    return w->left == 0 || malformed(w, "a packet is longer than its values");
}

/* ---- Out ------------------------------------------------------------------------------- */

static bool send_socket(tvm_wire *w) {
    const uint8_t *from = w->out;
    size_t size = w->filled;
    int64_t deadline = deadline_after(STALL_MS);
    while (size) {
        ssize_t sent = send(w->stream.socket, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            struct pollfd wait = {.fd = w->stream.socket, .events = POLLOUT};
            if (errno != EAGAIN && errno != EINTR) return false;
            if (poll(&wait, 1, ms_until(deadline)) == 0) return false;
            continue;
        }
        from += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool wire_flush(tvm_wire *w) {
    bool sent = !w->filled ||
                (w->stream.through ? channel_send(w->stream.through, w->filled) : send_socket(w));
    w->filled = 0;
    return sent;
}

bool wire_write(tvm_wire *w, const void *from, size_t size) {
    const uint8_t *at = from;
    while (size) {
        if (w->filled == w->room && !wire_flush(w)) return false;
        size_t part = w->room - w->filled < size ? w->room - w->filled : size;
        memcpy(w->out + w->filled, at, part);
        w->filled += part;
        at += part;
        size -= part;
    }
    return true;
}

bool wire_head(tvm_wire *w, int32_t code, uint64_t body) {
    uint64_t size = sizeof code + body;
    return wire_write(w, &size, sizeof size) && wire_write(w, &code, sizeof code);
}

/* What a value of these types is sent as, beside its type. */
static tvm_bytes content_of(const tvm_value *v, uint64_t *length) {
    *length = 0;
    if (v->type == TVM_NONE) return (tvm_bytes){NULL, 0};
    if (v->type == TVM_RAW_STRING) {
        *length = strlen(v->string);
        return (tvm_bytes){v->string, (size_t)*length};
    }
    if (v->type == TVM_BYTE_ARRAY) {
        *length = v->bytes->size;
        return *v->bytes;
    }
    return (tvm_bytes){(const char *)&v->bits, sizeof v->bits};
}

static bool has_length(const tvm_value *v) {
    return v->type == TVM_RAW_STRING || v->type == TVM_BYTE_ARRAY;
}

static bool write_values(tvm_wire *w, int32_t code, const tvm_value *values, int32_t count) {
    uint64_t body = sizeof count, length;
    for (int32_t i = 0; i < count; i++) {
        body += sizeof values[i].type + content_of(&values[i], &length).size;
        if (has_length(&values[i])) body += sizeof length;
    }
    if (!wire_head(w, code, body) || !wire_write(w, &count, sizeof count)) return false;
    for (int32_t i = 0; i < count; i++) {
        tvm_bytes content = content_of(&values[i], &length);
        if (!wire_write(w, &values[i].type, sizeof values[i].type)) return false;
        if (has_length(&values[i]) && !wire_write(w, &length, sizeof length)) return false;
        if (!wire_write(w, content.data, content.size)) return false;
    }
    return wire_flush(w);
}

bool wire_return(tvm_wire *w, const tvm_value *values, int32_t count) {
    return write_values(w, TVM_RETURN, values, count);
}

bool wire_exception(tvm_wire *w, const char *text) {
    tvm_value value = {.type = TVM_RAW_STRING, .string = text};
    return write_values(w, TVM_EXCEPTION, &value, 1);
}
