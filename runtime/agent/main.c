/* The agent of a device: serves one folder and one address. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "supervisor.h"
#include "tvm.h"

#ifndef AGENT_VERSION
#define AGENT_VERSION "0"
#endif

static const char USAGE[] =
    "usage: armlet-agent [OPTION VALUE]...\n"
    "Lets armlet on another machine run models on this one.\n"
    "  --listen ADDRESS:PORT     127.0.0.1:9090; port 0 takes any\n"
    "  --key FILE                which hosts must know (`armlet device key FILE` makes one)\n"
    "  --folder FOLDER           for what is uploaded; ./armlet-agent\n"
    "  --store MIB               the most that is kept there; 2048\n"
    "  --memory MIB              the most that a model may take; 0: no limit\n"
    "  --deadline SECONDS        the longest that a request may run; 600\n"
    "  --idle SECONDS            until a silent session ends; 60\n"
    "  --tracker HOST:PORT/KEY   a TVM tracker to register at\n"
    "  --proxy HOST:PORT/KEY     a TVM proxy to serve, instead of listening\n";

enum { BACKLOG = 64, LOCK_MS = 2000, MOST_SECONDS = 1000000, MOST_MIB = 1 << 30 };

typedef struct {
    const char *listen, *key, *folder, *tracker, *proxy;
    settings settings;
} arguments;

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static _Noreturn void
stop(const char *format, ...) {
    char text[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    dprintf(STDERR_FILENO, "armlet-agent: %s\n", text);
    exit(2);
}

static uint32_t number(const char *option, const char *text, uint32_t least, uint32_t most) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        stop("%s is a whole number, %u .. %u, and not '%s'", option, least, most, text);
    return (uint32_t)value;
}

static void take(arguments *a, const char *option, const char *value) {
    const char **texts[] = {&a->listen, &a->key, &a->folder, &a->tracker, &a->proxy};
    static const char *const names[] = {"--listen", "--key", "--folder", "--tracker", "--proxy"};
    settings *s = &a->settings;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(option, names[i]) == 0) {
            *texts[i] = value;
            return;
        }
    if (strcmp(option, "--store") == 0)
        s->store_bytes = (uint64_t)number(option, value, 1, MOST_MIB) << 20;
    else if (strcmp(option, "--memory") == 0)
        s->memory_bytes = (uint64_t)number(option, value, 0, MOST_MIB) << 20;
    else if (strcmp(option, "--deadline") == 0)
        s->deadline_ms = number(option, value, 1, MOST_SECONDS) * 1000;
    else if (strcmp(option, "--idle") == 0)
        s->idle_ms = number(option, value, 1, MOST_SECONDS) * 1000;
    else
        stop("there is no option %s; --help lists them", option);
}

static bool parse_address(const char *text, struct sockaddr_storage *to, socklen_t *size,
                          bool *loopback) {
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || colon - text >= (long)sizeof host) return false;
    uint16_t port = htons((uint16_t)number("the port", colon + 1, 0, 65535));
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracketed, text + bracketed);
    memset(to, 0, sizeof *to);
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    static const uint8_t own[16] = {[15] = 1};
    if (!bracketed && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        *size = sizeof *v4;
        *loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
        return true;
    }
    if (!bracketed || inet_pton(AF_INET6, host, &v6->sin6_addr) != 1) return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    *size = sizeof *v6;
    *loopback = memcmp(&v6->sin6_addr, own, sizeof own) == 0;
    return true;
}

typedef struct {
    struct sockaddr_storage address;
    socklen_t size;
} place;

static place check_place(const arguments *a) {
    place p;
    bool loopback;
    if (!parse_address(a->listen, &p.address, &p.size, &loopback))
        stop("--listen is a numeric address and a port, such as 127.0.0.1:9090 or [::]:9090, and "
             "not '%s'",
             a->listen);
    if (!loopback && !a->key)
        stop("%s can be reached from elsewhere, which needs a key: make one with `armlet device "
             "key FILE`, copy it here, and add --key FILE",
             a->listen);
    return p;
}

/* Prints where it listens, as whoever started it may have left the port open. */
static int open_listener(const arguments *a, place p, uint16_t *port) {
    struct sockaddr *address = (struct sockaddr *)&p.address;
    int on = 1, listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) stop("no socket: %s", strerror(errno));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, address, p.size) != 0 || listen(listener, BACKLOG) != 0 ||
        getsockname(listener, address, &p.size) != 0)
        stop("it cannot listen on %s: %s", a->listen, strerror(errno));
    bool v4 = address->sa_family == AF_INET;
    *port = ntohs(v4 ? ((struct sockaddr_in *)&p.address)->sin_port
                     : ((struct sockaddr_in6 *)&p.address)->sin6_port);
    dprintf(STDOUT_FILENO, "listening on %.*s:%u\n", (int)(strrchr(a->listen, ':') - a->listen), a->listen, *port);
    return listener;
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void read_key(const char *path, uint8_t key[KEY_BYTES]) {
    char text[2 * KEY_BYTES + 2];
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0) stop("the key %s: %s", path, strerror(errno));
    if (info.st_mode & 077)
        stop("others may read the key %s: say `chmod 600 %s`, and make another if they have", path,
             path);
    ssize_t size = read(file, text, sizeof text);
    close(file);
    bool right = size == 2 * KEY_BYTES || (size == 2 * KEY_BYTES + 1 && text[size - 1] == '\n');
    for (int i = 0; right && i < KEY_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        right = high >= 0 && low >= 0;
        key[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    if (!right)
        stop("%s is no key, which is %d hexadecimal digits: `armlet device key FILE` makes one", path,
             2 * KEY_BYTES);
}

/* The folder is this agent's alone as long as it runs. What sessions of an agent have left that was
 * killed is removed. */
static const char *open_folder(const char *folder) {
    static char path[FOLDER_BYTES - 64];
    char inner[FOLDER_BYTES];
    if ((mkdir(folder, 0700) != 0 && errno != EEXIST) || !realpath(folder, inner) ||
        snprintf(path, sizeof path, "%s", inner) >= (int)sizeof path)
        stop("the folder %s: %s", folder, strerror(errno));
    snprintf(inner, sizeof inner, "%s/lock", path);
    int lock = open(inner, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) stop("the folder %s: %s", path, strerror(errno));
    /* sessions of an agent that was killed hold it for a moment */
    for (int64_t deadline = deadline_after(LOCK_MS); flock(lock, LOCK_EX | LOCK_NB) != 0;) {
        if (ms_until(deadline) == 0) stop("another agent uses the folder %s: give --folder", path);
        usleep(20000);
    }
    snprintf(inner, sizeof inner, "%s/sessions", path);
    remove_folder(inner);
    if (mkdir(inner, 0700) != 0) stop("the folder %s: %s", inner, strerror(errno));
    snprintf(inner, sizeof inner, "%s/blobs", path);
    if (mkdir(inner, 0700) != 0 && errno != EEXIST) stop("the folder %s: %s", inner, strerror(errno));
    return path;
}

int main(int count, char **values) {
    static uint8_t key[KEY_BYTES];
    arguments a = {
        .listen = "127.0.0.1:9090",
        .folder = "armlet-agent",
        .settings = {.store_bytes = 2048ull << 20, .deadline_ms = 600000, .idle_ms = 60000},
    };
    uint16_t port;
    if (count == 2 && strcmp(values[1], "--help") == 0) return dprintf(STDOUT_FILENO, "%s", USAGE) < 0;
    if (count == 2 && strcmp(values[1], "--version") == 0) return dprintf(STDOUT_FILENO, "%s\n", AGENT_VERSION) < 0;
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count) stop("%s needs a value; --help lists the options", values[i]);
        take(&a, values[i], values[i + 1]);
    }
    umask(077);
    place listening = check_place(&a);
    if (a.key) {
        read_key(a.key, key);
        a.settings.key = key;
    }
    a.settings.folder = open_folder(a.folder);
    const char *why = "";
    if (a.proxy) stop("--proxy %s: %s", a.proxy, tvm_proxy(a.proxy, &a.settings));
    int listener = open_listener(&a, listening, &port);
    tracker *registered = a.tracker ? tracker_start(a.tracker, port, &why) : NULL;
    if (a.tracker && !registered) stop("--tracker %s: %s", a.tracker, why);
    supervise(&a.settings, listener, registered);
    return 0;
}
