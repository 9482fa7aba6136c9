/* Works out SCRIPT_NAME and PATH_INFO from what the web server sent. */
#include "http/path_info.h"

#include <string.h>

static size_t length(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

size_t path_info_buffer_bytes(const struct path_source *source)
{
    return length(source->request_uri) + length(source->script_name) + length(source->path_info) +
           2 * length(source->script_filename) + 4;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Up to '?' or '#'. A '%' without two digits stays. false: a NUL was encoded. */
static bool decode(const char *p, char *out)
{
    while (*p != '\0' && *p != '?' && *p != '#') {
        int high = *p == '%' ? hex_digit(p[1]) : -1;
        int low = high >= 0 ? hex_digit(p[2]) : -1;
        if (low < 0) {
            *out++ = *p++;
            continue;
        }
        *out = (char)(high << 4 | low);
        if (*out++ == '\0')
            return false;
        p += 3;
    }
    *out = '\0';
    return true;
}

/* Merges slashes and resolves dots (RFC 3986, section 5.2.4), in place. path begins with '/'. */
static void normalise(char *path)
{
    char *out = path;
    const char *p = path;
    while (*p != '\0') {
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        bool is_dot = n == 1 && p[0] == '.';
        bool is_up = n == 2 && p[0] == '.' && p[1] == '.';
        if (is_up) {
            while (out > path && *--out != '/')
                continue;
        } else if (!is_dot && n > 0) {
            *out++ = '/';
            memmove(out, p, n);
            out += n;
        }
        p += n;
        if (*p == '\0' && (n == 0 || is_dot || is_up))
            *out++ = '/';
    }
    if (out == path)
        *out++ = '/';
    *out = '\0';
}

bool path_info_decode_uri(const char *request_uri, char *out)
{
    const char *p = request_uri;
    if (*p != '/') {
        const char *authority = strstr(p, "://");
        if (authority == NULL || strcspn(p, "/?#") < (size_t)(authority - p))
            return false;
        authority += 3;
        p = authority + strcspn(authority, "/?#");
        if (*p != '/') {
            memcpy(out, "/", 2);
            return true;
        }
    }
    if (!decode(p, out))
        return false;
    normalise(out);
    return true;
}

/* Are they the same once the slashes of a are merged? b has none to merge. */
static bool equals_merged(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        if (*a == '/')
            while (a[1] == '/')
                a++;
        a++;
        b++;
    }
    return *a == *b;
}

/* joined: room for SCRIPT_NAME and PATH_INFO. uri_path: NULL if there is none. */
static const char *full_path(const struct path_source *source, const char *uri_path, char *joined)
{
    const char *script_name = source->script_name, *path_info = source->path_info;
    if (script_name == NULL && path_info == NULL) {
        if (source->document_uri != NULL && source->document_uri[0] == '/')
            return source->document_uri;
        return uri_path != NULL ? uri_path : "";
    }
    size_t n = length(script_name);
    memcpy(joined, script_name != NULL ? script_name : "", n);
    memcpy(joined + n, path_info != NULL ? path_info : "", length(path_info) + 1);
    if (uri_path == NULL || equals_merged(joined, uri_path))
        return joined;
    if (script_name != NULL && equals_merged(script_name, uri_path))
        return script_name;
    return path_info != NULL && equals_merged(path_info, uri_path) ? path_info : joined;
}

static bool is_below(const char *path, const char *mount, size_t mount_bytes)
{
    return strncmp(path, mount, mount_bytes) == 0 &&
           (path[mount_bytes] == '\0' || path[mount_bytes] == '/');
}

/* The longest mount that fits, except the root. path may be NULL. */
static const struct path_route *find_mount(const struct path_routes *routes, const char *path)
{
    const struct path_route *best = NULL;
    size_t best_bytes = 0;
    for (size_t i = 0; path != NULL && i < routes->count; i++) {
        const struct path_route *route = &routes->items[i];
        size_t n = length(route->mount);
        if (n > best_bytes && is_below(path, route->mount, n)) {
            best = route;
            best_bytes = n;
        }
    }
    return best;
}

static const struct path_route *find_root(const struct path_routes *routes)
{
    for (size_t i = 0; i < routes->count; i++)
        if (routes->items[i].mount != NULL && routes->items[i].mount[0] == '\0')
            return &routes->items[i];
    return NULL;
}

const struct path_route *path_info_choose(const struct path_source *source,
                                        const struct path_routes *routes, char *buffer,
                                        struct path_target *target)
{
    char *uri_path = buffer, *joined = buffer + length(source->request_uri) + 1;
    if (source->request_uri == NULL || !path_info_decode_uri(source->request_uri, uri_path))
        uri_path = NULL;
    const char *path = full_path(source, uri_path, joined);
    const struct path_route *route = find_mount(routes, path);
    if (route == NULL && (route = find_mount(routes, uri_path)) != NULL)
        path = uri_path;
    if (route == NULL && (route = find_root(routes)) == NULL)
        return NULL;
    *target =
        (struct path_target){.script_name = route->mount, .path_info = path + strlen(route->mount)};
    return route;
}

bool path_info_mount(const struct path_source *source, const char *mount, char *buffer,
                   struct path_target *target)
{
    const struct path_routes routes = {.items = &(struct path_route){.mount = mount}, .count = 1};
    return path_info_choose(source, &routes, buffer, target) != NULL;
}

/* How many parts of a path are tried as the file: its length is the client's choice. */
enum { FOLDERS_MAX = 64 };

/* A proxy's URL begins so: "proxy:fcgi://host:port". */
static const char *skip_proxy(const char *script_filename)
{
    const char *authority =
        strncmp(script_filename, "proxy:", 6) == 0 ? strstr(script_filename + 6, "://") : NULL;
    if (authority == NULL)
        return script_filename;
    authority += 3;
    return authority + strcspn(authority, "/?#");
}

/* Cuts path after the file in it, and copies the rest to tail. */
static bool cut_at_file(char *path, const struct path_files *files, char *tail)
{
    size_t whole = strlen(path), n = whole;
    memcpy(tail, path, whole + 1);
    for (int i = 0; n > 0 && i < FOLDERS_MAX; i++) {
        path[n] = '\0';
        if (files->is_file(path, files->context)) {
            memmove(tail, tail + n, whole - n + 1);
            return true;
        }
        while (n > 0 && path[--n] != '/')
            continue;
    }
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), end_bytes = strlen(end);
    return n >= end_bytes && strcmp(text + n - end_bytes, end) == 0;
}

bool path_info_decode(struct path_source *source, char *buffer)
{
    size_t name_bytes = length(source->script_name), info_bytes = length(source->path_info);
    if (info_bytes == 0 || source->script_name == NULL || source->request_uri == NULL ||
        strchr(source->path_info, '%') == NULL)
        return false;
    char *path_info = buffer, *path = buffer + info_bytes + 1;
    if (!decode(source->path_info, path_info) || strcmp(path_info, source->path_info) == 0 ||
        !path_info_decode_uri(source->request_uri, path) || !ends_with(path, path_info))
        return false;
    /* The path ends with path_info; SCRIPT_NAME must be what is before that, or longer. */
    size_t prefix_bytes = strlen(path) - strlen(path_info);
    if (name_bytes < prefix_bytes || strncmp(path, source->script_name, name_bytes) != 0)
        return false;
    path[prefix_bytes] = '\0';
    source->script_name = path;
    source->path_info = path_info;
    return true;
}

void path_info_clean_root(struct path_target *target, char *buffer)
{
    const char *path_info = target->path_info;
    if (target->script_name[strspn(target->script_name, "/")] != '\0')
        return;
    target->script_name = "";
    path_info += strspn(path_info, "/");
    if (path_info > target->path_info) {
        target->path_info = path_info - 1;
        return;
    }
    memmove(buffer + 1, path_info, strlen(path_info) + 1);
    buffer[0] = '/';
    target->path_info = buffer;
}

/* The file of SCRIPT_FILENAME and what follows it. A proxy's URL is percent-encoded, unless it was
 * made from a file's name. */
static bool find_file(const char *script_filename, const struct path_files *files, char *file,
                      char *tail)
{
    const char *path = skip_proxy(script_filename);
    bool is_proxy = path != script_filename;
    while (path[0] == '/' && path[1] == '/')
        path++;
    memcpy(file, path, strlen(path) + 1);
    if (cut_at_file(file, files, tail))
        return true;
    return is_proxy && decode(path, file) && cut_at_file(file, files, tail);
}

bool path_info_has_extension(const char *path, const char *extensions)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t name_bytes = strlen(name);
    while (extensions != NULL && *extensions != '\0') {
        size_t n = strcspn(extensions, " ");
        if (n > 0 && name_bytes > n && memcmp(name + name_bytes - n, extensions, n) == 0)
            return true;
        extensions += n + strspn(extensions + n, " ");
    }
    return false;
}

/* Is the tail, as it is or decoded, at the end of SCRIPT_NAME? Then that is cut off. */
static bool move_tail(char *script_name, char *tail)
{
    if (!ends_with(script_name, tail) && (!decode(tail, tail) || !ends_with(script_name, tail)))
        return false;
    script_name[strlen(script_name) - strlen(tail)] = '\0';
    return true;
}

bool path_info_script(const struct path_source *source, const struct path_files *files, char *buffer,
                    struct path_target *target)
{
    size_t n = length(source->script_filename);
    char *file = buffer, *tail = file + n + 1, *script_name = tail + n + 1;
    char *uri_path = script_name + length(source->script_name) + 1;
    if (n == 0)
        return false;
    if (!find_file(source->script_filename, files, file, tail)) {
        target->file = tail;
        return false;
    }
    memcpy(script_name, source->script_name != NULL ? source->script_name : "",
           length(source->script_name) + 1);
    *target = (struct path_target){script_name, "", file};
    if (length(source->path_info) > 0)
        target->path_info = source->path_info;
    else if (*tail != '\0')
        target->path_info = move_tail(script_name, tail) ? tail : "";
    else if (source->request_uri != NULL && path_info_decode_uri(source->request_uri, uri_path) &&
             is_below(uri_path, script_name, strlen(script_name)))
        target->path_info = uri_path + strlen(script_name);
    return true;
}

void path_info_split(const struct path_source *source, const struct path_files *files, char *buffer,
                   struct path_target *target)
{
    if (files != NULL && length(source->path_info) == 0 &&
        path_info_script(source, files, buffer, target))
        return;
    if (source->path_info == NULL)
        path_info_mount(source, "", buffer, target);
    else
        *target = (struct path_target){.script_name =
                                           source->script_name != NULL ? source->script_name : "",
                                       .path_info = source->path_info};
}

/* ProxyPass /app fcgi://host: of /app/x it makes SCRIPT_NAME=/app/x and
 * SCRIPT_FILENAME=proxy:fcgi://host/x. prefix: SCRIPT_NAME, to be cut. */
static bool find_hidden_prefix(const struct path_source *source, char *prefix, char *rest)
{
    const char *url = source->script_filename;
    if (source->script_name == NULL || url == NULL || skip_proxy(url) == url ||
        !path_info_decode_uri(url + 6, rest) || rest[1] == '\0')
        return false;
    if (!ends_with(prefix, rest))
        return false;
    prefix[strlen(prefix) - strlen(rest)] = '\0';
    return prefix[0] == '/' && prefix[1] != '\0';
}

static bool is_prefix_sent_twice(const struct path_source *source, char *uri_path)
{
    return length(source->script_name) > 1 && source->request_uri != NULL &&
           is_below(source->path_info, source->script_name, strlen(source->script_name)) &&
           path_info_decode_uri(source->request_uri, uri_path) &&
           equals_merged(source->path_info, uri_path);
}

enum path_advice path_info_advise(const struct path_source *source, char *buffer, const char **prefix)
{
    size_t n = length(source->script_name);
    char *spare = buffer + n + 1;
    *prefix = buffer;
    memcpy(buffer, n > 0 ? source->script_name : "", n + 1);
    if (source->path_info != NULL)
        return is_prefix_sent_twice(source, spare) ? PATH_ADVICE_PREFIX_TWICE : PATH_ADVICE_NONE;
    if (find_hidden_prefix(source, buffer, spare))
        return PATH_ADVICE_MOUNT;
    if (n == 0 || buffer[n - 1] != '/' || source->server_software == NULL ||
        strncmp(source->server_software, "lighttpd/", 9) != 0)
        return PATH_ADVICE_NONE;
    buffer[n - 1] = '\0';
    return n == 1 ? PATH_ADVICE_LIGHTTPD_ROOT : PATH_ADVICE_LIGHTTPD_SLASH;
}
