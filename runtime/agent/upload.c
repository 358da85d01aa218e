#define _GNU_SOURCE
#include "upload.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "crypto.h"

enum { SLOTS = 4, PATIENCE_MS = 60000, READ_BYTES = 1 << 16 };

/* To the process; a size of 0 asks for the hash. */
typedef struct {
    uint32_t slot, size;
} piece;

/* From it: of what it read at first, of each piece, and of the hash. */
typedef struct {
    int32_t error; /* an errno */
    uint64_t size;
    uint8_t hash[HASH_BYTES];
} written;

/* What the process is started with. */
typedef struct {
    session *session;
    const upload *upload;
} start;

static uint8_t *slot_of(const upload *u, uint32_t slot) { return u->ring + (size_t)slot * MESSAGE_BYTES; }

/* ---- In the process -------------------------------------------------------------------- */

static int read_present(int file, crypto_hash *sum, uint64_t *size) {
    uint8_t some[READ_BYTES];
    for (;;) {
        ssize_t got = pread(file, some, sizeof some, (off_t)*size);
        if (got <= 0) return got < 0 ? errno : 0;
        crypto_hash_add(sum, some, (size_t)got);
        *size += (uint64_t)got;
    }
}

/* All of it, or nothing more than before. */
static int append(int file, uint64_t before, const uint8_t *from, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(file, from + done, size - done, (off_t)(before + done));
        if (put < 0 && errno == EINTR) continue;
        int why = put < 0 ? errno : ENOSPC;
        if (put <= 0) return ftruncate(file, (off_t)before) == 0 ? why : errno;
        done += (size_t)put;
    }
    return 0;
}

static int write_pieces(int pipe, report *report, void *context) {
    const start *begun = context;
    const upload *u = begun->upload;
    written w = {0};
    crypto_hash sum;
    piece p;
    (void)report;
    session_forget(begun->session);
    if (begun->session->lock >= 0) close(begun->session->lock);
    crypto_hash_begin(&sum);
    w.error = read_present(u->file, &sum, &w.size);
    while (send(pipe, &w, sizeof w, MSG_NOSIGNAL) == sizeof w &&
           recv(pipe, &p, sizeof p, MSG_WAITALL) == sizeof p) {
        const uint8_t *from = slot_of(u, p.slot);
        if (!p.size) crypto_hash_end(&sum, w.hash);
        if (!p.size || w.error) continue;
        w.error = append(u->file, w.size, from, p.size);
        if (w.error) continue;
        crypto_hash_add(&sum, from, p.size);
        w.size += p.size;
    }
    return 0;
}

/* ---- In the session -------------------------------------------------------------------- */

static bool hear(upload *u, written *w) {
    outcome status = process_read(&u->process, w, sizeof *w, deadline_after(PATIENCE_MS));
    errno = status == OK ? w->error : EIO;
    return errno == 0;
}

bool upload_begin(upload *u, session *s, int file) {
    start begun = {.session = s, .upload = u};
    written w;
    *u = (upload){.file = file};
    u->ring = mmap(NULL, (size_t)SLOTS * MESSAGE_BYTES, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (u->ring == MAP_FAILED) u->ring = NULL;
    bool right = u->ring && process_start(&u->process, 0, write_pieces, &begun) && hear(u, &w);
    if (right) u->size = w.size;
    int why = errno;
    if (!right) upload_end(u);
    errno = why;
    return right;
}

bool upload_add(upload *u, const uint8_t *from, size_t size) {
    written w;
    if (!size) return true;
    if (u->waiting == SLOTS) {
        u->waiting--;
        if (!hear(u, &w)) return false;
    }
    memcpy(slot_of(u, u->next), from, size);
    piece p = {.slot = u->next, .size = (uint32_t)size};
    if (!process_write(&u->process, &p, sizeof p)) return errno = EIO, false;
    u->next = (u->next + 1) % SLOTS;
    u->waiting++;
    u->size += size;
    return true;
}

bool upload_settle(upload *u) {
    written w;
    for (; u->waiting; u->waiting--)
        if (!hear(u, &w)) return false;
    return true;
}

bool upload_hash(upload *u, uint8_t hash[HASH_BYTES]) {
    written w;
    if (!upload_settle(u)) return false;
    if (!process_write(&u->process, &(piece){0}, sizeof(piece))) return errno = EIO, false;
    if (!hear(u, &w)) return false;
    memcpy(hash, w.hash, HASH_BYTES);
    return true;
}

void upload_end(upload *u) {
    if (u->file < 0) return;
    process_end(&u->process);
    if (u->ring) munmap(u->ring, (size_t)SLOTS * MESSAGE_BYTES);
    close(u->file);
    *u = (upload){.file = -1};
}
