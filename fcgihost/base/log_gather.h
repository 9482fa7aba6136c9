/* Messages of the host's own that a peer can cause as often as it likes: beyond the first few in a
 * second they become one line that counts them. */
#ifndef FCGIHOST_LOG_GATHER_H
#define FCGIHOST_LOG_GATHER_H

#include "base/log_level.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOG_GATHER_FIRST = 100 /* of one event, in one second, are written */ };

/* What was left out of an event in a second that is over. */
struct log_gathered {
    const char *event; /* NULL: nothing */
    enum log_level level;
    unsigned long long count;
};

/* A message of that event, a literal, is at hand. false: it is counted instead of being written.
 * over: what was left out before it, to be told first. now_ms: by clock_ms(). Any thread; never
 * blocks for long. */
bool log_gather_admit(const char *event, enum log_level level, uint64_t now_ms,
                      struct log_gathered *over);
/* Another event of which something was left out, in a second that is over; with is_every in this
 * one, too. false: there is none. */
bool log_gather_take(uint64_t now_ms, bool is_every, struct log_gathered *over);

#endif
