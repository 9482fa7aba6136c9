/* CGI meta-variables: turns what web servers send into what an application must get. */
#include "http/meta_variables.h"

#include "base/log.h"
#include "http/path_info.h"
#include "protocol/record.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

REQUEST_INLINE const struct param *find_not_empty(const struct request *request, const char *name)
{
    const struct param *param = request_find(request, name);
    return param != NULL && param->value_bytes > 0 ? param : NULL;
}

REQUEST_INLINE void drop(struct request *request, const char *name)
{
    struct param *param = (struct param *)(uintptr_t)request_find(request, name);
    if (param != NULL)
        param->is_dropped = true;
}

/* Many web servers send empty values for what they do not have. */
REQUEST_INLINE void drop_empty(struct request *request, const char *name)
{
    struct param *param = (struct param *)(uintptr_t)request_find(request, name);
    if (param != NULL && param->value_bytes == 0)
        param->is_dropped = true;
}

/* Caddy sends -1 for a chunked body. */
static bool is_length_unknown(const struct request *request, const struct param *length)
{
    const char *server = request_value(request, "SERVER_SOFTWARE");
    return strcmp(length->value, "-1") == 0 && server != NULL && strncmp(server, "Caddy/", 6) == 0;
}

void meta_read_content_length(struct request *request, uint64_t body_limit)
{
    request->body_limit = body_limit;
    request->content_length = request_number(request, "CONTENT_LENGTH");
}

bool meta_is_body_unlikely(const struct request *request)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"};
    const char *method = request_value(request, "REQUEST_METHOD");
    if (request->content_length >= 0 || method == NULL)
        return request->content_length < 0;
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (strcmp(method, methods[i]) == 0)
            return request_value(request, "HTTP_TRANSFER_ENCODING") == NULL;
    return false;
}

static bool is_length_bad(const struct request *request)
{
    const struct param *length = find_not_empty(request, "CONTENT_LENGTH");
    return request->content_length < 0 && length != NULL && !is_length_unknown(request, length);
}

static bool is_length_too_large(const struct request *request)
{
    return request->body_limit > 0 && request->content_length > 0 &&
           (uint64_t)request->content_length > request->body_limit;
}

bool meta_is_length_refused(const struct request *request)
{
    return is_length_bad(request) || is_length_too_large(request);
}

/* A body that came without its length, and has been taken in, has one now. */
static int set_content_length(struct request *request)
{
    enum { DIGITS = 20 };
    if (request->intake != INTAKE_DONE || request->content_length <= 0 ||
        request_number(request, "CONTENT_LENGTH") >= 0)
        return 0;
    char *text = arena_alloc(&request->arena, DIGITS + 1);
    if (text == NULL)
        return -1;
    snprintf(text, DIGITS + 1, "%lld", (long long)request->content_length);
    return request_set_param(request, "CONTENT_LENGTH", text);
}

const char *meta_url_scheme(const struct request *request)
{
    static const char *const yes[] = {"on", "1", "yes", "true", "https"};
    const char *https = request_value(request, "HTTPS");
    for (size_t i = 0; https != NULL && i < sizeof(yes) / sizeof(*yes); i++)
        if (strcasecmp(https, yes[i]) == 0)
            return "https";
    const char *scheme = request_value(request, "REQUEST_SCHEME");
    return scheme != NULL && strcasecmp(scheme, "https") == 0 ? "https" : "http";
}

/* HTTP_PROXY would set a proxy for the application's own requests (CVE-2016-5385); the other
 * headers concern the connection to the web server; the rest belongs to the environment of a server
 * process, not to a request. */
static void drop_unwanted(struct request *request)
{
    drop(request, "HTTP_CONTENT_TYPE");
    drop(request, "HTTP_CONTENT_LENGTH");
    drop(request, "HTTP_PROXY");
    drop(request, "HTTP_TRANSFER_ENCODING");
    drop(request, "PATH");
    drop(request, "LD_LIBRARY_PATH");
    drop(request, "TZ");
    drop_empty(request, "REMOTE_USER");
    drop_empty(request, "AUTH_TYPE");
    drop_empty(request, "REMOTE_IDENT");
    drop_empty(request, "HTTP_HOST");
    if (request->content_length < 0)
        drop(request, "CONTENT_LENGTH"); /* empty, or unknown */
}

/* The name without its port; an IPv6 address keeps its brackets. */
static int set_host_part(struct request *request, const struct param *param)
{
    const char *value = param->value, *bracket = strchr(value, ']');
    const char *colon = strchr(bracket != NULL ? bracket : value, ':');
    if (colon != NULL && bracket == NULL && strchr(colon + 1, ':') != NULL)
        colon = NULL; /* a bare IPv6 address */
    if (colon == NULL)
        return strcmp(param->name, "SERVER_NAME") == 0
                   ? 0
                   : request_set_param(request, "SERVER_NAME", value);
    size_t n = (size_t)(colon - value);
    char *host = arena_alloc(&request->arena, n + 1);
    if (host == NULL)
        return -1;
    memcpy(host, value, n);
    host[n] = '\0';
    return request_set_param(request, "SERVER_NAME", n > 0 ? host : "localhost");
}

static int complete_server_name(struct request *request)
{
    const struct param *source = find_not_empty(request, "SERVER_NAME");
    if (source == NULL)
        source = find_not_empty(request, "HTTP_HOST");
    if (source == NULL)
        source = find_not_empty(request, "SERVER_ADDR");
    if (source != NULL)
        return set_host_part(request, source);
    return request_set_param(request, "SERVER_NAME", "localhost");
}

/* Adds what PEP 3333 requires. */
static int complete(struct request *request)
{
    if (complete_server_name(request) < 0)
        return -1;
    if (find_not_empty(request, "SERVER_PORT") == NULL) {
        const char *port = strcmp(meta_url_scheme(request), "https") == 0 ? "443" : "80";
        if (request_set_param(request, "SERVER_PORT", port) < 0)
            return -1;
    }
    if (find_not_empty(request, "SERVER_PROTOCOL") == NULL &&
        request_set_param(request, "SERVER_PROTOCOL", "HTTP/1.0") < 0)
        return -1;
    if (request_find(request, "QUERY_STRING") == NULL &&
        request_set_param(request, "QUERY_STRING", "") < 0)
        return -1;
    return 0;
}

static const char *last_segment(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_file(const char *path, const void *unused)
{
    struct stat found;
    (void)unused;
    return stat(path, &found) == 0 && S_ISREG(found.st_mode);
}

/* Files that a web server runs: the script itself, which it may see in another folder, another
 * script, or the program that starts the host (mod_fcgid's ScriptAlias). A path may lead to any
 * other file by chance, or because a client wants it: /me.gif/x. */
static bool is_script_file(const char *path, const void *context)
{
    const struct path_route *route = context;
    struct stat found;
    if (route->script != NULL && strcmp(last_segment(path), last_segment(route->script)) == 0)
        return true;
    return stat(path, &found) == 0 && S_ISREG(found.st_mode) &&
           ((found.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0 ||
            path_info_has_extension(path, route->extensions));
}

/* Once for each process: it would be the same for every request. */
static void advise(const struct path_source *source, char *buffer)
{
    static atomic_bool has_advised;
    const char *prefix;
    if (atomic_load_explicit(&has_advised, memory_order_relaxed))
        return;
    enum path_advice advice = path_info_advise(source, buffer, &prefix);
    if (advice == PATH_ADVICE_NONE || atomic_exchange(&has_advised, true))
        return;
    int path_bytes = source->request_uri != NULL ? (int)strcspn(source->request_uri, "?#") : 0;
    if (advice == PATH_ADVICE_MOUNT)
        log_warning("front-hides-prefix",
                    "%.*s: the web server forwards what is below %s without naming this prefix, so "
                    "links lack it or have it twice: set [application] mount = %s (or mount = / if "
                    "the application's own routes begin with %s)",
                    path_bytes, source->request_uri, prefix, prefix, prefix);
    else if (advice == PATH_ADVICE_PREFIX_TWICE)
        log_warning("front-doubles-prefix",
                    "%.*s: the web server sends SCRIPT_NAME=%s and PATH_INFO=%s, both with the "
                    "prefix: set [application] mount = %s, or in nginx \"fastcgi_split_path_info "
                    "^(%s)(/.*)?$;\" and \"fastcgi_param PATH_INFO $fastcgi_path_info;\"",
                    path_bytes, source->request_uri, prefix, source->path_info, prefix, prefix);
    else if (advice == PATH_ADVICE_LIGHTTPD_ROOT)
        log_warning("lighttpd-root-script-name",
                    "lighttpd takes the first part of each path for SCRIPT_NAME: set "
                    "\"fix-root-scriptname\" => \"enable\" beside \"socket\" in its server for "
                    "\"/\", or [application] mount = /");
    else
        log_warning("lighttpd-trailing-slash",
                    "lighttpd splits paths wrongly below a prefix that ends with a slash: write "
                    "\"%s\" => instead of \"%s/\" =>, or set [application] mount = %s",
                    prefix, prefix, prefix);
}

static const struct path_route *find_automatic(const struct path_routes *routes)
{
    for (size_t i = 0; i < routes->count; i++)
        if (routes->items[i].mount == NULL)
            return &routes->items[i];
    return NULL;
}

/* NULL: the path is below no mount. */
static const struct path_route *choose_route(const struct path_source *source,
                                             const struct path_routes *routes, char *buffer,
                                             struct path_target *target)
{
    const struct path_route *route = path_info_choose(source, routes, buffer, target);
    if (route == NULL && (route = find_automatic(routes)) != NULL) {
        struct path_files files = {is_script_file, route};
        advise(source, buffer);
        path_info_split(source, route->program == PATH_SCRIPT ? &files : NULL, buffer, target);
    }
    if (route != NULL && route->program == PATH_SCRIPT_ROOT)
        path_info_script(source, &(struct path_files){.is_file = is_file}, buffer, target);
    return route;
}

bool meta_asks_authorizer(const struct request *request)
{
    const char *role = request_value(request, "FCGI_ROLE");
    return request->role == ROLE_RESPONDER && role != NULL && strcmp(role, "AUTHORIZER") == 0;
}

/* nginx's auth_request sends the client's REQUEST_URI: an authorizer may be mounted there too, but
 * it is not the one that is asked. */
static bool has_path_beside_uri(const struct path_source *source)
{
    return source->script_name != NULL || source->path_info != NULL || source->document_uri != NULL;
}

/* Changes only the request's arena. */
static enum meta_result find_route(struct request *request, const struct path_routes *routes,
                                   struct path_target *target, const struct path_route **route)
{
    struct path_source source = {
        .script_name = request_value(request, "SCRIPT_NAME"),
        .path_info = request_value(request, "PATH_INFO"),
        .request_uri = request_value(request, "REQUEST_URI"),
        .document_uri = request_value(request, "DOCUMENT_URI"),
        .script_filename = request_value(request, "SCRIPT_FILENAME"),
        .server_software = request_value(request, "SERVER_SOFTWARE"),
    };
    size_t n = path_info_buffer_bytes(&source);
    char *buffer = arena_alloc(&request->arena, 2 * n);
    if (buffer == NULL)
        return META_NO_MEMORY;
    char *spare = buffer + n;
    path_info_decode(&source, spare);
    if (request->is_question && has_path_beside_uri(&source))
        source.request_uri = NULL;
    *route = choose_route(&source, routes, buffer, target);
    if (*route == NULL)
        return META_NOT_MOUNTED;
    path_info_clean_root(target, spare);
    return META_FINE;
}

int meta_drop_body(struct request *request, const struct path_routes *routes)
{
    struct path_target target = {0};
    const struct path_route *route = NULL;
    if (request->content_length <= 0)
        return 0;
    if (!meta_asks_authorizer(request)) {
        if (!routes->some_take_no_body)
            return 0;
        if (find_route(request, routes, &target, &route) == META_NO_MEMORY)
            return -1;
        if (route == NULL || !route->takes_no_body)
            return 0;
    }
    request->content_length = 0;
    return request_set_param(request, "CONTENT_LENGTH", "0");
}

bool meta_is_streamed(struct request *request, const struct path_routes *routes)
{
    struct path_target target = {0};
    const struct path_route *route = NULL;
    if (!routes->some_stream || routes->all_stream)
        return routes->all_stream;
    return find_route(request, routes, &target, &route) == META_FINE && route->is_stream;
}

static enum meta_result map_path(struct request *request, const struct path_routes *routes)
{
    struct path_target target = {0};
    enum meta_result result = find_route(request, routes, &target, &request->route);
    if (result != META_FINE)
        return result;
    bool is_file_known = request->route->program == PATH_SCRIPT_ROOT && target.file != NULL;
    if (request_set_param(request, "SCRIPT_NAME", target.script_name) < 0 ||
        request_set_param(request, "PATH_INFO", target.path_info) < 0 ||
        (is_file_known && request_set_param(request, "SCRIPT_FILENAME", target.file) < 0))
        return META_NO_MEMORY;
    return META_FINE;
}

enum meta_result meta_prepare(struct request *request, const struct path_routes *routes)
{
    const struct param *method = find_not_empty(request, "REQUEST_METHOD");
    if (method == NULL)
        return META_NO_METHOD;
    request->is_head = strcmp(method->value, "HEAD") == 0;
    if (is_length_bad(request))
        return META_BAD_LENGTH;
    if (is_length_too_large(request))
        return META_TOO_LARGE;
    if (set_content_length(request) < 0)
        return META_NO_MEMORY;
    drop_unwanted(request);
    if (complete(request) < 0)
        return META_NO_MEMORY;
    return map_path(request, routes);
}
