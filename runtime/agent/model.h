/* An artifact in a process of its own: the requests `open` to `selftest`. */
#ifndef AGENT_MODEL_H
#define AGENT_MODEL_H

#include "session.h"

bool model_open(session *s, reader *r);
bool model_close(session *s, reader *r);
bool model_input(session *s, reader *r);
bool model_run(session *s, reader *r);
bool model_bench(session *s, reader *r);
bool model_profile(session *s, reader *r);
bool model_observe(session *s, reader *r);
bool model_selftest(session *s, reader *r);
/* Whether any is open. */
bool model_any(void);

#endif
