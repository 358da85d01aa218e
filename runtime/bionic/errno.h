#pragma once
#include <linux/errno.h>

#define errno (*__errno())

int *__errno(void);
