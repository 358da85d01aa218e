#pragma once
#include <sys/types.h>

enum { STDIN_FILENO = 0, STDOUT_FILENO = 1, STDERR_FILENO = 2 };
enum { SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2 };
enum { _SC_PAGESIZE = 0x27, _SC_NPROCESSORS_CONF = 0x60, _SC_PHYS_PAGES = 0x62, _SC_AVPHYS_PAGES = 0x63 };

_Noreturn void _exit(int);
int close(int);
pid_t fork(void);
int ftruncate(int, off_t);
pid_t getpid(void);
pid_t getppid(void);
ssize_t pread(int, void *, size_t, off_t);
ssize_t pwrite(int, const void *, size_t, off_t);
ssize_t read(int, void *, size_t);
int rmdir(const char *);
int setpgid(pid_t, pid_t);
unsigned int sleep(unsigned int);
long syscall(long, ...);
long sysconf(int);
int unlink(const char *);
int unlinkat(int, const char *, int);
int usleep(useconds_t);
ssize_t write(int, const void *, size_t);
