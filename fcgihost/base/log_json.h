/* A message as a JSON object on one line, whatever bytes it has. */
#ifndef FCGIHOST_LOG_JSON_H
#define FCGIHOST_LOG_JSON_H

#include "base/log_line.h"

/* As log_line_append_bare: an object without a newline behind it. Bytes that are not UTF-8 become
 * \xff. */
void log_json_append(struct log_line *line, const struct log_origin *origin, const char *text,
                     size_t text_bytes);

#endif
