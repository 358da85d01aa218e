/* The process that listens: one forked process for each connection, none of whose words it reads. */
#ifndef AGENT_SUPERVISOR_H
#define AGENT_SUPERVISOR_H

#include "session.h"
#include "tracker.h"

/* Serves until SIGTERM or SIGINT, then ends all sessions. `tracker` may be NULL. */
void supervise(const settings *settings, int listener, tracker *tracker);

/* Removes a folder and what is in it, never following a link. */
void remove_folder(const char *path);

#endif
