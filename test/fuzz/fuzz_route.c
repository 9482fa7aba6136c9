/* Which application a request is for, and what of its path each sees: mounts and the parameters of
 * any web server in, the environment of an application out, checked against the rules of CGI and
 * PEP 3333.
 *
 * The input: mounts, one a line ("-" automatic, "/" the root, "!" before one: a folder of scripts),
 * an empty line ends them; then parameters, NAME=value. links: meta_variables.c path_info.c request.c
 * request_body.c spool.c descriptors.c arena.c reply.c response.c fork.c log.c
 * log_gather.c log_line.c log_json.c log_queue.c descriptor_file.c log_sink.c log_standard.c log_syslog.c own_file.c
 */
#include "fuzz.h"

#include "http/meta_variables.h"
#include "http/request.h"
#include "protocol/record.h"

enum { MOUNTS_MAX = 6, PARAMS_MAX = 60 };

struct routing {
    struct path_route items[MOUNTS_MAX];
    char *mounts[MOUNTS_MAX];
    size_t count;
};

/* The next line as a string of its own; NULL at the end. Free it. */
static char *take_line(const uint8_t **p, const uint8_t *end)
{
    if (*p >= end)
        return NULL;
    const uint8_t *newline = memchr(*p, '\n', (size_t)(end - *p));
    const uint8_t *line_end = newline != NULL ? newline : end;
    char *line = fuzz_text(*p, (size_t)(line_end - *p));
    *p = newline != NULL ? newline + 1 : end;
    return line;
}

/* As the configuration lets them pass: each once, with a slash before and none behind. */
static void add_mount(struct routing *routing, const char *line)
{
    bool is_root_of_scripts = line[0] == '!';
    const char *mount = line + is_root_of_scripts;
    if (strcmp(mount, "-") != 0 && strcmp(mount, "/") != 0 &&
        (mount[0] != '/' || mount[strlen(mount) - 1] == '/'))
        return;
    char *kept = strcmp(mount, "-") == 0 ? NULL : strdup(strcmp(mount, "/") == 0 ? "" : mount);
    for (size_t i = 0; i < routing->count; i++) {
        const char *other = routing->items[i].mount;
        if ((kept == NULL && other == NULL) ||
            (kept != NULL && other != NULL && strcmp(kept, other) == 0)) {
            free(kept);
            return;
        }
    }
    routing->mounts[routing->count] = kept;
    routing->items[routing->count] =
        (struct path_route){.mount = kept,
                            .program = is_root_of_scripts ? PATH_SCRIPT_ROOT : PATH_MODULE,
                            .extensions = ".py .wsgi",
                            .application = (unsigned)routing->count};
    routing->count++;
}

static bool is_below(const char *path, const char *mount)
{
    size_t n = strlen(mount);
    return strncmp(path, mount, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool is_token_of(const char *text, const char *characters)
{
    return text != NULL && text[0] != '\0' && strpbrk(text, characters) == NULL;
}

/* PEP 3333: what an application may rely on, and what must never reach it. */
static void check_environment(const struct request *request)
{
    static const char *const never[] = {"HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE",
                                        "HTTP_TRANSFER_ENCODING"};
    static const char *const never_empty[] = {"REMOTE_USER",   "AUTH_TYPE",   "REMOTE_IDENT",
                                              "SERVER_NAME",   "SERVER_PORT", "SERVER_PROTOCOL",
                                              "REQUEST_METHOD"};
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
        MUST(request_find(request, never[i]) == NULL);
    for (size_t i = 0; i < sizeof(never_empty) / sizeof(*never_empty); i++) {
        const char *value = request_value(request, never_empty[i]);
        MUST(value == NULL ? i < 3 : value[0] != '\0');
    }
    MUST(request_value(request, "QUERY_STRING") != NULL);
    const char *name = request_value(request, "SERVER_NAME"), *colon = strchr(name, ':');
    MUST(colon == NULL || strchr(name, ']') != NULL ||
         strchr(colon + 1, ':') != NULL); /* of an IPv6 address */
    MUST(is_token_of(meta_url_scheme(request), ":/"));
    MUST(request->content_length >= 0 || request_value(request, "CONTENT_LENGTH") == NULL);
}

static void check_paths(const struct request *request, const struct routing *routing)
{
    const char *script_name = request_value(request, "SCRIPT_NAME"),
               *path_info = request_value(request, "PATH_INFO");
    const struct path_route *route = request->route;
    MUST(script_name != NULL && path_info != NULL && route != NULL);
    if (script_name[0] == '\0') /* else its redirect to PATH_INFO leads to another server */
        MUST(path_info[0] == '/' && path_info[1] != '/');
    if (route->mount == NULL || route->program == PATH_SCRIPT_ROOT)
        return;
    MUST(strcmp(script_name, route->mount) == 0);
    MUST(path_info[0] == '\0' || path_info[0] == '/');
    char *path = malloc(strlen(script_name) + strlen(path_info) + 1);
    MUST(path != NULL);
    strcat(strcpy(path, script_name), path_info);
    for (size_t i = 0; i < routing->count; i++) {
        const char *other = routing->items[i].mount;
        MUST(other == NULL || strlen(other) <= strlen(route->mount) || !is_below(path, other));
    }
    free(path);
}

static bool has_fallback(const struct routing *routing)
{
    for (size_t i = 0; i < routing->count; i++)
        if (routing->items[i].mount == NULL)
            return true;
    return false;
}

static void check(struct request *request, const struct routing *routing)
{
    struct path_routes routes = {.items = routing->items, .count = routing->count};
    request->role = ROLE_RESPONDER;
    meta_read_content_length(request, 1000);
    bool is_method = request_value(request, "REQUEST_METHOD") != NULL &&
                     request_value(request, "REQUEST_METHOD")[0] != '\0';
    enum meta_result result = meta_prepare(request, &routes);
    MUST(is_method || result == META_NO_METHOD);
    MUST(result != META_NO_MEMORY);
    MUST(result != META_TOO_LARGE || request->content_length > 1000);
    MUST(result != META_NOT_MOUNTED || !has_fallback(routing));
    if (result != META_FINE)
        return;
    MUST(request->content_length <= 1000);
    check_environment(request);
    check_paths(request, routing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct request *request;
    if (request == NULL)
        MUST(request_seed_hash() == 0 && (request = request_new()) != NULL);
    struct routing routing = {.count = 0};
    char *lines[PARAMS_MAX];
    size_t count = 0;
    const uint8_t *p = data, *end = data + n;
    for (char *line; (line = take_line(&p, end)) != NULL; free(line)) {
        if (line[0] == '\0') {
            free(line);
            break;
        }
        if (routing.count < MOUNTS_MAX)
            add_mount(&routing, line);
    }
    while (count < PARAMS_MAX && (lines[count] = take_line(&p, end)) != NULL) {
        char *separator = strchr(lines[count], '=');
        if (separator != NULL && separator > lines[count]) {
            *separator = '\0';
            MUST(request_add_param(request, lines[count], strlen(lines[count]), separator + 1,
                                   strlen(separator + 1)) == 0);
        }
        count++;
    }
    check(request, &routing);
    request_reset(request);
    while (count > 0)
        free(lines[--count]);
    for (size_t i = 0; i < routing.count; i++)
        free(routing.mounts[i]);
    return 0;
}
