/* Notices that the system's Python was updated and the one in this program was not. */
#include "interpreter/python_update.h"

#include "base/log.h"
#include "build_facts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Versions don't tell: distributions mend a Python without changing its number. */
bool python_update_is_due(const char *path, const char *stamp)
{
    char now[64];
    struct stat status;
    if (stamp[0] == '\0' || stat(path, &status) < 0)
        return false;
    snprintf(now, sizeof(now), "%lld-%lld", (long long)status.st_size, (long long)status.st_mtime);
    return strcmp(now, stamp) != 0;
}

void python_update_warn(void)
{
    if (python_update_is_due(FCGIHOST_PYTHON, FCGIHOST_PYTHON_STAMP))
        log_warning("python-updated",
                    "%s has changed since this program was built, which contains a copy of it: "
                    "rebuild and reinstall fcgihost to get the fixes (make PYTHON_LINK=shared uses "
                    "the system's library instead)",
                    FCGIHOST_PYTHON);
}
