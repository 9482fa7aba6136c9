/* A message on its way to where the log goes. */
#ifndef FCGIHOST_LOG_RECORD_H
#define FCGIHOST_LOG_RECORD_H

#include "base/log_line.h"

#include <stdbool.h>
#include <stddef.h>

struct log_record {
    struct log_record *next;
    struct log_origin origin;
    size_t bytes, done; /* of the text; how much of it is written */
    char text[];        /* with prefixes and a newline; for syslog without both */
};

/* What became of a try to write it. */
enum log_sink_result { LOG_SINK_DONE, LOG_SINK_WAIT, LOG_SINK_FAILED };

#endif
