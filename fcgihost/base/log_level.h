/* How grave a message is, and how it is written. */
#ifndef FCGIHOST_LOG_LEVEL_H
#define FCGIHOST_LOG_LEVEL_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

#endif
