#pragma once
#include <sys/types.h>

long syscall(long, ...);
