#define _GNU_SOURCE
#include "json.h"

#include <stdio.h>

enum { MOST_TEXT = 4096 };

void json_raw(writer *w, const char *text) { write_raw(w, text, strlen(text)); }

void json_number(writer *w, long long number) {
    char text[24];
    snprintf(text, sizeof text, "%lld", number);
    json_raw(w, text);
}

void json_string(writer *w, const char *text) {
    size_t size = text ? strnlen(text, MOST_TEXT) : 0;
    json_raw(w, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8] = {(char)c};
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c < ' ')
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        json_raw(w, escaped);
    }
    json_raw(w, "\"");
}
