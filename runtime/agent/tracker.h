/* Registration at a TVM tracker, again after each loss; never blocks the caller. */
#ifndef AGENT_TRACKER_H
#define AGENT_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tracker tracker;

/* `place` is HOST:PORT/KEY, whose host is looked up here and now. `port` is the agent's. NULL, and a
 * sentence in `*why`, if that cannot be a tracker. */
tracker *tracker_start(const char *place, uint16_t port, const char **why);

/* What the supervisor's poll waits for: a file (-1: none), its events, and until when (-1: for ever); then
 * `tracker_work`, also when the time is over. */
int tracker_file(const tracker *t, short *events, int *timeout_ms);
void tracker_work(tracker *t, short events);

/* What a TVM client may say: match keys, with spaces between. The one before the last is good still, as
 * its client may be on the way. */
const char *tracker_match_keys(const tracker *t);

/* Whether sessions are being served, of any protocol. When none is any more, the device is offered again if the
 * tracker gave it away. */
void tracker_busy(tracker *t, bool busy);

#endif
