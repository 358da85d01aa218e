/* A library for a stock TVM RPC server: starts an agent beside it, and carries what a host and the agent say to
 * each other. So all that works on a device works there, and a model that crashes ends neither. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tvm_abi.h"

enum { START_MS = 10000, MOST_BYTES = 1 << 20 };

/* Of TVM's runtime, in the server. */
void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);
int TVMFFIBytesFromByteArray(const tvm_bytes *from, tvm_value *to);

#define FUNCTION(name)                         \
    __attribute__((visibility("default"))) int \
    __tvm_ffi_##name(void *self, const tvm_value *arguments, int32_t count, tvm_value *result)

static int fail(const char *what) {
    char text[256];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", text);
    return -1;
}

/* Strings and bytes come as they are, in the value, or in an object behind its head of 24 bytes. */
static tvm_bytes content_of(const tvm_value *v) {
    enum { OBJECT_HEAD = 24 };
    switch (v->type) {
    case TVM_RAW_STRING: return (tvm_bytes){v->string, strlen(v->string)};
    case TVM_BYTE_ARRAY: return *v->bytes;
    case TVM_SMALL_STRING:
    case TVM_SMALL_BYTES: return (tvm_bytes){v->small, v->small_size};
    case TVM_STRING:
    case TVM_BYTES: return *(const tvm_bytes *)((const char *)v->pointer + OBJECT_HEAD);
    default: return (tvm_bytes){"", 0};
    }
}

/* ---- Starting -------------------------------------------------------------------------- */

/* It ends with this server; what it prints goes to `out`. */
static _Noreturn void become_agent(const char *program, const char *folder, int out, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(out, 1) < 0) _exit(1);
    execl(program, program, "--listen", "127.0.0.1:0", "--folder", folder, (char *)NULL);
    _exit(1);
}

/* The port at the end of the first line that the agent prints; 0 if it prints none. */
static unsigned read_port(int in) {
    char line[128];
    size_t size = 0;
    while (size < sizeof line - 1) {
        struct pollfd wait = {.fd = in, .events = POLLIN};
        if (poll(&wait, 1, START_MS) <= 0 || read(in, line + size, 1) != 1) return 0;
        if (line[size++] == '\n') break;
    }
    line[size] = 0;
    const char *colon = strrchr(line, ':');
    return colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}

static int connect_to(unsigned port) {
    int agent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (agent >= 0 && connect(agent, (struct sockaddr *)&place, sizeof place) == 0) return agent;
    if (agent >= 0) close(agent);
    return -1;
}

/* (the agent's file, a folder for it) -> the connection. */
FUNCTION(armlet_start) {
    (void)self;
    (void)count;
    const char *program = content_of(&arguments[0]).data, *folder = content_of(&arguments[1]).data;
    int out[2];
    if (chmod(program, 0700) != 0 || pipe2(out, O_CLOEXEC) != 0) return fail("the agent");
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become_agent(program, folder, out[1], parent);
    close(out[1]);
    unsigned port = pid < 0 ? 0 : read_port(out[0]);
    close(out[0]);
    int agent = port ? connect_to(port) : -1;
    if (agent < 0) return fail("the agent does not start");
    *result = (tvm_value){.type = TVM_INT, .integer = agent};
    return 0;
}

/* ---- Carrying -------------------------------------------------------------------------- */

/* (the connection, bytes) */
FUNCTION(armlet_send) {
    (void)self;
    (void)count;
    tvm_bytes bytes = content_of(&arguments[1]);
    *result = (tvm_value){.type = TVM_NONE};
    while (bytes.size) {
        ssize_t sent = send((int)arguments[0].integer, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return fail("the agent is gone");
        bytes.data += sent;
        bytes.size -= (size_t)sent;
    }
    return 0;
}

/* (the connection, milliseconds) -> what has come, as soon as there is any; no bytes if none comes in time. */
FUNCTION(armlet_receive) {
    (void)self;
    (void)count;
    struct pollfd wait = {.fd = (int)arguments[0].integer, .events = POLLIN};
    if (poll(&wait, 1, (int)arguments[1].integer) <= 0)
        return TVMFFIBytesFromByteArray(&(tvm_bytes){"", 0}, result);
    char *data = malloc(MOST_BYTES);
    ssize_t got = data ? recv(wait.fd, data, MOST_BYTES, 0) : -1;
    if (got == 0) errno = ECONNRESET;
    int failed = got > 0 ? TVMFFIBytesFromByteArray(&(tvm_bytes){data, (size_t)got}, result)
                         : fail("the agent is gone");
    free(data);
    return failed;
}
