/* The text of a file, read whole: a program that is executed anew goes on with what was read. */
#ifndef FCGIHOST_CONFIG_TEXT_H
#define FCGIHOST_CONFIG_TEXT_H

#include <stddef.h>

/* The file's content, NUL-terminated, for the caller to free. NULL with errno: EISDIR for a folder,
 * which opens like a file, EFBIG for more than 1 MiB. */
char *config_text_read(const char *path, size_t *bytes);

#endif
