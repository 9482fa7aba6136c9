/* An ini file: it is read, or there is one line that says why not.
 * links: config_load.c config_application.c config_environment.c config_error.c config_file.c
 * settings_table.c config_assignment.c config_text.c config_value.c address.c */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "config/config_application.h"
#include "config/config_file.h"
#include "config/config_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    MUST(fd >= 0);
    MUST(ftruncate(fd, 0) == 0);
    MUST(pwrite(fd, data, n, 0) == (ssize_t)n);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct config config;
    struct config_error error;
    MUST(config_init(&config, &error) == 0);
    memset(&error, 0, sizeof(error));
    if (config_read_file(&config, path, &error) == 0)
        config_check(&config, &error);
    else
        MUST(error.message[0] != '\0' && strchr(error.message, '\n') == NULL);
    config_clear(&config);
    return 0;
}
