#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "crypto.h"
#include "fields.h"

enum { VERSION = 1, KEYED = 1, HANDSHAKE_MS = 5000, LENGTH_BYTES = 4, GREETING_BYTES = 40 };
/* A host that takes nothing for so long has gone. */
enum { STALL_MS = 60000 };
enum { ACCEPTED = 0, OTHER_VERSION = 1, KEY_REQUIRED = 2, NO_KEY = 3 };

static const char MAGIC[4] = {'A', 'L', 'D', 'P'};
static const char PURPOSE[] = "armlet device protocol 1";

/* What HKDF gives, in this order. */
typedef struct {
    uint8_t to_agent[KEY_BYTES], to_host[KEY_BYTES], agent_proof[KEY_BYTES], host_proof[KEY_BYTES];
} session_keys;

static bool again(int64_t deadline_ns, int socket, short events) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    struct pollfd wait = {.fd = socket, .events = events};
    int found = poll(&wait, 1, deadline_ns < 0 ? -1 : ms_until(deadline_ns));
    return found > 0 || (found < 0 && errno == EINTR);
}

static bool receive_all(int socket, uint8_t *to, size_t size, int64_t deadline_ns) {
    while (size) {
        ssize_t got = recv(socket, to, size, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && !again(deadline_ns, socket, POLLIN))) return false;
        if (got < 0) continue;
        to += got;
        size -= (size_t)got;
    }
    return true;
}

static bool send_all(int socket, const uint8_t *from, size_t size, int64_t deadline_ns) {
    while (size) {
        ssize_t sent = send(socket, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && !again(deadline_ns, socket, POLLOUT)) return false;
        if (sent < 0) continue;
        from += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool random_bytes(uint8_t *to, size_t size) {
    int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t got = read(file, to, size);
    close(file);
    return got == (ssize_t)size;
}

static void write_greeting(uint8_t *to, uint16_t answer) {
    writer w = {.start = to, .at = to, .end = to + 8};
    write_raw(&w, MAGIC, sizeof MAGIC);
    write_u16(&w, VERSION);
    write_u16(&w, answer);
}

static uint16_t answer_to(const uint8_t *greeting, const uint8_t *key) {
    reader r = {.at = greeting + sizeof MAGIC, .end = greeting + 8};
    uint16_t version = read_u16(&r), flags = read_u16(&r);
    if (version != VERSION || (flags & ~KEYED)) return OTHER_VERSION;
    if (key && !(flags & KEYED)) return KEY_REQUIRED;
    if (!key && (flags & KEYED)) return NO_KEY;
    return ACCEPTED;
}

/* Keys from an ephemeral secret of this side, whose public key is put into `mine`. */
static bool agree(session_keys *keys, uint8_t transcript[32], const uint8_t *theirs, uint8_t *mine,
                  const uint8_t *key) {
    uint8_t secret[32], shared[32], info[sizeof PURPOSE - 1 + 32];
    if (!random_bytes(secret, sizeof secret)) return false;
    crypto_public(mine + 8, secret);
    crypto_hash hash;
    crypto_hash_begin(&hash);
    crypto_hash_add(&hash, theirs, GREETING_BYTES);
    crypto_hash_add(&hash, mine, GREETING_BYTES);
    crypto_hash_end(&hash, transcript);
    memcpy(info, PURPOSE, sizeof PURPOSE - 1);
    memcpy(info + sizeof PURPOSE - 1, transcript, 32);
    bool agreed = crypto_shared(shared, secret, theirs + 8);
    if (agreed) crypto_derive((uint8_t *)keys, sizeof *keys, key, shared, info, sizeof info);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(shared, sizeof shared);
    return agreed;
}

/* The agent proves first: it says nothing that a host without the key could not have made up. */
static bool prove(channel *c, const uint8_t *theirs, uint8_t *greeting, const uint8_t *key,
                  int64_t deadline) {
    session_keys keys;
    uint8_t transcript[32], proof[32], expected[32];
    bool right = agree(&keys, transcript, theirs, greeting, key);
    if (right) {
        crypto_authenticate(greeting + GREETING_BYTES, transcript, 32, keys.agent_proof);
        crypto_authenticate(expected, transcript, 32, keys.host_proof);
        right = send_all(c->socket, greeting, GREETING_BYTES + 32, deadline) &&
                receive_all(c->socket, proof, 32, deadline) && crypto_equal(proof, expected);
        memcpy(c->receive_key, keys.to_agent, KEY_BYTES);
        memcpy(c->send_key, keys.to_host, KEY_BYTES);
    }
    crypto_wipe(&keys, sizeof keys);
    return right;
}

bool channel_accept(channel *c, int socket, const uint8_t *key) {
    *c = (channel){.socket = socket, .keyed = key != NULL};
    uint8_t theirs[GREETING_BYTES], greeting[GREETING_BYTES + 32] = {0};
    int64_t deadline = deadline_after(HANDSHAKE_MS);
    if (!receive_all(socket, theirs, sizeof theirs, deadline)) return false;
    if (memcmp(theirs, MAGIC, sizeof MAGIC) != 0) return false;
    uint16_t answer = answer_to(theirs, key);
    write_greeting(greeting, answer);
    bool plain = answer != ACCEPTED || !key;
    bool done = plain ? send_all(socket, greeting, GREETING_BYTES, deadline)
                      : prove(c, theirs, greeting, key, deadline);
    if (!done || answer != ACCEPTED) return false;
    /* pages that no message reaches are never there */
    c->in = malloc(LENGTH_BYTES + MESSAGE_BYTES + SEAL_BYTES);
    c->out = malloc(LENGTH_BYTES + MESSAGE_BYTES + SEAL_BYTES);
    return c->in && c->out;
}

void channel_close(channel *c) {
    close(c->socket);
    free(c->in);
    free(c->out);
    crypto_wipe(c, sizeof *c);
    c->socket = -1;
}

static void nonce_of(uint8_t nonce[12], uint64_t count) {
    memset(nonce, 0, 4);
    memcpy(nonce + 4, &count, sizeof count);
}

static bool receive_frame(channel *c, int64_t deadline, size_t *size) {
    uint32_t length;
    size_t seal = c->keyed ? SEAL_BYTES : 0;
    if (!receive_all(c->socket, c->in, LENGTH_BYTES, deadline)) return false;
    memcpy(&length, c->in, sizeof length);
    if (length < seal || length > MESSAGE_BYTES + seal) return false;
    uint8_t *body = c->in + LENGTH_BYTES, nonce[12];
    if (!receive_all(c->socket, body, length, deadline)) return false;
    nonce_of(nonce, c->received++);
    *size = length - seal;
    return !c->keyed || crypto_open(body, length, c->in, LENGTH_BYTES, nonce, c->receive_key);
}

const uint8_t *channel_receive(channel *c, int timeout_ms, size_t *size) {
    int64_t deadline = timeout_ms < 0 ? -1 : deadline_after((uint32_t)timeout_ms);
    if (!c->broken && receive_frame(c, deadline, size)) return c->in + LENGTH_BYTES;
    c->broken = true;
    return NULL;
}

bool channel_waiting(const channel *c) {
    struct pollfd look = {.fd = c->socket, .events = POLLIN};
    return poll(&look, 1, 0) > 0;
}

uint8_t *channel_space(channel *c) { return c->out + LENGTH_BYTES; }

bool channel_send(channel *c, size_t size) {
    if (c->broken || size > MESSAGE_BYTES) return false;
    uint32_t length = (uint32_t)(size + (c->keyed ? SEAL_BYTES : 0));
    uint8_t nonce[12];
    memcpy(c->out, &length, sizeof length);
    nonce_of(nonce, c->sent++);
    if (c->keyed) crypto_seal(c->out + LENGTH_BYTES, size, c->out, LENGTH_BYTES, nonce, c->send_key);
    c->broken = !send_all(c->socket, c->out, LENGTH_BYTES + length, deadline_after(STALL_MS));
    return !c->broken;
}
