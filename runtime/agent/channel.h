/* A connection to the host: frames, and their protection where there is a key.
 * docs/reference/device-protocol.md describes both. */
#ifndef AGENT_CHANNEL_H
#define AGENT_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEY_BYTES = 32, MESSAGE_BYTES = (1 << 20) + 1024, SEAL_BYTES = 16 };

typedef struct {
    int socket;
    bool keyed, broken;
    uint64_t sent, received; /* frames, which nonces count */
    uint8_t send_key[KEY_BYTES], receive_key[KEY_BYTES];
    uint8_t *in, *out; /* a frame each, with its length and its seal */
} channel;

/* Answers the host's handshake, of which the first four bytes have been seen but not read. `key` is
 * NULL for an agent without one. False, and the connection is of no use, if it fails. */
bool channel_accept(channel *c, int socket, const uint8_t *key);
void channel_close(channel *c);

/* The next message, in a buffer that the next call overwrites. NULL at the end of the connection, or after
 * `timeout_ms` (-1: never) or a frame that does not verify, which break the channel. */
const uint8_t *channel_receive(channel *c, int timeout_ms, size_t *size);

/* Whether more has come already. */
bool channel_waiting(const channel *c);

/* Sends a message that the caller has written to `channel_space`. */
uint8_t *channel_space(channel *c);
bool channel_send(channel *c, size_t size);

#endif
