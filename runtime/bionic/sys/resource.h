#pragma once
#include <sys/types.h>

typedef unsigned long rlim_t;

struct rlimit {
    rlim_t rlim_cur, rlim_max;
};

enum { RLIMIT_CORE = 4, RLIMIT_NOFILE = 7, RLIMIT_AS = 9 };

int getrlimit(int, struct rlimit *);
int setrlimit(int, const struct rlimit *);
