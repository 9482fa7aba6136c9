/* Notices that the system's Python was updated and the one in this program was not. Knows no
 * Python. */
#ifndef FCGIHOST_PYTHON_UPDATE_H
#define FCGIHOST_PYTHON_UPDATE_H

#include <stdbool.h>

/* Is the program at the path another file than at the build? stamp: its size and time then,
 * "6839896-1714305131"; empty if it does not matter. A program that can't be read says nothing. */
bool python_update_is_due(const char *path, const char *stamp);
/* One warning if so, where Python is part of this program. */
void python_update_warn(void);

#endif
