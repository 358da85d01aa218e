#define _GNU_SOURCE
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "upload.h"
#include "outcomes.h"

enum { NAME_BYTES = 2 * HASH_BYTES + 1, LOOK_AGAIN_MS = 10 };
/* Longer than a silent session lasts that uploads the same. */
enum { GRACE_MS = 5000 };

/* The blob that this session uploads, whose `.part` is locked. A request for another one gives it up, and
 * the next for it reads again what is there. */
static struct {
    upload part;
    uint8_t hash[HASH_BYTES];
} current = {.part.file = -1};

static void name_of(const uint8_t hash[HASH_BYTES], char name[NAME_BYTES]) {
    for (int i = 0; i < HASH_BYTES; i++) snprintf(name + 2 * i, 3, "%02x", hash[i]);
}

static void path_of(const session *s, const uint8_t hash[HASH_BYTES], const char *ending,
                    char path[STORE_PATH]) {
    char name[NAME_BYTES];
    name_of(hash, name);
    snprintf(path, STORE_PATH, "%s/blobs/%s%s", s->settings->folder, name, ending);
}

static uint64_t size_of(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 ? (uint64_t)found.st_size : 0;
}

bool store_path(const session *s, const uint8_t hash[HASH_BYTES], char path[STORE_PATH]) {
    path_of(s, hash, "", path);
    return utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

const void *store_map(const session *s, const uint8_t hash[HASH_BYTES], uint64_t size) {
    char path[STORE_PATH];
    struct stat found;
    void *mapped = MAP_FAILED;
    if (!size || (size_t)size != size || !store_path(s, hash, path)) return NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return NULL;
    if (fstat(file, &found) == 0 && (uint64_t)found.st_size == size)
        mapped = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    return mapped == MAP_FAILED ? NULL : mapped;
}

bool store_have(session *s, reader *r) {
    uint32_t count = read_u32(r);
    if (r->bad || (size_t)(r->end - r->at) != (uint64_t)count * HASH_BYTES)
        return done_failed(s, REFUSED, "have is malformed: it has a number of hashes");
    writer w = done_begin(s);
    for (uint32_t i = 0; i < count; i++) {
        char path[STORE_PATH];
        const uint8_t *hash = read_raw(r, HASH_BYTES);
        bool whole = store_path(s, hash, path);
        if (!whole) path_of(s, hash, ".part", path);
        write_u64(&w, whole ? WHOLE : size_of(path));
    }
    return done_send(s, &w);
}

void store_rest(void) {
    if (current.part.file >= 0) upload_settle(&current.part);
    upload_end(&current.part);
}

/* The least recently used file but the upload; its size. */
static uint64_t oldest(const char *folder, const char *spared, char *found, uint64_t *total) {
    uint64_t size = 0;
    struct timespec time = {0};
    DIR *files = opendir(folder);
    *total = 0;
    found[0] = 0;
    for (struct dirent *entry; files && (entry = readdir(files));) {
        struct stat info;
        if (fstatat(dirfd(files), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISREG(info.st_mode)) continue;
        *total += (uint64_t)info.st_size;
        bool older = info.st_mtim.tv_sec < time.tv_sec ||
                     (info.st_mtim.tv_sec == time.tv_sec && info.st_mtim.tv_nsec < time.tv_nsec);
        if (strncmp(entry->d_name, spared, NAME_BYTES - 1) == 0 || (found[0] && !older)) continue;
        if (snprintf(found, STORE_PATH, "%s/%s", folder, entry->d_name) >= STORE_PATH) found[0] = 0;
        size = (uint64_t)info.st_size;
        time = info.st_mtim;
    }
    if (files) closedir(files);
    return size;
}

/* Forgets blobs until the one that is being uploaded will fit. */
static void make_room(const session *s, uint64_t more) {
    char folder[STORE_PATH], spared[NAME_BYTES], path[STORE_PATH];
    uint64_t total;
    snprintf(folder, sizeof folder, "%s/blobs", s->settings->folder);
    name_of(current.hash, spared);
    for (;;) {
        oldest(folder, spared, path, &total);
        if (total + more <= s->settings->store_bytes || !path[0] || unlink(path) != 0) return;
    }
}

/* Opens and locks the part of a blob; another session may be uploading it, or may just have finished. */
static bool take_up(session *s, const uint8_t hash[HASH_BYTES], uint64_t total) {
    char path[STORE_PATH];
    if (current.part.file >= 0 && memcmp(current.hash, hash, HASH_BYTES) == 0) return true;
    store_rest();
    path_of(s, hash, ".part", path);
    for (int64_t deadline = deadline_after(s->settings->idle_ms + GRACE_MS);;) {
        struct stat opened, named;
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0) return false;
        bool locked = flock(file, LOCK_EX | LOCK_NB) == 0;
        /* the name may have gone to another file since it was opened */
        if (locked && fstat(file, &opened) == 0 && stat(path, &named) == 0 &&
            opened.st_ino == named.st_ino) {
            memcpy(current.hash, hash, HASH_BYTES);
            if (!upload_begin(&current.part, s, file)) return false;
            if (current.part.size < total) make_room(s, total - current.part.size);
            return true;
        }
        close(file);
        if (!locked && ms_until(deadline) == 0) return errno = EBUSY, false;
        if (!locked) usleep(LOOK_AGAIN_MS * 1000);
    }
}

static bool present(session *s, uint64_t bytes) {
    writer w = done_begin(s);
    write_u64(&w, bytes);
    return done_send(s, &w);
}

static bool cannot_write(session *s) {
    int why = errno;
    upload_end(&current.part);
    return done_failed(s, FAILED, "a file cannot be written on the device: %s", strerror(why));
}

/* The part becomes the blob if it is what it is called. */
static bool finish_upload(session *s, uint64_t total) {
    char part[STORE_PATH], path[STORE_PATH];
    uint8_t found[HASH_BYTES];
    path_of(s, current.hash, ".part", part);
    path_of(s, current.hash, "", path);
    if (!upload_hash(&current.part, found)) return cannot_write(s);
    bool right = memcmp(found, current.hash, HASH_BYTES) == 0;
    bool kept = right && fchmod(current.part.file, 0400) == 0 && rename(part, path) == 0;
    if (right && !kept) return cannot_write(s);
    if (!right) unlink(part);
    upload_end(&current.part);
    if (right) return present(s, total);
    return done_failed(s, REFUSED, "what was uploaded is not what its hash says");
}

/* Where more is on its way already, the answer does not wait until this is written: if that fails, a later
 * one tells. */
static bool put_checked(session *s, uint64_t total, uint64_t offset, const uint8_t *from,
                        uint32_t size) {
    upload *u = &current.part;
    if (offset > u->size)
        return done_failed(s, REFUSED, "%llu bytes are there, but more come from %llu on",
                           (unsigned long long)u->size, (unsigned long long)offset);
    uint64_t known = u->size - offset; /* of what is sent */
    if (known < size && !upload_add(u, from + known, (size_t)(size - known))) return cannot_write(s);
    if (u->size >= total) return finish_upload(s, u->size);
    if (!channel_waiting(&s->channel) && !upload_settle(u)) return cannot_write(s);
    return present(s, u->size);
}

bool store_put(session *s, reader *r) {
    char path[STORE_PATH];
    uint32_t size;
    const uint8_t *hash = read_raw(r, HASH_BYTES);
    uint64_t total = read_u64(r), offset = read_u64(r);
    const uint8_t *from = read_bytes(r, &size);
    if (!complete(r) || offset > total || size > total - offset)
        return done_failed(s, REFUSED, "put is malformed: a hash, a size, an offset, and bytes");
    if (total > s->settings->store_bytes || total > LONG_MAX)
        return done_failed(s, REFUSED, "a file of %llu bytes is more than the device keeps (%llu)",
                           (unsigned long long)total, (unsigned long long)s->settings->store_bytes);
    if (!store_path(s, hash, path) && !take_up(s, hash, total))
        return errno == EBUSY
                   ? done_failed(s, BUSY, "another session is uploading the same file")
                   : done_failed(s, FAILED, "a file cannot be written on the device: %s",
                                 strerror(errno));
    if (!store_path(s, hash, path)) return put_checked(s, total, offset, from, size);
    store_rest();
    return present(s, total);
}

bool store_remove(session *s, reader *r) {
    char path[STORE_PATH];
    const uint8_t *hash = read_raw(r, HASH_BYTES);
    if (!complete(r)) return done_failed(s, REFUSED, "remove is malformed: it has a hash");
    store_rest();
    path_of(s, hash, ".part", path);
    bool part = unlink(path) == 0, outcomes = outcomes_remove(s, hash);
    path_of(s, hash, "", path);
    if (unlink(path) != 0 && !part && !outcomes) return done_failed(s, MISSING, "there is no such file");
    writer w = done_begin(s);
    return done_send(s, &w);
}
