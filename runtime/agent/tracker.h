/* Registration at a TVM tracker, again after each loss; never blocks the caller. */
#ifndef AGENT_TRACKER_H
#define AGENT_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tracker tracker;

/* `place` is HOST:PORT/KEY. NULL if it is not. `port` is the agent's. */
tracker *tracker_start(const char *place, uint16_t port);

/* What the supervisor's poll waits for: a file, its events, and until when; then `tracker_work`. */
int tracker_file(const tracker *t, short *events, int *timeout_ms);
void tracker_work(tracker *t, short events);

/* What a client that the tracker has sent says; "" before registration. A session has ended: there is
 * a new one. */
const char *tracker_match_key(const tracker *t);
void tracker_free_again(tracker *t);

#endif
