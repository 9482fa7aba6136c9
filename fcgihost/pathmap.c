/* From what a front sent to SCRIPT_NAME and PATH_INFO. */
#include "pathmap.h"

#include <string.h>

static size_t length(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

size_t pathmap_buffer_bytes(const struct path_source *source)
{
    return length(source->request_uri) + 1 + length(source->script_name) +
           length(source->path_info) + 2;
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

bool pathmap_decode_uri(const char *request_uri, char *out)
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

bool pathmap_mount(const struct path_source *source, const char *mount, char *buffer,
                   struct path_target *target)
{
    char *uri_path = buffer, *joined = buffer + length(source->request_uri) + 1;
    if (source->request_uri == NULL || !pathmap_decode_uri(source->request_uri, uri_path))
        uri_path = NULL;
    const char *path = full_path(source, uri_path, joined);
    size_t mount_bytes = strlen(mount);
    if (!is_below(path, mount, mount_bytes) && mount_bytes > 0)
        path = uri_path;
    if (path == NULL || (mount_bytes > 0 && !is_below(path, mount, mount_bytes)))
        return false;
    *target = (struct path_target){.script_name = mount, .path_info = path + mount_bytes};
    return true;
}
