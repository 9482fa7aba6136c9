/* From what a front sent to SCRIPT_NAME and PATH_INFO. Pure. */
#ifndef FCGIHOST_PATHMAP_H
#define FCGIHOST_PATHMAP_H

#include <stdbool.h>
#include <stddef.h>

/* As they were sent; NULL where they were not. */
struct path_source {
    const char *script_name, *path_info, *request_uri, *document_uri;
};

struct path_target {
    const char *script_name, *path_info;
};

/* How large a buffer pathmap_mount needs. */
size_t pathmap_buffer_bytes(const struct path_source *source);
/* Splits the path at the mount ("" or "/prefix"): SCRIPT_NAME is the mount, PATH_INFO what follows.
 * The results point into mount, source or buffer. false: the path is not below the mount.
 *
 * Fronts split the path in many ways, or not at all. The full path is what they agree on:
 * SCRIPT_NAME and PATH_INFO joined, or the one of them that equals the path in REQUEST_URI; and
 * where a front rewrote the path, so that it is not below the mount, the one in REQUEST_URI counts.
 */
bool pathmap_mount(const struct path_source *source, const char *mount, char *buffer,
                   struct path_target *target);
/* The path of REQUEST_URI: without scheme, authority, query and fragment, percent-decoded once,
 * slashes merged, dots resolved. false if there is none ("*", "host:port", a NUL). out:
 * strlen(request_uri) + 1 bytes. */
bool pathmap_decode_uri(const char *request_uri, char *out);

#endif
