#pragma once
#include <sys/types.h>

typedef unsigned long sigset_t;

enum { SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 };

int sigfillset(sigset_t *);
