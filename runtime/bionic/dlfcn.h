#pragma once

/* RTLD_NOW was 0 on 32 bits, and still is. */
#if defined(__LP64__)
enum { RTLD_LOCAL = 0, RTLD_LAZY = 1, RTLD_NOW = 2, RTLD_GLOBAL = 0x100 };
#else
enum { RTLD_LOCAL = 0, RTLD_LAZY = 1, RTLD_NOW = 0, RTLD_GLOBAL = 2 };
#endif

void *dlopen(const char *, int);
void *dlsym(void *, const char *);
int dlclose(void *);
char *dlerror(void);
