/* Where the system enters the program, and what the C library leaves to programs: without these no part of
 * it needs to be linked, only named. The stack holds argc, argv and the environment (System V ABI). */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

int main(int count, char **values);

#if defined(__ANDROID__)
/* bionic's libc/arch-common/bionic/crtbegin.c: its loader runs constructors itself, of which there are none. */
_Noreturn void __libc_init(void *stack, void (*at_exit)(void), int (*start)(int, char **),
                           void *const *arrays);

__attribute__((used)) static _Noreturn void enter(uintptr_t *stack, void (*finish)(void)) {
    static void *const arrays[8];
    (void)finish;
    __libc_init(stack, NULL, main, arrays);
}
#else
int __libc_start_main(int (*start)(int, char **), int count, char **values, void (*begin)(void),
                      void (*end)(void), void (*finish)(void), void *stack);
_Noreturn void _exit(int status);

__attribute__((used)) static _Noreturn void enter(uintptr_t *stack, void (*finish)(void)) {
    _exit(__libc_start_main(main, (int)stack[0], (char **)(stack + 1), NULL, NULL, finish, stack));
}

/* glibc before 2.33 has them only with a number of the struct's version in front. */
#if defined(__x86_64__)
enum { STAT_VERSION = 1 };
#elif defined(__arm__)
enum { STAT_VERSION = 3 };
#else
enum { STAT_VERSION = 0 };
#endif

int __xstat64(int version, const char *path, struct stat *found);
int __fxstat64(int version, int file, struct stat *found);
int __fxstatat64(int version, int folder, const char *path, struct stat *found, int flags);

int stat(const char *restrict path, struct stat *restrict found) {
    return __xstat64(STAT_VERSION, path, found);
}

int fstat(int file, struct stat *found) { return __fxstat64(STAT_VERSION, file, found); }

int fstatat(int folder, const char *restrict path, struct stat *restrict found, int flags) {
    return __fxstatat64(STAT_VERSION, folder, path, found, flags);
}
#endif

__asm__(".globl _start\n"
        ".type _start, %function\n"
        "_start:\n"
#if defined(__x86_64__)
        "xor %ebp, %ebp\n mov %rsp, %rdi\n mov %rdx, %rsi\n and $-16, %rsp\n call enter\n"
#elif defined(__aarch64__)
        "mov x29, #0\n mov x30, #0\n mov x1, x0\n mov x0, sp\n b enter\n"
#elif defined(__arm__)
        "mov fp, #0\n mov lr, #0\n mov r1, r0\n mov r0, sp\n b enter\n"
#elif defined(__riscv)
        "li ra, 0\n mv a1, a0\n mv a0, sp\n tail enter\n"
#endif
);
