/* TVM's RPC, version 0.27: what its stock client, tracker and proxy need of a server. */
#ifndef AGENT_TVM_H
#define AGENT_TVM_H

#include "session.h"

/* Bytes of TVM's protocol, from a socket or from the frames of a channel. */
typedef struct {
    int socket;
    channel *through; /* NULL: the socket itself */
} tvm_stream;

/* Serves one client, whose magic has been seen but not read. It must say one of `match_keys`, which have spaces
 * between ("": it may say anything; NULL: TVM's proxy has asked it). The process ends with the session. */
void tvm_session(tvm_stream stream, const settings *settings, const char *match_keys);

/* Offers the device at TVM's proxy at HOST:PORT/KEY, again and again, with a process for each session. Returns
 * only if that cannot be a proxy, or is not on this machine; then with a sentence. */
const char *tvm_proxy(const char *place, const settings *settings);

#endif
