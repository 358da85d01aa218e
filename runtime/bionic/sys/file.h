#pragma once

#include <linux/fcntl.h> /* LOCK_EX and such */

int flock(int, int);
