/* --call: one request without any web server. */
#include "serve/call.h"

#include "base/log.h"
#include "http/path_info.h"
#include "serve/cgi.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "NAME=VALUE" strings, with room for as many as a call can have. */
struct variables {
    char **items;
    size_t count;
};

static int add(struct variables *variables, const char *name, const char *value)
{
    char *item = NULL;
    if (asprintf(&item, "%s=%s", name, value) < 0)
        return -1;
    variables->items[variables->count++] = item;
    return 0;
}

/* "Accept-Language: de" becomes HTTP_ACCEPT_LANGUAGE=de (RFC 3875, section 4.1.18). */
static int add_header(struct variables *variables, const char *header)
{
    size_t n = strcspn(header, ":");
    const char *value = header + n + 1;
    value += strspn(value, " \t");
    char *name = malloc(n + 6);
    if (name == NULL)
        return -1;
    memcpy(name, "HTTP_", 5);
    for (size_t i = 0; i < n; i++) {
        char c = header[i];
        name[5 + i] = (char)(c == '-' ? '_' : toupper((unsigned char)c));
    }
    name[5 + n] = '\0';
    bool is_content =
        strcmp(name, "HTTP_CONTENT_TYPE") == 0 || strcmp(name, "HTTP_CONTENT_LENGTH") == 0;
    int result = add(variables, is_content ? name + 5 : name, value);
    free(name);
    return result;
}

static int add_fixed(struct variables *variables)
{
    static const char *const fixed[][2] = {
        {"GATEWAY_INTERFACE", "CGI/1.1"}, {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"SERVER_NAME", "localhost"},     {"SERVER_PORT", "80"},
        {"REMOTE_ADDR", "127.0.0.1"},     {"HTTP_HOST", "localhost"},
        {"SERVER_SOFTWARE", "fcgihost"},
    };
    for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
        if (add(variables, fixed[i][0], fixed[i][1]) < 0)
            return -1;
    return 0;
}

/* For a script_root: what a web server sends whose document root is that folder. 0: no such section
 * matches the path. -1: out of memory. */
static int add_script(struct variables *variables, const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->application_count; i++) {
        const struct config_application *application = &config->applications[i];
        const char *mount = application->mount != NULL ? application->mount : "";
        size_t n = strlen(mount);
        char *file;
        if (application->script_root == NULL || strncmp(path, mount, n) != 0 || path[n] != '/')
            continue;
        if (asprintf(&file, "%s%s", application->script_root, path + n) < 0)
            return -1;
        int result = add(variables, "SCRIPT_FILENAME", file);
        free(file);
        return result < 0 || add(variables, "SCRIPT_NAME", path) < 0 ? -1 : 1;
    }
    return 0;
}

static int add_path(struct variables *variables, const struct config *config, const char *uri)
{
    const char *query = strchr(uri, '?');
    char *path = malloc(strlen(uri) + 2);
    if (path == NULL)
        return -1;
    if (!path_info_decode_uri(uri, path))
        memcpy(path, uri, strlen(uri) + 1);
    int result = add_script(variables, config, path);
    if (result == 0 && (result = add(variables, "SCRIPT_NAME", "")) == 0)
        result = add(variables, "PATH_INFO", path);
    free(path);
    if (result < 0 || add(variables, "REQUEST_URI", uri) < 0)
        return -1;
    return add(variables, "QUERY_STRING", query != NULL ? query + 1 : "");
}

static int add_body(struct variables *variables, int body_fd)
{
    struct stat status;
    char length[24];
    if (fstat(body_fd, &status) < 0)
        return -1;
    if (!S_ISREG(status.st_mode))
        return add(variables, "HTTP_TRANSFER_ENCODING", "chunked");
    snprintf(length, sizeof(length), "%lld", (long long)status.st_size);
    return add(variables, "CONTENT_LENGTH", length);
}

static int collect(struct variables *variables, const struct command_line *line,
                   const struct config *config, int body_fd)
{
    if (add_fixed(variables) < 0 || add(variables, "REQUEST_METHOD", line->method) < 0 ||
        add_path(variables, config, line->call_path) < 0)
        return -1;
    if (body_fd >= 0 && (add(variables, "CONTENT_TYPE", "application/x-www-form-urlencoded") < 0 ||
                         add_body(variables, body_fd) < 0))
        return -1;
    for (size_t i = 0; i < line->header_count; i++)
        if (add_header(variables, line->headers[i]) < 0)
            return -1;
    return 0;
}

int call_run(const struct command_line *line, const struct config *config, int response_fd)
{
    int body_fd = -1;
    if (line->data_file != NULL)
        body_fd = strcmp(line->data_file, "-") == 0 ? STDIN_FILENO
                                                    : open(line->data_file, O_RDONLY | O_CLOEXEC);
    if (line->data_file != NULL && body_fd < 0) {
        log_error("call-data-unreadable", "--data \"%s\": %s", line->data_file, strerror(errno));
        return 1;
    }
    struct variables variables = {.items = calloc(line->header_count + 24, sizeof(char *))};
    int status = -1;
    if (variables.items != NULL && collect(&variables, line, config, body_fd) == 0)
        status = cgi_serve(config, variables.items, body_fd, response_fd);
    for (size_t i = 0; i < variables.count; i++)
        free(variables.items[i]);
    free(variables.items);
    return status >= 0 && status < 500 ? 0 : 1;
}
