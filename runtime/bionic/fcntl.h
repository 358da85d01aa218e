#pragma once
#include <linux/fcntl.h>
#include <sys/types.h>

int open(const char *, int, ...);
int openat(int, const char *, int, ...);
int fcntl(int, int, ...);
