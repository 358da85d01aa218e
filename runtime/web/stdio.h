#ifndef ARMLET_WEB_STDIO_H
#define ARMLET_WEB_STDIO_H

#include <stdarg.h>
#include <stddef.h>

int vsnprintf(char *text, size_t room, const char *format, va_list arguments);
int snprintf(char *text, size_t room, const char *format, ...);

#endif
