/* From what a front sent to SCRIPT_NAME and PATH_INFO. Pure. */
#ifndef FCGIHOST_PATHMAP_H
#define FCGIHOST_PATHMAP_H

#include <stdbool.h>
#include <stddef.h>

/* As they were sent; NULL where they were not. */
struct path_source {
    const char *script_name, *path_info, *request_uri, *document_uri;
    const char *script_filename, *server_software;
};

struct path_target {
    const char *script_name, *path_info;
    const char *file; /* the script file, of pathmap_script */
};

/* How pathmap_script looks at files. */
struct path_files {
    bool (*is_file)(const char *path, const void *context);
    const void *context;
};

enum path_program { PATH_MODULE, PATH_SCRIPT, PATH_SCRIPT_ROOT };

/* One of several applications, as far as paths matter. */
struct path_route {
    const char *mount; /* NULL: automatic; "": the root; else "/prefix" */
    enum path_program program;
    const char *script;     /* the file of PATH_SCRIPT; a front may know it under another folder */
    const char *extensions; /* ".py .wsgi": how the names of other scripts end; NULL: none do */
    unsigned application;   /* its place in the configuration */
    bool takes_no_body;     /* an authorizer */
};

struct path_routes {
    const struct path_route *items;
    size_t count;
    bool some_take_no_body;
};

/* What a front's configuration lacks, as far as its requests give it away. */
enum path_advice {
    PATH_ADVICE_NONE,
    PATH_ADVICE_MOUNT,          /* a proxy's URL tells which prefix it hides */
    PATH_ADVICE_PREFIX_TWICE,   /* PATH_INFO begins with SCRIPT_NAME again */
    PATH_ADVICE_LIGHTTPD_ROOT,  /* lighttpd's "/" without fix-root-scriptname */
    PATH_ADVICE_LIGHTTPD_SLASH, /* lighttpd's "/app/" instead of "/app" */
};

/* How large a buffer each of these functions needs. */
size_t pathmap_buffer_bytes(const struct path_source *source);
/* Where Apache's proxies are told to send PATH_INFO they leave it percent-encoded, and SCRIPT_NAME
 * ends behind the part of it that looked different decoded: /app/a b and /a%20b for /app/a%20b.
 * Makes both right, if what was sent is that; the results are in buffer, which has to last. false:
 * source is as it was. */
bool pathmap_decode_path_info(struct path_source *source, char *buffer);
/* At the root SCRIPT_NAME is empty, PATH_INFO never, and it begins with one slash: an application
 * that sends its client to PATH_INFO and a slash would send it to another server, as "//evil/". The
 * results point into target's strings or buffer, of strlen(target->path_info) + 2 bytes; path_info may be
 * in it. */
void pathmap_clean_root(struct path_target *target, char *buffer);
/* The route with the longest mount that the path is below, split there: SCRIPT_NAME is the mount,
 * PATH_INFO what follows. The results point into the mount, source or buffer. NULL: no mount fits.
 *
 * Fronts split the path in many ways, or not at all. The full path is what they agree on:
 * SCRIPT_NAME and PATH_INFO joined, or the one of them that equals the path in REQUEST_URI; and
 * where a front rewrote the path, so that it is below no mount, the one in REQUEST_URI counts. */
const struct path_route *pathmap_choose(const struct path_source *source,
                                        const struct path_routes *routes, char *buffer,
                                        struct path_target *target);
/* The same for one mount ("" or "/prefix"). false: the path is not below it. */
bool pathmap_mount(const struct path_source *source, const char *mount, char *buffer,
                   struct path_target *target);
/* Where the front chose a script file: the file that SCRIPT_FILENAME names and the split that
 * belongs to it. SCRIPT_FILENAME may be a proxy's URL, and the part of the path behind the file may
 * be in it, in SCRIPT_NAME, or in REQUEST_URI alone. The results point into source or buffer.
 * false: it names no file; then target->file alone is set, to the path without a proxy's URL. */
bool pathmap_script(const struct path_source *source, const struct path_files *files, char *buffer,
                    struct path_target *target);
/* Without a mount the front's own split counts; a front that sent no PATH_INFO did not split, and
 * the whole path is PATH_INFO. files: NULL unless the application is a script file. */
void pathmap_split(const struct path_source *source, const struct path_files *files, char *buffer,
                   struct path_target *target);
/* What to tell the administrator of a host without a configured mount; nothing where it could be
 * wrong. prefix: that of the application, in buffer. */
enum path_advice pathmap_advise(const struct path_source *source, char *buffer,
                                const char **prefix);
/* Does the path end with one of extensions, and its last part not consist of it alone? */
bool pathmap_has_extension(const char *path, const char *extensions);
/* The path of REQUEST_URI: without scheme, authority, query and fragment, percent-decoded once,
 * slashes merged, dots resolved. false if there is none ("*", "host:port", a NUL). out:
 * strlen(request_uri) + 1 bytes. */
bool pathmap_decode_uri(const char *request_uri, char *out);

#endif
