/* How grave a message is. */
#ifndef FCGIHOST_LOG_LEVEL_H
#define FCGIHOST_LOG_LEVEL_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#endif
