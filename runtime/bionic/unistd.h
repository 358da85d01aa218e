#pragma once
#include <sys/types.h>

int close(int);
ssize_t read(int, void *, size_t);
long syscall(long, ...);
