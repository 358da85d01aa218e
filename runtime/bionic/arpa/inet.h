#pragma once
#include <netinet/in.h>

int inet_pton(int, const char *, void *);
