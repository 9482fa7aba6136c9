/* Checks a virtual environment before Python starts with it. */
#include "embed/py_support.h"

#include "interpreter/py_home.h"

#include "build_facts.h"
#include "config/config_load.h"
#include "interpreter/py_interpreter.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From its pyvenv.cfg. */
struct venv {
    char version[64];
    char home[PATH_MAX]; /* the folder of the python3 that it was made with */
};

__attribute__((format(printf, 3, 4))) static int
fail(const struct config *config, struct config_error *error, const char *format, ...)
{
    char why[CONFIG_MESSAGE_SIZE / 2], place[PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    config_describe_place(config, "python", "home", place, sizeof(place));
    config_error_set(error, "%s[python] home \"%.200s\": %s", place, config->home, why);
    return config_blame(config, "python", "home", error);
}

/* The value of a key of pyvenv.cfg, or an empty text. */
static void read_venv_key(FILE *file, const char *wanted, char *value, size_t value_bytes)
{
    char line[PATH_MAX + 64], key[32];
    value[0] = '\0';
    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *separator = strchr(line, '=');
        if (separator == NULL || sscanf(line, "%31[a-z-_]", key) != 1 || strcmp(key, wanted) != 0)
            continue;
        char *start = separator + 1 + strspn(separator + 1, " \t");
        start[strcspn(start, "\r\n")] = '\0';
        snprintf(value, value_bytes, "%s", start);
    }
}

static int read_venv(const struct config *config, struct venv *venv, struct config_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/pyvenv.cfg", config->home);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fail(
            config, error,
            "not a virtual environment: it has no pyvenv.cfg (%s); make one with `%s -m venv DIR`",
            strerror(errno), FCGIHOST_PYTHON);
    read_venv_key(file, "version", venv->version, sizeof(venv->version));
    if (venv->version[0] == '\0')
        read_venv_key(file, "version_info", venv->version, sizeof(venv->version));
    read_venv_key(file, "home", venv->home, sizeof(venv->home));
    fclose(file);
    return 0;
}

static size_t parent_length(const char *folder, size_t length)
{
    while (length > 0 && folder[length - 1] != '/')
        length--;
    while (length > 0 && folder[length - 1] == '/')
        length--;
    return length;
}

/* Finds the standard library as Python does: from the folder of the program upwards. */
static bool find_library(const char *folder, struct stat *library)
{
    static const char *const names[] = {"lib", "lib64"};
    char path[PATH_MAX + 64];
    size_t length = strlen(folder);
    for (;;) {
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
            snprintf(path, sizeof(path), "%.*s/%s/python%d.%d/os.py", (int)length, folder, names[i],
                     PY_MAJOR_VERSION, PY_MINOR_VERSION);
            if (stat(path, library) == 0)
                return true;
        }
        if (length == 0)
            return false;
        length = parent_length(folder, length);
    }
}

/* The standard library of the linked Python; the name of its program may be a link. */
static bool find_own_library(struct stat *library)
{
    char *program = realpath(FCGIHOST_PYTHON, NULL);
    if (program == NULL)
        return false;
    program[parent_length(program, strlen(program))] = '\0';
    bool is_found = find_library(program, library);
    free(program);
    return is_found;
}

/* Two builds of the same version have separate standard libraries, whose extensions (ssl, sqlite3)
 * work only with their own build. The libraries are compared, not the names of the folders, as many
 * names lead to one library: links, /bin for /usr/bin, a venv made by another venv's python. If
 * none is found from this folder, Python uses that of the linked one. */
static bool is_own_library(const char *home)
{
    struct stat own, library;
    return !find_library(home, &library) || !find_own_library(&own) ||
           (own.st_dev == library.st_dev && own.st_ino == library.st_ino);
}

static int check_python(const struct config *config, const struct venv *venv,
                        struct config_error *error)
{
    int major = 0, minor = 0;
    if (sscanf(venv->version, "%d.%d", &major, &minor) != 2 || major != PY_MAJOR_VERSION ||
        minor != PY_MINOR_VERSION)
        return fail(config, error,
                    "a virtual environment of Python %.20s, but this program runs Python %d.%d: "
                    "make one with `%s -m venv DIR`, or build fcgihost with that Python",
                    venv->version[0] != '\0' ? venv->version : "(unknown)", PY_MAJOR_VERSION,
                    PY_MINOR_VERSION, FCGIHOST_PYTHON);
    if (!is_own_library(venv->home))
        return fail(config, error,
                    "a virtual environment of the Python %.20s in %.300s, but this program runs "
                    "the %s of %s, and extensions built for one don't work with the other: make "
                    "one with `%s -m venv DIR`, or build fcgihost with make PYTHON=%.300s/python3",
                    venv->version, venv->home, py_interpreter_version(), FCGIHOST_PYTHON,
                    FCGIHOST_PYTHON, venv->home);
    return 0;
}

int py_home_check(const struct config *config, struct config_error *error)
{
    char path[PATH_MAX];
    struct venv venv = {0};
    if (config->home == NULL)
        return 0;
    if (read_venv(config, &venv, error) < 0 || check_python(config, &venv, error) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/bin/python3", config->home);
    if (access(path, X_OK) < 0)
        return fail(config, error,
                    "its bin/python3 is missing or can't be run: make the environment again");
    return 0;
}
