/* Uploaded files: without a name in the file system from the start, so that none stays behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tvm_server.h"

tvm_file *tvm_find_file(tvm_server *s, const char *name) {
    for (int i = 0; i < MOST_FILES; i++)
        if (*s->files[i].name && strcmp(s->files[i].name, name) == 0) return &s->files[i];
    tvm_fail(s, "there is no file %.100s; it must be uploaded first", name);
    return NULL;
}

static bool check_name(tvm_server *s, const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++)
        if (name[i] == '/' || name[i] == '\\' || name[i] == ',' || (unsigned char)name[i] < ' ')
            size = 0;
    if (!size || size >= FILE_NAME_BYTES || name[0] == '.')
        return tvm_fail(s, "%.100s is no name for a file: folders, commas and a dot in front are not "
                           "taken", name);
    return true;
}

static bool write_all(int file, const char *data, size_t size) {
    while (size) {
        ssize_t written = write(file, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

static int nameless_file(const settings *settings) {
    char path[FOLDER_BYTES + 16];
    if (!session_folder(settings, path)) return -1;
    strcat(path, "/upload");
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (file >= 0) unlink(path);
    return file;
}

static void forget_file(tvm_server *s, tvm_file *f) {
    close(f->file);
    s->file_bytes -= f->bytes;
    f->name[0] = 0;
}

/* A name that was used before means the new file from now on; libraries opened from the old one stay. */
static bool keep_file(tvm_server *s, const char *name, int file, uint64_t bytes) {
    int place = 0;
    for (int i = MOST_FILES - 1; i >= 0; i--)
        if (!*s->files[i].name) place = i;
    for (int i = 0; i < MOST_FILES; i++)
        if (strcmp(s->files[i].name, name) == 0) {
            forget_file(s, &s->files[i]);
            place = i;
        }
    if (*s->files[place].name) return tvm_fail(s, "there are too many files: remove some");
    snprintf(s->files[place].name, FILE_NAME_BYTES, "%s", name);
    s->files[place].file = file;
    s->files[place].bytes = bytes;
    s->file_bytes += bytes;
    return true;
}

bool tvm_upload(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                tvm_value *result) {
    (void)self;
    if (!tvm_check(s, "upload", "sb", a, count) || !check_name(s, a[0].string)) return false;
    *result = (tvm_value){.type = TVM_NONE};
    if (a[1].bytes->size > s->settings->store_bytes - s->file_bytes)
        return tvm_fail(s, "%s is too large: files may take %llu bytes together", a[0].string,
                        (unsigned long long)s->settings->store_bytes);
    int file = nameless_file(s->settings);
    if (file < 0) return tvm_fail(s, "%s could not be stored: %s", a[0].string, strerror(errno));
    if (!write_all(file, a[1].bytes->data, a[1].bytes->size)) {
        tvm_fail(s, "%s could not be stored: %s", a[0].string, strerror(errno));
        close(file);
        return false;
    }
    bool kept = keep_file(s, a[0].string, file, a[1].bytes->size);
    if (!kept) close(file);
    return kept;
}

bool tvm_download(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                  tvm_value *result) {
    (void)self;
    if (!tvm_check(s, "download", "s", a, count)) return false;
    tvm_file *f = tvm_find_file(s, a[0].string);
    if (!f) return false;
    tvm_bytes *bytes = wire_keep(&s->wire, sizeof *bytes + (size_t)f->bytes);
    if (!bytes) return tvm_fail(s, "out of memory");
    char *data = (char *)(bytes + 1);
    for (uint64_t at = 0; at < f->bytes;) {
        ssize_t got = pread(f->file, data + at, (size_t)(f->bytes - at), (off_t)at);
        if (got <= 0) return tvm_fail(s, "%s could not be read", f->name);
        at += (uint64_t)got;
    }
    *bytes = (tvm_bytes){data, (size_t)f->bytes};
    *result = (tvm_value){.type = TVM_BYTE_ARRAY, .bytes = bytes};
    return true;
}

bool tvm_remove(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
                tvm_value *result) {
    (void)self;
    if (!tvm_check(s, "remove", "s", a, count)) return false;
    tvm_file *f = tvm_find_file(s, a[0].string);
    *result = (tvm_value){.type = TVM_NONE};
    /* tuners remove what may be there */
    if (f) forget_file(s, f);
    return true;
}

bool tvm_list(tvm_server *s, tvm_object *self, const tvm_value *a, int32_t count,
              tvm_value *result) {
    (void)self;
    if (!tvm_check(s, "listdir", "s", a, count)) return false;
    if (*a[0].string && strcmp(a[0].string, ".") != 0 && strcmp(a[0].string, "/") != 0)
        return tvm_fail(s, "there are no folders, so no %.100s", a[0].string);
    char *names = wire_keep(&s->wire, MOST_FILES * FILE_NAME_BYTES);
    if (!names) return tvm_fail(s, "out of memory");
    char *at = names;
    *at = 0;
    for (int i = 0; i < MOST_FILES; i++)
        if (*s->files[i].name) at += sprintf(at, "%s%s", at == names ? "" : ",", s->files[i].name);
    *result = (tvm_value){.type = TVM_RAW_STRING, .string = names};
    return true;
}
