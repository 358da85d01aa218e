#define _GNU_SOURCE
#include "outcomes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { A_DAY = 24 * 60 * 60 };

static bool folder_of(const session *s, char path[FOLDER_BYTES]) {
    int size = snprintf(path, FOLDER_BYTES, "%s/batches", s->settings->folder);
    return size > 0 && size + 2 * HASH_BYTES + 2 < FOLDER_BYTES;
}

static bool path_of(const session *s, const uint8_t id[HASH_BYTES], char path[FOLDER_BYTES]) {
    if (!folder_of(s, path)) return false;
    char *at = path + strlen(path);
    *at++ = '/';
    for (int i = 0; i < HASH_BYTES; i++) at += snprintf(at, 3, "%02x", id[i]);
    return true;
}

/* Removes the oldest but `spared`: the wall clock may have jumped since that was written. */
static void sweep(const char *folder, const char *spared) {
    DIR *entries = opendir(folder);
    if (!entries) return;
    for (struct dirent *e; (e = readdir(entries));) {
        struct stat found;
        if (strcmp(e->d_name, spared) == 0) continue;
        if (fstatat(dirfd(entries), e->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode) &&
            time(NULL) - found.st_mtime > A_DAY)
            unlinkat(dirfd(entries), e->d_name, 0);
    }
    closedir(entries);
}

int outcomes_open(const session *s, const uint8_t id[HASH_BYTES]) {
    char folder[FOLDER_BYTES], path[FOLDER_BYTES];
    if (!folder_of(s, folder) || !path_of(s, id, path)) return -1;
    mkdir(folder, 0700);
    sweep(folder, path + strlen(folder) + 1);
    return open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

bool outcomes_add(int file, const void *fields, uint32_t size) {
    uint8_t entry[OUTCOME_BYTES + sizeof size];
    if (size > OUTCOME_BYTES) return false;
    memcpy(entry, &size, sizeof size);
    memcpy(entry + sizeof size, fields, size);
    return write(file, entry, size + sizeof size) == (ssize_t)(size + sizeof size);
}

uint32_t outcomes_next(int file, uint64_t *at, uint8_t fields[OUTCOME_BYTES]) {
    uint32_t size = 0;
    if (pread(file, &size, sizeof size, (off_t)*at) != sizeof size || size > OUTCOME_BYTES ||
        pread(file, fields, size, (off_t)(*at + sizeof size)) != (ssize_t)size)
        return 0;
    *at += sizeof size + size;
    return size;
}

bool outcomes_take(int file) { return flock(file, LOCK_EX | LOCK_NB) == 0; }

bool outcomes_cut(int file, uint64_t at) { return ftruncate(file, (off_t)at) == 0; }

bool outcomes_remove(const session *s, const uint8_t id[HASH_BYTES]) {
    char path[FOLDER_BYTES];
    return path_of(s, id, path) && unlink(path) == 0;
}
