/* JSON (RFC 8259) into a message. */
#ifndef AGENT_JSON_H
#define AGENT_JSON_H

#include "fields.h"

void json_raw(writer *w, const char *text);
void json_number(writer *w, long long number);
/* Quoted and escaped; NULL is an empty string. */
void json_string(writer *w, const char *text);

#endif
