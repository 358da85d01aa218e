#pragma once
#include <linux/poll.h>
#include <signal.h>
#include <time.h>

typedef unsigned int nfds_t;

int poll(struct pollfd *, nfds_t, int);
int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
