/* Runs one kernel so that an estimator of cycles sees it by itself.
 *
 *     arm_kernel LIBRARY FUNCTION EXTENT STEPS SCRATCH RESULT BYTES [INPUT…]
 *
 * INPUT is a file of an operand: `+file` of a value that was just computed, `=file` of a constant
 * that has not been read for long. The first lap (system call 9901) brings the values into the
 * caches, as the kernel before has left them; each of the next does STEPS of the EXTENT, two of
 * them at most. The result, 0xFF where it was not computed, goes to a file with what lies behind it.
 * All data lie at fixed addresses, one after the other, so that estimates repeat. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { INPUTS = 64, LINE = 64, GUARD = 4096, PATIENCE = 300 };
static const size_t ROOM = (size_t)1 << 31;

static char *free_room;

static char *place(size_t bytes) {
    char *at = free_room;
    free_room += (bytes + GUARD + LINE - 1) / LINE * LINE;
    memset(at, 0xFF, bytes + GUARD);
    return at;
}

static size_t read_all(const char *path, char **data) {
    FILE *file = fopen(path, "rb");
    if (!file) exit(2);
    fseek(file, 0, SEEK_END);
    size_t bytes = ftell(file);
    rewind(file);
    *data = place(bytes);
    if (fread(*data, 1, bytes, file) != bytes) exit(2);
    fclose(file);
    return bytes;
}

static void touch(const char *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += LINE) (void)*(const volatile char *)(data + i);
}

int main(int argc, char **argv) {
    void *library = argc > 7 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) return puts(argc > 7 ? dlerror() : "usage"), 1;
    void (*code)(void *const *, int32_t, int32_t, void *);
    *(void **)&code = dlsym(library, argv[2]);
    int32_t extent = atoi(argv[3]), steps = atoi(argv[4]), done = 0;
    size_t scratch_bytes = atol(argv[5]), bytes = atol(argv[7]), sizes[INPUTS];
    void *base = (void *)((uintptr_t)1 << 32);
    free_room = mmap(base, ROOM, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (free_room != base) return 2;
    char *pointers[INPUTS + 1];
    int inputs = argc - 8;
    for (int i = 0; i < inputs; i++) sizes[i] = read_all(argv[8 + i] + 1, &pointers[i]);
    char *out = pointers[inputs] = place(bytes), *scratch = place(scratch_bytes);

    alarm(PATIENCE);
    syscall(9901);
    touch(out, bytes);
    for (int i = 0; i < inputs; i++)
        if (argv[8 + i][0] == '+') touch(pointers[i], sizes[i]);
    for (int lap = 0; lap < 2 && done + steps <= extent; lap++, done += steps) {
        syscall(9901);
        code((void *const *)pointers, done, done + steps, scratch);
    }
    syscall(9902);

    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)scratch[scratch_bytes + i] != 0xFF) return 3;
    FILE *file = fopen(argv[6], "wb");
    return !file || fwrite(out, 1, bytes + GUARD, file) != bytes + GUARD || fclose(file) ? 2 : 0;
}
