#pragma once
#include <sys/socket.h>
#include <linux/in.h>
#include <linux/in6.h>

#define s6_addr in6_u.u6_addr8
#define htons(x) __builtin_bswap16(x)
#define ntohs(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)
#define ntohl(x) __builtin_bswap32(x)
