/* The agent calls TVM's proxy and waits there for a client; for devices that cannot be called themselves. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "supervisor.h"
#include "tvm.h"

enum { MAGIC = 0xff271, FIRST_PAUSE_S = 1, MOST_PAUSE_S = 5 };

/* A connection that a client is at the other end of; -1 if the proxy has none, or is not there. */
static int await_client(const peer *p) {
    int socket_ = socket(p->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    int32_t magic = MAGIC, answer;
    char message[8 + 8 + PEER_KEY_BYTES];
    if (socket_ < 0) return -1;
    setsockopt(socket_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    int32_t size = snprintf(message + 8, sizeof message - 8, "server:%s", p->key);
    memcpy(message, &magic, sizeof magic);
    memcpy(message + 4, &size, sizeof size);
    if (connect(socket_, (const struct sockaddr *)&p->address, p->size) == 0 &&
        send(socket_, message, 8 + (size_t)size, MSG_NOSIGNAL) == 8 + size &&
        recv(socket_, &answer, sizeof answer, MSG_WAITALL) == sizeof answer && answer == MAGIC)
        return socket_;
    close(socket_);
    return -1;
}

/* The client's code runs in a process of its own, of which nothing is left afterwards. */
static void serve(int client, const settings *settings) {
    char folder[FOLDER_BYTES];
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        if (getppid() == parent) tvm_session((tvm_stream){.socket = client}, settings, NULL);
        _exit(0);
    }
    close(client);
    if (pid < 0) return;
    setpgid(pid, pid);
    siginfo_t ended;
    waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT);
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
    snprintf(folder, sizeof folder, "%s/sessions/%d", settings->folder, (int)pid);
    remove_folder(folder);
}

const char *tvm_proxy(const char *place, const settings *settings) {
    peer p;
    const char *why = peer_parse(place, &p);
    if (why) return why;
    /* whoever the proxy lets in may run code here */
    if (!is_loopback(&p.address))
        return "a proxy is served on this machine only: bring it here with `adb reverse` or `ssh -R`";
    for (unsigned pause = FIRST_PAUSE_S;;) {
        int client = await_client(&p);
        if (client >= 0) {
            pause = FIRST_PAUSE_S;
            serve(client, settings);
        } else {
            sleep(pause);
            pause = pause * 2 < MOST_PAUSE_S ? pause * 2 : MOST_PAUSE_S;
        }
    }
}
