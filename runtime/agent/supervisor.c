#define _GNU_SOURCE
#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "tvm.h"

enum { SESSIONS = 64, STRANGERS = 16, MAGIC_MS = 5000, MAX_DEPTH = 8 };
enum { TOO_MANY = 4, GREETING_BYTES = 40 };
/* What a session's process has found out about its host, told by a byte that it shares. */
enum { STRANGER = 0, KNOWN = 1 };

static struct {
    pid_t pids[SESSIONS]; /* 0: free */
    volatile uint8_t *standing;
} sessions;

static volatile sig_atomic_t ending;

static void on_end(int signal) {
    (void)signal;
    ending = 1;
}

static void on_child(int signal) { (void)signal; }

static void remove_inside(int folder, int depth) {
    DIR *files = fdopendir(folder);
    for (struct dirent *entry; files && (entry = readdir(files));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        if (unlinkat(dirfd(files), name, 0) == 0) continue;
        int inner = openat(dirfd(files), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0) continue;
        if (depth < MAX_DEPTH)
            remove_inside(inner, depth + 1);
        else
            close(inner);
        unlinkat(dirfd(files), name, AT_REMOVEDIR);
    }
    if (files)
        closedir(files);
    else
        close(folder);
}

void remove_folder(const char *path) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder >= 0) remove_inside(folder, 0);
    rmdir(path);
}

/* In the session's own process, which ends afterwards. */
static void serve(int socket, bool near, const settings *settings, volatile uint8_t *standing,
                  const char *match_keys) {
    static const uint8_t tvm_magic[4] = {0x71, 0xf2, 0x0f, 0x00};
    struct timeval patience = {.tv_sec = MAGIC_MS / 1000};
    uint8_t magic[4];
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (recv(socket, magic, sizeof magic, MSG_PEEK | MSG_WAITALL) != sizeof magic) return;
    patience.tv_sec = 0;
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (memcmp(magic, tvm_magic, sizeof magic) == 0) {
        /* it knows no keys: whoever set one has not meant to let this in */
        if (!near || settings->key) return;
        *standing = KNOWN;
        tvm_session((tvm_stream){.socket = socket}, settings, match_keys);
        return;
    }
    session s = {.settings = settings, .lock = -1};
    if (!channel_accept(&s.channel, socket, settings->key)) return;
    *standing = KNOWN;
    session_run(&s);
}

static void turn_away(int socket) {
    uint8_t answer[GREETING_BYTES] = {'A', 'L', 'D', 'P', 1, 0, TOO_MANY, 0}, unread[GREETING_BYTES];
    /* what is unread when a socket closes takes back what was sent */
    if (recv(socket, unread, sizeof unread, MSG_DONTWAIT) >= 0 || errno == EAGAIN)
        send(socket, answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(socket, SHUT_WR);
}

static int free_place(void) {
    int strangers = 0, found = -1;
    for (int i = SESSIONS - 1; i >= 0; i--) {
        if (!sessions.pids[i])
            found = i;
        else if (sessions.standing[i] == STRANGER)
            strangers++;
    }
    return strangers < STRANGERS ? found : -1;
}

static void begin_session(int socket, bool near, const settings *settings, int listener,
                          const char *match_keys, const sigset_t *signals) {
    int place = free_place();
    pid_t parent = getpid(), pid = -1;
    if (place >= 0) {
        sessions.standing[place] = STRANGER;
        pid = fork();
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        setpgid(0, 0);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        close(listener);
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        signal(SIGCHLD, SIG_DFL);
        sigprocmask(SIG_SETMASK, signals, NULL);
        serve(socket, near, settings, &sessions.standing[place], match_keys);
        _exit(0);
    }
    if (pid > 0) {
        setpgid(pid, pid); /* whichever of the two is first */
        sessions.pids[place] = pid;
    } else {
        turn_away(socket);
    }
}

static void accept_all(const settings *settings, int listener, const char *match_keys,
                       const sigset_t *signals) {
    struct sockaddr_storage peer;
    for (;;) {
        socklen_t size = sizeof peer;
        int socket = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (socket < 0 && errno == ECONNABORTED) continue;
        if (socket < 0) return;
        begin_session(socket, is_loopback(&peer), settings, listener, match_keys, signals);
        close(socket);
    }
}

/* What is left of a session: processes that it started, which are in its group, and its folder. The
 * group's number is nobody else's before the leader is waited for. */
static void clear_away(const settings *settings, pid_t pid) {
    char path[FOLDER_BYTES];
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
    snprintf(path, sizeof path, "%s/sessions/%d", settings->folder, (int)pid);
    remove_folder(path);
}

/* Whether any that had found out about its host has ended. */
static bool reap(const settings *settings) {
    bool known = false;
    for (;;) {
        siginfo_t ended = {0};
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || !ended.si_pid)
            return known;
        clear_away(settings, ended.si_pid);
        for (int i = 0; i < SESSIONS; i++) {
            if (sessions.pids[i] != ended.si_pid) continue;
            known |= sessions.standing[i] == KNOWN;
            sessions.pids[i] = 0;
        }
    }
}

static bool any_known(void) {
    for (int i = 0; i < SESSIONS; i++)
        if (sessions.pids[i] && sessions.standing[i] == KNOWN) return true;
    return false;
}

static void end_all(const settings *settings) {
    for (int i = 0; i < SESSIONS; i++)
        if (sessions.pids[i]) kill(-sessions.pids[i], SIGKILL);
    for (int i = 0; i < SESSIONS; i++)
        if (sessions.pids[i]) clear_away(settings, sessions.pids[i]);
}

/* They arrive while ppoll waits, and at no other time. */
static void hold_signals(sigset_t *before) {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGCHLD);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigprocmask(SIG_BLOCK, &held, before);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_end}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_end}, NULL);
}

void supervise(const settings *settings, int listener, tracker *tracker) {
    sigset_t signals;
    hold_signals(&signals);
    sessions.standing = mmap(NULL, SESSIONS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sessions.standing == MAP_FAILED) return;
    while (!ending) {
        int timeout_ms = -1;
        struct pollfd files[2] = {{.fd = listener, .events = POLLIN}, {.fd = -1}};
        if (tracker) files[1].fd = tracker_file(tracker, &files[1].events, &timeout_ms);
        struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                                   .tv_nsec = timeout_ms % 1000 * 1000000L};
        int ready = ppoll(files, 2, timeout_ms < 0 ? NULL : &timeout, &signals);
        if (ready > 0 && files[0].revents)
            accept_all(settings, listener, tracker ? tracker_match_keys(tracker) : "", &signals);
        bool ended = reap(settings);
        if (!tracker) continue;
        if (ended) tracker_busy(tracker, true);
        tracker_busy(tracker, any_known());
        tracker_work(tracker, ready > 0 ? files[1].revents : 0);
    }
    end_all(settings);
}
