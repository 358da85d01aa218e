#define _GNU_SOURCE
#include "peer.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { HOST_BYTES = 256, PORT_DIGITS = 5 };

/* What needs no quotes in JSON and has no meaning in TVM's handshake. */
static bool is_plain(const char *key) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t size = strspn(key, letters);
    return size && !key[size] && size < PEER_KEY_BYTES;
}

/* The last colon before the slash, as an address may have others. */
static const char *last_colon(const char *text, const char *end) {
    const char *found = NULL;
    for (const char *at = text; at < end; at++)
        if (*at == ':') found = at;
    return found;
}

const char *peer_parse(const char *text, peer *p) {
    const char *slash = strchr(text, '/'), *colon = slash ? last_colon(text, slash) : NULL;
    char host[HOST_BYTES], port[PORT_DIGITS + 1];
    if (!colon || colon == text || colon - text >= HOST_BYTES || slash - colon - 1 > PORT_DIGITS)
        return "it is HOST:PORT/KEY";
    if (!is_plain(slash + 1))
        return "a key is up to 64 letters, digits, dots, dashes and underscores";
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracketed, text + bracketed);
    snprintf(port, sizeof port, "%.*s", (int)(slash - colon - 1), colon + 1);
    snprintf(p->key, sizeof p->key, "%s", slash + 1);
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (getaddrinfo(host, port, &hints, &found) != 0) return "there is no such host and port";
    memcpy(&p->address, found->ai_addr, (size_t)found->ai_addrlen);
    p->size = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

bool is_loopback(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    static const uint8_t own[16] = {[15] = 1}, mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    const uint8_t *address = ((const struct sockaddr_in6 *)a)->sin6_addr.s6_addr;
    return memcmp(address, own, 16) == 0 || memcmp(address, mapped, 13) == 0;
}
