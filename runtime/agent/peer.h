/* A tracker or proxy of TVM's, and the key that this device has there: HOST:PORT/KEY. */
#ifndef AGENT_PEER_H
#define AGENT_PEER_H

#include <stdbool.h>
#include <sys/socket.h>

enum { PEER_KEY_BYTES = 65 };

typedef struct {
    struct sockaddr_storage address;
    socklen_t size;
    char key[PEER_KEY_BYTES];
} peer;

/* The host is looked up. NULL, or a sentence that says what is wrong. */
const char *peer_parse(const char *text, peer *p);

bool is_loopback(const struct sockaddr_storage *address);

#endif
