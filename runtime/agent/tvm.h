/* TVM's RPC, version 0.27: what its stock client, tracker and proxy need of a server. */
#ifndef AGENT_TVM_H
#define AGENT_TVM_H

#include "session.h"

/* Bytes of TVM's protocol, from a socket or from the frames of a channel. */
typedef struct {
    int socket;
    channel *through; /* NULL: the socket itself */
} tvm_stream;

/* Serves one client whose magic has been seen but not read; `match_key` is what it must say ("": any). The process
 * ends with the session. */
void tvm_session(tvm_stream stream, const settings *settings, const char *match_key);

#endif
