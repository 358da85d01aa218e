#pragma once
#include <stddef.h>
#include <stdint.h>

typedef long ssize_t;
typedef int pid_t;
typedef long time_t;
typedef int clockid_t;
typedef long off_t;
typedef uint32_t id_t;
typedef uint32_t useconds_t;
typedef long suseconds_t;
#if defined(__LP64__)
typedef uint32_t mode_t;
#else
typedef uint16_t mode_t;
#endif
