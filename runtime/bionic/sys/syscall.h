#pragma once
#include <asm/unistd.h>

#define SYS_futex __NR_futex
