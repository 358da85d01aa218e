/* Structs that begin with struct_size, of older and newer callers. */
#include <string.h>

#include "instance.h"

/* A size beyond this is a struct_size that nobody set. */
enum { LARGEST_STRUCT = 4096 };

static size_t size_of(const void *s) {
    size_t size;
    memcpy(&size, s, sizeof size);
    return size >= sizeof size && size <= LARGEST_STRUCT ? size : 0;
}

armlet_status give(void *to, const void *from, size_t size) {
    size_t room = to ? size_of(to) : 0, head = sizeof(size_t);
    if (!room) return ARMLET_ERROR_ARGUMENT;
    size_t shared = room < size ? room : size;
    memcpy((char *)to + head, (const char *)from + head, shared - head);
    memset((char *)to + shared, 0, room - shared);
    return ARMLET_OK;
}

armlet_status take(void *to, const void *from, size_t size) {
    size_t given = size_of(from);
    if (!given) return ARMLET_ERROR_ARGUMENT;
    memset(to, 0, size);
    memcpy(to, from, given < size ? given : size);
    for (size_t i = size; i < given; i++)
        if (((const char *)from)[i]) return ARMLET_ERROR_ARGUMENT;
    return ARMLET_OK;
}
